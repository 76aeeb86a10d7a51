"""Lanes: what may be dropped when room or bandwidth is short, and what goes first.

critical    goes before the rest of a backlog, and may use the last room of a full outbox
recording   never dropped; refused loudly when the outbox is full
health      the latest of each slot wins: an old heartbeat says nothing beside a new one
diagnostic  traces of programs (`diagnostic.reported`); the oldest are dropped beyond a limit
"""

from typing import Final, Literal

Lane = Literal["critical", "recording", "health", "diagnostic"]

CRITICAL_TYPES: Final = frozenset(
    {
        "device.clock_anchored.v1",
        "device.component_swapped.v1",
        "device.fault_cleared.v1",
        "device.fault_reported.v1",
        "device.route_changed.v1",
        "epoch.opened.v1",
        "producer.enrolled.v1",
        "producer.key_rotated.v1",
        "producer.revoked.v1",
        "recording.withdrawn.v1",
        "subject.erasure_ordered.v1",
    }
)
"""Rare and small, and others wait for them: dates, keys, repairs, corrections."""

HEALTH_TYPES: Final = frozenset({"device.heartbeat.v1"})
DIAGNOSTIC_FAMILY: Final = "diagnostic."


def lane_of(event_type: str) -> Lane:
    """Return the lane of a type; one that is not known here is never dropped."""
    if event_type in CRITICAL_TYPES:
        return "critical"
    if event_type in HEALTH_TYPES:
        return "health"
    if event_type.startswith(DIAGNOSTIC_FAMILY):
        return "diagnostic"
    return "recording"
