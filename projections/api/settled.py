"""Whether all that was known at the end of a day is in the tables: only then is a figure for ever.

The log's brokers give each record its time of append, in the order of the partition, so what they
took before the end of a day that is over lies below one offset of each partition. Tables that are
folded so far, under the rules that the answer names, hold the day.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

from projections.api.office import Office, require_own_rules
from projections.api.problems import ProblemError
from projections.position.reads import position
from projections.reading import Connection, end_of_day_ms, instant
from rekam.domain.errors import RekamError

CLOCKS_APART_MS_MAX: Final = 15 * 60 * 1000
"""How far the clocks of brokers and of this machine may differ: a day is over so much later."""


async def log_of_day(office: Office, day: date) -> Mapping[int, int]:
    """Return by partition the offset below which the log holds all that it took up to a day's end.

    Raises ProblemError while the day is not surely over, and when the log does not answer.
    """
    over_ms = end_of_day_ms(day, office.rules.zone) + CLOCKS_APART_MS_MAX
    if office.now_ms() < over_ms:
        raise ProblemError(
            "day_not_folded",
            f"{day} is not over by every clock; ask again from {instant(over_ms):%Y-%m-%dT%H:%MZ} "
            "on, or for an earlier known_at",
        )
    try:
        return await office.log_below(over_ms)
    except RekamError as error:
        raise ProblemError(
            "log_unavailable", f"whether {day} is wholly folded cannot be told now: {error}"
        ) from error


async def require_folded(
    office: Office, connection: Connection, ends: Mapping[int, int], *, day: date
) -> None:
    """Raise ProblemError unless this snapshot holds all of the log below `ends`, by our rules."""
    await require_own_rules(office, connection)
    folded = await position(connection, topic=office.topic)
    behind = {number: end for number, end in ends.items() if folded.get(number, 0) < end}
    if behind:
        number = min(behind)
        raise ProblemError(
            "day_not_folded",
            f"of {len(ends)} partitions {len(behind)} are not folded up to the end of {day}: "
            f"partition {number} up to {folded.get(number, 0)} of {behind[number]}; ask again when "
            "position says so, and see that the processor runs",
        )
