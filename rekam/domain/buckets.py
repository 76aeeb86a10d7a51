"""Buckets of a list that no source can name: they say that nobody did, or of what."""

from typing import Final

RESIDUAL: Final = "unresolved"
"""Bucket of the entries of which no source has said anything."""
UNLISTED: Final = "unlisted"
"""Bucket of numbers of which a source has said something and which no list has (yet)."""
RESERVED: Final = frozenset({RESIDUAL, UNLISTED})
