"""Published figures from tables in memory: what laws and scenarios ask, without a server.

The sums that reads leave to SQL are taken here row by row; everything else is the product's own
arithmetic. That the SQL takes the same sums is what tests/integration/test_reads_*.py hold.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from projections.cohort.rules import CohortRule, read_buckets
from projections.coverage.reads import CoverageTotals, Ground, without
from projections.coverage.sums import EXCLUDED, People
from projections.coverage.wajib import Wajib
from projections.memory_store import MemoryStore
from projections.person.state import DATE_UNKNOWN
from projections.reading import DAY_MAX
from projections.reference.reads import DenominatorVersion, Publications, TreeVersion
from projections.reference.recoding import Recode, Recoding
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT, CoverageRule
from projections.tables import CELL_TABLES

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """Coverage as an officer reads it."""

    rows: Mapping[str, CoverageTotals]
    totals: CoverageTotals
    names: Mapping[str, str]
    tree: str | None
    denominator: str | None


@dataclass(frozen=True)
class Figures:
    """The cells of every table, by column."""

    cells: Mapping[str, list[Cell]]

    @classmethod
    def of(cls, store: MemoryStore) -> "Figures":
        """Read the cells of a store."""
        tables = store.tables()
        return cls(
            {
                name: [dict(zip((*table.key, "count"), row, strict=True)) for row in tables[name]]
                for name, table in CELL_TABLES.items()
            }
        )

    def sums(self, table: str, *columns: str, known_at: date = DAY_MAX) -> Counter[Any]:
        """Return the sums of a table by some of its columns, as known at a day; no zeros."""
        found: Counter[Any] = Counter()
        for cell in self.cells[table]:
            if "known_on" not in cell or cell["known_on"] <= known_at:
                found[tuple(cell[column] for column in columns)] += cell["count"]
        return Counter({key: count for key, count in found.items() if count})

    def people(
        self, table: str, *, as_of: date = DAY_MAX, known_at: date = DAY_MAX
    ) -> dict[str, People]:
        """Return recorded people and those of unknown date by the desa of their recording."""
        found: dict[str, People] = {}
        for (desa, day), count in self.sums(
            table, "desa", "occurred_on", known_at=known_at
        ).items():
            recorded, undated = found.get(desa, (0, 0))
            if day == DATE_UNKNOWN:
                found[desa] = People(recorded, undated + count)
            elif day <= as_of:
                found[desa] = People(recorded + count, undated)
        return found

    def publications(self, *, as_of: date, known_at: date) -> Publications:
        """Return trees, denominators and re-codings valid at a day."""
        columns = ("kind", "regency", "valid_from", "version", "basis")
        found = sorted(self.sums("publication_cell", *columns, known_at=known_at))
        trees: dict[str, list[TreeVersion]] = {}
        bases: dict[str, list[DenominatorVersion]] = {}
        for kind, regency, valid_from, version, basis in found:
            if valid_from > as_of:
                continue
            told = {"regency": regency, "version": version, "valid_from": valid_from}
            if kind == "tree":
                trees.setdefault(regency, []).append(TreeVersion(**told))
            else:
                bases.setdefault(regency, []).append(DenominatorVersion(**told, basis=basis))
        mapped = sorted(
            self.sums(
                "recode_cell", "valid_from", "version", "old_code", "new_code", known_at=known_at
            )
        )
        steps = [
            Recode(valid_from, version, {old: new for *_, old, new in of_tree})
            for (valid_from, version), of_tree in groupby(mapped, key=lambda row: row[:2])
            if valid_from <= as_of
        ]

        def is_replaced(step: Recode, new: str) -> bool:
            return any(
                tree.valid_from == step.valid_from and tree.version > step.version
                for tree in trees.get(new[:5], [])
            )

        return Publications(
            known_at,
            trees=trees,
            denominators=bases,
            recoding=Recoding(tuple(steps)).without(is_replaced),
        )

    def coverage(
        self,
        *,
        as_of: date = DAY_MAX,
        known_at: date = DAY_MAX,
        level: Level = Level.DESA,
        rule: CoverageRule = COVERAGE_RULE_DEFAULT,
        regency: str = "64.08",
    ) -> Shown:
        """Return the coverage of a regency's parts as of a day, as known at a day."""
        region = Region(regency)
        published = self.publications(as_of=as_of, known_at=known_at)
        trees, bases = published.trees_at(as_of), published.denominators_at(as_of)
        every_name = self._names(trees.values(), known_at)
        ground = Ground(
            region,
            Wajib(
                bases,
                published.recoding,
                self._wajib(bases.values(), known_at),
                every_name.keys(),
            ),
            trees,
            {code: name for code, name in every_name.items() if region.holds(code)},
        )
        tree, base = trees.get(regency), bases.get(regency)
        left_out = (
            self.people("coverage_duplicate", as_of=as_of, known_at=known_at)
            if rule == EXCLUDED
            else {}
        )
        people = self.people("coverage_cell", as_of=as_of, known_at=known_at)
        tallies = ground.tallies(ground.by_desa(), without(people, left_out), level)
        return Shown(
            {code: tally.shown() for code, tally in tallies.items()},
            ground.whole(tallies).shown(),
            ground.names,
            tree.version if tree else None,
            base.version if base else None,
        )

    def _wajib(self, bases: Iterable[DenominatorVersion], known_at: date) -> dict[str, int]:
        columns = ("desa", "version", "basis", "valid_from")
        sums = self.sums("denominator_cell", *columns, known_at=known_at)
        return {
            desa: wajib
            for base in bases
            for (desa, *version), wajib in sums.items()
            if (*version,) == (base.version, base.basis, base.valid_from)
            and Region(base.regency).holds(desa)
        }

    def _names(self, trees: Iterable[TreeVersion], known_at: date) -> dict[str, str]:
        sums = self.sums("region_cell", "code", "name", "version", "valid_from", known_at=known_at)
        return {
            code: name
            for tree in trees
            # Of two names of one code the first in the alphabet, as in SQL: it is put in last.
            for code, name, *version in sorted(sums, reverse=True)
            if (*version,) == (tree.version, tree.valid_from) and Region(tree.regency).holds(code)
        }

    def buckets(
        self,
        cohort: str,
        version: str = "1",
        *,
        as_of: date = DAY_MAX,
        known_at: date = DAY_MAX,
        rule: CohortRule = "exclusive/v1",
    ) -> dict[str, int]:
        """Return the entries of a list by bucket under a rule."""
        entries = self._entries(cohort, version, "bucket", as_of=as_of, known_at=known_at)
        return read_buckets(entries, rule)[0]

    def disputed(self, cohort: str, version: str = "1") -> int:
        """Return how many entries sources disagree about."""
        return self._entries(cohort, version, "is_disputed").get(1, 0)

    def _entries(
        self,
        cohort: str,
        version: str,
        column: str,
        *,
        as_of: date = DAY_MAX,
        known_at: date = DAY_MAX,
    ) -> dict[Any, int]:
        columns = ("cohort", "version", "stated_on", column)
        found: Counter[Any] = Counter()
        for (of_cohort, of_version, stated_on, value), count in self.sums(
            "cohort_cell", *columns, known_at=known_at
        ).items():
            if of_cohort == cohort and of_version in ("", version) and stated_on <= as_of:
                found[value] += count
        return {value: count for value, count in found.items() if count}


def summed(rows: Iterable[CoverageTotals]) -> tuple[int, int]:
    """Return recorded people and those of unknown date over rows."""
    told = [*rows]
    return sum(row.recorded for row in told), sum(row.date_unknown for row in told)
