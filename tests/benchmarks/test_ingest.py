"""Taking uploads of events in, one thread: budgets 5,000 events/s of known items, 200 new texts/s, memory flat.

AWS is a fake in this process, so that what is counted is our own work: CPU seconds, from the uploaded file to the rows.
The same once more through boto3, whose requests are answered within the process: what a client does for its calls costs
twice as much as all else. The baseline in the same run is the plainest loop, ``json.loads`` and a dict. Profiles are
folded at their next read, and are no part of this.
"""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.models.encoder import Encoder
from shared.profiles import ProfileReader
from shared.profiling import Profiling
from shared.settings import Settings
from shared.stores import Stores, open_stores
from shared.stores.catalogue import Item
from shared.stores.people import pack_vector
from shared.wiring import System
from tests.benchmarks.table import Figures
from tests.data import artifact
from tests.fakes.aws import FakeBucket, FakeQueues, FakeTable, WiredTable

NOW = 1_790_000_000.0
TENANT = "demo"
ITEMS = 5000
PEOPLE = 4000
WORDS = ("water", "phone", "桌面", "linen", "quiet", "耳机", "bottle", "spring", "handmade", "收纳", "steel", "lamp")


def keeps(sk: str) -> bool:
    """Event rows are counted and let go: a heap that grows with them would be the fake's cost, and its memory."""
    return not sk.startswith("e/")


class Bench:
    """The use case on fakes. encode: stands in for the encoder."""

    def __init__(self, dynamodb: Any, folder: Path, encoder: Callable[[], Encoder]) -> None:
        self.bucket, self.queues = FakeBucket(folder), FakeQueues()
        self.stores: Stores = open_stores(
            dynamodb=dynamodb,
            s3=self.bucket,
            sqs=self.queues,
            table_name="bench",
            bucket_name="bench",
            copy_queue_url="copy",
            catalogue_queue_url="catalogue",
            event_queue_url="events",
            ad_queue_url="ads",
            pseudonym_key=b"of thirty-two bytes, for a bench",
        )
        profiles = ProfileReader(
            self.stores.people,
            self.stores.catalogue,
            dict,
            consent_basis=lambda tenant: "asserted",
            k_floor=5,
            clock=lambda: NOW,
        )
        self.profiling = Profiling(
            self.stores, encoder, profiles, consent_basis=lambda tenant: "asserted", clock=lambda: NOW
        )
        vector = pack_vector(np.eye(384, dtype=np.float32)[0])
        self.stores.catalogue.put_items(TENANT, [Item(f"item-{place}", vector) for place in range(ITEMS)])
        self.stores.people.uids(TENANT, [f"user-{place}" for place in range(PEOPLE)])

    def upload(self, name: str) -> float:
        """Takes ``events/{TENANT}/{name}`` in, its queue included; the CPU seconds that it took."""
        key = f"events/{TENANT}/{name}"
        began = time.process_time()
        self.profiling.ingest(TENANT, key, fingerprint="")
        for message in self.queues.drain():
            self.profiling.go_on(TENANT, message["run"], message.get("chunk"))
        return time.process_time() - began

    def accepted(self, name: str) -> int:
        report = self.stores.catalogue.upload(TENANT, f"events/{TENANT}/{name}")
        assert report is not None
        return int(report["accepted"])

    def write(self, name: str, count: int, *, seed: int, fresh: bool = False) -> Path:
        """Puts an upload into the bucket: acts on known items, half of them with the item's title; or, `fresh`, each on
        an item of its own that says what it is. More than a chunk of them, or their people would be folded at once."""
        chance = random.Random(seed)
        path = self.bucket.path(f"events/{TENANT}/{name}")
        with path.open("w", encoding="utf-8") as file:
            for place in range(count):
                row: dict[str, Any] = {
                    "user_id": f"user-{chance.randrange(PEOPLE)}",
                    "event": chance.choice(["view", "click", "cart", "purchase"]),
                    "timestamp": NOW - chance.randrange(10_000_000),
                    "item_id": f"new-{seed}-{place}" if fresh else f"item-{int(ITEMS * chance.random() ** 2)}",
                    "platform": "web",
                    "domain": "ecommerce",
                }
                if fresh or place % 2:
                    row["text"] = " ".join(chance.choices(WORDS, k=6)) + (f" {place}" if fresh else "")
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return path


def no_encoder() -> Encoder:
    raise AssertionError("a known item was embedded")


def plain_loop(path: Path) -> float:
    began = time.process_time()
    kept = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        kept[row["user_id"], number] = row
    return time.process_time() - began


def test_known_items(tmp_path: Path, figures: Figures) -> None:
    count, rounds = 10_000, 5
    bench = Bench(FakeTable(keeps), tmp_path, no_encoder)
    taken, plain = [], []
    for seed in range(rounds + 1):  # the first to warm up
        path = bench.write(f"{seed}.jsonl", count, seed=seed)
        taken.append(bench.upload(f"{seed}.jsonl"))
        plain.append(plain_loop(path))
        assert bench.accepted(f"{seed}.jsonl") == count
    rate, baseline = count / np.median(taken[1:]), count / np.median(plain[1:])
    figures.add("ingest of known items", rate, "events/s", 5000, baseline, "json.loads and a dict", better="higher")


def test_known_items_through_boto3(tmp_path: Path, figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    count, rounds = 5000, 3
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    # The client as it is deployed.
    client = System(Settings(pseudonym_key_file=str(tmp_path / "key"))).stores.table.client
    wired = WiredTable(client, FakeTable(keeps))
    bench = Bench(client, tmp_path, no_encoder)
    taken = []
    for seed in range(rounds + 1):
        bench.write(f"{seed}.jsonl", count, seed=seed)
        before = wired.answering
        spent = bench.upload(f"{seed}.jsonl")
        taken.append(spent - (wired.answering - before))
        assert bench.accepted(f"{seed}.jsonl") == count
    rate = count / np.median(taken[1:])
    figures.add("ingest of known items, boto3's work included", rate, "events/s", 5000, better="higher")


def test_new_texts(tmp_path: Path, figures: Figures) -> None:
    count = 1500
    encoder = Encoder.load(artifact("encoder"), threads=1)
    encoder.encode(["warm up"])
    bench = Bench(FakeTable(keeps), tmp_path, lambda: encoder)
    path = bench.write("fresh.jsonl", count, seed=2, fresh=True)
    rate = count / bench.upload("fresh.jsonl")
    assert bench.accepted("fresh.jsonl") == count
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    began = time.process_time()
    encoder.encode(texts)
    alone = count / (time.process_time() - began)
    figures.add("ingest of new texts", rate, "texts/s", 200, alone, "the encoder alone", better="higher")


def test_memory_is_flat(tmp_path: Path, figures: Figures) -> None:
    """Python's own allocations at their peak, the table's event rows aside."""
    peaks = []
    for count in (2500, 12_500):
        bench = Bench(FakeTable(keeps), tmp_path, no_encoder)
        bench.write("upload.jsonl", count, seed=1)
        tracemalloc.start()
        bench.upload("upload.jsonl")
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    figures.add("ingest of 12,500 events, peak memory", peaks[1], "MB", 1.2 * peaks[0], peaks[0], "of 2,500 events")
