"""Log records as the folds see them: position, append time, bytes, and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a topic. `append_ms` is the broker's append time, the only *received at*."""

    partition: int
    offset: int
    append_ms: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition, at least one, in offset order."""

    topic: str
    partition: int
    records: tuple[LogRecord, ...]

    @property
    def first_offset(self) -> int:
        """Return the offset of the first record."""
        return self.records[0].offset

    @property
    def next_offset(self) -> int:
        """Return the offset that follows the last record."""
        return self.records[-1].offset + 1
