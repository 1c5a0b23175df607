"""A file of labels: which head it is for, and its rows, as the upload checks them and the training job reads them.

``labels/{tenant}/{head}.jsonl`` (or ``.csv``, either with ``.gz``) holds rows ``{"text", "label"}``. Beside it may lie
``{head}.dev.jsonl`` (rows to choose on) and ``{head}.unlabelled.jsonl`` (rows ``{"text"}``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from shared.domain import Rejection
from shared.errors import Unprocessable
from shared.uploads import Place as FilePlace
from shared.uploads import Row, RowReader, StreamProblem, read_rows
from shared.uploads.lines import Readable, UnreadableError, plain_bytes

PREFIX = "labels/"
MOST_ROWS = 2_000_000
MOST_LINES = 2_000_001  # physical ones, blank ones included: the rows and a header
MOST_BYTES = 1 << 30  # as uploaded, and of what that inflates to
MOST_LABELS = 1_000
LONGEST_LABEL = 200  # characters
TOO_SLOW = "The file could not be read in time: fewer, or shorter, rows."
LEAST_LABELS = 2
KEPT_REJECTIONS = 1_000
_LOOKED_AFTER = 1_000  # outcomes between two looks at the time: a broken CSV has many to a piece

Part = Literal["train", "dev", "unlabelled"]
_NEEDED: dict[Part, frozenset[str]] = {
    "train": frozenset({"text", "label"}),
    "dev": frozenset({"text", "label"}),
    "unlabelled": frozenset({"text"}),
}
_HEAD = r"(?=[_-]*[A-Za-z0-9])[A-Za-z0-9_-]{1,64}"
HEAD = re.compile(_HEAD)
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE = re.compile(rf"(?P<head>{_HEAD})(\.(?P<part>dev|unlabelled))?\.(jsonl|ndjson|csv)(\.gz)?")


@dataclass(frozen=True, slots=True)
class Place:
    """What an object of ``labels/`` is: a head's rows to train on, or one of the files beside them."""

    tenant: str
    head: str
    part: Part
    name: str


def place_of(key: str) -> Place:
    """The place that a key names.

    Raises:
        Unprocessable: it is not ``labels/{tenant}/{head}.jsonl`` or the like.
    """
    parts = key.split("/")
    found = _FILE.fullmatch(parts[-1])
    if len(parts) != 3 or parts[0] != "labels" or not _TENANT.fullmatch(parts[1]) or found is None:
        raise Unprocessable(
            f"upload to labels/{{tenant}}/{{head}}.jsonl (or .csv, with .gz), a head being letters, digits, - and _, "
            f"at least one of them a letter or digit; not to {key}",
            field="key",
        )
    return Place(parts[1], found["head"], cast("Part", found["part"] or "train"), parts[-1])


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A row that can be trained on. label: empty in a file without labels."""

    line: int
    text: str
    label: str


def read_labels(stream: Readable, name: str, part: Part = "train") -> Iterator[LabelRow | Rejection | StreamProblem]:
    """The file's rows, a `Rejection` for each line that is none, and at most one `StreamProblem`, the last.

    A label may be a number. Labels and texts lose the white space around them; a text may be of any length that fits a
    line (the model reads its beginning).
    """
    return _labels(read_rows(stream, name, _NEEDED[part]), part)


def _labels(
    rows: Iterable[Row | Rejection | StreamProblem], part: Part
) -> Iterator[LabelRow | Rejection | StreamProblem]:
    for row in rows:
        yield _labelled(row, part) if isinstance(row, Row) else row


def _labelled(row: Row, part: Part) -> LabelRow | Rejection:
    text: Any = row.value.get("text")
    if not isinstance(text, str):
        return Rejection(row.line, "text", "The row has no text.")
    if not (text := text.strip()):
        return Rejection(row.line, "text", "The text is empty.")
    if part == "unlabelled":
        return LabelRow(row.line, text, "")
    label: Any = row.value.get("label")
    if isinstance(label, bool) or not isinstance(label, str | int):
        return Rejection(row.line, "label", "The row has no label (a string or a whole number).")
    if not (label := str(label).strip()):
        return Rejection(row.line, "label", "The label is empty.")
    if len(label) > LONGEST_LABEL:
        return Rejection(row.line, "label", f"The label has {len(label):,} characters; the limit is {LONGEST_LABEL}.")
    return LabelRow(row.line, text, label)


@dataclass
class Survey:
    """What a file of labels holds. labels: rows by label, as far as it was read; rejected: the first of them."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    rejected_count: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    problem: str | None = None  # what ended the file early; the rows before it are good
    hopeless: str | None = None  # why nothing can be trained on it


def survey(stream: Readable, name: str, late: Callable[[], bool] = lambda: False) -> Survey:
    """Reads the file through, to its end or to where it is past helping; memory does not grow with it.

    late: whether the time for it is up, which makes the file hopeless: another try would take as long.

    Raises:
        OSError, Unavailable: whatever reading the stream raises.
    """
    found = Survey()
    bounded = _Bounded(stream, name, late)
    # From a place, the reader takes the bytes as they come: they have been inflated, once, where they are counted.
    reader = RowReader(bounded, name, _NEEDED["train"], FilePlace(0, 0, (), packed=False))
    for count, row in enumerate(_labels(reader, "train")):
        if isinstance(row, LabelRow):
            found.rows += 1
            found.labels[row.label] += 1
        elif isinstance(row, StreamProblem):
            found.problem = row.reason
        else:
            found.rejected_count += 1
            if len(found.rejected) < KEPT_REJECTIONS:
                found.rejected.append(row)
        if len(found.labels) > MOST_LABELS:
            found.hopeless = f"more than {MOST_LABELS:,} different labels: a label is a class, not a text"
        elif found.rows + found.rejected_count > MOST_ROWS:
            found.hopeless = f"more than {MOST_ROWS:,} rows"
        elif count % _LOOKED_AFTER == 0 and late():
            found.hopeless = TOO_SLOW
        if found.hopeless:
            return found
    if bounded.passed:
        found.hopeless = bounded.passed
    elif not found.rows:
        first = found.rejected[0] if found.rejected else None
        why = f"line {first.index}, {first.field}: {first.reason}" if first else found.problem or "The file is empty."
        found.hopeless = f"no row can be used. {why}"
    elif len(found.labels) < LEAST_LABELS:
        found.hopeless = f"one label alone ({next(iter(found.labels))!r}): a classifier needs at least two"
    return found


class _Bounded:
    """The plain bytes of a stream, up to where it passes a bound: bytes as they come or inflated, lines, time.

    Blank lines give no row, and a small gzip may hold millions: so lines are counted here.
    """

    def __init__(self, stream: Readable, name: str, late: Callable[[], bool]) -> None:
        self._late = late
        self._pieces = plain_bytes(_Counted(stream, self._look), name.lower().endswith(".gz"))
        self._size = 0
        self._lines = 0
        self.passed: str | None = None  # why nothing more is read

    def read(self, _: int, /) -> bytes:
        """The next piece."""
        piece = next(self._pieces, b"")
        self._size += len(piece)
        self._lines += piece.count(b"\n")
        self._look(self._size)
        return piece

    def _look(self, size: int) -> None:
        if size > MOST_BYTES:
            self.passed = f"The file is larger than {MOST_BYTES:,} bytes."
        elif self._lines > MOST_LINES:
            self.passed = f"The file has more than {MOST_LINES:,} lines, blank ones included."
        elif self._late():
            self.passed = TOO_SLOW
        if self.passed:
            raise UnreadableError(self.passed)


class _Counted:
    """A stream whose bytes are counted: `look` is told how many there have been."""

    def __init__(self, stream: Readable, look: Callable[[int], None]) -> None:
        self._stream = stream
        self._look = look
        self._size = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._size += len(data)
        self._look(self._size)
        return data
