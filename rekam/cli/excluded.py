"""`rekam quarantine …` and `rekam held …`: what does not count, why, and what to do about it."""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click
import msgspec

from producers.office.stating import checked, publish
from projections.api.parameters import Unwanted, place_cursor
from projections.api.parameters import parse_place_cursor as parse_cursor
from projections.api.problems import has_digits_of_a_nik
from projections.quarantine.facts import WHOLE
from projections.quarantine.reads import (
    START,
    Discard,
    Excluded,
    RecordPlace,
    Verdict,
    Wanted,
    count_excluded,
    discards,
    discards_at,
    excluded,
    excluded_at,
)
from projections.quarantine.reasons import LIFTED_AT_START, RELEASES_WHEN
from rekam.cli.folders import open_folder
from rekam.domain.errors import Held, Misconfigured, ProblemFound, Rejected, SegmentRejected
from rekam.domain.events import RecordDiscarded
from rekam.domain.log import LogRecord
from rekam.domain.segment import Header, parse
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap, postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from stream_processors.folder import PostgresFolder
from stream_processors.places import Place, open_reader
from stream_processors.release import StillExcluded, lift, not_folded_yet, release
from stream_processors.worker import transient_as_unavailable

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500

_PLACE: Final = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)
_SEQS: Final = re.compile(r"([0-9]{1,16})(?:-([0-9]{1,16}))?", re.ASCII)

Answer = TypeVar("Answer")


class PlaceType(click.ParamType):
    """PARTITION:OFFSET, as lists print it."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Return (partition, offset)."""
        found = _PLACE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value}: wanted PARTITION:OFFSET, such as 3:120", param, ctx)
        return int(found[1]), int(found[2])


PLACE: Final = PlaceType()

_FILTERS: Final = (
    click.option("--producer", help="Only what claims to be of this producer."),
    click.option(
        "--reason", type=click.Choice(sorted(RELEASES_WHEN)), metavar="CODE", help="Only for this."
    ),
    click.option("--older-than", type=click.IntRange(min=0), metavar="DAYS", help="Only so old."),
)
_PAGING: Final = (
    click.option("--limit", type=click.IntRange(1, PAGE_MAX), default=PAGE_DEFAULT),
    click.option("--after", metavar="CURSOR", help="Go on behind the page before."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)
Command = Callable[..., None]


def _options(*groups: Collection[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for group in reversed(groups):
            for option in reversed([*group]):
                command = option(command)
        return command

    return add


@click.group()
def quarantine() -> None:
    """See what was refused, release it after a fix, or discard it for ever."""


@click.group()
def held() -> None:
    """See what waits, and for what."""


@quarantine.command("list")
@_options(_FILTERS, _PAGING)
@click.option("--discarded", is_flag=True, help="List what was discarded instead.")
@click.pass_context
def list_quarantine(context: click.Context, /, *, discarded: bool, **given: Any) -> None:
    """List what was refused, oldest place first; what was discarded is not among it."""
    if discarded:
        _list_discards(settings_of(context), given)
    else:
        _list(settings_of(context), "quarantined", given)


@held.command("list")
@_options(_FILTERS, _PAGING)
@click.pass_context
def list_held(context: click.Context, /, **given: Any) -> None:
    """List what waits, oldest place first, and for what."""
    _list(settings_of(context), "held", given)


@quarantine.command("show")
@click.argument("place", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def show_quarantined(context: click.Context, *, place: Place, as_json: bool) -> None:
    """Show what was refused at PARTITION:OFFSET of the log."""
    _show(settings_of(context), "quarantined", place, as_json=as_json)


@held.command("show")
@click.argument("place", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def show_held(context: click.Context, *, place: Place, as_json: bool) -> None:
    """Show what waits at PARTITION:OFFSET of the log."""
    _show(settings_of(context), "held", place, as_json=as_json)


@quarantine.command("release")
@click.argument("places", type=PLACE, nargs=-1)
@_options(_FILTERS)
@click.option("--all", "is_all", is_flag=True, help="Everything that is refused or held.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def release_excluded(
    context: click.Context,
    /,
    *,
    places: tuple[Place, ...],
    is_all: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Decide again, after a fix, on what was refused or is held.

    The records are read from the log again. What this software with these keys and this registry
    can take counts then, exactly once, as a rebuild would have it. Exit 1 when something still
    does not count, or is not folded yet.
    """
    chosen = any(value is not None for value in given.values())
    if bool(places) == bool(chosen or is_all):
        raise Misconfigured(["wanted places, or --all, or filters; such as: 3:120 3:121"])
    settings = settings_of(context)
    _tell(asyncio.run(_release(settings, places, _wanted(given))), as_json=as_json)


@held.command("retry")
@click.pass_context
def retry_held(context: click.Context) -> None:
    """Decide again on what waits for software or reader keys, as a starting processor does."""
    settings = settings_of(context)

    async def retry() -> int:
        async with open_folder(settings, application_name="rekam-release") as folder:
            return await lift(folder, lambda: _reader(settings))

    lifted = asyncio.run(retry())
    click.echo(f"decided again: {lifted} records, held for {', '.join(LIFTED_AT_START)}")


@quarantine.command()
@click.argument("place", type=PLACE)
@click.option("--seq", "seqs", metavar="A[-B]", help="Only these events of the record.")
@click.option("--reason", required=True, help="Why, for who comes later. No name, no NIK.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.pass_context
def discard(
    context: click.Context, *, place: Place, seqs: str | None, reason: str, yes: bool
) -> None:
    """State, as the registrar, that a record or some of its events never count.

    Also when newer software could take it, or its producer is enrolled. Nobody can take this word
    back; the log keeps the record. What counts is not discarded: it is withdrawn, or its producer
    is revoked.
    """
    settings = settings_of(context)
    if has_digits_of_a_nik(reason):
        raise Misconfigured(["--reason holds the digits of a NIK; say why without it"])
    record = asyncio.run(_discardable(settings, place, _seqs(seqs)))
    first, last = _seqs(seqs) or (None, None)
    fact = checked(
        RecordDiscarded,
        partition=place[0],
        offset=place[1],
        record_hash=hashlib.sha256(record.value).hexdigest(),
        reason=reason,
        first=first,
        last=last,
    )
    what = f"{_shown(place)}" + ("" if seqs is None else f", seq {seqs}")
    if not yes:
        click.confirm(f"Buang untuk selamanya / discard for ever: {what}?", abort=True, err=True)
    publish(settings, [fact])
    click.echo(f"discarded: {what}")


# What the commands do --------------------------------------------------------------------------


def _list(settings: Settings, verdict: Verdict, given: dict[str, Any]) -> None:
    after = START if given["after"] is None else _cursor(given["after"])

    async def ask(connection: Any) -> tuple[Any, dict[str, int]]:
        page = await excluded(
            connection,
            verdict,
            now_ms=_now_ms(),
            wanted=_wanted(given),
            after=after,
            entries_max=given["limit"],
        )
        return page, await count_excluded(connection, verdict)

    page, reasons = asyncio.run(_with_snapshot(settings, ask))
    following = None if page.next is None else place_cursor(page.next)
    if given["as_json"]:
        _print_json(
            {
                "total": sum(reasons.values()),
                "reasons": reasons,
                "entries": page.entries,
                "next_cursor": following,
            }
        )
        return
    for entry in page.entries:
        click.echo(_line(entry))
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    click.echo(f"{sum(reasons.values())} {verdict}" + (f": {told}" if told else ""))
    _tell_following(following)


def _list_discards(settings: Settings, given: dict[str, Any]) -> None:
    if any(given[name] is not None for name in ("producer", "reason", "older_than")):
        raise Misconfigured(["--discarded: is listed whole; leave the filters out"])
    after = None if given["after"] is None else _cursor(given["after"])
    if after is not None and not isinstance(after, RecordPlace):
        raise Misconfigured(["--after: is a cursor of another list"])

    async def ask(connection: Any) -> tuple[list[Discard], tuple[int, int] | None]:
        place = None if after is None else (after.partition, after.offset)
        return await discards(connection, after=place, records_max=given["limit"])

    found, following_place = asyncio.run(_with_snapshot(settings, ask))
    following = None if following_place is None else place_cursor(RecordPlace(*following_place))
    if given["as_json"]:
        _print_json({"discards": found, "next_cursor": following})
        return
    for one in found:
        click.echo(_discard_line(one))
    _tell_following(following)


def _show(settings: Settings, verdict: Verdict, place: Place, *, as_json: bool) -> None:
    async def ask(connection: Any) -> tuple[list[Excluded], list[Discard]]:
        partition, offset = place
        entries = await excluded_at(
            connection, verdict, partition=partition, offset=offset, now_ms=_now_ms()
        )
        decided = await discards_at(connection, partition=partition, offset=offset)
        return entries, decided

    entries, decided = asyncio.run(_with_snapshot(settings, ask))
    if not entries:
        raise ProblemFound(
            f"nothing at {_shown(place)} is {verdict}: it counts, is a copy of what counts, or is "
            "not folded yet"
        )
    record = asyncio.run(_read(settings, place))
    header = _header(record)
    if as_json:
        _print_json(
            {
                "topic": SEGMENTS.name,
                "partition": place[0],
                "offset": place[1],
                "bytes": len(record.value),
                "record_hash": hashlib.sha256(record.value).hexdigest(),
                "header": header,
                "entries": entries,
                "discards": decided,
            }
        )
        return
    click.echo(f"{SEGMENTS.name} partition {place[0]} offset {place[1]}")
    click.echo(f"  bytes        {len(record.value)}")
    click.echo(f"  SHA-256      {hashlib.sha256(record.value).hexdigest()}")
    click.echo(f"  since        {entries[0].since:%Y-%m-%d %H:%M} UTC, {entries[0].age_days} d")
    _show_header(header)
    for entry in entries:
        seqs = f"seq {_range(entry.range)}" if entry.scope == "event" else "all of it"
        click.echo(f"{seqs}: {entry.reason}")
        click.echo(f"  {entry.detail}")
        click.echo(f"  would release it: {entry.releases_when}")
    for one in decided:
        click.echo(f"discarded: {_discard_line(one)}")


def _show_header(header: Header | None) -> None:
    if header is None:
        click.echo("  header       cannot be read")
        return
    click.echo(f"  claims       {header.producer}/{header.epoch} {header.first}-{header.last}")
    click.echo(f"  signed with  {header.key}")
    click.echo(f"  for reader   {header.reader}")


async def _release(
    settings: Settings, places: Collection[Place], wanted: Wanted
) -> "ReleaseOutcome":
    async def work(folder: PostgresFolder) -> ReleaseOutcome:
        still: list[StillExcluded] = []
        decided = 0
        async with _reader(settings) as reader:
            if places:
                ahead = await not_folded_yet(folder, places)
                still += await release(folder, reader, places)
                return ReleaseOutcome(len(set(places)) - len(ahead), still, ahead)
            for verdict in ("held", "quarantined"):
                after: Any = START
                while after is not None:
                    async with folder.pool.acquire() as connection:
                        page = await excluded(
                            connection,
                            verdict,
                            now_ms=_now_ms(),
                            wanted=wanted,
                            after=after,
                            entries_max=PAGE_MAX,
                        )
                    found = {
                        (entry.partition, entry.offset)
                        for entry in page.entries
                        if entry.partition is not None and entry.offset is not None
                    }
                    still += await release(folder, reader, found)
                    decided += len(found)
                    after = page.next
        return ReleaseOutcome(decided, still)

    async with open_folder(settings, application_name="rekam-release") as folder:
        return await work(folder)


@dataclass(frozen=True, slots=True)
class ReleaseOutcome:
    """How many records were decided again, and what of them still does not count."""

    records: int
    still: list[StillExcluded]
    not_folded: Sequence[Place] = ()
    """Of these nothing was decided."""


def _tell(outcome: ReleaseOutcome, *, as_json: bool) -> None:
    # A segment with several events may stand on several pages.
    still = sorted(set(outcome.still), key=lambda one: (one.place, one.seq or 0))
    if as_json:
        _print_json(
            {
                "records": outcome.records,
                "still_excluded": still,
                "not_folded": outcome.not_folded,
            }
        )
    else:
        click.echo(f"decided again: {outcome.records} records")
        for one in still:
            seq = "" if one.seq is None else f" seq {one.seq}"
            click.echo(f"{_shown(one.place)}{seq}: still {one.reason}: {one.detail}")
        for place in outcome.not_folded:
            click.echo(
                f"{_shown(place)}: not folded yet: the processor decides when it comes to it"
            )
    if outcome.not_folded:
        raise ProblemFound(
            f"{len(outcome.not_folded)} are not folded yet, {len(still)} still do not count. See "
            "that the processor runs; nothing needs to be released before it has come to a record"
        )
    if still:
        raise ProblemFound(
            f"{len(still)} still do not count. `rekam quarantine show PLACE` says what would "
            "release them"
        )


async def _discardable(settings: Settings, place: Place, seqs: tuple[int, int] | None) -> LogRecord:
    """Return the record that may be discarded. Raises Rejected when anything of it counts."""
    partition, offset = place

    async def ask(connection: Any) -> list[Excluded]:
        return [
            entry
            for verdict in ("held", "quarantined")
            for entry in await excluded_at(
                connection, verdict, partition=partition, offset=offset, now_ms=_now_ms()
            )
        ]

    entries = await _with_snapshot(settings, ask)
    if not entries:
        raise Rejected(
            f"{_shown(place)} counts, is a copy of what counts, or is not folded yet. What counts "
            "is not discarded: withdraw the recording, or revoke the producer (`rekam office "
            "revoke`)"
        )
    if any(entry.scope == "event" for entry in entries):
        _require_excluded(place, entries, seqs, settings)
    elif seqs is not None:
        raise Rejected(f"{_shown(place)}: the whole record does not count; leave --seq out")
    return await _read(settings, place)


def _require_excluded(
    place: Place, entries: list[Excluded], seqs: tuple[int, int] | None, settings: Settings
) -> None:
    known = {entry.range[0] for entry in entries if entry.range is not None}
    told = ", ".join(map(str, sorted(known)))
    if entries[0].producer == settings.registrar:
        raise Rejected(
            f"{_shown(place)} is the registrar's own, which decides what counts and cannot be "
            "decided of. Nothing needs to be done: the event does not count as it is"
        )
    if seqs is None or not set(range(seqs[0], seqs[1] + 1)) <= known:
        raise Rejected(
            f"{_shown(place)}: other events of this record count. Name those that do not with "
            f"--seq: {told}"
        )


# Reading and printing --------------------------------------------------------------------------


async def _with_snapshot(settings: Settings, ask: Callable[[Any], Awaitable[Answer]]) -> Answer:
    with transient_as_unavailable():
        connection = await connect(postgres_dsn(settings))
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await ask(connection)
        finally:
            await connection.close()


def _reader(settings: Settings) -> Any:
    return open_reader(kafka_bootstrap(settings), SEGMENTS.name, security=settings.kafka_security)


async def _read(settings: Settings, place: Place) -> LogRecord:
    async with _reader(settings) as reader:
        records: list[LogRecord] = await reader.read([place])
        return records[0]


def _header(record: LogRecord) -> Header | None:
    try:
        return parse(record.value).header
    except (SegmentRejected, Held):
        return None  # What is wrong with it is told as the reason.


def _wanted(given: dict[str, Any]) -> Wanted:
    return Wanted(producer=given["producer"], reason=given["reason"], days_min=given["older_than"])


def _seqs(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _SEQS.fullmatch(text)
    if found is not None:
        first, last = int(found[1]), int(found[2] or found[1])
        if WHOLE[0] < first <= last < first + PAGE_MAX:
            return first, last
    raise Misconfigured([f"--seq {text}: wanted a seq of an event, or a range such as 17-20"])


def _cursor(text: str) -> Any:
    try:
        return parse_cursor(text)
    except Unwanted as error:
        raise Misconfigured([f"--after: wanted {error}"]) from error


def _line(entry: Excluded) -> str:
    place = "?" if entry.partition is None else f"{entry.partition}:{entry.offset}"
    since = "?" if entry.since is None else f"{entry.since:%Y-%m-%d}"
    who = "?" if entry.producer is None else f"{entry.producer}/{entry.epoch}"
    return (
        f"{place:<12} {since} {entry.age_days or 0:>5} d  {entry.scope:<6} "
        f"{who} {_range(entry.range)}  {entry.reason}"
    )


def _discard_line(one: Discard) -> str:
    what = "all of it" if one.range is None else f"seq {_range(one.range)}"
    place = f"{one.partition}:{one.offset}"
    return f"{place:<12} {one.since:%Y-%m-%d}  {what}  by {one.by}: {one.reason}"


def _range(seqs: tuple[int, int] | None) -> str:
    if seqs is None:
        return "?"
    return str(seqs[0]) if seqs[0] == seqs[1] else f"{seqs[0]}-{seqs[1]}"


def _shown(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def _tell_following(following: str | None) -> None:
    if following is not None:
        click.echo(f"more: --after {following}")


def _print_json(answer: object) -> None:
    click.echo(msgspec.json.encode(answer).decode())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
