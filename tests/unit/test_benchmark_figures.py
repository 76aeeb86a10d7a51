"""Two folds that a benchmark compares must come to the same figures."""

import pytest

from tests.benchmarks.figures import require_same
from tests.benchmarks.machine import ProcessFailed

CELL = ("coverage", "64.08.04.2001", "2017-07-14 arrived dev-a offline")
OTHER = ("verification", "64.08.04.2001", "BIO_CAPTURED")


def test_equal_figures_are_the_same_fold() -> None:
    require_same({CELL: 2, OTHER: 2}, {OTHER: 2, CELL: 2}, whose="in Java")


@pytest.mark.parametrize("others", [{CELL: 1, OTHER: 2}, {OTHER: 2}])
def test_another_or_a_missing_count_is_named_with_its_cell(
    others: dict[tuple[str, str, str], int],
) -> None:
    with pytest.raises(ProcessFailed, match="1 cells differ") as caught:
        require_same({CELL: 2, OTHER: 2}, others, whose="in Java")
    assert f"{' '.join(CELL)}: 2, in Java {others.get(CELL, 0)}" in str(caught.value)
