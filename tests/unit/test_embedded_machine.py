"""What a machine lacks is said once, with Debian's names."""

from pathlib import Path

import pytest

from rekam.domain.errors import Misconfigured
from rekam.embedded.kafka_jars import ensure_jars, jars_folder
from rekam.embedded.machine import require_commands


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no command to be found."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("bare_machine")
def test_all_missing_commands_are_named_with_their_packages_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        require_commands("java", "mvn")
    assert caught.value.faults == (
        "missing on this machine: java, mvn. Run: apt-get install -y openjdk-17-jre-headless maven",
    )


@pytest.mark.usefixtures("bare_machine")
def test_a_missing_compiler_is_named_with_its_package() -> None:
    with pytest.raises(Misconfigured, match="apt-get install -y openjdk-17-jdk-headless"):
        require_commands("javac")


@pytest.mark.usefixtures("bare_machine")
async def test_cached_jars_need_no_maven(tmp_path: Path) -> None:
    jars_folder(tmp_path).mkdir()
    assert await ensure_jars(tmp_path, report=print) == jars_folder(tmp_path)


@pytest.mark.usefixtures("bare_machine")
async def test_uncached_jars_without_maven_leave_nothing_behind(tmp_path: Path) -> None:
    cache_dir = tmp_path / "cache"
    with pytest.raises(Misconfigured, match="apt-get install -y openjdk-17-jre-headless maven"):
        await ensure_jars(cache_dir, report=print)
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
