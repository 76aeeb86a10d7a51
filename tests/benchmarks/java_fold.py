"""The same fold as a plain Java consumer with JDBC batches (java/JavaFold.java), held against ours.

Compiled at the time of the benchmark with plain `javac`. Its figures must equal those of our fold
over the same events, cell by cell: otherwise it would not be the same fold.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import click

from rekam.domain.keys import VerifyKey
from rekam.embedded.kafka_jars import ensure_jars, ensure_jdbc_jars
from rekam.embedded.machine import require_commands
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from tests.benchmarks.figures import Figures, figures, require_same
from tests.benchmarks.machine import Machine, ProcessFailed, Timing
from tests.benchmarks.workload import Workload, enrolments
from tests.support.history import READER, RULES

SOURCES: Final = Path(__file__).parent / "java"
COMMANDS: Final = ("java", "javac")
JVM_OPTIONS: Final = (
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseParallelGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
WARM_EVENTS_MAX: Final = 60_000
"""Folded first and forgotten, so that compiled code is measured."""
WARM_SHARE: Final = 4
"""Of all events a quarter at most."""
IN_ONE_THREAD: Final = "in one thread"
OPENING_BESIDE: Final = "opening in another"
"""How it uses threads: one does everything; or a second one opens the chunk ahead, as ours does."""
JAVA_MODES: Final = {
    1: (OPENING_BESIDE,),  # nearly all is opening, and takes long
    64: (IN_ONE_THREAD, OPENING_BESIDE),
    500: (IN_ONE_THREAD, OPENING_BESIDE),
}
"""By events a segment."""


@dataclass(frozen=True, slots=True)
class JavaConsumer:
    """The compiled consumer: what `java` needs on its class path."""

    class_path: str

    @classmethod
    async def compiled(cls, folder: Path) -> "JavaConsumer":
        """Compile it into a folder; fetches the jars that are not there.

        Raises Misconfigured without a JDK, or without Maven when jars are missing;
        ProcessFailed when it does not compile.
        """
        require_commands(*COMMANDS)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        cache_dir = Settings.load(os.environ).home / "cache"

        def report(line: str) -> None:
            click.echo(line, err=True)

        jars = [
            await ensure_jars(cache_dir, report=report),
            await ensure_jdbc_jars(cache_dir, report=report),
        ]
        libraries = [f"{path}/*" for path in jars]
        process = await asyncio.create_subprocess_exec(
            "javac",
            "-nowarn",
            "-cp",
            ":".join(libraries),
            "-d",
            str(folder),
            *map(str, sorted(SOURCES.glob("*.java"))),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise ProcessFailed(f"javac failed:\n{output.decode('utf-8', 'replace')}")
        return cls(":".join([str(folder), *libraries]))

    def command(self, options: Path, *, passfile: str) -> list[str]:
        """Return the command that runs it."""
        return [
            "java",
            *JVM_OPTIONS,
            f"-Dorg.postgresql.pgpassfile={passfile}",
            "-cp",
            self.class_path,
            "JavaFold",
            str(options),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaRate:
    """What one run of the consumer came to."""

    events_per_segment: int
    mode: str
    timing: Timing


async def measure_java(
    machine: Machine,
    consumer: JavaConsumer,
    workload: Workload,
    *,
    events_per_segment: int,
    mode: str,
    wanted: Figures,
) -> JavaRate:
    """Let the consumer fold a full topic, from the first records that it polls to its last commit.

    `wanted` are the figures of our fold. Raises ProcessFailed when its own differ.
    """
    async with machine.topic() as topic, machine.database() as dsn:
        await machine.append(topic, workload.segments(events_per_segment))
        address = urlsplit(dsn)
        options = machine.folder / "java.properties"
        settings = {
            "jdbc_url": f"jdbc:postgresql://{address.hostname}:{address.port}{address.path}",
            "user": address.username,
            "bootstrap": machine.broker.bootstrap,
            "topic": topic.name,
            "partitions": topic.partitions,
            "events": workload.events,
            "warm_events": min(workload.events // WARM_SHARE, WARM_EVENTS_MAX),
            "opens_beside": str(mode == OPENING_BESIDE).lower(),
            "zone": RULES.zone.name,
            "person_key": RULES.person_key.hex(),
            "nik_key": RULES.nik_key.hex(),
            "reader_seed": READER.key.private_bytes_raw().hex(),
            "reader_public": READER.public.raw.hex(),
            "producers": ",".join(
                f"{one.producer} {one.kind} {one.enrolled_ms} "
                f"{VerifyKey.from_text(one.key).raw.hex()}"
                for one in enrolments()
            ),
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        await asyncio.to_thread(options.write_text, text)
        (passfile,) = parse_qs(address.query)["passfile"]
        command = consumer.command(options, passfile=passfile)
        async with machine.command("java_fold", *command) as process:
            timing = await process.timing()
        connection = await connect(dsn)
        try:
            found = await figures(connection, "sum_java")
        finally:
            await connection.close()
    require_same(wanted, found, whose="in Java")
    return JavaRate(events_per_segment=events_per_segment, mode=mode, timing=timing)
