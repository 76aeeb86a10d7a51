"""How the fleet's segments reach the log, and what is made to go wrong on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from producers.device.addresses import open_routes, route_address
from producers.device.kafka_route import KafkaRoute
from producers.device.route import Delivery, Route
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.topics import RECEIPTS, SEGMENTS, Topic
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.settings import Settings

Weather = Literal["fair", "away", "cut"]

SENT_VERDICTS: Final = frozenset({"logged", "custody"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The addresses of the routes, in words that another process understands too.

    Without addresses the Kafka of the settings. The topics are others only in tests.
    """

    settings: Settings
    addresses: tuple[str, ...] = ()
    topic: str = SEGMENTS.name
    receipts: Topic = RECEIPTS

    def __len__(self) -> int:
        """Return how many different ways there are."""
        return max(1, len(self.addresses))

    def open(self, number: int, *, carrier: Literal["usb"] | None = None) -> Route:
        """Return a new route by one of the ways; nothing is connected yet. Raises Misconfigured.

        `carrier`: it brings what others sealed, as an import of sticks does.
        """
        settings = self.settings
        if not self.addresses:
            return self._kafka(kafka_bootstrap(settings), carrier)
        text = self.addresses[number % len(self.addresses)]
        address = route_address(text)
        if address.kind == "kafka":
            return self._kafka(address.target, carrier)
        (route,) = open_routes([text], settings, carrier=carrier)
        return route

    def _kafka(self, bootstrap: str, carrier: Literal["usb"] | None) -> KafkaRoute:
        return KafkaRoute(
            bootstrap,
            self.settings.kafka_security,
            topic=self.topic,
            receipts=self.receipts,
            arrival=carrier or "kafka",
        )


@dataclass(slots=True)
class Counted:
    """A route that all devices share; counts what went through it."""

    inner: Route
    segments: int = 0
    """Segments that were taken, copies included."""
    custody: int = 0
    """Of those, the ones that are not in the log yet."""

    @property
    def label(self) -> str:
        """Name the kind of route."""
        return self.inner.label

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Send, and count what was taken."""
        delivery = await self.inner.send(segments, producer=producer)
        for one in delivery.verdicts:
            self.segments += one.verdict in SENT_VERDICTS
            self.custody += one.verdict == "custody"
        return delivery

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return what the route has."""
        return await self.inner.receipt(producer)

    async def stop(self) -> None:
        """Close the route."""
        await self.inner.stop()


@dataclass(slots=True)
class Fickle:
    """One device's way to a shared route. Its owner sets the weather; it stops nothing."""

    inner: Route
    weather: Weather = "fair"
    failures: int = field(default=0)
    """How often it was away, or lost the answer."""

    @property
    def label(self) -> str:
        """Name the kind of route."""
        return self.inner.label

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Send, unless no route works; or lose the answer. Raises Unavailable then."""
        if self.weather == "away":
            self.failures += 1
            raise Unavailable("simulated: no route works. It goes on by itself")
        delivery = await self.inner.send(segments, producer=producer)
        if self.weather == "cut":
            self.failures += 1
            raise Unavailable("simulated: the answer was lost. The same bytes are sent again")
        return delivery

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return what the route has. Raises Unavailable when no route works."""
        if self.weather != "fair":
            raise Unavailable("simulated: no route works. It goes on by itself")
        return await self.inner.receipt(producer)

    async def stop(self) -> None:
        """Leave the shared route to the other devices."""
