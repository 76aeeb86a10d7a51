"""An office whose recorders' segments are folded into a real database at once."""

from typing import Any

from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from tests.support.history import REGISTRAR, REGISTRAR_KEY, Life, Log, captured
from tests.support.live import chunks, fold, new_folder


class FoldingOffice:
    """A registrar and recorders whose segments are folded as soon as they are appended."""

    def __init__(self, pool: Any) -> None:
        self.log = Log()
        self.registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
        self._folder = new_folder(pool)
        self._folded = 0

    async def enrol(self, name: str, number: int = 41) -> Life:
        """Enrol a recorder."""
        life = Life(ProducerId(name), SigningKey.from_seed(bytes([number]) * 32))
        await self.say(life.enrolment())
        return life

    async def say(self, *statements: events.EventData) -> None:
        """Have the registrar state something."""
        said = [self.registrar.event(statement) for statement in statements]
        self.log.append(self.registrar.seal(*said), partition=2)
        await self.fold()

    async def record(self, life: Life, count: int = 1) -> None:
        """Seal and fold some segments of one event."""
        for _ in range(count):
            self.log.append(self.sealed(life), partition=0)
        await self.fold()

    def sealed(self, life: Life) -> bytes:
        """Seal a segment that is not appended yet."""
        recorded = captured(life.next_seq, f"{life.producer}-{life.next_seq}")
        return life.seal(life.event(recorded))

    async def fold(self) -> None:
        """Fold what was appended since the last call."""
        fresh = self.log.records[self._folded :]
        self._folded = len(self.log.records)
        for chunk in chunks(fresh):
            await fold(self._folder, chunk)
