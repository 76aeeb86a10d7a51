"""Laws of a stick: what is sent is what was exported, and one bad thing holds back no other."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.usb.bundle import producer_folder, producer_of, segment_name, segment_of
from rekam.domain.ids import ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.segment import SEGMENT_EVENTS_MAX, SEQ_MAX, producer_id
from tests.support.device import beat, new_home
from tests.support.sticks import CLOCK, MemoryRoute, exported, imported

FOLDER: Final = "rekam-bundle/dev-1/1"
PRODUCERS: Final = (
    st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=64)
    .filter(lambda text: text[0] not in ".-")
    .filter(lambda text: re.search("[0-9]{16}", text) is None)
)


@given(PRODUCERS)
def test_every_producer_has_a_name_of_its_own_that_fat_keeps(text: str) -> None:
    producer = producer_id(text)
    name = producer_folder(producer)
    assert producer_of(name) == producer
    assert not name.endswith(".")
    assert name == name.lower()


@given(st.text(max_size=70))
def test_a_name_is_a_producers_only_if_it_is_the_one_it_gets(name: str) -> None:
    producer = producer_of(name)
    assert producer is None or producer_folder(producer) == name


@given(st.integers(1, SEQ_MAX - SEGMENT_EVENTS_MAX), st.integers(1, SEGMENT_EVENTS_MAX))
def test_every_range_of_a_segment_has_one_name(first: int, count: int) -> None:
    assert segment_of(segment_name(first, first + count - 1)) == (first, first + count - 1)


@dataclass(frozen=True)
class Bundle:
    """A stick, its segments by file name, and who signed them."""

    stick: Path
    raws: dict[str, bytes]
    key: VerifyKey


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a stick with three segments of one epoch."""
    stick = tmp_path_factory.mktemp("stick")
    with new_home(tmp_path_factory.mktemp("home") / "home") as home:
        for size in (3, 1, 2):
            home.outbox.append([beat(CLOCK, number) for number in range(size)])
            exported(home, stick)
        raws = {file.name: file.read_bytes() for file in (stick / FOLDER).glob("*.seg")}
        return Bundle(stick, raws, home.signing_key.public)


def damage(file: Path, raw: bytes, data: st.DataObject) -> None:
    how = data.draw(st.sampled_from(["flip", "cut", "longer", "gone", "other"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    if how == "flip":
        bit = 1 << data.draw(st.integers(0, 7))
        file.write_bytes(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
    elif how == "cut":
        file.write_bytes(raw[:at])
    elif how == "longer":
        file.write_bytes(raw + data.draw(st.binary(min_size=1, max_size=40)))
    elif how == "other":
        file.write_bytes(data.draw(st.binary(max_size=200)))
    else:
        file.unlink()


@given(st.data())
async def test_whatever_happens_to_one_file_the_others_arrive_and_nothing_else_does(
    bundle: Bundle, data: st.DataObject
) -> None:
    """Of a producer whose key is known: else a damaged manifest may condemn a whole file."""
    raws = bundle.raws
    name = data.draw(st.sampled_from([*raws, "MANIFEST.json"]))
    with tempfile.TemporaryDirectory() as folder:
        stick = Path(folder) / "stick"
        shutil.copytree(bundle.stick, stick)
        file = stick / FOLDER / name
        damage(file, file.read_bytes(), data)
        route = MemoryRoute(keys={ProducerId("dev-1"): (bundle.key,)})
        found = await imported(stick, route)
    others = [raw for other, raw in raws.items() if other != name]
    assert set(others) <= set(route.logged) <= set(raws.values())
    assert (raws.get(name) not in route.logged) or name == "MANIFEST.json"
    assert len(found.results) >= len(raws)
