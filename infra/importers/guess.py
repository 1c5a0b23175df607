"""A first mapping, guessed from a file's header and first rows, for its owner to read and mend.

Headers are known in Chinese and English (`headers`). What is a guess beyond the header's name says so in a comment,
and what has to be decided by a person is marked ``EDIT:``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from infra.importers.headers import ACTS, DOMAINS, IDS, NAMES, TIME_FORMATS, TIME_WORDS
from infra.importers.mapping import FIELDS, REQUIRED, TIMES, UNKNOWN, FileFormat, Kind
from infra.importers.tables import TableError, TableRow, columns_of, format_of, read_table, sniff_delimiter, text_of
from infra.importers.values import text_of as cell_text
from shared.domain import Event
from shared.preprocess import parse_event

ROWS = 500  # that a guess looks at
_MOST_VALUES = 30  # of an event column that are listed
_UNIT = re.compile(r"[(（\[](.*?)[)）\]]$")
_CENTS = re.compile(r"[(（\[](?:分|cents?|fen|pence)[)）\]]$|[ _-](?:cents?|fen|pence)$", re.IGNORECASE)
_CHINESE = re.compile("[\u3400-\u9fff]")
_NO_NAME = re.compile(r"\W+")
_PLAIN = re.compile(r"[A-Za-z\u4e00-\u9fff][\w\u4e00-\u9fff]*")
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_EPOCHS = {"epoch": re.compile(r"\d{9,10}(\.\d+)?"), "epoch_ms": re.compile(r"\d{12,13}")}
_COMMA = re.compile(r"\d,\d{1,2}(?!\d)")  # before decimals
_CLOCK = re.compile(r"\d{1,2}:\d\d(?P<seconds>:\d\d)?")
_DATA = re.compile(r"[\d.,:/ -]*\d[\d.,:/ -]*")  # a number or a time, which is no column's name
_NUMERIC = frozenset({"value", "bid_cpm", "daily_budget", "attributes.price"})


@dataclass(slots=True)
class Guessed:
    """A mapping file's text (YAML). `doubts`: what its owner has to look at before using it."""

    kind: Kind
    text: str
    doubts: list[str] = field(default_factory=list)


def guess(
    path: Path, kind: Kind | None = None, *, domain: str | None = None, names: Sequence[str] | None = None
) -> Guessed:
    """A mapping for the file. kind: what its rows are; None: events where somebody and a time are in it, else ads.
    names: of the columns of a file without a header.

    Raises:
        TableError: the file cannot be read, or its first row is no header.
    """
    wanted = FileFormat(columns=list(names) if names else None)
    columns = columns_of(path, wanted)
    if not columns:
        raise TableError(f"{path.name} has no columns")
    if names is None and any(_DATA.fullmatch(column) for column in columns):
        raise TableError(f"{path.name}: its first row looks like data ({', '.join(columns)}); name its columns")
    rows = [row.values for row in islice(read_table(path, wanted), ROWS) if isinstance(row, TableRow)]
    asked = kind is not None
    if kind is None:
        kind = "events" if {"user_id", "timestamp"} <= _fields_of(columns, rows, "events").keys() else "ads"
    writer = _Writer(kind, path, columns, rows, domain, headless=names is not None)
    if not asked and not writer.sure:
        writer.doubt(
            "kind", "taken for ads, since no columns of a person and a time are known; else give --kind events"
        )
    return writer.written()


def _fields_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], kind: Kind) -> dict[str, str]:
    """Field to column: by the columns' names, then by what such names are made of, then by what is in them."""
    found = _matched(columns, NAMES[kind])
    for name, pattern in IDS[kind].items():
        fitting = [one for one in columns if one not in found.values() and pattern.fullmatch(_plain(one))]
        if name not in found and fitting:
            found[name] = fitting[0]
    free = [one for one in columns if one not in found.values()]
    cells = {one: [text for row in rows[:100] if (text := cell_text(row.get(one)))] for one in free}
    if kind == "events" and "timestamp" not in found:
        times = [one for one in free if TIME_WORDS.search(one) and _share(cells[one], _is_time) > 0.5]
        found |= {"timestamp": times[0]} if times else {}
    if kind == "ads" and "landing_url" not in found:
        addresses = [one for one in free if _share(cells[one], lambda cell: cell.startswith("http")) > 0.5]
        found |= {"landing_url": addresses[0]} if addresses else {}
    return found


def _share(cells: Sequence[str], fits: Callable[[str], bool]) -> float:
    return sum(map(fits, cells)) / len(cells) if cells else 0.0


def _is_time(cell: str) -> bool:
    return any(_reads(cell, one) for one in ("epoch", "epoch_ms", "iso", *TIME_FORMATS))


def _plain(header: str) -> str:
    """A header without its unit, case and separators."""
    text = _CENTS.sub("", unicodedata.normalize("NFKC", header).strip())
    return re.sub(r"[\s_\-.]+", "", _UNIT.sub("", text)).lower()


def _matched(columns: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Field to column: the field's first name that a column has; no column twice."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(_plain(column), column)
    found: dict[str, str] = {}
    for name, known in names.items():
        candidates = (by_name[one] for one in (_plain(name), *known) if one in by_name)
        free = [one for one in candidates if one not in found.values()]
        if free:
            found[name] = free[0]
    return found


def _scalar(text: str) -> str:
    """As YAML has it in a flow."""
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


class _Writer:
    def __init__(
        self,
        kind: Kind,
        path: Path,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        domain: str | None,
        *,
        headless: bool,
    ) -> None:
        self._kind = kind
        self._path = path
        self._columns = columns
        self._rows = rows
        self._domain = domain
        self._headless = headless
        self._matched = _fields_of(columns, rows, kind)
        self._lines: list[str] = []
        self._doubts: list[str] = []
        cells = [cell_text(cell) for row in rows[:100] for cell in row.values()]
        words = [cell for cell in (*cells, *columns) if re.search("[A-Za-z\u3400-\u9fff]{2}", cell)]
        self._chinese = sum(bool(_CHINESE.search(word)) for word in words) * 4 > len(words)

    @property
    def sure(self) -> bool:
        """Whether the file is known to be of its kind: something in it names a row."""
        return {"events": "user_id", "ads": "ad_id"}[self._kind] in self._matched

    def doubt(self, name: str, note: str) -> None:
        self._doubts.append(f"{name}: {note}")

    def written(self) -> Guessed:
        named = [one for one in self._matched if one.startswith("attributes.")]
        for name in (*FIELDS[self._kind], *named):
            self._field(name, self._matched.get(name))
        unused = [column for column in self._columns if column not in self._matched.values()]
        if unused and self._kind == "ads":
            self._lines.append(
                "  # Facts that copy may state of a product; name here what people may see, never costs."
            )
            self._lines += [f"  # attributes.{_NO_NAME.sub('_', one)}: {_scalar(one)}" for one in unused]
        elif unused:
            self._lines.append(f"  # not used: {', '.join(unused)}")
        head = [f"# {self._path.name} as AdTailor's {self._kind}: read it, mend what is marked EDIT, then import."]
        text = "\n".join([*head, f"kind: {self._kind}", *self._file(), "fields:", *self._lines, ""])
        return Guessed(self._kind, text, self._doubts)

    def _file(self) -> list[str]:
        if format_of(self._path) != "csv":
            return []
        with text_of(self._path) as text:
            delimiter = sniff_delimiter(text.read(1 << 16))
        named = f", columns: [{', '.join(map(_scalar, self._columns))}]" if self._headless else ""
        return [f"file: {{delimiter: {json.dumps(delimiter)}{named}}}"]

    def _add(self, name: str, rule: str, note: str = "", *, doubt: bool = False) -> None:
        if doubt:
            self._doubts.append(f"{name}: {note}")
        self._lines.append(f"  {name}: {rule}" + (f"  # {'EDIT: ' * doubt}{note}" if note else ""))

    def _cells(self, column: str) -> list[str]:
        return [text for text in (cell_text(row.get(column)) for row in self._rows) if text]

    def _field(self, name: str, column: str | None) -> None:
        if column is None:
            self._without_column(name)
        elif name == "event":
            self._event(column)
        elif name in TIMES:
            self._time(name, column)
        elif name == "tags":
            self._tags(column)
        elif name in _NUMERIC:
            cents = ", scale: 0.01" if _CENTS.search(column) else ""
            number = ", number: true" if name.startswith("attributes.") else ""
            comma = ', decimal: ","' if _share(self._cells(column), lambda one: bool(_COMMA.search(one))) > 0.2 else ""
            more = number + cents + comma
            rule = f"{{column: {_scalar(column)}{more}}}" if more else _scalar(column)
            self._add(name, rule, "cents" if cents else "")
        else:
            self._add(name, _scalar(column))

    def _without_column(self, name: str) -> None:
        if name == "domain":
            known = self._domain is not None
            note = "" if known else "ecommerce, social, education or health"
            words = "".join((*self._columns, *(cell_text(cell) for row in self._rows[:20] for cell in row.values())))
            likely = next((one for one, pattern in DOMAINS.items() if pattern.search(words)), "ecommerce")
            self._add(name, f"{{value: {self._domain or likely}}}", note, doubt=not known)
        elif name == "language":
            title = self._matched.get("title")
            self._add(
                name,
                f"{{column: {_scalar(title)}, detect: true}}"
                if title
                else f"{{value: {'zh' if self._chinese else 'en'}}}",
            )
        elif name == "landing_url":
            identifier = self._matched.get("ad_id", UNKNOWN)
            address = json.dumps("https://example.com/p/{" + identifier + "}", ensure_ascii=False)
            self._add(name, f"{{template: {address}}}", "no column has it: the address of your pages", doubt=True)
        elif name == "event":
            note = "no column says what happened: name one, or {value: view} where every row is the same"
            self._add(name, f'"{UNKNOWN}"', note, doubt=True)
        elif name in REQUIRED[self._kind]:
            self._add(name, f'"{UNKNOWN}"', "no column looks like it: name it", doubt=True)

    def _event(self, column: str) -> None:
        """The column's values that the product does not know by themselves, with their meaning or to be told."""
        values = [value for value, _ in Counter(self._cells(column)).most_common(_MOST_VALUES)]
        unknown = [value for value in values if not _known(value)]
        if not unknown:
            self._add("event", _scalar(column))
            return
        told = {value: ACTS.get(re.sub(r"[\s\-]+", "_", value.strip().lower())) for value in unknown}
        meanings = ", ".join(f"{_scalar(value)}: {act}" for value, act in told.items() if act)
        left = [value for value, act in told.items() if act is None]
        rule = f"{{column: {_scalar(column)}, values: {{{meanings}}}}}"
        if left:
            note = f"what do these mean, as an event: {', '.join(left)}? Unless told they are refused"
            self._add("event", rule, note, doubt=True)
        else:
            self._add("event", rule)

    def _time(self, name: str, column: str) -> None:
        cells = self._cells(column)[:200]
        if name == "timestamp" and (clock := self._clock(column, cells)) is not None:
            self._two_columns(column, cells, clock)
            return
        if any(not isinstance(row.get(column), (str, int, float, type(None))) for row in self._rows):
            fitting = ["iso"]  # Parquet has its own times
        else:
            fits = {
                one: sum(_reads(cell, one) for cell in cells) for one in ("epoch", "epoch_ms", "iso", *TIME_FORMATS)
            }
            most = max(fits.values())
            fitting = [one for one, count in fits.items() if count == most and count]
            if fitting and most < len(cells):
                note = f"{len(cells) - most} of {len(cells)} times are written otherwise and would be refused"
                self._doubts.append(f"{name}: {note}")
        if not fitting:
            example = cells[0] if cells else "nothing"
            self._add(name, f"{{column: {_scalar(column)}, format: '?'}}", f"how is {example!r} read?", doubt=True)
            return
        chosen = fitting[0]
        if chosen in _EPOCHS:
            self._add(name, f"{{column: {_scalar(column)}, format: {chosen}}}")
            return
        zoned = bool(cells) and chosen == "iso" and all(re.search(r"(?:Z|[+-]\d\d:?\d\d)$", cell) for cell in cells)
        zone = "" if zoned else f", zone: {'Asia/Shanghai' if self._chinese else 'UTC'}"
        rule = f"{{column: {_scalar(column)}, format: {json.dumps(chosen, ensure_ascii=False)}{zone}}}"
        days = [one for one in fitting if one.startswith(("%d/%m", "%m/%d"))]
        if len({one[:5] for one in days}) > 1:
            self._add(name, rule, "day or month first? Both fit", doubt=True)
        else:
            self._add(name, rule, "" if zoned else "the zone of these times is a guess")

    def _clock(self, column: str, cells: Sequence[str]) -> str | None:
        """The column with the time of day where this one has the date alone."""
        if not cells or any(":" in cell for cell in cells):
            return None
        for other in self._columns:
            if other != column and TIME_WORDS.search(other) and _share(self._cells(other), _is_clock) > 0.9:
                return other
        return None

    def _two_columns(self, column: str, cells: Sequence[str], clock: str) -> None:
        days = [
            one for one in ("%Y-%m-%d", *TIME_FORMATS) if "H" not in one and all(_reads(cell, one) for cell in cells)
        ]
        if not days:
            self._add("timestamp", f"{{columns: [{_scalar(column)}, {_scalar(clock)}], format: '?'}}", "", doubt=True)
            return
        seconds = all((found := _CLOCK.fullmatch(cell)) and found["seconds"] for cell in self._cells(clock))
        pattern = json.dumps(f"{days[0]} %H:%M{':%S' if seconds else ''}", ensure_ascii=False)
        zone = "Asia/Shanghai" if self._chinese else "UTC"
        rule = f"{{columns: [{_scalar(column)}, {_scalar(clock)}], format: {pattern}, zone: {zone}}}"
        both = {one[:5] for one in days if one.startswith(("%d/%m", "%m/%d"))}
        note = "day or month first? Both fit" if len(both) > 1 else "the zone of these times is a guess"
        self._add("timestamp", rule, note, doubt=len(both) > 1)
        self._matched["(clock)"] = clock

    def _tags(self, column: str) -> None:
        cells = self._cells(column)
        signs = Counter(sign for cell in cells for sign in ("|", ";", ">", "/", "、", ",", "，") if sign in cell)
        if any(isinstance(row.get(column), list) for row in self._rows) or not signs:
            self._add("tags", _scalar(column))
        else:
            self._add(
                "tags",
                f"{{column: {_scalar(column)}, split: {json.dumps(signs.most_common(1)[0][0], ensure_ascii=False)}}}",
            )


def _is_clock(cell: str) -> bool:
    return _CLOCK.fullmatch(cell) is not None


def _known(event: str) -> bool:
    row = {"user_id": "u", "event": event, "timestamp": 1_700_000_000, "item_id": "i"}
    return isinstance(parse_event(row, now=1_800_000_000.0, index=0), Event)


def _reads(cell: str, pattern: str) -> bool:
    if pattern in _EPOCHS:
        return _EPOCHS[pattern].fullmatch(cell) is not None
    try:
        datetime.fromisoformat(cell) if pattern == "iso" else datetime.strptime(cell, pattern)  # noqa: DTZ007
    except ValueError:
        return False
    return True
