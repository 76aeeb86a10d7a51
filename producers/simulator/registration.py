"""The registrar states what the fleet needs: each batch once, also when a run is cut off."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from producers.device.home import ProducerHome
from producers.office.desk import state
from rekam.domain.events import EventData
from rekam.embedded.process import write_atomically

FIRST_BATCH: Final = "registration"
LATE_BATCH: Final = "late-registration"
"""Enrolments that reach the log after segments that wait for them."""


class _Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a batch was about to begin in the registrar's outbox, and whether it is there."""

    next_seq: int
    events: int
    is_done: bool


def state_once(
    folder: Path, batch: str, registrar: ProducerHome, facts: Sequence[EventData]
) -> None:
    """Append a batch to the registrar's outbox unless an earlier run did; durable on return.

    What was cut off between appending and remembering is found by the outbox's next seq. Should an
    office command have appended in just that moment, the batch is stated twice: equal statements
    of one registrar change no figure, a missing one would.
    """
    path = folder / f"{batch}.json"
    intent = _read(path)
    if intent is not None and intent.is_done:
        return
    next_seq = registrar.outbox.next_seq
    if intent is None or intent.next_seq + intent.events != next_seq:
        intent = _Intent(next_seq, len(facts), is_done=False)
        _write(path, intent)
        state(registrar, facts)
    _write(path, msgspec.structs.replace(intent, is_done=True))


def is_stated(folder: Path, batch: str) -> bool:
    """Return whether a batch is in the registrar's outbox."""
    intent = _read(folder / f"{batch}.json")
    return intent is not None and intent.is_done


def _read(path: Path) -> _Intent | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Intent)
    except FileNotFoundError:
        return None


def _write(path: Path, intent: _Intent) -> None:
    write_atomically(path, msgspec.json.encode(intent).decode())
