"""A device killed at any step loses nothing that it acknowledged, and sends the same bytes."""

import random
from itertools import product
from pathlib import Path
from typing import Final

from producers.device.clock import DeviceClock
from producers.device.emitter import drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from rekam.domain.events import ClockAnchored, Heartbeat, decode
from rekam.domain.segment import parse
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.device import beat, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.history import REGISTRAR, REGISTRAR_KEY, Life
from tests.support.mortal_device import AT_RANDOM, KILLED, STEPS, Mortal, digest_of
from tests.support.outboxes import ALL
from tests.support.processor import Projections, produce
from tests.support.sticks import RECEIPT_KEY

KILLS_A_STEP: Final = 12
KILLS_AT_RANDOM: Final = 30
EVENTS_MAX: Final = 200


def deaths() -> list[tuple[str, int]]:
    """Return where lives end: at each step's first, second… use of the disk, and anywhere."""
    chance = random.Random(6)
    found = list(product(STEPS, range(1, KILLS_A_STEP + 1)))
    found += [(AT_RANDOM, chance.randrange(1, EVENTS_MAX)) for _ in range(KILLS_AT_RANDOM)]
    chance.shuffle(found)
    return found


async def test_whatever_step_kills_interrupt_the_log_has_what_was_acknowledged_and_no_more(
    kafka: EmbeddedKafka, topics: Topics, database: str, tmp_path: Path
) -> None:
    topic = await topics.make(partitions=1)
    folder = tmp_path / "home"
    with new_home(folder) as home:
        home.trust_receipts([RECEIPT_KEY.public])
        registrar = Life(REGISTRAR, REGISTRAR_KEY)
        enrolment = Life(home.producer, home.signing_key).enrolment()
    await produce(kafka.bootstrap, topic, [(0, registrar.seal(registrar.event(enrolment)))])
    began: set[str] = set()
    kept: dict[int, str] = {}
    sealed: dict[int, str] = {}
    died_in: set[str] = set()
    async with Mortal(folder, kafka.bootstrap, topic.name) as mortal:
        for seed, (step, number) in enumerate(deaths(), 1):
            life = await mortal.live(step, number, seed=seed)
            assert life.code == KILLED
            died_in.add(life.doing)
            assert not kept.keys() & life.kept.keys()
            kept |= life.kept
            began |= life.began
            # What is sealed once has the same bytes in every later life.
            for first, digest in life.sealed.items():
                assert sealed.setdefault(first, digest) == digest
    assert died_in == {"append", "seal", "take", "receipt", "prune"}

    with ProducerHome.open(folder) as home:
        (fresh,) = home.outbox.append([line := beat(DeviceClock(), 7)])
        async with KafkaRoute(kafka.bootstrap, topic=topic.name) as route:
            await drain(home, route, clock=DeviceClock())
        assert home.outbox.status().unsent_events == 0
        logged = (await in_the_log(kafka.bootstrap, topic))[1:]
        lines = chained(logged, home)
        sealed |= {
            one.first: digest_of(one.raw) for one in home.outbox.unreceipted(limit_bytes=ALL)
        }
        assert len(lines) == home.outbox.next_seq - 1
    # Acknowledged: it is in the log, under its seq, byte for byte. Fresh events flow afterwards.
    kept[fresh] = digest_of(line)
    assert {seq: digest_of(lines[seq - 1]) for seq in kept} == kept
    # In the log: it was appended, once; the rest are the device's own clock anchors.
    beats = [text for text in lines if isinstance(decode(text).data, Heartbeat)]
    anchors = [text for text in lines if isinstance(decode(text).data, ClockAnchored)]
    assert len(beats) + len(anchors) == len(lines)
    assert {digest_of(text) for text in beats} <= began | {kept[fresh]}
    assert len(set(beats)) == len(beats)
    # Each copy in the log has the bytes that stood in the outbox.
    assert {parse(raw).header.first for raw in logged} == set(sealed)
    for raw in logged:
        assert sealed[parse(raw).header.first] == digest_of(raw)

    async with Projections.of(database, kafka.bootstrap, topic) as projections:
        async with projections.processor(tmp_path / "faust"):
            await projections.until_folded(1 + len(logged))
        assert (await projections.audit()).differences == ()
        counted = await projections.pool.fetchval(
            "SELECT sum(last - first + 1) FROM ledger_segment WHERE producer = 'dev-1'"
        )
        assert (counted or 0) == len(lines)
