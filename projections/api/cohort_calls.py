"""What the calls about lists of people answer."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from projections.api import parameters
from projections.api.access import account_for
from projections.api.answers import Stated
from projections.api.cohort_answers import CohortComparison, CohortEntries, Cohorts
from projections.api.office import Asked, known_day, state
from projections.api.parameters import PAGE_DEFAULT, VALUE_CHARACTERS_MAX, Parameter, Unwanted
from projections.api.problems import ProblemError, shown
from projections.api.settled import log_of_day, require_folded
from projections.cohort.comparison import compare
from projections.cohort.reads import (
    Cohort,
    CohortEntry,
    Moment,
    cohort_entries,
    cohorts,
    find_cohort,
)
from projections.cohort.rules import COHORT_RULE_DEFAULT, COHORT_RULES, CohortRule
from projections.cohort.snapshots import snapshot_of
from projections.person.niks import open_nik
from projections.person.reads import find_niks
from projections.reading import Connection
from rekam.domain.cohort_snapshot import sign_snapshot
from rekam.domain.errors import Corrupt

NAMED_MAX: Final = 500
"""How many entries of each kind a comparison names."""
_NUMBER: Final = re.compile(r"\d{1,16}", re.ASCII)


# Parameters --------------------------------------------------------------------------------------


def _version(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise Unwanted("a version of the list, such as those of /v1/cohorts")
    return text


def _rule(text: str) -> CohortRule:
    for rule in COHORT_RULES:
        if rule == text:
            return rule
    raise Unwanted(f"one of {', '.join(COHORT_RULES)}")


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Unwanted("the next_cursor of the page before, or none for the first page")
    return int(text)


_VERSION_SCHEMA: Final = {"type": "string", "maxLength": VALUE_CHARACTERS_MAX}
VERSION: Final = Parameter(
    "version", _version, "the version of the list; without it, the latest", _VERSION_SCHEMA
)
VERSION_FROM: Final = Parameter(
    "version_from", _version, "the earlier version", _VERSION_SCHEMA, is_required=True
)
VERSION_TO: Final = Parameter(
    "version_to", _version, "the later version; without it, the latest", _VERSION_SCHEMA
)
RULE: Final = Parameter(
    "rule",
    _rule,
    f"how buckets are read; without it, {COHORT_RULE_DEFAULT}",
    {"type": "string", "enum": list(COHORT_RULES)},
)
ENTRY_CURSOR: Final = Parameter(
    "cursor",
    _number,
    "the next_cursor of the page before, or none for the first page",
    {"type": "string", "maxLength": VALUE_CHARACTERS_MAX},
)
SNAPSHOT_KNOWN_AT: Final = Parameter(
    "known_at",
    parameters.KNOWN_AT.parse,
    "by what was known at the end of this day (office time), which is over; without it, yesterday",
    parameters.KNOWN_AT.schema,
)
MOMENT: Final = (parameters.AS_OF, parameters.KNOWN_AT)


# Calls -------------------------------------------------------------------------------------------


async def get_cohorts(asked: Asked) -> Stated[Cohorts]:
    """Answer every list of people, in its latest version."""
    moment = _moment(asked)
    async with asked.database.snapshot() as connection:
        found = await cohorts(connection, moment, rule=_rule_of(asked))
        return Stated(
            await state(asked.office, connection, as_of=moment.as_of, known_at=moment.known_at),
            Cohorts(cohorts=found),
        )


async def get_cohort(asked: Asked) -> Stated[Cohort]:
    """Answer one version of a list of people as of a day, as known at a day."""
    moment = _moment(asked)
    async with asked.database.snapshot() as connection:
        found = await _found(asked, connection, moment, asked.arguments.get(VERSION))
        return Stated(
            await state(asked.office, connection, as_of=moment.as_of, known_at=moment.known_at),
            found,
        )


async def get_cohort_entries(asked: Asked) -> Stated[CohortEntries]:
    """Answer one page of a list's entries, with what each source says of them.

    Whom the page names stands in the rows that it is made of, so they are read before the record is
    written; of the whole list beforehand it would name people of whom nobody reads. That is safe:
    nothing leaves before `account_for` returns, and when it raises only the problem does.
    """
    moment = _moment(asked)
    page_max = asked.arguments.get(parameters.LIMIT) or PAGE_DEFAULT
    after = asked.arguments.get(ENTRY_CURSOR)
    async with asked.database.snapshot() as connection:
        found = await _found(asked, connection, moment, asked.arguments.get(VERSION))
        page: list[CohortEntry] = []
        async for entry in cohort_entries(
            connection,
            found.cohort,
            moment,
            version=found.version,
            after=-1 if after is None else after,
        ):
            page.append(entry)
            if len(page) > page_max:
                break
        niks = await _niks_of(asked, connection, page[:page_max])
        stated = await state(asked.office, connection, as_of=moment.as_of, known_at=moment.known_at)
    if niks:
        await account_for(asked, niks, call="get_cohort_entries")
    return Stated(
        stated,
        CohortEntries(
            cohort=found.cohort,
            version=found.version,
            rule=found.rule,
            conflict_rule=found.disputed.rule,
            entries=page[:page_max],
            next_cursor=str(page[page_max - 1].entry) if len(page) > page_max else None,
        ),
    )


async def get_cohort_comparison(asked: Asked) -> Stated[CohortComparison]:
    """Answer how one version of a list differs from another.

    Who has the list knows whom a number means, so whoever is named by one is read of. The record is
    written between reading and answering, as by `get_cohort_entries`.
    """
    moment = _moment(asked)
    version_from = asked.arguments.required(VERSION_FROM)
    async with asked.database.snapshot() as connection:
        former = await _found(asked, connection, moment, version_from)
        later = await _found(asked, connection, moment, asked.arguments.get(VERSION_TO))
        entries_from = await _all_entries(connection, former, moment)
        entries_to = await _all_entries(connection, later, moment)
        comparison = compare(entries_from, entries_to)
        numbers_from, numbers_to = comparison.named(NAMED_MAX)
        named = [entry for entry in entries_from if entry.entry in numbers_from]
        named += [entry for entry in entries_to if entry.entry in numbers_to]
        niks = await _niks_of(asked, connection, named)
        stated = await state(asked.office, connection, as_of=moment.as_of, known_at=moment.known_at)
    if niks:
        await account_for(asked, niks, call="get_cohort_comparison")
    return Stated(
        stated,
        CohortComparison(
            cohort=former.cohort,
            version_from=version_from,
            version_to=later.version or version_from,
            rule=former.rule,
            conflict_rule=former.disputed.rule,
            total_from=former.total,
            total_to=later.total,
            added=len(comparison.added),
            removed=len(comparison.removed),
            changed=len(comparison.changed),
            renumbered=comparison.renumbered,
            moves=list(comparison.moves),
            added_entries=list(comparison.added[:NAMED_MAX]),
            removed_entries=list(comparison.removed[:NAMED_MAX]),
            changed_entries=list(comparison.changed[:NAMED_MAX]),
        ),
    )


async def get_cohort_snapshot(asked: Asked) -> bytes:
    """Answer a signed snapshot of a list's figures, the same bytes whenever it is asked for.

    Of a day that is over and wholly folded: of any other, more may come to be known.
    """
    yesterday = asked.office.today - timedelta(days=1)
    known_at = asked.arguments.get(SNAPSHOT_KNOWN_AT) or yesterday
    if known_at > yesterday:
        raise ProblemError(
            "invalid_parameter",
            f"known_at={known_at}; wanted a day that is over, up to {yesterday}: "
            "of today, more may come to be known, and the snapshot could not be made again",
        )
    moment = Moment(
        as_of=asked.arguments.get(parameters.AS_OF) or known_at,
        known_at=known_at,
        zone=asked.office.rules.zone,
    )
    ends = await log_of_day(asked.office, known_at)
    async with asked.database.snapshot() as connection:
        await require_folded(asked.office, connection, ends, day=known_at)
        found = await _found(asked, connection, moment, asked.arguments.get(VERSION))
        entries = await _all_entries(connection, found, moment)
    return sign_snapshot(snapshot_of(found, entries, moment), asked.office.snapshot_key)


async def _niks_of(
    asked: Asked, connection: Connection, entries: Sequence[CohortEntry]
) -> list[str]:
    """Return whom entries name by their tokens, each once, by number."""
    tokens = {bytes.fromhex(entry.token): None for entry in entries if entry.token is not None}
    sealed = await find_niks(connection, tokens) if tokens else {}
    try:
        # A token stands in an entry only while its person is known, and not erased.
        return [open_nik(sealed[token], token, asked.office.rules) for token in tokens]
    except Corrupt as error:
        raise ProblemError("access_unrecorded", str(error)) from error


async def _all_entries(connection: Connection, cohort: Cohort, moment: Moment) -> list[CohortEntry]:
    return [
        entry
        async for entry in cohort_entries(connection, cohort.cohort, moment, version=cohort.version)
    ]


async def _found(
    asked: Asked, connection: Connection, moment: Moment, version: str | None
) -> Cohort:
    cohort = asked.arguments.required(parameters.COHORT)
    found = await find_cohort(connection, cohort, moment, rule=_rule_of(asked), version=version)
    if found is not None:
        return found
    if version is not None and await find_cohort(connection, cohort, moment, rule=_rule_of(asked)):
        raise ProblemError(
            "version_unknown",
            f"{shown(cohort)} has no version {shown(version)} by then; see /v1/cohorts",
        )
    raise ProblemError(
        "cohort_unknown", f"no list is called {shown(cohort)} by then; see /v1/cohorts"
    )


def _moment(asked: Asked) -> Moment:
    return Moment(
        as_of=asked.arguments.get(parameters.AS_OF) or asked.office.today,
        known_at=known_day(asked, parameters.KNOWN_AT),
        zone=asked.office.rules.zone,
    )


def _rule_of(asked: Asked) -> CohortRule:
    return asked.arguments.get(RULE) or COHORT_RULE_DEFAULT
