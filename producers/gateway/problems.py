"""What may go wrong for who sends to a gateway or relay: every stable code and its HTTP status.

Nothing that a caller sent is ever shown.
"""

from collections.abc import Mapping
from typing import Final, Literal

from rekam.runtime import problems

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


class ProblemError(problems.ProblemError):
    """A call cannot be answered, for one of the reasons above."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        retry_after_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            code,
            detail,
            means=CATALOGUE[code],
            retry_after_seconds=retry_after_seconds,
            headers=headers,
        )
