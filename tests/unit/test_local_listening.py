"""Where the local endpoint may listen: nowhere that another machine or user can reach."""

import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from producers.device.local.listening import (
    LoopbackAddress,
    UnixAddress,
    bind,
    parse_address,
    release,
)
from rekam.domain.errors import Misconfigured
from tests.support.machine import free_port


def test_addresses_are_read() -> None:
    assert parse_address("unix:/run/rekam.sock") == UnixAddress(Path("/run/rekam.sock"))
    assert parse_address("127.0.0.1:8090") == LoopbackAddress("127.0.0.1", 8090)
    assert parse_address("[::1]:8090") == LoopbackAddress("::1", 8090)
    assert LoopbackAddress("::1", 8090).authority == "[::1]:8090"


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:8090",
        "[::]:8090",
        "192.168.1.4:8090",
        "localhost:8090",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:٨",
        ":8090",
        "8090",
        "unix:",
        "unix:/" + "a" * 107,
        "",
    ],
)
def test_what_is_no_local_address_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(Misconfigured, match="--listen"):
        parse_address(text)


def test_a_socket_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "rekam.sock")
    before = os.umask(0)
    try:
        with bind(address):
            assert stat.S_IMODE(address.path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_group_may_be_let_in(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getgid())
    with bind(UnixAddress(tmp_path / "rekam.sock", group.gr_name)):
        found = (tmp_path / "rekam.sock").stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == group.gr_gid


def test_a_group_that_is_none_leaves_no_socket_behind(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such group"):
        bind(UnixAddress(tmp_path / "rekam.sock", "no-group-of-this-name"))
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "rekam.sock")
    bind(address).close()
    assert address.path.is_socket()
    bind(address).close()
    release(address)
    assert not address.path.exists()
    release(address)


def test_a_socket_that_is_in_use_is_left_to_its_process(tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "rekam.sock")
    with bind(address), pytest.raises(Misconfigured, match="another process"):
        bind(address)
    assert address.path.exists()


def test_a_file_of_that_name_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "rekam.sock"
    path.write_text("something else")
    with pytest.raises(Misconfigured, match="name another"):
        bind(UnixAddress(path))
    assert path.read_text() == "something else"


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(Misconfigured, match=str(port)):
            bind(LoopbackAddress("127.0.0.1", port))
