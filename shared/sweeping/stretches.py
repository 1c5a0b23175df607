"""A file as stretches, one behind the other without a gap: what stays, and what goes with what stands there instead."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from shared.stores.objects import OpenObject
from shared.uploads import Place
from shared.uploads.lines import UnreadableError, after, plain_bytes

STRETCH = 1 << 20  # bytes of what stays that come as one
_PIECE = 1 << 16
_BLANK_LINE = re.compile(rb"^ {3}", re.MULTILINE)
_SPACES = bytes(byte if byte == 0x0A else 0x20 for byte in range(256))

What = Literal["rows", "unreadable"]
Whose = tuple[str, ...]
Data = Sequence[bytes | int]  # a number is that many spaces


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file up to `end`, which is None where nobody can go on from there. what: why they go, None where they
    stay. data: what stands there afterwards; empty where nothing does, or where nobody asked for what stays. whose:
    names of the erasures they go by."""

    end: Place | None
    what: What | None
    data: Data
    whose: Whose = ()


Stretches = Callable[[OpenObject, Place | None, bool], Iterator[Stretch]]
"""Of an open object behind a place (it was opened there, unless it is packed); with the data of what stays or without.

Raises:
    OSError: whatever reading raises.
"""


class Held:
    """The plain bytes of a file that were read and not taken yet; of a line beyond `longest` bytes only how many they
    are, which is enough for one that nobody reads. dropped: where the last of these ended that was no white space."""

    def __init__(self, begin: int, longest: int) -> None:
        self.begin = begin  # of what is held, in the file
        self.end = begin
        self.dropped = 0
        self._longest = longest
        self._line = 0  # bytes of the line under way
        self._pieces: deque[bytes | int] = deque()
        self._skipped = 0  # bytes of the first piece that were taken

    def add(self, piece: bytes) -> None:
        self.end += len(piece)
        newline = piece.rfind(b"\n")
        if newline >= 0:
            self._line = len(piece) - newline - 1
        else:
            self._line += len(piece)
            if self._line > self._longest + len(piece):
                if not piece.isspace():
                    self.dropped = self.end
                self._pieces.append(len(piece))
                return
        self._pieces.append(piece)

    def take(self, end: int) -> list[bytes | int]:
        """What is held up to `end` of the file."""
        found: list[bytes | int] = []
        while self.begin < end and self._pieces:
            first = self._pieces[0]
            length = first if isinstance(first, int) else len(first)
            wanted = min(end - self.begin, length - self._skipped)
            if isinstance(first, int):
                found.append(wanted)
            else:
                whole = wanted == length
                found.append(first if whole else first[self._skipped : self._skipped + wanted])
            self.begin += wanted
            self._skipped += wanted
            if self._skipped == length:
                self._pieces.popleft()
                self._skipped = 0
        return found

    def skip(self, end: int) -> None:
        while self.begin < end and self._pieces:
            first = self._pieces[0]
            length = first if isinstance(first, int) else len(first)
            step = min(end - self.begin, length - self._skipped)
            self.begin += step
            self._skipped += step
            if self._skipped == length:
                self._pieces.popleft()
                self._skipped = 0

    def behind(self, lines: int) -> int:
        """Where so many lines of what is held end, the first of it at `begin`."""
        offset = self.begin - self._skipped
        for piece in self._pieces:
            place = -1
            while lines and not isinstance(piece, int) and (place := piece.find(b"\n", place + 1)) >= 0:
                lines -= 1
            if not lines:
                return max(self.begin, offset + place + 1)
            offset += piece if isinstance(piece, int) else len(piece)
        return offset


def is_blank(data: Data) -> bool:
    return all(isinstance(piece, int) or not piece or piece.isspace() for piece in data)


def blanked(data: Data) -> Data:
    """Spaces for everything but the ends of lines: each byte behind keeps its place, and each line its number."""
    return [piece if isinstance(piece, int) else piece.translate(_SPACES) for piece in data]


def blanked_cells(data: Data) -> Data:
    """`blanked` for a CSV: with a quote that is followed by a space in each line. To whoever begins there it is blank;
    but a quote that was open before, and for which there was no end here, must not find one further on, in a row of
    somebody else."""
    parts: list[bytes | int] = []
    for whole, pieces in groupby(blanked(data), key=lambda piece: isinstance(piece, int)):
        if whole:
            parts += pieces
        else:
            parts.append(_BLANK_LINE.sub(b' " ', b"".join(piece for piece in pieces if not isinstance(piece, int))))
    return parts


def lines(
    judge: Callable[[bytes], tuple[bytes, Whose] | None],
    everybody: Whose,
    opened: OpenObject,
    start: Place | None,
    wanted: bool,
    *,
    packed: bool = False,
) -> Iterator[Stretch]:
    """Of a file of lines that the system wrote itself. judge: of a line, its end included, what it becomes and by which
    erasures, None where it stays. What cannot be read goes by `everybody`."""
    number, offset = (start.line, start.offset) if start else (0, 0)
    pieces: Iterator[bytes] = iter(lambda: opened.reader.read(_PIECE), b"")
    if packed:
        pieces = after(plain_bytes(opened.reader, True, trusted=True), offset)
    stays: list[bytes | int] = []
    size = 0

    def flushed() -> Iterator[Stretch]:
        nonlocal stays, size, offset
        if size:
            offset += size
            yield Stretch(Place(number, offset, (), packed), None, stays)
            stays, size = [], 0

    try:
        for line in _lines(pieces):
            judged = judge(line)
            if judged is not None:
                yield from flushed()
                offset += len(line)
            number += 1
            if judged is not None:
                yield Stretch(Place(number, offset, (), packed), "rows", [judged[0]], judged[1])
                continue
            size += len(line)
            if wanted:
                stays.append(line)
            if size >= STRETCH:
                yield from flushed()
        yield from flushed()
    except UnreadableError:
        yield from flushed()
        yield Stretch(None, "unreadable", [], everybody)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines with their ends."""
    parts: list[bytes] = []
    for piece in pieces:
        *ended, begun = piece.split(b"\n")
        for part in ended:
            parts.append(part)
            yield b"".join(parts) + b"\n"
            parts.clear()
        if begun:
            parts.append(begun)
    if parts:
        yield b"".join(parts)
