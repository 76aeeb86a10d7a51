"""What an emitter does between outbox and route, shown with routes that obey the test."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from producers.device.clock import Reading
from producers.device.emitter import Emitter, EmitterOptions, drain, run
from producers.device.home import ProducerHome
from producers.device.known_time import KnownTime
from producers.device.outbox import Outbox, StoredSegment
from producers.device.pacing import ByteLimit
from producers.device.refusals import AGAIN_SECONDS, REFUSALS_MAX
from producers.device.routing import BYTES_FIRST, MONOTONIC, Routing, RoutingOptions
from rekam.domain.errors import OutboxBusy, OutboxFull, Unavailable
from rekam.domain.events import ClockAnchored, Event, Heartbeat, RouteChanged, encode
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import EpochReceipt, Receipt, Run, sign_receipt
from rekam.domain.segment import Sealed, parse
from tests.support.device import new_home
from tests.support.routes import NOW_MS, Longest, ObedientRoute, Seconds, SteadyClock

WAIT_SECONDS_MAX = 20.0
OFFICE = SigningKey.from_seed(bytes([42]) * 32)
QUICK = RoutingOptions(retry_seconds_first=0.001, retry_seconds_max=0.002)
QUIET = EmitterOptions(heartbeat_seconds=None, anchors=False)
EAGER = EmitterOptions(
    heartbeat_seconds=None,
    anchors=False,
    linger_seconds=0.001,
    receipt_poll_seconds=0.001,
    routing=QUICK,
)


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
    patient = RoutingOptions(retry_seconds_first=3_600.0, retry_seconds_max=3_600.0)
    with new_home(tmp_path) as home:
        beats(home, 1)
        routing = Routing([route], options=patient, jitter=Longest())
        emitter = Emitter(home, routing, clock=SteadyClock(), options=QUIET)
        async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as tasks:
            tasks.create_task(emitter.run(stopping))
            await route.asked.wait()
            stopping.set()
        assert home.outbox.status().unsent_events == 1


async def test_while_the_route_is_away_events_wait_for_a_full_segment(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(failures=10**9), asyncio.Event()
    options = EmitterOptions(
        events_max=4,
        heartbeat_seconds=None,
        routing=RoutingOptions(retry_seconds_first=0.001, retry_seconds_max=0.001),
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


class FullAtTake(Outbox):
    """An outbox on a disk that is so full that not even this can be written."""

    def take(self, taken: Sequence[StoredSegment], *, route: str, now: Reading) -> None:
        raise OutboxFull(f"no room for {len(taken)} by {route} at {now.mono_ms}")


async def test_a_disk_that_cannot_note_what_was_sent_does_not_send_it_over_and_over(
    tmp_path: Path,
) -> None:
    route, stopping = ObedientRoute(), asyncio.Event()
    patient = replace(QUIET, routing=RoutingOptions(retry_seconds_first=3_600.0))
    with new_home(tmp_path) as home, FullAtTake.open(tmp_path / "outbox.db") as outbox:
        beats(home, 1)
        emitter = Emitter(
            replace(home, outbox=outbox),
            Routing([route]),
            clock=SteadyClock(),
            options=patient,
            jitter=Longest(),
        )
        async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as tasks:
            tasks.create_task(emitter.run(stopping))
            await route.asked.wait()
            for _ in range(200):
                await asyncio.sleep(0)
            stopping.set()
        assert home.outbox.status().unsent_events == 1
    assert route.tries == 1


# -- verdicts --------------------------------------------------------------------------------------


def sealed(home: ProducerHome, *numbers: int) -> StoredSegment:
    """Record and seal a segment; return it."""
    beats(home, *numbers)
    now = SteadyClock().read()
    home.outbox.seal_pending(
        signing_key=home.signing_key,
        reader=home.reader,
        sealed=Sealed(wall_ms=now.wall_ms, mono_ms=now.mono_ms, boot=now.boot),
    )
    return home.outbox.unsent(limit_bytes=10**9)[-1]


def receipt_for(
    home: ProducerHome,
    segments: Sequence[StoredSegment],
    *,
    key: SigningKey = OFFICE,
    producer: str = "dev-1",
    gaps: tuple[tuple[int, int], ...] = (),
) -> bytes:
    """Sign a receipt for consecutive segments."""
    runs = (Run(segments[0].first, segments[-1].last, parse(segments[-1].raw).hash),)
    found = Receipt(1, producer, NOW_MS, (), (EpochReceipt(home.epoch, runs, gaps),))
    return sign_receipt(found, key)


async def test_a_refused_segment_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    route = ObedientRoute(verdict="refused", code="fork")
    with new_home(tmp_path) as home:
        one, two, three = (sealed(home, number) for number in (1, 2, 3))
        route.unwanted = {two.raw}
        drained = await drain(home, route, clock=SteadyClock(), options=QUIET)
        status = home.outbox.status()
        kept = [found.raw for found in home.outbox.unreceipted(limit_bytes=10**6)]
    assert route.log == [one.raw, three.raw]
    assert (status.unsent_events, status.refused_segments) == (0, 1)
    assert (drained.refused_segments, drained.codes) == (1, {"fork"})
    assert kept == [one.raw, two.raw, three.raw]


async def test_a_server_that_refuses_wrongly_keeps_nothing_out_of_the_log(tmp_path: Path) -> None:
    """The receipt shows that the log lacks it: the other route is asked, then it has all."""
    gateway, kafka = (
        ObedientRoute("gateway", verdict="refused", code="fork"),
        ObedientRoute("kafka"),
    )
    routing, clock = Routing([gateway, kafka], options=QUICK), SteadyClock()
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        one, two = (sealed(home, number) for number in (1, 2))
        gateway.unwanted = {one.raw}
        await drain(home, routing, clock=clock, options=QUIET)
        gateway.receipts = receipt_for(home, [two], gaps=((1, 1),))
        assert (home.outbox.status().refused_segments, kafka.log) == (1, [])
        clock.mono_ms += AGAIN_SECONDS * 1000
        for _ in range(2):
            await drain(home, routing, clock=clock, options=QUIET)
        status = home.outbox.status()
    assert (kafka.log, status.refused_segments, status.unsent_events) == ([one.raw], 0, 0)


async def test_what_every_server_refuses_is_offered_ever_more_rarely_and_then_no_more(
    tmp_path: Path,
) -> None:
    routes = [ObedientRoute("gateway", verdict="refused", code="fork") for _ in range(2)]
    routing, clock = Routing(routes, options=QUICK), SteadyClock()
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        one, two = (sealed(home, number) for number in (1, 2))
        for route in routes:
            route.unwanted = {one.raw}
            route.receipts = receipt_for(home, [two], gaps=((1, 1),))
        for _ in range(1_000):
            await drain(home, routing, clock=clock, options=QUIET)
            clock.mono_ms += AGAIN_SECONDS * 1000
        status = home.outbox.status()
    assert (routes[0].log, status.refused_segments) == ([two.raw], 1)
    assert [route.tries for route in routes] == [REFUSALS_MAX // 2, REFUSALS_MAX // 2]


async def test_what_the_only_relay_refuses_stays_in_the_queue_for_another_way(
    tmp_path: Path,
) -> None:
    relay = ObedientRoute("relay", verdict="refused", code="fork")
    with new_home(tmp_path) as home:
        one, two = (sealed(home, number) for number in (1, 2))
        relay.unwanted = {one.raw}
        with pytest.raises(Unavailable, match=r"1 segments were not taken \(fork\)"):
            await drain(home, relay, clock=SteadyClock(), options=QUIET)
        status = home.outbox.status()
        assert (status.unsent_segments, status.refused_segments, relay.log) == (1, 0, [two.raw])
        await drain(home, ObedientRoute("kafka"), clock=SteadyClock(), options=QUIET)
        assert home.outbox.status().unsent_segments == 0


async def test_a_segment_that_no_route_will_have_stays_unsent_and_blocks_none_behind_it(
    tmp_path: Path,
) -> None:
    route = ObedientRoute(verdict="retry", code="slow")
    with new_home(tmp_path) as home:
        one, two, three = (sealed(home, number) for number in (1, 2, 3))
        route.unwanted = {one.raw}
        with pytest.raises(Unavailable, match=r"1 segments were not taken \(slow\)"):
            await drain(home, route, clock=SteadyClock(), options=QUIET)
        assert [found.raw for found in home.outbox.unsent(limit_bytes=10**6)] == [one.raw]
    assert route.log == [two.raw, three.raw]


async def test_a_running_emitter_tries_such_a_segment_again_by_itself(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(verdict="retry", code="slow"), asyncio.Event()
    with new_home(tmp_path) as home:
        one = sealed(home, 1)
        route.unwanted = {one.raw}

        async def watch() -> None:
            await turns_until(lambda: route.tries >= 5)
            beats(home, 2)
            await turns_until(lambda: home.outbox.status().unsent_segments == 1 and bool(route.log))
            route.unwanted = {b"another"}
            await turns_until(lambda: home.outbox.status().unsent_events == 0)
            stopping.set()

        await _run_beside(home, Routing([route], options=QUICK), stopping, watch)
    assert route.log[-1] == one.raw


async def test_who_only_keeps_a_segment_is_remembered_as_such(tmp_path: Path) -> None:
    with new_home(tmp_path) as home:
        for label in ("relay", "gateway"):
            beats(home, 1)
            route = ObedientRoute(label, verdict="custody")
            drained = await drain(home, route, clock=SteadyClock(), options=QUIET)
            assert drained.custody_events == 1
        late = home.outbox.overdue(now=SteadyClock().read(), seconds=0)
    assert [one.route for one in late] == ["relay", "gateway+custody"]


# -- routes ----------------------------------------------------------------------------------------


async def _run_beside(
    home: ProducerHome,
    routing: Routing,
    stopping: asyncio.Event,
    *tasks: Callable[[], Coroutine[None, None, None]],
    options: EmitterOptions = EAGER,
    clock: SteadyClock | None = None,
) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as group:
        group.create_task(
            run(home, routing, clock=clock or SteadyClock(), stopping=stopping, options=options)
        )
        for task in tasks:
            group.create_task(task())


async def test_a_change_of_the_route_that_takes_is_an_event(tmp_path: Path) -> None:
    first, second = ObedientRoute("gateway", failures=1), ObedientRoute("kafka")
    stopping = asyncio.Event()
    with new_home(tmp_path) as home:
        beats(home, 1)

        async def watch() -> None:
            await turns_until(lambda: bool(second.log))
            number = 2
            while len(_changes(first, second)) < 2:
                beats(home, number)
                number += 1
                await asyncio.sleep(0)
            stopping.set()

        await _run_beside(home, Routing([first, second], options=QUICK), stopping, watch)
    assert _changes(first, second)[:2] == [
        RouteChanged(route="kafka", previous="gateway", reason="unavailable"),
        RouteChanged(route="gateway", previous="kafka", reason="worked_again"),
    ]


def _changes(*routes: ObedientRoute) -> list[RouteChanged]:
    """Return the changes that the log has, each once, in order."""
    events = {
        (parse(raw).header.first, place): event
        for route in routes
        for raw in route.log
        for place, event in enumerate(events_of(raw))
    }
    found = [events[key].data for key in sorted(events)]
    return [data for data in found if isinstance(data, RouteChanged)]


def events_of(raw: bytes) -> list[Event]:
    return ObedientRoute(log=[raw]).events()


async def test_fresh_events_overtake_a_backlog(tmp_path: Path) -> None:
    route = ObedientRoute()
    options = EmitterOptions(
        events_max=1, heartbeat_seconds=None, anchors=False, linger_seconds=0.0, routing=QUICK
    )
    with new_home(tmp_path) as home:
        backlog = [sealed(home, number) for number in range(150)]
        recorded = False

        async def record() -> None:
            nonlocal recorded
            await turns_until(lambda: home.outbox.status().taken_through > 0)
            beats(home, 1_000)
            recorded = True

        seconds = itertools.count(0, 60)
        limit = ByteLimit(2 * 1024, monotonic=lambda: float(next(seconds)))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(record())
            routing = Routing([route], limit=limit)
            tasks.create_task(drain(home, routing, clock=SteadyClock(), options=options))
        order = told(route.events())
    assert recorded
    assert len(order) == len(backlog) + 1
    assert order.index(1_000) < 20


async def test_a_limit_in_bytes_a_second_is_kept(tmp_path: Path) -> None:
    route = ObedientRoute()
    with new_home(tmp_path) as home:
        size = sum(len(sealed(home, number).raw) for number in range(40))
        began = MONOTONIC()
        limit = ByteLimit(size // 2, monotonic=MONOTONIC)
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await drain(home, Routing([route], limit=limit), clock=SteadyClock(), options=QUIET)
        assert MONOTONIC() - began >= 0.9
    assert max(route.sizes) <= size // 2


async def test_the_queue_is_never_read_whole(tmp_path: Path) -> None:
    route = ObedientRoute()
    with new_home(tmp_path) as home:
        for number in range(400):
            sealed(home, number)
        await drain(home, route, clock=SteadyClock(), options=QUIET)
    assert len(route.log) == 400
    assert len(route.sizes) >= 3
    assert max(route.sizes) <= 2 * BYTES_FIRST


# -- receipts --------------------------------------------------------------------------------------


async def test_a_trusted_receipt_prunes_after_the_keep_time_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    route, clock = ObedientRoute(), SteadyClock()
    options = replace(QUIET, keep_seconds=60.0)
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        segments = [sealed(home, number) for number in range(3)]
        route.receipts = receipt_for(home, segments)
        await drain(home, route, clock=clock, options=options)
        assert home.outbox.status().receipted_through == 3
        assert len(home.outbox.unreceipted(limit_bytes=10**6)) == 0
        clock.mono_ms += 59_000
        await drain(home, route, clock=clock, options=options)
        assert _stored(home) == 3
        clock.mono_ms += 2_000
        await drain(home, route, clock=clock, options=options)
        assert _stored(home) == 1, "the last one stays: the next is chained to it"


async def test_a_home_says_how_long_it_keeps_what_a_receipt_covers(tmp_path: Path) -> None:
    route, clock = ObedientRoute(), SteadyClock()
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        home.limit(keep_days=2)
    with ProducerHome.open(tmp_path) as home:
        route.receipts = receipt_for(home, [sealed(home, number) for number in range(3)])
        await drain(home, route, clock=clock, options=QUIET)
        clock.mono_ms += 2 * 86_400_000 - 1
        await drain(home, route, clock=clock, options=QUIET)
        assert _stored(home) == 3
        clock.mono_ms += 1
        await drain(home, route, clock=clock, options=QUIET)
        assert _stored(home) == 1


def _stored(home: ProducerHome) -> int:
    return int(home.outbox._connection.execute("SELECT count(*) FROM segment").get)


@pytest.mark.parametrize("fault", ["untrusted", "foreign", "garbage", "none trusted"])
async def test_a_receipt_that_may_not_be_believed_changes_nothing(
    tmp_path: Path, fault: str
) -> None:
    route, clock = ObedientRoute(), SteadyClock()
    with new_home(tmp_path) as home:
        if fault != "none trusted":
            home.trust_receipts([OFFICE.public])
        segments = [sealed(home, number) for number in range(3)]
        match fault:
            case "untrusted":
                stranger = SigningKey.from_seed(bytes([43]) * 32)
                route.receipts = receipt_for(home, segments, key=stranger)
            case "foreign":
                route.receipts = receipt_for(home, segments, producer="dev-2")
            case "garbage":
                route.receipts = b'{"payload": 3}'
            case _:
                route.receipts = receipt_for(home, segments)
        for _ in range(2):
            await drain(home, route, clock=clock, options=replace(QUIET, keep_seconds=0.0))
            clock.mono_ms += 10_000_000
        status = home.outbox.status()
        assert (status.receipted_through, status.taken_events, _stored(home)) == (0, 3, 3)


async def test_what_a_receipt_names_as_missing_is_sent_again_by_itself(tmp_path: Path) -> None:
    route, stopping = ObedientRoute(), asyncio.Event()
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        one, two, three = (sealed(home, number) for number in range(3))
        route.receipts = receipt_for(home, [three], gaps=((1, 2),))

        async def watch() -> None:
            await turns_until(lambda: len(route.log) >= 5)
            stopping.set()

        await _run_beside(home, Routing([route], options=QUICK), stopping, watch)
    assert route.log == [one.raw, two.raw, three.raw, one.raw, two.raw]


async def test_a_route_that_keeps_and_brings_no_receipt_is_demoted_and_the_next_one_sends(
    tmp_path: Path,
) -> None:
    relay, kafka = ObedientRoute("relay", verdict="custody"), ObedientRoute("kafka")
    stopping, clock = asyncio.Event(), SteadyClock()
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        one = sealed(home, 1)

        async def watch() -> None:
            await turns_until(lambda: home.outbox.status().taken_through == 1)
            clock.mono_ms += 3_600_001
            await turns_until(lambda: len(kafka.log) >= 2)
            beats(home, 2)
            await turns_until(lambda: len(kafka.log) >= 3)
            stopping.set()

        await _run_beside(home, Routing([relay, kafka]), stopping, watch, clock=clock)
    assert (relay.log, kafka.log[0]) == ([one.raw], one.raw)
    assert _changes(relay, kafka) == [
        RouteChanged(route="kafka", previous="relay", reason="no_receipt")
    ]


async def test_an_only_relay_that_never_delivers_gets_everything_again_ever_more_rarely(
    tmp_path: Path,
) -> None:
    relay, clock = ObedientRoute("relay", verdict="custody"), SteadyClock()
    hours: list[int] = []
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        one = sealed(home, 1)
        for hour in range(7 * 24):
            for _ in range(2):  # the first one only finds what is overdue
                await drain(home, Routing([relay]), clock=clock, options=QUIET)
            hours += [hour] * (len(relay.log) - len(hours))
            clock.mono_ms += 3_600_000
        assert hours == [0, 1, 3, 7, 15, 31, 55, 79, 103, 127, 151]
        clock.mono_ms += 10**9
        kafka = ObedientRoute("kafka")
        for _ in range(2):
            await drain(home, kafka, clock=clock, options=QUIET)
    assert kafka.log == [one.raw]


async def test_what_an_only_relay_keeps_goes_by_another_route_within_the_hour_that_it_is_back(
    tmp_path: Path,
) -> None:
    """Three rounds with the relay alone have made eight hours of the wait."""
    relay = ObedientRoute("relay", verdict="custody")
    kafka = ObedientRoute("kafka", failures=10**9)
    clock, seconds = SteadyClock(), Seconds()
    routing = Routing([relay, kafka], jitter=Longest(), monotonic=seconds)
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        one = sealed(home, 1)

        async def pass_hour() -> None:
            clock.mono_ms += 3_600_000
            for _ in range(5):
                seconds.now += 720.0
                with suppress(Unavailable):
                    await drain(home, routing, clock=clock, options=QUIET)

        for _ in range(9):
            await pass_hour()
        assert relay.log == [one.raw] * 4
        kafka.failures = 0
        beats(home, 2)
        routing.demote("relay", "no_receipt")  # as what was recorded since does each hour
        await pass_hour()
        assert one.raw in kafka.log


class Noting(Routing):
    """Remembers whom it was told to forgive."""

    def forgive(self, name: str) -> None:
        self.forgiven = [*getattr(self, "forgiven", []), name]
        super().forgive(name)


async def test_a_receipt_forgives_who_took_what_it_covers_and_not_who_took_last(
    tmp_path: Path,
) -> None:
    gateway = ObedientRoute("gateway", verdict="custody", failures=1)
    kafka = ObedientRoute("kafka")
    seconds = Seconds()
    routing = Noting([gateway, kafka], jitter=Longest(), monotonic=seconds)
    with new_home(tmp_path) as home:
        home.trust_receipts([OFFICE.public])
        emitter = Emitter(home, routing, clock=SteadyClock(), options=QUIET)
        beats(home, 1)
        await emitter.drain(asyncio.Event())  # by Kafka: the gateway fails
        seconds.now += 1.0
        while not gateway.log:
            beats(home, 2)
            await emitter.drain(asyncio.Event())  # the gateway is probed, and takes over
        beats(home, 3)
        await emitter.drain(asyncio.Event())
        await routing.settle()
        held = home.outbox.unreceipted(limit_bytes=10**9)
        assert (held[0].raw, held[-1].raw) == (kafka.log[0], gateway.log[-1])
        kafka.receipts = gateway.receipts = receipt_for(home, held[:1])
        await emitter.ask_receipt(asyncio.Event())
        assert routing.forgiven == ["kafka"]
        kafka.receipts = gateway.receipts = receipt_for(home, held)
        await emitter.ask_receipt(asyncio.Event())
        assert set(routing.forgiven[1:]) == {"gateway", "kafka"}


async def test_without_a_trusted_key_no_route_is_blamed_for_missing_receipts(
    tmp_path: Path,
) -> None:
    relay, kafka = ObedientRoute("relay", verdict="custody"), ObedientRoute("kafka")
    clock = SteadyClock()
    with new_home(tmp_path) as home:
        sealed(home, 1)
        for _ in range(3):
            await drain(home, Routing([relay, kafka]), clock=clock, options=QUIET)
            clock.mono_ms += 10**9
        assert home.outbox.status().taken_events == 1
    assert kafka.tries == 0


async def test_an_emitter_in_a_full_outbox_goes_on_although_its_own_events_have_no_room(
    tmp_path: Path,
) -> None:
    route, stopping = ObedientRoute(append_ms=NOW_MS + 7_000), asyncio.Event()
    options = EmitterOptions(linger_seconds=0.001, heartbeat_seconds=0.001, routing=QUICK)
    with new_home(tmp_path) as home:
        beats(home, *range(2_000))
        connection = home.outbox._connection
        connection.pragma("max_page_count", connection.pragma("page_count"))

        async def watch() -> None:
            await turns_until(lambda: told(route.events())[:2_000] == list(range(2_000)))
            stopping.set()

        await _run_beside(home, Routing([route], options=QUICK), stopping, watch, options=options)


async def test_a_contact_that_tells_a_time_long_passed_anchors_nothing(tmp_path: Path) -> None:
    """Nothing is dated before what the office has signed: the server's clock is the wrong one."""
    clock, route = SteadyClock(), ObedientRoute(append_ms=NOW_MS - 30 * 86_400_000)
    with new_home(tmp_path) as home:
        known = KnownTime(clock, receipt_as_of_ms=lambda: NOW_MS, written_ms=0)
        beats(home, 1)
        options = replace(QUIET, anchors=True)
        await drain(home, route, clock=clock, options=options, known_time=known)
        assert not any(isinstance(event.data, ClockAnchored) for event in route.events())
        route.append_ms = NOW_MS + 5_000
        beats(home, 2)
        await drain(home, route, clock=clock, options=options, known_time=known)
    assert any(isinstance(event.data, ClockAnchored) for event in route.events())


RELAY = "relay"
ANCHORING = replace(QUIET, anchors=True)


def known_at(clock: SteadyClock) -> KnownTime:
    return KnownTime(clock, receipt_as_of_ms=lambda: NOW_MS, written_ms=0)


def anchors_in(*routes: ObedientRoute) -> list[ClockAnchored]:
    found = [event.data for route in routes for event in route.events()]
    return [one for one in found if isinstance(one, ClockAnchored)]


async def test_a_device_that_meets_a_relay_alone_is_anchored_by_its_clock_and_says_so(
    tmp_path: Path,
) -> None:
    relay = ObedientRoute(RELAY, verdict="custody", relay_ms=NOW_MS + 90_000)
    with new_home(tmp_path) as home:
        for clock in (SteadyClock(boot="boot-0"), SteadyClock(), SteadyClock(mono_ms=9_000)):
            now = clock.read()
            fact = Event(now.wall_ms, now.mono_ms, now.boot, Heartbeat(queue_events=1))
            if clock.boot == "boot-0":  # a session without any contact
                home.outbox.append([encode(fact)])
                continue
            home.outbox.append([encode(fact)])
            await drain(home, relay, clock=clock, options=ANCHORING, known_time=known_at(clock))
    assert anchors_in(relay) == [
        ClockAnchored(anchored_boot="boot-1", offset_ms=90_000, source="relay"),
        ClockAnchored(anchored_boot="boot-0", offset_ms=90_000, source="relay_carried"),
    ], "each once, also when the device is started again"


async def test_the_log_still_says_its_own_where_a_relay_has_spoken(tmp_path: Path) -> None:
    relay = ObedientRoute(RELAY, verdict="custody", relay_ms=NOW_MS + 90_000)
    kafka, clock = ObedientRoute("kafka", append_ms=NOW_MS + 1_000), SteadyClock()
    with new_home(tmp_path) as home:
        known = known_at(clock)
        beats(home, 1)
        await drain(home, relay, clock=clock, options=ANCHORING, known_time=known)
        beats(home, 2)
        await drain(home, kafka, clock=clock, options=ANCHORING, known_time=known)
        beats(home, 3)
        relay.relay_ms = NOW_MS + 10_000_000
        await drain(home, relay, clock=clock, options=ANCHORING, known_time=known)
    assert [(one.source, one.offset_ms) for one in anchors_in(kafka)] == [("broker", 1_000)]
    assert [one.source for one in anchors_in(relay)] == ["relay"], "the log has spoken"


@pytest.mark.parametrize("days", [-30, 3 * 365], ids=["long-passed", "years-ahead"])
async def test_a_relay_whose_clock_cannot_be_right_anchors_nothing(
    tmp_path: Path, days: int
) -> None:
    relay = ObedientRoute(RELAY, verdict="custody", relay_ms=NOW_MS + days * 86_400_000)
    clock = SteadyClock()
    with new_home(tmp_path) as home:
        beats(home, 1)
        await drain(home, relay, clock=clock, options=ANCHORING, known_time=known_at(clock))
    assert anchors_in(relay) == []
