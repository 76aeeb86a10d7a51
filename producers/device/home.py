"""A producer's home: the folder with its outbox, its signing key, and who it is.

    outbox.db  signing.pem  producer.json  emitter.lock

Made whole or not at all. It belongs to one producer on one machine: a copy that also sends is a
fork of its log.
"""

import os
import shutil
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec

from producers.device.files import emitter_pid, sole_emitter, sync_folder
from producers.device.outbox import Outbox
from rekam.domain.errors import Corrupt, Misconfigured
from rekam.domain.events import EpochNumber, ProducerKind
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import ReaderPublicKey, SigningKey, write_secret
from rekam.domain.segment import ProducerText

_OUTBOX: Final = "outbox.db"
_KEY: Final = "signing.pem"
_CARD: Final = "producer.json"
_LOCK: Final = "emitter.lock"
CARD_BYTES_MAX: Final = 4096


class _Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """producer.json."""

    producer: ProducerText
    kind: ProducerKind
    epoch: EpochNumber
    reader: Annotated[str, msgspec.Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class ProducerHome:
    """An open home; a context manager that closes the outbox."""

    path: Path
    producer: ProducerId
    kind: ProducerKind
    epoch: Epoch
    reader: ReaderPublicKey
    signing_key: SigningKey
    outbox: Outbox

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        producer: ProducerId,
        kind: ProducerKind,
        reader: ReaderPublicKey,
        epoch: Epoch = Epoch(1),  # noqa: B008 - a NewType's call gives an int
    ) -> Self:
        """Make a home with a fresh signing key and an empty outbox; durable when this returns.

        Raises Misconfigured when `path` holds anything already: nothing is ever replaced.
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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise Misconfigured(
                [f"{path} cannot be made ({error.strerror}); name a folder you may write"]
            ) from error
        try:
            Outbox.create(making / _OUTBOX, producer=producer, epoch=epoch).close()
            SigningKey.generate().save(making / _KEY)
            card = _Card(producer=producer, kind=kind, epoch=epoch, reader=reader.to_text())
            write_secret(making / _CARD, msgspec.json.format(msgspec.json.encode(card)) + b"\n")
            # Replaces an empty folder and nothing else.
            making.rename(path)
        except OSError as error:
            raise Misconfigured(
                [f"{path} cannot be made ({error.strerror}); another process may have made it"]
            ) from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
        sync_folder(path.parent)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a home.

        Raises Misconfigured when something of it is missing or unreadable, Corrupt when its parts
        belong to different producers.
        """
        path = path.absolute()
        card = _read_card(path)
        reader = ReaderPublicKey.from_text(card.reader)
        signing_key = SigningKey.load(path / _KEY)
        outbox = Outbox.open(path / _OUTBOX)
        if (outbox.producer, outbox.epoch) != (card.producer, card.epoch):
            outbox.close()
            raise Corrupt(
                f"{path}: {_CARD} says {card.producer} epoch {card.epoch}, {_OUTBOX} says "
                f"{outbox.producer} epoch {outbox.epoch}. Restore the file that is not its own"
            )
        return cls(
            path=path,
            producer=ProducerId(card.producer),
            kind=card.kind,
            epoch=Epoch(card.epoch),
            reader=reader,
            signing_key=signing_key,
            outbox=outbox,
        )

    def close(self) -> None:
        """Close the outbox; safe to call twice."""
        self.outbox.close()

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
