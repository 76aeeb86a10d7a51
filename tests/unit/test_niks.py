"""NIKs sealed in tables: the same bytes again, opened by the right keys alone."""

from dataclasses import replace

import pytest

from projections.person.niks import open_nik, seal_niks
from projections.rules import Rules
from rekam.domain.errors import Corrupt
from tests.support.history import RULES, nik

NIKS = [nik(number) for number in range(5)]


def test_sealed_niks_open_to_what_they_were_and_show_nothing_of_it() -> None:
    sealed = seal_niks(NIKS, RULES)
    assert len(set(sealed)) == len(NIKS)
    for one, raw in zip(NIKS, sealed, strict=True):
        assert one.encode() not in raw
        assert open_nik(raw, RULES.token(one), RULES) == one


def test_sealing_alone_or_with_others_gives_the_same_bytes() -> None:
    """So that chunks leave no trace, and a replay gives the rows again."""
    assert [seal_niks([one], RULES)[0] for one in NIKS] == list(seal_niks(NIKS, RULES))
    assert seal_niks([], RULES) == ()


@pytest.mark.parametrize(
    ("sealed", "token", "rules"),
    [
        (seal_niks(NIKS, RULES)[0], RULES.token(NIKS[1]), RULES),
        (seal_niks(NIKS, RULES)[0], RULES.token(NIKS[0]), replace(RULES, nik_key=bytes(32))),
        (seal_niks(NIKS, RULES)[0], RULES.token(NIKS[0]), replace(RULES, person_key=bytes(32))),
        (b"short", RULES.token(NIKS[0]), RULES),
        (b"", RULES.token(NIKS[0]), RULES),
    ],
)
def test_what_is_not_this_persons_is_refused_without_showing_it(
    sealed: bytes, token: bytes, rules: Rules
) -> None:
    with pytest.raises(Corrupt, match="REKAM_NIK_KEY") as caught:
        open_nik(sealed, token, rules)
    assert NIKS[0] not in str(caught.value)
