"""Copies of one event at the same moment change state once: uploads, chunks and requests, on the emulator."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from functions.profile import handler as profile
from shared import ingest
from shared.stores import Stores
from shared.stores.idempotency import IdempotencyRecords
from shared.stores.runs import Run
from shared.wiring import System, system
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem

KEY = f"events/{TENANT}/race.jsonl"
AT = 1_789_999_000.0


def together(work: Callable[[int], Any], copies: int = 4) -> list[Any]:
    """What `work` gives to each of its copies, which begin at the same moment."""
    barrier = threading.Barrier(copies)

    def one(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(copies) as pool:
        return list(pool.map(one, range(copies)))


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"user_id": f"u{n % 3}", "event": "view", "timestamp": AT, "event_id": f"e{n}", "item_id": f"i{n % 7}"}
        for n in range(count)
    ]


def chunk_of(built: FakeSystem, run_id: str, chunk: int, _: int) -> None:
    built.profiling.go_on(TENANT, run_id, chunk)


@pytest.mark.parametrize("count", [30, 230], ids=["one chunk", "chunks"])
def test_copies_of_one_upload(emulated: Stores, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 50)
    built = FakeSystem(emulated)
    emulated.objects.put(KEY, b"\n".join(map(orjson.dumps, rows(count))) + b"\n{broken")
    answers = together(lambda _: built.profiling.ingest(TENANT, KEY, fingerprint=""))
    runs = {answer.run_id for answer in answers if isinstance(answer, Run)}
    assert len(runs) == (count > 50)
    for run_id in runs:
        chunks = (emulated.runs.get(TENANT, run_id) or answers[0]).emitted
        assert chunks == 5
        for chunk in range(chunks):
            take = partial(chunk_of, built, run_id, chunk)
            together(take)
    report = emulated.catalogue.upload(TENANT, KEY)
    assert report is not None
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (count, 0, 1)
    kept = Counter[str]()
    for name in ("u0", "u1", "u2"):
        uid = emulated.people.uid(TENANT, name)
        assert uid
        seqs = [one.seq for one in emulated.people.events(TENANT, uid, name)]
        assert seqs == list(range(1, len(seqs) + 1))
        kept[name] = len(seqs)
    assert kept.total() == count


@pytest.fixture
def served(emulated: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[System]:
    """The process's system on the emulator."""
    system.cache_clear()
    made = system()
    monkeypatch.setattr(
        made, "settings", replace(made.settings, consent_basis="asserted", table_name=emulated.table.name)
    )
    made.__dict__["stores"] = emulated
    made.__dict__["versions"] = {}
    made.__dict__["idempotency"] = IdempotencyRecords(emulated.table.client, emulated.table.name)
    yield made
    system.cache_clear()


def test_copies_of_one_request(served: System) -> None:
    body = {"events": [row | {"timestamp": AT} for row in rows(20)]}

    def send(_: int) -> tuple[int, Any]:
        with TestClient(profile.app, raise_server_exceptions=False) as client:
            answer = client.post("/v1/events", json=body, headers={"Idempotency-Key": "once"})
        return answer.status_code, answer.json()

    answers = together(send)
    done = [answer for status, answer in answers if status == 200]
    assert done and all(answer["accepted"] == 20 for answer in done)  # a second execution would find duplicates
    assert {status for status, _ in answers} <= {200, 409}
    assert send(0) == (200, done[0])
