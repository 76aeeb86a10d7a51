"""A real broker that clients reach only through a proxy, also after they asked for its address."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.settings import Settings
from tests.support.machine import free_port
from tests.support.proxy import Proxy, proxy_before


class ProxiedKafka(EmbeddedKafka):
    """An embedded broker with a further listener, which tells clients the address of a proxy."""

    def __init__(self, *, state_dir: Path, proxy: Proxy) -> None:
        """Take the proxy, which must be before port `proxy.target`."""
        cache_dir = Settings.load(os.environ).home / "cache"
        super().__init__(state_dir=state_dir, cache_dir=cache_dir, report=print)
        self.proxy = proxy

    def properties(self, *, broker: int, controller: int) -> dict[str, str]:
        """Add the listener."""
        plain = super().properties(broker=broker, controller=controller)
        return plain | {
            "listeners": f"{plain['listeners']},PROXIED://127.0.0.1:{self.proxy.target}",
            "advertised.listeners": (
                f"{plain['advertised.listeners']},PROXIED://{self.proxy.address}"
            ),
            "listener.security.protocol.map": (
                f"{plain['listener.security.protocol.map']},PROXIED:PLAINTEXT"
            ),
        }


@asynccontextmanager
async def proxied_kafka(state_dir: Path) -> AsyncIterator[ProxiedKafka]:
    """Give a started broker behind a proxy that passes everything on."""
    async with (
        proxy_before(free_port()) as proxy,
        ProxiedKafka(state_dir=state_dir, proxy=proxy) as broker,
    ):
        yield broker
