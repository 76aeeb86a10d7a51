"""Where Kafka and PostgreSQL are: named, running here, or nowhere."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from rekam.domain.errors import Corrupt, Misconfigured
from rekam.runtime.endpoints import (
    Endpoints,
    endpoints_path,
    kafka_bootstrap,
    postgres_dsn,
    running_endpoints,
)
from rekam.runtime.settings import Settings

DSN = "postgresql://rekam@127.0.0.1:5432/rekam?passfile=/p"


def write(settings: Settings, *, pid: int) -> Endpoints:
    endpoints = Endpoints(kafka="127.0.0.1:9092", postgres=DSN, port=8080, pid=pid)
    endpoints_path(settings).write_bytes(msgspec.json.encode(endpoints))
    return endpoints


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings that name neither server."""
    return Settings.load({"REKAM_HOME": str(tmp_path)})


def test_running_up_tells_where_its_servers_are(settings: Settings) -> None:
    endpoints = write(settings, pid=os.getpid())
    assert running_endpoints(settings) == endpoints
    assert kafka_bootstrap(settings) == "127.0.0.1:9092"
    assert postgres_dsn(settings) == DSN


def test_named_servers_come_before_running_ones(tmp_path: Path) -> None:
    settings = Settings.load(
        {
            "REKAM_HOME": str(tmp_path),
            "REKAM_KAFKA": "kafka:9092",
            "REKAM_POSTGRES": "postgresql://db/rekam",
        }
    )
    write(settings, pid=os.getpid())
    assert kafka_bootstrap(settings) == "kafka:9092"
    assert postgres_dsn(settings) == "postgresql://db/rekam"


def test_without_either_both_remedies_are_named(settings: Settings) -> None:
    for find, variable in ((kafka_bootstrap, "REKAM_KAFKA"), (postgres_dsn, "REKAM_POSTGRES")):
        with pytest.raises(Misconfigured, match=f"Start `rekam up`, or set {variable}"):
            find(settings)


def test_file_of_a_killed_up_counts_for_nothing(settings: Settings) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    write(settings, pid=ended.pid)
    assert running_endpoints(settings) is None
    with pytest.raises(Misconfigured):
        kafka_bootstrap(settings)


@pytest.mark.parametrize("text", ["", "{}", '{"kafka": 1}', "[]", "\x00"])
def test_damaged_file_is_named(settings: Settings, text: str) -> None:
    endpoints_path(settings).write_text(text)
    with pytest.raises(Corrupt, match=r"up\.json is damaged"):
        postgres_dsn(settings)
