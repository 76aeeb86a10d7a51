"""The demonstration, whole: the regency's figures, whatever is killed in the middle."""

import json
import os
import signal
from pathlib import Path

from tests.support.machine import RunningUp
from tests.support.waiting import until

DRAINED_SECONDS_MAX = 900.0
KILLED = ("processor", "processor", "Kafka", "PostgreSQL")


async def test_the_regency_s_figures_survive_kills_of_every_part(tmp_path: Path) -> None:
    async with RunningUp(tmp_path, "--demo", "--until-drained") as up:
        await up.until_it_says("folded ")
        for name in KILLED:
            before: dict[str, int] = {}

            async def is_there(name: str = name, before: dict[str, int] = before) -> bool:
                before |= up.parts()
                return name in before

            await until(is_there)
            os.kill(before[name], signal.SIGKILL)

            async def is_another(name: str = name, before: dict[str, int] = before) -> bool:
                return up.parts().get(name, before[name]) != before[name]

            await until(is_another)
            await up.until_it_says("folded ")
        figures = json.loads(await up.until_it_prints('"wajib"', seconds_max=DRAINED_SECONDS_MAX))
        assert await up.end() == 0, up.errors
    (cohort,) = figures["cohorts"]
    assert (figures["wajib"], figures["recorded"], figures["percent"]) == (291_506, 221_314, 75.92)
    assert figures["recorded"] + figures["unrecorded"] == figures["wajib"]
    assert figures["replay_equal"] is True
    assert [figures[name] for name in ("date_unknown", "held", "quarantined", "gaps")] == [0] * 4
    assert (cohort["total"], sum(cohort["buckets"].values()), cohort["residual"]) == (427, 427, 33)
    assert sorted(cohort["buckets"].values()) == [33, 83, 127, 184]
    assert figures["events"] > 900_000
