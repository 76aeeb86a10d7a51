"""Parameters of calls: read once, typed, bounded; a wrong one is named with what is wanted."""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, TypeVar, assert_never, get_args

import msgspec

from projections.api.problems import ProblemError, has_digits_of_a_nik, shown
from projections.coverage.series import Step
from projections.device_health.state import LABELS, Label
from projections.quarantine.reads import EventPlace, Place, RecordPlace
from projections.reading import DAY_MAX
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT, COVERAGE_RULES, CoverageRule
from rekam.domain.events import ProducerKind
from rekam.domain.segment import producer_id

T = TypeVar("T")

VALUE_CHARACTERS_MAX: Final = 200
PARAMETERS_MAX: Final = 20
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
TOKEN_DIGITS: Final = 32

_CALLER: Final = re.compile(r"[a-z0-9._@-]{1,31}")

Schema = dict[str, Any]
"""JSON Schema of a parameter, for the OpenAPI document."""


class Unwanted(Exception):  # noqa: N818 - the caller turns it into a problem
    """A value cannot be used; says what is wanted."""


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """One parameter of a call. `parse` raises Unwanted, or a ProblemError that says more."""

    name: str
    parse: Callable[[str], T]
    meaning: str
    schema: Schema
    where: Literal["query", "path", "header"] = "query"
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parsed values of one call."""

    values: Mapping[str, object] = field(default_factory=dict)

    def get(self, parameter: Parameter[T]) -> T | None:
        """Return what the caller gave, or None."""
        value: Any = self.values.get(parameter.name)
        return value  # type: ignore[no-any-return]  # parsed by this very parameter

    def required(self, parameter: Parameter[T]) -> T:
        """Return what the caller had to give."""
        value = self.get(parameter)
        assert value is not None, parameter.name  # noqa: S101 - `read_arguments` saw to it
        return value


def read_arguments(
    parameters: Sequence[Parameter[Any]],
    *,
    query: Iterable[tuple[str, str]],
    path: Mapping[str, str],
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Arguments:
    """Return the values of a call; `headers` are looked up as they are named, in any case.

    Raises ProblemError for the first parameter that is unknown, given twice, missing or wrong.
    """
    known = {entry.name: entry for entry in parameters if entry.where == "query"}
    given: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            names = ", ".join(known) or "none"
            raise ProblemError(
                "unknown_parameter", f"{shown(name)} is not a parameter of this call: {names}"
            )
        if name in given:
            raise ProblemError("invalid_parameter", f"{name} is given twice; give it once")
        given[name] = value
    given |= {name: value for name, value in path.items() if name not in given}
    given |= {
        entry.name: headers[entry.name]
        for entry in parameters
        if entry.where == "header" and entry.name in headers
    }
    values: dict[str, object] = {}
    for entry in parameters:
        if entry.name in given:
            values[entry.name] = _parsed(entry, given[entry.name])
        elif entry.is_required:
            raise ProblemError("missing_parameter", f"{entry.name} is missing: {entry.meaning}")
    return Arguments(values)


def _parsed(parameter: Parameter[T], text: str) -> T:
    if len(text) > VALUE_CHARACTERS_MAX:
        raise ProblemError(
            "invalid_parameter",
            f"{parameter.name} has {len(text)} characters; wanted {VALUE_CHARACTERS_MAX} at most",
        )
    try:
        return parameter.parse(text)
    except Unwanted as error:
        raise ProblemError(
            "invalid_parameter", f"{parameter.name}={shown(text)}; wanted {error}"
        ) from error


# Parsers -----------------------------------------------------------------------------------------


def _region(text: str) -> Region:
    region = Region.parse(text)
    if region is None:
        raise Unwanted("a Kemendagri code with dots, such as 64.08 or 64.08.04.2001")
    return region


def _choice(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise Unwanted(f"one of {', '.join(choices)}")
        return text

    return parse


def _level(text: str) -> Level:
    return Level(_choice([str(level) for level in LEVELS])(text))


def _step(text: str) -> Step:
    return Step(_choice([str(step) for step in Step])(text))


def _parse_rule(text: str) -> CoverageRule:
    _choice(COVERAGE_RULES)(text)
    return next(rule for rule in COVERAGE_RULES if rule == text)


def _label(text: str) -> Label:
    _choice(LABELS)(text)
    return next(label for label in LABELS if label == text)


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*", re.ASCII)


def _day(text: str) -> date:
    wanted = "a day such as 2018-03-31"
    if not _DAY.fullmatch(text):
        raise Unwanted(wanted)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Unwanted(wanted) from error
    if day > DAY_MAX:
        raise Unwanted(f"a day up to {DAY_MAX}")
    return day


def _known_at(text: str) -> date:
    if _INSTANT.fullmatch(text):
        raise ProblemError(
            "instant_is_a_replay",
            "known_at is an instant, and tables keep whole days; give its day, "
            "or run `rekam audit replay --known-at` with the instant",
        )
    return _day(text)


def _page(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PAGE_MAX:
        raise Unwanted(f"a whole number, 1 to {PAGE_MAX}")
    return int(text)


def parse_producer(text: str) -> str:
    """Return a producer's id. Raises Unwanted."""
    try:
        return producer_id(text)
    except msgspec.ValidationError as error:
        raise Unwanted("a producer id: 1 to 64 of a-z, 0-9, dot, hyphen") from error


def _cohort(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise Unwanted("the id of a list, such as those of /v1/cohorts")
    return text


def _token(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise Unwanted(f"a token of {TOKEN_DIGITS} hexadecimal digits, as people lookup returns it")
    return bytes.fromhex(text)


# Cursors -----------------------------------------------------------------------------------------

_encode_place = msgspec.msgpack.Encoder().encode
_decode_place = msgspec.msgpack.Decoder(Place).decode


def place_cursor(place: Place) -> str:
    """Return a place in a list as opaque text."""
    return _cursor(_encode_place(place))


def device_cursor(device: str) -> str:
    """Return a place in the list of devices as opaque text."""
    return _cursor(device.encode())


def _cursor(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _raw_cursor(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Unwanted(_CURSOR_WANTED) from error


def parse_place_cursor(text: str) -> Place:
    """Return the place that a cursor of a list of records stands for. Raises Unwanted."""
    try:
        place: Place = _decode_place(_raw_cursor(text))
    except msgspec.MsgspecError as error:
        raise Unwanted(_CURSOR_WANTED) from error
    match place:
        case RecordPlace():
            fits = abs(place.partition) < 2**31 and abs(place.offset) < 2**63
        case EventPlace():
            fits = (
                abs(place.epoch) < 2**31 and abs(place.seq) < 2**63 and "\0" not in place.producer
            )
        case _:
            assert_never(place)
    if not fits:  # A made-up cursor; no column could hold it.
        raise Unwanted(_CURSOR_WANTED)
    return place


def _parse_device_cursor(text: str) -> str:
    try:
        return producer_id(_raw_cursor(text).decode("ascii"))
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Unwanted(_CURSOR_WANTED) from error


_CURSOR_WANTED: Final = "the next_cursor of the page before, or none for the first page"


# The parameters ----------------------------------------------------------------------------------


def parse_reason(text: str) -> str:
    """Return why somebody reads of a person. Raises Unwanted."""
    if not text.strip() or "\0" in text or len(text) > VALUE_CHARACTERS_MAX:
        raise Unwanted(f"a few words, up to {VALUE_CHARACTERS_MAX} characters")
    if has_digits_of_a_nik(text):
        raise Unwanted("words without the digits of a NIK")
    return text.strip()


def _caller(text: str) -> str:
    if not _CALLER.fullmatch(text) or has_digits_of_a_nik(text):
        raise Unwanted("a user's short name: 1 to 31 of a-z 0-9 . _ @ -, no NIK")
    return text


LEVELS: Final = (Level.REGENCY, Level.KECAMATAN, Level.DESA)
FORMATS: Final = ("json", "csv")
KINDS: Final[tuple[str, ...]] = get_args(ProducerKind)

_CODE: Final[Schema] = {"type": "string", "pattern": r"^\d\d(\.\d\d(\.\d\d(\.\d{4})?)?)?$"}
_DATE: Final[Schema] = {"type": "string", "format": "date"}
_CURSOR: Final[Schema] = {"type": "string", "maxLength": VALUE_CHARACTERS_MAX}


def _rule(name: str, meaning: str) -> Parameter[CoverageRule]:
    schema: Schema = {"type": "string", "enum": list(COVERAGE_RULES)}
    return Parameter(name, _parse_rule, meaning, schema)


REGION: Final = Parameter(
    "region",
    _region,
    "the region by its Kemendagri code with dots, such as 64.08",
    _CODE,
    is_required=True,
)
WITHIN: Final = Parameter("region", _region, "only devices enrolled in this region", _CODE)
LEVEL: Final = Parameter(
    "level",
    _level,
    "the level of the rows; without it, the one below the region",
    {"type": "string", "enum": [str(level) for level in LEVELS]},
)
AS_OF: Final = Parameter(
    "as_of",
    _day,
    "count what happened up to this day (office time); without it, today",
    _DATE,
)
STATUSES_AS_OF: Final = replace(
    AS_OF,
    meaning="tell regions apart by the tree of this day, and count ages and letters to it (office "
    "time); people and their statuses are as they are known now, whatever it is; without it, today",
)
KNOWN_AT: Final = Parameter(
    "known_at",
    _known_at,
    "by what was known at the end of this day (office time); without it, today",
    _DATE,
)
FROM: Final = Parameter(
    "from", _day, "the first point (office time); without it, a year before the last one", _DATE
)
TO: Final = Parameter("to", _day, "the last point (office time); without it, today", _DATE)
STEP: Final = Parameter(
    "step",
    _step,
    "how far two points lie apart; without it, a month, and points are the ends of months",
    {"type": "string", "enum": [str(step) for step in Step]},
)
KNOWN_FROM: Final = Parameter(
    "known_from",
    _known_at,
    "the former report: by what was known at the end of this day (office time)",
    _DATE,
    is_required=True,
)
KNOWN_TO: Final = Parameter(
    "known_to",
    _known_at,
    "the later report: by what was known at the end of this day; without it, today",
    _DATE,
)
RULE: Final = _rule("rule", f"who of the recorded counts; without it, {COVERAGE_RULE_DEFAULT}")
RULE_FROM: Final = _rule(
    "rule_from", f"the former report's rule; without it, {COVERAGE_RULE_DEFAULT}"
)
RULE_TO: Final = _rule("rule_to", f"the later report's rule; without it, {COVERAGE_RULE_DEFAULT}")
FORMAT: Final = Parameter(
    "format",
    _choice(FORMATS),
    "json or csv; without it, what Accept prefers, or json",
    {"type": "string", "enum": list(FORMATS)},
)
LABEL: Final = Parameter(
    "label", _label, "only devices with this label", {"type": "string", "enum": list(LABELS)}
)
KIND: Final = Parameter(
    "kind",
    _choice(KINDS),
    "only producers of this kind",
    {"type": "string", "enum": list(KINDS)},
)
LIMIT: Final = Parameter(
    "limit",
    _page,
    f"entries of a page; without it, {PAGE_DEFAULT}",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX},
)
DEVICE_CURSOR: Final = Parameter("cursor", _parse_device_cursor, _CURSOR_WANTED, _CURSOR)
PLACE_CURSOR: Final = Parameter("cursor", parse_place_cursor, _CURSOR_WANTED, _CURSOR)
DEVICE: Final = Parameter(
    "id", parse_producer, "the producer's id", {"type": "string"}, where="path", is_required=True
)
COHORT: Final = Parameter(
    "id", _cohort, "the list's id", {"type": "string"}, where="path", is_required=True
)
REASON: Final = Parameter(
    "Access-Reason",
    parse_reason,
    "why the caller reads of people, in a few words; it is recorded",
    {"type": "string", "minLength": 1, "maxLength": VALUE_CHARACTERS_MAX},
    where="header",
)
CALLER: Final = Parameter(
    "Access-Caller",
    _caller,
    "for which of its users the holder of the token asks; it is recorded",
    {"type": "string", "pattern": f"^{_CALLER.pattern}$"},
    where="header",
)
TOKEN: Final = Parameter(
    "token",
    _token,
    "the person's token",
    {"type": "string", "pattern": f"^[0-9a-f]{{{TOKEN_DIGITS}}}$"},
    where="path",
    is_required=True,
)
