"""`rekam office publish-… FILE`: tables become facts, whole or not at all."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import click

from producers.device.clock import DeviceClock
from producers.office.columns import not_ahead
from producers.office.denominators import DenominatorRow, read_denominators
from producers.office.desk import CENTRE, KPU
from producers.office.faults import reads_tables
from producers.office.grid import TableRejected
from producers.office.lists import EntryRow, entries_of_one_person, read_list, read_resolutions
from producers.office.published import Difference, Kind, Publication, PublishedRecord
from producers.office.regions import (
    RecodedRow,
    RegionNames,
    RegionRow,
    orphans,
    read_recoded,
    read_regions,
)
from producers.office.splitting import split_by_regency
from producers.office.stating import checked, office_ms, publish
from producers.office.statuses import read_statuses
from producers.office.sukets import read_sukets
from producers.office.table import Table
from rekam.domain.errors import Misconfigured, Rejected
from rekam.domain.events import (
    CohortEntryListed,
    CohortEntryResolved,
    CohortPublished,
    Denominator,
    DenominatorPublished,
    EventData,
    Region,
    StatusObserved,
    SuketIssued,
    TreePublished,
)
from rekam.runtime.invocation import settings_of
from rekam.runtime.settings import Settings

DATE: Final = click.DateTime(["%Y-%m-%d"])
TREE_REGIONS_MAX: Final = 1500
DENOMINATOR_ROWS_MAX: Final = 2000
"""As their events have it (rekam/domain/events.py)."""
CODES_SHOWN_MAX: Final = 10

version_option = click.option("--version", required=True, help="Names this publication.")
valid_from_option = click.option("--valid-from", required=True, type=DATE, help="Its first day.")
regions_option = click.option(
    "--regions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Tree in which names are looked up; without it, the one published from here.",
)


def _cohort_id(_context: click.Context, _parameter: click.Parameter, cohort: str) -> str:
    """Raise Misconfigured when no address can hold it: /v1/cohorts/{id} is where it is read."""
    if "/" in cohort or cohort.strip() in {"", ".", ".."}:
        raise Misconfigured(["--cohort: wanted an id without slashes, not blank, not `.` or `..`"])
    return cohort


cohort_option = click.option("--cohort", required=True, callback=_cohort_id, help="Id of the list.")
move_option = click.option(
    "--move-first-day",
    is_flag=True,
    help="Take back what this version says of the days from its former first one on.",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would change, and publish nothing."
)


@click.command("publish-denominators")
@reads_tables
@version_option
@click.option("--basis", required=True, help="Where the figures come from.")
@valid_from_option
@regions_option
@move_option
@dry_run_option
@click.pass_context
def publish_denominators(
    context: click.Context,
    *,
    table: Path,
    version: str,
    basis: str,
    valid_from: datetime,
    regions: Path | None,
    move_first_day: bool,
    dry_run: bool,
) -> None:
    """Publish wajib KTP per desa from a CSV or XLSX file: kode or desa, and wajib."""
    settings = settings_of(context)
    record, since = PublishedRecord.of(settings), valid_from.date()
    tree = _names(record, regions, since)
    read = read_denominators(table, names=tree)

    def build(part: str, rows: Sequence[DenominatorRow]) -> EventData:
        fact: EventData = checked(
            DenominatorPublished,
            version=part,
            basis=basis,
            valid_from=since,
            rows=[Denominator(row.desa, row.wajib) for row in rows],
        )
        return fact

    facts = split_by_regency(
        version,
        read.rows,
        code_of=lambda row: row.desa,
        rows_max=DENOMINATOR_ROWS_MAX,
        build=build,
    )
    figures: dict[str, str | int] = {row.desa: row.wajib for row in read.rows}
    publication = _publication("denominators", version, since, figures, facts)
    _require_effect(record, publication)
    _tell_moved(record, publication, is_taken=move_first_day or dry_run)
    words = f"{len(read.rows)} desa, {sum(row.wajib for row in read.rows)} wajib KTP"
    if tree is not None and (strange := tree.lacks(figures)):
        click.echo(f"not in the tree of that day: {_listed(strange)}", err=True)
    if dry_run:
        before = record.of_regencies("denominators", valid_from=since, codes=figures)
        was = sum(count for count in before.values() if isinstance(count, int))
        _echo_dry_run(words, read, facts, Difference.between(before, figures), is_first=not before)
        if before:
            click.echo(f"wajib KTP of these regencies before: {was}")
        return
    publish(settings, facts, stated=lambda: record.keep(publication))
    click.echo(f"published: {words}")


@click.command("publish-regions")
@reads_tables
@version_option
@valid_from_option
@click.option(
    "--recoded",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV or XLSX of places that have another code from now on: lama,baru.",
)
@move_option
@dry_run_option
@click.pass_context
def publish_regions(
    context: click.Context,
    *,
    table: Path,
    version: str,
    valid_from: datetime,
    recoded: Path | None,
    move_first_day: bool,
    dry_run: bool,
) -> None:
    """Publish a region tree from a CSV, XLSX or SQL file: kode,nama."""
    settings = settings_of(context)
    record, since = PublishedRecord.of(settings), valid_from.date()
    read = read_regions(table)
    names: dict[str, str | int] = {row.kode: row.nama for row in read.rows}
    mapping = _mapping(recoded, names)

    def build(part: str, rows: Sequence[RegionRow]) -> EventData:
        codes = {row.kode for row in rows}
        fact: EventData = checked(
            TreePublished,
            version=part,
            valid_from=since,
            regions=[Region(row.kode, row.nama) for row in rows],
            mapping={old: new for old, new in mapping.items() if new in codes},
        )
        return fact

    facts = split_by_regency(
        version,
        read.rows,
        code_of=lambda row: row.kode,
        rows_max=TREE_REGIONS_MAX,
        build=build,
    )
    publication = _publication("regions", version, since, names, facts)
    _require_effect(record, publication)
    _tell_moved(record, publication, is_taken=move_first_day or dry_run)
    words = f"{len(read.rows)} regions"
    if unknown := _never_there(record, mapping, since):
        click.echo(f"re-coded, and not in the tree before that day: {_listed(unknown)}", err=True)
    if dry_run:
        before = record.of_regencies("regions", valid_from=since, codes=names)
        _echo_dry_run(words, read, facts, Difference.between(before, names), is_first=not before)
        if mapping:
            click.echo(f"re-coded: {len(mapping)} places")
        if lonely := orphans(names):
            click.echo(f"without the region above them in the file: {_listed(lonely)}")
        return
    publish(settings, facts, stated=lambda: record.keep(publication))
    click.echo(f"published: {words}")


@click.command("observe-status")
@reads_tables
@click.option("--source", default="siak", show_default=True, help="Which system showed it.")
@dry_run_option
@click.pass_context
def observe_status(context: click.Context, *, table: Path, source: str, dry_run: bool) -> None:
    """State what the centre shows, from a CSV or XLSX file: nik,status,observed_at."""
    settings = settings_of(context)
    read = read_statuses(
        table,
        is_possible=_not_ahead(settings),
        instant=lambda moment: office_ms(moment, settings),
    )
    facts: list[EventData] = [
        checked(
            StatusObserved,
            nik=row.nik,
            status=row.status,
            observed_ms=office_ms(row.observed_at, settings),
            source=source,
        )
        for row in read.rows
    ]
    words = f"{len(facts)} statuses"
    if dry_run:
        _echo_dry_run(words, read, facts, None)
        for status, people in sorted(Counter(row.status for row in read.rows).items()):
            click.echo(f"  {status}: {people}")
        return
    publish(settings, facts, desk=CENTRE)
    click.echo(f"observed: {words}")


def _not_ahead(settings: Settings) -> Callable[[datetime], str | None]:
    return not_ahead(
        now_ms=DeviceClock().read().wall_ms, ms=lambda moment: office_ms(moment, settings)
    )


@click.command("issue-suket")
@reads_tables
@dry_run_option
@click.pass_context
def issue_suket(context: click.Context, *, table: Path, dry_run: bool) -> None:
    """State which letters took the place of cards, from a file: nik,number,issued_at,status."""
    settings = settings_of(context)
    read = read_sukets(table, is_possible=_not_ahead(settings))
    facts: list[EventData] = [
        checked(
            SuketIssued,
            nik=row.nik,
            number=row.number,
            issued_ms=office_ms(row.issued_at, settings),
            status=row.status,
        )
        for row in read.rows
    ]
    words = f"{len(facts)} letters"
    if dry_run:
        _echo_dry_run(words, read, facts, None)
        return
    publish(settings, facts, desk=CENTRE)
    click.echo(f"issued: {words}")


@click.command("publish-cohort")
@reads_tables
@cohort_option
@version_option
@click.option("--title", required=True)
@click.option("--source", required=True, help="Who handed it over.")
@dry_run_option
@click.pass_context
def publish_cohort(
    context: click.Context,
    *,
    table: Path,
    cohort: str,
    version: str,
    title: str,
    source: str,
    dry_run: bool,
) -> None:
    """Publish a list of people from a CSV or XLSX file: entry, and what it has of nik,code,bucket.

    An entry that an earlier version has under another number is another entry.
    """
    settings = settings_of(context)
    record = PublishedRecord.of(settings)
    read = read_list(table)
    if kept := record.entries_kept(cohort, version, {row.entry for row in read.rows}):
        fault = f"--version: it was published with entries that {table} lacks: {_listed(kept)}"
        raise Misconfigured([f"{fault}. No version gives an entry up: publish another one"])
    facts: list[EventData] = [
        checked(
            CohortPublished,
            cohort=cohort,
            version=version,
            title=title,
            source=source,
            entries=len(read.rows),
        )
    ]
    for row in read.rows:
        facts += _entry_facts(row, cohort=cohort, version=version, source=source)
    words = f"{len(read.rows)} entries of {cohort}"

    def digests() -> dict[str, str | int]:
        return {
            str(row.entry): record.person_digest(row.nik, row.code, row.bucket) for row in read.rows
        }

    if dry_run:
        before = record.of_cohort(cohort)
        difference = Difference()
        if before is not None:
            difference = Difference.between(before.figures, digests())
        _echo_dry_run(words, read, facts, difference, is_first=before is None)
        without = sum(row.nik is None for row in read.rows)
        click.echo(f"without a NIK: {without}")
        if shared := entries_of_one_person(read):
            click.echo(f"of a person named before: {_listed([str(entry) for entry in shared])}")
        return

    def keep() -> None:
        record.keep(
            Publication(
                kind="cohort",
                version=version,
                cohort=cohort,
                stated_ms=_now_ms(),
                figures=digests(),
            )
        )

    publish(settings, facts, desk=KPU, stated=keep)
    click.echo(f"published: {words}")


@click.command("resolve-cohort")
@reads_tables
@cohort_option
@click.option("--version", help="Version whose numbers the file has; every version if not given.")
@click.option("--source", required=True, help="Who says so.")
@dry_run_option
@click.pass_context
def resolve_cohort(
    context: click.Context,
    *,
    table: Path,
    cohort: str,
    version: str | None,
    source: str,
    dry_run: bool,
) -> None:
    """State what one source says of a list's entries, from a CSV or XLSX file: entry,bucket.

    What other sources say stays beside it.
    """
    read = read_resolutions(table)
    facts: list[EventData] = [
        checked(
            CohortEntryResolved,
            cohort=cohort,
            entry=row.entry,
            bucket=row.bucket,
            source=source,
            version=version,
        )
        for row in read.rows
    ]
    words = f"{len(facts)} entries of {cohort}"
    if dry_run:
        _echo_dry_run(words, read, facts, None)
        for bucket, entries in sorted(Counter(row.bucket for row in read.rows).items()):
            click.echo(f"  {bucket}: {entries}")
        return
    publish(settings_of(context), facts, desk=KPU)
    click.echo(f"resolved: {words}")


def _entry_facts(row: EntryRow, *, cohort: str, version: str, source: str) -> list[EventData]:
    facts: list[EventData] = [
        checked(
            CohortEntryListed,
            cohort=cohort,
            entry=row.entry,
            nik=row.nik,
            code=row.code,
            version=version,
        )
    ]
    if row.bucket is not None:
        facts.append(
            checked(
                CohortEntryResolved,
                cohort=cohort,
                entry=row.entry,
                bucket=row.bucket,
                source=source,
                version=version,
            )
        )
    return facts


def _publication(
    kind: Kind,
    version: str,
    since: date,
    figures: dict[str, str | int],
    facts: Sequence[EventData],
) -> Publication:
    return Publication(
        kind=kind,
        version=version,
        valid_from=since,
        stated_ms=_now_ms(),
        figures=figures,
        is_split=any(getattr(fact, "version", version) != version for fact in facts),
    )


def _require_effect(record: PublishedRecord, publication: Publication) -> None:
    """Raise Rejected when reports would go on using what this office has stated before."""
    if outdone := record.outdone_by(publication):
        raise Rejected(
            f"--version {publication.version}: reports would go on using {_listed(outdone)}, "
            "because of versions with the same first day the last one by name stands. Give it a "
            "name that sorts behind, or name the version that is to be replaced"
        )


def _tell_moved(record: PublishedRecord, publication: Publication, *, is_taken: bool) -> None:
    """Say which versions lose their former first day; raise Rejected unless that is taken."""
    moved = record.moved_by(publication)
    if not moved:
        return
    shown = [
        f"{version} was published from {day}"
        for version, day in list(moved.items())[:CODES_SHOWN_MAX]
    ]
    more = f" and {len(moved) - len(shown)} more" if len(moved) > len(shown) else ""
    told = (
        f"{', '.join(shown)}{more}: what it says from that day on is taken back and stands from "
        f"{publication.valid_from} alone"
    )
    if not is_taken:
        raise Rejected(
            f"{told}. Give it a version of its own, or --move-first-day if that is meant"
        )
    click.echo(told, err=True)


def _names(record: PublishedRecord, regions: Path | None, since: date) -> RegionNames | None:
    """Return the tree in which a file's names are looked up; None: there is none."""
    if regions is not None:
        return RegionNames.of({row.kode: row.nama for row in read_regions(regions).rows})
    held = _tree(record, since)
    names = {code: str(name) for code, name in held.items()}
    return RegionNames.of(names) if names else None


def _tree(record: PublishedRecord, day: date) -> dict[str, str | int]:
    """Return the names by code that were published from here and are valid on a day."""
    codes = {code for one in record.publications("regions") for code in one.figures}
    return record.of_regencies("regions", valid_from=day, codes=codes)


def _never_there(record: PublishedRecord, mapping: Mapping[str, str], since: date) -> list[str]:
    """Return the old codes that the tree before lacks, none when no such tree is known here."""
    before = _tree(record, date.fromordinal(max(since.toordinal() - 1, 1)))
    return [old for old in mapping if old not in before] if before else []


def _mapping(recoded: Path | None, names: dict[str, str | int]) -> dict[str, str]:
    """Return new codes by old ones. Raises TableRejected when the tree says otherwise."""
    if recoded is None:
        return {}
    read = read_recoded(recoded)
    faults = [
        f"{label}: {fault}"
        for row, label in zip(read.rows, read.labels, strict=True)
        if (fault := _recoding_fault(row, names)) is not None
    ]
    if faults:
        raise TableRejected(path=recoded, faults=faults)
    return {row.lama: row.baru for row in read.rows}


def _recoding_fault(row: RecodedRow, names: dict[str, str | int]) -> str | None:
    if row.baru not in names:
        return f"column baru: {row.baru} is not in the tree"
    if row.lama in names:
        return f"column lama: {row.lama} is still in the tree"
    if row.lama.count(".") != row.baru.count("."):
        return f"column baru: {row.baru} is a region of another level than {row.lama}"
    return None


def _echo_dry_run(
    words: str,
    read: Table[Any],
    facts: Sequence[EventData],
    difference: Difference | None,
    *,
    is_first: bool = False,
) -> None:
    """Say what would be stated; no `difference` where no earlier word is replaced."""
    click.echo(f"dry run, nothing is published: {words}, {len(facts)} events")
    if read.columns_passed_over:
        click.echo(f"columns passed over: {read.columns_passed_over}")
    if difference is None:
        click.echo("all of it would stand beside what was stated before")
    elif is_first:
        click.echo("nothing was published from here before")
    else:
        click.echo(f"against it: {difference}")


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - CODES_SHOWN_MAX
    rest = f" and {more} more" if more > 0 else ""
    return f"{len(keys)} ({', '.join(keys[:CODES_SHOWN_MAX])}{rest})"


def _now_ms() -> int:
    return DeviceClock().read().wall_ms


COMMANDS: Final[Sequence[click.Command]] = (
    publish_denominators,
    publish_regions,
    observe_status,
    issue_suket,
    publish_cohort,
    resolve_cohort,
)
