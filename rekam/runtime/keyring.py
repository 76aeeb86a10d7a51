"""The key files of an office: what opens, who is trusted, and what hides people's numbers.

    registrar_key     base64 of the registrar's public Ed25519 key: the trust root
    reader_keys/      *.pem, X25519 private keys that open segment bodies; the newest one's public
    reader.pub        half lies beside that folder, for the devices
    person_key        32 bytes in hexadecimal: the key of person tokens
    nik_key           32 bytes in hexadecimal: the key that seals NIKs in the tables
    api_token         the bearer tokens of people lookup, each on a line with its caller's name
    receipt_key       *.pem, the private Ed25519 key that signs receipts; `receipt.pub` beside it is
                      the public half, which devices must trust before they delete anything
    snapshot_key      *.pem, the private Ed25519 key that signs snapshots of lists; `snapshot.pub`
                      beside it is the public half, for whoever checks them

Secrets serve only while their owner alone can read them. Keep copies elsewhere: without its reader
key a segment can never be opened again, and without the person key nobody is found by NIK.
"""

import binascii
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from rekam.domain.errors import Misconfigured
from rekam.domain.keys import (
    NIK_KEY_BYTES,
    PERSON_KEY_BYTES,
    ReaderPrivateKey,
    ReaderPublicKey,
    SigningKey,
    VerifyKey,
    write_secret,
)
from rekam.runtime.settings import ENVIRONMENT, Settings

T = TypeVar("T")

KEY_FILE_BYTES_MAX = 4096
API_TOKEN_CHARACTERS_MIN = 32
API_TOKEN_RANDOM_BYTES = 32
CALLER_DEFAULT = "office"
"""The name of whoever has the token of a file that gives no names."""
_CALLER = re.compile(r"[a-z][a-z0-9.-]{0,31}")

_MAKE = "Run `rekam up` once, which makes missing keys, or restore the file from its copy"
_RESTORE = "Restore the file from its copy"


def load_registrar_key(settings: Settings) -> VerifyKey:
    """Return the trust root. Raises Misconfigured when its file cannot serve."""
    path = settings.registrar_key
    return _parsed(path, "registrar_key", VerifyKey.from_text, _text(path, "registrar_key"))


def load_readers(settings: Settings) -> tuple[ReaderPrivateKey, ...]:
    """Return every private reader key, in the order of file names.

    Raises Misconfigured with every fault at once, and when there is no key at all.
    """
    paths = _reader_paths(settings)
    if not paths:
        raise Misconfigured([f"{_named('reader_keys', settings.reader_keys)}: no *.pem. {_MAKE}"])
    readers: list[ReaderPrivateKey] = []
    faults: list[str] = []
    for path in paths:
        try:
            _require_private(path, "reader_keys")
            readers.append(ReaderPrivateKey.load(path))
        except Misconfigured as error:
            faults += error.faults
    if faults:
        raise Misconfigured(faults)
    return tuple(readers)


def reader_public_path(settings: Settings) -> Path:
    """Return where the newest reader's public key lies."""
    return settings.reader_keys.parent / "reader.pub"


def load_reader_public(settings: Settings) -> ReaderPublicKey:
    """Return the key to which new segments are encrypted. Raises Misconfigured."""
    path = reader_public_path(settings)
    return _parsed(path, "reader_keys", ReaderPublicKey.from_text, _text(path, "reader_keys"))


def load_person_key(settings: Settings) -> bytes:
    """Return the key of person tokens. Raises Misconfigured when its file cannot serve."""
    return _hexadecimal_key(settings.person_key, "person_key", PERSON_KEY_BYTES)


def load_nik_key(settings: Settings) -> bytes:
    """Return the key that seals NIKs. Raises Misconfigured when its file cannot serve."""
    return _hexadecimal_key(settings.nik_key, "nik_key", NIK_KEY_BYTES)


def load_api_callers(settings: Settings) -> Mapping[str, str]:
    """Return who may look people up: callers by their bearer token, at least one.

    A line holds a caller's name and token; a token alone is that of `office`. Raises
    Misconfigured when the file cannot serve.
    """
    return _parsed(
        settings.api_token, "api_token", _api_callers, _secret(settings.api_token, "api_token")
    )


def load_api_token(settings: Settings) -> str:
    """Return the first of the bearer tokens that people lookup takes. Raises Misconfigured."""
    return next(iter(load_api_callers(settings)))


def load_receipt_key(settings: Settings) -> SigningKey:
    """Return the key that signs receipts. Raises Misconfigured when its file cannot serve."""
    return _signing_key(settings.receipt_key, "receipt_key")


def receipt_public_path(settings: Settings) -> Path:
    """Return where the public half of the receipt key lies."""
    return settings.receipt_key.parent / "receipt.pub"


def load_receipt_public(settings: Settings) -> VerifyKey:
    """Return the key whose receipts devices of this office trust. Raises Misconfigured."""
    path = receipt_public_path(settings)
    return _parsed(path, "receipt_key", VerifyKey.from_text, _text(path, "receipt_key"))


def load_snapshot_key(settings: Settings) -> SigningKey:
    """Return the key that signs snapshots of lists. Raises Misconfigured when it cannot serve."""
    return _signing_key(settings.snapshot_key, "snapshot_key")


def snapshot_public_path(settings: Settings) -> Path:
    """Return where the public half of the snapshot key lies."""
    return settings.snapshot_key.parent / "snapshot.pub"


def load_snapshot_public(settings: Settings) -> VerifyKey:
    """Return the key by which this office's snapshots are checked. Raises Misconfigured."""
    path = snapshot_public_path(settings)
    return _parsed(path, "snapshot_key", VerifyKey.from_text, _text(path, "snapshot_key"))


def make_missing_keys(settings: Settings) -> None:
    """Make the office's keys that are not there yet; durable when this returns.

    Replaces nothing, so it is safe at every start. Does not make the registrar: that is a producer
    with a home of its own. For one process at a time (`rekam up` holds the folder's lock).
    """
    if not _reader_paths(settings):
        reader = ReaderPrivateKey.generate()
        reader.save(settings.reader_keys / f"{reader.id}.pem")
    public = reader_public_path(settings)
    if not public.exists():
        # Also after a crash between the two files. With several keys a person chose the newest
        # one, and only that person can say again which it is.
        readers = load_readers(settings)
        if len(readers) > 1:
            raise Misconfigured(
                [
                    (
                        f"{_named('reader_keys', public)}: missing, and {settings.reader_keys} "
                        f"holds {len(readers)} keys. Restore it: the public half of the key in use"
                    )
                ]
            )
        write_public(public, readers[0].public.to_text())
    _make_missing_pair(
        "receipt_key",
        settings.receipt_key,
        receipt_public_path(settings),
        others="every device",
    )
    _make_missing_pair(
        "snapshot_key",
        settings.snapshot_key,
        snapshot_public_path(settings),
        others="whoever checks snapshots",
    )
    for path, secret in (
        (settings.person_key, secrets.token_hex(PERSON_KEY_BYTES)),
        (settings.nik_key, secrets.token_hex(NIK_KEY_BYTES)),
        (settings.api_token, secrets.token_urlsafe(API_TOKEN_RANDOM_BYTES)),
    ):
        if not path.exists():
            write_secret(path, f"{secret}\n".encode("ascii"))


def _make_missing_pair(name: str, private: Path, public: Path, *, others: str) -> None:
    """Make a signing key and its public half, which `others` come to trust."""
    if not private.exists():
        if public.exists():
            # Others trust the public half by now: a new pair would shut them out in silence.
            raise Misconfigured(
                [
                    (
                        f"{_named(name, private)}: missing, and {public} is there. "
                        f"{_RESTORE}; or remove the public half to begin with a new pair, which "
                        f"{others} must then be told"
                    )
                ]
            )
        SigningKey.generate().save(private)
    if not public.exists():
        write_public(public, _signing_key(private, name).public.to_text())


def check_keys(settings: Settings) -> None:
    """Raise Misconfigured with every fault of the key files that are there, or do nothing."""
    faults: list[str] = []
    for path, load in (
        (settings.registrar_key, load_registrar_key),
        (settings.reader_keys, load_readers),
        (reader_public_path(settings), load_reader_public),
        (settings.person_key, load_person_key),
        (settings.nik_key, load_nik_key),
        (settings.api_token, load_api_token),
        (settings.receipt_key, load_receipt_key),
        (receipt_public_path(settings), load_receipt_public),
        (settings.snapshot_key, load_snapshot_key),
        (snapshot_public_path(settings), load_snapshot_public),
    ):
        try:
            if path.exists():
                load(settings)
        except Misconfigured as error:
            faults += error.faults
    if faults:
        raise Misconfigured(faults)


def write_public(path: Path, text: str) -> None:
    """Write a new public key file that everyone may read; durable when this returns.

    Raises FileExistsError if it is there.
    """
    write_secret(path, f"{text}\n".encode("ascii"))
    path.chmod(0o644)


def _reader_paths(settings: Settings) -> list[Path]:
    return sorted(settings.reader_keys.glob("*.pem"))


def _named(name: str, path: Path) -> str:
    return f"{ENVIRONMENT[name]}, {path}"


def _signing_key(path: Path, name: str) -> SigningKey:
    if not path.exists():
        raise Misconfigured([f"{_named(name, path)}: does not exist. {_MAKE}"])
    _require_private(path, name)
    return SigningKey.load(path)


def _secret(path: Path, name: str) -> str:
    _require_private(path, name)
    return _text(path, name)


def _require_private(path: Path, name: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # `_text` and `load` say what is wrong, better than a mode could.
    if mode & 0o077:
        raise Misconfigured(
            [f"{_named(name, path)}: others than its owner may read it. Run: chmod 600 {path}"]
        )


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(KEY_FILE_BYTES_MAX + 1)
        if len(raw) > KEY_FILE_BYTES_MAX:
            raise Misconfigured([f"{_named(name, path)}: larger than any key. {_RESTORE}"])
        return raw.decode("ascii").strip()
    except FileNotFoundError as error:
        raise Misconfigured([f"{_named(name, path)}: does not exist. {_MAKE}"]) from error
    except UnicodeDecodeError as error:
        raise Misconfigured([f"{_named(name, path)}: is not a text file. {_RESTORE}"]) from error
    except OSError as error:
        raise Misconfigured(
            [f"{_named(name, path)}: cannot be read ({error.strerror}). {_RESTORE}"]
        ) from error


def _parsed(path: Path, name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except Misconfigured as error:
        raise Misconfigured(
            [f"{_named(name, path)}: {fault}. {_RESTORE}" for fault in error.faults]
        ) from error


def _hexadecimal_key(path: Path, name: str, size: int) -> bytes:
    def parse(text: str) -> bytes:
        try:
            key = binascii.unhexlify(text)
        except (binascii.Error, ValueError) as error:
            raise Misconfigured([f"is not hexadecimal; wanted {size * 2} digits"]) from error
        if len(key) != size:
            raise Misconfigured([f"has {len(key)} bytes; wanted {size}"])
        return key

    return _parsed(path, name, parse, _secret(path, name))


def _api_callers(text: str) -> Mapping[str, str]:
    callers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines() or [""], start=1):
        match line.split():
            case [token]:
                caller = CALLER_DEFAULT
            case [caller, token]:
                pass
            case _:
                token = caller = ""
        if len(token) < API_TOKEN_CHARACTERS_MIN or not _CALLER.fullmatch(caller):
            raise Misconfigured(
                [
                    (
                        f"line {number} is no token; wanted a caller's name and a token of "
                        f"{API_TOKEN_CHARACTERS_MIN} characters or more on each line"
                    )
                ]
            )
        if token in callers or caller in callers.values():
            raise Misconfigured([f"line {number} repeats a name or a token; give each its own"])
        callers[token] = caller
    return callers
