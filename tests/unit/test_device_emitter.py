"""What an emitter does between outbox and route, shown with a route that obeys the test."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from producers.device.clock import Reading
from producers.device.emitter import Emitter, EmitterOptions, drain, retry_seconds, run
from producers.device.home import ProducerHome
from producers.device.route import Acked, FirstThatWorks, kafka_address
from rekam.domain.errors import Misconfigured, OutboxBusy, Unavailable
from rekam.domain.events import ClockAnchored, Event, Heartbeat, decode, encode
from rekam.domain.ids import ProducerId
from rekam.domain.segment import open_body, parse
from tests.support.device import READER, new_home

NOW_MS = 1_522_454_400_000
WAIT_SECONDS_MAX = 20.0
QUIET = EmitterOptions(heartbeat_seconds=None, anchors=False)
EAGER = EmitterOptions(
    heartbeat_seconds=None,
    anchors=False,
    linger_seconds=0.001,
    retry_seconds_first=0.001,
    retry_seconds_max=0.002,
)


@dataclass
class SteadyClock:
    """Always the same moment."""

    boot: str = "boot-1"

    def read(self) -> Reading:
        return Reading(NOW_MS, 1_000, self.boot)


@dataclass
class ObedientRoute:
    """Keeps what it is given; is away as often as it is told; may hold an answer back."""

    failures: int = 0
    append_ms: int | None = NOW_MS
    log: list[bytes] = field(default_factory=list)
    tries: int = 0
    label: str = "test"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> list[Acked]:
        assert producer
        self.tries += 1
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        await self.gate.wait()
        first = len(self.log)
        self.log.extend(segments)
        return [Acked(0, first + place, self.append_ms) for place in range(len(segments))]

    async def stop(self) -> None:
        self.log.append(b"stopped")

    def events(self) -> list[Event]:
        """Return all events in the log's order."""
        return [decode(line) for raw in self.log for line in open_body(parse(raw), READER)]


def beats(home: ProducerHome, *numbers: int) -> None:
    home.outbox.append(
        [encode(Event(NOW_MS, 1, "boot-1", Heartbeat(queue_events=number))) for number in numbers]
    )


async def turns_until(holds: Callable[[], bool]) -> None:
    """Let the other tasks run until `holds`; the caller sets the deadline."""
    while not holds():  # noqa: ASYNC110 - the outbox and the emitter tell nobody of their steps
        await asyncio.sleep(0)


def told(events: Sequence[Event]) -> list[int]:
    return [event.data.queue_events for event in events if isinstance(event.data, Heartbeat)]


async def test_a_failed_send_keeps_the_segments_and_sends_the_same_bytes_later(
    tmp_path: Path,
) -> None:
    route = ObedientRoute(failures=1)
    with new_home(tmp_path) as home:
        beats(home, 1, 2, 3)
        with pytest.raises(Unavailable):
            await drain(home, route, clock=SteadyClock(), options=QUIET)
        (kept,) = home.outbox.unsent(limit_bytes=1)
        assert home.outbox.status().unsent_events == 3
        drained = await drain(home, route, clock=SteadyClock(), options=QUIET)
        assert home.outbox.status().unsent_events == 0
    assert (route.log, drained.segments, drained.events) == ([kept.raw], 1, 3)


async def test_what_was_sent_and_not_acknowledged_here_is_sent_again_byte_for_byte(
    tmp_path: Path,
) -> None:
    """The answer got lost: the process ended between send and acknowledge."""
    route = ObedientRoute()
    route.gate.clear()
    with new_home(tmp_path) as home:
        beats(home, 1)
        sending = asyncio.create_task(drain(home, route, clock=SteadyClock(), options=QUIET))
        await asyncio.wait_for(route.asked.wait(), WAIT_SECONDS_MAX)
        (sent,) = home.outbox.unsent(limit_bytes=1)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        route.gate.set()
        await drain(home, route, clock=SteadyClock(), options=QUIET)
    assert route.log == [sent.raw]


async def test_an_emitter_goes_on_by_itself_oldest_first_after_failures(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(failures=5), asyncio.Event()
    with new_home(tmp_path) as home:
        beats(home, 1, 2)

        async def stop_when_drained() -> None:
            await turns_until(lambda: route.tries > 5 and home.outbox.status().unsent_events == 0)
            stopping.set()

        async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run(home, route, clock=SteadyClock(), stopping=stopping, options=EAGER)
            )
            beats(home, 3)
            tasks.create_task(stop_when_drained())
    assert told(route.events()) == [1, 2, 3]
    assert route.tries == 6


async def test_a_back_off_ends_at_once_when_told_to_stop(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(failures=1), asyncio.Event()
    patient = EmitterOptions(
        heartbeat_seconds=None, retry_seconds_first=3_600.0, retry_seconds_max=3_600.0
    )
    with new_home(tmp_path) as home:
        beats(home, 1)
        emitter = Emitter(home, route, clock=SteadyClock(), options=patient, jitter=_Longest())
        async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as tasks:
            tasks.create_task(emitter.run(stopping))
            await route.asked.wait()
            stopping.set()
        assert home.outbox.status().unsent_events == 1


class _Longest:
    def uniform(self, low: float, high: float) -> float:
        assert low <= high
        return high


async def test_while_the_route_is_away_events_wait_for_a_full_segment(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(failures=10**9), asyncio.Event()
    options = EmitterOptions(
        events_max=4,
        heartbeat_seconds=None,
        retry_seconds_first=0.001,
        retry_seconds_max=0.001,
    )
    with new_home(tmp_path) as home:
        beats(home, 1)

        async def watch() -> None:
            await turns_until(lambda: route.tries >= 3)
            beats(home, 2, 3)
            before = route.tries
            await turns_until(lambda: route.tries >= before + 3)
            assert home.outbox.pending() == 2
            beats(home, 4, 5)
            await turns_until(lambda: home.outbox.pending() == 0)
            stopping.set()

        async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run(home, route, clock=SteadyClock(), stopping=stopping, options=options)
            )
            tasks.create_task(watch())
        held = home.outbox.unsent(limit_bytes=10**6)
    assert [(one.first, one.last) for one in held] == [(1, 1), (2, 5)]


async def test_a_contact_anchors_the_boot_once_and_the_anchor_itself_arrives(
    tmp_path: Path,
) -> None:
    route = ObedientRoute(append_ms=NOW_MS + 7_000)
    options = EmitterOptions(heartbeat_seconds=None)
    with new_home(tmp_path) as home:
        beats(home, 1)
        await drain(home, route, clock=SteadyClock(), options=options)
        beats(home, 2)
        await drain(home, route, clock=SteadyClock(), options=options)
        assert home.outbox.status().unsent_events == 0
    anchors = [event.data for event in route.events() if isinstance(event.data, ClockAnchored)]
    assert [(one.anchored_boot, one.offset_ms) for one in anchors] == [("boot-1", 7_000)]


async def test_a_broker_that_tells_no_time_anchors_nothing(tmp_path: Path) -> None:
    route = ObedientRoute(append_ms=None)
    with new_home(tmp_path) as home:
        beats(home, 1)
        await drain(
            home, route, clock=SteadyClock(), options=EmitterOptions(heartbeat_seconds=None)
        )
    assert told(route.events()) == [1]
    assert len(route.events()) == 1


async def test_an_emitter_says_first_how_long_the_queue_is(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(), asyncio.Event()
    with new_home(tmp_path) as home:
        beats(home, 1, 2)

        async def stop_when_drained() -> None:
            await turns_until(lambda: bool(route.log) and home.outbox.status().unsent_events == 0)
            stopping.set()

        async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run(
                    home,
                    route,
                    clock=SteadyClock(),
                    stopping=stopping,
                    options=EmitterOptions(anchors=False),
                )
            )
            tasks.create_task(stop_when_drained())
    last = route.events()[-1].data
    assert isinstance(last, Heartbeat)
    assert (last.queue_events, last.oldest_unsent_ms, last.route) == (2, NOW_MS, "test")
    assert last.disk_free_bytes
    assert last.software


async def test_a_full_outbox_still_sends(tmp_path: Path) -> None:
    route = ObedientRoute(append_ms=NOW_MS + 7_000)
    with new_home(tmp_path) as home:
        beats(home, *range(2_000))
        connection = home.outbox._connection
        connection.pragma("max_page_count", connection.pragma("page_count"))
        await drain(
            home, route, clock=SteadyClock(), options=EmitterOptions(heartbeat_seconds=None)
        )
        assert home.outbox.status().unsent_events == 0
    assert told(route.events()) == list(range(2_000))


async def test_two_emitters_of_one_home_are_refused_and_the_holder_is_named(tmp_path: Path) -> None:
    with new_home(tmp_path) as home, home.emitting():
        pid = home.emitter_pid()
        with (
            ProducerHome.open(tmp_path) as other,
            pytest.raises(OutboxBusy, match=f"process {pid} already"),
        ):
            await drain(other, ObedientRoute(), clock=SteadyClock(), options=QUIET)
    assert pid is not None


async def test_the_next_route_is_tried_when_one_is_away_and_all_are_stopped() -> None:
    first, second = ObedientRoute(failures=1, label="one"), ObedientRoute(label="two")
    routes = FirstThatWorks([first, second])
    await routes.send([b"a"], producer=ProducerId("dev-1"))
    assert (first.log, second.log, routes.label) == ([], [b"a"], "two")
    await routes.send([b"b"], producer=ProducerId("dev-1"))
    assert (first.log, routes.label) == ([b"b"], "one")
    await routes.stop()
    assert (first.log[-1], second.log[-1]) == (b"stopped", b"stopped")


def test_retries_wait_longer_and_longer_up_to_a_limit_and_never_overflow() -> None:
    options = EmitterOptions()
    caps = [retry_seconds(failures, options, _Longest()) for failures in (1, 2, 3, 7, 10**6)]
    assert caps == [1.0, 2.0, 4.0, 60.0, 60.0]
    chance = random.Random(4)
    assert all(0 <= retry_seconds(9, options, chance) <= 60 for _ in range(100))


@pytest.mark.parametrize(
    ("text", "address"),
    [("kafka://host:9092", "host:9092"), ("kafka://[::1]:9092/", "[::1]:9092")],
)
def test_a_kafka_route_names_host_and_port(text: str, address: str) -> None:
    assert kafka_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "https://gateway",
        "relay+https://relay",
        "host:9092",
        "kafka://host",
        "kafka://host:x",
        "kafka://host:9092/topic",
        "kafka://user:secret@host:9092",
        "",
    ],
)
def test_any_other_route_is_refused_with_what_works_and_without_its_secrets(text: str) -> None:
    with pytest.raises(Misconfigured, match="wanted kafka://host:port") as caught:
        kafka_address(text)
    assert "secret" not in str(caught.value)
