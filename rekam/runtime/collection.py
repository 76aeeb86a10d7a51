"""How often a server's garbage is collected. Each function decides it for the whole process."""

import gc
from typing import Final

_YOUNG_OBJECTS_MAX: Final = 100_000


def leave_loaded_alone() -> None:
    """Never look for garbage in what is loaded by now: modules and what they have made.

    Looking through that takes an API 50 ms, in the middle of somebody's call: every hundred calls
    or so, for none of it is ever garbage. Call once, when the process has started.
    """
    gc.collect()
    gc.freeze()


def collect_rarely() -> None:
    """Collect cycles a hundred times more rarely, and never look at what is loaded by now.

    A fold makes and drops many small acyclic objects, which reference counts free; the default
    of 700 makes the collector walk them hundreds of times a second, a twelfth of a processor's
    time. Call once, after the imports and before the loop runs.
    """
    leave_loaded_alone()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 10, 10)
