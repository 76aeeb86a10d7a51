"""What once was written stays readable, and means the same."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

import pytest

from rekam.domain.events import EVENT_TYPES, decode, encode
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import ReaderPrivateKey, SigningKey, VerifyKey
from rekam.domain.segment import open_body, opening_hash, parse, verify
from tests.golden import generate
from tests.support.segments import outcome

GOLDEN: Final = Path(__file__).parents[1] / "golden"
EVENT_FILES: Final = sorted((GOLDEN / "events").glob("*.jsonl"))
GOOD: Final = sorted((GOLDEN / "segments" / "good").glob("*.seg"))
BAD: Final = sorted((GOLDEN / "segments" / "bad").glob("*.seg"))


def name(path: Path) -> str:
    return path.stem


def description(path: Path) -> dict[str, object]:
    found = json.loads(path.with_suffix(".json").read_bytes())
    assert isinstance(found, dict)
    return found


def test_every_event_type_has_golden_lines() -> None:
    assert {path.stem for path in EVENT_FILES} == set(EVENT_TYPES)


@pytest.mark.parametrize("path", EVENT_FILES, ids=name)
def test_a_golden_event_is_read_and_written_the_same(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    assert lines
    for line in lines:
        event = decode(line)
        assert event.type == path.stem
        assert encode(event) == line


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_a_golden_segment_opens_to_its_lines(path: Path) -> None:
    told = description(path)
    signer = VerifyKey.from_text(str(told["signing_public"]))
    reader = ReaderPrivateKey.from_seed(bytes.fromhex(str(told["reader_private"])))
    segment = parse(path.read_bytes())
    verify(segment, signer)
    lines = open_body(segment, reader)
    assert segment.hash == told["hash"]
    assert json.loads(segment.header_bytes) == told["header"]
    plain = b"".join(line + b"\n" for line in lines)
    assert hashlib.sha256(plain).hexdigest() == told["plain_sha256"]
    assert [line.decode() for line in lines] == told.get("lines", [line.decode() for line in lines])
    for line in lines:
        decode(line)


@pytest.mark.parametrize("path", BAD, ids=name)
def test_a_bad_segment_is_refused_or_held_with_its_reason(path: Path) -> None:
    told = description(path)
    assert outcome(path.read_bytes()) == (told["step"], told["outcome"], told["reason"])


def test_the_chain_of_the_golden_segments_holds() -> None:
    first = parse((GOLDEN / "segments" / "good" / "chain-a.seg").read_bytes())
    second = parse((GOLDEN / "segments" / "good" / "chain-b.seg").read_bytes())
    assert first.header.prev == opening_hash(ProducerId(first.header.producer), Epoch(1))
    assert second.header.prev == first.hash
    assert second.header.first == first.header.last + 1


def test_the_seeds_in_the_descriptions_are_those_of_the_public_keys() -> None:
    for path in GOOD + BAD:
        told = description(path)
        signer = SigningKey.from_seed(bytes.fromhex(str(told["signing_seed"])))
        reader = ReaderPrivateKey.from_seed(bytes.fromhex(str(told["reader_private"])))
        assert signer.public.raw == base64.b64decode(str(told["signing_public"]))
        assert reader.public.raw == base64.b64decode(str(told["reader_public"]))


def test_golden_bytes_are_complete_and_generating_again_changes_none(tmp_path: Path) -> None:
    """After adding events or vectors: `python -m tests.golden.generate`."""
    copy = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    assert generate.main(copy) == 0
    assert contents(copy) == contents(GOLDEN)


def test_golden_events_that_would_change_are_reported_and_left_alone(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    other = copy / "events" / "recording.captured.v1.jsonl"
    other.write_bytes(b'{"type":"another"}\n')
    before = contents(copy)
    assert generate.main(copy) == 1
    assert contents(copy) == before


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
