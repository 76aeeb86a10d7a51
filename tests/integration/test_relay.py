"""A relay: durable before it answers, patient, and letting nothing go that no receipt covers."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from producers.device.emitter import drain
from producers.device.gateway_route import GatewayRoute
from producers.device.known_time import KnownTime
from producers.device.route import SegmentVerdict
from producers.relay.forwarder import ForwarderOptions
from producers.relay.store import CustodyStore
from rekam.domain.errors import Corrupt, OutboxBusy
from rekam.domain.events import ClockAnchored, decode
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import EpochReceipt, Receipt, Run, sign_receipt
from rekam.domain.segment import open_body, parse
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.device import READER, beat, new_home
from tests.support.gateway import (
    RECEIPT_KEY,
    Gateway,
    framed,
    gateway_on,
    life,
    make_topics,
    publish_receipts,
    receipt_of,
    records_of,
    sealed,
)
from tests.support.relay import EAGER, Upstream, held_at, now_ms, relay_at
from tests.support.routes import YEAR_MS, Years
from tests.support.segments import authentic, pack
from tests.support.waiting import until

CUSTODY = SegmentVerdict("custody")
ALSO_UNRECEIPTED = ForwarderOptions(
    idle_seconds=0.05,
    back_off_seconds_first=0.05,
    back_off_seconds_max=0.2,
    unreceipted_seconds=0.2,
    receipt_seconds=0.05,
)
"""A relay that also sends again what no receipt covers, soon."""


async def until_true(holds: Callable[[], bool]) -> None:
    async def look() -> bool:
        return holds()

    await until(look)


async def until_taken(upstream: Upstream, count: int) -> None:
    await until_true(lambda: len(upstream.taken) == count)


async def until_holding(home: Path, segments: int, *, waiting: int | None = None) -> None:
    def holds() -> bool:
        status = held_at(home)
        return status.segments == segments and waiting in (None, status.waiting)

    await until_true(holds)


async def test_segments_in_custody_are_forwarded_byte_for_byte_in_their_order(
    tmp_path: Path,
) -> None:
    upstream = Upstream()
    raws = sealed(life(), 20)
    async with relay_at(tmp_path, upstream) as relay:
        assert (await relay.http.get("/readyz")).status_code == 200
        for raw in raws:
            answer = await relay.send(raw)
            (result,) = answer["results"]
            assert (result["verdict"], result["append_ms"]) == ("custody", None)
            assert answer["receipt"] is None
        await until_true(lambda: len(upstream.taken) == len(raws))
    assert upstream.taken == raws
    assert upstream.is_stopped
    # Whatever upstream said: no receipt, so all of it stays.
    assert held_at(tmp_path).segments == len(raws)


async def test_a_segment_goes_when_a_receipt_covers_it_and_not_before(tmp_path: Path) -> None:
    upstream = Upstream()
    one = life()
    raws = sealed(one, 6)
    async with relay_at(tmp_path, upstream) as relay:
        await relay.send(*raws)
        await until_holding(tmp_path, 6, waiting=0)
        upstream.receipts["recorder-1"] = receipt_of(one, raws[:4], as_of_ms=1)
        await until_holding(tmp_path, 2)
        upstream.receipts["recorder-1"] = receipt_of(one, raws, as_of_ms=2)
        await until_holding(tmp_path, 0)
        # It hands the receipt on, and needs no second copy of what that covers.
        answer = await relay.send(raws[-1])
        assert answer["results"][0]["verdict"] == "duplicate"
        cursor = await relay.http.get("/v1/producers/recorder-1/cursor")
        assert upstream.receipts["recorder-1"] in cursor.content
    assert held_at(tmp_path).segments == 0


@pytest.mark.parametrize("kind", ["clone", "forged", "shorter", "gap", "garbage"])
async def test_a_receipt_that_does_not_cover_exactly_these_bytes_releases_nothing(
    tmp_path: Path, kind: str
) -> None:
    upstream = Upstream()
    one, clone = life(), life()
    raws = sealed(one, 3)
    last = parse(raws[-1])
    keys = (one.key.public.to_text(),)
    run = Run(1, last.header.last, last.hash)
    receipts = {
        # The same range, sealed by a copy of the producer.
        "clone": receipt_of(clone, sealed(clone, 3, events=3)[:2] + sealed(clone, 1)),
        "forged": sign_receipt(
            Receipt(1, "recorder-1", 1, keys, (EpochReceipt(1, (run,)),)), SigningKey.generate()
        ),
        # Ends inside the last segment.
        "shorter": sign_receipt(
            Receipt(
                1, "recorder-1", 1, keys, (EpochReceipt(1, (Run(1, run.last - 1, run.head),)),)
            ),
            RECEIPT_KEY,
        ),
        "gap": sign_receipt(
            Receipt(1, "recorder-1", 1, keys, (EpochReceipt(1, (), ((1, run.last),)),)),
            RECEIPT_KEY,
        ),
        "garbage": b'{"payload": 5}',
    }
    upstream.receipts["recorder-1"] = receipts[kind]
    async with relay_at(tmp_path, upstream, options=ALSO_UNRECEIPTED) as relay:
        await relay.send(*raws)
        # Forwarded again and again, so the receipt was looked at again and again.
        await until_true(lambda: upstream.taken.count(raws[0]) >= 3)
    assert held_at(tmp_path).segments == 3


async def test_a_run_that_begins_in_the_middle_releases_from_there_on(tmp_path: Path) -> None:
    upstream = Upstream()
    one = life()
    raws = sealed(one, 5)
    async with relay_at(tmp_path, upstream) as relay:
        await relay.send(*raws)
        upstream.receipts["recorder-1"] = receipt_of(one, raws[2:])
        await until_holding(tmp_path, 2)
    with CustodyStore.open(tmp_path / "relay.db") as store:
        batch = store.next_batch(now_ms=2**50, bytes_max=10**6, segments_max=9)
        assert batch is not None
        assert [held.raw for held in batch.segments] == raws[:2]


async def test_the_same_bytes_twice_are_held_once_and_a_damaged_copy_keeps_no_one_out(
    tmp_path: Path,
) -> None:
    upstream = Upstream(is_away=True)
    one = life()
    (raw,) = sealed(one)
    damaged = raw[:-1] + bytes([raw[-1] ^ 1])
    async with relay_at(tmp_path, upstream) as relay:
        assert await relay.verdicts(damaged) == ["custody"]  # it knows no key of this producer
        assert await relay.verdicts(raw, raw) == ["custody", "custody"]
        assert await relay.verdicts(raw) == ["custody"]
        assert held_at(tmp_path).segments == 2
        upstream.is_away = False
        await until_true(lambda: set(upstream.taken) == {raw, damaged})


async def test_known_keys_let_it_refuse_damage_at_once(tmp_path: Path) -> None:
    one = life()
    upstream = Upstream(receipts={"recorder-1": receipt_of(one)})
    raws = sealed(one, 2)
    damaged = raws[1][:-1] + bytes([raws[1][-1] ^ 1])
    async with relay_at(tmp_path, upstream) as relay:
        await relay.send(raws[0])

        async def is_known() -> bool:
            return bool((await relay.http.get("/v1/producers/recorder-1/cursor")).json()["receipt"])

        await until(is_known)
        answer = await relay.send(damaged)
        told = [(one["verdict"], one["code"]) for one in answer["results"]]
        assert told == [("quarantined", "body_mismatch")]
        assert await relay.verdicts(b"garbage", raws[1]) == ["quarantined", "custody"]


async def test_a_version_it_cannot_read_is_not_taken(tmp_path: Path) -> None:
    upstream = Upstream()
    async with relay_at(tmp_path, upstream) as relay:
        answer = await relay.send(authentic(pack(b"{}\n"), v=2))
    assert [(one["verdict"], one["code"]) for one in answer["results"]] == [
        ("retry", "unknown_version")
    ]
    assert held_at(tmp_path).segments == 0


async def test_while_upstream_is_away_it_takes_on_and_later_forwards_all_of_it(
    tmp_path: Path,
) -> None:
    upstream = Upstream(is_away=True)
    lives = [life(f"recorder-{number}", seed=number) for number in range(1, 5)]
    sent = {one.producer: sealed(one, 25) for one in lives}
    async with relay_at(tmp_path, upstream) as relay:
        for step in range(25):
            await relay.send(*[raws[step] for raws in sent.values()])
        await until_true(lambda: upstream.sends >= 3)
        assert upstream.taken == []
        upstream.is_away = False
        await until_true(lambda: len(upstream.taken) == 100)
    for producer, raws in sent.items():
        mine = [raw for raw in upstream.taken if parse(raw).header.producer == producer]
        assert mine == raws


async def test_receipts_and_segments_survive_a_restart_also_without_upstream(
    tmp_path: Path,
) -> None:
    one = life()
    raws = sealed(one, 4)
    upstream = Upstream(receipts={"recorder-1": receipt_of(one, raws[:2])})
    async with relay_at(tmp_path, upstream) as relay:
        await relay.send(*raws)
        await until_holding(tmp_path, 2)
    away = Upstream(is_away=True)
    async with relay_at(tmp_path, away) as relay:

        async def is_given() -> bool:
            response = await relay.http.get("/v1/producers/recorder-1/cursor")
            return upstream.receipts["recorder-1"] in response.content

        await until(is_given)
        answer = await relay.send(raws[3])
        assert answer["results"][0]["verdict"] == "custody"
        assert answer["receipt"] is not None
    assert held_at(tmp_path).segments == 2


async def test_what_upstream_refuses_or_wants_again_stays_and_holds_nothing_up(
    tmp_path: Path,
) -> None:
    upstream = Upstream(verdict=SegmentVerdict("refused", code="signature_invalid"))
    one, other = life(), life("recorder-2", seed=2)
    bad, good = sealed(one), sealed(other)
    async with relay_at(tmp_path, upstream, options=EAGER) as relay:
        await relay.send(*bad)
        await until_true(lambda: len(upstream.taken) == 1)
        upstream.verdict = SegmentVerdict("retry")
        await relay.send(*good)
        await until_true(lambda: upstream.taken.count(good[0]) == 2)
        upstream.verdict = SegmentVerdict("logged")
        upstream.receipts["recorder-1"] = receipt_of(one, bad)
        await until_holding(tmp_path, 1)
    assert held_at(tmp_path).segments == 1


async def test_an_upstream_that_lies_and_forgets_gets_everything_again(tmp_path: Path) -> None:
    liar = Upstream(forgets=True)
    one = life()
    raws = sealed(one, 3)
    async with relay_at(tmp_path, liar, options=ALSO_UNRECEIPTED) as relay:
        await relay.send(*raws)
        await until_true(lambda: liar.sends >= 2)
        liar.forgets = False
        await until_true(lambda: set(liar.taken) == set(raws))
        liar.receipts["recorder-1"] = receipt_of(one, raws)
        await until_holding(tmp_path, 0)


async def until_taken_by_either(first: Upstream, second: Upstream, number: int) -> None:
    await until_true(lambda: len(first.taken) + len(second.taken) >= number)


async def test_the_second_route_is_taken_while_the_first_one_is_away(tmp_path: Path) -> None:
    first, second = Upstream(is_away=True), Upstream()
    raws = sealed(life(), 2)
    async with relay_at(tmp_path, first, second) as relay:
        await relay.send(*raws)
        await until_true(lambda: second.taken == raws)
        first.is_away = False
        again = life("recorder-2", seed=2)
        # While the first one's back-off lasts the second one is used, and not any longer.
        number = len(raws)
        while not first.taken:
            number += 1
            await relay.send(*sealed(again))
            await until_taken_by_either(first, second, number)
        assert len(first.taken) == 1


async def test_a_route_that_is_away_is_not_asked_for_every_batch(tmp_path: Path) -> None:
    first, second = Upstream(is_away=True), Upstream()
    one = life()
    patient = replace(EAGER, back_off_seconds_first=3600.0, back_off_seconds_max=3600.0)
    async with relay_at(tmp_path, first, second, options=patient) as relay:
        for number in range(1, 11):
            await relay.send(*sealed(one))
            await until_taken(second, number)
    assert (first.sends, second.sends) == (1, 10)


async def test_a_route_that_keeps_and_brings_nothing_stands_behind_the_next_until_it_delivers(
    tmp_path: Path,
) -> None:
    """It is used again when the other one is gone: a relay that may deliver beats none."""
    custodian, second = Upstream(label="relay", verdict=CUSTODY), Upstream()
    one = life()
    patient = replace(ALSO_UNRECEIPTED, back_off_seconds_first=0.01, back_off_seconds_max=3600.0)
    async with relay_at(tmp_path, custodian, second, options=patient) as relay:
        raws = sealed(one)
        await relay.send(*raws)
        await until_true(lambda: raws[0] in second.taken)
        assert custodian.taken == raws
        second.is_away = True
        raws += sealed(one)
        await relay.send(raws[1])
        await until_true(lambda: raws[1] in custodian.taken)
        custodian.receipts["recorder-1"] = receipt_of(one, raws)
        await until_holding(tmp_path, 0)
    assert raws[1] not in second.taken


async def test_what_one_upstream_refuses_is_offered_to_the_other_when_it_is_due(
    tmp_path: Path,
) -> None:
    first = Upstream(verdict=SegmentVerdict("refused", code="signature_invalid"))
    second = Upstream()
    raws = sealed(life())
    async with relay_at(tmp_path, first, second) as relay:
        await relay.send(*raws)
        await until_true(lambda: second.taken == raws)
    assert first.taken == raws


async def test_an_answer_with_another_number_of_verdicts_counts_for_nothing(
    tmp_path: Path,
) -> None:
    garbled, second = Upstream(verdicts_max=1), Upstream()
    raws = sealed(life(), 3)
    async with relay_at(tmp_path, garbled, second) as relay:
        await relay.send(*raws)
        await until_true(lambda: set(second.taken) == set(raws))
    assert held_at(tmp_path).waiting == 0


async def test_a_full_store_says_so_keeps_what_it_has_and_empties_itself(tmp_path: Path) -> None:
    upstream = Upstream(is_away=True)
    one = life()
    raws = [one.seal([raw.hex().encode() for raw in _random_blocks(5)]) for _ in range(40)]
    async with relay_at(tmp_path, upstream, bytes_max=4 * 1024 * 1024) as relay:
        held = 0
        for raw in raws:
            response = await relay.post(framed([raw]))
            if response.status_code != 200:
                break
            held += 1
        assert 10 < held < len(raws)
        assert response.status_code == 503
        assert response.json()["code"] == "custody_full"
        assert int(response.headers["retry-after"]) == 60
        # What it holds already is no news, so it is no refusal either.
        assert await relay.verdicts(raws[0]) == ["custody"]
        assert held_at(tmp_path).segments == held
        upstream.is_away = False
        await until_true(lambda: upstream.taken == raws[:held])
        upstream.receipts["recorder-1"] = receipt_of(one, raws[:held])
        await until_holding(tmp_path, 0)
        assert await relay.verdicts(*raws[held:]) == ["custody"] * (len(raws) - held)


def _random_blocks(count: int) -> list[bytes]:
    return [os.urandom(30_000) for _ in range(count)]


async def test_a_second_relay_in_the_same_home_is_refused(tmp_path: Path) -> None:
    async with relay_at(tmp_path, Upstream()):
        with pytest.raises(ExceptionGroup) as caught:
            async with relay_at(tmp_path, Upstream()):
                pass
    assert caught.group_contains(OutboxBusy)


async def test_a_store_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "relay.db"
    file.write_bytes(b"no database at all" * 1_000)
    before = file.read_bytes()
    with pytest.raises(ExceptionGroup) as caught:
        async with relay_at(tmp_path, Upstream()):
            pass
    assert caught.group_contains(Corrupt)
    assert file.read_bytes() == before


async def test_through_a_relay_and_a_gateway_a_segment_reaches_the_log_and_its_receipt_returns(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    log_topics = await make_topics(topics)
    one = life()
    raws = sealed(one, 70)
    async with gateway_on(kafka.bootstrap, log_topics) as gateway:
        await gateway.until_ready()
        upstream = GatewayRoute(gateway.address, carrier="relay")
        async with relay_at(tmp_path, upstream) as relay:
            # A stick was imported here: the last one who held them is told, and that is the relay.
            answer = await relay.post(framed(raws), **{"rekam-route": "usb"})
            assert {one["verdict"] for one in answer.json()["results"]} == {"custody"}

            async def are_logged() -> bool:
                return len(await _values(kafka, log_topics.segments)) >= len(raws)

            await until(are_logged)
            receipt = receipt_of(one, raws)
            await publish_receipts(kafka.bootstrap, log_topics, receipt)
            await until_holding(tmp_path, 0)
            assert receipt in (await _cursor(relay)).encode()
    records = await records_of(kafka.bootstrap, log_topics.segments)
    assert [record.value for record in records] == raws
    assert {record.headers["rekam-route"] for record in records} == {b"relay"}


async def test_a_relay_whose_clock_is_wrong_tells_the_time_that_the_log_told_it(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    """And a device that meets the relay alone is anchored by that."""
    log_topics = await make_topics(topics)
    known = KnownTime(Years(ahead=3))
    async with gateway_on(kafka.bootstrap, log_topics) as gateway:
        await gateway.until_ready()
        upstream = GatewayRoute(gateway.address)
        async with relay_at(tmp_path / "relay", upstream, known_time=known) as relay:
            assert (await _told_ms(relay)) - now_ms() > 2 * YEAR_MS
            await relay.verdicts(*sealed(life(), 2))

            async def is_told() -> bool:
                return abs(await _told_ms(relay) - now_ms()) < 60_000

            await until(is_told)
            clock = Years(ahead=-56)
            with new_home(tmp_path / "home", producer="recorder-2") as home:
                home.outbox.append([beat(clock, 1)])
                async with GatewayRoute(relay.address, label="relay") as route:
                    await drain(home, route, clock=clock)

            async def are_logged() -> bool:
                return len(await _values(kafka, log_topics.segments)) >= 4

            await until(are_logged)
    raws = await _values(kafka, log_topics.segments)
    ours = [parse(raw) for raw in raws if parse(raw).header.producer == "recorder-2"]
    events = [decode(line).data for segment in ours for line in open_body(segment, READER)]
    (anchor,) = [one for one in events if isinstance(one, ClockAnchored)]
    assert anchor.source == "relay"
    assert abs(anchor.offset_ms - 56 * YEAR_MS) < 60_000


async def _told_ms(relay: Gateway) -> int:
    told: int = (await relay.http.get("/v1/producers/recorder-9/cursor")).json()["server_ms"]
    return told


async def _values(kafka: EmbeddedKafka, topic: str) -> list[bytes]:
    return [record.value for record in await records_of(kafka.bootstrap, topic)]


async def _cursor(relay: Gateway) -> str:
    return (await relay.http.get("/v1/producers/recorder-1/cursor")).text


async def test_many_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    upstream = Upstream()
    lives = [life(f"recorder-{number}", seed=number) for number in range(1, 21)]
    sent = [sealed(one, 5) for one in lives]
    async with relay_at(tmp_path, upstream) as relay:

        async def send(raws: list[bytes]) -> None:
            for raw in raws:
                assert await relay.verdicts(raw) == ["custody"]

        await asyncio.gather(*map(send, sent))
        await until_true(lambda: len(upstream.taken) == 100)
    assert set(upstream.taken) == {raw for raws in sent for raw in raws}


async def test_the_command_serves_and_ends_in_order_when_told(tmp_path: Path) -> None:
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith("REKAM_")},
        "REKAM_HOME": str(tmp_path / "office"),
    }
    command = (
        *(sys.executable, "-m", "rekam", "relay", "run", "--home", str(tmp_path / "relay")),
        *(
            "--in-container-layer",
            "--port",
            "0",
            "--route",
            "http://127.0.0.1:1",
            "--route",
            "kafka://127.0.0.1:1",
        ),
    )
    pipe = asyncio.subprocess.PIPE
    keyless = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    _, errors = await keyless.communicate()
    assert keyless.returncode == 2
    assert b"--receipt-key FILE" in errors
    key = tmp_path / "receipt.pub"
    key.write_text(f"{RECEIPT_KEY.public.to_text()}\n")
    process = await asyncio.create_subprocess_exec(
        *command, "--receipt-key", str(key), env=environ, stdout=pipe, stderr=pipe
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            address = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=address, trust_env=False) as http:
            assert await Gateway(address, http).verdicts(*sealed(life(), 2)) == ["custody"] * 2
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b"gateway_stopped" in errors
    assert b"Traceback" not in errors
    assert held_at(tmp_path / "relay").segments == 2
