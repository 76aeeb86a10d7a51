"""The one way to what is known of a person: first a record of who reads, of whom, and why."""

from collections.abc import Collection, Sequence
from typing import Final

from projections.api.office import Asked
from projections.api.parameters import CALLER, REASON, Unwanted, parse_reason
from projections.api.problems import ProblemError
from rekam.domain.errors import RekamError
from rekam.domain.events import AccessRecord, PersonAccessed, PersonTokenAccessed

HEADERS: Final = (REASON, CALLER)
"""What every call about people takes."""


async def account_for(
    asked: Asked, niks: Collection[str], *, call: str, reason: str | None = None
) -> None:
    """Record that these people are read of; nothing may be answered before this returns.

    Then they survive power loss and will reach the log.
    Raises ProblemError when there is no reason, and when the records cannot be kept.
    """
    caller, told = _who_and_why(asked, reason)
    await _record(
        asked,
        [PersonAccessed(nik=nik, caller=caller, call=call, reason=told) for nik in niks],
    )


async def account_for_token(
    asked: Asked, token: bytes, *, call: str, reason: str | None = None
) -> None:
    """Record that the person of a token is asked of, whose NIK nobody can tell.

    Raises as `account_for` does.
    """
    caller, told = _who_and_why(asked, reason)
    await _record(
        asked, [PersonTokenAccessed(person=token.hex(), caller=caller, call=call, reason=told)]
    )


def _who_and_why(asked: Asked, reason: str | None) -> tuple[str, str]:
    """Return who asks and why.

    The reason is that of the body, if the call has one, or of the header `Access-Reason`. Raises
    ProblemError when there is none.
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
    return (asked.caller if user is None else f"{asked.caller}/{user}"), told


async def _record(asked: Asked, accesses: Sequence[AccessRecord]) -> None:
    try:
        await asked.office.accesses.record(accesses)
    except RekamError as error:
        raise ProblemError(
            "access_unrecorded",
            f"who reads of whom cannot be recorded now, so nothing is answered: {error}",
        ) from error
