"""docs/configuration.md names every limit of a device's home with its default."""

import re
from pathlib import Path
from typing import Final

from producers.device.commands_outbox import limits
from producers.device.home import KEEP_DAYS, KEEP_DAYS_MAX, KEEP_DAYS_MIN
from producers.device.outbox import REFUSED_PERCENT, WARNED_PERCENT
from producers.device.outbox_file import BALLAST_BYTES, MIB, OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN

PAGE: Final = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
TEXT: Final = " ".join(PAGE.split())
ROWS: Final = dict(re.findall(r"^\| `(--[a-z-]+)` \| `(\d+)` \|", PAGE, re.MULTILINE))


def test_every_limit_is_documented_with_its_default_and_no_other() -> None:
    options = {name for one in limits.params for name in one.opts} - {"--home"}
    assert set(ROWS) == options
    assert {"--mib-max": str(OUTBOX_BYTES_MAX // MIB), "--keep-days": str(KEEP_DAYS)} == ROWS


def test_the_shares_of_the_budget_are_the_real_ones() -> None:
    assert f"From {WARNED_PERCENT} % on the operator is told, at {REFUSED_PERCENT} %" in TEXT
    assert f"Above {WARNED_PERCENT} % of the budget, what receipts cover goes at once" in TEXT
    assert f"{KEEP_DAYS_MIN} to {KEEP_DAYS_MAX}:" in TEXT
    assert f"less than {OUTBOX_BYTES_MIN // MIB}," in TEXT
    assert f"a ballast of {BALLAST_BYTES // MIB} MiB" in TEXT
