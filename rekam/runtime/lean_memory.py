"""Ask the C library to give memory back early."""

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_ARENA_MAX: Final = -8
_TRIM_BYTES: Final = 128 * 1024


def give_memory_back() -> None:
    """Keep no more freed memory than glibc does at first, and one heap for all threads.

    glibc raises its threshold with every large block that is freed: what a device needed for one
    batch it would keep for ever (2.6 MB). Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
