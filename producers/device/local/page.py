"""The operator's page: one screen that says whether all is well and what to do now.

Bahasa Indonesia, English beside it in small print. No script, nothing fetched from elsewhere;
colours never say anything that words do not. Pure: the same standing gives the same page.
"""

from base64 import b64encode
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from html import escape
from typing import Final

from producers.device.local.advice import Advice, Severity, advices, number
from producers.device.local.standing import DAY_MS, RouteStanding, Standing
from rekam.domain.errors import ServerDatesWrong

REFRESH_SECONDS: Final = 10
SALVAGES_SHOWN_MAX: Final = 3

STATES: Final[dict[Severity, tuple[str, str]]] = {
    "good": ("AMAN", "all is well"),
    "watch": ("PERLU PERHATIAN", "needs attention"),
    "act": ("SEGERA BERTINDAK", "act now"),
}

ROUTES: Final = {
    "kafka": ("langsung ke server", "straight to the server"),
    "gateway": ("lewat gerbang", "by a gateway"),
    "relay": ("lewat kantor kecamatan", "by the relay of the kecamatan"),
    "usb": ("lewat USB", "by USB"),
}

MONTHS: Final = (
    "Januari",
    "Februari",
    "Maret",
    "April",
    "Mei",
    "Juni",
    "Juli",
    "Agustus",
    "September",
    "Oktober",
    "November",
    "Desember",
)

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

STYLE: Final = """
body { margin: 0; background: #fff; color: #111; font: 18px/1.35 Arial, Helvetica, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 0 16px 16px; }
header { max-width: 960px; margin: 0 auto; padding: 10px 16px; color: #444; font-size: 15px; }
header b { color: #111; }
section.state { padding: 14px 22px 16px; border-radius: 6px; }
.good { background: #176b32; color: #fff; }
.watch { background: #ffd02e; color: #111; }
.act { background: #ab1a10; color: #fff; }
h1 { margin: 0; font-size: 44px; line-height: 1.1; letter-spacing: 1px; }
h1 small { font-size: 17px; font-weight: normal; letter-spacing: 0; white-space: nowrap; }
h2 { margin: 14px 0 0; font-size: 15px; font-weight: bold; }
h2 small { font-weight: normal; color: #555; }
section.state p { margin: 2px 0 0; font-size: 25px; }
section.state p + small { display: block; margin-top: 6px; font-size: 15px; }
table { width: 100%; border-collapse: collapse; margin-top: 10px; }
th, td { padding: 6px 6px 5px; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid #bbb; }
th { width: 34%; font-weight: normal; color: #333; }
td b { font-size: 21px; }
th small, td small, li small { display: block; color: #555; font-size: 14px; }
ul { margin: 6px 0 0; padding-left: 24px; }
li { margin-bottom: 6px; }
footer { margin-top: 12px; color: #555; font-size: 14px; }
@media (max-width: 500px) {
  h1 { font-size: 31px; }
  h1 small { display: block; }
  section.state { padding: 12px 14px 14px; }
  section.state p { font-size: 20px; }
  main, header { padding-left: 8px; padding-right: 8px; }
  th, td { padding: 6px 4px; }
  td b { font-size: 19px; }
}
"""

_STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
_POLICY: Final = (
    "default-src 'none'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    f"form-action 'none'; style-src 'sha256-{_STYLE_HASH}'"
)
PAGE_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
)


def page(standing: Standing, *, zone: tzinfo | None = None) -> str:
    """Return the page in HTML. Times are shown in `zone`; without one, in the machine's own."""
    first, *others = advices(standing)
    word, english = STATES[first.severity]
    rows = "".join(
        f'<tr><th scope="row">{name}<small lang="en">{told}</small></th><td>{value}</td></tr>\n'
        for name, told, value in (
            ("Tersimpan", "saved", _saved(standing)),
            ("Menunggu dikirim", "waiting", _waiting(standing)),
            ("Tanda terima terakhir", "last receipt", _receipt(standing, zone)),
            ("Rute", "route", _route(standing)),
            ("Penyimpanan", "disk", _disk(standing)),
            ("Jam alat", "clock", _clock(standing, zone)),
            *_damage(standing, zone),
        )
    )
    return f"""<!DOCTYPE html>
<html lang="id">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}">
<title>{word} - {escape(standing.producer)} - Rekam</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>Rekam · alat <b>{escape(standing.producer)}</b></header>
<main>
<section class="state {first.severity}">
<h1>{word} <small lang="en">{english}</small></h1>
<h2>Apa yang harus dilakukan sekarang</h2>
<p>{escape(first.indonesian)}</p>
<small lang="en">{escape(first.english)}</small>
</section>
<table>
{rows}</table>
{_others(others)}<footer>Halaman ini memperbarui diri setiap {REFRESH_SECONDS} detik.
<span lang="en">Refreshes itself.</span></footer>
</main>
</body>
</html>
"""


def _others(others: list[Advice]) -> str:
    if not others:
        return ""
    items = "".join(
        f'<li>{escape(one.indonesian)}<small lang="en">{escape(one.english)}</small></li>\n'
        for one in others
    )
    return (
        '<h2>Yang lain juga perlu diketahui <small lang="en">also good to know</small></h2>\n'
        f"<ul>\n{items}</ul>\n"
    )


def _cell(value: str, told: str = "") -> str:
    small = f"<small>{told}</small>" if told else ""
    return f"<b>{value}</b>{small}"


def _english(text: str) -> str:
    return f'<span lang="en">{text}</span>'


def _saved(standing: Standing) -> str:
    return _cell(
        f"{number(standing.recorded_events)} data",
        f"{number(standing.committed_events)} sudah bertanda terima · {_english('have a receipt')}",
    )


def _waiting(standing: Standing) -> str:
    if not standing.queue_events:
        return _cell("tidak ada", _english("nothing waits"))
    told = _english("not sent yet")
    if standing.waiting_ms is not None:
        told = f"tertua: {_ago(standing.waiting_ms)} · {_english('oldest')}"
    return _cell(f"{number(standing.queue_events)} data", told)


def _receipt(standing: Standing, zone: tzinfo | None) -> str:
    if standing.last_receipt_ms is None:
        return _cell("belum ada", _english("none yet"))
    # Both are of the log's clock: the device's own may be wrong by years.
    now_ms = standing.wall_ms + (standing.clock_offset_ms or 0)
    told = _moment(standing.last_receipt_ms, zone)
    if standing.is_clock_wrong and standing.clock_offset_ms is None:
        return _cell(told)
    return _cell(_ago(max(0, now_ms - standing.last_receipt_ms)), told)


def _route(standing: Standing) -> str:
    if standing.emitter_pid is None:
        return _cell("pengirim mati", _english("nothing is sending"))
    if not standing.routes:
        return _cell("belum diketahui", _english("not known yet"))
    working = [route for route in standing.routes if route.is_working]
    rest = [route for route in standing.routes if not route.is_working]
    lines = [_route_line(route) for route in (*working, *rest)]
    return _cell(*lines[0]) + "".join(f"<small>{head} · {told}</small>" for head, told in lines[1:])


def _route_line(route: RouteStanding) -> tuple[str, str]:
    name, english = ROUTES.get(route.label, (escape(route.label), escape(route.label)))
    if route.problem == ServerDatesWrong.code:
        return (
            f"{name}: jam alat atau sertifikat server salah",
            _english(f"{english}: this device's clock or the server's certificate is wrong"),
        )
    match route.is_working:
        case True:
            return f"{name}: tersambung", _english(f"{english}: works")
        case False:
            return f"{name}: terputus", _english(f"{english}: away, tried again by itself")
        case None:
            return f"{name}: belum dicoba", _english(f"{english}: not tried yet")


def _disk(standing: Standing) -> str:
    free = f"{standing.disk_free_bytes / 1024**3:.1f}".replace(".", ",")
    return _cell(
        f"terisi {standing.disk_percent} %",
        f"sisa {free} GiB di alat ini · {_english('free on this device')}",
    )


def _damage(standing: Standing, zone: tzinfo | None) -> list[tuple[str, str, str]]:
    """Return the row that is there only when the disk has damaged something."""
    if not standing.damaged_events and not standing.salvages:
        return []
    lines = [
        f"<small>{_moment(one.wall_ms, zone)}: {number(one.segment_events + one.lines)} "
        f"diselamatkan, {number(one.broken_rows)} tidak terbaca · "
        f"{_english('saved, parts not readable')}</small>"
        for one in standing.salvages[-SALVAGES_SHOWN_MAX:]
    ]
    told = f"{number(standing.damaged_segments)} paket · {_english('packets')}"
    cell = _cell(f"{number(standing.damaged_events)} data", told) + "".join(lines)
    return [("Rusak", "damaged", cell)]


def _clock(standing: Standing, zone: tzinfo | None) -> str:
    shown = _moment(standing.wall_ms, zone)
    offset_ms = standing.clock_offset_ms
    if offset_ms is None:
        told = (
            ("salah", "wrong") if standing.is_clock_wrong else ("belum dicocokkan", "not compared")
        )
        return _cell(shown, f"{told[0]} · {_english(told[1])}")
    if not standing.is_clock_wrong:
        return _cell(shown, f"cocok · {_english('right')}")
    side = ("terlambat", "slow") if offset_ms > 0 else ("terlalu cepat", "fast")
    return _cell(shown, f"{side[0]} {_span(abs(offset_ms))} · {_english(side[1])}")


def _ago(span_ms: int) -> str:
    return "baru saja" if span_ms < MINUTE_MS else f"{_span(span_ms)} yang lalu"


def _span(span_ms: int) -> str:
    if span_ms >= 2 * DAY_MS:
        return f"{number(span_ms // DAY_MS)} hari"
    if span_ms >= 2 * HOUR_MS:
        return f"{span_ms // HOUR_MS} jam"
    return f"{max(1, span_ms // MINUTE_MS)} menit"


def _moment(ms: int, zone: tzinfo | None) -> str:
    try:
        when = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone)
    except (OverflowError, ValueError):
        return "di luar kalender"
    return f"{when.day} {MONTHS[when.month - 1]} {when.year} {when:%H.%M} {when:%Z}"
