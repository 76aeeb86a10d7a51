"""No NIK comes into what is shown: an event that holds one where none belongs counts nowhere."""

import msgspec
import pytest

from rekam.domain.errors import EventRejected
from rekam.domain.events import (
    CohortEntryResolved,
    Event,
    EventData,
    FaultReported,
    RecordingCaptured,
    RecordingWithdrawn,
    StatusObserved,
    TicketOpened,
    decode,
    encode,
    stray_nik,
)

NIK = "6408080101700001"
ANOTHER = "6408084101700002"


def captured(**fields: object) -> RecordingCaptured:
    usual = {
        "recording": "r-1",
        "nik": NIK,
        "domicile": "64.08.04.2001",
        "place": "64.08.04",
        "mode": "online",
    }
    return msgspec.convert(usual | fields, RecordingCaptured)


def line_of(data: EventData) -> bytes:
    return encode(Event(1_522_476_000_000, 7, "boot", data))


STRAY = [
    (captured(recording=f"REC-{NIK}"), "recording"),
    (captured(operator=NIK), "operator"),
    (captured(components={"camera": f"x{NIK}"}), "components"),
    (captured(components={NIK: "x"}), "components"),
    (RecordingWithdrawn(recording="r-1", nik=NIK, reason=f"meant {ANOTHER}"), "reason"),
    (StatusObserved(nik=NIK, status=ANOTHER, observed_ms=1, source="siak"), "status"),
    (FaultReported(component="camera", fault="dark", detail=f"at {NIK}, again"), "detail"),
    (CohortEntryResolved(cohort="lapas", entry=1, bucket=NIK, source="KPU"), "bucket"),
    (TicketOpened(ticket="t-1", producer="rkm-1", summary=f"{NIK} waits"), "summary"),
]


@pytest.mark.parametrize(("data", "field"), STRAY)
def test_it_is_refused_by_field_and_never_told(data: EventData, field: str) -> None:
    with pytest.raises(EventRejected) as caught:
        decode(line_of(data))
    assert caught.value.reason == "nik_in_text"
    assert f"`$.data.{field}`" in caught.value.detail
    assert NIK not in str(caught.value)
    assert ANOTHER not in str(caught.value)
    assert stray_nik(data) == field


def test_digits_written_as_escapes_are_digits() -> None:
    hidden = "".join(f"\\u00{ord(digit):02x}" for digit in NIK)
    line = line_of(captured(operator="somebody")).replace(b"somebody", hidden.encode())
    with pytest.raises(EventRejected, match="nik_in_text"):
        decode(line)


def test_a_boot_session_that_is_named_by_the_nik_is_refused() -> None:
    """Tables keep its name, where no order of erasure would reach it."""
    escaped = "".join(f"\\u00{ord(digit):02x}" for digit in NIK)
    line = encode(Event(1_522_476_000_000, 7, f"b-{NIK}", captured()))
    for raw in (line, line.replace(f"b-{NIK}".encode(), escaped.encode())):
        with pytest.raises(EventRejected, match="nik_in_text") as caught:
            decode(raw)
        assert "`$.boot`" in caught.value.detail
        assert NIK not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        captured(recording="1522476000000000"),  # the microsecond of its capture
        captured(components={"fingerprint_scanner": ANOTHER}),  # a serial number
        RecordingWithdrawn(recording="1522476000000000", nik=NIK, reason="a test"),
        StatusObserved(nik=NIK, status="PRINT_READY_RECORD", observed_ms=1, source="siak"),
        TicketOpened(ticket="t-1", producer="rkm-1", summary="account 12345678901234567"),
    ],
)
def test_other_long_numbers_are_none(data: EventData) -> None:
    assert decode(line_of(data)).data == data
    assert stray_nik(data) is None


def test_a_clock_that_reads_as_the_nik_is_none() -> None:
    event = Event(1_522_476_000_000, int(NIK), "boot", captured())
    assert decode(encode(event)) == event
