"""The registrar: the producer whose public key is the trust root of the whole log."""

from pathlib import Path
from typing import Final

from producers.device.home import ProducerHome
from rekam.domain.errors import Misconfigured
from rekam.domain.events import ProducerKind
from rekam.domain.ids import ProducerId
from rekam.runtime.keyring import load_reader_public, load_registrar_key, write_public
from rekam.runtime.settings import ENVIRONMENT, Settings

KIND: Final[ProducerKind] = "registrar"
_FIRST_SEQ: Final = 1


def registrar_folder(settings: Settings) -> Path:
    """Return the registrar's home folder."""
    return settings.home / "office" / "registrar"


def ensure_registrar(settings: Settings) -> ProducerHome:
    """Open the registrar's home; make it, and the trust root's file, when neither is there yet.

    For one process at a time until both exist. The caller closes the home. Raises Misconfigured
    when one of them is there without the other, or when they are not of one registrar.
    """
    folder, key_path = registrar_folder(settings), settings.registrar_key
    if folder.exists():
        home = ProducerHome.open(folder)
    elif key_path.exists():
        raise Misconfigured(
            [
                (
                    f"{ENVIRONMENT['registrar_key']}, {key_path}: there is a trust root, but no "
                    f"registrar in {folder}. Run this where the registrar's home is, or restore "
                    "that folder from its copy"
                )
            ]
        )
    else:
        home = ProducerHome.create(
            folder,
            producer=ProducerId(settings.registrar),
            kind=KIND,
            reader=load_reader_public(settings),
        )
    try:
        _require_ours(home, settings)
    except BaseException:
        home.close()
        raise
    return home


def _require_ours(home: ProducerHome, settings: Settings) -> None:
    """Check that home, setting and trust root name one registrar; write a missing trust root.

    It may be missing only before the registrar has said anything: then its making was cut off.
    """
    key_path = settings.registrar_key
    named = f"{ENVIRONMENT['registrar_key']}, {key_path}"
    if (home.producer, home.kind) != (settings.registrar, KIND):
        raise Misconfigured(
            [
                (
                    f"{home.path} is the home of {home.kind} {home.producer}; wanted "
                    f"{KIND} {settings.registrar}. Correct {ENVIRONMENT['registrar']}"
                )
            ]
        )
    if not key_path.exists():
        if home.outbox.next_seq > _FIRST_SEQ:
            raise Misconfigured(
                [
                    (
                        f"{named}: missing, but the registrar in {home.path} has been at work. "
                        f"Restore the file; it holds one line: {home.signing_key.public.to_text()}"
                    )
                ]
            )
        write_public(key_path, home.signing_key.public.to_text())
    elif load_registrar_key(settings).raw != home.signing_key.public.raw:
        raise Misconfigured(
            [
                (
                    f"{named}: names key {load_registrar_key(settings).id}, but the registrar in "
                    f"{home.path} signs with {home.signing_key.id}. Restore both from one copy"
                )
            ]
        )
