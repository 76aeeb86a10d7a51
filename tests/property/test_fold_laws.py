"""L2, L4, L5: folding is a function of the set of records, sums add up, nothing is silent."""

import asyncio
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.digest import differences, digests_of
from tests.support.history import digests, fold_all, random_history

SEEDS = st.integers(0, 2**32)


@given(seed=SEEDS, order=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_order_repetition_and_chunking_gives_the_same_rows(
    seed: int, order: random.Random
) -> None:
    """L2."""
    records = random_history(seed)
    straight = asyncio.run(fold_all(records))
    shuffled = [*records, *order.choices(records, k=5)]
    order.shuffle(shuffled)
    cuts = sorted(order.randrange(len(shuffled)) for _ in range(order.randrange(12)))
    other = asyncio.run(fold_all(shuffled, cuts))
    assert differences(digests_of(straight.tables()), digests_of(other.tables())) == []
    assert digests(straight) == digests(other)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_every_record_is_admitted_or_a_copy_or_held_or_quarantined(seed: int) -> None:
    """L5."""
    records = random_history(seed)
    tables = {name: list(rows) for name, rows in asyncio.run(fold_all(records)).tables().items()}
    places = Counter(
        [
            *((row[6], row[7]) for row in tables["ledger_segment"]),
            *(
                (row[0], row[1])
                for table in ("ledger_copy", "held_record", "quarantined_record")
                for row in tables[table]
            ),
        ]
    )
    assert places == Counter((record.partition, record.offset) for record in records)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_cells_are_the_sums_of_what_the_entities_say(seed: int) -> None:
    """L4: a person is in at most one cell of today's coverage, an entry in one bucket."""
    tables = {
        name: list(rows)
        for name, rows in asyncio.run(fold_all(random_history(seed))).tables().items()
    }
    placed = sum(count for *_, count in tables["coverage_cell"])  # type: ignore[misc]  # an int
    verified = sum(row[-1] for row in tables["verification_cell"] if row[0] != "-")  # type: ignore[misc]
    assert placed == verified <= len(tables["person"])
    for version in ("", "1", "2"):  # a version is what holds for all of them, and its own
        listed = sum(row[-1] for row in tables["cohort_cell"] if row[1] in ("", version))  # type: ignore[misc]
        assert 0 <= listed <= len(tables["cohort_entry"])
    assert all(row[-1] for name in ("coverage_cell", "cohort_cell") for row in tables[name])
