"""Bodies of answers. Fields that are here stay; new ones may come.

An answer about figures is two objects written as one: the state that it speaks of, and the figures.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, Literal, TypeVar

import msgspec

from projections.coverage.changes import CoverageChange, Delta
from projections.coverage.reads import CoverageRow, CoverageTotals
from projections.coverage.series import CoveragePoint, DenominatorStretch, Step, TreeStretch
from projections.device_health.reads import Device
from projections.quarantine.reads import Excluded
from projections.reference.reads import DenominatorVersion, TreeVersion
from projections.regions import Level
from projections.rules import CoverageRule
from projections.verification.reads import VerificationRow, VerificationTotals

FiguresT = TypeVar("FiguresT", bound=msgspec.Struct)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The state that figures are of: equal states promise equal figures.

    `position` is the next offset by partition of the log. `complete_through` is the earliest last
    contact of the enrolled, not revoked recorders; null: one was never heard, or there is none.
    Figures count what happened up to `as_of`, and rest on what was known at the end of `known_at`,
    except those of `Verification`: it says which of them a day binds.
    """

    as_of: date
    """The figures count what happened up to this day (office time); of `Verification`, not all."""
    known_at: date
    """They rest on what was known at the end of this day (office time); today at the latest, and
    always in `Verification`."""
    position: dict[int, int]
    """Next offset by partition of the log: everything below is in the figures."""
    complete_through: datetime | None
    """Earliest last contact of the recorders that should report; null: one was never heard."""
    rules: str
    """Names the configuration that figures depend on."""


@dataclass(frozen=True, slots=True)
class Stated(Generic[FiguresT]):
    """Figures and the state that they are of; no field of one has the name of the other's."""

    state: State
    figures: FiguresT


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage by region. recorded + unrecorded = wajib; rows sum to totals."""

    region: str
    level: Level
    rule: CoverageRule
    """Who of the recorded counts."""
    denominator: DenominatorVersion | None
    """Null: nobody has published one that is valid then, or the regencies rest on several."""
    denominators: list[DenominatorVersion]
    """One a regency."""
    trees: list[TreeVersion]
    """One a regency: by which its places are told apart and named."""
    rows: list[CoverageRow]
    totals: CoverageTotals


class CoverageSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage of a region over time, each point under the tree and the denominator valid then.

    `denominators` and `trees` name every version that a point rests on, by regency, then by point:
    the points from `first_point` to `last_point` do. One that is used again later stands there
    again.
    """

    region: str
    step: Step
    rule: CoverageRule
    """Who of the recorded counts."""
    denominators: list[DenominatorStretch]
    """Of each point those that coverage as of its day names."""
    trees: list[TreeStretch]
    """Likewise."""
    points: list[CoveragePoint]
    date_unknown: int
    """People recorded on a day that nobody can know: they are in no point."""


class CoverageChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Why the figure as of one day differs between two reports.

    Of each measure the causes' counts sum to its delta. `before` rests on what is named in
    `denominators_from` and `trees_from`, `after` on `denominators_to` and `trees_to`.
    """

    region: str
    known_from: date
    known_to: date
    rule_from: CoverageRule
    rule_to: CoverageRule
    denominators_from: list[DenominatorVersion]
    """As known at `known_from`, one a regency."""
    denominators_to: list[DenominatorVersion]
    """As known at `known_to`."""
    trees_from: list[TreeVersion]
    trees_to: list[TreeVersion]
    before: CoverageTotals
    after: CoverageTotals
    delta: Delta
    causes: list[CoverageChange]


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """People by region and by the centre's status, as they are at the position.

    `as_of` chooses the tree by which regions are told apart, and the day to which `ages` and
    `suket` are counted. It does not bind who is counted, `statuses`, `unknown_codes`,
    `illegal_jumps`, `resets`, `reprints` and `funnel`: what was recorded or observed after that day
    is in them, and `ages` tells it as `later`. `known_at` is the day of the answer and bounds
    nothing: all that is known at `position` is counted.
    """

    region: str
    level: Level
    trees: list[TreeVersion]
    """One a regency: by which its places are told apart and named."""
    rows: list[VerificationRow]
    totals: VerificationTotals


class Devices(msgspec.Struct, frozen=True, kw_only=True):
    """One page of enrolled producers, by id."""

    devices: list[Device]
    next_cursor: str | None
    """Null: this is the last page."""


class ExcludedEntries(msgspec.Struct, frozen=True, kw_only=True):
    """One page of what does not count: whole records by place, then single events by identity."""

    total: int
    reasons: dict[str, int]
    """Records and events by reason code; they sum to `total`."""
    entries: list[Excluded]
    next_cursor: str | None
    """Null: this is the last page."""


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The process turns."""

    status: Literal["alive"]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The database answers, has all tables, and something is folded."""

    status: Literal["ready"]
    position: dict[int, int]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from here."""

    name: str
    openapi: str
    calls: list[str]
    """Method and path of every call."""
