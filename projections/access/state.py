"""What is kept of the reading of a person who was erased: that it happened, and by whom."""

from collections.abc import Sequence

from msgspec import structs

from projections.access.facts import REASON_UNTOLD, Accessed, AccessFact, Forgotten
from projections.rules import Rules


def is_forgotten(facts: Sequence[AccessFact]) -> bool:
    """Tell whether the person's erasure was ordered."""
    return any(type(fact.data) is Forgotten for fact in facts)


def forget(_token: bytes, facts: Sequence[AccessFact], _rules: Rules) -> Sequence[AccessFact]:
    """Return the facts without reasons, if an erasure was ordered; otherwise the very same ones.

    A reason is words about the person. Who read remains, because sums and auditors rest on it.
    """
    if not is_forgotten(facts):
        return facts
    return [
        structs.replace(fact, data=structs.replace(fact.data, reason=REASON_UNTOLD))
        if isinstance(fact.data, Accessed)
        else fact
        for fact in facts
    ]
