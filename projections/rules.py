"""The configuration that may change an answer; every answer names it."""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, get_args

from rekam.domain.clocks import OfficeZone

RECORDED: Final = "sudah-rekam.v1"
"""What folds call recorded: at least one recording that is not withdrawn."""

FOLDS: Final = 5
"""Version of what folds make of facts. A change that gives other cells for the same facts raises
it: then no processor adds to cells of another version, and `rekam projection rebuild --switch`
makes them anew."""

CoverageRule = Literal["duplicates-count/v1", "duplicates-excluded/v1"]
"""Who of the recorded counts: everybody; or only those whose latest status observed by then is not
DUPLICATE_RECORD. A rule's meaning never changes: another meaning is another version."""

COVERAGE_RULES: Final[tuple[CoverageRule, ...]] = get_args(CoverageRule)
COVERAGE_RULE_DEFAULT: Final[CoverageRule] = "duplicates-count/v1"


@dataclass(frozen=True, slots=True)
class Rules:
    """What folds depend on besides the log records."""

    zone: OfficeZone
    registrar: str
    """Producer id of the trust root."""
    person_key: bytes
    """Key of the person token (keyed BLAKE2b of the NIK)."""
    nik_key: bytes
    """Key that seals NIKs in the tables (projections/person/niks.py)."""

    def token(self, nik: str) -> bytes:
        """Return the 16-byte pseudonym that tables hold in place of a NIK."""
        hashed = _keyed(self.person_key).copy()  # a third cheaper than keying it each time
        hashed.update(nik.encode())
        return hashed.digest()

    @property
    def id(self) -> str:
        """Name this configuration without giving its secrets away."""
        return (
            f"{RECORDED};folds={FOLDS};zone={self.zone.name};registrar={self.registrar}"
            f";person-key={_key_id(b'person', self.person_key)}"
            f";nik-key={_key_id(b'nik', self.nik_key)}"
        )


@cache
def _keyed(person_key: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(key=person_key, digest_size=16)


def _key_id(purpose: bytes, key: bytes) -> str:
    return hashlib.sha256(b"rekam.%b-key-id.v1\n%b" % (purpose, key)).hexdigest()[:16]
