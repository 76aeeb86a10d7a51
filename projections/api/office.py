"""What all calls share: the database, the rules, the calendar, the bearer token, the metrics."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date

from projections.api.access_port import AccessRecorder
from projections.api.answers import State
from projections.api.database import Database
from projections.api.parameters import Arguments, Parameter
from projections.api.problems import ProblemError
from projections.position.reads import folded_under, position_and_rules
from projections.reading import Connection
from projections.registry.reads import complete_through
from projections.rules import Rules
from rekam.domain.keys import SigningKey
from rekam.runtime.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Made once, at the composition root."""

    rules: Rules
    callers: Mapping[str, str]
    """Who may look people up, by bearer token."""
    accesses: AccessRecorder
    """Where it is recorded who reads of whom, before anything is answered."""
    snapshot_key: SigningKey
    """Signs snapshots of lists."""
    topic: str
    """The log whose position answers carry."""
    log_below: Callable[[int], Awaitable[Mapping[int, int]]]
    """Offsets by partition below which the log holds all that it took before a moment (ms) that is
    over. Raises RekamError when the log does not answer."""
    now_ms: Callable[[], int]
    metrics: Metrics

    @property
    def today(self) -> date:
        """Return the day in the office's time zone."""
        return self.rules.zone.day(self.now_ms())


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call: what was asked, and whom it is asked of."""

    office: Office
    database: Database
    arguments: Arguments
    body: object = None
    caller: str = ""
    """Whose bearer token the call carries; empty for calls that want none."""


def known_day(asked: Asked, parameter: Parameter[date]) -> date:
    """Return the day by whose knowledge to answer; not given, today. Nobody knows tomorrow."""
    today = asked.office.today
    known_at = asked.arguments.get(parameter) or today
    if known_at > today:
        raise ProblemError(
            "invalid_parameter", f"{parameter.name}={known_at}; wanted a day up to today, {today}"
        )
    return known_at


async def require_own_rules(office: Office, connection: Connection) -> None:
    """Raise ProblemError when the tables are folded under other rules or keys than ours."""
    _require_own(office, await folded_under(connection))


def _require_own(office: Office, found: str | None) -> None:
    if found not in (None, office.rules.id):
        raise ProblemError(
            "settings_differ",
            f"the tables are folded under {found}; this process has {office.rules.id}. Give it the "
            "processor's settings and key files, or rebuild: `rekam projection rebuild`",
        )


async def state(
    office: Office,
    connection: Connection,
    *,
    as_of: date | None = None,
    known_at: date | None = None,
) -> State:
    """Return the state that an answer from this snapshot speaks of; a day not given is today.

    Raises ProblemError when the tables are folded under other rules than ours: the answer would
    name, and have used, what its figures are not of.
    """
    today = office.today
    is_past = known_at is not None and known_at < today
    # First what takes longest: a caller may compute beside it.
    through = await complete_through(connection, known_at=known_at if is_past else None)
    folded_to, rules = await position_and_rules(connection, topic=office.topic)
    _require_own(office, rules)
    return State(
        as_of=as_of or today,
        known_at=known_at or today,
        position=folded_to,
        complete_through=through,
        rules=office.rules.id,
    )
