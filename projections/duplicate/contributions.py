"""What one person adds to the cases of duplicates: a row for each case, and whose recordings."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from projections.duplicate.state import Kind, cases_of, standing_recordings
from projections.person.erasure import order_of
from projections.person.facts import PersonFact
from projections.person.state import UNPLACED, Placement
from projections.rules import Rules

TABLE: Final = "duplicate_case"
DEVICE_TABLE: Final = "duplicate_device"
ID_BYTES: Final = 12

CaseCell = tuple[str, str, str, str, str, date, bytes]
"""(case_id, kind, state, outcome, desa, since_on, token)"""
NOBODY: Final = b""
"""Stands for the token of a person who was erased: the case counts on, and leads to nobody."""
DeviceCell = tuple[str, str]
"""(producer, case_id)"""


def case_id(token: bytes, kind: Kind, rules: Rules) -> str:
    """Return the public name of a person's case; the person cannot be had from it."""
    hashed = hashlib.blake2b(
        token + kind.encode(), key=rules.person_key, digest_size=ID_BYTES, person=b"rekam.case"
    )
    return hashed.hexdigest()


def duplicate_contributions(
    token: bytes, facts: Sequence[PersonFact], placement: Placement | None, rules: Rules
) -> dict[str, Mapping[Any, int]]:
    """Return one person's cells by table; nearly nobody has any."""
    found_cases = cases_of(facts)
    if not found_cases:
        return {}
    cases: dict[CaseCell, int] = {}
    devices: dict[DeviceCell, int] = {}
    standing = standing_recordings(facts)
    desa = UNPLACED if placement is None else placement.desa
    named = NOBODY if order_of(facts) else token
    for case in found_cases:
        identity = case_id(token, case.kind, rules)
        state = "resolved" if case.outcome else "open"
        since_on = rules.zone.day(case.since_ms)
        cases[identity, case.kind, state, case.outcome, desa, since_on, named] = 1
        for fact in standing:
            cell = (fact.producer, identity)
            devices[cell] = devices.get(cell, 0) + 1
    found: dict[str, Mapping[Any, int]] = {TABLE: cases}
    if devices:
        found[DEVICE_TABLE] = devices
    return found
