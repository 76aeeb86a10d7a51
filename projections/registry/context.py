"""What the registry says of a producer at the moment of judging its events. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import Final, TypeVar

from projections.facts import (
    COUNTS,
    DISCARDED,
    FORK_LOST,
    NOT_AUTHORISED,
    REVOKED,
    ROUTE_CODES,
    FactId,
    Judgement,
    counted,
    known_days,
    known_since,
)
from projections.registry.authority import ALLOWED_KINDS
from projections.registry.facts import (
    LATEST_WINS,
    Anchor,
    Enrolled,
    KeyAdded,
    ProducerFact,
    Revoked,
)
from rekam.domain.clocks import RELAY_SOURCES, OfficeZone, occurred_on
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.ranges import RangeSet

RECORDER: Final = "recorder"
"""The kind of producer whose silence leaves a figure incomplete."""


@dataclass(frozen=True, slots=True)
class ProducerContext:
    """Whose keys, of which kind, between which times, with which clock corrections."""

    kind: str | None
    """None: not enrolled (yet), so nothing of it may count."""
    place: str | None = None
    enrolled_ms: int = 0
    revoked_ms: int | None = None
    keys: Mapping[KeyId, VerifyKey] = field(default_factory=dict)
    anchors: Mapping[str, int] = field(default_factory=dict)
    """Offset in ms by boot session."""


NOT_ENROLLED: Final = ProducerContext(kind=None)


def context_of(facts: Iterable[ProducerFact], *, root: VerifyKey | None = None) -> ProducerContext:
    """Return what the set of facts says; of several enrolments the first known one is the one.

    `root` is the trust root's key, for the registrar alone: its kind and its first key come from
    the configuration, and it cannot be revoked by what it signs itself.

    A key counts for admission from whichever segment it came, forks too: what a key admits must
    not depend on what it admitted, or the answer would depend on the order of arrival.
    """
    known = [*facts]
    keys = {key.id: key for fact in known if (key := _key_in(fact)) is not None}
    anchors = _anchors(known, by_relay=True) | _anchors(known, by_relay=False)
    if root is not None:
        return ProducerContext(kind="registrar", keys={**keys, root.id: root}, anchors=anchors)
    enrolment: Enrolled | None = None
    revoked_ms: int | None = None
    for fact in counted(known):
        match fact.data:
            case Enrolled() if enrolment is None:
                enrolment = fact.data
            case Revoked(effective_ms=effective_ms):
                revoked_ms = effective_ms if revoked_ms is None else min(revoked_ms, effective_ms)
            case _:
                pass
    if enrolment is None:
        return ProducerContext(kind=None, keys=keys, anchors=anchors)
    return ProducerContext(
        kind=enrolment.kind,
        place=enrolment.place,
        enrolled_ms=enrolment.enrolled_ms,
        revoked_ms=revoked_ms,
        keys=keys,
        anchors=anchors,
    )


def _anchors(facts: Iterable[ProducerFact], *, by_relay: bool) -> dict[str, int]:
    """Return the latest word on each session, of relays alone or of all others."""
    return {
        fact.data.boot: fact.data.offset_ms
        for fact in facts
        if isinstance(fact.data, Anchor) and (fact.data.source in RELAY_SOURCES) is by_relay
    }


def _key_in(fact: ProducerFact) -> VerifyKey | None:
    return VerifyKey(fact.data.key) if isinstance(fact.data, Enrolled | KeyAdded) else None


Statement = tuple[str | None, int, int | None]
"""(kind, enrolled_ms, revoked_ms)"""
NO_STATEMENT: Final[Statement] = (None, 0, None)


_Told = tuple[date, bool, FactId, int]
"""An anchor: since when it is known, whether it is more than a relay's word, its place, offset."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What was known of a producer since when: its context as of each day. Pure."""

    statements: tuple[tuple[date, Statement], ...] = ()
    """What the registrar says, from the end of a day on; oldest first, each differs from the next.
    """
    anchors: Mapping[str, tuple[tuple[date, int], ...]] = field(default_factory=dict)
    """Offset in ms by boot session, in the same way."""
    keys: Mapping[KeyId, date] = field(default_factory=dict)
    """Since when each key is known."""

    def admitted_on(self, key: str, appended_on: date) -> date:
        """Return the day since when a segment that was signed with `key` could be known."""
        return max(appended_on, self.keys.get(KeyId(key), appended_on))


def timeline_of(
    facts: Iterable[ProducerFact], zone: OfficeZone, *, root: VerifyKey | None = None
) -> Timeline:
    """Return the timeline of a set of facts; at its end it says what `context_of` says.

    `root` is the trust root's key, for the registrar alone.
    """
    keys: dict[KeyId, date] = {}
    anchors: dict[str, list[_Told]] = {}
    spoken: list[ProducerFact] = []
    for fact in facts:
        data = fact.data
        if isinstance(data, Anchor):
            told = anchors.setdefault(data.boot, [])
            is_strong = data.source not in RELAY_SOURCES
            told.append((known_since(fact, zone), is_strong, fact.id, data.offset_ms))
        elif (key := _key_in(fact)) is not None:
            since = known_since(fact, zone)
            keys[key.id] = min(since, keys.get(key.id, since))
        if isinstance(data, Enrolled | Revoked):
            spoken.append(fact)
    if root is not None:
        keys.pop(root.id, None)
        statements: tuple[tuple[date, Statement], ...] = ((date.min, ("registrar", 0, None)),)
    else:
        statements = tuple(_statements(spoken, zone))
    return Timeline(statements, {boot: _offsets(told) for boot, told in anchors.items()}, keys)


def _statements(
    spoken: Iterable[ProducerFact], zone: OfficeZone
) -> Iterator[tuple[date, Statement]]:
    before = NO_STATEMENT
    for day, known in known_days(spoken, zone):
        context = context_of(known)
        now = (context.kind, context.enrolled_ms, context.revoked_ms)
        if now != before:
            yield day, now
            before = now


def services_of(statements: Iterable[tuple[date, Statement]]) -> tuple[tuple[date, date], ...]:
    """Return from which day on, and before which, these have a producer as a recorder in service.

    It is enrolled as one and not revoked, whenever the revocation takes effect. The last time ends
    with `date.max` while it is in service.
    """
    told = [*statements]
    ends = [*(day for day, _ in told), date.max][1:]
    times: list[tuple[date, date]] = []
    for (known_on, (kind, _, revoked_ms)), until_on in zip(told, ends, strict=True):
        if kind != RECORDER or revoked_ms is not None or known_on == until_on:
            continue
        since = times.pop()[0] if times and times[-1][1] == known_on else known_on
        times.append((since, until_on))
    return tuple(times)


def _offsets(told: list[_Told]) -> tuple[tuple[date, int], ...]:
    """Return what the clock was thought to be.

    The latest word by its place in life stands; a relay's only while nobody else has said any.
    """
    steps: list[tuple[date, int]] = []
    latest: tuple[bool, FactId] | None = None
    for day, is_strong, place, offset_ms in sorted(told):
        if latest is not None and (is_strong, place) < latest:
            continue
        latest = is_strong, place
        if steps and steps[-1][0] == day:
            steps.pop()
        if not steps or steps[-1][1] != offset_ms:
            steps.append((day, offset_ms))
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the facts of one segment: everything that depends on other records is in here."""

    timeline: Timeline
    known_ms: int
    route: int
    """Code of the way by which the segment came (projections/facts.py): no judgement rests on it.
    """
    admitted_on: date
    """Since when the segment could be known: its day, or that of the key that signed it."""
    appended_on: date
    lost: tuple[tuple[date, RangeSet], ...]
    """Seqs that count from another segment, and since when that is known; oldest first."""
    zone: OfficeZone
    statement: Statement
    is_settled: bool
    """Nothing of the segment is lost, or discarded, and the registrar has said no more since."""
    offsets: dict[str, tuple[int | None] | None] = field(default_factory=dict)
    """By boot session, as far as they were asked for; None: it was anchored otherwise since."""
    discarded: tuple[tuple[date, RangeSet], ...] = ()
    """Seqs that the registrar decided never to count, from the end of a day on; oldest first."""

    @classmethod
    def of(
        cls,
        timeline: Timeline,
        *,
        key: str,
        known_ms: int,
        route: str,
        lost: tuple[tuple[date, RangeSet], ...],
        zone: OfficeZone,
        discarded: tuple[tuple[date, RangeSet], ...] = (),
    ) -> "Judge":
        """Return the judge of a segment that was signed with `key` and appended at `known_ms`."""
        appended_on = zone.day(known_ms)
        admitted_on = timeline.admitted_on(key, appended_on)
        statements = timeline.statements
        return cls(
            timeline,
            known_ms,
            ROUTE_CODES[route],
            admitted_on,
            appended_on,
            lost,
            zone,
            statements[-1][1] if statements else NO_STATEMENT,
            not lost and not discarded and (not statements or statements[-1][0] <= admitted_on),
            discarded=discarded,
        )

    def judge(
        self, *, seq: int, wall_ms: int, boot: str, data: object, is_dated: bool
    ) -> tuple[int, date | None, tuple[Judgement, ...]]:
        """Return the verdict and the day of one fact, and its history (see Fact).

        A fact that is not dated has no day: it enters no figure and waits for no anchor.

        What a device says of its own health is no less true in a fork or after its revocation,
        and enters no figure: it always counts, and the latest by (epoch, seq) stands for all.
        """
        if type(data) in LATEST_WINS:
            return COUNTS, None, self._history([(self.admitted_on, COUNTS, None)])
        # The boot session is looked up here, and not by a call: this is done for every event.
        offset = self.offsets[boot] if boot in self.offsets else self._offset(boot)
        if self.is_settled and offset is not None:  # nearly always
            verdict, day = self._judged(self.statement, offset[0], wall_ms, data)
            if not is_dated:
                day = None
            if self.admitted_on == self.appended_on:
                return verdict, day, ()
            return verdict, day, self._history([(self.admitted_on, verdict, day)])
        anchors = self.timeline.anchors.get(boot, ())
        lost_on = min((since for since, lost in self.lost if lost.covers(seq, seq)), default=None)
        told = chain(self.timeline.statements, anchors, self.discarded)
        turns = {self.admitted_on, *(day for day, _ in told)}
        if lost_on is not None:
            turns.add(lost_on)
        steps: list[tuple[date, int, date | None]] = []
        for turn in sorted(turn for turn in turns if turn >= self.admitted_on):
            verdict, day = self._judged(
                _latest(self.timeline.statements, turn) or NO_STATEMENT,
                _latest(anchors, turn),
                wall_ms,
                data,
            )
            if lost_on is not None and lost_on <= turn:
                verdict = FORK_LOST
            if (seqs := _latest(self.discarded, turn)) is not None and seqs.covers(seq, seq):
                verdict = DISCARDED
            step = (turn, verdict, day if is_dated else None)
            if not steps or steps[-1][1:] != step[1:]:
                steps.append(step)
        _, verdict, day = steps[-1]
        return verdict, day, self._history(steps)

    def _offset(self, boot: str) -> tuple[int | None] | None:
        """Return the offset of a boot session that was known with the segment, and stands."""
        anchors = self.timeline.anchors.get(boot, ())
        offset: tuple[int | None] | None = (anchors[-1][1],) if anchors else (None,)
        if anchors and anchors[-1][0] > self.admitted_on:
            offset = None
        self.offsets[boot] = offset
        return offset

    def _history(self, steps: list[tuple[date, int, date | None]]) -> tuple[Judgement, ...]:
        if len(steps) == 1 and self.admitted_on == self.appended_on:
            return ()
        return tuple(Judgement(*step) for step in steps)

    def _judged(
        self,
        statement: Statement,
        offset_ms: int | None,
        wall_ms: int,
        data: object,
    ) -> tuple[int, date | None]:
        kind, enrolled_ms, revoked_ms = statement
        day = occurred_on(
            wall_ms,
            offset_ms=offset_ms,
            enrolled_ms=enrolled_ms,
            known_ms=self.known_ms,
            zone=self.zone,
        )
        allowed = ALLOWED_KINDS.get(type(data))
        if kind is None or (allowed is not None and kind not in allowed):
            return NOT_AUTHORISED, day
        if revoked_ms is not None:
            # An untrusted clock cannot excuse an event: then the append time decides.
            happened_ms = self.known_ms if day is None or offset_ms is None else wall_ms + offset_ms
            if happened_ms >= revoked_ms:
                return REVOKED, day
        return COUNTS, day


ValueT = TypeVar("ValueT")


def _latest(steps: Iterable[tuple[date, ValueT]], turn: date) -> ValueT | None:
    """Return what held at the end of a day."""
    return next((value for day, value in reversed([*steps]) if day <= turn), None)
