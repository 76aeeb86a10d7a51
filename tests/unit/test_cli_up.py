"""What `rekam up` makes of what it sees: standing, figures, words."""

import pytest

from rekam.cli.display import Lines
from rekam.cli.figures import Cohort, Figures, grouped, in_words
from rekam.cli.standing import Observer, Sending, Standing
from rekam.cli.up import STALLED_SECONDS_MAX, Watchdog
from rekam.domain.errors import Unavailable
from rekam.runtime.kafka import OPEN_NETWORK


def standing(*, sent: int = 0, log_end: int = 0, folded: int = 0) -> Standing:
    return Standing(Sending(sent, sent, 1000, "send"), {0: log_end, 1: 0}, {0: folded}, 7)


def figures() -> Figures:
    return Figures(
        wajib=291_506,
        recorded=221_314,
        unrecorded=70_192,
        percent=75.9,
        date_unknown=0,
        events=982_144,
        segments=4728,
        duplicates=241,
        held=0,
        quarantined=0,
        gaps=0,
        cohorts=[Cohort("lapas", 427, {"tercetak": 394, "unresolved": 33}, 33)],
        seconds=63.2,
    )


@pytest.fixture
def observer() -> Observer:
    """Give an observer that only listens."""
    return Observer("127.0.0.1:9", OPEN_NETWORK, "postgresql://nobody@127.0.0.1:9/none")


def test_everything_is_sent_only_when_something_was_planned() -> None:
    assert not Sending().is_complete
    assert not Sending(10, 9, 10).is_complete
    assert Sending(10, 10, 10).is_complete
    assert Sending(12, 12, 10, "trickle").is_complete


@pytest.mark.parametrize("line", [b"", b"hello\n", b"[]", b'{"sent": "many"}', b"\xff"])
def test_line_that_is_no_progress_changes_nothing(observer: Observer, line: bytes) -> None:
    observer.hear(b'{"appended":3,"sent":2,"total":9,"phase":"append"}\n')
    observer.hear(line)
    assert observer.sending == Sending(3, 2, 9, "append")


def test_folded_share_of_the_log_is_told_in_events() -> None:
    assert standing(sent=1000, log_end=0).folded_events == 0
    assert standing(sent=1000, log_end=20, folded=5).folded_events == 250
    assert standing(sent=1000, log_end=20, folded=20).folded_events == 1000


def test_goal_is_reached_when_every_partition_is() -> None:
    seen = standing(log_end=5, folded=5)
    assert seen.has_reached({0: 5, 1: 0})
    assert not seen.has_reached({0: 5, 1: 1})
    assert not seen.has_reached({0: 6})


def test_numbers_are_written_as_indonesians_do() -> None:
    assert [grouped(number) for number in (0, 999, 221_314, -1234, None)] == [
        "0",
        "999",
        "221.314",
        "-1.234",
        "-",
    ]


def test_figures_are_told_in_two_languages() -> None:
    words = [" ".join(line.split()) for line in in_words(figures()).splitlines()]
    assert "Sudah rekam / recorded 221.314" in words
    assert "Cakupan / coverage 75,90 %" in words
    assert "Daftar lapas / list 427" in words
    assert "lapas: unresolved 33" in words


def test_lines_elsewhere_than_on_a_terminal_come_at_most_every_two_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Lines() as lines:
        for _ in range(100):
            lines.show(standing(sent=5, log_end=3, folded=2), is_drained=False)
        lines.conclude("{}")
    told = capsys.readouterr()
    assert told.out == "{}\n"
    assert told.err == "sent 5/1000 events · folded 2/3 segments · recorded 7 · send\n"


def test_demo_in_which_nothing_moves_is_ended() -> None:
    watchdog = Watchdog()
    watchdog.look(standing(log_end=1), now=0.0)
    watchdog.look(standing(log_end=2), now=STALLED_SECONDS_MAX)
    watchdog.look(None, now=2 * STALLED_SECONDS_MAX)
    with pytest.raises(Unavailable, match="nothing has moved for 600 s"):
        watchdog.look(standing(log_end=2), now=2 * STALLED_SECONDS_MAX + 1)
