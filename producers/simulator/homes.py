"""The homes of the simulated producers, and the one plan that they belong to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from producers.device.home import ProducerHome
from producers.device.outbox_file import Storage
from producers.simulator.fleet import Fleet, Plan
from rekam.domain.errors import Corrupt, Misconfigured
from rekam.domain.keys import ReaderPublicKey
from rekam.embedded.process import FolderLock, write_atomically

SCRIPT_VERSION: Final = 1
"""Raised when the same numbers begin to give other events: half of each would fit nothing."""

PLAN_FILE: Final = "plan.json"
LOCK_FILE: Final = "simulator.lock"
THREADS: Final = 8
"""Making a home waits for the disk, not for the processor."""


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    people: int
    seed: int
    devices: int


@contextmanager
def open_homes(
    folder: Path, fleet: Fleet, *, reader: ReaderPublicKey
) -> Iterator[list[ProducerHome]]:
    """Open the home of every producer, in the order of the plans; make those that are missing.

    Nobody else can send from them meanwhile. Raises Misconfigured when the folder holds another
    regency, OutboxBusy or Unavailable when another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder / LOCK_FILE, what="`rekam simulate`")
    lock.acquire()
    with ExitStack() as stack:
        stack.callback(lock.release)
        _require_same(folder / PLAN_FILE, fleet)
        homes: list[ProducerHome] = []
        with ThreadPoolExecutor(THREADS, thread_name_prefix="homes") as threads:
            made = threads.map(lambda plan: _home(folder, plan, reader), fleet.plans)
            homes.extend(stack.enter_context(home) for home in made)
        for home, plan in zip(homes, fleet.plans, strict=True):
            stack.enter_context(home.emitting())
            if (home.producer, home.kind) != (plan.producer, plan.kind):
                raise Corrupt(
                    f"{home.path} is the home of {home.producer}; wanted {plan.producer}. "
                    f"Name another REKAM_HOME, or delete {folder}."
                )
        yield homes


def _home(folder: Path, plan: Plan, reader: ReaderPublicKey) -> ProducerHome:
    path = folder / plan.producer
    if path.exists():
        return ProducerHome.open(path)
    return ProducerHome.create(
        path,
        producer=plan.producer,
        kind=plan.kind,
        reader=reader,
        # Nobody misses these events, and a thousand ballasts would fill the disk.
        storage=Storage(ballast_bytes=0, any_file_system=True),
    )


def _require_same(path: Path, fleet: Fleet) -> None:
    """Check that the folder holds this regency, or say in it that it does from now on."""
    wanted = _Parameters(SCRIPT_VERSION, fleet.regency.people, fleet.regency.seed, fleet.devices)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Parameters)
    except FileNotFoundError:
        write_atomically(path, msgspec.json.encode(wanted).decode())
        return
    except msgspec.MsgspecError as error:
        raise Corrupt(
            f"{path} is damaged ({error}). Delete {path.parent} to begin anew."
        ) from error
    if found != wanted:
        raise Misconfigured(
            [
                (
                    f"{path.parent} holds another regency (people {found.people}, seed "
                    f"{found.seed}, devices {found.devices}, script {found.version}): give the "
                    "same --people, --seed and --devices, or another REKAM_HOME"
                )
            ]
        )
