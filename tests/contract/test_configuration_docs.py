"""docs/configuration.md names every setting with its default, and none that does not exist."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Final

from rekam.runtime.settings import ENVIRONMENT, MECHANISMS, PROTOCOLS, KafkaSecurity, Settings

PAGE: Final = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
ROWS: Final = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))


def test_every_setting_is_documented_and_no_other() -> None:
    assert set(ROWS) == set(ENVIRONMENT.values())


def test_every_documented_default_is_the_real_one(tmp_path: Path) -> None:
    settings = Settings.load({"REKAM_HOME": str(tmp_path)})
    real = {field.name: getattr(settings, field.name) for field in fields(settings)}
    real |= {
        f"kafka_security_{field.name}": getattr(settings.kafka_security, field.name)
        for field in fields(KafkaSecurity)
    }
    for name, variable in ENVIRONMENT.items():
        if name == "home":
            continue
        shown = ROWS[variable]
        match real[name]:
            case None:
                assert shown.startswith("unset"), variable
            case Path() as path:
                assert shown == f"`{path.relative_to(tmp_path)}` in `REKAM_HOME`", variable
            case bool() as truth:
                assert shown == f"`{str(truth).lower()}`", variable
            case value:
                assert shown == f"`{value}`", variable


def test_every_choice_is_documented() -> None:
    for choice in (*PROTOCOLS, *MECHANISMS):
        assert f"`{choice}`" in PAGE
