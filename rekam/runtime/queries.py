"""SQL lives in `.sql` files beside its projection; this reads them by name."""

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from rekam.domain.errors import Corrupt

_NAME = re.compile(r"^-- name: (?P<name>.*)$", re.MULTILINE)
_VERB_NOUN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")


def load_queries(package: str, file_name: str = "queries.sql") -> Mapping[str, str]:
    """Return each statement of a package's file under the name in its `-- name: verb_noun` line.

    A statement runs from that line to the next; its comments stay, its final semicolon goes.
    Raises Corrupt for a name that is not verb_noun or comes twice, and for text without a name.
    """
    text = resources.files(package).joinpath(file_name).read_text(encoding="utf-8")
    return parse_queries(text, source=f"{package}/{file_name}")


def parse_queries(text: str, *, source: str) -> Mapping[str, str]:
    """Return the statements of a file's text; see `load_queries`."""
    preamble, *parts = _NAME.split(text)
    if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
        raise Corrupt(f"{source}: SQL before the first name. Put `-- name: verb_noun` above it.")
    queries: dict[str, str] = {}
    for name, body in zip((part.strip() for part in parts[::2]), parts[1::2], strict=True):
        if not _VERB_NOUN.fullmatch(name):
            raise Corrupt(f"{source}: query name {name!r}. Write it as verb_noun.")
        if name in queries:
            raise Corrupt(f"{source}: two queries are named {name}. Rename one.")
        statement = body.strip().removesuffix(";").rstrip()
        if all(not line.strip() or line.startswith("--") for line in statement.splitlines()):
            raise Corrupt(f"{source}: query {name} has no statement. Write or remove it.")
        queries[name] = statement
    return MappingProxyType(queries)
