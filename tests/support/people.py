"""Where people stand in the tables."""

from typing import Final

OF_PEOPLE: Final = frozenset({"person", "person_access", "cohort_entry", "duplicate_case"})
"""Tables with rows of single people; all others hold counts, or what is said of places and things.

`test_no_other_table_holds_a_person` sees that none is missing.
"""
