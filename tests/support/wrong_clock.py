"""`rekam` in a process whose wall clock is wrong, as OpenSSL in it sees it too."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

DAY_MS = 86_400_000
SOURCE = Path(__file__).with_suffix(".c")


class WrongClock:
    """Runs commands at a wrong time; needs a C compiler, and skips its test without one."""

    def __init__(self, folder: Path, *, days: int) -> None:
        """Build what moves the clock."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: the clock of a process cannot be set")
        self._library = folder / "wrong_clock.so"
        self.offset_ms = -days * DAY_MS
        """True time minus wall time."""
        subprocess.run(
            [compiler, "-O1", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE)], check=True
        )

    async def rekam(
        self, home: Path, *arguments: str, told: bytes = b"", environ: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command line with a state folder of its own."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rekam", *arguments],
            input=told,
            capture_output=True,
            check=False,
            env={**self._environ(home), **environ},
        )

    @asynccontextmanager
    async def running(self, home: Path, *arguments: str) -> AsyncIterator[None]:
        """Run a command beside the block, and end it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rekam", *arguments),
            env=self._environ(home),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            assert await process.wait() == 0

    def _environ(self, home: Path) -> dict[str, str]:
        return {
            **os.environ,
            "REKAM_HOME": str(home),
            "LD_PRELOAD": str(self._library),
            "WRONG_CLOCK_SECONDS": str(-self.offset_ms // 1000),
        }
