"""The jars of pom.xml: fetched once with Maven, kept in the cache folder, complete or absent.

The broker's, and a driver for PostgreSQL that only the benchmarks use.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from rekam.domain.errors import Unavailable
from rekam.embedded.machine import require_commands

KAFKA_VERSION = "4.3.1"
JDBC_VERSION = "42.7.14"
FETCH_SECONDS_MAX = 900.0


def jars_folder(cache_dir: Path) -> Path:
    """Return where the jars of the pinned version are once `ensure_jars` has returned."""
    return cache_dir / f"kafka-{KAFKA_VERSION}"


async def ensure_jars(cache_dir: Path, *, report: Callable[[str], None]) -> Path:
    """Return the folder of jars, fetching them when it is not there; safe to run concurrently.

    Writes nothing outside `cache_dir`. `report` gets a line for a person before and after a fetch.
    Raises Misconfigured without Maven, Unavailable when Maven cannot fetch.
    """
    folder = jars_folder(cache_dir)
    await _ensure(folder, what=f"Apache Kafka {KAFKA_VERSION}", megabytes=54, report=report)
    return folder


async def ensure_jdbc_jars(cache_dir: Path, *, report: Callable[[str], None]) -> Path:
    """Do what `ensure_jars` does for the JDBC driver of PostgreSQL."""
    folder = cache_dir / f"postgresql-jdbc-{JDBC_VERSION}"
    what = f"PostgreSQL's JDBC driver {JDBC_VERSION}"
    await _ensure(folder, what=what, megabytes=2, report=report, profile="jdbc")
    return folder


async def _ensure(
    folder: Path,
    *,
    what: str,
    megabytes: int,
    report: Callable[[str], None],
    profile: str = "broker",
) -> None:
    if await asyncio.to_thread(folder.is_dir):
        return
    require_commands("java", "mvn")
    await asyncio.to_thread(folder.parent.mkdir, parents=True, exist_ok=True)
    with (folder.parent / "fetch.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not await asyncio.to_thread(folder.is_dir):
            report(f"fetching {what} with Maven ({megabytes} MB, once)")
            await _fetch(folder, profile)
            report(f"{what} is in {folder}")


async def _fetch(folder: Path, profile: str) -> None:
    # Maven's own repository stays after a failed fetch, so that the next one goes on from there.
    cache_dir = folder.parent
    repository = cache_dir / "maven-repository"
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".jars-") as temporary:
        pom = Path(temporary) / "pom.xml"
        pom.write_bytes(resources.files("rekam.embedded").joinpath("pom.xml").read_bytes())
        jars = Path(temporary) / "jars"
        await _run_maven(
            "-f",
            str(pom),
            f"-P{profile}",
            f"-Dmaven.repo.local={repository}",
            f"-DoutputDirectory={jars}",
            "dependency:copy-dependencies",
        )
        for jar in jars.iterdir():
            descriptor = os.open(jar, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        jars.rename(folder)
    await asyncio.to_thread(shutil.rmtree, repository)


async def _run_maven(*arguments: str) -> None:
    # --strict-checksums: a damaged download is an error and not a warning.
    process = await asyncio.create_subprocess_exec(
        "mvn",
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        "-Dmaven.wagon.http.retryHandler.count=3",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(FETCH_SECONDS_MAX):
            output, _ = await process.communicate()
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise Unavailable(
            "Maven could not fetch the jars. Check the network (or Maven's settings.xml for "
            f"a mirror) and try again. Maven says:\n{output.decode('utf-8', 'replace')[-2000:]}"
        )
