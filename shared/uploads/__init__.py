"""Uploads: JSON Lines or CSV, gzipped or not, of any size, read as a stream into rows.

Layers of generators that hold one piece at a time: the stream -> plain bytes -> physical lines (`lines`) -> rows
(`rows`). Memory stays flat whatever is sent: a line, a CSV record and an inflated piece are all bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.domain import Rejection
from shared.uploads.lines import Lines, Readable, UnreadableError, after, plain_bytes
from shared.uploads.rows import Row, csv_rows, json_rows

__all__ = ["Place", "Row", "RowReader", "StreamProblem", "read_rows"]

_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class StreamProblem:
    """What ended the file early or made it unusable, and the last line reached. The rows before it are good."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """Between two rows of a file, from where another process can read on.

    offset: in the plain bytes. columns: of a CSV. packed: the file is gzip, which must be inflated from its beginning;
    any other can be opened at the offset.
    """

    line: int
    offset: int
    columns: tuple[str, ...]
    packed: bool


class RowReader:
    """Iterates over a file's rows, a `Rejection` for each line that is none, and at most one `StreamProblem`, the last.

    In a CSV an empty cell is an absent field; a column ``tags`` is split at ``|`` or ``;``, and so is ``targeting.…``;
    the columns ``attributes.…``, ``targeting.…`` and ``frequency_cap.…`` become one object each.
    """

    def __init__(
        self,
        stream: Readable,
        name: str,
        required: frozenset[str] = frozenset(),
        start: Place | None = None,
        *,
        tee: Callable[[bytes], None] | None = None,
    ) -> None:
        """
        Args:
            stream: read forward only, in pieces of 64 KiB; not closed. It begins at ``start.offset`` of the file, or at
                the file's beginning where that is packed.
            name: ends in ``.jsonl`` (also ``.ndjson``) or ``.csv``, either with ``.gz`` behind it.
            required: the columns that a CSV must have.
            start: `place` of a reader of the same file that had got as far as that.
            tee: gets the file's plain bytes from there on, each piece before its rows come.
        """
        suffixes = name.rsplit("/", 1)[-1].lower().split(".")[1:]
        named = suffixes[-1:] == ["gz"]
        self._kind = "".join((suffixes[:-1] if named else suffixes)[-1:])
        self._required = required
        self._resumed = start is not None
        self._header = list(start.columns) if start else []
        self.packed = start.packed if start else False
        pieces = self._plain(stream, named, start)
        if tee is not None:
            pieces = _teed(pieces, tee)
        self._lines = Lines(pieces, start.line, start.offset) if start else Lines(pieces)

    def _plain(self, stream: Readable, named: bool, start: Place | None) -> Iterator[bytes]:
        if start is not None and not start.packed:
            while piece := stream.read(1 << 16):
                yield piece
            return
        first = _Peeked(stream)
        pieces = plain_bytes(first, named)
        for piece in after(pieces, start.offset) if start else pieces:
            self.packed = first.packed
            yield piece

    @property
    def offset(self) -> int:
        """Behind the row that came last, in the plain bytes."""
        return self._lines.place[1]

    @property
    def damaged(self) -> bool:
        """Whether the stream could not be read to its end."""
        return self._lines.problem is not None

    @property
    def place(self) -> Place:
        """Behind the row that came last."""
        line, offset = self._lines.place
        return Place(line, offset, tuple(self._header), self.packed)

    def __iter__(self) -> Iterator[Row | Rejection | StreamProblem]:
        """Raises:
        OSError: whatever `stream.read` raises.
        """
        if self._kind not in ("jsonl", "ndjson", "csv"):
            yield StreamProblem(0, "The file's name must end in .jsonl or .csv, or in one of these and .gz.")
            return
        lines = self._lines
        found = self._resumed
        problem: str | None = None
        try:
            rows = csv_rows(lines, self._required, self._header) if self._kind == "csv" else json_rows(lines)
            for row in rows:
                found = True
                yield row
        except UnreadableError as error:
            problem = str(error)
        problem = problem or lines.problem or (None if found else "The file is empty.")
        if problem:
            yield StreamProblem(lines.number, problem)


def _teed(pieces: Iterator[bytes], tee: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        tee(piece)
        yield piece


class _Peeked:
    """A stream that knows whether it began as gzip does."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._head = b""

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        if len(self._head) < len(_MAGIC):
            self._head += data[: len(_MAGIC)]
        return data

    @property
    def packed(self) -> bool:
        return self._head.startswith(_MAGIC)


def read_rows(
    stream: Readable, name: str, required: frozenset[str] = frozenset()
) -> Iterator[Row | Rejection | StreamProblem]:
    """The rows of a whole file (see `RowReader`)."""
    return iter(RowReader(stream, name, required))
