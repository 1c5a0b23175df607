"""Labels uploaded to the running local system: trained, published and served by name; or refused with the reason."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from infra.local import resources
from tests.integration.conftest import TENANT, LocalSystem

pytestmark = pytest.mark.slow

WORDS = {
    "phones": ["手机", "屏幕", "摄像头", "电池续航", "phone", "camera", "battery", "display"],
    "football": ["足球", "进球", "联赛", "守门员", "football", "goal", "league", "keeper"],
    "cooking": ["菜谱", "红烧肉", "烤箱", "面粉", "recipe", "oven", "flour", "soup"],
}


def labels(count: int) -> bytes:
    """`count` rows of every label, and a line that is none."""
    generator = random.Random(5)
    rows = []
    for label, words in WORDS.items():
        for _ in range(count):
            first, second = generator.sample(words, 2)
            rows.append({"text": f"关于{first}和{second}" if first > "z" else f"{first} and {second}", "label": label})
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode() + b"{broken\n"


def until(system: LocalSystem, head: str, seconds: float) -> dict[str, Any]:
    """The head once it is served or has failed."""
    deadline = time.monotonic() + seconds
    while True:
        answer = system.http.get(f"/v1/heads/{head}")
        if answer.status_code == 200 and (body := answer.json())["state"] != "training":
            return dict(body)
        if time.monotonic() > deadline:
            log = (system.state / "logs" / "worker.log").read_text()[-3000:]
            pytest.fail(f"{head} was not trained within {seconds} s: {answer.text}\n{log}")
        time.sleep(0.3)


def test_labels_by_upload_become_a_head_that_answers(local_system: LocalSystem) -> None:
    report = local_system.upload(f"labels/{TENANT}/upload-topics.jsonl", labels(20))
    assert (report["accepted"], report["rejected"]) == (60, 1)
    head = until(local_system, "upload-topics", 300)
    assert head["state"] == "served", (head, (local_system.state / "logs" / "worker.log").read_text()[-3000:])
    assert (head["rows"], head["rejected"], head["started_by"]) == (60, 1, "upload")
    assert set(head["labels"]) == set(WORDS) and 0 <= head["metrics"]["accuracy"] <= 1
    assert "upload-topics" in [one["name"] for one in local_system.http.get("/v1/heads").json()["heads"]]
    body = {"texts": ["红烧肉的菜谱", "a football league"], "head": "upload-topics"}
    answer = local_system.http.post("/v1/classify", json=body).raise_for_status().json()
    assert [one["labels"][0]["id"] for one in answer["results"]] == ["cooking", "football"]
    assert answer["versions"]["head"] == head["version"]


def test_hopeless_labels_say_why_and_start_nothing(local_system: LocalSystem) -> None:
    key = f"labels/{TENANT}/upload-hopeless.csv"
    local_system.client("s3").put_object(Bucket=resources.NAME, Key=key, Body=b"text,label\nhello,one\nworld,one\n")
    head = until(local_system, "upload-hopeless", 60)
    assert (head["state"], head["job"], head["version"]) == ("failed", None, None)
    assert "at least two" in head["reason"]
