"""A home that was copied: both go on, the office finds out, and a supervisor ends it."""

import json
import shutil
from pathlib import Path
from typing import Final

from tests.e2e.test_all_routes import PRODUCER, Person, answer, enrol
from tests.support.machine import RunningUp
from tests.support.waiting import until

SHARED, OF_THE_COPY, OF_THE_ORIGINAL, MEANWHILE, AFTERWARDS = 5, 4, 3, 2, 6
"""How many people are recorded when. The copy gets further: it wins whatever they dispute."""

COPIED_NUMBERS: Final = 500
"""Where the people begin whom the copy records."""

TRY_AGAIN: Final = 75


class Machine(Person):
    """Somebody at one of two machines that have the same home."""

    def __init__(self, up: RunningUp, folder: Path, *, home: str = "device") -> None:
        super().__init__(up, folder)
        self.device = folder / home
        self._gateway = ("--route", f"http://127.0.0.1:{up.gateway_port}")

    @property
    def run(self) -> tuple[str, ...]:
        """Return the command that keeps sending by the gateway."""
        return ("device", "run", "--home", str(self.device), *self._gateway)

    async def sync(self) -> None:
        """Send once by the gateway, and take the receipt that it has."""
        words = ("device", "sync", "--home", str(self.device), *self._gateway)
        await self.rekam(*words, codes=(0, TRY_AGAIN))

    async def has_learned(self) -> bool:
        """Return whether the device knows that somebody else seals in its name."""
        return bool((await self.status())["is_fork_suspected"])


async def is_suspect(up: RunningUp) -> bool:
    return bool((await answer(up, f"/v1/devices/{PRODUCER}"))["suspect"])


async def recorded(up: RunningUp) -> int:
    found = await answer(up, "/v1/coverage?region=64.08&level=regency")
    return int(found["totals"]["recorded"])


async def begin_epoch(person: Machine) -> None:
    """Do what a supervisor does, beside the running device."""
    words = ("device", "new-epoch", "--home", str(person.device))
    reason = ("--reason", "an image was restored onto a second machine")
    told = json.loads(await person.rekam(*words, *reason))
    assert (told["producer"], told["epoch"]) == (PRODUCER, 2)


async def test_a_copied_home_is_found_out_by_a_receipt_and_a_new_epoch_ends_it(
    tmp_path: Path,
) -> None:
    async with RunningUp(tmp_path / "up") as up:
        await up.until_it_prints("is running")
        original = Machine(up, tmp_path)
        await enrol(original, tmp_path)
        async with original.running(*original.run):
            await original.record(SHARED)
            await original.until_all_is_committed()

        # An image is restored onto a second machine, and people are recorded at both.
        copy = Machine(up, tmp_path, home="copy")
        shutil.copytree(original.device, copy.device)
        copy.recorded = COPIED_NUMBERS
        await copy.record(OF_THE_COPY)
        await copy.sync()
        await original.record(OF_THE_ORIGINAL)

        async with original.running(*original.run):
            # The office finds two segments for one range; a receipt by the gateway tells the
            # device, which goes on recording and seals nothing.
            await until(lambda: is_suspect(up))
            await until(original.has_learned)
            await original.record(MEANWHILE)
            status = await original.status()
            assert status["severity"] == "act"
            assert "A copy of this device" in status["what_to_do"]
            assert status["queue_events"] >= MEANWHILE
            assert (status["epoch"], status["refused_segments"]) == (1, 0)
            assert await recorded(up) == SHARED + OF_THE_COPY

            await begin_epoch(original)
            await original.record(AFTERWARDS)
            status = await original.until_all_is_committed()
            assert (status["epoch"], status["is_fork_suspected"]) == (2, False)

        # Each person once; what lost stands in quarantine with its reason, and nothing else does.
        assert await recorded(up) == SHARED + OF_THE_COPY + MEANWHILE + AFTERWARDS
        reasons = (await answer(up, f"/v1/quarantine?producer={PRODUCER}"))["reasons"]
        assert set(reasons) == {"fork_lost"}
        assert reasons["fork_lost"] >= OF_THE_ORIGINAL
        epochs = (await answer(up, f"/v1/devices/{PRODUCER}/ledger"))["epochs"]
        assert [(bool(one["forks"]), one["gaps"]) for one in epochs] == [(True, []), (False, [])]

        # The copy, switched on again, learns it by its next receipt, too.
        await copy.sync()
        assert await copy.has_learned()
        await copy.rekam("audit", "replay", "--compare")
