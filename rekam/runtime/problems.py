"""How our HTTP servers say that a call cannot be answered: `application/problem+json` (RFC 9457).

Each server has a catalogue of its own: which codes there are, and what its callers may be shown.
"""

import math
import traceback
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from starlette.responses import Response

from rekam.domain.errors import RekamError

MEDIA_TYPE: Final = "application/problem+json"
SECURITY_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

RETRY_AFTER_SECONDS_MAX: Final = 900
"""No server asks anybody to stay away for longer."""

FRAMES_LOGGED_MAX: Final = 8

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer; `code` is stable, the words may change."""

    type: str
    code: str
    title: str
    status: int
    detail: str


class ProblemError(RekamError):
    """A call cannot be answered; `code_of_problem` is the stable code that its caller sees."""

    code = "problem"

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        means: tuple[int, str],
        retry_after_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`means` are the status and the title that the server's catalogue has for the code."""
        super().__init__(f"{code}: {detail}")
        self.code_of_problem, self.detail = code, detail
        self.status, self.title = means
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            # Whole seconds, never 0: a client that obeys must not come back at once.
            seconds = min(RETRY_AFTER_SECONDS_MAX, max(1, math.ceil(retry_after_seconds)))
            self.headers["Retry-After"] = str(seconds)

    @property
    def response(self) -> Response:
        """Return the problem as its answer."""
        problem = Problem(
            type=f"urn:rekam:problem:{self.code_of_problem}",
            code=self.code_of_problem,
            title=self.title,
            status=self.status,
            detail=self.detail,
        )
        return Response(
            msgspec.json.encode(problem),
            status_code=self.status,
            media_type=MEDIA_TYPE,
            headers={**SECURITY_HEADERS, **self.headers},
        )


def log_bug(error: Exception, route: str) -> str:
    """Log where an exception that is not ours came from; return what its caller is told.

    Frames without values: an exception's message may show what it was about.
    """
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED_MAX:]
    log.error(
        "call_failed",
        route=route,
        error_type=type(error).__name__,
        frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
    return "the log names the line (call_failed); please report it"
