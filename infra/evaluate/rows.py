"""Rows of the data pack's files: JSON Lines, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file; the content says whether it is gzipped.

    Raises:
        ValueError: a line is not a JSON object, or the gzip data is damaged; the message names file and line.
    """
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    opener = gzip.open if zipped else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise ValueError(f"{path.name}, line {number}: {error}") from error
                if not isinstance(row, dict):
                    raise ValueError(f"{path.name}, line {number}: not an object")
                yield row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path.name}: the gzip data is damaged or ends too early, behind line {number}") from error
