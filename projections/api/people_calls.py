"""What the calls about people answer; each records who reads, of whom and why, before it does."""

import re
from datetime import date, timedelta
from typing import Final, NoReturn, cast

import msgspec

from projections.access.reads import (
    START,
    Access,
    AccessCount,
    Reading,
    accesses_of,
    count_accesses,
    list_accesses,
)
from projections.api import parameters
from projections.api.access import account_for, account_for_token
from projections.api.answers import Stated
from projections.api.office import Asked, require_own_rules, state
from projections.api.parameters import PAGE_DEFAULT, VALUE_CHARACTERS_MAX, Parameter, Unwanted
from projections.api.problems import ProblemError, shown
from projections.person.niks import ERASED, open_nik
from projections.person.reads import Erased, Person, find_niks, find_person
from projections.reading import Connection
from rekam.domain.errors import Corrupt

DAYS_DEFAULT: Final = timedelta(days=30)
"""How long before its last day an account of readings begins, unless asked otherwise."""
_NIK: Final = re.compile(r"[0-9]{16}")


class PeopleLookup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to look up: a text of sixteen digits; and why, unless the header says so."""

    nik: str
    reason: str | None = None


class NikRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the number of a person is needed, unless the header says so."""

    reason: str | None = None


class PersonNik(msgspec.Struct, frozen=True, kw_only=True):
    """A person's number, for an officer who must act on it."""

    person: str
    nik: str


class PersonAccesses(msgspec.Struct, frozen=True, kw_only=True):
    """One page of who read of one person, as it became known. This reading follows soon."""

    person: str
    total: int
    accesses: list[Access]
    next_cursor: str | None
    """Null: this is the last page."""


class Accesses(msgspec.Struct, frozen=True, kw_only=True):
    """An account of readings: sums over all people, and one page of people with each reading."""

    first: date
    last: date
    counts: list[AccessCount]
    """By day, caller and call; of erased people too."""
    readings: list[Reading]
    """By person. Erased people are left out."""
    next_cursor: str | None
    """Null: this is the last page. A page may be empty before the last one."""


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise Unwanted("the next_cursor of the page before, or none for the first page")
    return int(text)


def _named_caller(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise Unwanted("a caller as readings name them")
    return text


_CURSOR_MEANING: Final = "the next_cursor of the page before, or none for the first page"
_CURSOR_SCHEMA: Final = {"type": "string", "maxLength": VALUE_CHARACTERS_MAX}
ACCESS_CURSOR: Final = Parameter("cursor", _number, _CURSOR_MEANING, _CURSOR_SCHEMA)
PEOPLE_CURSOR: Final = Parameter("cursor", parameters.TOKEN.parse, _CURSOR_MEANING, _CURSOR_SCHEMA)
BY: Final = Parameter("caller", _named_caller, "only what this caller read", _CURSOR_SCHEMA)
FIRST: Final = Parameter(
    "from",
    parameters.FROM.parse,
    "the first day (office time); without it, 30 days before the last",
    parameters.FROM.schema,
)
LAST: Final = Parameter(
    "to", parameters.TO.parse, "the last day (office time); without it, today", parameters.TO.schema
)


async def look_up_person(asked: Asked) -> Stated[Person]:
    """Answer one person by NIK, which goes no further than its record of access."""
    body = cast("PeopleLookup", asked.body)
    if not _NIK.fullmatch(body.nik):
        raise ProblemError("invalid_body", "nik is not a NIK; wanted a text of sixteen digits")
    await account_for(asked, [body.nik], call="look_up_person", reason=body.reason)
    return await answer_person(asked, asked.office.rules.token(body.nik))


async def get_person(asked: Asked) -> Stated[Person]:
    """Answer one person by token."""
    token = asked.arguments.required(parameters.TOKEN)
    await account_for_person(asked, token, call="get_person")
    return await answer_person(asked, token)


async def get_person_nik(asked: Asked) -> PersonNik:
    """Answer the NIK of one person, for an officer who must act on it."""
    token = asked.arguments.required(parameters.TOKEN)
    reason = cast("NikRequest", asked.body).reason
    nik = await account_for_person(asked, token, call="get_person_nik", reason=reason)
    return PersonNik(person=token.hex(), nik=nik)


async def get_person_accesses(asked: Asked) -> Stated[PersonAccesses]:
    """Answer one page of who read of a person, and why."""
    token = asked.arguments.required(parameters.TOKEN)
    await account_for_person(asked, token, call="get_person_accesses")
    page_max = asked.arguments.get(parameters.LIMIT) or PAGE_DEFAULT
    start = asked.arguments.get(ACCESS_CURSOR) or 0
    end = start + page_max
    async with asked.database.snapshot() as connection:
        found = await accesses_of(connection, token)
        return Stated(
            await state(asked.office, connection),
            PersonAccesses(
                person=token.hex(),
                total=len(found),
                accesses=found[start:end],
                next_cursor=str(end) if len(found) > end else None,
            ),
        )


async def get_accesses(asked: Asked) -> Stated[Accesses]:
    """Answer who read of people in some days: what an auditor of the readers asks."""
    last = asked.arguments.get(LAST) or asked.office.today
    first = asked.arguments.get(FIRST) or last - min(DAYS_DEFAULT, last - date.min)
    if first > last:
        raise ProblemError("invalid_parameter", f"from={first} lies after to={last}")
    async with asked.database.snapshot() as connection:
        counts = await count_accesses(connection, first=first, last=last)
        page = await list_accesses(
            connection,
            first=first,
            last=last,
            caller=asked.arguments.get(BY),
            after=asked.arguments.get(PEOPLE_CURSOR) or START,
            people_max=asked.arguments.get(parameters.LIMIT) or PAGE_DEFAULT,
        )
        return Stated(
            await state(asked.office, connection),
            Accesses(
                first=first,
                last=last,
                counts=counts,
                readings=page.readings,
                next_cursor=None if page.next is None else page.next.hex(),
            ),
        )


async def account_for_person(
    asked: Asked, token: bytes, *, call: str, reason: str | None = None
) -> str:
    """Record that somebody is about to read of the person of a token; return the person's NIK.

    Raises ProblemError when nobody is known by that token, or who was is erased: that this was
    asked is recorded first.
    """
    nik = await _nik_of(asked, token)
    if nik is None:
        await account_for_token(asked, token, call=call, reason=reason)
        async with asked.database.snapshot() as connection:
            await _refuse(asked, connection, token)
    await account_for(asked, [nik], call=call, reason=reason)
    return nik


async def answer_person(asked: Asked, token: bytes) -> Stated[Person]:
    """Answer what is known of a person; that somebody reads it is recorded already."""
    async with asked.database.snapshot() as connection:
        found = await find_person(
            connection, token, rules=asked.office.rules, today=asked.office.today
        )
        match found:
            case None:
                # Under another key of tokens nobody would be known.
                await require_own_rules(asked.office, connection)
                raise _unknown()
            case Erased():
                raise _erased(found)
        return Stated(await state(asked.office, connection), found)


async def _nik_of(asked: Asked, token: bytes) -> str | None:
    """Return whom a token names: a record by NIK finds its person whatever the keys become.

    None: nobody is known by it, or who was is erased.
    """
    async with asked.database.snapshot() as connection:
        sealed = (await find_niks(connection, [token])).get(token)
    if sealed is None or sealed == ERASED:
        return None
    try:
        return open_nik(sealed, token, asked.office.rules)
    except Corrupt as error:
        raise ProblemError("access_unrecorded", str(error)) from error


async def _refuse(asked: Asked, connection: Connection, token: bytes) -> NoReturn:
    found = await find_person(connection, token, rules=asked.office.rules, today=asked.office.today)
    if isinstance(found, Erased):
        raise _erased(found)
    # Under another key of tokens nobody would be known.
    await require_own_rules(asked.office, connection)
    raise _unknown()


def _unknown() -> ProblemError:
    return ProblemError(
        "person_unknown",
        "no event names this person; check the number, and whether its device has sent",
    )


def _erased(found: Erased) -> ProblemError:
    return ProblemError(
        "person_erased",
        f"erased by order {shown(found.order)}, known since {found.known_on}; nothing else is kept "
        "of this person that could be answered",
    )
