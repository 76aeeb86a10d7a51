"""Options of commands that send, and the routing that they ask for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from producers.device.addresses import open_routes
from producers.device.known_time import CertificateTime, by_clock
from producers.device.pacing import ByteLimit
from producers.device.route import Route
from producers.device.routing import MONOTONIC, Routing, RoutingOptions
from rekam.domain.errors import Misconfigured
from rekam.runtime.settings import Settings

BYTES_PER_SECOND_MIN: Final = 1024
"""Less would not bring one full segment through within minutes."""

_OPTIONS: Final = (
    click.option(
        "--route",
        "routes",
        multiple=True,
        help="In order: kafka://host:port, https://gateway, relay+https://relay; without one the "
        "Kafka of the settings.",
    ),
    click.option("--both", is_flag=True, help="Send everything by the first two routes at once."),
    click.option(
        "--bytes-per-second",
        type=click.IntRange(min=BYTES_PER_SECOND_MIN),
        help="Send no more than that; without it as much as the way takes.",
    ),
    click.option(
        "--ca",
        type=click.Path(path_type=Path, dir_okay=False),
        help="PEM file of the CA that signs the gateway; without it those of this system.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChoice:
    """What the options say."""

    routes: Sequence[str] = ()
    both: bool = False
    bytes_per_second: int | None = None
    ca: Path | None = None

    def open(
        self,
        settings: Settings,
        *,
        watch: Callable[[Sequence[Route]], Sequence[Route]] = tuple,
        certificate_time: CertificateTime = by_clock,
    ) -> Routing:
        """Return the routing; nothing is connected yet. Raises Misconfigured.

        `watch` may put something that looks on in the place of each route.
        """
        routes = watch(
            open_routes(self.routes, settings, ca=self.ca, certificate_time=certificate_time)
        )
        if self.both and len(routes) == 1:
            raise Misconfigured(["--both: there is one route alone; give --route twice"])
        return Routing(
            routes,
            options=RoutingOptions(both=self.both),
            limit=ByteLimit(self.bytes_per_second, monotonic=MONOTONIC),
        )


def route_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of routes, as one argument `choice`."""

    @wraps(command)
    def with_choice(
        *arguments: Any,
        routes: tuple[str, ...],
        both: bool,
        bytes_per_second: int | None,
        ca: Path | None,
        **others: Any,
    ) -> None:
        choice = RouteChoice(routes=routes, both=both, bytes_per_second=bytes_per_second, ca=ca)
        command(*arguments, choice=choice, **others)

    found: Callable[..., None] = with_choice
    for option in reversed(_OPTIONS):
        found = option(found)
    return found
