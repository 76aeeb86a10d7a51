"""How many bytes an event takes: encrypted, signed and chained, and as the broker keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer

from rekam.runtime.kafka import producer_options
from tests.benchmarks.machine import Machine
from tests.benchmarks.workload import Sealed, Workload

EVENTS_PER_SEGMENT: Final = (1, 16, 64, 256, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireSize:
    """Bytes an event at one size of segments."""

    events_per_segment: int
    events: int
    segment_bytes: int
    log_bytes: int

    @property
    def segment_bytes_per_event(self) -> float:
        """Return the size of sealed segments by event: what any route carries."""
        return self.segment_bytes / self.events

    @property
    def log_bytes_per_event(self) -> float:
        """Return the growth of the broker's log by event, with keys and Kafka's own framing."""
        return self.log_bytes / self.events


async def measure_wire(machine: Machine, workload: Workload) -> list[WireSize]:
    """Send full segments of each size one by one, the costliest way to send them, and weigh them.

    The short last segment of each producer is left out.
    """
    sizes = []
    for events_per_segment in EVENTS_PER_SEGMENT:
        full = [
            segment
            for segment in workload.segments(events_per_segment)
            if segment.events == events_per_segment
        ]
        sizes.append(
            WireSize(
                events_per_segment=events_per_segment,
                events=len(full) * events_per_segment,
                segment_bytes=sum(len(segment.value) for segment in full),
                log_bytes=await _log_bytes(machine, full),
            )
        )
    return sizes


async def _log_bytes(machine: Machine, segments: Sequence[Sealed]) -> int:
    async with machine.topic() as topic:
        options = producer_options(machine.broker.bootstrap) | {"linger_ms": 0}
        async with AIOKafkaProducer(**options) as producer:
            for segment in segments:
                await producer.send_and_wait(
                    topic.name, segment.value, key=segment.key, partition=segment.partition
                )
        return machine.log_bytes(topic)
