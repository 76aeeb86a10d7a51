"""Real brokers and topics for tests."""

import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from rekam.domain.topics import SEGMENTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics, client_options
from rekam.runtime.settings import Settings


def new_broker(state_dir: Path, kind: type[EmbeddedKafka] = EmbeddedKafka) -> EmbeddedKafka:
    """Return a broker that is not started; jars come from the cache that all runs share."""
    cache_dir = Settings.load(os.environ).home / "cache"
    return kind(state_dir=state_dir, cache_dir=cache_dir, report=print)


@dataclass
class Topics:
    """Makes topics that no other test knows, and removes them."""

    bootstrap: str
    made: list[Topic] = field(default_factory=list)

    async def make(self, like: Topic = SEGMENTS, *, partitions: int | None = None) -> Topic:
        """Create a topic with the settings of `like` under a name of its own."""
        topic = replace(
            like,
            name=f"{like.name}.{secrets.token_hex(4)}",
            partitions=partitions or like.partitions,
        )
        self.made.append(topic)
        await apply_topics(self.bootstrap, [topic])
        return topic

    async def remove(self) -> None:
        """Delete what was made: many partitions would slow the tests that follow."""
        if not self.made:
            return
        admin = AIOKafkaAdminClient(**client_options(self.bootstrap))
        await admin.start()
        try:
            await admin.delete_topics([topic.name for topic in self.made])
        finally:
            await admin.close()
