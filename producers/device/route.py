"""Ways to the log: what every route promises, how one is named, and several tried in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.ids import ProducerId

LATER_SCHEMES: Final = frozenset({"https", "relay+https"})


@dataclass(frozen=True, slots=True)
class Acked:
    """Where a segment stands in the log. `append_ms` is None when the broker did not say it."""

    partition: int
    offset: int
    append_ms: int | None


class Route(Protocol):
    """Takes segments to the log, at least once.

    `send` may be called again with segments whose fate is unknown (an answer got lost): the log
    then holds them twice, byte for byte, and they count once. Segments of one call arrive in its
    order. `stop` may be called without `send` and twice.
    """

    @property
    def label(self) -> str:
        """Name the route as events do; no address in it."""

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> list[Acked]:
        """Return when the log holds all of the segments, with their positions.

        Within a bounded time. Raises Unavailable when it is not known that all are there.
        """

    async def stop(self) -> None:
        """Close connections; what was not acknowledged is given up."""


class FirstThatWorks:
    """Several routes, tried in order for each send."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Take routes over, at least one; `stop` stops them all."""
        assert routes  # noqa: S101 - our own bug
        self._routes = tuple(routes)
        self.label = self._routes[0].label

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> list[Acked]:
        """Send by the first route that works; `label` then names it."""
        errors: list[Unavailable] = []
        for route in self._routes:
            try:
                acked = await route.send(segments, producer=producer)
            except Unavailable as error:
                errors.append(error)
            else:
                self.label = route.label
                return acked
        raise Unavailable("; ".join(map(str, errors))) from errors[-1]

    async def stop(self) -> None:
        """Stop all routes."""
        for route in self._routes:
            await route.stop()


def kafka_address(text: str) -> str:
    """Return `host:port` of a `kafka://host:port` route. Raises Misconfigured for anything else."""
    wanted = "wanted kafka://host:port"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured([f"--route: not an address; {wanted}"]) from error
    if parts.scheme in LATER_SCHEMES:
        raise Misconfigured([f"--route={parts.scheme}://…: this version cannot; {wanted}"])
    # The text is not shown: people put passwords into addresses.
    if parts.scheme != "kafka" or not host or not port or parts.netloc.count("@"):
        raise Misconfigured([f"--route: not a route of this version; {wanted}, without a user"])
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Misconfigured([f"--route=kafka://{host}:{port}/…: more than an address; {wanted}"])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
