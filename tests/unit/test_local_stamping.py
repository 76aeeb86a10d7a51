"""Lines from outside: cut, checked, stamped, answered one by one."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.device.clock import Reading
from producers.device.local.server import status_of
from producers.device.outbox import DIAGNOSTICS_MAX, Outbox
from producers.device.outbox_file import Storage
from producers.device.stamping import (
    Answer,
    Fault,
    Kept,
    Lines,
    Refused,
    Stored,
    append_lines,
    stamp,
)
from rekam.domain.errors import RekamError
from rekam.domain.events import DiagnosticReported, decode
from rekam.domain.ids import ProducerId
from rekam.domain.segment import EVENT_BYTES_MAX, Sealed, open_body, parse
from tests.support.device import READER
from tests.support.routes import SIGNING_KEY

NOW = Reading(wall_ms=1_522_468_800_000, mono_ms=5_000, boot="boot-1")
LATER = Reading(wall_ms=1_522_468_900_000, mono_ms=6_000, boot="boot-1")
BEAT = b'{"type":"device.heartbeat.v1","data":{"queue_events":3}}'


def status_line(number: int, **clocks: object) -> bytes:
    data = {"nik": "6408050101900001", "status": "SFE", "observed_ms": number, "source": "test"}
    return json.dumps({"type": "centre.status_observed.v1", "data": data, **clocks}).encode()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox.create(tmp_path / "outbox.db", producer=ProducerId("dev-1")) as made:
        yield made


@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=20))
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[bytes]) -> None:
    stream = b"\n".join(lines)
    wanted = [line for line in lines if line.strip()]
    for step in (1, 7, len(stream) + 1):
        cutter = Lines()
        found = [
            line
            for start in range(0, len(stream), step)
            for line in cutter.feed(stream[start : start + step])
        ]
        assert found + cutter.end() == wanted
        assert cutter.end() == []


def test_a_line_without_an_end_is_held_no_further_than_shows_it_too_long() -> None:
    cutter = Lines()
    for _ in range(100):
        assert cutter.feed(b"x" * EVENT_BYTES_MAX) == []
    (line, after) = cutter.feed(b"\nnext\n")
    assert (len(line), after) == (EVENT_BYTES_MAX + 1, b"next")


def test_clocks_are_filled_in_where_a_line_gives_none() -> None:
    _, given_none = stamp(status_line(1), NOW)
    _, given_all = stamp(status_line(1, wall_ms=7, mono_ms=8, boot="b"), NOW)
    none, every = decode(given_none), decode(given_all)
    assert (none.wall_ms, none.mono_ms, none.boot) == (NOW.wall_ms, NOW.mono_ms, NOW.boot)
    assert (every.wall_ms, every.mono_ms, every.boot) == (7, 8, "b")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"rubbish", "not_an_event"),
        (b'{"type":"device.heartbeat.v1"}', "not_an_event"),
        (b'{"type":"device.heartbeat.v1","data":{},"more":1}', "not_an_event"),
        (b'{"type":"device.heartbeat.v1","data":{},"mono_ms":1}', "not_an_event"),
        (b'{"type":"device.heartbeat.v1","data":{}}', "schema_invalid"),
        (b"x" * (EVENT_BYTES_MAX + 1), "event_too_large"),
        (b'{"type":"device.hummed.v1","data":{}}', "unknown_type"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(RekamError, match=f"^{reason}: "):
        stamp(line, NOW)


def test_a_line_that_is_too_large_only_with_its_clocks_is_refused_by_itself(
    outbox: Outbox,
) -> None:
    line = b'{"type":"device.heartbeat.v1","data":{"x":"%s"}}'
    largest = line % (b"y" * (EVENT_BYTES_MAX - len(line) + 2))
    assert len(largest) == EVENT_BYTES_MAX
    answers = append_lines(outbox, [(largest, NOW), (status_line(1), NOW)])
    assert isinstance(answers[0], Refused)
    assert answers[0].error.code == "event_too_large"
    assert answers[1] == Stored(1)


def test_answers_keep_the_order_of_their_lines_whatever_their_lane(outbox: Outbox) -> None:
    arrived = [
        (status_line(1), NOW),
        (BEAT, NOW),
        (b"rubbish", NOW),
        (status_line(2), LATER),
    ]
    answers = append_lines(outbox, arrived)
    assert answers[0] == Stored(1)
    assert answers[1] == Kept("health")
    assert isinstance(answers[2], Refused)
    assert answers[3] == Stored(2)
    assert outbox.status().waiting_health == 1


def test_in_an_outbox_without_room_for_all_each_line_is_answered_by_itself(
    tmp_path: Path,
) -> None:
    storage = Storage(bytes_max=512 * 1024)
    with Outbox.create(
        tmp_path / "outbox.db", producer=ProducerId("dev-1"), storage=storage
    ) as outbox:
        answers = append_lines(outbox, [(status_line(number), NOW) for number in range(10_000)])
        stored = [answer for answer in answers if isinstance(answer, Stored)]
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [answer.seq for answer in stored] == list(range(1, len(stored) + 1))
        assert len(stored) + len(refused) == 10_000
        assert 100 < len(stored) < 10_000
        assert {answer.error.code for answer in refused} == {"outbox_full"}
        assert outbox.next_seq == len(stored) + 1
        (again,) = append_lines(outbox, [(status_line(1), NOW)])
        assert isinstance(again, Refused)


FULL = Refused(Fault("outbox_full", ""))
BUSY = Refused(Fault("outbox_busy", ""))
DAMAGED = Refused(Fault("corrupt", ""))
WRONG = Refused(Fault("not_an_event", ""))


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([], HTTPStatus.OK),
        ([Stored(1), Kept("health")], HTTPStatus.OK),
        ([Stored(1), FULL], HTTPStatus.MULTI_STATUS),
        ([FULL, WRONG], HTTPStatus.INSUFFICIENT_STORAGE),
        ([BUSY, WRONG], HTTPStatus.SERVICE_UNAVAILABLE),
        ([DAMAGED], HTTPStatus.SERVICE_UNAVAILABLE),
        ([WRONG], HTTPStatus.UNPROCESSABLE_ENTITY),
    ],
)
def test_the_status_says_what_all_answers_come_to(
    answers: list[Answer], status: HTTPStatus
) -> None:
    assert status_of(answers) == status


def diagnostic_line(number: int) -> bytes:
    data = {"area": "driver", "code": "retried", "measures": {"tries": number}}
    return json.dumps({"type": "diagnostic.reported.v1", "data": data}).encode()


def test_of_a_full_lane_of_diagnostics_the_oldest_are_dropped_and_nothing_else(
    outbox: Outbox,
) -> None:
    fault = {"component": "camera", "fault": "dark"}
    critical = json.dumps({"type": "device.fault_reported.v1", "data": fault}).encode()
    kept: list[bytes] = []
    for number in range(DIAGNOSTICS_MAX + 50):
        lines = [critical, status_line(number), diagnostic_line(number)]
        answers = append_lines(outbox, [(line, NOW) for line in lines])
        assert answers == [Stored(2 * number + 1), Stored(2 * number + 2), Kept("diagnostic")]
        kept += [stamp(line, NOW)[1] for line in lines[:2]]
    assert outbox.status().dropped_diagnostics == 50
    outbox.seal_pending(
        signing_key=SIGNING_KEY,
        reader=READER.public,
        sealed=Sealed(NOW.wall_ms, NOW.mono_ms, NOW.boot),
    )
    sealed = [
        line
        for one in outbox.unsent(limit_bytes=2**30)
        for line in open_body(parse(one.raw), READER)
    ]
    traces = [decode(line).data for line in sealed if b"diagnostic." in line]
    assert [line for line in sealed if b"diagnostic." not in line] == kept
    assert [one.measures["tries"] for one in traces if isinstance(one, DiagnosticReported)] == [
        *range(50, DIAGNOSTICS_MAX + 50)
    ]


@pytest.mark.parametrize(
    "data",
    [
        {"area": "driver", "code": "nik_6408050101900001"},
        {"area": "Siti Rahma", "code": "retried"},
        {"area": "driver", "code": "retried", "measures": {"nik": 6408050101900001}},
        {"area": "driver", "code": "retried", "measures": {f"m{'x' * n}": n for n in range(17)}},
        {"area": "driver", "code": "retried", "detail": "Siti Rahma"},
    ],
    ids=["digits", "a-name", "a-number-as-long-as-a-nik", "too-many", "free-text"],
)
def test_no_person_s_data_fits_into_a_diagnostic(outbox: Outbox, data: dict[str, object]) -> None:
    line = json.dumps({"type": "diagnostic.reported.v1", "data": data}).encode()
    (answer,) = append_lines(outbox, [(line, NOW)])
    assert isinstance(answer, Refused)
    assert "Siti" not in answer.error.message
    assert "6408050101900001" not in answer.error.message
