"""Which kinds of producers may state what; what its producer may not state does not count."""

from collections.abc import Mapping
from typing import Final

from projections.access import facts as access
from projections.cohort import facts as cohort
from projections.person import facts as person
from projections.reference import facts as reference
from projections.registry import facts as registry

_RECORDING: Final = frozenset({"recorder", "relay", "office"})
_WITHDRAWING: Final = frozenset({"recorder", "office", "registrar"})
_LIST_KEEPERS: Final = frozenset({"kpu", "office", "registrar"})
_REGISTRAR: Final = frozenset({"registrar"})

ALLOWED_KINDS: Final[Mapping[type, frozenset[str]]] = {
    person.Captured: _RECORDING,
    person.Withdrawn: _WITHDRAWING,
    person.WithdrawnOf: _WITHDRAWING,
    person.Observed: frozenset({"centre"}),
    person.Suket: frozenset({"centre", "office"}),
    person.CaseResolved: frozenset({"office", "registrar"}),
    person.Erasure: _REGISTRAR,
    person.ListedIn: _LIST_KEEPERS,
    access.Accessed: frozenset({"api"}),
    access.Forgotten: _REGISTRAR,
    cohort.Listed: _LIST_KEEPERS,
    cohort.Resolved: _LIST_KEEPERS,
    reference.CohortHead: _LIST_KEEPERS,
    reference.Tree: _REGISTRAR,
    reference.Denominators: _REGISTRAR,
    registry.Enrolled: _REGISTRAR,
    registry.KeyAdded: _REGISTRAR,
    registry.Revoked: _REGISTRAR,
    registry.DeclaredLost: _REGISTRAR,
    registry.Ticket: frozenset({"office", "registrar"}),
}
"""By type of fact; what is not listed every enrolled producer may state of itself."""
