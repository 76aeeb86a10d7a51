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

RECEIPTS = Topic(
    "rekam.receipts.v1",
    12,
    {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "compression.type": "producer",
        # A reader begins at the start: what a newer receipt has replaced should soon be gone.
        "segment.bytes": str(64 * 1024 * 1024),
        "segment.ms": str(6 * 3600 * 1000),
        "min.cleanable.dirty.ratio": "0.3",
    },
)
"""The newest receipt of every producer (docs/receipt-v1.md). Key = producer id. The one topic that
is no part of the log: it can be made again from the ledger."""

ALL = (SEGMENTS, EVENTS, QUARANTINE, CHECKPOINTS, RECEIPTS)
