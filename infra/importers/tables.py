"""Files as tables: CSV of any dialect, Parquet, JSON Lines; read as a stream, each row with its place.

A row that cannot be read is reported with its line, and the next one is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from infra.importers.mapping import FileFormat
from infra.training.encodings import UnreadableFile, Utf8Stream

DELIMITERS = (",", "\t", ";", "|", "\x01")
_SNIFFED = 1 << 16  # characters that the delimiter is told by
_RECORD_LINES = 200  # of one CSV record: an open quote must not swallow the file
_BATCH = 2000
_BEGINNING = 512  # bytes that tell what a file is
_LOOKED_AT = 100  # rows of JSON Lines that tell the columns
_AS_CSV = "save the sheet as CSV (in Excel: “CSV UTF-8”) and import that"

Format = Literal["csv", "parquet", "jsonl"]


class TableError(ValueError):
    """The file cannot be read as a table; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row with the line that it begins on (of a Parquet file: its number, from 1 on)."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that is no row."""

    line: int
    reason: str


def format_of(path: Path, wanted: FileFormat = FileFormat()) -> Format:  # noqa: B008 - it never changes
    """The kind of file: as the mapping says, else by its first bytes, else by its name."""
    if wanted.format is not None:
        return wanted.format
    with path.open("rb") as file:
        begin = file.read(_BEGINNING)
    if begin.startswith(b"PAR1"):
        return "parquet"
    names = [part.lower() for part in path.name.split(".")[1:]]
    if {"jsonl", "ndjson"} & set(names):
        return "jsonl"
    _refuse_others(path, begin)
    return "jsonl" if begin.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b'{"') else "csv"


def _refuse_others(path: Path, begin: bytes) -> None:
    """What people have and is no table, with the way to one.

    Raises:
        TableError: the file is such.
    """
    if begin.startswith(b"PK\x03\x04"):
        inner = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
        if any(name.startswith("xl/") for name in inner):
            raise TableError(f"{path.name} is an Excel workbook: {_AS_CSV}")
        raise TableError(f"{path.name} is a zip archive: unpack it, and import what is in it")
    if begin.startswith(b"\xd0\xcf\x11\xe0"):
        raise TableError(f"{path.name} is an old Excel workbook: {_AS_CSV}")
    text = begin.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        raise TableError(f"{path.name} is a web page; was it a page to sign in on that was downloaded?")
    if text.startswith(b"[") and text[1:].lstrip().startswith((b"{", b"]")):
        raise TableError(
            f"{path.name} is one JSON list; an object a line is read: jq -c '.[]' {path.name} > {path.stem}.jsonl"
        )


def read_table(path: Path, wanted: FileFormat = FileFormat()) -> Iterator[TableRow | BadRow]:  # noqa: B008
    """The file's rows.

    Raises:
        TableError: the file is none that can be read; a damaged one ends so behind its last good row.
    """
    kind = format_of(path, wanted)
    with _readable(path, wanted):
        if kind == "parquet":
            yield from _parquet(path)
        elif kind == "jsonl":
            yield from _json_lines(path, wanted)
        else:
            yield from _csv(path, wanted)


@contextmanager
def _readable(path: Path, wanted: FileFormat) -> Iterator[None]:
    """Whatever makes a file unreadable, as a `TableError`."""
    try:
        yield
    except UnreadableFile as error:
        raise TableError(f"{path.name}: {error}") from None
    except (UnicodeError, LookupError) as error:
        raise TableError(f"{path.name} is not {wanted.encoding}: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TableError(f"{path.name}: the gzip data is damaged: {error}") from None


def columns_of(path: Path, wanted: FileFormat = FileFormat()) -> list[str]:  # noqa: B008
    """The names of the table's columns; of JSON Lines those of its first rows.

    Raises:
        TableError: see `read_table`.
    """
    if format_of(path, wanted) == "parquet":
        return [str(name) for name in _flat(_opened(path).schema_arrow.empty_table()).column_names]
    if format_of(path, wanted) == "csv":
        if wanted.columns is not None:
            return list(wanted.columns)
        header: list[str] = []
        with _readable(path, wanted):
            next(_csv(path, wanted, header), None)
        return header
    rows = (row for row in islice(read_table(path, wanted), _LOOKED_AT) if isinstance(row, TableRow))
    return list(dict.fromkeys(name for row in rows for name in row.values))


class _Bytes(io.RawIOBase):
    """A `Utf8Stream` as Python's own streams."""

    def __init__(self, stream: Utf8Stream) -> None:
        self._stream = stream
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or self._stream.read(len(buffer))
        taken = self._rest[: len(buffer)]
        self._rest = self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def text_of(path: Path, encoding: str | None = None) -> io.TextIOWrapper:
    """The file's text, inflated where it is gzip, without its byte order mark; newlines as they are."""
    if encoding is not None:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        file = gzip.open(path, "rb") if packed else path.open("rb")  # noqa: SIM115 - closed with the text
        name = {"utf-8": "utf-8-sig", "utf8": "utf-8-sig"}.get(encoding.lower(), encoding)
        return io.TextIOWrapper(file, name, newline="")
    raw = io.BufferedReader(_Bytes(Utf8Stream(path)), 1 << 16)
    return io.TextIOWrapper(raw, "utf-8-sig", newline="")


# CSV ----------------------------------------------------------------------------------------------------------------


def sniff_delimiter(sample: str, quote: str = '"') -> str:
    """The sign between a CSV's cells: the one that cuts most of its records into the same number of cells, above one.

    ``,`` where none does.
    """
    best, found = (0.0, 0), ","
    for delimiter in DELIMITERS:
        reader = csv.reader(sample.splitlines(keepends=True), delimiter=delimiter, quotechar=quote)
        try:
            widths = Counter(len(row) for row in reader if row)
        except csv.Error:
            continue
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        score = (count / sum(widths.values()), width)
        if width > 1 and score > best:
            best, found = score, delimiter
    return found


class _Record:
    """Feeds `csv.reader` one record's lines."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self.line = 0  # the last one that was taken

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= _RECORD_LINES:
            raise csv.Error("unclosed")
        line = self._again.popleft() if self._again else next(self._lines)
        self._taken.append(line)
        self.line += 1
        return line

    def begin(self) -> int:
        """The line that the next record begins on."""
        self._taken.clear()
        return self.line + 1

    def keep_first(self) -> None:
        """Only the first line of the record is lost; the others are read again."""
        self._again.extendleft(reversed(self._taken[1:]))
        self.line -= len(self._taken) - 1

    @property
    def size(self) -> int:
        return len(self._taken)


def _csv(path: Path, wanted: FileFormat, told: list[str] | None = None) -> Iterator[TableRow | BadRow]:
    """told: gets the header before the first row comes."""
    with text_of(path, wanted.encoding) as text:
        sample = text.read(_SNIFFED)
        whole = len(sample) < _SNIFFED
        delimiter = wanted.delimiter or sniff_delimiter(
            sample if whole else sample[: sample.rfind("\n") + 1] or sample, wanted.quote
        )
        lines = _Record(_lines(sample, text))
        header = wanted.columns
        options: dict[str, Any] = {"delimiter": delimiter, "quotechar": wanted.quote, "strict": True}
        if wanted.escape is not None:
            options |= {"escapechar": wanted.escape, "doublequote": False}
        while True:
            line = lines.begin()
            try:
                cells = next(csv.reader(lines, **options), None)
                if cells is None:
                    break
                if not "".join(cells).strip() and (len(cells) < 2 or header is None):
                    continue
                if header is not None and len(cells) != len(header):
                    if lines.size > 1:
                        raise csv.Error("unclosed")
                    yield BadRow(line, f"The row has {len(cells)} cells, the header {len(header)}.")
                    continue
            except csv.Error as error:
                lines.keep_first()
                if header is None:
                    raise TableError(f"{path.name}: the header cannot be read: {_csv_reason(error)}") from None
                yield BadRow(line, _csv_reason(error))
                continue
            if header is None and len(cells) < 3 and cells[0].lower().startswith("sep="):
                continue  # Excel's own line about the delimiter
            if header is None:
                header = _header(cells, path)
                if told is not None:
                    told.extend(header)
                continue
            yield TableRow(line, dict(zip(header, cells, strict=True)))
        if header is None:
            raise TableError(f"{path.name} is empty")


def _lines(sample: str, text: io.TextIOWrapper) -> Iterator[str]:
    """Physical lines with their ends: of what was read already, then of the rest."""
    *whole, last = io.StringIO(sample, newline="").readlines() or [""]
    yield from whole
    rest = iter(text)
    if last.endswith("\r"):  # its newline may follow
        begun = next(rest, "")
        if begun != "\n":
            yield last
            last = begun
        else:
            last += begun
    elif last and not last.endswith("\n"):
        last += next(rest, "")
    if last:
        yield last
    yield from rest


def _header(cells: Sequence[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise TableError(f"{path.name}: the header names {', '.join(twice)} more than once")
    return [name or f"column {number}" for number, name in enumerate(names, start=1)]


def _csv_reason(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"A cell is longer than {csv.field_size_limit():,} characters."
    if "unclosed" in str(error) or "end of data" in str(error):
        return "A quote that opens on this line is not closed."
    return f"The quotes of the line are broken: {error}."


# Others -------------------------------------------------------------------------------------------------------------


def _opened(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise TableError("reading Parquet needs pyarrow: pip install -r requirements.txt") from None
    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise TableError(f"{path.name} is no Parquet file that can be read: {error}") from None


def _parquet(path: Path) -> Iterator[TableRow]:
    number = 0
    with _opened(path) as file:
        from pyarrow import Table

        for batch in file.iter_batches(batch_size=_BATCH):
            for values in _flat(Table.from_batches([batch])).to_pylist():
                number += 1
                yield TableRow(number, values)


def _flat(table: Any) -> Any:
    """A pyarrow table whose columns within columns are columns, named ``outer.inner``."""
    from pyarrow import types

    while any(types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _inner(value: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The same of a JSON object."""
    for name, one in value.items():
        if isinstance(one, dict):
            yield from _inner(one, f"{above}{name}.")
        else:
            yield f"{above}{name}", one


def _json_lines(path: Path, wanted: FileFormat) -> Iterator[TableRow | BadRow]:
    with text_of(path, wanted.encoding) as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                values = dict(_inner(value)) if isinstance(value, dict) else None
            except ValueError as error:
                yield BadRow(number, f"The line is not JSON: {error}.")
                continue
            except RecursionError:
                yield BadRow(number, "The line is nested too deeply.")
                continue
            if values is not None:
                yield TableRow(number, values)
            else:
                yield BadRow(number, "The line is JSON, but not an object in braces.")
