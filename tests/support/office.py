"""An office of its own for a test, and what its producers have said so far."""

from pathlib import Path

from producers.device.home import ProducerHome
from rekam.domain.events import Event, decode
from rekam.domain.segment import Sealed, open_body, parse, verify
from rekam.runtime.keyring import load_readers, make_missing_keys
from rekam.runtime.settings import Settings

NOBODY = "127.0.0.1:1"
"""An address at which no Kafka ever answers."""

ALL_BYTES = 2**40


def new_office(home: Path, *, kafka: str = NOBODY) -> Settings:
    """Make the keys of an office and return its settings."""
    settings = Settings.load({"REKAM_HOME": str(home), "REKAM_KAFKA": kafka})
    make_missing_keys(settings)
    return settings


def waiting(settings: Settings, folder: Path) -> list[Event]:
    """Seal what waits at a producer, and return it, verified and opened as a server would."""
    (reader,) = load_readers(settings)
    with ProducerHome.open(folder) as home:
        home.outbox.seal_pending(
            signing_key=home.signing_key, reader=home.reader, sealed=Sealed(0, 0, "test")
        )
        segments = [parse(one.raw) for one in home.outbox.unsent(limit_bytes=ALL_BYTES)]
        for segment in segments:
            verify(segment, home.signing_key.public)
    return [decode(line) for segment in segments for line in open_body(segment, reader)]
