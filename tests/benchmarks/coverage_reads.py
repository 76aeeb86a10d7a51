"""Coverage reads at a nation's size: 83 thousand desa, ten years of days, both times.

`python -m tests.benchmarks.coverage_reads [--quick] [--desa 12000]`; also a part of `make bench`.
Cells are written by the database itself, day after day as a live fold would leave them. Some
regencies are *dense*: in every desa somebody is recorded on every day. The others have a cell in
every desa about every two months. Fourteen recorders a regency are heard every tenth day, and the
ledger is long. Asked are random days, levels and regencies, one after the other, by HTTP calls of
the API in a process of its own: what a user waits for besides the network, with everything that an
answer states. Each answer of a dense regency that is checked equals the plain sum.
"""

import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode

import click
import uvloop
from rich.console import Console
from rich.table import Table

from producers.device.http_client import HttpClient
from projections.api.database import SESSION
from projections.coverage.reads import coverage
from projections.coverage.series import POINTS_MAX, Step
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULES
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.runtime.postgres import connect, migrate
from tests.benchmarks.api_server import running_api
from tests.benchmarks.machine import heap_left_alone
from tests.support.rows import noon_ms

PROVINCES: Final = 38
FIRST_DAY: Final = date(2014, 1, 1)
DAYS: Final = 3652
TODAY: Final = FIRST_DAY + timedelta(days=DAYS)
FILL_SECONDS_MAX: Final = 3600.0
WANTED_P99_MS: Final = 20.0
WARM_UPS: Final = 5
DESA_PER_REGENCY: Final = 18 * 9
LEVELS: Final = (Level.REGENCY, Level.KECAMATAN, Level.DESA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the nation is. A regency has 18 kecamatan of 9 desa."""

    regencies: int
    dense: int
    days: int
    questions: int


FULL: Final = Size(regencies=513, dense=6, days=DAYS, questions=400)
QUICK: Final = Size(regencies=8, dense=1, days=400, questions=20)

FILL: Final[Sequence[tuple[str, str]]] = (
    (
        "desa",
        """
        CREATE TABLE desa AS
        SELECT format('%s.%s.%s.%s', to_char(regency % 38 + 11, 'FM00'),
            to_char(regency / 38 + 1, 'FM00'), to_char(kecamatan, 'FM00'),
            to_char(2000 + number, 'FM0000')) AS desa, regency < $2 AS is_dense
        FROM generate_series(0, $1::int - 1) AS regency, generate_series(1, 18) AS kecamatan,
            generate_series(1, 9) AS number
        """,
    ),
    (
        "cells",
        """
        INSERT INTO coverage_cell
            (desa, occurred_on, known_on, cause, producer, mode, route, people)
        SELECT desa, $1::date + day,
            least($1::date + day + (CASE
                WHEN late < 0.7 THEN 0
                WHEN late < 0.95 THEN (late * 3000)::int % 40
                ELSE (late * 30000)::int % 400 END), $1::date + $2::int),
            'arrived', 'recorder-' || left(desa, 8), 'offline',
            (ARRAY['kafka', 'gateway', 'relay', 'usb'])[1 + (late * 1000)::int % 4],
            1 + (late * 100)::int % 4
        FROM (
            SELECT day, desa, random() AS late
            FROM generate_series(0, $2::int - 1) AS day,
                LATERAL (
                    SELECT desa FROM desa WHERE is_dense OR (hashtext(desa) + day) % 60 = 0
                ) AS of_day
        ) AS recorded
        """,
    ),
    (
        "months",
        """
        INSERT INTO coverage_month
        SELECT desa, date_trunc('month', occurred_on), date_trunc('month', known_on), sum(people)
        FROM coverage_cell GROUP BY 1, 2, 3 ORDER BY 2, 3, 1
        """,
    ),
    (
        "years",
        """
        INSERT INTO coverage_year
        SELECT desa, date_trunc('year', occurred_month), date_trunc('year', known_month),
            sum(people)
        FROM coverage_month GROUP BY 1, 2, 3 ORDER BY 2, 3, 1
        """,
    ),
    (
        "duplicates",
        """
        INSERT INTO coverage_duplicate
        SELECT desa, occurred_on, known_on, 1 FROM coverage_cell WHERE random() < 0.04
        """,
    ),
    (
        "denominators",
        """
        INSERT INTO denominator_cell
        SELECT format('DKB-%s %s', semester, left(desa, 5)), 'DKB', $1::date + semester * 182,
            $1::date + semester * 182 + 20, desa, 2500 + semester
        FROM generate_series(0, $2::int / 182) AS semester, desa
        """,
    ),
    (
        "trees",
        """
        INSERT INTO region_cell
        SELECT format('tree-%s %s', number, left(code, 5)), $1::date + number * 1000,
            $1::date + number * 1000, code, 'name of ' || code, 1
        FROM generate_series(0, 2) AS number, (
            SELECT desa AS code FROM desa
            UNION SELECT left(desa, 8) FROM desa
            UNION SELECT left(desa, 5) FROM desa
        ) AS every
        """,
    ),
    (
        "re-codings",
        """
        INSERT INTO recode_cell
        SELECT format('tree-1 %s', left(desa, 5)), $1::date + 1000, $1::date + 1000, desa,
            left(desa, 9) || '1' || right(desa, 3), 1
        FROM desa WHERE desa LIKE '%.05.2003'
        """,
    ),
    (
        "service",
        """
        INSERT INTO producer_service
        SELECT format('recorder-%s-%s', regency, number), $1::date - 1, 'infinity', $1::date
        FROM (SELECT DISTINCT left(desa, 5) AS regency FROM desa) AS every,
            generate_series(1, 14) AS number
        """,
    ),
    (
        "contacts",
        """
        INSERT INTO producer_contact
        SELECT producer, known_on,
            lead(known_on, 1, 'infinity') OVER (PARTITION BY producer ORDER BY known_on),
            extract(epoch FROM known_on) * 1000 + 1 + (random() * 40000000)::int
        FROM (
            SELECT producer, $1::date + day AS known_on
            FROM producer_service, generate_series(0, $2::int - 1) AS day
            WHERE day = 0 OR (hashtext(producer) + day) % 10 = 0
        ) AS heard ORDER BY known_on, producer
        """,
    ),
    (
        "ledger",
        """
        INSERT INTO ledger_segment
        SELECT producer, 1, 500 * (known_on - $1::date) + 1, '\\x00',
            500 * (known_on - $1::date) + 500, '\\x00', 0, row_number() OVER (), contact_ms,
            contact_ms, '{}', '\\x00', 'kafka'
        FROM producer_contact ORDER BY known_on LIMIT 600000
        """,
    ),
    (
        "publications",
        """
        INSERT INTO publication_cell
        SELECT kind, left(code, 5), valid_from, version, basis, known_on, count(*)
        FROM (
            SELECT 'denominator' AS kind, desa AS code, valid_from, version, basis, known_on
            FROM denominator_cell
            UNION ALL
            SELECT 'tree', code, valid_from, version, '', known_on FROM region_cell
        ) AS every GROUP BY 1, 2, 3, 4, 5, 6
        """,
    ),
)
PLAIN_SUM: Final = """
    SELECT sum(people)::bigint FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND occurred_on <= $3 AND known_on <= $4
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """How long one kind of question took, in ms."""

    title: str
    times_ms: Sequence[float]

    def at(self, share: float) -> float:
        """Return a quantile."""
        ranked = sorted(self.times_ms)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


async def fill(connection: Any, size: Size) -> None:
    """Write the nation's cells."""
    for title, query in FILL:
        started = time.perf_counter()
        arguments: tuple[object, ...] = (FIRST_DAY, size.days)
        if title == "desa":
            arguments = (size.regencies, size.dense)
        await connection.execute(query, *arguments[: _parameters(query)], timeout=FILL_SECONDS_MAX)
        click.echo(f"filled: {title}, {time.perf_counter() - started:.1f} s", err=True)
    await connection.execute("VACUUM ANALYZE", timeout=FILL_SECONDS_MAX)


def _parameters(query: str) -> int:
    return sum(f"${number}" in query for number in (1, 2))


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks about random places and days; the same ones in every run."""

    connection: Any
    http: HttpClient
    days: int
    choose: random.Random

    def day(self) -> date:
        """Return one of the days."""
        return FIRST_DAY + timedelta(days=self.choose.randrange(self.days))

    async def call(self, path: str, **arguments: object) -> None:
        """Ask the API. Raises AssertionError when it does not answer."""
        query = urlencode({name.rstrip("_"): str(value) for name, value in arguments.items()})
        answer = await self.http.request("GET", f"{path}?{query}")
        if answer.status != HTTPStatus.OK:
            raise AssertionError(f"{path}?{query}: {answer.body.decode()}")

    async def coverage(self, regions: Sequence[Region], *, rule: int = 0) -> None:
        """Ask as of a day, as known at a later one, at any level."""
        as_of, known_at = sorted((self.day(), self.day()))
        region = self.choose.choice(regions)
        levels = [level for level in LEVELS if level.is_within(region.level)]
        await self.call(
            "/v1/coverage",
            region=region.code,
            level=self.choose.choice(levels),
            as_of=as_of,
            known_at=known_at,
            rule=COVERAGE_RULES[rule],
        )

    async def plain_sum(self, regions: Sequence[Region]) -> object:
        """Sum the days of a region, as would be done without months and years."""
        as_of, known_at = sorted((self.day(), self.day()))
        region = self.choose.choice(regions)
        return await self.connection.fetchval(PLAIN_SUM, *region.desa_range, as_of, known_at)

    async def series(self, regions: Sequence[Region], step: Step) -> None:
        """Ask for as many points as there may be."""
        back = {Step.MONTH: DAYS, Step.WEEK: 7 * (POINTS_MAX - 1), Step.DAY: POINTS_MAX - 1}
        await self.call(
            "/v1/coverage/series",
            region=self.choose.choice(regions).code,
            from_=max(FIRST_DAY, TODAY - timedelta(days=back[step])),
            to=TODAY,
            step=step,
        )

    async def changes(self, regions: Sequence[Region]) -> None:
        """Ask why a figure changed within 30 days."""
        known_from = self.day()
        await self.call(
            "/v1/coverage/changes",
            region=self.choose.choice(regions).code,
            as_of=self.day(),
            known_from=known_from,
            known_to=min(known_from + timedelta(days=30), TODAY),
        )

    async def check(self, regions: Sequence[Region]) -> None:
        """Compare an answer with the plain sum; no tree moves people out of these regions."""
        region, (as_of, known_at) = self.choose.choice(regions), sorted((self.day(), self.day()))
        found = await coverage(
            self.connection, region=region, level=Level.DESA, as_of=as_of, known_at=known_at
        )
        summed = await self.connection.fetchval(PLAIN_SUM, *region.desa_range, as_of, known_at)
        if found.totals.recorded != (summed or 0):
            raise AssertionError(f"{region} {as_of} {known_at}: {found.totals} is not {summed}")


async def measure(connection: Any, http: HttpClient, size: Size) -> list[Measured]:
    """Ask, and check what can be checked."""
    asker = Asker(connection, http, size.days, random.Random(7))
    rows = await connection.fetch(
        "SELECT DISTINCT left(desa, 5) AS code, is_dense FROM desa ORDER BY 1"
    )
    dense = [Region(row["code"]) for row in rows if row["is_dense"]]
    plain = [Region(row["code"]) for row in rows if not row["is_dense"]]
    kecamatan = [Region(f"{one.code}.{number:02}") for one in dense for number in range(1, 19)]
    provinces = [Region(code) for code in sorted({one.code[:2] for one in plain})]
    many, few = size.questions, max(5, size.questions // 10)
    for _ in range(few):
        await asker.check(dense)
    questions: list[tuple[str, int, Callable[[], Awaitable[object]]]] = [
        ("dense regency, both times", many, lambda: asker.coverage(dense)),
        ("… duplicates excluded", many, lambda: asker.coverage(dense, rule=1)),
        ("other regency", many, lambda: asker.coverage(plain)),
        ("dense kecamatan", many, lambda: asker.coverage(kecamatan)),
        ("province", few, lambda: asker.coverage(provinces)),
        ("dense regency, plain sum of all days", few, lambda: asker.plain_sum(dense)),
        ("series of ten years by month", few, lambda: asker.series(dense, Step.MONTH)),
        ("series of 400 weeks", few, lambda: asker.series(dense, Step.WEEK)),
        ("series of 400 days", few, lambda: asker.series(dense, Step.DAY)),
        ("changes within 30 days", few, lambda: asker.changes(dense)),
    ]
    return [await _measured(title, times, question) for title, times, question in questions]


async def _measured(title: str, times: int, question: Callable[[], Awaitable[object]]) -> Measured:
    for _ in range(WARM_UPS):  # what a server that has been up for a while has in memory
        await question()
    times_ms = []
    for _ in range(times):
        started = time.perf_counter()
        await question()
        times_ms.append((time.perf_counter() - started) * 1000)
    return Measured(title, times_ms)


@dataclass(frozen=True, slots=True)
class Reads:
    """What one run came to."""

    counts: Mapping[str, int]
    """Rows of the tables that are read."""
    measured: Sequence[Measured]

    @property
    def first(self) -> Measured:
        """Return what a wanted figure is of: a dense regency with both times."""
        return self.measured[0]


def table_of(reads: Reads) -> Table:
    """Return a table of the questions."""
    counts = ", ".join(f"{count:,} {name}" for name, count in reads.counts.items())
    table = Table(title=f"Coverage reads: {counts}", title_justify="left")
    for column in ("question", "asked", "p50 ms", "p95 ms", "p99 ms", "max ms", "wanted"):
        justify: Literal["left", "right"] = "left" if column == "question" else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for one in reads.measured:
        wanted = ""
        if one is reads.first:
            is_kept = one.at(0.99) <= WANTED_P99_MS
            wanted = f"p99 <= {WANTED_P99_MS:g}: {'reached' if is_kept else 'MISSED'}"
        quantiles = [f"{one.at(share):.1f}" for share in (0.5, 0.95, 0.99, 1.0)]
        table.add_row(one.title, str(len(one.times_ms)), *quantiles, wanted)
    return table


async def measure_reads(folder: Path, size: Size) -> Reads:
    """Fill a nation in a server of its own, and ask."""
    async with EmbeddedPostgres(state_dir=folder) as server:
        await server.create_database("nation")
        await migrate(server.dsn("nation"), "projections.migrations")
        connection = await connect(server.dsn("nation"))
        for name, value in SESSION.items():
            await connection.execute("SELECT set_config($1, $2, false)", name, value)
        try:
            await fill(connection, size)
            counts = {
                "desa": await connection.fetchval("SELECT count(*) FROM desa"),
                "cells": await connection.fetchval("SELECT count(*) FROM coverage_cell"),
                "months": await connection.fetchval("SELECT count(*) FROM coverage_month"),
                "contacts": await connection.fetchval("SELECT count(*) FROM producer_contact"),
                "wajib": await connection.fetchval("SELECT count(*) FROM denominator_cell"),
            }
            async with running_api(server.dsn("nation"), now_ms=noon_ms(TODAY)) as http:
                with heap_left_alone():
                    return Reads(counts, await measure(connection, http, size))
        finally:
            await connection.close()


@click.command()
@click.option("--quick", is_flag=True, help="A small run that shows that all of it works.")
@click.option("--desa", type=click.IntRange(min=2 * DESA_PER_REGENCY), help="About so many.")
def main(*, quick: bool, desa: int | None) -> None:
    """Measure coverage reads."""
    size = QUICK if quick else FULL
    if desa is not None:
        regencies = desa // DESA_PER_REGENCY
        size = replace(size, regencies=regencies, dense=min(size.dense, regencies - 1))
    with tempfile.TemporaryDirectory(prefix="rekam-coverage-") as folder:
        reads = uvloop.run(measure_reads(Path(folder), size))
    Console(width=120).print(table_of(reads))


if __name__ == "__main__":
    main()
