"""Seeded chance: the same words give the same draws, on every machine and in every run."""

from random import Random


def chance(*words: object) -> Random:
    """Return a generator of draws that belongs to these words alone."""
    return Random("/".join(map(str, words)))  # noqa: S311 - reproducible on purpose, hides nothing
