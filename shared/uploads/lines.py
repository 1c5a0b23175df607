"""From a stream to physical lines: gzip taken off, memory bounded, damage reported after what comes before it."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any, NamedTuple, Protocol

LONGEST_LINE = 1 << 20  # bytes
LARGEST_RATIO = 200  # of inflated to packed bytes: rows that real systems log pack 10 to 40 times
RATIO_FROM = 16 << 20  # inflated bytes up to which it does not matter
_PIECE = 1 << 16
_UTF8_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A physical line without its end; `data` is None for one beyond `LONGEST_LINE`. `start`: its place in the plain
    bytes of the file."""

    number: int
    data: bytes | None
    start: int


class Readable(Protocol):
    """A stream that is read forward."""

    def read(self, size: int, /) -> bytes: ...


class UnreadableError(Exception):
    """The stream cannot be read on; carries the sentence."""


def plain_bytes(stream: Readable, packed: bool, *, trusted: bool = False) -> Iterator[bytes]:
    """The file's bytes, inflated where they are gzip; `packed` says that they should be, `trusted` that we packed them,
    so that they may inflate as far as they like.

    Raises:
        UnreadableError: damaged or not gzip, or UTF-16.
    """
    head = stream.read(_PIECE)
    while 0 < len(head) < len(_UTF8_MARK) and (more := stream.read(_PIECE)):
        head += more
    if head.startswith(b"\x1f\x8b"):
        yield from _inflate(head, stream, inf if trusted else LARGEST_RATIO)
        return
    if packed and head:
        raise UnreadableError("The file's name ends in .gz, but its content is not gzip.")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableError("The file is UTF-16; it must be UTF-8.")
    while head:
        yield head
        head = stream.read(_PIECE)


def _inflate(head: bytes, stream: Readable, largest_ratio: float) -> Iterator[bytes]:
    """Inflates all members of a gzip. At an error everything up to the very byte that caused it has been yielded.

    What inflates beyond all measure was made to: a megabyte of it would be a thousand, most of them read for nothing.
    """
    inflater = zlib.decompressobj(wbits=31)
    data = head
    packed, inflated = len(head), 0
    while data:
        before = inflater.copy()
        try:
            plain = inflater.decompress(data, _PIECE)
        except zlib.error as error:
            yield from _salvage(before, data)
            raise UnreadableError("The gzip data is damaged; what comes before the damage was read.") from error
        if plain:
            yield plain
            inflated += len(plain)
            if inflated > max(RATIO_FROM, largest_ratio * packed):
                raise UnreadableError(
                    f"The gzip data inflates to more than {LARGEST_RATIO} times its size; what comes before was read."
                )
        if not inflater.eof:
            data = inflater.unconsumed_tail
            if not data:
                data = stream.read(_PIECE)
                packed += len(data)
            continue
        data = inflater.unused_data.lstrip(b"\0")  # zeros may fill up the end
        while not data and (more := stream.read(_PIECE)):
            packed += len(more)
            data = more.lstrip(b"\0")
        if not data:
            return
        inflater = zlib.decompressobj(wbits=31)
    raise UnreadableError("The gzip data ends too early; what comes before its end was read.")


def _salvage(inflater: Any, data: bytes) -> Iterator[bytes]:
    """zlib drops what a failing call had inflated: the same again, byte by byte."""
    for place in range(len(data)):
        try:
            plain = inflater.decompress(data[place : place + 1])
        except zlib.error:
            return
        if plain:
            yield plain


def after(pieces: Iterable[bytes], offset: int) -> Iterator[bytes]:
    """`pieces` without their first `offset` bytes."""
    for piece in pieces:
        if offset < len(piece):
            yield piece[offset:]
        offset = max(0, offset - len(piece))


class Lines:
    """The lines of the plain bytes in `pieces`, which begin at `offset` of the file, behind its line `number`.

    Where the stream cannot be read on, the lines end and `problem` says why; a line without its end does not count
    then.
    """

    def __init__(self, pieces: Iterable[bytes], number: int = 0, offset: int = 0) -> None:
        self.number = number  # of the last line that came out of the stream
        self.problem: str | None = None
        self._end = offset  # of that line, its newline included
        self._source = self._split(pieces)
        self._again: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        return self._again.popleft() if self._again else next(self._source)

    def put_back(self, lines: list[Line]) -> None:
        self._again.extendleft(reversed(lines))

    @property
    def place(self) -> tuple[int, int]:
        """Number of the last line that was handed out and not put back, and the offset behind it."""
        if self._again:
            return self._again[0].number - 1, self._again[0].start
        return self.number, self._end

    def _split(self, pieces: Iterable[bytes]) -> Iterator[Line]:
        parts: list[bytes] = []
        size = 0  # of the line under way; beyond the limit its bytes are counted, not kept
        try:
            for piece in pieces:
                *ended, begun = piece.split(b"\n")
                for part in ended:
                    parts.append(part)
                    yield self._line(parts, size + len(part), newline=1)
                    parts.clear()
                    size = 0
                size += len(begun)
                if size > LONGEST_LINE:
                    parts.clear()
                elif begun:
                    parts.append(begun)
        except UnreadableError as error:
            self.problem = str(error)
            return
        if size:
            yield self._line(parts, size, newline=0)

    def _line(self, parts: list[bytes], size: int, newline: int) -> Line:
        start = self._end
        self.number += 1
        self._end += size + newline
        if size > LONGEST_LINE:
            return Line(self.number, None, start)
        line = b"".join(parts).removesuffix(b"\r")
        return Line(self.number, line.removeprefix(_UTF8_MARK) if self.number == 1 else line, start)
