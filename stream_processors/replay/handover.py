"""What a rebuild hands over to the new tables: whose they are, who may use them, their comments.

Migrations make tables, and say nothing of an office's own roles: those were granted by hand.
"""

from typing import Any, Final

from rekam.domain.errors import Misconfigured
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("stream_processors.replay", "handover_queries.sql")

_STEPS: Final = ("list_owner_changes", "list_revokes", "list_grants", "list_comments")
"""In this order: a change of owner rewrites grants, and only an owner may grant."""


async def hand_over(session: Any, *, replaced: str, live: str) -> None:
    """Give tables of the schema `live` the owner, grants and comments of those of `replaced`.

    Inside the caller's transaction. A grant that somebody else made by a grant option counts as the
    owner's afterwards.
    """
    for step in _STEPS:
        for (statement,) in await session.fetch(QUERIES[step], replaced, live):
            await session.execute(statement)


async def require_no_dependants(session: Any, *, live: str, shadow: str) -> None:
    """Check that no view reads a table of `live` that one of `shadow` is to replace.

    It would be dropped together with the old one. Raises Misconfigured naming each.
    """
    if found := [use for (use,) in await session.fetch(QUERIES["list_dependants"], live, shadow)]:
        raise Misconfigured(
            [
                f"view {use}, and would be dropped with it: drop it, rebuild, and make it again"
                for use in found
            ]
        )
