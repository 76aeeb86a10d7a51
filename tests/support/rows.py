"""Rows of the projections, made from facts without a log: what reads are tested on.

Cells come from the real contribution functions and rows from the real store; what is skipped is
sealing, Kafka and admission.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import TypeVar

from projections.access.facts import AccessData, Accessed
from projections.cohort.facts import Listed, Resolved, entry_key
from projections.facts import COUNTS, Fact
from projections.person.facts import Captured, ListedIn, Observed, PersonData
from projections.person.niks import seal_niks
from projections.position.reads import Position
from projections.reference.facts import CohortHead, Denominators, ReferenceData, Tree, reference_key
from projections.registry.context import services_of, timeline_of
from projections.registry.facts import Enrolled, ProducerData
from projections.rows import (
    Changes,
    CopyRow,
    ExcludedRow,
    HeldRow,
    LedgerRow,
    ProducerRow,
    QuarantinedRow,
)
from projections.rules import Rules
from projections.store import PostgresStore
from projections.tables import (
    ACCESS,
    COHORT_ENTRY,
    ENTITY_KINDS,
    PERSON,
    REFERENCE,
    encode_facts,
    roll_up,
)
from rekam.domain.clocks import OfficeZone
from rekam.domain.events import Denominator, Region
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.ranges import RangeSet
from rekam.domain.segment import opening_hash
from rekam.domain.topics import SEGMENTS
from rekam.runtime.postgres import connect

RULES = Rules(
    zone=OfficeZone("Asia/Makassar"),
    registrar="registrar",
    person_key=bytes([5]) * 32,
    nik_key=bytes([6]) * 32,
)
TODAY = date(2018, 4, 11)
RECORDED_ON = date(2018, 3, 1)
KNOWN_ON = date(2018, 3, 2)
DESA = "64.08.04.2001"
OTHER_DESA = "64.08.05.2001"
NIK = "6408044101900001"
OTHER_NIK = "6408044101900002"

DataT = TypeVar("DataT")


def noon_ms(day: date) -> int:
    """Return noon of a day in the office's zone."""
    return int(datetime(day.year, day.month, day.day, 4, tzinfo=UTC).timestamp() * 1000)


@dataclass
class Rows:
    """Facts by entity, told one by one; `write` puts them and what they add up to in a database."""

    changes: Changes = field(default_factory=Changes)
    position: Position = field(default_factory=lambda: {0: 1})
    people: dict[bytes, list[Fact[PersonData]]] = field(default_factory=dict)
    references: dict[bytes, list[Fact[ReferenceData]]] = field(default_factory=dict)
    entries: dict[bytes, list[Fact[Listed | Resolved]]] = field(default_factory=dict)
    accesses: dict[bytes, list[Fact[AccessData]]] = field(default_factory=dict)
    producers: dict[str, list[Fact[ProducerData]]] = field(default_factory=dict)
    contacts: dict[str, int] = field(default_factory=dict)
    seq: int = 0

    def recorded(
        self,
        nik: str,
        *,
        desa: str = DESA,
        on: date | None = RECORDED_ON,
        known: date = KNOWN_ON,
        verdict: int = COUNTS,
        recording: str = "r-1",
        producer: str = "recorder-1",
    ) -> None:
        """Record a person."""
        captured = Captured(recording, desa, desa[:8], "offline")
        self.say(nik, captured, on=on, known=known, verdict=verdict, producer=producer)

    def observed(
        self, nik: str, status: str, *, on: date = KNOWN_ON, known: date | None = None
    ) -> None:
        """Let the centre show a status of a person; without `known`, known on its day."""
        self.say(nik, Observed(status, noon_ms(on), "siak"), on=on, known=known or on)

    def say(
        self,
        nik: str,
        data: PersonData,
        *,
        on: date | None = RECORDED_ON,
        known: date = KNOWN_ON,
        verdict: int = COUNTS,
        producer: str = "recorder-1",
    ) -> None:
        """Say anything of a person."""
        self._know(nik)
        facts = self.people.setdefault(RULES.token(nik), [])
        facts.append(self._fact(data, producer, on=on, known=known, verdict=verdict))

    def tree(
        self,
        names: dict[str, str],
        *,
        version: str = "2017",
        valid: date = date(2017, 1, 1),
        mapping: dict[str, str] | None = None,
        known: date = date(2018, 1, 5),
    ) -> None:
        """Publish a region tree."""
        regions = tuple(Region(code, name) for code, name in names.items())
        self._publish("tree", version, Tree(version, valid, regions, mapping or {}), known=known)

    def denominators(
        self,
        wajib: dict[str, int],
        *,
        version: str = "DKB-2-2017",
        valid: date = date(2017, 12, 31),
        known: date = date(2018, 1, 5),
    ) -> None:
        """Publish wajib KTP per desa."""
        rows = tuple(Denominator(desa, count) for desa, count in wajib.items())
        self._publish(
            "denominator", version, Denominators(version, "DKB", valid, rows), known=known
        )

    def cohort(self, cohort: str, buckets: dict[str, int], *, unresolved: int = 0) -> None:
        """Hand over a list of which so many entries fell into each bucket."""
        total = sum(buckets.values()) + unresolved
        head = CohortHead(cohort, "1", "Bontang prison", "KPU", total)
        self._publish("cohort", f"{cohort}/1", head)
        fates: list[str | None] = [name for name, count in buckets.items() for _ in range(count)]
        for entry, bucket in enumerate(fates + [None] * unresolved):
            facts = self.entries.setdefault(entry_key(cohort, entry), [])
            facts.append(self._fact(Listed(cohort, entry, None, None), "kpu"))
            if bucket is not None:
                facts.append(self._fact(Resolved(cohort, entry, bucket, "KPU"), "kpu"))

    def handed_over(
        self, cohort: str, version: str, *, entries: int, source: str = "KPU", known: date
    ) -> None:
        """Hand over a version of a list; its entries are told one by one."""
        head = CohortHead(cohort, version, f"List {version}", source, entries)
        self._publish("cohort", f"{cohort}/{version}", head, known=known)

    def entry(self, data: Listed | Resolved, *, known: date, on: date | None = None) -> None:
        """Say anything of an entry of a list."""
        facts = self.entries.setdefault(entry_key(data.cohort, data.entry), [])
        facts.append(self._fact(data, "kpu", known=known, on=on))
        for nik in (NIK, OTHER_NIK):
            if isinstance(data, Listed) and data.person == RULES.token(nik):
                self.say(nik, ListedIn(entry_key(data.cohort, data.entry)), known=known, on=on)

    def accessed(self, nik: str, *, caller: str = "office", on: date | None = KNOWN_ON) -> None:
        """Let somebody have read of a person."""
        facts = self.accesses.setdefault(RULES.token(nik), [])
        facts.append(self._fact(Accessed(caller, "get_person", "asked at the desk"), "api", on=on))

    def _know(self, nik: str) -> None:
        self.changes.niks[RULES.token(nik)] = seal_niks([nik], RULES)[0]

    def enrolled(
        self,
        producer: str,
        *,
        place: str = "64.08.04",
        kind: str = "recorder",
        contact: date | None = KNOWN_ON,
        known: date = KNOWN_ON,
    ) -> None:
        """Enrol a producer, heard of last on a day."""
        key = SigningKey.from_seed(sha256(producer.encode()).digest()).public.raw
        self.tell(producer, Enrolled(kind, place, key, 0), known=known)
        self.contacts[producer] = 0 if contact is None else noon_ms(contact)

    def tell(
        self, producer: str, data: ProducerData, *, epoch: int = 1, known: date = KNOWN_ON
    ) -> None:
        """Say anything of a producer."""
        facts = self.producers.setdefault(producer, [])
        facts.append(self._fact(data, producer, epoch=epoch, known=known))

    def segment(
        self,
        producer: str,
        first: int,
        last: int,
        *,
        epoch: int = 1,
        prev: str | None = None,
        mark: str = "",
        lost: RangeSet | None = None,
        known: date = KNOWN_ON,
    ) -> str:
        """Admit a segment and return its hash; `mark` tells it from another of the same range."""
        name = sha256(f"{producer}/{epoch}/{first}-{last}{mark}".encode())
        row = LedgerRow(
            producer=producer,
            epoch=epoch,
            first=first,
            hash=name.digest(),
            last=last,
            prev=bytes.fromhex(prev or opening_hash(ProducerId(producer), Epoch(epoch))),
            partition=0,
            offset=len(self.changes.ledger),
            append_ms=noon_ms(known),
            sealed_ms=noon_ms(known),
            lost=lost or RangeSet(),
            contents=b"",
        )
        self.changes.ledger[row.key] = row
        return name.hexdigest()

    def copy(self, producer: str, first: int, hash_: str, *, epoch: int = 1) -> None:
        """Let a segment arrive once more."""
        place = (0, 1000 + len(self.changes.copies))
        self.changes.copies[place] = CopyRow(
            *place, noon_ms(KNOWN_ON), producer, epoch, first, bytes.fromhex(hash_)
        )

    def held(self, offset: int, *, reason: str = "unknown_producer") -> None:
        """Hold a record."""
        place = (1, offset)
        detail = "its enrolment has not come"
        row = HeldRow(*place, noon_ms(KNOWN_ON), "recorder-9", 1, 1, 3, reason, detail, b"RKM1")
        self.changes.held[place] = row

    def quarantined(self, offset: int, *, reason: str = "bad_signature") -> None:
        """Refuse a record whose header could not be read."""
        place = (1, offset)
        self.changes.quarantined[place] = QuarantinedRow(
            *place, noon_ms(KNOWN_ON), None, None, None, None, reason, "the signature is another's"
        )

    def excluded(self, producer: str, seq: int, hash_: str, *, verdict: str) -> None:
        """Leave out one event of a segment."""
        row = ExcludedRow(
            producer, 1, seq, bytes.fromhex(hash_)[:8], verdict, "schema_invalid", "no such field"
        )
        self.changes.excluded[(producer, 1, seq, row.hash)] = row

    async def write(self, dsn: str) -> None:
        """Write all of it in one transaction."""
        self._add_up(PERSON, self.people)
        self._add_up(REFERENCE, self.references)
        self._add_up(COHORT_ENTRY, self.entries)
        self._add_up(ACCESS, self.accesses)
        roll_up(self.changes.cells)
        self._hear()
        for producer, facts in self.producers.items():
            statements = timeline_of(facts, RULES.zone).statements
            self.changes.services[producer] = services_of(statements)
            self.changes.producers[producer] = ProducerRow(
                producer, encode_facts(facts), self.contacts.get(producer, 0)
            )
        connection = await connect(dsn)
        try:
            async with connection.transaction():
                store = PostgresStore(connection)
                await store.lock_producers(sorted(self.changes.producers))
                for kind, entities in self.changes.entities.items():
                    await store.lock_entities(kind, sorted(entities))
                await store.write(self.changes)
                await connection.executemany(
                    "INSERT INTO projection_position VALUES ($1, $2, $3)",
                    [(SEGMENTS.name, *place) for place in self.position.items()],
                )
        finally:
            await connection.close()

    def _hear(self) -> None:
        heard = [(producer, ms) for producer, ms in self.contacts.items() if ms]
        heard += [(row.producer, row.append_ms) for row in self.changes.ledger.values()]
        heard += [(row.producer, row.append_ms) for row in self.changes.copies.values()]
        for producer, contact_ms in sorted(heard):
            self.changes.contacts[producer, RULES.zone.day(contact_ms)] = contact_ms

    def _add_up(self, kind: int, entities: Mapping[bytes, Sequence[Fact[DataT]]]) -> None:
        for key, facts in entities.items():
            self.changes.entities[kind][key] = encode_facts(facts)
            decoded = ENTITY_KINDS[kind].decode(encode_facts(facts))
            for table, cells in ENTITY_KINDS[kind].contributions(key, decoded, RULES).items():
                self.changes.cells[table].update(cells)

    def _publish(
        self, kind: str, version: str, data: ReferenceData, *, known: date = date(2018, 1, 5)
    ) -> None:
        facts = self.references.setdefault(reference_key(kind, version), [])
        facts.append(self._fact(data, "registrar", known=known))

    def _fact(
        self,
        data: DataT,
        producer: str,
        *,
        epoch: int = 1,
        on: date | None = None,
        known: date = KNOWN_ON,
        verdict: int = COUNTS,
    ) -> Fact[DataT]:
        self.seq += 1
        # The seq sets facts of one day apart, so that later calls are known later.
        known_ms = noon_ms(known) + self.seq
        return Fact(
            producer, epoch, self.seq, b"\0" * 8, known_ms, known_ms, "boot", verdict, on, data
        )


def regency(wajib: dict[str, int]) -> Rows:
    """Return a small regency: a tree and denominators of two kecamatan."""
    rows = Rows()
    rows.tree(
        {
            "64.08": "Kutai Timur",
            "64.08.04": "Sangatta Utara",
            "64.08.05": "Sangkulirang",
            DESA: "Teluk Lingga",
            OTHER_DESA: "Benua Baru Ilir",
        }
    )
    rows.denominators(wajib)
    return rows


def people(count: int) -> Sequence[str]:
    """Return NIKs of made-up people."""
    return [f"640804410191{number:04d}" for number in range(count)]
