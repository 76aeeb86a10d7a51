"""What the calls about duplicates answer; a list names devices and places, one case the person."""

import re
from typing import Final

import msgspec

from projections.api import parameters
from projections.api.answers import Stated
from projections.api.office import Asked, state
from projections.api.parameters import PAGE_DEFAULT, VALUE_CHARACTERS_MAX, Parameter, Unwanted
from projections.api.people_calls import account_for_person, answer_person
from projections.api.problems import ProblemError
from projections.duplicate.contributions import ID_BYTES, NOBODY
from projections.duplicate.reads import (
    RULE,
    Case,
    DevicePair,
    State,
    Wanted,
    find_case_token,
    list_cases,
)
from projections.duplicate.state import KINDS, Kind
from projections.person.reads import Person


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """One page of cases, by id, and what the region's come to."""

    rule: str
    """How people of whom several recordings stand count."""
    region: str
    counts: dict[Kind, dict[State, int]]
    """Of all cases of the region."""
    pairs: list[DevicePair]
    """Whose recordings meet most often."""
    cases: list[Case]
    next_cursor: str | None
    """Null: this is the last page."""


_CASE_FORM: Final = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")


def _case(text: str) -> str:
    if not _CASE_FORM.fullmatch(text):
        raise Unwanted("the id of a case, as /v1/duplicates shows it")
    return text


def _kind(text: str) -> Kind:
    for kind in KINDS:
        if kind == text:
            return kind
    raise Unwanted(f"one of {', '.join(KINDS)}")


def _state(text: str) -> State:
    match text:
        case "open" | "resolved":
            return text
    raise Unwanted("open or resolved")


_CASE_SCHEMA: Final = {"type": "string", "pattern": f"^{_CASE_FORM.pattern}$"}
CASE: Final = Parameter(
    "case",
    _case,
    "the id of a case, as /v1/duplicates shows it",
    _CASE_SCHEMA,
    where="path",
    is_required=True,
)
CASE_CURSOR: Final = Parameter(
    "cursor", _case, "the next_cursor of the page before, or none for the first page", _CASE_SCHEMA
)
CASE_KIND: Final = Parameter(
    "kind", _kind, "only cases of this kind", {"type": "string", "enum": list(KINDS)}
)
CASE_STATE: Final = Parameter(
    "state",
    _state,
    "only open or only resolved ones",
    {"type": "string", "enum": ["open", "resolved"]},
)
BY_PRODUCER: Final = Parameter(
    "producer",
    parameters.parse_producer,
    "only cases in which a recording by this producer stands",
    {"type": "string", "maxLength": VALUE_CHARACTERS_MAX},
)


async def get_duplicates(asked: Asked) -> Stated[Duplicates]:
    """Answer one page of cases."""
    region = asked.arguments.required(parameters.REGION)
    async with asked.database.snapshot() as connection:
        page = await list_cases(
            connection,
            Wanted(
                region,
                state=asked.arguments.get(CASE_STATE),
                kind=asked.arguments.get(CASE_KIND),
                producer=asked.arguments.get(BY_PRODUCER),
            ),
            after=asked.arguments.get(CASE_CURSOR) or "",
            cases_max=asked.arguments.get(parameters.LIMIT) or PAGE_DEFAULT,
            today=asked.office.today,
        )
        return Stated(
            await state(asked.office, connection),
            Duplicates(
                rule=RULE,
                region=region.code,
                counts={kind: dict(states) for kind, states in page.counts.items()},
                pairs=page.pairs,
                cases=page.cases,
                next_cursor=page.next,
            ),
        )


async def get_duplicate(asked: Asked) -> Stated[Person]:
    """Answer the person of a case: all recordings, what was said, and which cases there are."""
    case = asked.arguments.required(CASE)
    async with asked.database.snapshot() as connection:
        token = await find_case_token(connection, case)
    if token is None:
        raise ProblemError(
            "case_unknown",
            "there is no such case now; what made it may have been withdrawn, see /v1/duplicates",
        )
    if token == NOBODY:
        raise ProblemError(
            "person_erased", "an order erased the person of this case, which counts on"
        )
    await account_for_person(asked, token, call="get_duplicate")
    return await answer_person(asked, token)
