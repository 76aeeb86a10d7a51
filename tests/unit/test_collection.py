"""What is loaded when a server starts is never looked through for garbage; what comes later is."""

import subprocess
import sys
from typing import Final

import pytest

PROGRAM: Final = """
import gc, weakref, msgspec
from rekam.runtime import collection

class Node:
    pass

def ring():
    node = Node()
    node.itself = node
    return weakref.ref(node)

gc.disable()
before = ring()
loaded = len(gc.get_objects())
getattr(collection, "{name}")()
assert before() is None, "garbage of the start is kept for ever"
assert gc.get_freeze_count() > loaded / 2, "what is loaded would be looked through"
after = ring()
gc.collect()
assert after() is None, "what comes later is never freed"
"""


@pytest.mark.parametrize("name", ["leave_loaded_alone", "collect_rarely"])
def test_garbage_is_looked_for_only_in_what_came_after_the_start(name: str) -> None:
    program = PROGRAM.replace("{name}", name)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
