"""The one way to what is known of a person: first a record of who reads, of whom, and why."""

from collections.abc import Collection
from typing import Final

from projections.api.office import Asked
from projections.api.parameters import CALLER, REASON, Unwanted, parse_reason
from projections.api.problems import ProblemError
from rekam.domain.errors import RekamError
from rekam.domain.events import PersonAccessed

HEADERS: Final = (REASON, CALLER)
"""What every call about people takes."""


async def account_for(
    asked: Asked, niks: Collection[str], *, call: str, reason: str | None = None
) -> None:
    """Record that these people are about to be read of; nothing may be answered before.

    The reason is that of the body, if the call has one, or of the header `Access-Reason`. Raises
    ProblemError when there is none, and when the records cannot be kept.
    """
    told = asked.arguments.get(REASON)
    if reason is not None:
        try:
            told = parse_reason(reason)
        except Unwanted as error:
            raise ProblemError("invalid_body", f"reason: wanted {error}") from error
    if told is None:
        raise ProblemError(
            "missing_parameter",
            f"{REASON.name}, or reason in the body, is missing: {REASON.meaning}",
        )
    user = asked.arguments.get(CALLER)
    caller = asked.caller if user is None else f"{asked.caller}/{user}"
    try:
        await asked.office.accesses.record(
            [PersonAccessed(nik=nik, caller=caller, call=call, reason=told) for nik in niks]
        )
    except RekamError as error:
        raise ProblemError(
            "access_unrecorded",
            f"who reads of whom cannot be recorded now, so nothing is answered: {error}",
        ) from error
