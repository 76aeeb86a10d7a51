"""Client options: what is promised to Rekam's users does not rest on a library's defaults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rekam.domain.topics import ALL, RECEIPTS, RECORD_BYTES_MAX
from rekam.runtime.kafka import client_options, consumer_options, producer_options
from rekam.runtime.settings import KafkaSecurity

BOOTSTRAP = "broker:9093"


def test_producer_is_acknowledged_by_all_replicas_and_takes_the_largest_record() -> None:
    options = producer_options(BOOTSTRAP)
    assert (options["acks"], options["enable_idempotence"]) == ("all", True)
    assert options["max_request_size"] >= RECORD_BYTES_MAX
    assert options["max_batch_size"] >= RECORD_BYTES_MAX
    assert "transactional_id" not in options, "offsets must stay dense"


def test_consumer_neither_commits_nor_jumps_by_itself() -> None:
    options = consumer_options(BOOTSTRAP)
    assert options["enable_auto_commit"] is False
    assert options["auto_offset_reset"] == "none"
    assert options["max_partition_fetch_bytes"] >= RECORD_BYTES_MAX


def test_topics_keep_their_records_for_ever_and_stamp_them_at_the_broker() -> None:
    for topic in (topic for topic in ALL if topic is not RECEIPTS):
        assert topic.config["retention.ms"] == topic.config["retention.bytes"] == "-1"
        assert topic.config["message.timestamp.type"] == "LogAppendTime"
        assert topic.config["cleanup.policy"] == "delete"


def test_receipts_keep_the_newest_of_each_producer_and_no_time_limit() -> None:
    assert RECEIPTS in ALL
    assert RECEIPTS.config["cleanup.policy"] == "compact"
    assert "retention.ms" not in RECEIPTS.config


def test_password_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("hush\n")
    security = KafkaSecurity(
        protocol="SASL_SSL", mechanism="PLAIN", user="rekam", password_file=password_file
    )
    options = client_options(BOOTSTRAP, security)
    given = (options["sasl_plain_username"], options["sasl_plain_password"])
    assert given == ("rekam", "hush")
    assert options["ssl_context"].check_hostname is True


@pytest.mark.parametrize("build", [client_options, producer_options, consumer_options])
def test_every_client_has_deadlines(build: Callable[[str], dict[str, Any]]) -> None:
    assert 0 < build(BOOTSTRAP)["request_timeout_ms"] <= 10_000
