"""The route that a log record tells in its header: of a known word, or nothing."""

from typing import get_args

import pytest

from rekam.domain.log import (
    ROUTE_HEADER,
    ROUTE_UNTOLD,
    ArrivalRoute,
    route_headers,
    route_told,
)


@pytest.mark.parametrize("route", get_args(ArrivalRoute))
def test_what_an_appender_writes_is_what_a_reader_is_told(route: ArrivalRoute) -> None:
    assert route_told(route_headers(route)) == route


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("source", b"usb")],
        [("Rekam-Route", b"usb")],
        [(ROUTE_HEADER, None)],
        [(ROUTE_HEADER, b"")],
        [(ROUTE_HEADER, b"USB")],
        [(ROUTE_HEADER, b"\xff\x00")],
        [(ROUTE_HEADER, b"usb" * 100_000)],
    ],
)
def test_without_a_known_word_nothing_is_told(headers: list[tuple[str, bytes | None]]) -> None:
    assert route_told(headers) == ROUTE_UNTOLD


def test_of_several_headers_the_first_one_is_told() -> None:
    assert route_told([("a", b"b"), (ROUTE_HEADER, b"usb"), (ROUTE_HEADER, b"kafka")]) == "usb"
    assert route_told([(ROUTE_HEADER, b"?"), (ROUTE_HEADER, b"kafka")]) == ROUTE_UNTOLD
