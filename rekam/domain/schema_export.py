"""JSON Schema of everything that stands on the log in JSON, generated from the structs.

The files under `rekam/domain/schema/` are this module's output, committed, so that a change of a
contract shows in a review. Integrators and devices in other languages read them.
"""

import json
from collections.abc import Iterator

import msgspec

from rekam.domain.events import EVENT_TYPES, EventLine
from rekam.domain.segment import Header

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE = "event-line"
HEADER = "segment-header.v1"

_END_IN_PYTHON, _END_IN_ECMASCRIPT = r"\Z", "$"


def schema_files() -> dict[str, bytes]:
    """Return each file's bytes by name: envelope, segment header, and the data of each type."""
    return dict(_files())


def _files() -> Iterator[tuple[str, bytes]]:
    yield _file(ENVELOPE, EventLine)
    yield _file(HEADER, Header)
    for name, struct in EVENT_TYPES.items():
        yield _file(name, struct)


def _file(name: str, struct: type) -> tuple[str, bytes]:
    (root,), definitions = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    own = definitions.pop(root["$ref"].rpartition("/")[2])
    schema: dict[str, object] = {"$schema": DIALECT, "$id": f"urn:rekam:schema:{name}", **own}
    if definitions:
        schema["$defs"] = definitions
    text = json.dumps(_for_ecmascript(schema), indent=2, ensure_ascii=False)
    return f"{name}.json", f"{text}\n".encode()


def _for_ecmascript(schema: object) -> object:
    """Write patterns in JSON Schema's dialect, where `$` alone means the end and nothing else."""
    match schema:
        case dict():
            return {
                name: value.replace(_END_IN_PYTHON, _END_IN_ECMASCRIPT)
                if name == "pattern" and isinstance(value, str)
                else _for_ecmascript(value)
                for name, value in schema.items()
            }
        case list():
            return [_for_ecmascript(value) for value in schema]
        case _:
            return schema
