"""Identifiers: one type per concept, so that they cannot be mixed up."""

from typing import NewType

ProducerId = NewType("ProducerId", str)
"""Who seals segments: 1..64 of `a-z 0-9 . -`, chosen at enrolment; the Kafka key."""

Epoch = NewType("Epoch", int)
"""One life of a producer's outbox; the first is 1."""

Seq = NewType("Seq", int)
"""Place of an event in its epoch; gapless, the first is 1."""

KeyId = NewType("KeyId", str)
"""First 16 bytes of the SHA-256 of a raw public key, as 32 hex digits."""

RegionCode = NewType("RegionCode", str)
"""Kemendagri code with dots, such as `64.08.12.1002`; its prefixes are the regions above it."""
