"""The chunk transport overrides names that Faust does not promise; a change of them fails here.

Whoever upgrades Faust reads `stream_processors/chunk_transport.py` beside the new sources of
`faust/transport/consumer.py` and `drivers/aiokafka.py`, runs the transport's integration tests, and
only then writes the new version and signatures down.
"""

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import faust
import pytest
from faust.app.base import BootStrategy
from faust.streams import Stream
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import ConsumerMessage

from stream_processors.chunk_transport import (
    FAUST_VERSION,
    ChunkConsumer,
    ChunkConsumerThread,
    ChunkTransport,
)

OVERRIDDEN: dict[tuple[type, str], list[str]] = {
    (AIOKafkaConsumerThread, "_create_worker_consumer"): ["self", "transport"],
    (AIOKafkaConsumerThread, "_commit"): ["self", "offsets"],
    (AIOKafkaConsumerThread, "on_thread_stop"): ["self"],
    (AIOKafkaConsumerThread, "verify_event_path"): ["self", "now", "tp"],
    (Consumer, "_new_consumer_thread"): ["self"],
    (Consumer, "getmany"): ["self", "timeout"],
    (Consumer, "_getmany"): ["self", "active_partitions", "timeout"],
    (Consumer, "perform_seek"): ["self"],
    (Consumer, "on_partitions_revoked"): ["self", "revoked"],
    (Consumer, "_new_offset"): ["self", "tp"],
    (Consumer, "_add_gap"): ["self", "tp", "offset_from", "offset_to"],
    (Consumer, "on_buffer_full"): ["self", "tp"],
    (Consumer, "on_buffer_drop"): ["self", "tp"],
    (Consumer, "verify_event_path"): ["self", "now", "tp"],
    (Transport, "__init__"): ["self", "args", "kwargs"],
    (BootStrategy, "kafka_consumer"): ["self"],
    (faust.App, "_new_transport"): ["self"],
}

CALLED: dict[tuple[type, str], list[str]] = {
    (Consumer, "_wait_next_records"): ["self", "timeout"],
    (Consumer, "assignment"): ["self"],
    (Consumer, "highwater"): ["self", "tp"],
    (AIOKafkaConsumerThread, "_ensure_consumer"): ["self"],
    (AIOKafkaConsumerThread, "call_thread"): ["self", "fun", "args", "kwargs"],
    (Stream, "noack"): ["self"],
    (Stream, "events"): ["self"],
    (ConsumerMessage, "__init__"): [
        "self",
        "topic",
        "partition",
        "offset",
        "timestamp",
        "timestamp_type",
        "headers",
        "key",
        "value",
        "checksum",
        "serialized_key_size",
        "serialized_value_size",
        "tp",
        "time_in",
        "time_out",
        "time_total",
        "generation_id",
    ],
}


def test_faust_is_the_version_that_the_transport_was_written_for() -> None:
    assert version("faust-streaming") == FAUST_VERSION == "0.15.3"
    assert version("aiokafka") == "0.14.0"
    assert version("mode-streaming") == "0.7.1"


@pytest.mark.parametrize(("owner", "name"), [*OVERRIDDEN, *CALLED])
def test_what_the_transport_builds_on_has_the_signature_it_was_written_for(
    owner: type, name: str
) -> None:
    expected = (OVERRIDDEN | CALLED)[owner, name]
    assert parameters(getattr(owner, name)) == expected


@pytest.mark.parametrize("ours", [ChunkConsumer, ChunkConsumerThread, ChunkTransport])
def test_every_private_name_of_faust_that_we_replace_is_pinned(ours: type) -> None:
    theirs = ours.__mro__[1]
    replaced = {
        name
        for name, value in vars(ours).items()
        if inspect.isfunction(value) and hasattr(theirs, name) and name != "__init__"
    }
    pinned = {name for _owner, name in OVERRIDDEN}
    assert replaced <= pinned


def test_faust_still_seeks_in_perform_seek_before_it_lets_records_flow() -> None:
    source = inspect.getsource(Recovery._resume_streams)
    assert source.index("consumer.perform_seek()") < source.index("flow_control.resume()")
    assert source.index("flow_control.resume()") < source.index("consumer.resume_flow()")


def test_faust_still_drops_messages_of_another_generation_and_acks_by_offset() -> None:
    assert "message.generation_id" in inspect.getsource(Stream._py_aiter)
    ack = inspect.getsource(Consumer.ack)
    assert "self._acked_index[tp]" in ack
    assert "self._committed_offset[tp]" in ack


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)
