"""The topics of the log, as data: `rekam topics apply` makes a cluster equal to this module."""

from collections.abc import Mapping
from dataclasses import dataclass

RECORD_BYTES_MAX = 512 * 1024
"""Largest Kafka record: a full segment (256 KiB body) with its header, and room to spare."""

_KEEP_FOR_EVER = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(RECORD_BYTES_MAX),
    "compression.type": "producer",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic version. Its number of partitions never changes; a new number is a new version."""

    name: str
    partitions: int
    config: Mapping[str, str]


SEGMENTS = Topic("rekam.segments.v1", 12, _KEEP_FOR_EVER)
"""The log. Key = producer id. Not compacted and not transactional: offsets are dense."""

EVENTS = Topic("rekam.events.v1", 12, _KEEP_FOR_EVER)
"""Admitted events as CloudEvents, for integrators. Key = entity token."""

QUARANTINE = Topic("rekam.quarantine.v1", 1, _KEEP_FOR_EVER)
"""Records that were refused, byte for byte, with the reason in headers."""

CHECKPOINTS = Topic("rekam.checkpoints.v1", 1, _KEEP_FOR_EVER)
"""Signed Merkle roots of the log."""

ALL = (SEGMENTS, EVENTS, QUARANTINE, CHECKPOINTS)
