"""The final figures of the demo: a JSON line for programs, or words in two languages for people."""

import asyncio
import http.client
import time
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from rekam.cli.standing import Observer
from rekam.domain.errors import Unavailable

REGION: Final = "64.08"
AS_OF: Final = date(2018, 3, 31)
"""The day of the regency's published figures."""

Answer = TypeVar("Answer", bound=msgspec.Struct)

ANSWER_SECONDS_MAX = 10.0
READY_SECONDS_MAX = 60.0
ASK_AGAIN_SECONDS = 0.3


class Totals(msgspec.Struct, frozen=True):
    """What a coverage answer says of a whole region; None where nobody published a denominator."""

    wajib: int | None
    recorded: int
    unrecorded: int | None
    date_unknown: int
    percent: float | None


class Cohort(msgspec.Struct, frozen=True):
    """A list; its buckets, the residual among them, sum to it."""

    cohort: str
    total: int
    buckets: dict[str, int]
    residual: int


class _Coverage(msgspec.Struct, frozen=True):
    totals: Totals


class _Cohorts(msgspec.Struct, frozen=True):
    cohorts: list[Cohort]


class _Excluded(msgspec.Struct, frozen=True):
    total: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the demo promises, in the order in which it is printed."""

    wajib: int | None
    recorded: int
    unrecorded: int | None
    percent: float | None
    date_unknown: int
    events: int
    segments: int
    duplicates: int
    held: int
    quarantined: int
    gaps: int
    cohorts: list[Cohort]
    seconds: float
    replay_equal: bool | None = None


@dataclass(frozen=True, slots=True)
class ReadApi:
    """The read API of this machine, asked with the standard library alone."""

    port: int

    @property
    def url(self) -> str:
        """Return its address for people."""
        return f"http://127.0.0.1:{self.port}"

    async def wait_until_ready(self) -> None:
        """Return when it answers. Raises Unavailable after a deadline."""
        await self._answer("/healthz")

    async def ask(self, path: str, answer: type[Answer]) -> Answer:
        """Return a call's answer. Raises Unavailable when none as wanted comes in time."""
        return msgspec.json.decode(await self._answer(path), type=answer)

    async def _answer(self, path: str) -> bytes:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                status, body = await asyncio.to_thread(self._get, path)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if status == http.HTTPStatus.OK:
                    return body
                problem = f"{status} {body[:500].decode('utf-8', 'replace')}"
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.url}{path} does not answer as it should: {problem}")
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def coverage_path(*, region: str = REGION, level: str = "regency", as_of: date = AS_OF) -> str:
    """Return the address of a coverage answer on the read API."""
    query = urlencode({"region": region, "level": level, "as_of": as_of.isoformat()})
    return f"/v1/coverage?{query}"


async def collect(api: ReadApi, observer: Observer, *, seconds: float) -> Figures:
    """Return the figures of the demo, which took `seconds` to drain. Raises Unavailable."""
    totals = (await api.ask(coverage_path(), _Coverage)).totals
    ledger = await observer.ledger()
    return Figures(
        wajib=totals.wajib,
        recorded=totals.recorded,
        unrecorded=totals.unrecorded,
        percent=totals.percent,
        date_unknown=totals.date_unknown,
        events=ledger.events,
        segments=ledger.segments,
        duplicates=ledger.duplicates,
        held=(await api.ask("/v1/held?limit=1", _Excluded)).total,
        quarantined=(await api.ask("/v1/quarantine?limit=1", _Excluded)).total,
        gaps=ledger.gaps,
        cohorts=(await api.ask("/v1/cohorts", _Cohorts)).cohorts,
        seconds=round(seconds, 1),
    )


def in_words(figures: Figures) -> str:
    """Return the figures in Bahasa Indonesia with English beside."""
    lines = [
        ("Wajib KTP", "must hold a card", grouped(figures.wajib)),
        ("Sudah rekam", "recorded", grouped(figures.recorded)),
        ("Belum rekam", "not yet recorded", grouped(figures.unrecorded)),
        ("Cakupan", "coverage", _percent(figures.percent)),
        ("Tanggal tidak diketahui", "date unknown", grouped(figures.date_unknown)),
        ("Peristiwa", "events", grouped(figures.events)),
        ("Segmen", "segments", grouped(figures.segments)),
        ("Kiriman ganda", "duplicates", grouped(figures.duplicates)),
        ("Ditahan", "held", grouped(figures.held)),
        ("Dikarantina", "quarantined", grouped(figures.quarantined)),
        ("Belum tiba", "gaps", grouped(figures.gaps)),
    ]
    for cohort in figures.cohorts:
        lines.append((f"Daftar {cohort.cohort}", "list", grouped(cohort.total)))
        lines += [
            ("", f"{cohort.cohort}: {bucket}", grouped(entries))
            for bucket, entries in cohort.buckets.items()
        ]
    labels = [f"{ours} / {english}" if ours else f"  {english}" for ours, english, _ in lines]
    width = max(map(len, labels))
    return "\n".join(
        f"{label:<{width}}  {value:>12}" for label, (_, _, value) in zip(labels, lines, strict=True)
    )


def grouped(number: int | None) -> str:
    """Return a number as Indonesians write it: 221.314."""
    return "-" if number is None else f"{number:,}".replace(",", ".")


def _percent(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:.2f} %".replace(".", ",")
