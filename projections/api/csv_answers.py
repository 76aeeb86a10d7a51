"""Answers about figures as CSV: one row a figure, each telling as of when, as known when, by what.

A sheet is passed on without its address, so what the figures rest on is in every row.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from projections.api import answers
from projections.api.answers import Stated
from projections.coverage.reads import CoverageTotals
from projections.person.state import UNPLACED
from projections.reference.reads import DenominatorVersion, TreeVersion

MEDIA_TYPE: Final = "text/csv"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so is run by spreadsheets, not shown."""

Cell = object


def coverage_csv(answer: Stated[answers.Coverage]) -> bytes:
    """Return the rows and, last, the totals."""
    figures = answer.figures
    bases = {base.regency: base for base in figures.denominators}
    tree_of = _trees(figures.trees)
    header = ("region", "name", *_FIGURES, "denominator", "basis", *_STATE, "tree")
    lines: list[Sequence[Cell]] = [header]
    every = [(row.region, row.name, row) for row in figures.rows]
    for region, name, row in [*every, ("total", None, figures.totals)]:
        base = figures.denominator if row is figures.totals else bases.get(region[:5])
        denominator = (base.version, base.basis) if base is not None else (None, None)
        state = _state(answer, figures.rule)
        lines.append((region, name, *_figures(row), *denominator, *state, tree_of(region)))
    return _written(lines)


def series_csv(answer: Stated[answers.CoverageSeries]) -> bytes:
    """Return the points, each with the versions that it rests on."""
    figures = answer.figures
    lines: list[Sequence[Cell]] = [
        ("region", "date", "recorded", "wajib", "percent", *_STATE, "denominators", "trees")
    ]
    for point in figures.points:
        told = (figures.region, point.date, point.recorded, point.wajib, point.percent)
        rests_on = [
            _versions(one for one in every if one.first_point <= point.date <= one.last_point)
            for every in (figures.denominators, figures.trees)
        ]
        lines.append((*told, *_state(answer, figures.rule), *rests_on))
    return _written(lines)


def changes_csv(answer: Stated[answers.CoverageChanges]) -> bytes:
    """Return a row for each share of a cause, and one for a cause that is nobody's.

    Of each measure the counts sum to its delta; without a count, it is unknown.
    """
    figures = answer.figures
    reports = (
        *(figures.known_from, figures.known_to, figures.rule_from, figures.rule_to),
        *(_versions(figures.denominators_from), _versions(figures.denominators_to)),
        *(_versions(figures.trees_from), _versions(figures.trees_to)),
    )
    lines: list[Sequence[Cell]] = [
        (
            *("region", "measure", "cause", "producer", "mode", "route", "count", "as_of"),
            *("known_from", "known_to", "rule_from", "rule_to"),
            *("denominators_from", "denominators_to", "trees_from", "trees_to"),
        )
    ]
    for cause in figures.causes:
        shares: list[tuple[Cell, ...]] = [
            (one.producer, one.mode, one.route, one.count) for one in cause.producers
        ]
        lines += [
            (figures.region, cause.measure, cause.cause, *share, answer.state.as_of, *reports)
            for share in shares or [(None, None, None, cause.count)]
        ]
    return _written(lines)


def verification_csv(answer: Stated[answers.Verification]) -> bytes:
    """Return a row for each region and status, and the totals last.

    `known_at` is the day of the statuses, which `as_of` does not bind.
    """
    figures = answer.figures
    header = ("region", "name", "status", "people", "stuck", "as_of", "known_at", "tree")
    tree_of = _trees(figures.trees)
    lines: list[Sequence[Cell]] = [header]
    every = [(row.region, row.name, row) for row in figures.rows]
    for region, name, row in [*every, ("total", None, figures.totals)]:
        # A region with nobody is a row as well.
        statuses: Iterable[tuple[str | None, int]] = row.statuses.items() or [(None, 0)]
        for status, people in statuses:
            ages = None if status is None else row.ages.get(status)
            stuck = None if ages is None else ages.stuck
            days = (answer.state.as_of, answer.state.known_at)
            lines.append((region, name, status, people, stuck, *days, tree_of(region)))
    return _written(lines)


def _trees(trees: Sequence[TreeVersion]) -> Callable[[str], str | None]:
    """Return what tells the tree of a row's region; of `total` if there is but one."""
    by_regency = {tree.regency: tree.version for tree in trees}
    if len(trees) == 1:
        by_regency["total"] = trees[0].version
    return lambda region: by_regency.get(region[:5])


_FIGURES: Final = ("wajib", "recorded", "unrecorded", "date_unknown", "percent", "remarks")
_STATE: Final = ("as_of", "known_at", "rule")


def _figures(row: CoverageTotals) -> tuple[Cell, ...]:
    remarks = " ".join(f"{one.remark}:{one.people}" for one in row.remarks)
    return row.wajib, row.recorded, row.unrecorded, row.date_unknown, row.percent, remarks


def _versions(versions: Iterable[DenominatorVersion | TreeVersion]) -> str:
    """Return each as its regency, its version, of a denominator its basis, and its first day."""
    return "; ".join(
        f"{one.regency} {one.version} {one.basis} {one.valid_from}"
        if isinstance(one, DenominatorVersion)
        else f"{one.regency} {one.version} {one.valid_from}"
        for one in versions
    )


def _state(
    answer: Stated[answers.Coverage] | Stated[answers.CoverageSeries], rule: str
) -> tuple[Cell, ...]:
    return answer.state.as_of, answer.state.known_at, rule


def _written(lines: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([_shown(cell) for cell in line] for line in lines)
    return text.getvalue().encode()


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case int() | Decimal():
            return str(cell)
        case _:
            shown = str(cell)
            is_formula = shown.startswith(_FORMULA) and shown != UNPLACED
            return f"'{shown}" if is_formula else shown
