"""What may go wrong for a caller: every stable code and its HTTP status.

`detail` says what was wrong and what to do; no answer ever shows a NIK, also when the caller put it
where it does not belong.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal

from rekam.runtime import problems

Code = Literal[
    "unknown_parameter",
    "missing_parameter",
    "invalid_parameter",
    "instant_is_a_replay",
    "invalid_body",
    "unauthorised",
    "path_unknown",
    "device_unknown",
    "cohort_unknown",
    "case_unknown",
    "version_unknown",
    "person_unknown",
    "entry_unknown",
    "person_erased",
    "method_not_allowed",
    "body_too_slow",
    "body_too_large",
    "media_type_unknown",
    "bug",
    "database_unavailable",
    "database_not_migrated",
    "nothing_folded",
    "access_unrecorded",
    "settings_differ",
    "day_not_folded",
    "log_unavailable",
]

CATALOGUE: Final[Mapping[Code, tuple[int, str]]] = {
    "unknown_parameter": (400, "There is no such parameter"),
    "missing_parameter": (400, "A parameter is missing"),
    "invalid_parameter": (400, "A parameter cannot be used"),
    "instant_is_a_replay": (400, "Knowledge at an instant needs a replay"),
    "invalid_body": (400, "The body cannot be used"),
    "unauthorised": (401, "A bearer token is wanted"),
    "path_unknown": (404, "There is no such call"),
    "device_unknown": (404, "There is no such device"),
    "cohort_unknown": (404, "There is no such cohort"),
    "case_unknown": (404, "There is no such case"),
    "version_unknown": (404, "The list has no such version"),
    "person_unknown": (404, "Nothing is known of this person"),
    "entry_unknown": (404, "Nothing there is so excluded"),
    "method_not_allowed": (405, "The call has other methods"),
    "body_too_slow": (408, "The body did not come in time"),
    "person_erased": (410, "The person was erased"),
    "body_too_large": (413, "The body is too large"),
    "media_type_unknown": (415, "The body is of another type"),
    "bug": (500, "This program is wrong"),
    "database_unavailable": (503, "The database does not answer"),
    "database_not_migrated": (503, "The database lacks tables"),
    "nothing_folded": (503, "The processor has folded nothing yet"),
    "access_unrecorded": (503, "The reading cannot be recorded"),
    "settings_differ": (503, "The tables are of other settings"),
    "day_not_folded": (503, "The day is not wholly folded yet"),
    "log_unavailable": (503, "The log does not answer"),
}
"""HTTP status and title by code."""

RETRY_AFTER_SECONDS: Final = 5
SHOWN_CHARACTERS_MAX: Final = 64
SHOWN_DIGITS_MAX: Final = 10
"""A full region code has this many, a NIK has 16."""


class ProblemError(problems.ProblemError):
    """A call cannot be answered, for one of the reasons above."""

    def __init__(
        self, code: Code, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        means = CATALOGUE[code]
        # 503: the one status that asks to come again.
        retry = RETRY_AFTER_SECONDS if means[0] == HTTPStatus.SERVICE_UNAVAILABLE else None
        super().__init__(code, detail, means=means, retry_after_seconds=retry, headers=headers)


def has_digits_of_a_nik(text: str) -> bool:
    """Tell whether a text may hold a NIK, written in whatever way."""
    return sum(character.isdigit() for character in text) > SHOWN_DIGITS_MAX


def shown(text: str) -> str:
    """Return a caller's text as an answer may show it: short, printable, and no NIK."""
    if has_digits_of_a_nik(text):
        return "(hidden: it has the digits of a NIK)"
    if len(text) > SHOWN_CHARACTERS_MAX:
        return f"(hidden: {len(text)} characters)"
    return repr(text)
