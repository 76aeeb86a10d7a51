"""One event of every type with only what it must have, and one with all it can have.

They are what `tests/golden/generate.py` writes down. No value is a real person's or producer's.
"""

from datetime import date

from rekam.domain.events import (
    ClockAnchored,
    CohortEntryListed,
    CohortEntryResolved,
    CohortPublished,
    ComponentSwapped,
    Denominator,
    DenominatorPublished,
    DiagnosticReported,
    EpochOpened,
    ErasureOrdered,
    Event,
    EventData,
    FaultCleared,
    FaultReported,
    Heartbeat,
    KeyRotated,
    PersonAccessed,
    PersonTokenAccessed,
    ProducerEnrolled,
    ProducerRevoked,
    RangeDeclaredLost,
    RecordDiscarded,
    RecordingCaptured,
    RecordingWithdrawn,
    Region,
    RouteChanged,
    StatusObserved,
    SuketIssued,
    TicketAssigned,
    TicketClosed,
    TicketOpened,
    TreePublished,
)

WALL_MS = 1_522_454_400_000
"""31 March 2018, 00:00 UTC."""

NIK = "6408014101900001"
KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="

DATA: tuple[EventData, ...] = (
    RecordingCaptured(
        recording="r-1", nik=NIK, domicile="64.08.04.2001", place="64.08.04", mode="online"
    ),
    RecordingCaptured(
        recording="r-2",
        nik=NIK,
        domicile="64.08.12.1002",
        place="64.08.12.1002",
        mode="offline",
        components={"fingerprint_scanner": "FS-0021", "iris_camera": "IR-0003"},
        quality={"finger_right_thumb": 0, "face": 100},
        operator="op-7",
    ),
    RecordingWithdrawn(recording="r-1", nik=NIK, reason="uji coba perangkat"),
    StatusObserved(
        nik=NIK, status="PRINT_READY_RECORD", observed_ms=WALL_MS - 86_400_000, source="siak"
    ),
    SuketIssued(
        nik=NIK, number="471.13/0001/2018", issued_ms=WALL_MS, status="SENT_FOR_ENROLLMENT"
    ),
    Heartbeat(queue_events=0),
    Heartbeat(
        queue_events=412,
        oldest_unsent_ms=WALL_MS - 3_600_000,
        route="usb",
        disk_free_bytes=12_884_901_888,
        software="0.1.0",
    ),
    FaultReported(component="fingerprint_scanner", fault="no_image"),
    FaultReported(component="battery", fault="does_not_charge", detail="mati setelah 10 menit"),
    FaultCleared(component="fingerprint_scanner", fault="no_image"),
    ComponentSwapped(slot="fingerprint_scanner"),
    ComponentSwapped(slot="fingerprint_scanner", removed="FS-0021", installed="FS-0108"),
    RouteChanged(route="kafka"),
    RouteChanged(route="usb", previous="kafka", reason="server kecamatan rusak"),
    ClockAnchored(anchored_boot="boot-a", offset_ms=1_522_454_400_000, source="gateway"),
    ProducerEnrolled(
        producer="recorder-64.08.04-1",
        kind="recorder",
        place="64.08.04",
        key=KEY,
        enrolled_ms=WALL_MS,
    ),
    KeyRotated(producer="recorder-64.08.04-1", key=KEY, rotated_ms=WALL_MS),
    ProducerRevoked(
        producer="recorder-64.08.04-1", effective_ms=WALL_MS, reason="perangkat hilang"
    ),
    EpochOpened(reason="pertama kali"),
    EpochOpened(
        reason="kartu SD dipulihkan dari salinan", previous_epoch=1, previous_head="0" * 64
    ),
    RangeDeclaredLost(
        producer="recorder-64.08.04-1", epoch=1, first=41, last=60, reason="kartu SD terbakar"
    ),
    TreePublished(
        version="2018-1",
        valid_from=date(2018, 1, 1),
        regions=(Region("64.08", "Kutai Timur"),),
    ),
    TreePublished(
        version="2018-2",
        valid_from=date(2018, 7, 1),
        regions=(
            Region("64.08.12", "Sangatta Selatan"),
            Region("64.08.12.1002", "Singa Geweh"),
        ),
        mapping={"64.08.12.2002": "64.08.12.1002"},
    ),
    DenominatorPublished(
        version="DKB-2017-2",
        basis="DKB semester II 2017",
        valid_from=date(2017, 12, 31),
        rows=(Denominator("64.08.04.2001", 1_234), Denominator("64.08.12.1002", 0)),
    ),
    CohortPublished(
        cohort="kpu-2018-lapas",
        version="1",
        title="Warga di lapas Bontang",
        source="KPU",
        entries=427,
    ),
    CohortEntryListed(cohort="kpu-2018-lapas", entry=1),
    CohortEntryListed(cohort="kpu-2018-lapas", entry=427, nik=NIK, code="12"),
    CohortEntryResolved(
        cohort="kpu-2018-lapas", entry=1, bucket="verified", source="berita acara 3"
    ),
    TicketOpened(ticket="t-1", producer="recorder-64.08.04-1", summary="pemindai sidik jari mati"),
    TicketAssigned(ticket="t-1", producer="recorder-64.08.04-1", technician="teknisi-2"),
    TicketClosed(ticket="t-1", producer="recorder-64.08.04-1", outcome="pemindai diganti"),
    ErasureOrdered(nik=NIK, order="order-2018-4", reason="pasal 43"),
    CohortEntryListed(cohort="kpu-2018-lapas", entry=3, nik=NIK, code="11", version="2"),
    CohortEntryResolved(
        cohort="kpu-2018-lapas", entry=3, bucket="tercetak", source="berita acara 4", version="2"
    ),
    PersonAccessed(
        nik=NIK, caller="office/siti", call="look_up_person", reason="mencetak kartu di loket"
    ),
    RecordDiscarded(
        partition=3, offset=120, record_hash="0f" * 32, reason="uji coba perangkat lama"
    ),
    RecordDiscarded(
        partition=3,
        offset=121,
        record_hash="f0" * 32,
        reason="diisi dua kali",
        first=17,
        last=20,
    ),
    PersonTokenAccessed(
        person="00112233445566778899aabbccddeeff",
        caller="office/siti",
        call="get_person",
        reason="mencetak kartu di loket",
    ),
    RecordingWithdrawn(
        recording="r-1", nik=NIK, reason="NIK orang lain", producer="recorder-64.08.04-1"
    ),
    ClockAnchored(anchored_boot="boot-a", offset_ms=-94_608_000_000, source="relay"),
    ClockAnchored(anchored_boot="boot-b", offset_ms=-94_608_000_000, source="relay_carried"),
    DiagnosticReported(area="fingerprint_driver", code="capture_retried"),
    DiagnosticReported(
        area="fingerprint_driver",
        code="capture_retried",
        measures={"elapsed_ms": 1_840, "temperature_celsius": -3, "tries": 4},
    ),
)

EVENTS = tuple(
    Event(WALL_MS + place, 60_000 + place, "boot-a", data) for place, data in enumerate(DATA)
)
