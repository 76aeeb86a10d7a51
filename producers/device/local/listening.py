"""Where the local endpoint listens: a Unix socket or a loopback port, and nowhere else."""

import os
import socket
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from rekam.domain.errors import Misconfigured

SOCKET_PATH_BYTES_MAX: Final = 107
"""What the kernel takes (sun_path), without its closing zero."""

OWNER_ALONE: Final = 0o600
OWNER_AND_GROUP: Final = 0o660
BACKLOG: Final = 64
WANTED: Final = "wanted unix:PATH or 127.0.0.1:PORT"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """JSON lines on a socket file, for its owner and perhaps a group."""

    path: Path
    group: str | None = None


@dataclass(frozen=True, slots=True)
class LoopbackAddress:
    """HTTP on a port that this machine alone can reach."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """Return `host:port` as URLs write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = UnixAddress | LoopbackAddress


def parse_address(text: str, *, group: str | None = None) -> Address:
    """Read the value of `--listen`; `group` may use a Unix socket too.

    Raises Misconfigured for anything that other machines could reach.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        return _unix(rest, group)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):  # noqa: PLR2004 - TCP
        raise Misconfigured([f"--listen={text}: no port 1..65535; {WANTED}"])
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError as error:
        # A name could resolve to anything, and to something else tomorrow.
        raise Misconfigured([f"--listen={text}: no numeric address; {WANTED}"]) from error
    if not is_loopback:
        raise Misconfigured(
            [f"--listen={text}: other machines could reach it, and it asks no password; {WANTED}"]
        )
    return LoopbackAddress(host, int(port))


def _unix(text: str, group: str | None) -> UnixAddress:
    if not text:
        raise Misconfigured([f"--listen=unix: names no path; {WANTED}"])
    path = Path(text).absolute()
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise Misconfigured(
            [
                (
                    f"--listen=unix:…: the path has {len(os.fsencode(path))} bytes; the kernel "
                    f"takes {SOCKET_PATH_BYTES_MAX}. Choose a shorter one, such as /run/rekam.sock"
                )
            ]
        )
    return UnixAddress(path, group)


def bind(address: Address) -> socket.socket:
    """Return a listening socket. Raises Misconfigured when the address cannot be had.

    A socket file that nobody listens on any more is replaced, anything else of that name is not.
    """
    match address:
        case UnixAddress():
            return _bind_unix(address)
        case LoopbackAddress(host, port):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.socket(family, socket.SOCK_STREAM)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((host, port))
                listening.listen(BACKLOG)
            except OSError as error:
                listening.close()
                raise Misconfigured(
                    [f"--listen={address.authority}: {error.strerror}; choose another port"]
                ) from error
            return listening


def _bind_unix(address: UnixAddress) -> socket.socket:
    path = address.path
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        # Nobody can connect before `listen`, so nobody gets in by the umask's wider mode.
        path.chmod(OWNER_ALONE)
        if address.group is not None:
            _give_to_group(path, address.group)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Misconfigured(
            [f"--listen=unix:{path}: {error.strerror}; name a path in a folder you may write"]
        ) from error
    except Misconfigured:
        listening.close()
        path.unlink()
        raise
    return listening


def _give_to_group(path: Path, group: str) -> None:
    import grp  # POSIX alone has it, like the socket itself

    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(OWNER_AND_GROUP)
    except KeyError as error:
        raise Misconfigured([f"--listen-group={group}: this machine has no such group"]) from error
    except PermissionError as error:
        raise Misconfigured(
            [f"--listen-group={group}: only its members and root may give files to it"]
        ) from error


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # There is none, or `bind` will say what is wrong.
    if not stat.S_ISSOCK(mode):
        raise Misconfigured([f"--listen=unix:{path}: a file of that name exists; name another"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise Misconfigured(
                [f"--listen=unix:{path}: {error.strerror}; remove it, or name another path"]
            ) from error
    raise Misconfigured(
        [f"--listen=unix:{path}: another process listens there; end it, or name another path"]
    )


def release(address: Address) -> None:
    """Remove a socket file when its listening has ended; safe to call twice."""
    if isinstance(address, UnixAddress):
        address.path.unlink(missing_ok=True)
