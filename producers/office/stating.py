"""State facts from a command: checked by their types, durable here, then sent."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from producers.device.home import ProducerHome
from producers.office.desk import OfficeDesk, send, state
from producers.office.registrar import ensure_registrar
from rekam.domain.errors import Misconfigured
from rekam.domain.events import EventData, stray_nik
from rekam.runtime.settings import Settings


def publish(
    settings: Settings,
    facts: Sequence[EventData],
    *,
    desk: OfficeDesk | None = None,
    stated: Callable[[], None] = lambda: None,
) -> None:
    """State facts by the registrar or by `desk`, then send.

    `stated` is called when they are durable, before anything is sent. Raises Unavailable when
    they cannot be sent now: they are kept.
    """
    with ExitStack() as stack:
        registrar = stack.enter_context(ensure_registrar(settings))
        homes: list[ProducerHome] = [registrar]
        if desk is not None:
            homes.append(stack.enter_context(desk.open(settings, registrar)))
        state(homes[-1], facts)
        stated()
        asyncio.run(send(settings, homes))


def checked(fact: type[Any], **fields: Any) -> Any:
    """Return a fact whose fields keep the rules of its type. Raises Misconfigured, no value."""
    try:
        made = msgspec.convert(msgspec.to_builtins(fields), fact)
    except msgspec.ValidationError as error:
        raise Misconfigured([f"{fact.__name__}: {error}"]) from error
    if (field := stray_nik(made)) is not None:
        raise Misconfigured(
            [f"{fact.__name__}: {field} holds a NIK, and it is shown to many; say it without"]
        )
    return made


def moment_ms(text: str, settings: Settings, name: str) -> int:
    """Return ms since 1970, UTC; without a zone the office's counts. Raises Misconfigured."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Misconfigured([f"{name}: wanted ISO 8601, such as 2018-03-31T14:00"]) from error
    return office_ms(moment, settings)


def office_ms(moment: datetime, settings: Settings) -> int:
    """Return ms since 1970, UTC; without a zone the office's counts."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(settings.time_zone))
    return int(moment.astimezone(UTC).timestamp() * 1000)
