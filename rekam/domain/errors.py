"""Every error that Rekam raises on purpose.

    RekamError
    ├── Rejected        wrong for ever: quarantine it, the rest goes on
    │   ├── SegmentRejected    (framing, header, limits, signature, body)
    │   └── EventRejected      (one line of a segment)
    ├── Held            right perhaps later: keep it until what it waits for comes
    ├── Unavailable     try again later (exit 75)
    ├── Overloaded      slow down
    ├── Misconfigured   refuse to start (exit 2)
    ├── ProblemFound    a check found a difference (exit 1)
    └── Corrupt         stop: our picture of the world is wrong

`code` is stable: it stands in quarantine rows, API problems and docs/errors.md.
A message has the facts, then what to do next.
"""

# Names say what happened, without a word that all of them would share.
# ruff: noqa: N818

from collections.abc import Sequence
from typing import ClassVar


class RekamError(Exception):
    """Root of the tree; never raised itself."""

    code: ClassVar[str] = "error"
    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class Rejected(RekamError):
    """The input is wrong and stays wrong."""

    code = "rejected"
    exit_code = 2


class SegmentRejected(Rejected):
    """A log record is not an authentic, well-formed segment. `reason` is the stable code."""

    code = "segment_rejected"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class EventRejected(Rejected):
    """One event line cannot count. `reason` is the stable code."""

    code = "event_rejected"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Held(RekamError):
    """The input may count later; `reason` says what it waits for."""

    code = "held"
    retriable = True

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Unavailable(RekamError):
    """Something that Rekam needs does not answer now.

    `retry_after_seconds` is how long the other side asked to be left alone, if it did.
    """

    code = "unavailable"
    retriable = True
    exit_code = 75

    def __init__(self, *facts: object, retry_after_seconds: float | None = None) -> None:
        super().__init__(*facts)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(RekamError):
    """A limit is reached for the moment: slow down and try again.

    `retry_after_seconds` is how long the other side asked to be left alone, if it did.
    """

    code = "overloaded"
    retriable = True
    exit_code = 75

    def __init__(self, *facts: object, retry_after_seconds: float | None = None) -> None:
        super().__init__(*facts)
        self.retry_after_seconds = retry_after_seconds


class OutboxFull(Overloaded):
    """The outbox has no room for another event; what is in it stays."""

    code = "outbox_full"


class OutboxBusy(Unavailable):
    """Another process is the outbox's one writer."""

    code = "outbox_busy"


class CustodyFull(Overloaded):
    """A relay has no room for another segment; what it holds stays."""

    code = "custody_full"


class ServerDatesWrong(Unavailable):
    """A server's certificate is not valid at this time: its dates or this machine's are wrong."""

    code = "certificate_dates"


class Misconfigured(RekamError):
    """The settings or the machine do not allow a start; `faults` names each one."""

    code = "misconfigured"
    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class StickUnusable(Misconfigured):
    """A stick cannot be written to, or is no stick: another one, or another folder, is needed."""

    code = "stick_unusable"


class StickFull(StickUnusable):
    """A stick has no room for what should go onto it; what is on it stays."""

    code = "stick_full"


class StickFailed(Unavailable):
    """A stick went away, or does not give back what was written; run it again and it goes on."""

    code = "stick_failed"


class ProblemFound(RekamError):
    """A check did its work and found that something is not as it should be."""

    code = "problem_found"


class Corrupt(RekamError):
    """What is stored contradicts itself; going on would make it worse."""

    code = "corrupt"
