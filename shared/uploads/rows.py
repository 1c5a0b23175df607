"""From physical lines to rows: JSON Lines and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.domain import Rejection
from shared.uploads.lines import LONGEST_LINE, Line, Lines, UnreadableError

LONGEST_RECORD = 1 << 16  # bytes that a CSV record may go on beyond its first line
MOST_RECORD_LINES = 200
_GROUPS = ("attributes", "targeting", "frequency_cap")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that could be read, with the 1-based line on which it starts. raw: its bytes, where it came from a file."""

    line: int
    value: dict[str, Any]
    raw: bytes = field(default=b"", compare=False, repr=False)


class _BadRecordError(Exception):
    """The CSV record that starts on the line under way cannot be read; carries the sentence."""


def json_rows(lines: Lines) -> Iterator[Row | Rejection]:
    for number, line, _ in lines:
        if line is None:
            yield _too_long(number)
        elif line and not line.isspace():
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield Rejection(number, "row", _not_json(line, error))
                continue
            if isinstance(value, dict):
                yield Row(number, value, line)
            else:
                yield Rejection(number, "row", "The line is JSON, but not an object in braces.")


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    reason = _not_utf8(line)
    if reason:
        return reason
    if "surrogate" in error.msg:
        return f"The line holds half of a surrogate pair, which is no character, at character {error.colno}."
    return f"The line is not JSON: {error.msg} at character {error.colno}."


def _not_utf8(line: bytes) -> str | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"The line is not UTF-8 at byte {error.start + 1}."
    return None


def _too_long(number: int) -> Rejection:
    return Rejection(number, "row", f"The line is longer than {LONGEST_LINE:,} bytes.")


class _Record:
    """Feeds `csv.reader` the lines of one record, and stops it where an open quote would swallow the file."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._size = 0
        self.taken: list[Line] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line, _ = taken = next(self._lines)
        if self.taken:
            self._size += len(line or b"")
            if line is None or self._size > LONGEST_RECORD or len(self.taken) >= MOST_RECORD_LINES or _not_utf8(line):
                self._lines.put_back([taken])
                raise _BadRecordError("A quote that opens on this line is not closed.")
        self.taken.append(taken)
        if line is None:
            raise _BadRecordError(_too_long(number).reason)
        reason = _not_utf8(line)
        if reason:
            raise _BadRecordError(reason)
        return line.decode() + "\n"


def csv_rows(lines: Lines, required: frozenset[str], header: list[str]) -> Iterator[Row | Rejection]:
    """Rows behind the header, which is read into `header`, or behind that of an earlier reading where it is full."""
    columns: list[str] | None = header or None
    rows = len(header)  # whoever goes on behind a row knows that there is one
    while True:
        record = _Record(lines)
        try:
            cells = next(csv.reader(record, strict=True), None)
            if cells is None:
                break
            # Of a row of somebody who was erased there are spaces left, and a quote (`shared.sweeping.stretches`).
            if len(record.taken) == 1 and len(cells) < 2 and not "".join(cells).replace('"', "").strip():
                continue
            if columns is not None and len(cells) != len(columns):
                raise _BadRecordError(
                    f"The row has {len(cells)} fields, the header {len(columns)}."
                    if len(record.taken) == 1
                    else "A quote that opens on this line is not closed where its field ends."
                )
        except (_BadRecordError, csv.Error) as error:
            if columns is None:
                raise UnreadableError(f"The header cannot be read. {_csv_reason(error, record)}") from error
            rows += 1
            lines.put_back(record.taken[1:])  # only the line with the broken quote is lost
            yield Rejection(record.taken[0].number, "row", _csv_reason(error, record))
            continue
        if columns is None:
            columns = _columns(cells, required)
            header.extend(columns)
            continue
        rows += 1
        raw = b"\n".join(line.data or b"" for line in record.taken)
        yield Row(record.taken[0].number, _object(columns, cells), raw)
    if columns is not None and not rows and lines.problem is None:
        raise UnreadableError("The file has a header and no rows.")


def _csv_reason(error: Exception, record: _Record) -> str:
    if isinstance(error, _BadRecordError):
        return str(error)
    if "field limit" in str(error):
        return f"A field is longer than {csv.field_size_limit():,} characters."
    if len(record.taken) > 1 or "end of data" in str(error):
        return "A quote that opens on this line is not closed."
    return f"The quotes of the line are broken: {error}."


def _columns(cells: list[str], required: frozenset[str]) -> list[str]:
    """The header's names; only what follows a dot keeps its capitals."""
    columns = [".".join([first.lower(), *rest]) for first, *rest in (cell.strip().split(".", 1) for cell in cells)]
    named = [column for column in columns if column]
    missing = sorted(required - set(named))
    if missing:
        hint = " Columns must be separated by commas." if len(cells) == 1 and set(cells[0]) & set(";\t|") else ""
        raise UnreadableError(f"The header lacks the column {', '.join(missing)}.{hint}")
    twice = sorted({column for column in named if named.count(column) > 1})
    twice += [group for group in _GROUPS if group in named and any(column.startswith(f"{group}.") for column in named)]
    if twice:
        raise UnreadableError(f"The header names the column {', '.join(twice)} more than once.")
    return columns


def _object(columns: list[str], cells: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if not column or not cell:
            continue
        group, _, key = column.partition(".")
        value: str | list[str] = cell
        if column == "tags" or group == "targeting":
            value = [part for part in map(str.strip, cell.replace(";", "|").split("|")) if part]
        if key and group in _GROUPS:
            row.setdefault(group, {})[key] = value
        else:
            row[column] = value
    return row
