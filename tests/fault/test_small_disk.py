"""A real file system that is full: what is in the file gets out, and then there is room again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISK = (
    'mount -t tmpfs -o size=48m small "$1" && exec "$2" -m tests.support.small_disk "$3" "$1" "$4"'
)
"""48 MB that are nobody else's; the mount is gone with the process. A ballast has 12 of them."""


def lived(tmp_path: Path, what: str, size: int) -> dict[str, int]:
    """Live on a small disk; return what happened."""
    words = ("unshare", "--mount", "sh", "-c", DISK, "sh", str(tmp_path), sys.executable)
    found = subprocess.run(
        [*words, what, str(size)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "mount" in found.stderr or "unshare" in found.stderr:
        pytest.skip("a file system can be mounted by root alone, and not in every container")
    assert found.returncode == 0, found.stderr
    told: dict[str, int] = json.loads(found.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("size", [2_000, 60_000], ids=["small", "large"])
def test_an_outbox_that_filled_its_disk_is_emptied_and_records_again(
    tmp_path: Path, size: int
) -> None:
    told = lived(tmp_path, "device", size)
    assert (told["was_full"], told["is_full"]) == (True, False)
    assert told["pruned"] >= told["first"] - 1  # the last one stays: the next is chained to it
    assert told["again"] > told["first"] // 3
    assert told["kept"] >= told["again"]


@pytest.mark.parametrize("size", [2_000, 60_000], ids=["small", "large"])
def test_a_relay_that_filled_its_disk_is_emptied_and_takes_again(tmp_path: Path, size: int) -> None:
    told = lived(tmp_path, "relay", size)
    assert told["released"] == told["first"]
    assert told["kept"] == told["again"] > told["first"] // 3
