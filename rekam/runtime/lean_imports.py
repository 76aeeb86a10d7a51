"""Import libraries without what they would load for decoration alone."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_rich() -> Iterator[None]:
    """Hide rich and pygments from what is imported inside; afterwards whoever wants them has them.

    structlog takes it to colour tracebacks: 5 MB that a device with an old disk and a queue cannot
    spare. It does without. No effect once it is loaded.
    """
    hidden = [name for name in ("rich", "pygments") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say: not there
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
