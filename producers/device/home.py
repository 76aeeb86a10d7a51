"""A producer's home: the folder with its outbox, its signing key, and who it is.

    outbox.db  outbox.ballast  signing.pem  producer.json  receipts.pub  emitter.lock  users.lock

Made whole or not at all. It belongs to one producer on one machine: a copy that also sends is a
fork of its log. A damaged outbox is mended when the home is opened (salvage.py).
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec

from producers.device.clock import Clock, DeviceClock, Reading
from producers.device.files import Sharing, emitter_pid, replace_file, sole_emitter, sync_folder
from producers.device.outbox import Outbox
from producers.device.outbox_file import (
    BALLAST_BYTES,
    DEFAULT_STORAGE,
    OUTBOX_BYTES_MAX,
    OUTBOX_BYTES_MIN,
    Storage,
    require_budget,
    require_lasting,
)
from producers.device.salvage import Salvage, is_missing, open_or_mend, salvages
from rekam.domain.errors import Corrupt, Misconfigured, Overloaded, Unavailable
from rekam.domain.events import EpochNumber, EpochOpened, Event, ProducerKind, encode
from rekam.domain.ids import Epoch, KeyId, ProducerId
from rekam.domain.keys import ReaderPublicKey, SigningKey, VerifyKey, write_secret
from rekam.domain.receipt import Receipt, ReceiptRejected, open_receipt
from rekam.domain.segment import ProducerText

_OUTBOX: Final = "outbox.db"
_KEY: Final = "signing.pem"
_CARD: Final = "producer.json"
_LOCK: Final = "emitter.lock"
_USERS: Final = "users.lock"
_RECEIPT_KEYS: Final = "receipts.pub"
ENROLLED_AGAIN: Final = "enrolled again with a new home"
"""Why the epoch of such a home was opened; `epoch.opened` says it."""

CARD_BYTES_MAX: Final = 4096

KEEP_DAYS: Final = 30
"""How long a segment is kept after a receipt has covered it, where nothing else was said: a cluster
that is restored from an older copy is refilled by the devices."""

KEEP_DAYS_MIN: Final = 1
KEEP_DAYS_MAX: Final = 3650
RECEIPT_KEYS_MAX: Final = 16
_RECEIPT_KEYS_BYTES_MAX: Final = RECEIPT_KEYS_MAX * 64


class _Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """producer.json."""

    producer: ProducerText
    kind: ProducerKind
    epoch: EpochNumber
    reader: Annotated[str, msgspec.Meta(max_length=64)]
    ballast_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**32)] = BALLAST_BYTES
    any_file_system: bool = False
    bytes_max: Annotated[int, msgspec.Meta(ge=OUTBOX_BYTES_MIN, le=2**43)] = OUTBOX_BYTES_MAX
    keep_days: Annotated[int, msgspec.Meta(ge=KEEP_DAYS_MIN, le=KEEP_DAYS_MAX)] = KEEP_DAYS

    @property
    def storage(self) -> Storage:
        return Storage(
            bytes_max=self.bytes_max,
            ballast_bytes=self.ballast_bytes,
            any_file_system=self.any_file_system,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a home lets its outbox take."""

    bytes_max: int
    """Disk budget; the ballast lies beside it."""
    keep_days: int
    """How long a segment is kept after a receipt has covered it, while there is room."""


@dataclass(frozen=True, slots=True)
class ProducerHome:
    """An open home; a context manager that closes the outbox."""

    path: Path
    producer: ProducerId
    kind: ProducerKind
    reader: ReaderPublicKey
    signing_key: SigningKey
    outbox: Outbox
    keep_seconds: float
    """How long a segment is kept after a receipt has covered it, while there is room."""
    _sharing: Sharing

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        producer: ProducerId,
        kind: ProducerKind,
        reader: ReaderPublicKey,
        epoch: Epoch = Epoch(1),  # noqa: B008 - a NewType's call gives an int
        receipt_keys: Iterable[VerifyKey] = (),
        storage: Storage = DEFAULT_STORAGE,
        keep_days: int = KEEP_DAYS,
    ) -> Self:
        """Make a home with a fresh signing key and an empty outbox; durable when this returns.

        With an `epoch` above 1 the producer is enrolled again, and the first event says so. It must
        be above every epoch that the log knows of it: else both homes' numbers are one fork.
        `receipt_keys` are those whose receipts let the outbox prune, after `keep_days`. `storage`
        is kept with the home. Raises Misconfigured when `path` holds anything already: nothing is
        ever replaced.
        """
        path = path.absolute()
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise Misconfigured(
                [
                    (
                        f"{path} exists and is not empty; it may be a producer's home with events "
                        "in it. Name another folder"
                    )
                ]
            )
        if not storage.any_file_system:
            require_lasting(path / _OUTBOX)  # told by its own name, before there is another one
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise Misconfigured(
                [f"{path} cannot be made ({error.strerror}); name a folder you may write"]
            ) from error
        card = _Card(
            producer=producer,
            kind=kind,
            epoch=epoch,
            reader=reader.to_text(),
            ballast_bytes=storage.ballast_bytes,
            any_file_system=storage.any_file_system,
            bytes_max=storage.bytes_max,
            keep_days=keep_days,
        )
        try:
            with Outbox.create(
                making / _OUTBOX,
                producer=producer,
                epoch=epoch,
                storage=replace(card.storage, any_file_system=True),  # looked at above
            ) as outbox:
                if epoch > 1:
                    outbox.append([_opening(DeviceClock().read())])
            SigningKey.generate().save(making / _KEY)
            write_secret(making / _CARD, _card_text(card))
            if keys := list(receipt_keys):
                replace_file(making / _RECEIPT_KEYS, _receipt_keys_text(keys))
            # Replaces an empty folder and nothing else.
            making.rename(path)
        except OSError as error:
            raise Misconfigured(
                [f"{path} cannot be made ({error.strerror}); another process may have made it"]
            ) from error
        except (Misconfigured, Unavailable, Overloaded) as error:
            raise _about(path, error, making=making) from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
        sync_folder(path.parent)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, clock: Clock | None = None) -> Self:
        """Open a home, and mend its outbox if that is damaged; `clock` dates the events about it.

        Raises Misconfigured when something of it is missing or unreadable, Corrupt when its parts
        belong to different producers or the outbox is an older one, OutboxBusy when the outbox
        needs mending while others use it.
        """
        home, card = cls._open(path, clock=clock)
        found = home.epoch
        if found < card.epoch:
            home.close()
            raise Corrupt(
                f"{home.path}: {_CARD} says epoch {card.epoch}, {_OUTBOX} says {found}: it is an "
                "older copy. Run `rekam device new-epoch`, so that no number is used twice"
            )
        if found > card.epoch:
            # A crash came between the two files, or the outbox was mended just now.
            home._write_card(card)  # noqa: SLF001 - our own
        return home

    @classmethod
    def renew(cls, path: Path, *, reason: str, clock: Clock | None = None) -> Self:
        """Open a home in a new epoch: after a restore, beside a clone, or without its outbox.

        What is sealed goes on its way in the old one. Recording may go on meanwhile, in other
        processes too. Raises as `open` does, but not for an older or missing outbox.
        """
        path = path.absolute()
        card = _read_card(path)
        if is_missing(path / _OUTBOX):
            Outbox.create(
                path / _OUTBOX,
                producer=ProducerId(card.producer),
                epoch=Epoch(card.epoch),
                storage=card.storage,
            ).close()
        home, card = cls._open(path, clock=clock)
        try:
            now = (clock or DeviceClock()).read()
            home.outbox.begin_epoch(reason=reason, now=now, above=card.epoch)
            home._write_card(card)  # noqa: SLF001 - our own
        except BaseException:
            home.close()
            raise
        return home

    @classmethod
    def _open(cls, path: Path, *, clock: Clock | None) -> tuple[Self, _Card]:
        path = path.absolute()
        card = _read_card(path)
        reader = ReaderPublicKey.from_text(card.reader)
        signing_key = SigningKey.load(path / _KEY)
        sharing = Sharing(path / _USERS)
        try:
            outbox = open_or_mend(
                path / _OUTBOX,
                producer=ProducerId(card.producer),
                epoch=Epoch(card.epoch),
                key=signing_key.public,
                storage=card.storage,
                sharing=sharing,
                read_clock=(clock or DeviceClock()).read,
            )
        except BaseException:
            sharing.close()
            raise
        if outbox.producer != card.producer:
            outbox.close()
            sharing.close()
            raise Corrupt(
                f"{path}: {_CARD} says {card.producer}, {_OUTBOX} says {outbox.producer}. Restore "
                "the file that is not its own"
            )
        home = cls(
            path=path,
            producer=ProducerId(card.producer),
            kind=card.kind,
            reader=reader,
            signing_key=signing_key,
            outbox=outbox,
            keep_seconds=card.keep_days * 86_400.0,
            _sharing=sharing,
        )
        return home, card

    def _write_card(self, card: _Card) -> None:
        """Let the card name the outbox's epoch."""
        renewed = msgspec.structs.replace(card, epoch=self.epoch)
        replace_file(self.path / _CARD, _card_text(renewed))

    def limit(self, *, bytes_max: int | None = None, keep_days: int | None = None) -> Limits:
        """Change what is given of the home's limits; return what holds from the next open on.

        Durable when this returns. Processes that have the home open go on with what they know.
        Raises Misconfigured when the disk does not have the budget, or the file has outgrown it.
        """
        card = _read_card(self.path)
        given = {"bytes_max": bytes_max, "keep_days": keep_days}
        changed = {name: value for name, value in given.items() if value is not None}
        if changed:
            card = msgspec.structs.replace(card, **changed)
            if bytes_max is not None:
                require_budget(self.path / _OUTBOX, card.storage)
            replace_file(self.path / _CARD, _card_text(card))
        return Limits(bytes_max=card.bytes_max, keep_days=card.keep_days)

    @property
    def epoch(self) -> Epoch:
        """Return the open epoch of the outbox."""
        return self.outbox.epoch

    @property
    def receipt_keys(self) -> Mapping[KeyId, VerifyKey]:
        """Return the keys whose receipts count here; none without the file that names them.

        Raises Misconfigured when it is there and damaged.
        """
        file = self.path / _RECEIPT_KEYS
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Misconfigured(
                [f"{file} cannot be read ({error.strerror}); run as its owner"]
            ) from error
        if len(raw) > _RECEIPT_KEYS_BYTES_MAX:
            raise Misconfigured([f"{file} has {len(raw)} bytes; wanted one key a line"])
        try:
            keys = [VerifyKey.from_text(line) for line in raw.decode("ascii").split()]
        except (UnicodeDecodeError, Misconfigured) as error:
            raise Misconfigured(
                [f"{file}: {error}; wanted one public receipt key (base64) a line"]
            ) from error
        return {key.id: key for key in keys}

    def trust_receipts(self, keys: Iterable[VerifyKey]) -> None:
        """Let receipts by these keys count, and by no others; durable when this returns."""
        replace_file(self.path / _RECEIPT_KEYS, _receipt_keys_text(keys))

    def close(self) -> None:
        """Close the outbox; safe to call twice."""
        self.outbox.close()
        self._sharing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def emitting(self) -> AbstractContextManager[None]:
        """Be the one that sends from this home, while the block runs.

        Raises OutboxBusy naming the process that already does. Appending needs no such claim.
        """
        return sole_emitter(self.path / _LOCK)

    def emitter_pid(self) -> int | None:
        """Return the process that sends from this home now, if any."""
        return emitter_pid(self.path / _LOCK)

    def salvages(self) -> list[Salvage]:
        """Return what was found in each outbox that was set aside here, oldest first."""
        return salvages(self.path / _OUTBOX)

    def last_receipt(self) -> Receipt | None:
        """Return the newest receipt that counts here, if there is one and its key still does."""
        last = self.outbox.last_receipt()
        if last is None:
            return None
        try:
            return open_receipt(last[0], self.receipt_keys)
        except ReceiptRejected:
            return None

    def free_bytes(self) -> int:
        """Return what the disk of this home has left for its user."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def enrolment_request(self) -> dict[str, str]:
        """Return what the registrar needs to enrol this producer; nothing of it is secret."""
        return {
            "producer": self.producer,
            "kind": self.kind,
            "key": self.signing_key.public.to_text(),
        }


def _opening(now: Reading) -> bytes:
    return encode(Event(now.wall_ms, now.mono_ms, now.boot, EpochOpened(reason=ENROLLED_AGAIN)))


def _about(
    path: Path, error: Misconfigured | Unavailable | Overloaded, *, making: Path
) -> Misconfigured | Unavailable | Overloaded:
    """Return the error about the home's own name: the folder that it names is gone already."""
    if isinstance(error, Misconfigured):
        return Misconfigured([fault.replace(str(making), str(path)) for fault in error.faults])
    return type(error)(str(error).replace(str(making), str(path)))


def _card_text(card: _Card) -> bytes:
    return msgspec.json.format(msgspec.json.encode(card)) + b"\n"


def _receipt_keys_text(keys: Iterable[VerifyKey]) -> bytes:
    lines = [f"{key.to_text()}\n" for key in keys]
    if len(lines) > RECEIPT_KEYS_MAX:
        raise Misconfigured([f"{len(lines)} receipt keys; at most {RECEIPT_KEYS_MAX} are kept"])
    return "".join(lines).encode("ascii")


def _read_card(path: Path) -> _Card:
    file = path / _CARD
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise Misconfigured(
            [f"{path} is no producer's home ({_CARD} is missing); run `rekam device init`"]
        ) from error
    except OSError as error:
        raise Misconfigured(
            [f"{file} cannot be read ({error.strerror}); run as its owner"]
        ) from error
    if len(raw) > CARD_BYTES_MAX:
        raise Misconfigured([f"{file} has {len(raw)} bytes; restore it from its copy"])
    try:
        return msgspec.json.decode(raw, type=_Card)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Misconfigured([f"{file} is damaged ({error}); restore it from its copy"]) from error
