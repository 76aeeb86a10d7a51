"""`make bench` runs and reports everything that it should; no number is judged here."""

import asyncio
import sys
from itertools import product
from pathlib import Path
from typing import Final

import msgspec

from tests.benchmarks.comparison import STOCK_MODES, STOCK_TABLES
from tests.benchmarks.gateway import SEGMENTS_PER_REQUEST
from tests.benchmarks.java_fold import JAVA_MODES
from tests.benchmarks.live_fold import WORKERS
from tests.benchmarks.running import RUNS
from tests.benchmarks.steps import STEPS
from tests.benchmarks.waiting import SHAPES
from tests.benchmarks.wire import EVENTS_PER_SEGMENT

ROOT: Final = Path(__file__).parents[2]
FOLDS: Final = [
    (size, workers)
    for size in (1, 16, 64, 500)
    for workers in sorted({1, WORKERS if size in JAVA_MODES else 1})
]
"""Events a segment, and workers."""
TITLES: Final = (
    "Live",
    *(
        f"fold, {size} a segment, {'one worker' if workers == 1 else f'{workers} workers'}"
        for size, workers in FOLDS
    ),
    *(f"(a) stock agent, all tables, by {mode}" for mode in STOCK_MODES),
    *(f"(5) stock agent, five tables, by {mode}" for mode in STOCK_MODES),
    "(b) floor: decode and COPY",
    "The same fold in Java with JDBC batches",
    *(f"Java {mode}, {size} a segment" for size, modes in JAVA_MODES.items() for mode in modes),
    "Bytes an event",
    *(f"{size} a segment" for size in EVENTS_PER_SEGMENT),
    "Durable appends",
    "Outbox.append, one event",
    "floor: write and fsync",
    "A device that finds events waiting",
    *SHAPES,
    "A whole `rekam device run`",
    *(f"by {route}, {'with' if listens else 'without'} --listen" for route, listens in RUNS),
    "Gateway to acks=all",
    *(f"{count} a request" for count in SEGMENTS_PER_REQUEST),
    *STEPS,
    "A stick a month late, one device",
    "What an event costs as the tables grow",
    "Coverage reads",
    "dense regency, both times",
    "changes within 30 days",
)


async def test_a_quick_benchmark_run_reports_every_row(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "bench.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks",
        "--quick",
        "--out",
        str(out),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-2_000:]
    assert [title for title in TITLES if title not in printed.decode()] == []

    found = msgspec.json.decode(out.read_bytes())
    assert found["machine"]["fsync"] == "on"
    assert [(row["events_per_segment"], row["workers"]) for row in found["fold"]] == FOLDS
    assert all(row["times_stock"] > 0 and row["share_of_floor"] > 0 for row in found["fold"])
    assert [(row["tables"], row["commits_by"]) for row in found["stock"]] == list(
        product(STOCK_TABLES, STOCK_MODES)
    )
    assert [(row["events_per_segment"], row["mode"]) for row in found["java"]] == [
        (size, mode) for size, modes in JAVA_MODES.items() for mode in modes
    ]
    assert all(row["events"] > 0 and row["times_java"] > 0 for row in found["java"])
    assert found["floor"]["events"] > 0
    assert [row["events_per_segment"] for row in found["wire"]] == list(EVENTS_PER_SEGMENT)
    assert found["appends"]["share_of_floor"] > 0
    assert [row["shape"] for row in found["waiting"]] == list(SHAPES)
    assert all(row["events"] >= 5_000 and row["rss_bytes"] > 0 for row in found["waiting"])
    assert [(row["route"], row["listens"]) for row in found["running"]] == list(RUNS)
    assert all(row["events"] >= 5_000 and row["rss_bytes"] > 0 for row in found["running"])
    assert [row["segments_per_request"] for row in found["gateway"]] == list(SEGMENTS_PER_REQUEST)
    assert all(row["events_per_core_second"] > 0 for row in found["gateway"])
    assert [row["events_per_segment"] for row in found["steps"]] == [1, 64, 500]
    assert all(list(row["us_per_event"]) == list(STEPS) for row in found["steps"])
    assert found["backlog"]["taken_bytes"] <= found["backlog"]["taken_bytes_wanted"]
    assert all(mark["processor_us_per_event"] > 0 for mark in found["growth"]["marks"])
    assert all(mark["grown"] > -1 for mark in found["growth"]["marks"])
    assert all(row["p99_ms"] >= row["p50_ms"] > 0 for row in found["reads"]["questions"])


async def test_without_a_java_compiler_it_names_the_package_at_once(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks",
        "--quick",
        env={"PATH": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 1
    assert b"apt-get install -y openjdk-17-jre-headless openjdk-17-jdk-headless" in errors
    assert printed == b""
