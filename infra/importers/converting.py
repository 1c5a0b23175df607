"""From their rows to ours: mapped, checked by the product's own rules, written as JSON Lines, and reported.

An event without an id of its own gets one made of what it says, so that a later export which holds it again counts it
once, whatever lines it stands on; of equal events of one person each has its own.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from infra.importers.mapping import UNKNOWN, Kind, Mapping
from infra.importers.tables import BadRow, TableError, TableRow, columns_of, read_table
from infra.importers.values import Skipped, text_of, value_of
from shared.domain import Ad, Event, Rejection
from shared.preprocess import parse_ad, parse_event
from shared.preprocess.contact import KINDS, named_after
from shared.preprocess.fields import Refused, readable

EXAMPLES = 3  # lines that the report shows of each reason
_QUOTED = re.compile(r'"[^"]*"')
_NUMERALS = re.compile(r"\d[\d,.:TZ-]*")


@dataclass(frozen=True, slots=True)
class Row:
    """A row in our fields, not yet checked."""

    line: int
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that the mapping, or the feed, leaves out."""

    line: int
    reason: str


Source = Iterator[Row | LeftOut | Rejection]


@dataclass(slots=True)
class Reason:
    """How many rows met it, and the first of them: line and sentence."""

    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, sentence: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((line, sentence))


@dataclass(slots=True)
class Report:
    """What became of a file: ``rows == accepted + skipped + rejected``.

    rejected: by field and kind of reason. skipped: by reason. users, items: distinct ones of accepted rows. masked:
    rows whose text holds contact data, by kind. named_users: distinct persons whose id is an e-mail address or the
    like. repeats: ads whose id came before (the later holds). unresolved: events that name no item and carry no text.
    kinds: accepted events by type, or ads by language. first, last: epoch seconds of events. problem: what ended the
    reading early.
    """

    kind: Kind
    rows: int = 0
    accepted: int = 0
    skipped: dict[str, Reason] = field(default_factory=dict)
    rejected: dict[tuple[str, str], Reason] = field(default_factory=dict)
    users: int = 0
    items: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    named_users: int = 0
    repeats: int = 0
    unresolved: int = 0
    first: float | None = None
    last: float | None = None
    problem: str | None = None

    @property
    def rejected_count(self) -> int:
        return sum(reason.count for reason in self.rejected.values())

    @property
    def skipped_count(self) -> int:
        return sum(reason.count for reason in self.skipped.values())

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "rows": self.rows,
            "accepted": self.accepted,
            "skipped": {why: one.count for why, one in self.skipped.items()},
            "rejected": [
                {
                    "field": name,
                    "count": one.count,
                    "examples": [{"line": line, "reason": reason} for line, reason in one.examples],
                }
                for (name, _), one in self.rejected.items()
            ],
            "users": self.users,
            "items": self.items,
            "kinds": dict(self.kinds.most_common()),
            "masked": dict(self.masked),
            "named_users": self.named_users,
            "repeats": self.repeats,
            "unresolved": self.unresolved,
            "first": None if self.first is None else readable(self.first),
            "last": None if self.last is None else readable(self.last),
            "problem": self.problem,
        }


def mapped_source(path: Path, mapping: Mapping) -> Source:
    """The file's rows by the mapping.

    Raises:
        TableError: the file cannot be read, or lacks a column that the mapping names.
    """
    have = columns_of(path, mapping.file)
    for column, place in mapping.columns().items():
        if column in have:
            continue
        if column == UNKNOWN:
            raise TableError(f"{place} is not decided: name the column of {path.name} in place of {UNKNOWN}")
        near = difflib.get_close_matches(column, have, 1)
        hint = f": do you mean {near[0]!r}?" if near else ";"
        raise TableError(f"{path.name} has no column {column!r} ({place}){hint} it has {', '.join(have) or 'none'}")
    return _mapped(path, mapping)


def _mapped(path: Path, mapping: Mapping) -> Source:
    for row in read_table(path, mapping.file):
        if isinstance(row, BadRow):
            yield Rejection(row.line, "row", row.reason)
            continue
        try:
            yield Row(row.line, _fields(row, mapping))
        except Skipped as skipped:
            yield LeftOut(row.line, str(skipped))
        except Refused as refused:
            yield Rejection(row.line, refused.field, refused.reason)


def _fields(row: TableRow, mapping: Mapping) -> dict[str, Any]:
    for column, values in mapping.only.items():
        if text_of(row.values.get(column)) not in values:
            raise Skipped(f"{column} is not {' or '.join(values)}")
    for column, values in mapping.skip.items():
        cell = text_of(row.values.get(column))
        if cell in values:
            raise Skipped(f"{column} is {cell}")
    found: dict[str, Any] = {}
    for name, rule in mapping.fields.items():
        value = value_of(name, rule, row.values)
        if value is None or value == []:
            continue
        group, _, key = name.partition(".")
        if key:
            found.setdefault(group, {})[key] = value
        else:
            found[name] = value
    return found


def convert(kind: Kind, source: Source, out: Path | None = None, *, now: float | None = None) -> Report:
    """Checks every row and writes the good ones to `out` (JSON Lines, gzipped where its name ends in .gz); without
    `out` it is a dry run. The same rows give the same bytes. now: epoch seconds; events of after tomorrow are refused.

    The distinct ids and rows of a file are held in memory, about a hundred bytes each.
    """
    report = Report(kind)
    check = _Events(report, time.time() if now is None else now) if kind == "events" else _Ads(report)
    with ExitStack() as stack:
        file = stack.enter_context(_written(out)) if out is not None else None
        for row in _until_damage(source, report):
            report.rows += 1
            if isinstance(row, LeftOut):
                report.skipped.setdefault(row.reason, Reason()).add(row.line, row.reason)
                continue
            outcome = row if isinstance(row, Rejection) else check.take(row)
            line = b"" if isinstance(outcome, Rejection) else _line(outcome)
            if not isinstance(outcome, Rejection) and not line:
                outcome = Rejection(
                    _place(row), "row", "The row holds half of a surrogate pair, which is no character."
                )
            if isinstance(outcome, Rejection):
                key = (outcome.field, _NUMERALS.sub("#", _QUOTED.sub("…", outcome.reason)))
                report.rejected.setdefault(key, Reason()).add(outcome.index, outcome.reason)
                continue
            report.accepted += 1
            if file is not None:
                file.write(line)
    check.finish()
    return report


def _place(row: Row | LeftOut | Rejection) -> int:
    return row.index if isinstance(row, Rejection) else row.line


def _line(row: dict[str, Any]) -> bytes:
    """The row as JSON; nothing where it cannot be written."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return b""


def _until_damage(source: Source, report: Report) -> Iterable[Row | LeftOut | Rejection]:
    try:
        yield from source
    except TableError as error:
        if not report.rows:
            raise
        report.problem = str(error)


class _written:  # noqa: N801 - it is used as a function
    """The file under its name once it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")

    def __enter__(self) -> IO[bytes]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._raw = self._part.open("wb")
        self._file: Any = self._raw
        if self._path.suffix == ".gz":
            self._file = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._raw, mtime=0)
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not self._raw:
            self._file.close()
        self._raw.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink()


def _short(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(ascii(parts).encode(), digest_size=8).digest())


class _Events:
    def __init__(self, report: Report, now: float) -> None:
        self._report = report
        self._now = now
        self._users: set[int] = set()
        self._items: set[int] = set()
        self._seen: Counter[int] = Counter()

    def take(self, row: Row) -> dict[str, Any] | Rejection:
        report = self._report
        event = parse_event(row.value, now=self._now, index=row.line)
        if isinstance(event, Rejection):
            return event
        user = _short(event.user_id)
        if user not in self._users:
            self._users.add(user)
            report.named_users += named_after(event.user_id)
        if event.item_id is not None:
            self._items.add(_short(event.item_id))
        elif event.text is None and not event.tags:
            report.unresolved += 1
        report.kinds[event.event] += 1
        said = " ".join((event.text or "", *event.tags))
        sent = " ".join((str(row.value.get("text") or ""), *map(str, row.value.get("tags") or ())))
        report.masked.update(kind for kind in KINDS if said.count(kind) > sent.count(kind))
        report.first = min(event.timestamp, event.timestamp if report.first is None else report.first)
        report.last = max(event.timestamp, event.timestamp if report.last is None else report.last)
        written = _event_row(event)
        if not row.value.get("event_id"):
            written["event_id"] = self._id(event)
        return written

    def _id(self, event: Event) -> str:
        """Of what the event says but for the person, whose guess it could be checked against. A thing's text may change
        from export to export, so it counts only where nothing else names the thing."""
        about: object = event.item_id or (event.text, event.tags)
        said = (event.event, event.timestamp, about, event.platform, event.domain, event.value)
        before = self._seen[key := _short(event.user_id, said)]
        self._seen[key] += 1
        return hashlib.sha256(ascii((said, before)).encode()).hexdigest()[:32]

    def finish(self) -> None:
        self._report.users, self._report.items = len(self._users), len(self._items)


def _event_row(event: Event) -> dict[str, Any]:
    names = ("user_id", "event", "timestamp", "event_id", "item_id", "text", "tags", "value", "platform", "domain")
    row = {name: getattr(event, name) for name in names}
    return {name: value for name, value in row.items() if value not in (None, ())}


class _Ads:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._ids: set[int] = set()

    def take(self, row: Row) -> dict[str, Any] | Rejection:
        ad: Ad | Rejection = parse_ad(row.value, index=row.line)
        if isinstance(ad, Rejection):
            return ad
        key = _short(ad.ad_id)
        self._report.repeats += key in self._ids
        self._ids.add(key)
        self._report.kinds[ad.language] += 1
        return row.value

    def finish(self) -> None:
        self._report.items = len(self._ids)
