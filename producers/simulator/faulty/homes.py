"""The homes of a fleet with faults: made once, opened for as long as their device is at work."""

import shutil
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producers.device.clock import Reading
from producers.device.home import ProducerHome
from producers.device.outbox_file import Storage
from producers.simulator.faulty.plan import Device, FaultyFleet
from rekam.domain.errors import Misconfigured
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPublicKey, VerifyKey

_CLONE: Final = "clone"
_STICK: Final = "stick"
NEW_EPOCH_REASON: Final = "clone_found"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where everything of one device lies."""

    root: Path
    producer: ProducerId

    @property
    def home(self) -> Path:
        """Return the original's home."""
        return self.root / self.producer

    @property
    def clone(self) -> Path:
        """Return the copy's."""
        return self.root / f"{self.producer}.{_CLONE}"

    @property
    def stick(self) -> Path:
        """Return what stands for its USB stick."""
        return self.root / f"{self.producer}.{_STICK}"


def fleet_folder(simulator: Path, fleet: FaultyFleet) -> Path:
    """Return the folder of a fleet's homes; those of another seed lie elsewhere."""
    return simulator / f"faulty-{fleet.seed}"


def make_homes(
    root: Path, fleet: FaultyFleet, *, reader: ReaderPublicKey, threads: Executor
) -> dict[ProducerId, VerifyKey]:
    """Make the home of every device; return their public keys.

    Raises Misconfigured when the folder is there: these producers have been in a log already, and
    would be forks of themselves.
    """
    try:
        root.mkdir(parents=True)
    except FileExistsError as error:
        raise Misconfigured(
            [
                (
                    f"{root} holds the homes of an earlier run: what its producers said is in a "
                    "log, and would be said anew. Give another --seed, or another REKAM_HOME and "
                    "another log"
                )
            ]
        ) from error
    producers = (device.producer for device in fleet)
    return dict(threads.map(lambda producer: _make(root, producer, reader), producers))


def _make(
    root: Path, producer: ProducerId, reader: ReaderPublicKey
) -> tuple[ProducerId, VerifyKey]:
    with ProducerHome.create(
        Folders(root, producer).home,
        producer=producer,
        kind="recorder",
        reader=reader,
        # Thousands of homes share one disk, and nobody misses their events.
        storage=Storage(ballast_bytes=0, any_file_system=True),
    ) as home:
        return producer, home.signing_key.public


@dataclass(frozen=True, slots=True)
class _PlannedClock:
    now: Reading

    def read(self) -> Reading:
        return self.now


def copy_home(folders: Folders) -> None:
    """Copy a home that nobody has open, as an image of its disk would."""
    shutil.copytree(folders.home, folders.clone)


def renew_home(folders: Folders, device: Device) -> ProducerHome:
    """Open the original in a new epoch, as a supervisor does who has found the clone."""
    assert device.successor is not None  # noqa: S101 - asked by the plan
    visit = device.successor.visits[0]
    now = Reading(visit.at_ms(0) - visit.offset_ms, visit.base_ms - visit.boot_ms, visit.boot)
    return ProducerHome.renew(folders.home, reason=NEW_EPOCH_REASON, clock=_PlannedClock(now))
