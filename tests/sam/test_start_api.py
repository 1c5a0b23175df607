"""`sam local start-api`: the template's routes over HTTP, in the functions' own containers."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from tests.sam.conftest import needs_docker

needs_docker()
pytestmark = [pytest.mark.docker, pytest.mark.slow]


def test_healthz(api: httpx2.Client) -> None:
    answer = api.get("/healthz")
    assert answer.status_code == 200 and answer.json()["status"] == "ok", answer.text


def test_classify(api: httpx2.Client) -> None:
    answer = api.post("/v1/classify", json={"texts": ["最新款智能手机，限时优惠！", "A gold wedding ring"], "top": 2})
    assert answer.status_code == 200, answer.text
    phone, ring = answer.json()["results"]
    assert all(1 <= len(one["labels"]) <= 2 for one in (phone, ring))
    assert phone["labels"][0]["id"] != ring["labels"][0]["id"]


def test_from_behaviour_to_feedback(api: httpx2.Client) -> None:
    now = time.time()
    events: list[dict[str, Any]] = [
        {
            "user_id": "runner",
            "event": "view",
            "timestamp": now - 60,
            "domain": "ecommerce",
            "text": "浏览了一款智能手机",
        },
        {
            "user_id": "runner",
            "event": "cart",
            "timestamp": now - 30,
            "domain": "ecommerce",
            "text": "智能手机加入购物车",
        },
    ]
    sent = api.post("/v1/events", json={"events": events})
    assert sent.status_code == 200 and sent.json()["accepted"] == 2, sent.text
    profile = api.get("/v1/users/runner/profile").json()
    assert profile["interests"], profile
    first = profile["interests"][0]["id"]
    edited = api.patch("/v1/users/runner/interests", json={"disable": [first]}).json()
    assert [i["enabled"] for i in edited["interests"] if i["id"] == first] == [False] * len(
        [i for i in profile["interests"] if i["id"] == first]
    )
    api.patch("/v1/users/runner/interests", json={"enable": [first]})
    chosen = api.post("/v1/recommendations", json={"user_id": "runner", "n": 1, "context": {"language": "zh"}})
    assert chosen.status_code == 200 and chosen.json()["ads"][0]["ad_id"] == "phone-a", chosen.text
    decision = chosen.json()
    happened = {"decision_id": decision["decision_id"], "ad_id": "phone-a", "type": "click", "timestamp": now}
    counted = api.post("/v1/feedback", json={"feedback": [happened]})
    assert counted.status_code == 200 and len(counted.json()["results"]) == 1, counted.text


def test_refusal_of_consent_wins(api: httpx2.Client) -> None:
    refusal = {"personalisation": False, "source": "banner", "at": "2026-01-01T00:00:00Z"}
    answer = api.put("/v1/users/refuser/consent", json=refusal)
    assert answer.status_code == 200 and answer.json()["personalisation"] is False, answer.text
    chosen = api.post("/v1/recommendations", json={"user_id": "refuser", "n": 1})
    assert chosen.status_code == 200 and chosen.json()["personalised"] is False, chosen.text


def test_catalogue_and_copy(api: httpx2.Client) -> None:
    stored = api.get("/v1/ads/watch-b")
    assert stored.status_code == 200 and stored.json()["active"] is True, stored.text
    assert api.get("/v1/ads/none-such").status_code == 404
    ads = [{"ad_id": "lamp", "title": "Desk lamp", "landing_url": "https://example.com/lamp", "language": "en"}]
    written = api.put("/v1/ads", json={"ads": ads}).json()["ads"]
    assert written[0]["rejected"]["field"] == "domain", written
    queued = api.post("/v1/copy", json={"ad_id": "watch-b", "async": True})
    assert queued.status_code == 202, queued.text
    job = api.get(f"/v1/copy/{queued.json()['job_id']}")
    assert job.status_code == 200 and job.json()["state"] == "queued", job.text


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b'{"texts": ["a"', 400, "not JSON"),
        (b'{"texts": []}', 422, "texts"),
        (b'{"texts": ["' + b"a" * 5_500_000 + b'"]}', 413, "at most 5000000"),
    ],
    ids=["malformed", "empty", "5.5 MB"],
)
def test_bad_bodies_are_told_what_is_wrong(api: httpx2.Client, content: bytes, status: int, says: str) -> None:
    answer = api.post("/v1/classify", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.text
