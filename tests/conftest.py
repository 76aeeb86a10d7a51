"""Real parts that tests share: one broker and one PostgreSQL a process, started when first asked.

A test that kills a server takes one of its own (`breakable_kafka`, `breakable_postgres`).
"""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rekam.embedded.kafka import EmbeddedKafka
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.runtime.postgres import migrate
from tests.support.broker import Topics, new_broker
from tests.support.database import new_server, temporary_database

LAYERS = ("unit", "property", "contract", "conformance", "integration", "e2e", "fault")
"""By cost: what is quick to run is quick to fail."""

TEMPLATE = "rekam_template"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the layers by cost, each in the order of its files."""
    here = Path(__file__).parent

    def layer(item: pytest.Item) -> int:
        return LAYERS.index(item.path.relative_to(here).parts[0])

    items.sort(key=layer)


@pytest.fixture(autouse=True)
def leaves_no_log_handler() -> Iterator[None]:
    """Take away what a command that ran in this process logs to: its stream ends with the test."""
    yield
    root = logging.getLogger()
    # pytest's own are subclasses.
    root.handlers = [one for one in root.handlers if type(one) is not logging.StreamHandler]


@pytest.fixture(scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedKafka]:
    """Give the session's broker; leave it running."""
    async with new_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """Give the session's PostgreSQL; leave it running."""
    async with new_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
async def migrated_template(postgres: EmbeddedPostgres) -> str:
    """Name a migrated database to copy; connect to a copy, never to it."""
    await postgres.create_database(TEMPLATE)
    await migrate(postgres.dsn(TEMPLATE), "projections.migrations")
    return TEMPLATE


@pytest.fixture
async def database(postgres: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[str]:
    """Give the DSN of a fresh migrated database; dropped afterwards."""
    async with temporary_database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Give the DSN of a fresh database without tables; dropped afterwards."""
    async with temporary_database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def topics(kafka: EmbeddedKafka) -> AsyncIterator[Topics]:
    """Give a maker of topics that no other test knows; they are deleted afterwards."""
    maker = Topics(kafka.bootstrap)
    yield maker
    await maker.remove()


@pytest.fixture
async def breakable_kafka(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    """Give a started broker of one's own to kill and start."""
    async with new_broker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
async def breakable_postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Give a started PostgreSQL of one's own to kill and start."""
    async with new_server(tmp_path / "postgres") as server:
        yield server
