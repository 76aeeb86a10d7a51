"""The committed JSON Schemas are the structs', and say of golden events what the code says."""

import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # ships no types

from rekam.domain.errors import EventRejected
from rekam.domain.events import EVENT_TYPES, decode
from rekam.domain.schema_export import ENVELOPE, HEADER, schema_files
from rekam.schema_commands import schema

ROOT: Final = Path(__file__).parents[2]
COMMITTED: Final = ROOT / "rekam" / "domain" / "schema"
GOLDEN: Final = ROOT / "tests" / "golden"
NAMES: Final = (ENVELOPE, HEADER, *EVENT_TYPES)


def validator(schema_name: str) -> Draft202012Validator:
    return Draft202012Validator(
        json.loads((COMMITTED / f"{schema_name}.json").read_bytes()),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def test_the_committed_schemas_are_the_generated_ones() -> None:
    """After a change: `rekam schema export --to rekam/domain/schema`."""
    committed = {path.name: path.read_bytes() for path in COMMITTED.iterdir()}
    assert committed == schema_files()


@pytest.mark.parametrize("schema_name", NAMES)
def test_each_file_is_a_valid_json_schema(schema_name: str) -> None:
    Draft202012Validator.check_schema(json.loads((COMMITTED / f"{schema_name}.json").read_bytes()))


@pytest.mark.parametrize("schema_name", NAMES)
def test_no_pattern_uses_what_only_python_knows(schema_name: str) -> None:
    text = (COMMITTED / f"{schema_name}.json").read_text()
    assert "\\\\Z" not in text
    assert "\\\\d" not in text, "\\d means other digits too in some languages"


@pytest.mark.parametrize("type_name", EVENT_TYPES)
def test_golden_events_validate_against_envelope_and_type(type_name: str) -> None:
    envelope, data = validator(ENVELOPE), validator(type_name)
    for line in (GOLDEN / "events" / f"{type_name}.jsonl").read_bytes().splitlines():
        event = json.loads(line)
        envelope.validate(event)
        data.validate(event["data"])


@pytest.mark.parametrize("type_name", EVENT_TYPES)
def test_an_event_without_one_required_field_is_refused_by_schema_and_code(type_name: str) -> None:
    data_schema = validator(type_name)
    line = (GOLDEN / "events" / f"{type_name}.jsonl").read_bytes().splitlines()[0]
    required = json.loads((COMMITTED / f"{type_name}.json").read_bytes())["required"]
    assert required
    for field in required:
        event = json.loads(line)
        del event["data"][field]
        assert not data_schema.is_valid(event["data"])
        with pytest.raises(EventRejected) as raised:
            decode(json.dumps(event).encode())
        assert raised.value.reason == "schema_invalid"


def test_golden_segment_headers_validate() -> None:
    header = validator(HEADER)
    for path in (GOLDEN / "segments" / "good").glob("*.json"):
        header.validate(json.loads(path.read_bytes())["header"])


def test_export_writes_every_schema_to_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "schema"
    result = CliRunner().invoke(schema, ["export", "--to", str(folder)])
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == schema_files()


def test_export_without_a_folder_prints_one_json_object() -> None:
    result = CliRunner().invoke(schema, ["export"])
    assert set(json.loads(result.output)) == set(NAMES)
