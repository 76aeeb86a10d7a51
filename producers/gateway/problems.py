"""What may go wrong for who sends to a gateway or relay: stable code, HTTP status, answer.

Answers are `application/problem+json` (RFC 9457). Nothing that a caller sent is ever shown.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from rekam.domain.errors import RekamError

Code = Literal[
    "body_not_framed",
    "producer_invalid",
    "path_unknown",
    "method_not_allowed",
    "body_too_slow",
    "body_too_large",
    "too_many_segments",
    "media_type_unknown",
    "too_many_requests",
    "bug",
    "busy",
    "log_unavailable",
    "custody_full",
    "custody_unavailable",
]

CATALOGUE: Final[Mapping[Code, tuple[int, str]]] = {
    "body_not_framed": (400, "The body is not a row of framed segments"),
    "producer_invalid": (400, "No producer has such an id"),
    "path_unknown": (404, "There is no such call"),
    "method_not_allowed": (405, "The call has other methods"),
    "body_too_slow": (408, "The body did not come in time"),
    "body_too_large": (413, "The body is too large"),
    "too_many_segments": (413, "The body holds too many segments"),
    "media_type_unknown": (415, "The body is of another type"),
    "too_many_requests": (429, "Slow down"),
    "bug": (500, "This program is wrong"),
    "busy": (503, "Too much is under way"),
    "log_unavailable": (503, "The log does not take segments"),
    "custody_full": (503, "The relay has no room"),
    "custody_unavailable": (503, "The relay cannot write"),
}
"""HTTP status and title by code."""

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS_MAX: Final = 900
"""No server asks a device to stay away for longer."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457 problem details; `code` is stable, the words may change."""

    type: str
    code: Code
    title: str
    status: int
    detail: str


class ProblemError(RekamError):
    """A call cannot be answered; `code_of_problem` is the stable code that its caller sees."""

    code = "problem"

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        retry_after_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code_of_problem, self.detail = code, detail
        self.status, self.title = CATALOGUE[code]
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            # Whole seconds, never 0: a client that obeys must not come back at once.
            seconds = min(RETRY_AFTER_SECONDS_MAX, max(1, math.ceil(retry_after_seconds)))
            self.headers["Retry-After"] = str(seconds)

    @property
    def problem(self) -> Problem:
        """Return the body of the answer."""
        return Problem(
            type=f"urn:rekam:problem:{self.code_of_problem}",
            code=self.code_of_problem,
            title=self.title,
            status=self.status,
            detail=self.detail,
        )
