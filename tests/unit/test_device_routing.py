"""Circuits, fail-over and fail-back, two routes at once, limits and shares: all by a set clock."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from producers.device.addresses import RouteAddress, route_address
from producers.device.outbox import START, Place, StoredSegment
from producers.device.pacing import ByteLimit, FairShare, Picker
from producers.device.routing import (
    BYTES_FIRST,
    BYTES_MAX,
    RETRIES_MAX,
    Circuit,
    Routing,
    RoutingOptions,
    retry_seconds,
)
from rekam.domain.errors import Misconfigured, Overloaded, Unavailable
from rekam.domain.ids import Epoch, ProducerId
from tests.support.routes import Longest, ObedientRoute, Seconds

PRODUCER = ProducerId("dev-1")
WAIT_SECONDS_MAX = 20.0


def routing(
    *routes: ObedientRoute, clock: Seconds | None = None, both: bool = False, grace: float = 0.0
) -> Routing:
    return Routing(
        routes,
        options=RoutingOptions(both=both, grace_seconds=grace),
        jitter=Longest(),
        monotonic=clock or Seconds(),
    )


async def turns(count: int = 20) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


# -- circuits --------------------------------------------------------------------------------------


def test_retries_wait_longer_and_longer_up_to_a_limit_and_never_overflow() -> None:
    options = RoutingOptions()
    caps = [retry_seconds(failures, options, Longest()) for failures in (1, 2, 3, 10, 11, 10**6)]
    assert caps == [1.0, 2.0, 4.0, 512.0, 900.0, 900.0]
    chance = random.Random(4)
    assert all(0 <= retry_seconds(9, options, chance) <= 256 for _ in range(100))


def test_what_the_server_asks_for_is_the_least_that_is_waited() -> None:
    chance = random.Random(4)
    waits = [retry_seconds(1, RoutingOptions(), chance, at_least=30.0) for _ in range(100)]
    assert all(30.0 <= seconds <= 31.0 for seconds in waits)
    assert len(set(waits)) > 1


def test_a_circuit_opens_at_a_failure_half_opens_after_its_back_off_and_closes_at_a_success() -> (
    None
):
    clock = Seconds()
    circuit = Circuit(RoutingOptions(), jitter=Longest(), monotonic=clock)
    seen = [circuit.state]
    circuit.failed()
    seen.append(circuit.state)
    clock.now += 1.0
    seen.append(circuit.state)
    circuit.failed()
    clock.now += 1.0
    seen.append(circuit.state)
    clock.now += 1.0
    circuit.worked()
    seen.append(circuit.state)
    assert seen == ["closed", "open", "half_open", "open", "closed"]


def test_a_demoted_circuit_stays_demoted_although_it_takes_and_longer_each_time() -> None:
    clock = Seconds()
    circuit = Circuit(RoutingOptions(), jitter=Longest(), monotonic=clock)
    assert circuit.demote() == 900.0
    circuit.worked()
    assert (circuit.state, circuit.seconds_left) == ("demoted", 0.0)
    clock.now += 900.0
    seen = [circuit.state]
    circuit.worked()
    seen.append(circuit.state)
    assert seen == ["half_open", "closed"]
    assert circuit.demote() == 1800.0
    circuit.forgive()
    clock.now += 1800.0
    assert circuit.demote() == 900.0


def test_a_demoted_circuit_that_fails_has_a_back_off_too() -> None:
    clock = Seconds()
    circuit = Circuit(RoutingOptions(), jitter=Longest(), monotonic=clock)
    circuit.demote()
    circuit.failed()
    assert (circuit.state, circuit.seconds_left) == ("open", 1.0)
    clock.now += 1.0
    seen = [circuit.state]
    circuit.failed()
    clock.now += 899.0
    seen.append(circuit.state)
    assert seen == ["demoted", "half_open"]


def test_what_a_circuit_took_before_it_was_demoted_does_not_demote_it_again() -> None:
    clock = Seconds()
    circuit = Circuit(RoutingOptions(), jitter=Longest(), monotonic=clock)
    assert [circuit.demote(), circuit.demote()] == [900.0, 900.0]
    clock.now += 900.0
    assert circuit.demote() == 1800.0


# -- fail-over and fail-back -----------------------------------------------------------------------


async def test_the_next_route_takes_over_at_once_when_one_fails_and_all_are_stopped() -> None:
    first, second = ObedientRoute("one", failures=1), ObedientRoute("two")
    routes = routing(first, second)
    sent = await routes.send([b"a"], producer=PRODUCER)
    assert (sent.taker, first.log, second.log) == ("two", [], [b"a"])
    assert routes.reason("one") == "unavailable"
    await routes.send([b"b"], producer=PRODUCER)
    assert (first.tries, second.log) == (1, [b"a", b"b"])
    await routes.stop()
    await routes.stop()
    assert first.is_stopped
    assert second.is_stopped


async def test_an_earlier_route_is_probed_when_its_back_off_ends_and_takes_over_again() -> None:
    clock = Seconds()
    first, second = ObedientRoute("one", failures=1), ObedientRoute("two")
    routes = routing(first, second, clock=clock)
    await routes.send([b"a"], producer=PRODUCER)
    clock.now += 1.0
    sent = await routes.send([b"b", b"c"], producer=PRODUCER)
    await turns()
    assert (sent.taker, first.log, second.log) == ("two", [b"b"], [b"a", b"b", b"c"])
    sent = await routes.send([b"d"], producer=PRODUCER)
    assert (sent.taker, first.log) == ("one", [b"b", b"d"])


async def test_a_probe_that_hangs_holds_nothing_up() -> None:
    clock = Seconds()
    first, second = ObedientRoute("one", failures=1), ObedientRoute("two")
    routes = routing(first, second, clock=clock)
    await routes.send([b"a"], producer=PRODUCER)
    first.gate.clear()
    clock.now += 1.0
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        for raw in (b"b", b"c", b"d"):
            await routes.send([raw], producer=PRODUCER)
        await turns()
        assert first.tries == 2
        assert second.log == [b"a", b"b", b"c", b"d"]
        await routes.stop()
    assert first.log == []


async def test_a_probe_that_fails_waits_longer_for_the_next_one() -> None:
    clock = Seconds()
    first, second = ObedientRoute("one", failures=2), ObedientRoute("two")
    routes = routing(first, second, clock=clock)
    for seconds in (0.0, 1.0, 1.9):
        clock.now += seconds
        await routes.send([b"a"], producer=PRODUCER)
        await turns()
    assert first.tries == 2
    clock.now += 0.1
    await routes.send([b"a"], producer=PRODUCER)
    await turns()
    assert first.log == [b"a"]


async def test_when_all_fail_it_says_when_the_first_may_be_tried_again() -> None:
    clock = Seconds()
    first = ObedientRoute(
        "one", failures=1, error=Overloaded("slow down", retry_after_seconds=300.0)
    )
    second = ObedientRoute("two", failures=1, error=Unavailable("away", retry_after_seconds=40.0))
    routes = routing(first, second, clock=clock)
    with pytest.raises(Unavailable, match="slow down; away") as caught:
        await routes.send([b"a"], producer=PRODUCER)
    assert caught.value.retry_after_seconds == routes.seconds_until_try == 41.0
    with pytest.raises(Unavailable, match="back-off"):
        await routes.send([b"a"], producer=PRODUCER)
    assert (first.tries, second.tries) == (1, 1)
    clock.now += 41.0
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "two"


async def test_what_one_route_will_not_have_goes_by_the_next_and_nothing_else() -> None:
    first = ObedientRoute("one", verdict="retry", code="slow", unwanted={b"b"})
    second = ObedientRoute("two")
    routes = routing(first, second)
    sent = await routes.send([b"a", b"b", b"c"], producer=PRODUCER)
    assert [outcome.route for outcome in sent.outcomes] == ["one", "two", "one"]
    assert (first.log, second.log, sent.taker) == ([b"a", b"c"], [b"b"], "one")


async def test_what_is_refused_is_not_offered_to_another_route() -> None:
    first = ObedientRoute("one", verdict="refused", code="fork", unwanted={b"b"})
    second = ObedientRoute("two")
    sent = await routing(first, second).send([b"a", b"b"], producer=PRODUCER)
    assert sent.outcomes[1].verdict.code == "fork"
    assert second.tries == 0


async def test_what_a_relay_refuses_is_offered_to_the_next_route() -> None:
    """It logs nothing, so its judgement is no more than advice."""
    relay = ObedientRoute("relay", verdict="refused", code="unknown_key", unwanted={b"b"})
    kafka = ObedientRoute("kafka")
    sent = await routing(relay, kafka).send([b"a", b"b"], producer=PRODUCER)
    assert [outcome.route for outcome in sent.outcomes] == ["relay", "kafka"]
    assert kafka.log == [b"b"]


async def test_what_a_relay_refuses_and_a_gateway_too_is_refused() -> None:
    relay = ObedientRoute("relay", verdict="refused", code="unknown_key")
    gateway = ObedientRoute("gateway", verdict="refused", code="body_mismatch")
    (outcome,) = (await routing(relay, gateway).send([b"a"], producer=PRODUCER)).outcomes
    assert (outcome.verdict.verdict, outcome.verdict.code) == ("refused", "body_mismatch")
    assert outcome.route == "gateway"


async def test_what_relays_alone_refuse_is_to_be_offered_again_with_their_reason() -> None:
    relays = [ObedientRoute("relay", verdict="refused", code="bad"), ObedientRoute("relay")]
    relays[1].verdict, relays[1].code = "refused", "bad"
    (outcome,) = (await routing(*relays).send([b"a"], producer=PRODUCER)).outcomes
    assert (outcome.verdict.verdict, outcome.verdict.code) == ("retry", "bad")


async def test_a_relay_under_a_gateways_address_is_known_by_the_custody_that_it_takes() -> None:
    server = ObedientRoute("gateway", verdict="custody")
    kafka = ObedientRoute("kafka")
    routes = routing(server, kafka)
    await routes.send([b"a"], producer=PRODUCER)
    server.verdict, server.code = "refused", "bad"
    (outcome,) = (await routes.send([b"b"], producer=PRODUCER)).outcomes
    assert (outcome.verdict.verdict, outcome.route, kafka.log) == ("logged", "kafka", [b"b"])


async def test_who_refused_a_segment_before_is_asked_last() -> None:
    gateway, kafka = ObedientRoute("gateway"), ObedientRoute("kafka")
    routes = routing(gateway, kafka)
    sent = await routes.send([b"a", b"b"], producer=PRODUCER, avoided=["gateway", None])
    assert [outcome.route for outcome in sent.outcomes] == ["kafka", "gateway"]
    kafka.failures = 1
    sent = await routes.send([b"c"], producer=PRODUCER, avoided=["gateway"])
    assert [outcome.route for outcome in sent.outcomes] == ["gateway"]


async def test_a_probe_carries_no_segment_that_its_route_has_refused() -> None:
    clock = Seconds()
    gateway, kafka = ObedientRoute("gateway", failures=1), ObedientRoute("kafka")
    routes = routing(gateway, kafka, clock=clock)
    await routes.send([b"a"], producer=PRODUCER)
    clock.now += 1.0
    await routes.send([b"b", b"c"], producer=PRODUCER, avoided=["gateway", None])
    await turns()
    assert gateway.log == [b"c"]


async def test_a_route_that_only_ever_says_retry_counts_as_failed() -> None:
    clock = Seconds()
    first, second = ObedientRoute("one", verdict="retry"), ObedientRoute("two")
    routes = routing(first, second, clock=clock)
    await routes.send([b"a", b"b"], producer=PRODUCER)
    assert (routes.reason("one"), routes.current) == ("retry", "two")

    alone = ObedientRoute("one", verdict="retry")
    routes = routing(alone, clock=clock)
    for _ in range(RETRIES_MAX):
        sent = await routes.send([b"a"], producer=PRODUCER)
        assert sent.outcomes[0].verdict.verdict == "retry"
    assert routes.seconds_until_try > 0


async def test_a_demoted_route_is_left_alone_and_a_sole_one_is_not_demoted() -> None:
    first, second = ObedientRoute("relay"), ObedientRoute("kafka")
    routes = routing(first, second)
    assert routes.demote("relay", "no_receipt")
    assert not routes.demote("usb", "no_receipt")
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "kafka"
    assert routes.reason("relay") == "no_receipt"
    assert not routing(first).demote("relay", "no_receipt")


async def test_a_demoted_route_is_the_last_resort_when_no_other_works() -> None:
    clock = Seconds()
    relay, kafka = ObedientRoute("relay"), ObedientRoute("kafka", failures=5)
    routes = routing(relay, kafka, clock=clock)
    routes.demote("relay", "no_receipt")
    for seconds in (1.0, 2.0, 4.0):
        with pytest.raises(Unavailable) as caught:
            await routes.send([b"a"], producer=PRODUCER)
        if seconds < 4.0:
            assert caught.value.retry_after_seconds == seconds, "a hiccup is no reason to use it"
            clock.now += seconds
    assert (routes.current, routes.seconds_until_try) == ("relay", 0.0)
    assert (await routes.send([b"b"], producer=PRODUCER)).taker == "relay"
    assert kafka.tries == 3, "it is in its back-off"
    clock.now += 4.0
    assert (await routes.send([b"c"], producer=PRODUCER)).taker == "relay"
    assert kafka.tries == 4, "it is asked before the demoted one"
    clock.now += 8.0
    kafka.failures = 0
    for raw in (b"d", b"e"):
        assert (await routes.send([raw], producer=PRODUCER)).taker == "kafka"
    assert relay.log == [b"b", b"c"]


async def test_of_two_routes_at_once_a_demoted_one_is_left_out() -> None:
    relay, kafka = ObedientRoute("relay"), ObedientRoute("kafka")
    routes = routing(relay, kafka, both=True, grace=WAIT_SECONDS_MAX)
    routes.demote("relay", "no_receipt")
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "kafka"
    assert relay.tries == 0


async def test_routes_that_are_all_demoted_are_used_in_their_order() -> None:
    relay, gateway = ObedientRoute("relay"), ObedientRoute("gateway")
    routes = routing(relay, gateway)
    for name in routes.names:
        routes.demote(name, "no_receipt")
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "relay"


def test_routes_of_one_kind_have_names_of_their_own() -> None:
    routes = routing(ObedientRoute("gateway"), ObedientRoute("kafka"), ObedientRoute("gateway"))
    assert routes.names == ("gateway", "kafka", "gateway-2")


async def test_a_bug_in_a_probe_does_not_stay_unseen() -> None:
    class Broken(ObedientRoute):
        async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> None:  # type: ignore[override]  # a bug
            if self.failures:
                await super().send(segments, producer=producer)
            raise ZeroDivisionError

    clock = Seconds()
    routes = routing(Broken("one", failures=1), ObedientRoute("two"), clock=clock)
    await routes.send([b"a"], producer=PRODUCER)
    clock.now += 1.0
    await routes.send([b"b"], producer=PRODUCER)
    await turns()
    with pytest.raises(ZeroDivisionError):
        await routes.send([b"c"], producer=PRODUCER)


# -- two routes at once ----------------------------------------------------------------------------


async def test_both_routes_get_everything_and_one_that_fails_never_blocks() -> None:
    first, second = ObedientRoute("one"), ObedientRoute("two", failures=1)
    routes = routing(first, second, both=True, grace=WAIT_SECONDS_MAX)
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "one"
    assert (await routes.send([b"b"], producer=PRODUCER)).taker == "one"
    assert (first.log, second.log) == ([b"a", b"b"], [])

    first, second = ObedientRoute("one", failures=1), ObedientRoute("two")
    routes = routing(first, second, both=True, grace=WAIT_SECONDS_MAX)
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "two"

    first, second = ObedientRoute("one"), ObedientRoute("two")
    routes = routing(first, second, both=True, grace=WAIT_SECONDS_MAX)
    await routes.send([b"a", b"b"], producer=PRODUCER)
    assert first.log == second.log == [b"a", b"b"]


async def test_a_second_route_that_hangs_is_left_behind_and_not_given_more() -> None:
    first, second = ObedientRoute("one"), ObedientRoute("two")
    second.gate.clear()
    routes = routing(first, second, both=True)
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        for raw in (b"a", b"b"):
            assert (await routes.send([raw], producer=PRODUCER)).taker == "one"
    assert (first.log, second.tries) == ([b"a", b"b"], 1)
    second.gate.set()
    await turns()
    await routes.send([b"c"], producer=PRODUCER)
    assert second.log == [b"a", b"c"]
    await routes.stop()


async def test_when_both_fail_the_third_takes_over() -> None:
    first, second, third = (
        ObedientRoute("one", failures=1),
        ObedientRoute("two", failures=1),
        ObedientRoute("three"),
    )
    routes = routing(first, second, third, both=True)
    assert (await routes.send([b"a"], producer=PRODUCER)).taker == "three"


async def test_a_segment_that_one_of_both_refused_and_the_other_logged_is_logged() -> None:
    first = ObedientRoute("one", verdict="refused", code="unknown")
    second = ObedientRoute("two")
    routes = routing(first, second, both=True, grace=WAIT_SECONDS_MAX)
    (outcome,) = (await routes.send([b"a"], producer=PRODUCER)).outcomes
    assert (outcome.verdict.verdict, outcome.route) == ("logged", "two")


# -- how much at a time ----------------------------------------------------------------------------


async def test_a_quick_route_is_given_twice_as_much_each_time_up_to_a_limit() -> None:
    route = ObedientRoute()
    routes = routing(route)
    given = []
    for _ in range(9):
        given.append(routes.batch_bytes)
        await routes.send([bytes(routes.batch_bytes)], producer=PRODUCER)
    assert given == [min(BYTES_MAX, BYTES_FIRST << step) for step in range(9)]


async def test_a_route_that_failed_is_given_less_and_another_one_gets_it_in_pieces() -> None:
    clock = Seconds()
    first, second = ObedientRoute("one"), ObedientRoute("two")
    routes = routing(first, second, clock=clock)
    while routes.batch_bytes < 4 * BYTES_FIRST:
        await routes.send([bytes(routes.batch_bytes)], producer=PRODUCER)
    first.failures = 1
    await routes.send([bytes(BYTES_FIRST)] * 4, producer=PRODUCER)
    assert second.sizes == [BYTES_FIRST, 2 * BYTES_FIRST, BYTES_FIRST]
    clock.now += 1.0
    routes.demote("two", "no_receipt")
    assert routes.batch_bytes == 2 * BYTES_FIRST


def test_a_limit_holds_in_the_long_run_and_lets_one_second_through_at_once() -> None:
    clock = Seconds()
    limit = ByteLimit(1_000, monotonic=clock)
    sent = 0
    while clock.now < 1_100.0:
        if wait := limit.wait_seconds():
            clock.now += wait
        limit.spend(700)
        sent += 700
    assert 100_000 <= sent <= 101_000 + 2 * 700
    clock.now += 3_600.0
    assert limit.wait_seconds() == 0
    limit.spend(3_000)
    assert limit.wait_seconds() == pytest.approx(2.0)


def test_without_a_limit_nothing_waits() -> None:
    limit = ByteLimit(None, monotonic=Seconds())
    limit.spend(10**12)
    assert (limit.wait_seconds(), limit.batch_bytes) == (0.0, None)


# -- fresh and backlog -----------------------------------------------------------------------------


class Queue:
    """What an outbox tells of its queue."""

    def __init__(self, *, segments: int = 0, size: int = 100) -> None:
        self.size = size
        self.waiting: dict[int, StoredSegment] = {}
        self.critical: set[int] = set()
        self.last = 0
        self.read_bytes_max = 0
        self.add(segments)

    def add(self, count: int, *, size: int | None = None, critical: bool = False) -> None:
        for _ in range(count):
            self.last += 1
            place = Place(self.last)
            raw = bytes(size or self.size)
            self.waiting[place] = StoredSegment(place, place, raw, Epoch(1), place)
            if critical:
                self.critical.add(place)

    def take(self, taken: Sequence[StoredSegment]) -> None:
        for one in taken:
            del self.waiting[one.place]

    def unsent(
        self, *, limit_bytes: int, after: Place = START, through: Place | None = None
    ) -> list[StoredSegment]:
        found = [
            one
            for place, one in sorted(self.waiting.items())
            if after < place <= (self.last if through is None else through)
        ]
        return self._bounded(found, limit_bytes)

    def unsent_critical(self, *, limit_bytes: int) -> list[StoredSegment]:
        found = [one for place, one in sorted(self.waiting.items()) if place in self.critical]
        return self._bounded(found, limit_bytes)

    def _bounded(self, found: list[StoredSegment], limit_bytes: int) -> list[StoredSegment]:
        taken = found[: max(1, limit_bytes // self.size)]
        self.read_bytes_max = max(self.read_bytes_max, sum(len(one.raw) for one in taken))
        return taken


def test_fresh_events_keep_their_share_while_a_backlog_drains() -> None:
    queue = Queue(segments=2_000)
    picker = Picker(queue)
    picker.begin_contact(Place(queue.last))
    fresh = backlog = 0
    for _ in range(200):
        queue.add(10)
        picked = picker.pick(limit_bytes=500)
        queue.take(picked)
        size = sum(len(one.raw) for one in picked)
        if picked[0].place > 2_000:
            fresh += size
        else:
            backlog += size
    assert fresh / (fresh + backlog) == pytest.approx(0.7, abs=0.01)
    assert queue.read_bytes_max <= 500


def test_a_backlog_has_all_of_the_way_while_nothing_fresh_waits_and_saves_nothing_up() -> None:
    queue = Queue(segments=2_000)
    picker = Picker(queue)
    picker.begin_contact(Place(queue.last))
    for _ in range(100):
        picked = picker.pick(limit_bytes=500)
        assert picked[0].place <= 2_000
        queue.take(picked)
    fresh = 0
    for _ in range(100):
        queue.add(10)
        picked = picker.pick(limit_bytes=500)
        queue.take(picked)
        fresh += picked[0].place > 2_000
    assert 69 <= fresh <= 72


def test_shares_count_bytes_and_not_turns() -> None:
    share = FairShare(0.5)
    share.charge("fresh", 1_000)
    turns_of_backlog = 0
    while share.order()[0] == "backlog":
        share.charge("backlog", 100)
        turns_of_backlog += 1
    assert turns_of_backlog == 10


def test_critical_segments_go_before_everything() -> None:
    queue = Queue(segments=50)
    picker = Picker(queue)
    picker.begin_contact(Place(queue.last))
    queue.add(5)
    queue.add(1, critical=True)
    (picked,) = picker.pick(limit_bytes=10_000)
    assert picked.place == 56


def test_a_segment_that_nobody_will_have_blocks_none_behind_it_and_is_offered_again() -> None:
    queue = Queue(segments=6)
    queue.add(1, critical=True)
    picker = Picker(queue)
    picker.begin_contact(Place(4))
    wanted = {2, 3, 5, 6}
    taken: list[int] = []
    for _ in range(20):
        picked = picker.pick(limit_bytes=200)
        if not picked:
            break
        good = [one for one in picked if one.place in wanted]
        queue.take(good)
        taken += [one.place for one in good]
        picker.put_aside([one for one in picked if one.place not in wanted])
    assert sorted(taken) == [2, 3, 5, 6]
    assert sorted(picker.aside) == [1, 4, 7]
    assert picker.pick(limit_bytes=200) == []
    picker.begin_pass()
    assert [one.place for one in picker.pick(limit_bytes=10_000)] == [7]


def test_without_a_contact_the_oldest_goes_first() -> None:
    queue = Queue(segments=10)
    picker = Picker(queue)
    picker.begin_contact(Place(5))
    picker.end_contact()
    order = []
    while picked := picker.pick(limit_bytes=300):
        order += [one.place for one in picked]
        queue.take(picked)
    assert order == list(range(1, 11))


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("kafka://host:9092", "kafka", "host:9092"),
        ("kafka://[::1]:9092/", "kafka", "[::1]:9092"),
        ("https://gateway", "gateway", "https://gateway"),
        ("https://gateway:8443/", "gateway", "https://gateway:8443"),
        ("https://[2001:db8::1]:8443", "gateway", "https://[2001:db8::1]:8443"),
        ("relay+https://relay", "relay", "https://relay"),
        ("http://127.0.0.1:8081", "gateway", "http://127.0.0.1:8081"),
        ("http://localhost:8081", "gateway", "http://localhost:8081"),
        ("relay+http://[::1]:8082", "relay", "http://[::1]:8082"),
    ],
)
def test_a_route_is_named_by_its_address(text: str, kind: str, target: str) -> None:
    found = route_address(text)
    assert isinstance(found, RouteAddress)
    assert (found.kind, found.target) == (kind, target)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://gateway",
        "host:9092",
        "kafka://host",
        "kafka://host:x",
        "kafka://host:9092/topic",
        "kafka://user:secret@host:9092",
        "https://user:secret@gateway",
        "https://gateway/path?secret",
        "https://",
        "https://[::1",
        "",
    ],
)
def test_any_other_route_is_refused_with_what_works_and_without_its_secrets(text: str) -> None:
    with pytest.raises(Misconfigured, match="wanted kafka://host:port") as caught:
        route_address(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://gateway", "relay+http://10.0.0.1:8081"])
def test_nothing_leaves_this_machine_unencrypted(text: str) -> None:
    with pytest.raises(Misconfigured, match="unencrypted beyond this machine"):
        route_address(text)
