"""The closed loop on the running local system: a decision log becomes a job, a verdict, and the ranker that answers."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from infra.local import resources
from shared.settings import Settings
from shared.wiring import System
from tests.fakes.decided import BEGIN, decision_lines
from tests.integration.conftest import TENANT, LocalSystem

pytestmark = pytest.mark.slow

ADS = 20
DECISIONS, SECONDS_EACH = 4000, 180  # eight days: some 1,000 clicks to train on, 300 to judge by


def log() -> dict[str, bytes]:
    """Files of a log by key, the last decision three days old. What is clicked follows a column that the untrained
    ranker does not look at."""
    lines = decision_lines(DECISIONS, ads=ADS)
    start = time.time() - 3 * 86400 - DECISIONS * SECONDS_EACH
    by_key: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        at = start + (line["at"] - BEGIN) / 60 * SECONDS_EACH
        for slot in line["slots"]:
            for kind in ("impression_at", "click_at"):
                slot[kind] = None if slot[kind] is None else at + slot[kind] - line["at"]
        line["at"] = at
        begin = time.gmtime(at // 21600 * 21600)  # a hundred times fewer files than the log has
        key = f"logs/{TENANT}/decisions/{time.strftime('%Y-%m-%d/%H%M', begin)}.jsonl.gz"
        by_key.setdefault(key, []).append(line)
    return {
        key: gzip.compress("".join(json.dumps(line) + "\n" for line in some).encode()) for key, some in by_key.items()
    }


def ads() -> list[dict[str, Any]]:
    common = {"landing_url": "https://example.com", "language": "en", "domain": "ecommerce"}
    words = ("phone", "tent", "guitar", "stroller")
    return [common | {"ad_id": f"ad-{n:03d}", "title": f"A {words[n % 4]} for everybody, no. {n}"} for n in range(ADS)]


def until_ended(system: LocalSystem, seconds: float) -> dict[str, Any]:
    """The ranker once its job has ended."""
    deadline = time.monotonic() + seconds
    while (body := system.http.get("/v1/ranker").raise_for_status().json())["state"] == "training":
        if time.monotonic() > deadline:
            pytest.fail(f"no end within {seconds} s: {body}\n{worker_log(system)}")
        time.sleep(0.5)
    return dict(body)


def worker_log(system: LocalSystem) -> str:
    return (system.state / "logs" / "worker.log").read_text()[-5000:]


def test_a_log_becomes_the_ranker_that_answers(new_system: LocalSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    system = new_system.start()
    assert system.http.get("/v1/ranker").json()["state"] == "untrained"
    system.http.put("/v1/ads", json={"ads": ads()}).raise_for_status()
    body = {"user_id": "ann"}
    deadline = time.monotonic() + 60
    while (answer := system.http.post("/v1/recommendations", json=body)).status_code == 404:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.3)
    before = answer.raise_for_status().json()["versions"]["ranker"]
    for key, data in log().items():
        system.client("s3").put_object(Bucket=resources.NAME, Key=key, Body=data)
    for name, value in resources.create(system.aws).environment().items():
        monkeypatch.setenv(name, value)
    outcome = System(Settings.from_env()).ranker_training.train(TENANT)
    assert len(outcome["started"]) == 1, outcome
    ranker = until_ended(system, 400)
    assert ranker["state"] == "served", (ranker, worker_log(system))
    assert ranker["verdict"]["low"] > 0 and ranker["version"] == ranker["candidate"] != before
    deadline = time.monotonic() + 60  # a process looks for a new one twice a minute
    while system.http.post("/v1/recommendations", json=body).json()["versions"]["ranker"] != ranker["version"]:
        assert time.monotonic() < deadline
        time.sleep(1)
