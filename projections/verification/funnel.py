"""The way of a card as a funnel: how many reached each stage, and where the others are. Pure."""

from collections.abc import Mapping

import msgspec

from projections.verification.vocabulary import STAGES, STANDS_AT, STOPPED_AT, Stage


class FunnelStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the way."""

    reached: int
    """People whose record came at least so far, wherever it is now."""
    here: int
    """People whose record stands here and goes on by itself."""


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """Where the recorded people are. `here` of all stages and the residuals sum to `recorded`."""

    recorded: int
    """People with a standing recording, dated or not."""
    stages: dict[Stage, FunnelStage]
    residuals: dict[str, int]
    """People whose record stopped, by raw status; `unknown`: by no word that is known."""


UNKNOWN = "unknown"


def funnel(statuses: Mapping[str, int]) -> Funnel:
    """Return the funnel of recorded people by raw status."""
    here, reached = dict.fromkeys(STAGES, 0), dict.fromkeys(STAGES, 0)
    residuals: dict[str, int] = {}
    for status, people in statuses.items():
        stage = STANDS_AT.get(status)
        if stage is not None:
            here[stage] += people
        else:
            known = status in STOPPED_AT
            stage = STOPPED_AT[status] if known else "recorded"
            name = status if known else UNKNOWN
            residuals[name] = residuals.get(name, 0) + people
        for passed in STAGES[: STAGES.index(stage) + 1]:
            reached[passed] += people
    return Funnel(
        recorded=sum(statuses.values()),
        stages={stage: FunnelStage(reached=reached[stage], here=here[stage]) for stage in STAGES},
        residuals=dict(sorted(residuals.items())),
    )
