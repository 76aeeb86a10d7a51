"""The embedded broker keeps its promises: one owner, no orphan, same port, same data."""

from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from rekam.domain.errors import Corrupt, Unavailable
from rekam.domain.topics import ALL, RECORD_BYTES_MAX, SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import (
    apply_topics,
    consumer_options,
    diff_topics,
    is_answering,
    offsets_before,
    producer_options,
)
from tests.support.broker import Topics, new_broker
from tests.support.owner import Owner


async def test_apply_topics_makes_the_cluster_equal_and_repeats_without_effect(
    breakable_kafka: EmbeddedKafka,
) -> None:
    assert len(await diff_topics(breakable_kafka.bootstrap)) == len(ALL)
    await apply_topics(breakable_kafka.bootstrap)
    assert await diff_topics(breakable_kafka.bootstrap) == []
    assert await apply_topics(breakable_kafka.bootstrap) == []


async def test_changed_topic_setting_is_named_and_put_right(topics: Topics) -> None:
    topic = await topics.make(partitions=1)
    changed = replace(topic, config={**topic.config, "retention.ms": "1000"})
    [line] = await diff_topics(topics.bootstrap, [changed])
    assert line == f"{topic.name}: retention.ms=-1; wanted 1000"
    await apply_topics(topics.bootstrap, [changed])
    assert await diff_topics(topics.bootstrap, [changed]) == []


async def test_other_number_of_partitions_is_refused(topics: Topics) -> None:
    topic = await topics.make(partitions=2)
    with pytest.raises(Corrupt, match="has 2 partitions and must have 3"):
        await apply_topics(topics.bootstrap, [replace(topic, partitions=3)])


async def test_unreachable_cluster_is_unavailable() -> None:
    assert not await is_answering("127.0.0.1:9")
    with pytest.raises(Unavailable, match="does not answer"):
        await diff_topics("127.0.0.1:9")


async def test_acknowledged_record_of_greatest_size_survives_a_kill_of_the_broker(
    breakable_kafka: EmbeddedKafka,
) -> None:
    bootstrap = breakable_kafka.bootstrap
    await apply_topics(bootstrap, [SEGMENTS])
    value = b"s" * (RECORD_BYTES_MAX - 1024)
    async with AIOKafkaProducer(**producer_options(bootstrap)) as producer:
        await producer.send_and_wait(SEGMENTS.name, value, partition=0)
    await breakable_kafka.kill()
    assert breakable_kafka.pid is None
    await breakable_kafka.start()
    assert breakable_kafka.bootstrap == bootstrap
    async with AIOKafkaConsumer(**consumer_options(bootstrap)) as consumer:
        partition = TopicPartition(SEGMENTS.name, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        record = await consumer.getone()
    assert record.value == value
    assert record.timestamp_type == 1, "LogAppendTime"


async def test_what_was_appended_before_a_moment_lies_below_an_offset_of_each_partition(
    topics: Topics,
) -> None:
    topic = await topics.make(partitions=2)
    times: list[int] = []
    async with AIOKafkaProducer(**producer_options(topics.bootstrap)) as producer:
        for _ in range(3):
            sent = await producer.send_and_wait(topic.name, b"s", partition=0)
            while (again := await producer.send_and_wait(topic.name, b"s", partition=0)) and (
                again.timestamp == sent.timestamp
            ):
                pass  # the broker's clock is still in that millisecond
            times += [sent.timestamp, again.timestamp]
            ends = again.offset + 1

    async def below(moment_ms: int) -> dict[int, int]:
        return await offsets_before(topics.bootstrap, topic.name, moment_ms)

    assert await below(-58_166_322_156_000) == {0: 0, 1: 0}  # in the year 126
    assert await below(times[0]) == {0: 0, 1: 0}
    assert await below(times[-1]) == {0: ends - 1, 1: 0}
    assert await below(times[-1] + 1) == {0: ends, 1: 0}


async def test_offsets_of_a_cluster_that_is_away_or_lacks_the_topic_are_unavailable(
    kafka: EmbeddedKafka,
) -> None:
    for bootstrap, reason in ((kafka.bootstrap, "rekam topics apply"), ("127.0.0.1:9", "REKAM")):
        with pytest.raises(Unavailable, match=reason):
            await offsets_before(bootstrap, "rekam.nothing", 0)


async def test_second_owner_of_a_running_brokers_folder_is_refused(
    kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [state_dir] = tmp_path_factory.getbasetemp().glob("kafka?")
    with pytest.raises(Unavailable, match="already belongs to process"):
        await new_broker(state_dir).start()
    assert kafka.pid is not None


async def test_stop_is_safe_before_start_and_twice(tmp_path: Path) -> None:
    broker = new_broker(tmp_path)
    await broker.stop()
    await broker.stop()


async def test_broker_ends_with_its_killed_owner_and_starts_again(tmp_path: Path) -> None:
    state_dir = tmp_path / "kafka"
    async with Owner.of("kafka", state_dir) as owner:
        await owner.kill()
        await owner.wait_until_server_is_gone()
    broker = new_broker(state_dir)
    await broker.start()
    await broker.stop()


async def test_orphan_that_the_kernel_did_not_reach_is_ended_by_the_next_start(
    tmp_path: Path,
) -> None:
    state_dir = tmp_path / "kafka"
    async with Owner.of("kafka", state_dir, orphaning=True) as owner:
        await owner.kill()
        assert owner.server_is_alive()
        async with new_broker(state_dir) as broker:
            await owner.wait_until_server_is_gone()
            assert broker.pid != owner.server_pid
