"""The character encoding of a text file that somebody sends, recognised or refused, and the file as UTF-8.

The rule, in this order, on the whole file (inflated where it is gzip):

1. A byte order mark says what it is: UTF-8 or UTF-16. UTF-32 is refused.
2. What decodes as UTF-8, strictly, is UTF-8.
3. What begins as Chinese UTF-8 and then does not decode is damaged UTF-8, and refused.
4. What decodes as GB18030, strictly, and reads like Chinese rather than like Big5, Korean, Japanese or a European text
   in an 8-bit encoding (charset-normalizer judges the lines where UTF-8 failed) is GB18030, GBK or GB2312.
5. Everything else is refused, naming line and byte, and so is a NUL byte anywhere. Nothing is replaced or guessed.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

MOST_BYTES = 1 << 30  # plain
_PIECE = 1 << 16
_SAMPLE = 1 << 14
_CHINESE = re.compile("[\u4e00-\u9fff]")
_DAMAGED = 3  # Chinese characters in UTF-8 before the first byte that is not: no other encoding brings them by chance
_MOST_CHAOS = 0.8  # what people write has emoji and stray marks in it; the least chaotic encoding wins all the same
_RIVALS = ["gb18030", "big5", "euc_kr", "euc_jp", "shift_jis", "cp1252", "cp1251"]
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class UnreadableFile(ValueError):
    """The file cannot be read as text; the message is a sentence without the file's name."""


@dataclass(frozen=True)
class _Fault:
    """The first bytes that do not decode. byte: 0-based, in the plain file. chinese: such characters before it.
    sample: bytes around it, which begin at `start` with a line."""

    line: int
    byte: int
    chinese: int
    start: int
    sample: bytes


class Utf8Stream:
    """A file as a stream of UTF-8 bytes, read forward. It reads the file twice and keeps one piece of it at a time."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            UnreadableFile: the encoding is not one of those above, or the file is damaged gzip or too large.
        """
        self.encoding = recognise(path)
        self._parts = _utf8(path, self.encoding)

    def read(self, size: int = _PIECE, /) -> bytes:
        """The next bytes, about `size` of them; none at the end."""
        return next(self._parts, b"")


def recognise(path: Path) -> str:
    """The file's encoding, as Python names it: ``utf-8``, ``utf-16-le``, ``utf-16-be`` or ``gb18030``.

    Raises:
        UnreadableFile: it is none of these.
    """
    head = next(_plain(path), b"")
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise UnreadableFile("the file is UTF-32; save it as UTF-8")
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    encoding = marked or "utf-8"
    fault = _fault(path, encoding)
    if fault is None:
        return encoding
    where = f"line {fault.line}, byte {fault.byte:,} of the file"
    if marked or fault.chinese >= _DAMAGED:
        raise UnreadableFile(f"{where}: the file is {encoding.upper()}, but not there; save it again as UTF-8")
    broken = _fault(path, "gb18030")
    judged = fault.sample if broken is None else fault.sample[: max(broken.byte - fault.start, 0)]
    best = from_bytes(judged, cp_isolation=_RIVALS, threshold=_MOST_CHAOS).best()
    looks = best.encoding if best else None
    if looks != "gb18030":
        like = f" (it reads like {looks})" if looks else ""
        raise UnreadableFile(f"{where}: neither UTF-8 nor GB18030{like}; save the file as UTF-8")
    if broken is not None:
        raise UnreadableFile(
            f"line {broken.line}, byte {broken.byte:,} of the file: the file is GB18030, but not there; save it again "
            "as UTF-8"
        )
    return "gb18030"


def _plain(path: Path) -> Iterator[bytes]:
    """The file's bytes, inflated where its content is gzip."""
    lines = size = 0
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            while piece := file.read(_PIECE):
                size += len(piece)
                if size > MOST_BYTES:
                    raise UnreadableFile(f"the file holds more than {MOST_BYTES:,} bytes")
                lines += piece.count(b"\n")
                yield piece
    except EOFError as error:
        raise UnreadableFile(f"the gzip data ends too early, behind line {lines}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFile(f"the gzip data is damaged, behind line {lines}") from error
    except OSError as error:
        raise UnreadableFile(f"the file cannot be read: {error.strerror or error}") from error


def _fault(path: Path, encoding: str) -> _Fault | None:
    """Where the file does not decode, if anywhere.

    Raises:
        UnreadableFile: it decodes to a NUL.
    """
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines, at, chinese = 1, 0, 0
    pieces = _plain(path)
    while True:
        piece = next(pieces, b"")
        waiting = decoder.getstate()[0]
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            data = waiting + piece
            before = data[: error.start].decode(encoding, "ignore")
            begin = data.rfind(b"\n", 0, error.start) + 1
            return _Fault(
                lines + before.count("\n"),
                at - len(waiting) + error.start,
                chinese + len(_CHINESE.findall(before)),
                at - len(waiting) + begin,
                _sample(data[begin:], error.start - begin),
            )
        if "\0" in text:
            line = lines + text[: text.index("\0")].count("\n")
            raise UnreadableFile(f"line {line} holds a NUL: is it UTF-16 without its mark? Save the file as UTF-8")
        if not piece:
            return None
        at += len(piece)
        lines += text.count("\n")
        if chinese < _DAMAGED:
            chinese += len(_CHINESE.findall(text))


def _sample(data: bytes, wanted: int) -> bytes:
    """The beginning of `data`, with what lies at `wanted`, to the end of a character."""
    sample = data[: max(_SAMPLE, wanted + 1024)]
    end = max(sample.rfind(mark) for mark in (b"\n", b'"', b" ", b","))  # never a part of a longer character
    return sample[: end + 1] if end > wanted else sample


def _utf8(path: Path, encoding: str) -> Iterator[bytes]:
    if encoding == "utf-8":
        yield from _plain(path)
        return
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for piece in _plain(path):
        if text := decoder.decode(piece):
            yield text.encode()
