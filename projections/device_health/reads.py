"""Devices as the log knows them: who, where, in what state, with what missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from projections.device_health.state import (
    Component,
    Condition,
    Contact,
    Label,
    OpenFault,
    Progress,
    TicketState,
    device_state,
)
from projections.ledger.reads import EpochLedger, Summary, ledger, summaries
from projections.reading import Connection, instant
from projections.regions import Region
from projections.registry.context import context_of
from projections.registry.reads import Producer, find_producer, producers

SCAN_PRODUCERS: Final = 500
"""Producers read at a time while a page is filled: a filter may skip most of them."""
REGISTRAR: Final = "registrar"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One producer. What it has never told is null."""

    id: str
    kind: str | None
    place: str | None
    """Code of the region where it is enrolled."""
    label: Label
    contact: Contact
    condition: Condition
    progress: Progress
    suspect: bool
    """Two outboxes have spoken under its name."""
    last_contact_at: datetime | None
    """Append time of its latest record."""
    oldest_unsent_at: datetime | None
    """By its own clock, at its last heartbeat."""
    queue_events: int | None
    received_events: int
    gap_events: int
    """Events that it must have sealed, that have not arrived, and that nobody gave up."""
    route: str | None
    software: str | None
    faults: list[OpenFault]
    components: list[Component]
    tickets: list[TicketState]


class DeviceLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived of a device, epoch by epoch."""

    id: str
    suspect: bool
    duplicates: int
    epochs: list[EpochLedger]


@dataclass(frozen=True, slots=True)
class DevicePage:
    """Devices by id, and behind which the next page starts (None: this is the last)."""

    devices: tuple[Device, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """Which devices are wanted; None: any."""

    region: Region | None = None
    label: Label | None = None
    kind: str | None = None

    def takes(self, device: Device) -> bool:
        """Tell whether a device is wanted. Never enrolled, it is no device yet."""
        return (
            device.kind is not None
            and (self.region is None or self.region.holds(device.place or ""))
            and self.label in (None, device.label)
            and self.kind in (None, device.kind)
        )


async def devices(
    connection: Connection, *, wanted: DeviceFilter, after: str, devices_max: int, registrar: str
) -> DevicePage:
    """Return the next enrolled producers behind an id that the filter takes."""
    page: list[Device] = []
    while len(page) <= devices_max:
        scanned = await producers(connection, after=after, producers_max=SCAN_PRODUCERS)
        candidates = [
            producer
            for producer in scanned
            if wanted.takes(_device(producer, Summary(), registrar=registrar))
        ]
        page += await _with_ledger(
            connection, candidates[: devices_max + 1 - len(page)], registrar=registrar
        )
        if len(scanned) < SCAN_PRODUCERS:
            break
        after = scanned[-1].producer
    shown = page[:devices_max]
    return DevicePage(tuple(shown), shown[-1].id if len(page) > devices_max else None)


async def find_device(connection: Connection, device: str, *, registrar: str) -> Device | None:
    """Return one producer, enrolled or not; None when the log has never named it."""
    producer = await find_producer(connection, device)
    if producer is None:
        return None
    [found] = await _with_ledger(connection, [producer], registrar=registrar)
    return found


async def device_ledger(connection: Connection, device: str) -> DeviceLedger | None:
    """Return a producer's ledger; None when the log has never named it."""
    producer = await find_producer(connection, device)
    if producer is None:
        return None
    epochs = await ledger(connection, device, facts=producer.facts)
    return DeviceLedger(
        id=device,
        suspect=any(epoch.forks for epoch in epochs),
        duplicates=sum(epoch.duplicates for epoch in epochs),
        epochs=epochs,
    )


async def _with_ledger(
    connection: Connection, found: Sequence[Producer], *, registrar: str
) -> list[Device]:
    short = await summaries(connection, {entry.producer: entry.facts for entry in found})
    return [_device(entry, short[entry.producer], registrar=registrar) for entry in found]


def _device(producer: Producer, summary: Summary, *, registrar: str) -> Device:
    context = context_of(producer.facts)
    if producer.producer == registrar:
        # The trust root is enrolled by the configuration.
        context = replace(context, kind=REGISTRAR, revoked_ms=None)
    state = device_state(producer.facts, context=context, contact_ms=producer.contact_ms)
    unsent_ms = state.oldest_unsent_ms
    return Device(
        id=producer.producer,
        kind=context.kind,
        place=context.place,
        label=state.label,
        contact=state.contact,
        condition=state.condition,
        progress=state.progress,
        suspect=summary.is_suspect,
        last_contact_at=instant(producer.contact_ms) if producer.contact_ms else None,
        oldest_unsent_at=None if unsent_ms is None else instant(unsent_ms),
        queue_events=state.queue_events,
        received_events=summary.received_events,
        gap_events=summary.gap_events,
        route=state.route,
        software=state.software,
        faults=state.faults,
        components=state.components,
        tickets=state.tickets,
    )
