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
from itertools import chain
from typing import Final, cast, get_args

from msgspec import structs

from projections.facts import COUNTS, VARIANT_BYTES, VERDICT_REASONS, Fact
from projections.registry.context import Judge, ProducerContext, context_of
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
    Contributions,
    encode_facts,
)
from rekam.domain.keys import VerifyKey
from stream_processors.admit import Admission, NeedsProducers, producers_concerned
from stream_processors.intake import Intake, OpenedEvent, Opener

SegmentName = tuple[str, int, bytes]
"""(producer, epoch, variant): as a fact names the segment that carried it."""
NewFact = tuple[SegmentName, OpenedEvent]
"""An event of a fresh segment on its way into its entity."""
PlainFact = Fact[object]

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
    judges: dict[SegmentName, Judge] = field(default_factory=dict)
    """Of each segment whose facts are judged in this fold."""
    new: dict[EntityRef, list[NewFact]] = field(default_factory=lambda: defaultdict(list))
    touched: dict[EntityRef, set[SegmentName]] = field(default_factory=lambda: defaultdict(set))
    """Entities that hold facts to be judged again, and by which segments they came."""

    def __post_init__(self) -> None:
        decode = ENTITY_KINDS[PRODUCER].decode
        for name, row in self.locked.items():
            self.facts[name] = cast("list[ProducerFact]", decode(row.facts) if row.facts else [])
            self.before[name] = self._context(name)

    async def judge(self, admission: Admission) -> None:
        """Judge every fact of the changed segments, in the order in which facts judge facts."""
        for key, opened in admission.fresh.items():
            name = _name(admission.rows[key])
            for event in opened.events:
                self.new[event.kind, event.key].append((name, event))
        rows = {key: admission.rows[key] for key in admission.changed}
        for key in rows.keys() - admission.fresh.keys():
            self._touch(rows[key], with_producers=True)

        # What devices say of themselves (anchors), then what the registrar says, make the context
        # in which everything else is judged. The registrar's own rests on its anchors alone.
        self._set_judges(rows.values(), self.before)
        self._judge_producers(lambda fact: type(fact.data) in LATEST_WINS)
        self._set_judges(rows.values(), self._contexts())
        self._judge_producers(lambda fact: fact.producer == self.rules.registrar)
        contexts = self._contexts()
        for row in await self._rows_in_new_light(contexts, admission.rows):
            rows[row.key] = row
            # The registrar's word on producers does not rest on its anchors.
            self._touch(row, with_producers=row.producer != self.rules.registrar)
        self._set_judges(rows.values(), contexts)
        self._judge_producers(lambda fact: fact.producer != self.rules.registrar)
        self._put_producers(admission.contacts)
        for kind in FOLDED_KINDS:
            await self._fold_entities(kind)

    def _context(self, producer: str) -> ProducerContext:
        root = self.root if producer == self.rules.registrar else None
        return context_of(self.facts[producer], root=root)

    def _contexts(self) -> dict[str, ProducerContext]:
        return {producer: self._context(producer) for producer in self.locked}

    def _set_judges(
        self, rows: Iterable[LedgerRow], contexts: Mapping[str, ProducerContext]
    ) -> None:
        zone = self.rules.zone
        for row in rows:
            self.judges[_name(row)] = Judge(contexts[row.producer], row.append_ms, row.lost, zone)

    def _touch(self, row: LedgerRow, *, with_producers: bool) -> None:
        for kind, key in decode_contents(row.contents).entities:
            if kind != PRODUCER:
                self.touched[kind, key].add(_name(row))
            elif with_producers:
                if key.decode() not in self.locked:
                    raise NeedsProducers([key.decode()])
                self.touched[kind, key].add(_name(row))

    async def _rows_in_new_light(
        self, contexts: Mapping[str, ProducerContext], rows: Mapping[LedgerKey, LedgerRow]
    ) -> list[LedgerRow]:
        """Return earlier segments whose facts this fold's registry or anchors judge otherwise."""
        changed_boots: dict[str, set[str] | None] = {}
        """By producer; None: all boot sessions."""
        for producer, now in contexts.items():
            before = self.before[producer]
            if not before.judges_alike(now):
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
                found.append(rows.get(row.key, row))
        return found

    def _judge_producers(self, is_due: Callable[[ProducerFact], bool]) -> None:
        """Judge the producers' facts that are due: the new ones and those touched."""
        refs = [ref for ref in self.new.keys() | self.touched.keys() if ref[0] == PRODUCER]
        for ref in refs:
            producer = ref[1].decode()
            stored = cast("list[PlainFact]", self.facts[producer])
            due = cast("Callable[[PlainFact], bool]", is_due)
            self.facts[producer] = cast(
                "list[ProducerFact]", self._judge_facts(ref, stored, is_due=due)
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
            if blob:
                self._add_cells(entity_kind.contributions(before, rules), -1)
            self._add_cells(entity_kind.contributions(now, rules), 1)
            encoded[key] = encode_facts(now)

    def _add_cells(self, contributions: Contributions, sign: int) -> None:
        for table, cells in contributions.items():
            sums = self.changes.cells[table]
            for cell, count in cells.items():
                sums[cell] += sign * count

    def _judge_facts(
        self,
        ref: EntityRef,
        stored: list[PlainFact],
        *,
        is_due: Callable[[PlainFact], bool] = lambda _fact: True,
    ) -> list[PlainFact]:
        """Return an entity's set with its new facts in it and its touched ones judged again."""
        facts = stored
        if (names := self.touched.get(ref)) is not None:
            facts = [
                self._judged_again(fact)
                if (fact.producer, fact.epoch, fact.variant) in names and is_due(fact)
                else fact
                for fact in stored
            ]
        new = [self._judged_new(ref, name, event) for name, event in self.new.get(ref, ())]
        if ref[0] == PRODUCER:
            new = [fact for fact in new if is_due(fact)]
        for fact in new:
            if fact.verdict != COUNTS:
                self._exclude(fact)
        if not facts and len(new) == 1:
            return new
        return ENTITY_KINDS[ref[0]].union(chain(facts, new))

    def _judged_new(self, ref: EntityRef, name: SegmentName, event: OpenedEvent) -> PlainFact:
        producer, epoch, variant = name
        judge = self.judges[name]
        verdict, day = judge.judge(
            seq=event.seq, wall_ms=event.wall_ms, boot=event.boot, data=event.data
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
            # A producer's facts have no day: they enter no figure and wait for no anchor.
            None if ref[0] == PRODUCER else day,
            event.data,
        )

    def _judged_again(self, fact: PlainFact) -> PlainFact:
        judge = self.judges[fact.producer, fact.epoch, fact.variant]
        verdict, day = judge.judge(
            seq=fact.seq, wall_ms=fact.wall_ms, boot=fact.boot, data=fact.data
        )
        now = structs.replace(
            fact,
            known_ms=judge.known_ms,
            verdict=verdict,
            occurred_on=None if type(fact.data) in _PRODUCER_DATA else day,
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


def _name(row: LedgerRow) -> SegmentName:
    return (row.producer, row.epoch, row.hash[:VARIANT_BYTES])
