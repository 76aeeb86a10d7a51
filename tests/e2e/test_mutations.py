"""The laws can fail: each small wrong turn in a fold makes the test fail that must catch it.

A mutation is one exact replacement in a copy of the packages; the test then runs against the copy
in a process of its own. When a text is no longer there, the test says so: choose another place.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rekam", "projections", "stream_processors")
SECONDS_MAX = 120.0
"""A mutant is caught in two to five seconds where nothing else runs."""
HISTORIES_TIMES = 4
"""How many times as many histories a mutant has to pass: it ends at the first that it fails."""
TOO_LONG = "capital"
"""The scenario of 15,600 recordings: others see the same."""

LAWS = "tests/property/test_whole_history_laws.py"
COVERAGE = "tests/property/test_coverage_laws.py"
SCENARIOS = "tests/property/test_domain_scenarios.py"
ORDER = f"{LAWS}::test_any_order_repetition_and_chunking_gives_the_same_rows"
CELLS = f"{LAWS}::test_cells_are_at_every_prefix_what_the_entities_add_and_roll_ups_their_sums"
KNOWN = f"{LAWS}::test_as_known_at_k_is_the_fold_of_the_prefix_at_k"
EACH = f"{LAWS}::test_every_record_and_every_event_of_it_is_somewhere"
READ = f"{LAWS}::test_readings_of_people_are_counted_once_each_on_their_day_at_every_prefix"
ROUTE = f"{LAWS}::test_each_fact_is_told_by_the_route_of_the_earliest_copy_of_its_segment"
PERSON = f"{COVERAGE}::test_the_sums_over_one_persons_cells_are_what_was_known_of_that_person"
ERASED = "tests/property/test_erasure_laws.py::test_of_an_erased_person_no_row_holds_what_names_one"
STORY = f"{SCENARIOS}::test_the_figures_are_these_in_whatever_order_the_records_come"

CONFTEST = """
from hypothesis import HealthCheck, Phase, settings

# What fails is all that counts: neither shrunk nor remembered, and the same each time.
settings.register_profile(
    "mutants",
    phases=[Phase.generate],
    database=None,
    derandomize=True,
    suppress_health_check=[*HealthCheck],
)
settings.load_profile("mutants")
"""


@dataclass(frozen=True)
class Mutation:
    """One wrong turn: where, what stands there, what would be wrong, and who must notice."""

    name: str
    file: str
    right: str
    wrong: str
    caught_by: str

    def apply(self, root: Path) -> None:
        """Replace the text; it must stand in the file once."""
        path = root / self.file
        text = path.read_text()
        found = text.count(self.right)
        assert found == 1, f"{self.file} has {self.right!r} {found} times: choose another text"
        path.write_text(text.replace(self.right, self.wrong))


MUTATIONS = (
    Mutation(
        "a sign flipped: the former placement is added once more",
        "projections/coverage/contributions.py",
        "for placement, sign in ((move.before, -1), (move.after, 1)):",
        "for placement, sign in ((move.before, 1), (move.after, 1)):",
        STORY,
    ),
    Mutation(
        "a month begins on any day",
        "projections/coverage/contributions.py",
        "return day if day == DATE_UNKNOWN else day.replace(day=1)",
        "return day",
        STORY,
    ),
    Mutation(
        "a status of before the recording counts before it",
        "projections/coverage/contributions.py",
        "by_day[max(zone.day(observed_ms), placement.occurred_on)] = says_so",
        "by_day[zone.day(observed_ms)] = says_so",
        PERSON,
    ),
    Mutation(
        "a case dropped: withdrawals are not heard",
        "projections/person/state.py",
        "and fact.data.recording not in withdrawn",
        "and fact.data.recording",
        STORY,
    ),
    Mutation(
        "a tie broken wrongly: of two recordings of one day the smaller id",
        "projections/person/state.py",
        "return Placement(latest.domicile, min(day for day, _, _ in standing))",
        "return Placement(min(standing, key=lambda one: one[1].id)[2].domicile, "
        "min(day for day, _, _ in standing))",
        PERSON,
    ),
    Mutation(
        "a recording's day is the latest one",
        "projections/person/state.py",
        "min(day for day, _, _ in standing)",
        "max(day for day, _, _ in standing)",
        STORY,
    ),
    Mutation(
        "an order forgotten: a slot holds the word that came last",
        "projections/registry/facts.py",
        "elif slot not in slots or _place_in_life(fact) >= _place_in_life(slots[slot]):",
        "else:",
        ORDER,
    ),
    Mutation(
        "a union forgotten: a boot session is named by its last segment alone",
        "projections/rows.py",
        "return self._replace(first=min(self.first, first), last=max(self.last, last))",
        "return self._replace(first=first, last=last)",
        ORDER,
    ),
    Mutation(
        "an earlier copy that comes later does not tell the route",
        "stream_processors/admit.py",
        "                route=record.route,",
        "                route=row.route,",
        ROUTE,
    ),
    Mutation(
        "a fact that is judged again keeps its route",
        "stream_processors/fold.py",
        "            route=judge.route,",
        "            route=fact.route,",
        ROUTE,
    ),
    Mutation(
        "the latest copy decides since when a segment is known",
        "stream_processors/admit.py",
        "if (record.append_ms, record.partition, record.offset) < row.copy_order:",
        "if (record.append_ms, record.partition, record.offset) > row.copy_order:",
        STORY,
    ),
    Mutation(
        "re-judging forgotten: an earlier copy arrives, and its facts keep their day",
        "stream_processors/admit.py",
        "decided of its place.\n            self.changed.add(row.key)",
        "decided of its place.",
        STORY,
    ),
    Mutation(
        "nothing is released: an enrolment comes, and the segments stay held",
        "stream_processors/admit.py",
        "self._gained_keys.add(target)",
        "pass",
        ORDER,
    ),
    Mutation(
        "what waits is dropped in silence",
        "stream_processors/admit.py",
        "self._hold(intake.record, header, missing)\n            return",
        "return",
        EACH,
    ),
    Mutation(
        "the last appended of a fork counts",
        "projections/ledger/forks.py",
        "return (segment.append_ms, segment.hash)",
        "return (-segment.append_ms, segment.hash)",
        STORY,
    ),
    Mutation(
        "a union forgotten: of three rivals the third wins what the first has",
        "projections/ledger/forks.py",
        "taken = taken.union(own)",
        "taken = own",
        "tests/property/test_fork_laws.py",
    ),
    Mutation(
        "a segment's loss is decided without the rivals that the new one has not",
        "stream_processors/admit.py",
        "for row in (self.rows[key] for key in affected)",
        "for row in ()",
        STORY,
    ),
    Mutation(
        "re-judging forgotten: a late revocation or enrolment changes nothing",
        "stream_processors/fold.py",
        "if before.statements != now.statements:",
        "if False:",
        STORY,
    ),
    Mutation(
        "re-judging forgotten: a late anchor mends nothing",
        "stream_processors/fold.py",
        "elif before.anchors != now.anchors:",
        "elif False:",
        STORY,
    ),
    Mutation(
        "re-judging forgotten: a key turns out to have been known earlier",
        "stream_processors/fold.py",
        "return await self._rows_of_keys(moved, looked_at)",
        "return []",
        STORY,
    ),
    Mutation(
        "re-judging forgotten: what loses to a key that turns out to have been known earlier",
        "stream_processors/fold.py",
        "found.setdefault(other.key, other)",
        "pass",
        STORY,
    ),
    Mutation(
        "re-judging forgotten: what the registrar discards goes on counting",
        "stream_processors/fold.py",
        "await self._meet_discards(rows, admission.rows)",
        "pass",
        STORY,
    ),
    Mutation(
        "a union forgotten: of two discarded parts of a segment the last one alone",
        "projections/quarantine/facts.py",
        "now = now.union(RangeSet.of((max(1, fact.data.first), fact.data.last)))",
        "now = RangeSet.of((max(1, fact.data.first), fact.data.last))",
        STORY,
    ),
    Mutation(
        "a case dropped: of an erased person the lists that name it stay",
        "projections/person/erasure.py",
        "if type(fact.data) is not ListedIn",
        "if fact.data",
        ERASED,
    ),
    Mutation(
        "what an entity added before is not taken back",
        "stream_processors/fold.py",
        "added = entity_kind.change(key, before, now, rules)",
        "added = entity_kind.change(key, [], now, rules)",
        CELLS,
    ),
    Mutation(
        "off by one: the very moment of the revocation still counts",
        "projections/registry/context.py",
        "if happened_ms >= revoked_ms:",
        "if happened_ms > revoked_ms:",
        STORY,
    ),
    Mutation(
        "of two revocations the last known stands",
        "projections/registry/context.py",
        "effective_ms if revoked_ms is None else min(revoked_ms, effective_ms)",
        "effective_ms",
        STORY,
    ),
    Mutation(
        "of two anchors the last known stands",
        "projections/registry/context.py",
        "if latest is not None and (is_strong, place) < latest:\n            continue",
        "",
        STORY,
    ),
    Mutation(
        "knowledge begins with the append, though the key came later",
        "projections/registry/context.py",
        "return max(appended_on, self.keys.get(KeyId(key), appended_on))",
        "return appended_on",
        KNOWN,
    ),
    Mutation(
        "a case dropped: of whom the centre has said nothing, nobody is told",
        "projections/verification/contributions.py",
        "found = {} if placement is None else {TABLE: {(desa, RECORDED_HERE_ONLY): 1}}",
        "found = {}",
        STORY,
    ),
    Mutation(
        "a case dropped: what was settled stays settled, whatever is recorded then",
        "projections/duplicate/state.py",
        'return last.outcome if names <= set(last.recordings) else ""',
        "return last.outcome",
        STORY,
    ),
    Mutation(
        "a rule dropped: who looked and found nobody outweighs who did",
        "projections/cohort/state.py",
        "words = found or standing",
        "words = standing",
        STORY,
    ),
    Mutation(
        "what is said of every version is counted twice in one",
        "projections/cohort/contributions.py",
        "counted.subtract(dict.fromkeys(_of(cohort, version, every), 1))",
        "pass",
        STORY,
    ),
    Mutation(
        "a reading whose day becomes known counts on no day as well",
        "projections/access/contributions.py",
        "for fact, sign in ((before, -1), (after, 1)):",
        "for fact, sign in ((after, 1),):",
        READ,
    ),
    Mutation(
        "a kecamatan is re-coded and its desa stay behind",
        "projections/reference/recoding.py",
        "return new + code[length:] if len(new) == length else new",
        "return code",
        STORY,
    ),
    Mutation(
        "a version published again adds up with the first",
        "projections/reference/contributions.py",
        "for part, sign in ((former, -1), (later, 1)):",
        "for part, sign in ((later, 1),):",
        STORY,
    ),
    Mutation(
        "a union forgotten: one regency's publication takes back another's of the same version",
        "projections/reference/contributions.py",
        "now |= _parts(fact.data)",
        "now = {**_parts(fact.data)}",
        STORY,
    ),
    Mutation(
        "a clock is believed two days ahead",
        "rekam/domain/clocks.py",
        "AHEAD_MS_MAX: Final = 24 * 3600 * 1000",
        "AHEAD_MS_MAX: Final = 48 * 3600 * 1000",
        STORY,
    ),
    Mutation(
        "a stale status sets the current one back",
        "projections/verification/state.py",
        "if latest is not None and data.observed_ms <= latest:",
        "if latest is not None and data.observed_ms < 0:",
        STORY,
    ),
    Mutation(
        "a status stands since the first word of all",
        "projections/verification/state.py",
        "if earlier.status != last.status:",
        "if False:",
        STORY,
    ),
    Mutation(
        "a case dropped: nobody is set back legally",
        "projections/verification/vocabulary.py",
        'if after in _forward(_RESETS.get(before, "")):',
        "if False:",
        STORY,
    ),
)


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """Give a copy of the packages and of what the laws need."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    for name in ("pytest.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("support", "property"):
        shutil.copytree(ROOT / "tests" / folder, tmp_path / "tests" / folder)
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST)
    return tmp_path


def run(
    workshop: Path, tests: Iterable[str], *, times: int = 1
) -> subprocess.CompletedProcess[str]:
    options = ("-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-k", f"not {TOO_LONG}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=workshop,
        env=os.environ | {"LAWS_TIMES": str(times)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutant_is_caught(mutation: Mutation, workshop: Path) -> None:
    mutation.apply(workshop)
    ended = run(workshop, [mutation.caught_by], times=HISTORIES_TIMES)
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout + ended.stderr
    assert "1 failed" in ended.stdout, ended.stdout


def test_without_a_mutation_the_same_tests_pass_against_the_copy(workshop: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import projections; print(projections.__path__)"],
        cwd=workshop,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(workshop) in shown.stdout
    ended = run(workshop, sorted({mutation.caught_by for mutation in MUTATIONS}))
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout + ended.stderr
