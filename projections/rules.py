"""The configuration that may change an answer; every answer names it."""

import hashlib
from dataclasses import dataclass

from rekam.domain.clocks import OfficeZone

COVERAGE_RULE = "sudah-rekam.v1"
"""Recorded = at least one recording not withdrawn; DUPLICATE_RECORD counts."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What folds depend on besides the log records."""

    zone: OfficeZone
    registrar: str
    """Producer id of the trust root."""
    person_key: bytes
    """Key of the person token (keyed BLAKE2b of the NIK)."""

    def token(self, nik: str) -> bytes:
        """Return the 16-byte pseudonym that tables hold in place of a NIK."""
        return hashlib.blake2b(nik.encode(), key=self.person_key, digest_size=16).digest()

    @property
    def id(self) -> str:
        """Name this configuration without giving its secrets away."""
        key_id = hashlib.sha256(b"rekam.person-key-id.v1\n" + self.person_key).hexdigest()[:16]
        return (
            f"{COVERAGE_RULE};zone={self.zone.name};registrar={self.registrar};person-key={key_id}"
        )
