"""Health of a device: three axes and one label, from its facts alone.

    contact     has the log heard of it at all (its plan is not known yet)
    condition   does it, or an office, say that something is broken
    progress    does it say that events wait on it

The label is the first that fits: `NOT_ENROLLED`, `REVOKED`, `REPORTED_FAULT` (a fault was reported
and not cleared), `UNKNOWN` (never heard), `NO_FAULT_REPORTED`. Silence says nothing: BROKEN needs
positive evidence, and none of today's events is that much.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

import msgspec

from projections.facts import counted
from projections.registry.context import ProducerContext
from projections.registry.facts import Beat, Fault, ProducerFact, Route, Swap, Ticket

Label = Literal["NOT_ENROLLED", "REVOKED", "REPORTED_FAULT", "UNKNOWN", "NO_FAULT_REPORTED"]
Contact = Literal["HEARD", "NEVER_HEARD"]
Condition = Literal["FAULT_REPORTED", "NO_FAULT_REPORTED"]
Progress = Literal["QUEUE_EMPTY", "QUEUE_WAITS", "UNKNOWN"]

LABELS: Final[tuple[Label, ...]] = (
    "NOT_ENROLLED",
    "REVOKED",
    "REPORTED_FAULT",
    "UNKNOWN",
    "NO_FAULT_REPORTED",
)

DataT = TypeVar("DataT")


class OpenFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was reported and not cleared."""

    component: str
    fault: str
    detail: str | None


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a slot since the last swap that was told; None: it was taken out."""

    slot: str
    installed: str | None


class TicketState(msgspec.Struct, frozen=True, kw_only=True):
    """The last step of a repair."""

    ticket: str
    step: str
    text: str


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device's facts say of it."""

    label: Label
    contact: Contact
    condition: Condition
    progress: Progress
    queue_events: int | None = None
    """None: it has never told."""
    oldest_unsent_ms: int | None = None
    route: str | None = None
    software: str | None = None
    faults: list[OpenFault] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    tickets: list[TicketState] = field(default_factory=list)


def device_state(
    facts: Sequence[ProducerFact], *, context: ProducerContext, contact_ms: int
) -> DeviceState:
    """Return the state of one device; pure, and independent of the order of facts."""
    beats = _told(facts, Beat)
    beat = beats[-1] if beats else None
    faults = sorted(
        (
            OpenFault(component=data.component, fault=data.fault, detail=data.detail)
            for data in _told(facts, Fault)
            if data.is_present
        ),
        key=lambda fault: (fault.component, fault.fault),
    )
    return DeviceState(
        label=_label(context, has_fault=bool(faults), is_heard=contact_ms > 0),
        contact="HEARD" if contact_ms > 0 else "NEVER_HEARD",
        condition="FAULT_REPORTED" if faults else "NO_FAULT_REPORTED",
        progress=_progress(beat),
        queue_events=beat.queue_events if beat else None,
        oldest_unsent_ms=beat.oldest_unsent_ms if beat else None,
        route=_route(facts),
        software=beat.software if beat else None,
        faults=faults,
        components=_components(facts),
        tickets=_tickets(facts),
    )


def _label(context: ProducerContext, *, has_fault: bool, is_heard: bool) -> Label:
    if context.kind is None:
        return "NOT_ENROLLED"
    if context.revoked_ms is not None:
        return "REVOKED"
    if has_fault:
        return "REPORTED_FAULT"
    return "NO_FAULT_REPORTED" if is_heard else "UNKNOWN"


def _progress(beat: Beat | None) -> Progress:
    if beat is None:
        return "UNKNOWN"
    return "QUEUE_WAITS" if beat.queue_events else "QUEUE_EMPTY"


def _told(facts: Iterable[ProducerFact], kind: type[DataT]) -> list[DataT]:
    """Return a device's own words of one kind, in the order of its life (epoch, then seq)."""
    ordered = sorted(facts, key=lambda fact: (fact.epoch, fact.seq, fact.variant))
    return [fact.data for fact in ordered if isinstance(fact.data, kind)]


def _route(facts: Sequence[ProducerFact]) -> str | None:
    for fact in sorted(facts, key=lambda fact: (fact.epoch, fact.seq, fact.variant), reverse=True):
        match fact.data:
            case Route(route=route):
                return route
            case Beat(route=str(route)):
                return route
            case _:
                pass
    return None


def _components(facts: Sequence[ProducerFact]) -> list[Component]:
    slots = {swap.slot: swap.installed for swap in _told(facts, Swap)}
    return [Component(slot=slot, installed=slots[slot]) for slot in sorted(slots)]


def _tickets(facts: Iterable[ProducerFact]) -> list[TicketState]:
    """Return each repair's last step. Offices tell them, so the order is that of becoming known."""
    steps = {
        fact.data.ticket: fact.data for fact in counted(facts) if isinstance(fact.data, Ticket)
    }
    return [
        TicketState(ticket=step.ticket, step=step.step, text=step.text)
        for _, step in sorted(steps.items())
    ]
