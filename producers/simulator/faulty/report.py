"""What a run came to, as one JSON line."""

import msgspec

from producers.simulator.faulty.check import Findings
from producers.simulator.faulty.living import Driven
from producers.simulator.faulty.plan import FaultyFleet, count_by_fault


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The last line that `rekam simulate --events` prints."""

    devices: int
    events: int
    seed: int
    segments: int
    """Different ones, as they were sealed."""
    copies: int
    """What routes took beyond one of each."""
    forks: int
    """Devices whose home was copied and went on twice."""
    faults: dict[str, int]
    """Devices by what they suffered."""
    failed_sends: int
    processes_killed: int
    exported_segments: int
    imports: int
    seconds: float
    holds: bool | None
    """Whether the log holds exactly what was appended; null without --check."""
    check: Findings | None


def report_of(fleet: FaultyFleet, driven: Driven, findings: Findings | None = None) -> Report:
    """Return the report of a run."""
    devices = list(fleet)
    return Report(
        devices=fleet.devices,
        events=fleet.events,
        seed=fleet.seed,
        segments=driven.segments,
        copies=driven.sent_segments - driven.segments,
        forks=sum(device.clone is not None for device in devices),
        faults={fault: count for fault, count in count_by_fault(devices).items() if count},
        failed_sends=driven.failed_sends,
        processes_killed=driven.processes_killed,
        exported_segments=driven.exported_segments,
        imports=driven.imports,
        seconds=round(driven.seconds, 3),
        holds=None if findings is None else findings.holds,
        check=findings,
    )
