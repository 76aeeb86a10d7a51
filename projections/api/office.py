"""What all calls share: the database, the rules, the calendar, the bearer token, the metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from projections.api.answers import State
from projections.api.database import Database
from projections.api.parameters import Arguments, Parameter
from projections.api.problems import ProblemError
from projections.position.reads import position
from projections.reading import Connection, end_of_day_ms
from projections.registry.reads import complete_through
from projections.rules import Rules
from rekam.domain.keys import SigningKey
from rekam.runtime.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Made once, at the composition root."""

    rules: Rules
    token: str
    """Bearer token of people lookup."""
    snapshot_key: SigningKey
    """Signs snapshots of lists."""
    topic: str
    """The log whose position answers carry."""
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


def known_day(asked: Asked, parameter: Parameter[date]) -> date:
    """Return the day by whose knowledge to answer; not given, today. Nobody knows tomorrow."""
    today = asked.office.today
    known_at = asked.arguments.get(parameter) or today
    if known_at > today:
        raise ProblemError(
            "invalid_parameter", f"{parameter.name}={known_at}; wanted a day up to today, {today}"
        )
    return known_at


async def state(
    office: Office,
    connection: Connection,
    *,
    as_of: date | None = None,
    known_at: date | None = None,
) -> State:
    """Return the state that an answer from this snapshot speaks of; a day not given is today."""
    today = office.today
    is_past = known_at is not None and known_at < today
    return State(
        as_of=as_of or today,
        known_at=known_at or today,
        position=await position(connection, topic=office.topic),
        complete_through=await complete_through(
            connection,
            known_before_ms=end_of_day_ms(known_at, office.rules.zone)
            if is_past and known_at is not None
            else None,
        ),
        rules=office.rules.id,
    )
