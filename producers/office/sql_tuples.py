"""Tuples of values in SQL text, as national region files come: `INSERT … (kode, nama) VALUES …`.

Read, never run. Texts are in single or double quotes, with a doubled quote or a backslash before
one that is meant; statements other than INSERT are passed over; bare tuples count as inserted. What
is passed over must hold no rows: an INSERT inside it, or a COPY block, is a fault.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<copy>(?i:COPY\b[^;]*\bFROM\s+STDIN\b[^;]*;).*?(?:\n\\\.[^\n]*|\Z))
    |(?P<comment>--[^\n]*|\#[^\n]*|/\*.*?\*/|(?m:^\\(?:un)?restrict\b[^\n]*))
    |(?P<text>'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*")
    |(?P<name>`[^`]*`|[A-Za-z_][A-Za-z0-9_$.]*)
    |(?P<number>[-+]?\d[\d.eE]*)
    |(?P<mark>[(),;])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_QUOTES: Final = frozenset("'\"`")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_END: Final = "end"
_INSERTS: Final = frozenset({"INSERT", "REPLACE"})
_WITH_A_BODY: Final = frozenset({"EVENT", "FUNCTION", "PROCEDURE", "RULE", "TRIGGER"})
"""What is made of these inserts when it is run, and holds no rows."""


@dataclass(frozen=True, slots=True)
class SqlTuple:
    """One tuple; `columns` are those that its statement names, None when it names none."""

    number: int
    line: int
    columns: tuple[str, ...] | None
    values: tuple[str | None, ...]
    """Texts and numbers as they are written; None for NULL."""


@dataclass(frozen=True, slots=True)
class SqlFault:
    """A place that is no tuple of plain values."""

    line: int
    fault: str
    is_tuple: bool = False
    """It is counted, so that those after it have the numbers that a person counts."""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def sql_tuples(text: str) -> Iterator[SqlTuple | SqlFault]:
    """Yield every tuple that is inserted, and every one that cannot be read."""
    statement: list[_Token] = []
    number = 0
    for token in _tokens(text):
        if token.kind not in {_END, "copy"} and token.text != ";":
            statement.append(token)
            continue
        for found in _statement(statement):
            if isinstance(found, SqlFault) and not found.is_tuple:
                yield found
                continue
            number += 1
            yield replace(found, number=number)
        statement = []
        if token.kind == "copy":
            yield SqlFault(token.line, "a COPY block, which is not read; dump with --inserts")


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind, found = str(match.lastgroup), match.group()
        if kind not in {"space", "comment"}:
            yield _Token(kind, found, line)
        line += found.count("\n")
    yield _Token(_END, "", line)


def _statement(tokens: list[_Token]) -> Iterator[SqlTuple | SqlFault]:
    """Yield what one statement inserts; a statement of another kind inserts nothing."""
    if not tokens:
        return
    columns: tuple[str, ...] | None = None
    start = 0
    if tokens[0].text != "(":
        words = [token.text.upper() for token in tokens]
        if words[0] not in _INSERTS:
            if (fault := _passed_over(tokens, words)) is not None:
                yield fault
            return
        start = words.index("VALUES") + 1 if "VALUES" in words else len(words)
        if (hidden := _hidden_insert(words[:start], after=1)) is not None:
            yield _no_semicolon(tokens[hidden])
            return
        if "VALUES" not in words:
            yield SqlFault(tokens[0].line, "an INSERT without VALUES")
            return
        named = [token.text for token in tokens[:start] if token.kind in {"name", "text", "mark"}]
        if "(" in named:
            listed = named[named.index("(") + 1 :]
            columns = tuple(
                name.strip("`'\"") for name in listed[: listed.index(")")] if name != ","
            )
    yield from _tuples(tokens[start:], columns)


def _passed_over(tokens: list[_Token], words: list[str]) -> SqlFault | None:
    """Return why a statement that inserts nothing cannot be passed over: rows may be lost."""
    first = tokens[0]
    if first.kind == "other" or any(
        token.kind == "other" and token.text in _QUOTES for token in tokens
    ):
        return SqlFault(first.line, "is no SQL; a quote is missing before it, perhaps")
    if first.kind != "name":
        return SqlFault(first.line, "begins with no word; INSERT is missing, or the file is cut")
    place = _hidden_insert(words)
    if place is None or (
        "CREATE" in words
        and not _WITH_A_BODY.isdisjoint(words[:place])
        and not any(isinstance(one, SqlTuple) for one in _behind_values(tokens, words))
    ):
        listed = _tuple_list(tokens)
        return None if listed is None else SqlFault(listed.line, "tuples inside another statement")
    return _no_semicolon(tokens[place])


def _hidden_insert(words: list[str], *, after: int = 0) -> int | None:
    """Return where an INSERT begins inside a statement; `GRANT INSERT ON` and its like are none."""
    for n in range(after, len(words) - 1):
        is_other = words[n] == "REPLACE" and (words[n - 1] == "OR" or words[n + 1] == "(")
        if words[n] in _INSERTS and not is_other:
            behind = (word for word in words[n + 1 :] if word in {"INSERT", "INTO", "VALUES"})
            if next(behind, "INSERT") != "INSERT":
                return n
    return None


def _tuple_list(tokens: list[_Token]) -> _Token | None:
    """Return where tuples of plain values begin, with a comma between them as no clause has it."""
    opened = 0
    for n, token in enumerate(tokens):
        if token.text == "(":
            opened = n
        is_listed = token.text == ")" and [one.text for one in tokens[n + 1 : n + 3]] == [",", "("]
        if is_listed and _values(tokens[opened + 1 : n]) is not None:
            return tokens[opened]
    return None


def _behind_values(tokens: list[_Token], words: list[str]) -> Iterator[SqlTuple | SqlFault]:
    for n, word in enumerate(words):
        if word == "VALUES":
            yield from _tuples(tokens[n + 1 :], None)


def _no_semicolon(insert: _Token) -> SqlFault:
    return SqlFault(
        insert.line, "an INSERT inside another statement; a semicolon is missing before it"
    )


def _tuples(tokens: list[_Token], columns: tuple[str, ...] | None) -> Iterator[SqlTuple | SqlFault]:
    place = 0
    while place < len(tokens):
        first = tokens[place]
        if first.text == ",":
            place += 1
        elif first.text != "(":
            yield SqlFault(first.line, "something else than a tuple between tuples")
            place = _next(tokens, "(", after=place)
        elif (end := _closing(tokens, place)) == len(tokens):
            yield SqlFault(first.line, "a tuple that does not end", is_tuple=True)
            return
        else:
            if (values := _values(tokens[place + 1 : end])) is None:
                yield SqlFault(
                    first.line, "a tuple of something else than texts and numbers", is_tuple=True
                )
            else:
                yield SqlTuple(0, first.line, columns, values)
            place = end + 1


def _next(tokens: list[_Token], mark: str, *, after: int) -> int:
    """Return where a mark stands next, or the end."""
    return next((n for n in range(after, len(tokens)) if tokens[n].text == mark), len(tokens))


def _closing(tokens: list[_Token], place: int) -> int:
    """Return where the parenthesis at `place` is closed, or the end."""
    depth = 0
    for n in range(place, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[n].text, 0)
        if depth == 0:
            return n
    return len(tokens)


def _values(tokens: list[_Token]) -> tuple[str | None, ...] | None:
    """Return the values between commas, or None when they are not plain."""
    values: list[str | None] = []
    for n, token in enumerate(tokens):
        if n % 2:
            if token.text != ",":
                return None
        elif token.kind == "text":
            values.append(_unquoted(token.text))
        elif token.kind == "number":
            values.append(token.text)
        elif token.text.upper() == "NULL":
            values.append(None)
        else:
            return None
    return tuple(values) if len(tokens) % 2 else None


def _unquoted(text: str) -> str:
    quote = text[0]
    return _ESCAPED.sub(r"\1", text[1:-1].replace(quote * 2, quote))
