"""Fold records into the projections: admit, judge, add the difference of contributions.

    intakes ─► admit ─► changed ledger rows ─► judge their facts ─► entities ─► cells

One function for all: the live processor folds into PostgreSQL, replay and audit into memory. The
result is a function of the set of records folded so far: of the order nothing is left, because
facts are sets, a judgement is made again whenever what it rests on changes, and a cell is a sum.
The order of locks is fixed: producers, then entities by kind and key, then cells.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from operator import itemgetter
from typing import Final, cast, get_args

from msgspec import structs

from projections.facts import COUNTS, VARIANT_BYTES, VERDICT_REASONS, Fact
from projections.ledger.forks import rank
from projections.registry.context import (
    Judge,
    ProducerContext,
    Timeline,
    context_of,
    timeline_of,
)
from projections.registry.facts import LATEST_WINS, ProducerData, ProducerFact
from projections.rows import (
    Changes,
    EntityRef,
    ExcludedRow,
    LedgerKey,
    LedgerRow,
    ProducerRow,
    decode_contents,
)
from projections.rules import Rules
from projections.store_port import Store
from projections.tables import (
    ENTITY_KINDS,
    FOLDED_KINDS,
    PRODUCER,
    encode_facts,
    roll_up,
)
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.ranges import RangeSet
from stream_processors.admit import Admission, NeedsProducers, producers_concerned
from stream_processors.intake import Intake, OpenedEvent, Opener

SegmentName = tuple[str, int, bytes]
"""(producer, epoch, variant): as a fact names the segment that carried it."""
NewFact = tuple[SegmentName, OpenedEvent]
"""An event of a fresh segment on its way into its entity."""
PlainFact = Fact[object]
IsDue = Callable[[str, object], bool]
"""Tells by producer and data whether a fact's turn to be judged has come."""

_PRODUCER_DATA: Final = frozenset(get_args(ProducerData))


async def fold_intakes(
    store: Store,
    intakes: Sequence[Intake],
    *,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    producers: Collection[str] = (),
) -> Changes:
    """Fold opened records into the store's tables and return what was written.

    Inside one transaction of the store's, which the caller commits together with the position.
    `producers` are locked besides those that the records surely concern. Raises NeedsProducers
    when others are concerned too: roll back, and call again with them.
    """
    locked = await store.lock_producers(sorted(producers_concerned(intakes) | set(producers)))
    fold = _Fold(store, rules, root, locked)
    admission = Admission(store, fold.changes, opener, fold.before)
    await admission.run(intakes)
    await fold.judge(admission)
    roll_up(fold.changes.cells)
    await store.write(fold.changes)
    return fold.changes


@dataclass(slots=True)
class _Fold:
    """Second half of a fold: the facts of all changed segments are judged and summed up."""

    store: Store
    rules: Rules
    root: VerifyKey
    locked: Mapping[str, ProducerRow]
    changes: Changes = field(default_factory=Changes)
    facts: dict[str, list[ProducerFact]] = field(default_factory=dict)
    """Of every locked producer, as far as they are judged."""
    before: dict[str, ProducerContext] = field(default_factory=dict)
    timelines_before: dict[str, Timeline] = field(default_factory=dict)
    judges: dict[SegmentName, Judge] = field(default_factory=dict)
    """Of each segment whose facts are judged in this fold."""
    signed_by: dict[LedgerKey, str] = field(default_factory=dict)
    """Key ids of the segments that are judged, so that their contents are decoded once at most."""
    rivals: dict[LedgerKey, list[LedgerRow]] = field(default_factory=dict)
    """Of each segment that loses seqs: those that may win them."""
    new: dict[EntityRef, list[NewFact]] = field(default_factory=lambda: defaultdict(list))
    touched: dict[EntityRef, set[SegmentName]] = field(default_factory=lambda: defaultdict(set))
    """Entities that hold facts to be judged again, and by which segments they came."""

    def __post_init__(self) -> None:
        decode = ENTITY_KINDS[PRODUCER].decode
        for name, row in self.locked.items():
            self.facts[name] = cast("list[ProducerFact]", decode(row.facts) if row.facts else [])
            self.before[name] = self._context(name)
            self.timelines_before[name] = self._timeline(name)

    async def judge(self, admission: Admission) -> None:
        """Judge every fact of the changed segments, in the order in which facts judge facts."""
        for key, opened in admission.fresh.items():
            name = _name(admission.rows[key])
            self.signed_by[key] = opened.header.key
            for event in opened.events:
                self.new[event.kind, event.key].append((name, event))
        rows = {key: admission.rows[key] for key in admission.changed}
        for key in rows.keys() - admission.fresh.keys():
            self._touch(rows[key], with_producers=True)
        await self._meet_rivals(rows.values(), admission.rows)

        # What the registrar says, then what devices say of themselves (anchors), make the context
        # in which everything else is judged. The registrar's own word rests on its keys alone.
        await self._judge_registrar(rows, admission.rows)
        unanchored = self._timelines()
        await self._add(
            rows, await self._rows_of_moved_keys(unanchored, admission.rows), admission.rows
        )
        self._set_judges(rows.values(), unanchored)
        self._judge_producers(lambda _producer, data: type(data) in LATEST_WINS)
        timelines = self._timelines()
        await self._add(
            rows, await self._rows_in_new_light(timelines, admission.rows), admission.rows
        )
        self._set_judges(
            (
                row
                for row in rows.values()
                if _name(row) not in self.judges
                or timelines[row.producer] != unanchored[row.producer]
            ),
            timelines,
        )
        self._judge_producers(lambda producer, _data: producer != self.rules.registrar)
        self._put_producers(admission.contacts)
        for kind in FOLDED_KINDS:
            await self._fold_entities(kind)

    async def _add(
        self,
        rows: dict[LedgerKey, LedgerRow],
        found: Iterable[LedgerRow],
        looked_at: Mapping[LedgerKey, LedgerRow],
    ) -> None:
        """Add to `rows` what must be judged again."""
        added = [row for row in found if row.key not in rows]
        await self._meet_rivals(added, looked_at)
        for row in added:
            rows[row.key] = row
            # The registrar's word on producers does not rest on its anchors.
            self._touch(row, with_producers=row.producer != self.rules.registrar)

    def _context(self, producer: str) -> ProducerContext:
        root = self.root if producer == self.rules.registrar else None
        return context_of(self.facts[producer], root=root)

    def _timeline(self, producer: str) -> Timeline:
        root = self.root if producer == self.rules.registrar else None
        return timeline_of(self.facts[producer], self.rules.zone, root=root)

    def _timelines(self) -> dict[str, Timeline]:
        return {producer: self._timeline(producer) for producer in self.locked}

    def _set_judges(self, rows: Iterable[LedgerRow], timelines: Mapping[str, Timeline]) -> None:
        for row in rows:
            timeline = timelines[row.producer]
            self.judges[_name(row)] = Judge.of(
                timeline,
                key=self._key_of(row),
                known_ms=row.append_ms,
                lost=self._lost(row, timeline) if row.lost else (),
                zone=self.rules.zone,
            )

    def _lost(self, row: LedgerRow, timeline: Timeline) -> tuple[tuple[date, RangeSet], ...]:
        """Return which seqs of a segment count from another one, and since when that is known."""
        own_since, lost = self._known_since(row, timeline), dict[date, RangeSet]()
        for rival in self.rivals[row.key]:
            if rank(rival) < rank(row):
                since = max(own_since, self._known_since(rival, timeline))
                seqs = RangeSet.of((max(rival.first, row.first), min(rival.last, row.last)))
                lost[since] = lost.get(since, RangeSet()).union(seqs)
        return tuple(sorted(lost.items(), key=itemgetter(0)))

    def _known_since(self, row: LedgerRow, timeline: Timeline) -> date:
        return timeline.admitted_on(self._key_of(row), self.rules.zone.day(row.append_ms))

    def _key_of(self, row: LedgerRow) -> str:
        key = self.signed_by.get(row.key)
        if key is None:
            key = self.signed_by[row.key] = decode_contents(row.contents).key
        return key

    async def _meet_rivals(
        self, rows: Iterable[LedgerRow], looked_at: Mapping[LedgerKey, LedgerRow]
    ) -> None:
        """Look up the segments that hold what some of the rows lose."""
        losers = [row for row in rows if row.lost]
        if not losers:
            return
        found = await self.store.ledger_overlaps(sorted({_range(row) for row in losers}))
        known = {row.key: row for row in found} | dict(looked_at)
        for row in losers:
            self.rivals[row.key] = [
                other
                for other in known.values()
                if (other.producer, other.epoch) == (row.producer, row.epoch)
                and other.key != row.key
                and _overlap(other, row)
            ]

    async def _judge_registrar(
        self, rows: dict[LedgerKey, LedgerRow], looked_at: Mapping[LedgerKey, LedgerRow]
    ) -> None:
        """Judge the registrar's word on producers; adds to `rows` what its own keys change.

        A segment of its may be signed with a key that another one brought, and so on: each round
        goes one step along that chain.
        """
        registrar = self.rules.registrar
        if not any(row.producer == registrar for row in rows.values()):
            return
        known = self.timelines_before[registrar].keys
        while True:
            timeline = self._timeline(registrar)
            own = [row for row in rows.values() if row.producer == registrar]
            self._set_judges(own, {registrar: timeline})
            self._judge_producers(
                lambda producer, data: producer == registrar and type(data) not in LATEST_WINS
            )
            now = self._timeline(registrar).keys
            if now == known:
                return
            moved = {key for key in known if now.get(key) != known[key]}
            known = now
            for row in await self._rows_of_keys({registrar: moved}, looked_at):
                if row.key not in rows:
                    rows[row.key] = row
                    self._touch(row, with_producers=True)
                    await self._meet_rivals([row], looked_at)

    def _touch(self, row: LedgerRow, *, with_producers: bool) -> None:
        for kind, key in decode_contents(row.contents).entities:
            if kind != PRODUCER:
                self.touched[kind, key].add(_name(row))
            elif with_producers:
                if key.decode() not in self.locked:
                    raise NeedsProducers([key.decode()])
                self.touched[kind, key].add(_name(row))

    async def _rows_in_new_light(
        self, timelines: Mapping[str, Timeline], looked_at: Mapping[LedgerKey, LedgerRow]
    ) -> list[LedgerRow]:
        """Return earlier segments whose facts this fold's registry or anchors judge otherwise."""
        changed_boots: dict[str, set[str] | None] = {}
        """By producer; None: all boot sessions."""
        for producer, now in timelines.items():
            before = self.timelines_before[producer]
            if before.statements != now.statements:
                changed_boots[producer] = None
            elif before.anchors != now.anchors:
                changed_boots[producer] = {
                    boot
                    for boot in before.anchors.keys() | now.anchors.keys()
                    if before.anchors.get(boot) != now.anchors.get(boot)
                }
        if not changed_boots:
            return []
        found: list[LedgerRow] = []
        for row in await self.store.ledger_of(sorted(changed_boots)):
            boots = changed_boots[row.producer]
            if boots is None or not boots.isdisjoint(decode_contents(row.contents).boots):
                found.append(looked_at.get(row.key, row))
        return found

    async def _rows_of_moved_keys(
        self, timelines: Mapping[str, Timeline], looked_at: Mapping[LedgerKey, LedgerRow]
    ) -> list[LedgerRow]:
        """Return earlier segments whose keys turn out to have been known earlier."""
        moved: dict[str, set[KeyId]] = {}
        for producer, now in timelines.items():
            # A key that is new has signed nothing that was admitted before this fold.
            before = self.timelines_before[producer].keys
            moved[producer] = {key for key, day in before.items() if now.keys.get(key) != day}
        return await self._rows_of_keys(moved, looked_at)

    async def _rows_of_keys(
        self, keys: Mapping[str, Collection[KeyId]], looked_at: Mapping[LedgerKey, LedgerRow]
    ) -> list[LedgerRow]:
        """Return the segments that these keys signed, and those that lose seqs to them."""
        producers = sorted(producer for producer, moved in keys.items() if moved)
        if not producers:
            return []
        signed = [
            looked_at.get(row.key, row)
            for row in await self.store.ledger_of(producers)
            if decode_contents(row.contents).key in keys[row.producer]
        ]
        found = {row.key: row for row in signed}
        for row in await self.store.ledger_overlaps(sorted({_range(row) for row in signed})):
            other = looked_at.get(row.key, row)
            if other.lost:
                found.setdefault(other.key, other)
        return list(found.values())

    def _judge_producers(self, is_due: IsDue) -> None:
        """Judge the producers' facts that are due: the new ones and those touched."""
        refs = [ref for ref in self.new.keys() | self.touched.keys() if ref[0] == PRODUCER]
        for ref in refs:
            producer = ref[1].decode()
            stored = cast("list[PlainFact]", self.facts[producer])
            self.facts[producer] = cast(
                "list[ProducerFact]", self._judge_facts(ref, stored, is_due=is_due)
            )

    def _put_producers(self, contacts: Mapping[str, int]) -> None:
        for producer, row in self.locked.items():
            now = ProducerRow(
                producer,
                encode_facts(self.facts[producer]) if self.facts[producer] else b"",
                max(row.contact_ms, contacts.get(producer, 0)),
            )
            if now != row:
                self.changes.producers[producer] = now

    async def _fold_entities(self, kind: int) -> None:
        entity_kind, rules = ENTITY_KINDS[kind], self.rules
        keys = sorted({key for of_kind, key in chain(self.new, self.touched) if of_kind == kind})
        if not keys:
            return
        stored = await self.store.lock_entities(kind, keys)
        encoded = self.changes.entities[kind]
        for key in keys:
            blob = stored[key]
            before = entity_kind.decode(blob) if blob else []
            now = self._judge_facts((kind, key), before)
            added = entity_kind.change(before, now, rules)
            for table, cells in added.items():
                sums = self.changes.cells[table]
                for cell, count in cells.items():
                    sums[cell] = sums.get(cell, 0) + count  # spares Counter's slow __missing__
            encoded[key] = encode_facts(now)

    def _judge_facts(
        self,
        ref: EntityRef,
        stored: list[PlainFact],
        *,
        is_due: IsDue | None = None,
    ) -> list[PlainFact]:
        """Return an entity's set with its new facts in it and its touched ones judged again."""
        facts = stored
        if (names := self.touched.get(ref)) is not None:
            facts = [
                self._judged_again(fact)
                if (fact.producer, fact.epoch, fact.variant) in names
                and (is_due is None or is_due(fact.producer, fact.data))
                else fact
                for fact in stored
            ]
        new = [
            self._judged_new(ref, name, event)
            for name, event in self.new.get(ref, ())
            if is_due is None or is_due(name[0], event.data)
        ]
        for fact in new:
            if fact.verdict != COUNTS:
                self._exclude(fact)
        if not facts and len(new) == 1:
            return new
        return ENTITY_KINDS[ref[0]].union(chain(facts, new))

    def _judged_new(self, ref: EntityRef, name: SegmentName, event: OpenedEvent) -> PlainFact:
        producer, epoch, variant = name
        judge = self.judges[name]
        verdict, day, history = judge.judge(
            seq=event.seq,
            wall_ms=event.wall_ms,
            boot=event.boot,
            data=event.data,
            is_dated=ref[0] != PRODUCER,
        )
        return Fact(
            producer,
            epoch,
            event.seq,
            variant,
            judge.known_ms,
            event.wall_ms,
            event.boot,
            verdict,
            day,
            event.data,
            history,
        )

    def _judged_again(self, fact: PlainFact) -> PlainFact:
        judge = self.judges[fact.producer, fact.epoch, fact.variant]
        verdict, day, history = judge.judge(
            seq=fact.seq,
            wall_ms=fact.wall_ms,
            boot=fact.boot,
            data=fact.data,
            is_dated=type(fact.data) not in _PRODUCER_DATA,
        )
        now = structs.replace(
            fact, known_ms=judge.known_ms, verdict=verdict, occurred_on=day, history=history
        )
        if now.verdict != COUNTS:
            self._exclude(now)
        elif fact.verdict != COUNTS:
            identity = fact.id
            self.changes.excluded.pop(identity, None)
            self.changes.excluded_removed.add(identity)
        return now

    def _exclude(self, fact: PlainFact) -> None:
        reason, detail = VERDICT_REASONS[fact.verdict]
        self.changes.excluded[fact.id] = ExcludedRow(*fact.id, "quarantined", reason, detail)


def _range(row: LedgerRow) -> tuple[str, int, int, int]:
    return (row.producer, row.epoch, row.first, row.last)


def _overlap(one: LedgerRow, other: LedgerRow) -> bool:
    return one.first <= other.last and other.first <= one.last


def _name(row: LedgerRow) -> SegmentName:
    return (row.producer, row.epoch, row.hash[:VARIANT_BYTES])
