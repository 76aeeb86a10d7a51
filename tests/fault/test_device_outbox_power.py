"""The power fails at any step under SQLite: what `append` acknowledged is there afterwards."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from producers.device.outbox import Outbox
from producers.device.outbox_file import WAL_PAGES, Storage, wal_of
from rekam.domain.errors import RekamError
from tests.support.disk_faults import PowerCut
from tests.support.outboxes import (
    ALL,
    PRODUCER,
    line,
    lines_of,
    reading,
    receive,
    seal,
)

CUTS = 1_000
CUTS_TO_LOSE_BY = 40
CUTS_WHILE_LAID_OUT = 40
STEPS_MAX = 90
PLAIN = Storage(ballast_bytes=0, any_file_system=True)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Return an outbox file with a little in it."""
    path = tmp_path / "template.db"
    with Outbox.create(path, producer=PRODUCER, storage=PLAIN) as outbox:
        outbox.append([line(0), line(0)])
        seal(outbox)
        outbox.append([line(0)])
    return path


class Trial:
    """One life of an outbox that ends in a power cut, and what it had promised."""

    def __init__(self, template: Path, seed: int, *, synchronous: str) -> None:
        self.chance = random.Random(seed)
        self.path = template.with_name("outbox.db")
        self.synchronous = synchronous
        self.promised: dict[int, bytes] = {}
        self.pruned_through = 0
        for leftover in self.path.parent.glob(f"{self.path.name}*"):
            leftover.unlink()
        shutil.copy(template, self.path)

    def live(self) -> None:
        """Work until the power fails; then leave behind what a disk could hold."""
        disk = PowerCut(
            self.path,
            self.path.with_name(f"{self.path.name}-wal"),
            at_step=self.chance.randrange(1, STEPS_MAX),
            chance=self.chance,
        )
        try:
            with Outbox.open(self.path, storage=disk.storage) as outbox:
                outbox._connection.pragma("synchronous", self.synchronous)
                # Small, so that cuts come into checkpoints too.
                outbox._connection.pragma("wal_autocheckpoint", 12)
                while not disk.is_off:
                    self.chance.choice(self.works)(self, outbox)
        except (RekamError, apsw.Error):
            # Whatever it was doing, it was not acknowledged.
            assert disk.is_off
        disk.restart()

    def append(self, outbox: Outbox) -> None:
        texts = [line(self.chance.randrange(1_000_000)) for _ in range(self.chance.randrange(1, 5))]
        for seq, text in zip(outbox.append(texts), texts, strict=True):
            self.promised[seq] = text

    def seal(self, outbox: Outbox) -> None:
        seal(outbox, events_max=self.chance.randrange(1, 6))

    def take(self, outbox: Outbox) -> None:
        outbox.take(outbox.unsent(limit_bytes=2_000), route="kafka", now=reading())

    def prune(self, outbox: Outbox) -> None:
        if found := outbox.unreceipted(limit_bytes=2_000):
            self.pruned_through = max(self.pruned_through, found[-1].last)
            receive(outbox, found, as_of_ms=self.chance.randrange(1, 9))
            outbox.prune(now=reading(5), keep_seconds=0)

    works: tuple[Callable[["Trial", Outbox], None], ...] = (
        append,
        append,
        append,
        seal,
        take,
        prune,
    )

    def lost(self) -> dict[int, bytes]:
        """Return what was promised and is neither there nor covered by a receipt."""
        with Outbox.open(self.path, storage=PLAIN) as outbox:
            kept_through = outbox.status().receipted_through
            assert outbox.next_seq > kept_through
            seal(outbox)
            found = {
                seq: text
                for (_, seq), text in lines_of(outbox.unreceipted(limit_bytes=ALL)).items()
            }
        return {
            seq: text
            for seq, text in self.promised.items()
            if found.get(seq) != text and seq > min(kept_through, self.pruned_through)
        }


def test_a_thousand_power_cuts_lose_nothing_that_was_acknowledged(template: Path) -> None:
    promised = 0
    for seed in range(CUTS):
        trial = Trial(template, seed, synchronous="full")
        trial.live()
        promised += len(trial.promised)
        assert trial.lost() == {}, f"seed {seed}"
    assert promised > CUTS


def test_the_power_may_fail_while_the_wal_is_laid_out(template: Path) -> None:
    for seed in range(CUTS_WHILE_LAID_OUT):
        trial = Trial(template, seed, synchronous="full")
        disk = PowerCut(
            trial.path,
            wal_of(trial.path),
            # Two writes a page, so that most cuts come into it and some come after it.
            at_step=trial.chance.randrange(1, 3 * WAL_PAGES),
            chance=trial.chance,
        )
        try:
            with Outbox.open(trial.path, storage=disk.storage) as outbox:
                trial.append(outbox)
                outbox.make_ready()
                while True:
                    trial.append(outbox)
        except (RekamError, apsw.Error):
            assert disk.is_off
        disk.restart()
        assert trial.lost() == {}, f"seed {seed}"


def test_without_a_sync_at_each_commit_the_same_cuts_lose(template: Path) -> None:
    """The harness can fail: it is FULL that keeps the promise."""
    lost = 0
    for seed in range(CUTS_TO_LOSE_BY):
        trial = Trial(template, seed, synchronous="normal")
        trial.live()
        lost += len(trial.lost())
    assert lost > 0
