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

from projections.access.facts import Forgotten
from projections.cohort.facts import EntryFact, Listed, without_people
from projections.facts import COUNTS, VARIANT_BYTES, VERDICT_REASONS, Fact
from projections.ledger.forks import rank
from projections.person.erasure import lists_naming
from projections.person.facts import Erasure, PersonFact
from projections.person.niks import ERASED, seal_niks
from projections.quarantine.facts import decode_facts as decode_decision
from projections.quarantine.facts import discarded_since, place_of, record_key
from projections.reading import DAY_MAX
from projections.registry.context import (
    Judge,
    ProducerContext,
    Timeline,
    context_of,
    services_of,
    timeline_of,
)
from projections.registry.facts import LATEST_WINS, Anchor, ProducerData, ProducerFact
from projections.rows import (
    AnchorKey,
    Changes,
    EntityRef,
    ExcludedRow,
    LedgerKey,
    LedgerRow,
    ProducerRow,
    RecordId,
    decode_contents,
)
from projections.rules import Rules
from projections.store_port import Store
from projections.tables import (
    COHORT_ENTRY,
    ENTITY_KINDS,
    FOLDED_KINDS,
    PERSON,
    PRODUCER,
    RECORD,
    encode_facts,
    roll_up,
)
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.ranges import RangeSet
from stream_processors.admit import (
    Admission,
    NeedsProducers,
    partitions_spoken_of,
    producers_concerned,
)
from stream_processors.intake import Intake, OpenedEvent, Opener

SegmentName = tuple[str, int, bytes]
"""(producer, epoch, variant): as a fact names the segment that carried it."""
NewFact = tuple[SegmentName, OpenedEvent]
"""An event of a fresh segment on its way into its entity."""
PlainFact = Fact[object]
IsDue = Callable[[str, object], bool]
"""Tells by producer and data whether a fact's turn to be judged has come."""

_PRODUCER_DATA: Final = frozenset(get_args(ProducerData))
_FORGETTING: Final = frozenset((Erasure, Forgotten, Listed))
"""What by itself may leave less of its entity than it says."""


async def fold_intakes(
    store: Store,
    intakes: Sequence[Intake],
    *,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    producers: Collection[str] = (),
    again: Collection[RecordId] = (),
) -> Changes:
    """Fold opened records into the store's tables and return what was written.

    Inside one transaction of the store's, which the caller commits together with the position.
    `producers` are locked besides those that the records surely concern. Raises NeedsProducers
    when others are concerned too: roll back, and call again with them.
    `again` are places of records that were folded before: of what is in the tables already they
    change nothing, so repeating this is harmless.
    """
    if named := partitions_spoken_of(intakes):
        await store.lock_partitions(named)
    locked = await store.lock_producers(sorted(producers_concerned(intakes) | set(producers)))
    fold = _Fold(store, rules, root, locked)
    admission = Admission(store, fold.changes, opener, fold.before, frozenset(again))
    await admission.run(intakes)
    await fold.judge(admission)
    roll_up(fold.changes.cells)
    await store.write(fold.changes)
    return fold.changes


async def judge_again(
    store: Store,
    places: Collection[RecordId],
    *,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    producers: Collection[str] = (),
) -> Changes:
    """Judge the facts of the segments at these places anew, and write what that changes.

    Inside one transaction, with the locks of a fold. Raises NeedsProducers as `fold_intakes` does.
    """
    await store.lock_partitions(sorted({partition for partition, _ in places}))
    concerned = {row.producer for row in await store.ledger_at(places)}
    locked = await store.lock_producers(sorted(concerned | {rules.registrar} | set(producers)))
    fold = _Fold(store, rules, root, locked)
    admission = Admission(store, fold.changes, opener, fold.before)
    for row in await store.ledger_at(places):
        admission.rows[row.key] = row
        admission.changed.add(row.key)
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
    stored: dict[str, list[ProducerFact]] = field(default_factory=dict)
    """The same as they were before this fold."""
    stored_anchors: dict[AnchorKey, bytes] = field(default_factory=dict)
    """Of the boot sessions that segments of this fold name: their anchors are among the facts."""
    timelines_before: dict[str, Timeline] = field(default_factory=dict)
    told: dict[str, tuple[list[ProducerFact], Timeline]] = field(default_factory=dict)
    """Which facts each producer's timeline was made of, so that it is not made again of the same.
    """
    judges: dict[SegmentName, Judge] = field(default_factory=dict)
    """Of each segment whose facts are judged in this fold."""
    signed_by: dict[LedgerKey, str] = field(default_factory=dict)
    """Key ids of the segments that are judged, so that their contents are decoded once at most."""
    rivals: dict[LedgerKey, list[LedgerRow]] = field(default_factory=dict)
    """Of each segment that loses seqs: those that may win them."""
    new: dict[EntityRef, list[NewFact]] = field(default_factory=lambda: defaultdict(list))
    touched: dict[EntityRef, set[SegmentName]] = field(default_factory=lambda: defaultdict(set))
    """Entities that hold facts to be judged again, and by which segments they came."""
    erased: set[bytes] = field(default_factory=set)
    """Tokens of the people of this fold whose erasure was ordered, now or earlier."""
    naming: set[bytes] = field(default_factory=set)
    """List entries that name one of them."""

    def __post_init__(self) -> None:
        decode = ENTITY_KINDS[PRODUCER].decode
        for name, row in self.locked.items():
            facts = cast("list[ProducerFact]", decode(row.facts) if row.facts else [])
            self.stored[name] = self.facts[name] = facts
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
        self._touch(
            [rows[key] for key in rows.keys() - (admission.fresh.keys() - admission.enlarged)]
        )
        await self._meet_rivals(rows.values(), admission.rows)
        await self._meet_anchors(
            [row for key, row in rows.items() if key not in admission.fresh],
            {(producer, boot) for producer, boot, _ in self.changes.boots},
        )

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
        timelines = self._timelines()  # with the anchors that the added rows name
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
        await self._meet_discards(rows, admission.rows)
        keys: defaultdict[int, set[bytes]] = defaultdict(set)
        for ref in chain(self.new, self.touched):
            keys[ref[0]].add(ref[1])
        for kind in FOLDED_KINDS:
            named = keys[kind] | self.naming if kind == COHORT_ENTRY else keys[kind]
            if named and kind != RECORD:
                await self._fold_entities(kind, sorted(named))

    async def _add(
        self,
        rows: dict[LedgerKey, LedgerRow],
        found: Iterable[LedgerRow],
        looked_at: Mapping[LedgerKey, LedgerRow],
    ) -> None:
        """Add to `rows` what must be judged again."""
        added = [row for row in found if row.key not in rows]
        await self._meet_rivals(added, looked_at)
        await self._meet_anchors(added)
        rows |= {row.key: row for row in added}
        # The registrar's word on producers does not rest on its anchors.
        registrar = self.rules.registrar
        self._touch([row for row in added if row.producer != registrar])
        self._touch([row for row in added if row.producer == registrar], with_producers=False)

    async def _meet_discards(
        self,
        rows: dict[LedgerKey, LedgerRow],
        looked_at: Mapping[LedgerKey, LedgerRow],
    ) -> None:
        """Let decisions on records reach what the segments there say, whichever came first.

        They reach no segment of the registrar's, and nothing that is said of producers: what
        decides must not rest on what it decides of.
        """
        decided = sorted({key for kind, key in chain(self.new, self.touched) if kind == RECORD})
        if decided:
            places = [place_of(key) for key in decided]
            await self.store.lock_partitions(sorted({partition for partition, _ in places}))
            await self._fold_entities(RECORD, decided)
            await self._add_decided(rows, places, looked_at)
        named = {
            record_key(row.partition, row.offset): row
            for row in rows.values()
            if row.producer != self.rules.registrar
        }
        decisions = await self.store.decisions(named.keys())
        decisions |= self.changes.entities[RECORD]
        for key in decisions.keys() & named.keys():
            since = discarded_since(decode_decision(decisions[key]), self.rules.zone)
            if since:
                self._set_judges([named[key]], self._timelines(), discarded=since)

    async def _add_decided(
        self,
        rows: dict[LedgerKey, LedgerRow],
        places: Sequence[RecordId],
        looked_at: Mapping[LedgerKey, LedgerRow],
    ) -> None:
        """Add to `rows` the segments that lie at these places. Raises NeedsProducers."""
        found = {row.key: row for row in await self.store.ledger_at(places)}
        # A held record of theirs may be released meanwhile by who brings its key, unless locked.
        claimed = await self.store.claimed_by(places)
        concerned = claimed | {row.producer for row in found.values()}
        if not concerned <= self.locked.keys():
            raise NeedsProducers(concerned - self.locked.keys())
        found |= {key: row for key, row in looked_at.items() if key in found}
        added = [
            row
            for row in found.values()
            if row.key not in rows and row.producer != self.rules.registrar
        ]
        await self._meet_rivals(added, looked_at)
        await self._meet_anchors(added)
        self._set_judges(added, self._timelines())
        rows |= {row.key: row for row in added}
        self._touch(added, with_producers=False)

    def _context(self, producer: str) -> ProducerContext:
        return context_of(self.facts[producer], root=self._root_of(producer))

    def _root_of(self, producer: str) -> VerifyKey | None:
        return self.root if producer == self.rules.registrar else None

    def _timeline(self, producer: str) -> Timeline:
        facts = self.facts[producer]
        known = self.told.get(producer)
        if known is None or known[0] is not facts:
            timeline = timeline_of(facts, self.rules.zone, root=self._root_of(producer))
            known = self.told[producer] = (facts, timeline)
        return known[1]

    def _timelines(self) -> dict[str, Timeline]:
        return {producer: self._timeline(producer) for producer in self.locked}

    def _set_judges(
        self,
        rows: Iterable[LedgerRow],
        timelines: Mapping[str, Timeline],
        *,
        discarded: tuple[tuple[date, RangeSet], ...] = (),
    ) -> None:
        for row in rows:
            timeline = timelines[row.producer]
            self.judges[_name(row)] = Judge.of(
                timeline,
                key=self._key_of(row),
                known_ms=row.append_ms,
                route=row.route,
                lost=self._lost(row, timeline) if row.lost else (),
                zone=self.rules.zone,
                discarded=discarded,
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

    async def _meet_anchors(
        self, rows: Iterable[LedgerRow], named: Iterable[AnchorKey] = ()
    ) -> None:
        """Look up by what the boot sessions that segments name are anchored.

        A device has thousands of them in its life: its facts are as many as this fold needs.
        """
        boots = set(named)
        for row in rows:
            boots |= {(row.producer, boot) for boot in decode_contents(row.contents).boots}
        wanted = sorted(boots - self.stored_anchors.keys())
        if not wanted:
            return
        found = await self.store.anchors_of(wanted)
        self.stored_anchors |= dict.fromkeys(wanted, b"") | found
        decode = ENTITY_KINDS[PRODUCER].decode
        for (producer, _), blob in sorted(found.items()):
            anchors = cast("list[ProducerFact]", decode(blob))
            self.stored[producer] = [*self.stored[producer], *anchors]
            self.facts[producer] = [*self.facts[producer], *anchors]
        for producer in {producer for producer, _ in found}:
            self.timelines_before[producer] = timeline_of(
                self.stored[producer], self.rules.zone, root=self._root_of(producer)
            )

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
            found = await self._rows_of_keys({registrar: moved}, looked_at)
            added = [row for row in found if row.key not in rows]
            rows |= {row.key: row for row in added}
            self._touch(added)
            await self._meet_rivals(added, looked_at)
            await self._meet_anchors(added)

    def _touch(self, rows: Iterable[LedgerRow], *, with_producers: bool = True) -> None:
        """Note whose facts must be judged again. Raises NeedsProducers, once for all of them."""
        missing: set[str] = set()
        for row in rows:
            for kind, key in decode_contents(row.contents).entities:
                if kind == PRODUCER:
                    if not with_producers:
                        continue
                    if key.decode() not in self.locked:
                        missing.add(key.decode())
                self.touched[kind, key].add(_name(row))
        if missing:
            raise NeedsProducers(missing)

    async def _rows_in_new_light(
        self, timelines: Mapping[str, Timeline], looked_at: Mapping[LedgerKey, LedgerRow]
    ) -> list[LedgerRow]:
        """Return earlier segments whose facts this fold's registry or anchors judge otherwise."""
        retold: list[str] = []
        anchored: dict[str, set[str]] = {}
        """Boot sessions whose clocks are told anew, by producer."""
        for producer, now in timelines.items():
            before = self.timelines_before[producer]
            if before.statements != now.statements:
                retold.append(producer)
            elif before.anchors != now.anchors:
                anchored[producer] = {
                    boot
                    for boot in before.anchors.keys() | now.anchors.keys()
                    if before.anchors.get(boot) != now.anchors.get(boot)
                }
        found: list[LedgerRow] = []
        if retold:
            found = await self.store.ledger_of(sorted(retold))
        if anchored:
            # Most sessions begin with their anchor: nothing named them before, nothing is found.
            pairs = sorted((producer, boot) for producer in anchored for boot in anchored[producer])
            found += [
                row
                for row in await self.store.ledger_of_boots(pairs)
                if not anchored[row.producer].isdisjoint(decode_contents(row.contents).boots)
            ]
        return [looked_at.get(row.key, row) for row in found]

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

    def _put_producers(self, contacts: Mapping[str, Collection[int]]) -> None:
        for producer, row in self.locked.items():
            for contact_ms in sorted(contacts.get(producer, ())):  # the latest of a day stays
                day = min(self.rules.zone.day(contact_ms), DAY_MAX)
                self.changes.contacts[producer, day] = contact_ms
            statements = self._timeline(producer).statements
            if statements != self.timelines_before[producer].statements:
                self.changes.services[producer] = services_of(statements)
            anchors: defaultdict[AnchorKey, list[ProducerFact]] = defaultdict(list)
            facts: list[ProducerFact] = []
            for fact in self.facts[producer]:
                if type(fact.data) is Anchor:
                    anchors[producer, fact.data.boot].append(fact)
                else:
                    facts.append(fact)
            for key, of_boot in anchors.items():
                if (encoded := encode_facts(of_boot)) != self.stored_anchors[key]:
                    self.changes.anchors[key] = encoded
            now = ProducerRow(
                producer,
                encode_facts(facts) if facts else b"",
                max(row.contact_ms, *contacts.get(producer, (0,))),
            )
            if now != row:
                self.changes.producers[producer] = now

    async def _fold_entities(self, kind: int, keys: Sequence[bytes]) -> None:
        entity_kind, rules = ENTITY_KINDS[kind], self.rules
        stored = await self.store.lock_entities(kind, keys)
        encoded = self.changes.entities[kind]
        fresh: list[bytes] = []
        niks: list[str] = []
        for key in keys:
            ref, blob = (kind, key), stored[key]
            before = entity_kind.decode(blob) if blob else []
            now: Sequence[PlainFact] = self._judge_facts(ref, before)
            for fact in now:
                if type(fact.data) in _FORGETTING:  # of nearly nobody
                    now = self._forget(kind, key, now)
                    break
            if kind == PERSON and not blob:
                fresh.append(key)
                niks.append(self.new[ref][0][1].nik)
            added = entity_kind.change(key, before, now, rules)
            for table, cells in added.items():
                sums = self.changes.cells[table]
                for cell, count in cells.items():
                    sums[cell] = sums.get(cell, 0) + count  # spares Counter's slow __missing__
            encoded[key] = encode_facts(now)
        if fresh:
            self.changes.niks = dict(zip(fresh, seal_niks(niks, rules), strict=True))
        if kind == PERSON:
            self.changes.niks |= dict.fromkeys(self.erased, ERASED)

    def _forget(self, kind: int, key: bytes, facts: Sequence[PlainFact]) -> Sequence[PlainFact]:
        """Return what remains of an entity once it, or a person that it names, is erased.

        An entry that names somebody is stated by one event with the person's own fact of it, and
        people are locked before entries: so whichever comes first, entry and order meet here.
        """
        if kind == COHORT_ENTRY and self.erased:
            entry = without_people(cast("Sequence[EntryFact]", facts), self.erased)
            return cast("Sequence[PlainFact]", entry)
        forget = ENTITY_KINDS[kind].forget
        remains = facts if forget is None else forget(key, facts, self.rules)
        if kind == PERSON and remains is not facts:
            self.erased.add(key)
            self.naming.update(lists_naming(cast("Sequence[PersonFact]", facts)))
        return remains

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
        new: list[PlainFact] = []
        for name, event in self.new.get(ref, ()):
            if is_due is None or is_due(name[0], event.data):
                fact = self._judged_new(ref, name, event)
                if fact.verdict != COUNTS:
                    self._exclude(fact)
                new.append(fact)
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
            judge.route,
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
            fact,
            known_ms=judge.known_ms,
            verdict=verdict,
            occurred_on=day,
            history=history,
            route=judge.route,
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
