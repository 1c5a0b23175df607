"""Uploads: JSON Lines or CSV, gzipped or not, of any size, read as a stream into rows.

Layers of generators that hold one piece at a time: the stream -> plain bytes -> physical lines (`lines`) -> rows
(`rows`). Memory stays flat whatever is sent: a line, a CSV record and an inflated piece are all bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shared.domain import Rejection
from shared.uploads.lines import Lines, UnreadableError, plain_bytes
from shared.uploads.rows import Row, csv_rows, json_rows

__all__ = ["Row", "StreamProblem", "read_rows"]


@dataclass(frozen=True, slots=True)
class StreamProblem:
    """What ended the file early or made it unusable, and the last line reached. The rows before it are good."""

    line: int
    reason: str


def read_rows(
    stream: BinaryIO, name: str, required: frozenset[str] = frozenset()
) -> Iterator[Row | Rejection | StreamProblem]:
    """The rows of a file, a `Rejection` for each line that is none, and at most one `StreamProblem`, as the last.

    Args:
        stream: read forward only, in pieces of 64 KiB; not closed.
        name: ends in ``.jsonl`` (also ``.ndjson``) or ``.csv``, either with ``.gz`` behind it.
        required: the columns that a CSV must have.

    In a CSV an empty cell is an absent field; a column ``tags`` is split at ``|`` or ``;``, and so is ``targeting.…``;
    the columns ``attributes.…``, ``targeting.…`` and ``frequency_cap.…`` become one object each.

    Raises:
        OSError: whatever `stream.read` raises.
    """
    suffixes = name.rsplit("/", 1)[-1].lower().split(".")[1:]
    packed = suffixes[-1:] == ["gz"]
    kind = "".join((suffixes[:-1] if packed else suffixes)[-1:])
    if kind not in ("jsonl", "ndjson", "csv"):
        yield StreamProblem(0, "The file's name must end in .jsonl or .csv, or in one of these and .gz.")
        return
    lines = Lines(plain_bytes(stream, packed))
    found = False
    problem: str | None = None
    try:
        for row in csv_rows(lines, required) if kind == "csv" else json_rows(lines):
            found = True
            yield row
    except UnreadableError as error:
        problem = str(error)
    problem = problem or lines.problem or (None if found else "The file is empty.")
    if problem:
        yield StreamProblem(lines.number, problem)
