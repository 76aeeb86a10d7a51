"""What does not count: lists, one place, and what was discarded for ever."""

import re
from typing import Final

import msgspec

from projections.api import answers, parameters
from projections.api.answers import Stated
from projections.api.office import Asked, state
from projections.api.parameters import (
    PAGE_DEFAULT,
    VALUE_CHARACTERS_MAX,
    Parameter,
    Unwanted,
    place_cursor,
)
from projections.api.problems import ProblemError
from projections.quarantine.reads import (
    START,
    Discard,
    Excluded,
    RecordPlace,
    Verdict,
    Wanted,
    count_excluded,
    discards,
    discards_at,
    excluded,
    excluded_at,
)
from projections.quarantine.reasons import RELEASES_WHEN
from rekam.domain.segment import producer_id

DAYS_MAX: Final = 36_500
_PLACE: Final = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)


class ExcludedAt(msgspec.Struct, frozen=True, kw_only=True):
    """What does not count at one place of the log, and what was decided of it."""

    entries: list[Excluded]
    discards: list[Discard]


class Discards(msgspec.Struct, frozen=True, kw_only=True):
    """One page of what the registrar discarded, by place."""

    discards: list[Discard]
    next_cursor: str | None
    """Null: this is the last page."""


def _producer(text: str) -> str:
    try:
        return producer_id(text)
    except msgspec.ValidationError as error:
        raise Unwanted("the id of a producer, in lower case") from error


def _reason(text: str) -> str:
    if text not in RELEASES_WHEN:
        raise Unwanted("a reason code of docs/errors.md")
    return text


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > DAYS_MAX:
        raise Unwanted(f"whole days, 0 to {DAYS_MAX}")
    return int(text)


def _place(text: str) -> tuple[int, int]:
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Unwanted("partition and offset, such as 3:120")
    return int(found[1]), int(found[2])


PRODUCER: Final = Parameter(
    "producer", _producer, "only what claims to be of this producer", {"type": "string"}
)
REASON: Final = Parameter(
    "reason",
    _reason,
    "only what does not count for this reason",
    {"type": "string", "enum": sorted(RELEASES_WHEN)},
)
OLDER: Final = Parameter(
    "older_than_days",
    _days,
    "only what is at least so old",
    {"type": "integer", "minimum": 0, "maximum": DAYS_MAX},
)
PLACE: Final = Parameter(
    "place",
    _place,
    "where the record lies: partition and offset",
    {"type": "string", "pattern": f"^{_PLACE.pattern}$", "maxLength": VALUE_CHARACTERS_MAX},
    where="path",
    is_required=True,
)
LISTED: Final = (PRODUCER, REASON, OLDER, parameters.PLACE_CURSOR, parameters.LIMIT)


async def get_quarantine(asked: Asked) -> Stated[answers.ExcludedEntries]:
    """Answer one page of what was refused."""
    return await _excluded(asked, "quarantined")


async def get_held(asked: Asked) -> Stated[answers.ExcludedEntries]:
    """Answer one page of what waits."""
    return await _excluded(asked, "held")


async def get_quarantined_at(asked: Asked) -> Stated[ExcludedAt]:
    """Answer what was refused at one place of the log."""
    return await _excluded_at(asked, "quarantined")


async def get_held_at(asked: Asked) -> Stated[ExcludedAt]:
    """Answer what waits at one place of the log."""
    return await _excluded_at(asked, "held")


async def get_discards(asked: Asked) -> Stated[Discards]:
    """Answer one page of what the registrar discarded."""
    after = asked.arguments.get(parameters.PLACE_CURSOR)
    if after is not None and not isinstance(after, RecordPlace):
        raise ProblemError("invalid_parameter", "cursor is of another list; wanted none")
    if after is not None and min(after.partition, after.offset) < 0:
        after = None
    async with asked.database.snapshot() as connection:
        found, following = await discards(
            connection,
            after=None if after is None else (after.partition, after.offset),
            records_max=asked.arguments.get(parameters.LIMIT) or PAGE_DEFAULT,
        )
        return Stated(
            await state(asked.office, connection),
            Discards(
                discards=found,
                next_cursor=None if following is None else place_cursor(RecordPlace(*following)),
            ),
        )


async def _excluded(asked: Asked, verdict: Verdict) -> Stated[answers.ExcludedEntries]:
    arguments = asked.arguments
    wanted = Wanted(
        producer=arguments.get(PRODUCER),
        reason=arguments.get(REASON),
        days_min=arguments.get(OLDER),
    )
    async with asked.database.snapshot() as connection:
        page = await excluded(
            connection,
            verdict,
            now_ms=asked.office.now_ms(),
            wanted=wanted,
            after=arguments.get(parameters.PLACE_CURSOR) or START,
            entries_max=arguments.get(parameters.LIMIT) or PAGE_DEFAULT,
        )
        reasons = await count_excluded(connection, verdict)
        return Stated(
            await state(asked.office, connection),
            answers.ExcludedEntries(
                total=sum(reasons.values()),
                reasons=reasons,
                entries=list(page.entries),
                next_cursor=None if page.next is None else place_cursor(page.next),
            ),
        )


async def _excluded_at(asked: Asked, verdict: Verdict) -> Stated[ExcludedAt]:
    partition, offset = asked.arguments.required(PLACE)
    async with asked.database.snapshot() as connection:
        entries = await excluded_at(
            connection,
            verdict,
            partition=partition,
            offset=offset,
            now_ms=asked.office.now_ms(),
        )
        if not entries:
            raise ProblemError(
                "entry_unknown",
                f"nothing at {partition}:{offset} is {verdict}: it counts, is a copy, or is not "
                "folded yet",
            )
        decided = await discards_at(connection, partition=partition, offset=offset)
        return Stated(
            await state(asked.office, connection), ExcludedAt(entries=entries, discards=decided)
        )
