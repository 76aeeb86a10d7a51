"""The operator's page: words for every colour, nothing from elsewhere, nothing unescaped."""

import re
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from producers.device.local.page import PAGE_HEADERS, STYLE, page
from producers.device.local.standing import DAY_MS, RouteStanding, Standing
from producers.device.salvage import Salvage
from tests.support.standing import HOUR_MS, NOW_MS, WELL

MAKASSAR = ZoneInfo("Asia/Makassar")
FULL = replace(WELL, is_disk_full=True, disk_percent=97)
UNWELL = replace(
    WELL,
    queue_events=1_087,
    oldest_unsent_ms=NOW_MS - 5 * HOUR_MS,
    clock_offset_ms=3 * 365 * DAY_MS,
    routes=(
        RouteStanding(label="gateway", is_working=False),
        RouteStanding(label="relay", is_working=True),
    ),
)

VOID = {"meta", "link", "br"}


class Elements(HTMLParser):
    """Checks that elements are closed in order; collects attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.text += data


def read(standing: Standing) -> Elements:
    elements = Elements()
    elements.feed(page(standing, zone=MAKASSAR))
    elements.close()
    assert elements.stack == []
    return elements


def test_a_server_that_is_refused_for_its_dates_is_not_merely_away() -> None:
    routes = (RouteStanding(label="gateway", is_working=False, problem="certificate_dates"),)
    told = read(replace(WELL, routes=routes)).text
    assert "lewat gerbang: jam alat atau sertifikat server salah" in told
    assert "this device's clock or the server's certificate is wrong" in told
    assert "terputus" not in told


@pytest.mark.parametrize(
    ("standing", "colour", "word"),
    [
        (WELL, "good", "AMAN"),
        (UNWELL, "watch", "PERLU PERHATIAN"),
        (FULL, "act", "SEGERA BERTINDAK"),
    ],
)
def test_every_colour_has_its_word(standing: Standing, colour: str, word: str) -> None:
    html = page(standing, zone=MAKASSAR)
    assert f'class="state {colour}"' in html
    assert word in html


def test_the_figures_are_there_as_indonesians_write_them() -> None:
    text = read(UNWELL).text
    for words in (
        "1.234 data",
        "1.222 sudah bertanda terima",
        "1.087 data",
        "tertua: 5 jam yang lalu",
        "31 Maret 2018 11.50 WITA",
        "lewat kantor kecamatan: tersambung",
        "lewat gerbang: terputus",
        "terisi 3 %",
        "sisa 31,7 GiB",
        "31 Maret 2018 12.00 WITA",
        "terlambat 1.095 hari",
    ):
        assert words in text


def test_damage_has_a_row_of_its_own_when_there_is_any() -> None:
    mended = Salvage(
        wall_ms=NOW_MS - DAY_MS, segments=3, segment_events=1_200, lines=60, broken_rows=2
    )
    standing = replace(WELL, damaged_events=500, damaged_segments=1, salvages=(mended,))
    text = read(standing).text
    assert "500 data" in text
    assert "1 paket" in text
    assert "30 Maret 2018 12.00 WITA: 1.260 diselamatkan, 2 tidak terbaca" in text
    assert "Rusak" not in read(WELL).text


def test_saved_and_committed_are_those_of_all_epochs() -> None:
    standing = replace(WELL, epoch=3, next_seq=5, recorded_events=70_004, committed_events=70_001)
    text = read(standing).text
    assert "70.004 data" in text
    assert "70.001 sudah bertanda terima" in text


def test_it_refreshes_itself_without_a_script() -> None:
    elements = read(WELL)
    assert ("http-equiv", "refresh") in elements.attributes
    assert "script" not in elements.tags
    assert not [name for name, _ in elements.attributes if name.startswith("on")]


def test_it_loads_nothing_from_elsewhere() -> None:
    links = [value for name, value in read(UNWELL).attributes if name in {"src", "href"}]
    assert links == ["data:,"]
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_its_policy_allows_its_own_style_and_no_more() -> None:
    policy = dict(PAGE_HEADERS)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"style-src 'sha256-[A-Za-z0-9+/]{43}='", policy)


def test_a_label_that_is_markup_is_shown_as_text() -> None:
    standing = replace(WELL, routes=(RouteStanding(label="<script>x</script>", is_working=True),))
    assert "script" not in read(standing).tags


@pytest.mark.parametrize("ms", [-(2**53), 2**53, 0])
def test_any_clock_can_be_shown(ms: int) -> None:
    standing = replace(WELL, wall_ms=ms, last_receipt_ms=ms, oldest_unsent_ms=ms, queue_events=1)
    assert "Jam alat" in read(standing).text
