"""A device does not pay for decoration, and who wants it has it."""

import subprocess
import sys

PROGRAM = """
import sys
from rekam.cli.root import NOUNS
NOUNS["device"].load()
import producers.device.gateway_route
print(sorted({"rich", "pygments", "structlog", "h11", "httpx"} & sys.modules.keys()))
import rich.console, pygments
import structlog
from rekam.runtime.logging import configure_logging
configure_logging(json=False)
try:
    raise ValueError("told")
except ValueError:
    structlog.get_logger("x").exception("it_failed")
"""


def test_the_device_loads_neither_rich_nor_httpx_and_still_tells_tracebacks() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert done.stdout.split(b"\n")[0] == b"['h11', 'structlog']"
    assert b"it_failed" in done.stderr
    assert b"ValueError: told" in done.stderr
