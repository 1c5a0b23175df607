"""The cases the system is for, on the running local system with its real models and the sample catalogue."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.load import freshness
from infra.local.sample import ads
from tests.integration.conftest import TENANT, LocalSystem


@pytest.fixture(scope="module")
def system(local_system: LocalSystem) -> LocalSystem:
    """The local system with the sample's ads, uploaded and published."""
    for path in ads():
        report = local_system.upload(f"ads/{TENANT}/{path.name}", path.read_bytes())
        assert report["rejected"] == 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = local_system.http.post("/v1/recommendations", json={"user_id": "nobody", "n": 50})
        if answer.status_code == 200 and answer.json()["versions"]["snapshot"].startswith(f"{305:08d}"):
            return local_system
        time.sleep(0.5)
    pytest.fail(f"the catalogue was not published in a minute: {answer.text}")


def act(system: LocalSystem, user: str, *acts: tuple[str, str], **fields: Any) -> None:
    """Posts (event, text) one minute apart, the last one a minute ago."""
    now = datetime.now(UTC)
    events = [
        {
            "user_id": user,
            "event": event,
            "text": text,
            "timestamp": (now - timedelta(minutes=len(acts) - place)).isoformat(),
            "item_id": f"{user}-{place}",
            **fields,
        }
        for place, (event, text) in enumerate(acts)
    ]
    answer = system.http.post("/v1/events", json={"events": events})
    assert answer.json()["accepted"] == len(acts), answer.text


def recommend(system: LocalSystem, user: str, n: int = 3, **context: str) -> list[dict[str, Any]]:
    answer = system.http.post("/v1/recommendations", json={"user_id": user, "n": n, "context": context})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["ads"]
    assert len(found) == n
    for ad in found:
        ad["title"] = system.http.get(f"/v1/ads/{ad['ad_id']}").json()["title"]
    return found


def consent(system: LocalSystem, user: str, sensitive: bool) -> None:
    body = {"personalisation": True, "sensitive": sensitive, "source": "test", "at": datetime.now(UTC).isoformat()}
    assert system.http.put(f"/v1/users/{user}/consent", json=body).status_code == 200


def test_a_shop_visitor_who_viewed_phones_gets_phones_and_copy_about_phones(system: LocalSystem) -> None:
    act(
        system,
        "shopper",
        ("view", "5G 智能手机 8+256GB 全网通"),
        ("click", "大屏手机 5000 毫安时电池 快充"),
        ("view", "拍照手机 夜景 光学防抖"),
        domain="ecommerce",
    )
    found = recommend(system, "shopper", language="zh")
    assert all("手机" in ad["title"] for ad in found[:2]), [ad["title"] for ad in found]
    assert any("手机" in ad["reasons"][0]["text"] for ad in found)
    copy = system.http.post("/v1/copy", json={"ad_id": found[0]["ad_id"], "user_id": "shopper", "n": 1}).json()
    assert "手机" in copy["copies"][0]["text"]


def test_someone_who_liked_an_article_gets_similar_ones(system: LocalSystem) -> None:
    act(
        system,
        "reader",
        ("like", "Photographing strangers on the street: asking first, and what to do with the light"),
        domain="social",
    )
    found = recommend(system, "reader", language="en", domain="social")
    assert all(ad["ad_id"].startswith("so-en") for ad in found)
    text = " ".join(ad["title"] for ad in found).lower()
    assert "portrait" in text or "photo" in text, text


def test_a_learner_gets_the_next_course(system: LocalSystem) -> None:
    now = datetime.now(UTC)
    rows = [
        {"user_id": "learner", "event": event, "item_id": "ed-zh-python-1", "domain": "education", "timestamp": at}
        for event, at in (
            ("enrol", (now - timedelta(days=20)).isoformat()),
            ("complete", (now - timedelta(days=1)).isoformat()),
        )
    ]
    assert system.http.post("/v1/events", json={"events": rows}).json()["accepted"] == 2
    found = recommend(system, "learner", language="zh")
    assert found[0]["ad_id"] == "ed-zh-python-2"
    assert found[0]["reasons"][0]["code"] == "next_step"
    assert "ed-zh-python-1" not in {ad["ad_id"] for ad in recommend(system, "learner", n=20, language="zh")}


def test_blood_pressure_needs_consent_and_is_answered_with_vetted_prevention(system: LocalSystem) -> None:
    for user, sensitive in (("patient-yes", True), ("patient-no", False)):
        consent(system, user, sensitive)
        act(
            system,
            user,
            ("consult", "最近血压有点高，早上 140/90，平时要注意什么"),
            ("view", "高血压日常饮食与作息"),
            domain="health",
        )
    yes = recommend(system, "patient-yes", language="zh")
    assert yes[0]["ad_id"].startswith("he-zh-bp")
    assert "he-zh-bp-checkup" in {ad["ad_id"] for ad in yes}, yes
    for ad in yes:
        reason = ad["reasons"][0]
        assert "interest_id" not in reason
        assert "血压" not in reason["text"]
    no = recommend(system, "patient-no", n=20, language="zh")
    assert not any(ad["ad_id"].startswith("he-") for ad in no)
    assert system.http.get("/v1/users/patient-no/profile").json()["interests"] == []


def test_the_chinese_example(system: LocalSystem) -> None:
    """浏览了一款智能手机, 收藏了一只手表, 购买了…; 商品A and 商品B."""
    act(
        system,
        "example",
        ("view", "浏览了一款智能手机"),
        ("favourite", "收藏了一只手表"),
        ("purchase", "购买了一副蓝牙耳机"),
        domain="ecommerce",
    )
    profile = system.http.get("/v1/users/example/profile").json()
    names = " ".join(interest["name"]["zh"] for interest in profile["interests"])
    assert "手机" in names
    assert "表" in names
    assert "耳机" in names
    assert all(interest["evidence"] for interest in profile["interests"])
    texts = ["最新款智能手机，限时优惠！", "时尚手表，品质生活必备！"]
    answer = system.http.post("/v1/classify", json={"texts": texts}).json()
    labels = [result["labels"][0] for result in answer["results"]]
    assert "手机" in labels[0]["name"]["zh"]
    assert "表" in labels[1]["name"]["zh"]
    assert all(0 < label["probability"] <= 1 for label in labels)
    for ad_id, word in (("ec-zh-phone-a", "手机"), ("ec-zh-watch-b", "表")):
        body = {"ad_id": ad_id, "user_id": "example", "language": "zh", "n": 2}
        copies = system.http.post("/v1/copy", json=body).json()["copies"]
        assert copies
        assert all(word in copy["text"] for copy in copies), copies
        assert all(copy["served_by"] and copy["provenance"] for copy in copies)


def test_many_writers_at_one_person_lose_nothing_and_the_next_read_has_it_all(local_system: LocalSystem) -> None:
    now = datetime.now(UTC)

    def post(writer: int) -> int:
        events = [
            {
                "user_id": "busy",
                "event": "view",
                "event_id": f"{(writer // 2)}-{number}",  # every event is sent by two writers
                "item_id": f"phone-{number % 5}",
                "text": "5G 智能手机",
                "timestamp": (now - timedelta(minutes=number)).isoformat(),
            }
            for number in range(60)
        ]
        answer = local_system.http.post("/v1/events", json={"events": events}).json()
        assert answer["accepted"] + answer["duplicates"] == 60
        return int(answer["accepted"])

    with ThreadPoolExecutor(6) as pool:
        reads = [pool.submit(local_system.http.get, "/v1/users/busy/profile") for _ in range(4)]
        accepted = sum(pool.map(post, range(6)))
    assert {read.result().status_code for read in reads} <= {200, 404}
    assert accepted == 180
    profile = local_system.http.get("/v1/users/busy/profile").json()
    assert profile["events"] == 180
    assert "手机" in profile["interests"][0]["name"]["zh"]


def test_an_event_is_in_the_next_recommendation(system: LocalSystem) -> None:
    assert [one.asked for one in freshness.measure(system.http, 6)] == [1] * 6
