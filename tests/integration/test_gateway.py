"""A gateway on a real broker: what it takes, what it says, and what is then in the log."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from producers.gateway.app import Tls
from producers.gateway.intake import BODY_BYTES_MAX, MEDIA_TYPE
from producers.gateway.limits import Rate
from producers.gateway.log import LogTopics
from producers.gateway.serving import Limits
from rekam.domain.errors import Misconfigured
from rekam.domain.receipt import open_receipt
from rekam.domain.segment import parse
from rekam.domain.topics import ALL
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics, producer_options
from rekam.runtime.keyring import make_missing_keys
from rekam.runtime.problems import MEDIA_TYPE as PROBLEM
from rekam.runtime.settings import Settings
from tests.support.broker import Topics
from tests.support.gateway import (
    PARTITIONS,
    TRUSTED,
    Gateway,
    abort,
    framed,
    gateway_on,
    life,
    make_topics,
    publish_receipts,
    raw_exchange,
    receipt_of,
    records_of,
    sealed,
)
from tests.support.machine import free_port
from tests.support.tls import make_certificate
from tests.support.waiting import until

GARBAGE = bytes(range(256)) * 40


@pytest.fixture
async def log_topics(topics: Topics) -> LogTopics:
    """Give the topics of one test."""
    return await make_topics(topics)


@pytest.fixture
async def gateway(kafka: EmbeddedKafka, log_topics: LogTopics) -> AsyncIterator[Gateway]:
    """Give a gateway that knows recorder-1 and is ready."""
    await publish_receipts(kafka.bootstrap, log_topics, receipt_of(life()))
    async with gateway_on(kafka.bootstrap, log_topics) as found:
        await found.until_ready()
        yield found


async def logged(kafka: EmbeddedKafka, log_topics: LogTopics) -> list[bytes]:
    return [one.value for one in await records_of(kafka.bootstrap, log_topics.segments)]


async def test_segments_are_in_the_log_in_their_order_when_they_are_accepted(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    raws = sealed(life(), 100)
    answer = await gateway.send(*raws)
    assert {result["verdict"] for result in answer["results"]} == {"accepted"}
    assert [result["first"] for result in answer["results"]] == [
        parse(raw).header.first for raw in raws
    ]
    for result in answer["results"]:
        assert (result["producer"], result["epoch"], result["code"]) == ("recorder-1", 1, None)
        assert abs(result["append_ms"] - answer["server_ms"]) < 60_000
    records = await records_of(kafka.bootstrap, log_topics.segments)
    assert [record.value for record in records] == raws
    assert {record.key for record in records} == {b"recorder-1"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, b"gateway"),
        ("relay", b"relay"),
        ("usb", b"usb"),
        ("kafka", b"gateway"),
        ("USB", b"gateway"),
        ("x" * 5_000, b"gateway"),
    ],
)
async def test_the_log_tells_who_carried_the_segments_of_others_to_the_gateway(
    gateway: Gateway,
    kafka: EmbeddedKafka,
    log_topics: LogTopics,
    *,
    said: str | None,
    told: bytes,
) -> None:
    headers = {} if said is None else {"rekam-route": said}
    for count in (1, 5):
        response = await gateway.post(framed(sealed(life(), count)), **headers)
        assert response.status_code == 200
    records = await records_of(kafka.bootstrap, log_topics.segments)
    assert {record.headers["rekam-route"] for record in records} == {told}


async def test_a_request_with_large_segments_of_many_producers_fills_several_batches(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    lives = [life(f"recorder-{number}", seed=number) for number in range(1, 8)]
    raws = []
    for one in lives:
        # Lines that do not compress: batches must overflow.
        lines = [os.urandom(30_000).hex().encode() for _ in range(4)]
        raws += [one.seal(lines), one.seal(lines), *sealed(one)]
    assert len(framed(raws)) > 1_500_000
    assert await gateway.verdicts(*raws) == (["accepted"] * 3 + ["held"] * 18)
    records = await records_of(kafka.bootstrap, log_topics.segments)
    for one in lives:
        mine = [record.value for record in records if record.key == one.producer.encode()]
        assert mine == [raw for raw in raws if parse(raw).header.producer == one.producer]


async def test_a_gateway_chooses_the_partition_that_a_device_chooses(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    lives = [life(f"desa-{number}.x", seed=number) for number in range(1, 30)]
    raws = [raw for one in lives for raw in sealed(one)]
    await gateway.send(*raws)
    async with AIOKafkaProducer(**producer_options(kafka.bootstrap)) as producer:
        for one, raw in zip(lives, raws, strict=True):
            await producer.send_and_wait(log_topics.segments, raw, key=one.producer.encode())
    placed: dict[bytes, set[int]] = {}
    for record in await records_of(kafka.bootstrap, log_topics.segments):
        assert record.key is not None
        placed.setdefault(record.key, set()).add(record.partition)
    assert len(placed) == len(lives)
    assert {len(partitions) for partitions in placed.values()} == {1}
    assert set.union(*placed.values()) == set(range(PARTITIONS))


async def test_segments_of_unknown_producers_and_keys_go_to_the_log_as_held(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    (stranger,), (other_key,) = sealed(life("stranger")), sealed(life(seed=5))
    answer = await gateway.send(stranger, other_key)
    told = [(result["verdict"], result["code"]) for result in answer["results"]]
    assert told == [("held", "unknown_producer"), ("held", "unknown_key")]
    assert all(result["append_ms"] for result in answer["results"])
    assert sorted(await logged(kafka, log_topics)) == sorted([stranger, other_key])


async def test_damaged_segments_go_to_quarantine_and_those_beside_them_to_the_log(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    first, second, third = sealed(life(), 3)
    damaged = second[:-1] + bytes([second[-1] ^ 1])
    answer = await gateway.send(first, damaged, GARBAGE, third)
    told = [(result["verdict"], result["code"]) for result in answer["results"]]
    assert told == [
        ("accepted", None),
        ("quarantined", "body_mismatch"),
        ("quarantined", "not_a_segment"),
        ("accepted", None),
    ]
    assert answer["results"][2]["producer"] == ""
    assert await logged(kafka, log_topics) == [first, third]
    kept = await records_of(kafka.bootstrap, log_topics.quarantine, partitions=1)
    assert [(record.value, record.headers["reason"]) for record in kept] == [
        (damaged, b"body_mismatch"),
        (GARBAGE, b"not_a_segment"),
    ]
    assert all(record.headers["source"] == b"gateway" for record in kept)


async def test_a_segment_whose_answer_was_lost_is_a_duplicate_when_it_comes_again(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    raws = sealed(life(), 2)
    assert await gateway.verdicts(*raws) == ["accepted", "accepted"]
    answer = await gateway.send(*raws)
    assert [result["verdict"] for result in answer["results"]] == ["duplicate", "duplicate"]
    # Its time lies in the past; a device would set its clock by it.
    assert [result["append_ms"] for result in answer["results"]] == [None, None]
    assert await logged(kafka, log_topics) == raws


async def test_a_segment_that_a_receipt_names_is_a_duplicate_also_for_another_gateway(
    kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    one, clone = life(), life()
    (raw,), (other,) = sealed(one), sealed(clone)
    await publish_receipts(kafka.bootstrap, log_topics, receipt_of(one, [raw]))
    async with gateway_on(kafka.bootstrap, log_topics) as gateway:
        await gateway.until_ready()
        # The clone's has the same range and another hash: that is news, and goes to the log.
        assert await gateway.verdicts(raw, other) == ["duplicate", "accepted"]
    assert await logged(kafka, log_topics) == [other]


async def test_answer_and_cursor_carry_the_receipt_byte_for_byte(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    one = life()
    raws = sealed(one, 2)
    receipt = receipt_of(one, raws, as_of_ms=1_600_000_000_000)
    await publish_receipts(kafka.bootstrap, log_topics, receipt)

    async def has_arrived() -> bool:
        cursor = (await gateway.http.get("/v1/producers/recorder-1/cursor")).json()
        return bool(cursor["ranges"])

    await until(has_arrived)
    response = await gateway.http.get("/v1/producers/recorder-1/cursor")
    assert receipt in response.content
    cursor = response.json()
    head = parse(raws[-1])
    assert cursor["ranges"] == [{"epoch": 1, "runs": [[1, head.header.last, head.hash]]}]
    assert (cursor["producer"], cursor["gaps"]) == ("recorder-1", [])
    taken = await gateway.post(framed(sealed(life("recorder-2")) + sealed(one)))
    answer = taken.json()
    assert [entry["producer"] for entry in answer["receipts"]] == ["recorder-1"]
    assert answer["receipt"] is None  # the first segment's producer has none
    assert open_receipt(receipt, TRUSTED).producer == "recorder-1"
    assert receipt in taken.content


async def test_a_producer_without_a_receipt_has_an_empty_cursor(gateway: Gateway) -> None:
    response = await gateway.http.get("/v1/producers/nobody.yet/cursor")
    assert response.status_code == 200
    cursor = response.json()
    assert cursor.pop("server_ms") > 0
    assert cursor == {"producer": "nobody.yet", "ranges": [], "gaps": [], "receipt": None}


async def test_an_enrolment_that_comes_while_it_runs_makes_held_accepted(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    late = life("late", seed=3)
    assert await gateway.verdicts(*sealed(late)) == ["held"]
    await publish_receipts(kafka.bootstrap, log_topics, receipt_of(late))

    async def is_known() -> bool:
        return await gateway.verdicts(*sealed(late)) == ["accepted"]

    await until(is_known)


async def test_two_gateways_behind_one_name_work_and_everything_is_in_the_log(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    """Each send goes to the other one; every third is repeated at both, as after a lost answer."""
    raws = sealed(life(), 30)
    async with gateway_on(kafka.bootstrap, log_topics) as second:
        await second.until_ready()
        for number, raw in enumerate(raws):
            one, other = (gateway, second) if number % 2 else (second, gateway)
            assert await one.verdicts(raw) == ["accepted"]
            if number % 3 == 0:
                assert await one.verdicts(raw) == ["duplicate"]
                assert await other.verdicts(raw) == ["accepted"]
    found = await logged(kafka, log_topics)
    assert list(dict.fromkeys(found)) == raws  # in order, and a copy is byte for byte the same
    assert len(found) == 40


# What is refused


async def problem_of(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    code: str = problem["code"]
    return code


async def test_ten_thousand_garbage_bytes_are_refused_whole(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    assert await problem_of(await gateway.post(GARBAGE), 400) == "body_not_framed"
    half = framed(sealed(life(), 3))[:-7]
    assert await problem_of(await gateway.post(half), 400) == "body_not_framed"
    assert await problem_of(await gateway.post(b""), 400) == "body_not_framed"
    assert await logged(kafka, log_topics) == []
    assert await gateway.in_flight_bytes() == 0


@pytest.mark.parametrize("given", ["application/json", "text/plain", ""])
async def test_another_content_type_is_refused(gateway: Gateway, given: str) -> None:
    response = await gateway.post(framed(sealed(life())), **{"content-type": given})
    assert await problem_of(response, 415) == "media_type_unknown"
    assert MEDIA_TYPE in response.json()["detail"]


async def test_a_body_above_the_limit_is_refused_and_one_at_the_limit_is_read(
    gateway: Gateway,
) -> None:
    response = await gateway.post(b"\0" * (BODY_BYTES_MAX + 1))
    assert await problem_of(response, 413) == "body_too_large"

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65_536 + 2):
            yield b"\0" * 65_536

    streamed = await gateway.http.post(
        "/v1/segments", content=unannounced(), headers={"content-type": MEDIA_TYPE}
    )
    assert await problem_of(streamed, 413) == "body_too_large"
    read = await gateway.post(b"\0" * BODY_BYTES_MAX)
    assert await problem_of(read, 413) == "too_many_segments"


async def test_paths_methods_and_ids_that_are_none_are_named(gateway: Gateway) -> None:
    nik = "6408044101900001"
    unknown = await gateway.http.get("/v1/nothing")
    assert await problem_of(unknown, 404) == "path_unknown"
    assert await problem_of(await gateway.http.get("/v1/segments"), 405) == "method_not_allowed"
    response = await gateway.http.get(f"/v1/producers/{nik}/cursor")
    assert await problem_of(response, 400) == "producer_invalid"
    assert nik not in response.text


async def test_what_is_no_http_is_refused_and_the_next_call_is_answered(gateway: Gateway) -> None:
    assert b" 400 " in await raw_exchange(gateway.port, GARBAGE + b"\r\n\r\n")
    assert (await gateway.http.get("/healthz")).json() == {"status": "alive"}


async def test_one_address_that_sends_too_much_is_told_when_to_come_again(
    kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    limits = Limits(client_requests=Rate(per_second=0.5, burst=2))
    async with gateway_on(kafka.bootstrap, log_topics, limits=limits) as gateway:
        await gateway.until_ready()
        raws = sealed(life(), 3)
        await gateway.send(raws[0])
        await gateway.send(raws[1])
        response = await gateway.post(framed(raws[2:]))
        assert await problem_of(response, 429) == "too_many_requests"
        assert 1 <= int(response.headers["retry-after"]) <= 2
        assert (await gateway.http.get("/healthz")).status_code == 200
    assert await logged(kafka, log_topics) == raws[:2]


async def test_nobody_uses_up_a_producers_share_in_its_name(
    kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    limits = Limits(
        client_unverified_segments=Rate(per_second=0.001, burst=500),
        producer_segments=Rate(per_second=0.001, burst=500),
    )
    one, thief = life(), life(seed=6)
    await publish_receipts(kafka.bootstrap, log_topics, receipt_of(one))
    async with gateway_on(kafka.bootstrap, log_topics, limits=limits) as gateway:
        await gateway.until_ready()
        forged = sealed(thief, 500, events=1)
        assert set(await gateway.verdicts(*forged)) == {"held"}
        refused = await gateway.post(framed(sealed(thief)))
        assert await problem_of(refused, 429) == "too_many_requests"
        own = sealed(one, 500, events=1)
        assert set(await gateway.verdicts(*own)) == {"accepted"}
        refused = await gateway.post(framed(sealed(one)))
        assert await problem_of(refused, 429) == "too_many_requests"
        assert int(refused.headers["retry-after"]) > 100
    assert sorted(await logged(kafka, log_topics)) == sorted(forged + own)


async def test_a_slow_body_is_given_up_and_nothing_of_it_is_taken(
    kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    limits = Limits(stall_seconds_max=0.3)
    async with gateway_on(kafka.bootstrap, log_topics, limits=limits) as gateway:
        await gateway.until_ready()
        body = framed(sealed(life(), 2))
        answer = await raw_exchange(gateway.port, head_of(len(body)), body[:-1])
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"body_too_slow"' in answer
        assert await gateway.in_flight_bytes() == 0
    assert await logged(kafka, log_topics) == []


async def test_a_caller_who_never_finishes_its_head_is_hung_up_on(
    kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    limits = Limits(head_seconds_max=0.3)
    async with gateway_on(kafka.bootstrap, log_topics, limits=limits) as gateway:
        assert await raw_exchange(gateway.port, b"") == b""
        assert await raw_exchange(gateway.port, b"POST /v1/segments HTTP/1.1\r\nx: ") == b""
        whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        answers = await raw_exchange(gateway.port, whole + whole + whole[:9])
        assert answers.count(b"HTTP/1.1 200 ") == 2
        assert (await gateway.http.get("/healthz")).status_code == 200


async def test_a_head_that_has_no_end_is_hung_up_on(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n")

    async def talk() -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x: " + b"y" * 4_000 + b"\r\n")
                await writer.drain()

    talking = asyncio.create_task(talk())
    try:
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            await talking
    finally:
        talking.cancel()
        writer.close()


async def test_clients_that_stop_in_the_middle_leave_nothing_behind(
    gateway: Gateway, kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    body = framed(sealed(life(), 2))
    for number in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head_of(len(body)) + body[: len(body) * number // 20])
        await writer.drain()
        abort(writer)

    async def is_free() -> bool:
        shown = (await gateway.http.get("/metrics")).text
        return 'status="gone"} 20.0' in shown and await gateway.in_flight_bytes() == 0

    await until(is_free)
    assert await logged(kafka, log_topics) == []
    assert await gateway.verdicts(*sealed(life())) == ["accepted"]


async def test_requests_that_would_not_fit_into_memory_are_told_to_wait(
    kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    limits = Limits(in_flight_bytes_max=100_000)
    async with gateway_on(kafka.bootstrap, log_topics, limits=limits) as gateway:
        await gateway.until_ready()
        _, slow = await asyncio.open_connection("127.0.0.1", gateway.port)
        slow.write(head_of(200_000) + b"\0" * 60_000)

        async def is_held() -> bool:
            return await gateway.in_flight_bytes() == 60_000

        await until(is_held)
        response = await gateway.post(b"\0" * 60_000)
        assert await problem_of(response, 503) == "busy"
        assert int(response.headers["retry-after"]) >= 1
        assert await gateway.verdicts(*sealed(life())) == ["held"]
        abort(slow)

        async def is_free() -> bool:
            return await gateway.in_flight_bytes() == 0

        await until(is_free)


def head_of(length: int) -> bytes:
    """Return the head of a request with a body of that length."""
    return (
        f"POST /v1/segments HTTP/1.1\r\nhost: x\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


# TLS and the command


async def test_over_tls_it_answers_who_trusts_its_certificate(
    kafka: EmbeddedKafka, log_topics: LogTopics, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path)
    tls = Tls(made.certificate, made.key)
    async with gateway_on(kafka.bootstrap, log_topics, tls=tls, ca=made.ca) as gateway:
        await gateway.until_ready()
        assert gateway.address.startswith("https://")
        assert await gateway.verdicts(*sealed(life())) == ["held"]
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(trust_env=False) as stranger:
                await stranger.get(f"https://127.0.0.1:{gateway.port}/healthz")
        # Plain HTTP gets no answer that could be taken for one.
        assert b"200" not in await raw_exchange(gateway.port, b"GET /healthz HTTP/1.0\r\n\r\n")


async def test_a_certificate_that_does_not_fit_its_key_is_named_at_the_start(
    kafka: EmbeddedKafka, log_topics: LogTopics, tmp_path: Path
) -> None:
    made, other = make_certificate(tmp_path / "one"), make_certificate(tmp_path / "other")
    with pytest.raises(ExceptionGroup) as caught:
        async with gateway_on(
            kafka.bootstrap, log_topics, tls=Tls(made.certificate, other.key), ca=made.ca
        ):
            pass
    assert caught.group_contains(Misconfigured, match="REKAM_GATEWAY_TLS_CERT")


async def test_the_command_serves_and_ends_in_order_when_told(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    await apply_topics(kafka.bootstrap, ALL)
    port = free_port()
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith("REKAM_")},
        "REKAM_HOME": str(tmp_path),
        "REKAM_KAFKA": kafka.bootstrap,
        "REKAM_GATEWAY_PORT": str(port),
    }
    command = (sys.executable, "-m", "rekam", "gateway", "run")
    pipe = asyncio.subprocess.PIPE
    keyless = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    _, errors = await keyless.communicate()
    assert keyless.returncode == 2
    assert b"receipt.pub: does not exist" in errors
    make_missing_keys(Settings.load(environ))
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == f"http://127.0.0.1:{port}\n".encode()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False
        ) as client:

            async def is_ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await until(is_ready)
            response = await client.post(
                "/v1/segments",
                content=framed(sealed(life("gateway-command"))),
                headers={"content-type": MEDIA_TYPE},
            )
            assert [one["verdict"] for one in response.json()["results"]] == ["held"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0
    assert b"gateway_stopped" in errors
    assert b"Traceback" not in errors
