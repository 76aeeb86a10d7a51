"""Addresses of routes: `kafka://host:port`, `https://gateway[:port]`, `relay+https://…`."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from producers.device.known_time import CertificateTime, by_clock
from producers.device.route import Route
from rekam.domain.errors import Misconfigured
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.settings import Settings

ROUTES_MAX: Final = 8

_WANTED: Final = "wanted kafka://host:port, https://gateway[:port] or relay+https://relay[:port]"
_SCHEMES: Final[dict[str, tuple[Literal["kafka", "gateway", "relay"], str]]] = {
    "kafka": ("kafka", ""),
    "https": ("gateway", "https"),
    "http": ("gateway", "http"),
    "relay+https": ("relay", "https"),
    "relay+http": ("relay", "http"),
}


@dataclass(frozen=True, slots=True)
class RouteAddress:
    """Where a route goes: `host:port` for Kafka, else `scheme://host[:port]`."""

    kind: Literal["kafka", "gateway", "relay"]
    target: str


def route_address(text: str) -> RouteAddress:
    """Read an address. Raises Misconfigured, without showing a password that stands in it."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured([f"--route: not an address; {_WANTED}"]) from error
    kind, scheme = _SCHEMES.get(parts.scheme, ("kafka", ""))
    if (
        parts.scheme not in _SCHEMES
        or not host
        or "@" in parts.netloc
        or (port is None and kind == "kafka")
    ):
        raise Misconfigured([f"--route: not a route of this version; {_WANTED}, without a user"])
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Misconfigured(
            [f"--route={parts.scheme}://{place}/…: more than an address; {_WANTED}"]
        )
    if scheme == "http" and not _is_loopback(host):
        raise Misconfigured(
            [f"--route={parts.scheme}://{place}: unencrypted beyond this machine; use https://"]
        )
    return RouteAddress(kind, f"{scheme}://{place}" if scheme else place)


def open_routes(
    texts: Sequence[str],
    settings: Settings,
    *,
    ca: Path | None = None,
    certificate_time: CertificateTime = by_clock,
    carrier: Literal["relay", "usb"] | None = None,
) -> list[Route]:
    """Return a route for each address, in order; without one, that to the settings' Kafka.

    Servers show certificates of a CA of the system, or of `ca`, valid at `certificate_time`.
    A `carrier` brings what others sealed, and the log tells so (docs/routes.md).
    Nothing is connected yet. Raises Misconfigured, naming every address that is none.
    """

    def opened(address: RouteAddress) -> Route:
        return _open(address, settings, ca=ca, certificate_time=certificate_time, carrier=carrier)

    if not texts:
        return [opened(RouteAddress("kafka", kafka_bootstrap(settings)))]
    addresses: list[RouteAddress] = []
    faults: list[str] = []
    if len(texts) > ROUTES_MAX:
        faults.append(f"--route: {len(texts)} of them; wanted at most {ROUTES_MAX}")
    for text in texts:
        try:
            addresses.append(route_address(text))
        except Misconfigured as error:
            faults.extend(error.faults)
    if faults:
        raise Misconfigured(faults)
    return [opened(address) for address in addresses]


def _open(
    address: RouteAddress,
    settings: Settings,
    *,
    ca: Path | None,
    certificate_time: CertificateTime,
    carrier: Literal["relay", "usb"] | None,
) -> Route:
    # Each client takes 10 to 16 MB of memory when it is imported; a tablet has room for one.
    if address.kind == "kafka":
        from producers.device.kafka_route import KafkaRoute

        return KafkaRoute(
            address.target,
            settings.kafka_security,
            arrival=carrier or "kafka",
            certificate_time=certificate_time,
        )
    from producers.device.gateway_route import GatewayRoute

    return GatewayRoute(
        address.target,
        ca=ca,
        label=address.kind,
        certificate_time=certificate_time,
        carrier=carrier,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
