"""How often the processor's garbage is collected."""

import gc
from typing import Final

_YOUNG_OBJECTS_MAX: Final = 100_000


def collect_rarely() -> None:
    """Collect cycles a hundred times more rarely, and never look at what is loaded by now.

    A fold makes and drops many small acyclic objects, which reference counts free; the default
    of 700 makes the collector walk them hundreds of times a second, a twelfth of a processor's
    time. Call once, after the imports and before the loop runs. The process is the processor's own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 10, 10)
