"""Erasure in uploads: megabytes a second on one core, and what a process holds, beside the reading of the rows alone.

CPU time of the process. 50 people are erased of 200,000 ids, whose digests are the real HMAC.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator

import orjson
import pytest

from shared.stores.objects import OpenObject
from shared.sweeping.files import Output, plain_data
from shared.sweeping.rows import Erased, Gone
from shared.uploads import RowReader
from tests.benchmarks.table import Figures

ROWS, TIMES, ERASED = 40_000, 4, 50
KEY = b"a key for the benchmark, no secret"
HEADER = b"user_id,event,timestamp,item_id,text\n"


def digest(user_id: str) -> str:
    return hmac.new(KEY, f"demo\x00{user_id.strip()}".encode(), hashlib.sha256).hexdigest()


def rows() -> Iterator[dict[str, object]]:
    chance = random.Random(7)
    words = [f"word{n}" for n in range(5000)]
    for n in range(ROWS):
        yield {
            "user_id": f"user-{chance.randrange(200_000)}",
            "event": "view",
            "timestamp": 1_790_000_000 + n,
            "item_id": f"sku-{chance.randrange(10**6)}",
            "text": " ".join(chance.choices(words, k=10)),
        }


class Again(io.RawIOBase):
    """A file's head, and the same body so many times."""

    def __init__(self, body: bytes, times: int, head: bytes = b"") -> None:
        self._pieces = iter([head, *[body] * times])
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            if (piece := next(self._pieces, None)) is None:
                return 0
            self._rest = memoryview(piece)
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def opened(kind: str, data: list[dict[str, object]], times: int) -> tuple[io.BufferedReader, int]:
    """The file, and how many bytes it is when it is plain."""
    if kind == "csv":
        body = b"".join(",".join(map(str, row.values())).encode() + b"\n" for row in data)
        raw = Again(body, times, HEADER)
    else:
        body = b"".join(orjson.dumps(row) + b"\n" for row in data)
        raw = Again(gzip.compress(body, 6) if kind == "jsonl.gz" else body, times)
    return io.BufferedReader(raw, 1 << 20), len(body) * times


def seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv"])
def test_sweeping(kind: str, figures: Figures) -> None:
    data = list(rows())
    gone = {str(row["user_id"]) for row in data[:ERASED]}
    hits = sum(row["user_id"] in gone for row in data) * TIMES

    def sweep(times: int, *, write: bool) -> int:
        who = Gone([Erased("e", {digest(one) for one in gone}, (), (), before=2e9)], digest)
        found, out = 0, Output(kind.endswith("gz"))
        source = OpenObject(opened(kind, data, times)[0], "", 0.0)
        for stretch in who.of_upload(f"a.{kind}")(source, None, write):
            found += stretch.what is not None
            for piece in plain_data(stretch.data):
                out.add(piece)
            if out.size > 8 << 20:
                out.take()
        return found

    reader, size = opened(kind, data, TIMES)
    reading = seconds(lambda: sum(1 for _ in RowReader(reader, f"a.{kind}")))
    scanning = seconds(lambda: sweep(TIMES, write=False))
    writing = seconds(lambda: sweep(TIMES, write=True))
    for name, taken in (("looked through", scanning), ("written anew", writing)):
        figures.add(
            f"{kind} {name} for {ERASED} erased",
            size / 1e6 / taken,
            "MB/s",
            baseline=size / 1e6 / reading,
            baseline_name="rows read alone",
            better="higher",
        )
    assert sweep(TIMES, write=True) == hits


def test_memory_is_flat_in_the_size_of_the_upload(figures: Figures) -> None:
    data = list(rows())[:4000]
    held = {}
    for times in (10, 80):
        who = Gone([Erased("e", {digest("user-1")}, (), (), before=2e9)], digest)
        source = OpenObject(opened("jsonl", data, times)[0], "", 0.0)
        tracemalloc.start()
        for _ in who.of_upload("a.jsonl")(source, None, True):
            pass
        held[times] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    figures.add(
        "held while an upload is swept, 8 times the size", held[80], "MB", baseline=held[10], baseline_name="of it once"
    )
    assert held[80] < 1.5 * held[10]
