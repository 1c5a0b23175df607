"""A person's export: all that was sent and made of it, nothing of anybody else, and nothing once they are erased."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from functions.classify import handler as classify
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from infra.exports import Export, ExportAnswer
from shared import decision_log
from shared.stores.delivery import BUCKET_SECONDS
from shared.sweeping import OWNERS
from shared.sweeping.rows import Erased, Gone
from shared.wiring import System
from tests.unit.test_api import AD, AT, event, post

pytestmark = pytest.mark.slow

WEEK = 8 * 86400.0


def export(user_id: str = "ann", status: int = 200) -> dict[str, Any]:
    answer = post(profile.app, f"/v1/users/{user_id}/export", b"", method="GET")
    assert answer.status_code == status, answer.text[:400]
    if status == 200:
        assert answer.headers["content-type"] == "application/json"
        TypeAdapter(Export).validate_python(answer.json(), strict=False)
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def tenant(built: System, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ann with everything that can be known of a person, among others; her tenant."""
    post(classify.app, "/v1/ads", {"ads": [AD]}, method="PUT")
    name = built.settings.tenant
    built.classifying.publish(name)
    sent = [
        event(event_id="e1", event="purchase", item_id="p9", platform="web", tags=["new"], value=9.5),
        event(event_id="e2", event="view", item_id=None, text="a phone, & more", timestamp="2026-11-20T10:00:00.250Z"),
        event(user_id="wechat:ann", event_id="e3", domain="social"),
        event(user_id="bob", event_id="b1", text="bob's phone", item_id="bobs"),
    ]
    assert post(profile.app, "/v1/events", {"events": sent}).json()["accepted"] == 4
    link = {"link": [{"platform": "wechat", "id": "wechat:ann"}]}
    assert post(profile.app, "/v1/users/ann/identities", link, method="PUT").status_code == 200
    for at, sensitive in ((AT, True), ("2026-11-21T10:00:00Z", False)):
        said = {"personalisation": True, "sensitive": sensitive, "source": "banner", "at": at, "version": "n1"}
        assert post(profile.app, "/v1/users/ann/consent", said, method="PUT").status_code == 200
    assert post(profile.app, "/v1/users/ann/interests", {"disable": ["adproduct:9"]}, method="PATCH").status_code == 200
    for user_id in ("ann", "bob"):
        context = {"domain": "ecommerce", "platform": "web"}
        made = post(recommend.app, "/v1/recommendations", {"user_id": user_id, "context": context}).json()
        told = [{"decision_id": made["decision_id"], "ad_id": "p1", "type": "click", "timestamp": built.clock()}]
        (told,) = post(recommend.app, "/v1/feedback", {"feedback": told}).json()["results"]
        assert told["result"] == "counted"
    return name


def test_it_is_what_was_sent_and_what_was_made_of_it(tenant: str, built: System) -> None:
    found = export()
    refs = {one["platform"]: one["ref"] for one in found["ids"]}
    assert [one["asked"] for one in found["ids"] if one["ref"] == refs[None]] == [True] and len(refs) == 2
    events = {one["event_id"]: one for one in found["events"]}
    assert events["e1"] == {
        "ref": refs[None],
        "event_id": "e1",
        "event": "purchase",
        "timestamp": "2026-11-20T10:00:00.000Z",
        "item_id": "p9",
        "platform": "web",
        "domain": None,
        "text": "a phone",
        "tags": ["new"],
        "value": 9.5,
    }
    assert events["e2"]["text"] == "a phone, & more" and events["e2"]["timestamp"] == "2026-11-20T10:00:00.250Z"
    assert (events["e3"]["ref"], events["e3"]["domain"]) == (refs["wechat"], "social")
    assert {"e1", "e2", "e3"} <= set(events) and "b1" not in events
    assert [(one["at"], one["sensitive"], one["version"]) for one in found["statements"]] == [
        ("2026-11-20T10:00:00.000Z", True, "n1"),
        ("2026-11-21T10:00:00.000Z", False, "n1"),
    ]
    assert (found["consent"]["at"], found["consent"]["purposes"]) == ("2026-11-21T10:00:00.000Z", ["personalisation"])
    shown = post(profile.app, "/v1/users/ann/profile", b"", method="GET").json()
    assert [(one["id"], one["evidence"]) for one in found["profile"]["interests"]] == [
        (one["id"], one["evidence"]) for one in shown["interests"]
    ]
    assert found["profile"]["interests"] and found["profile"]["acquired"] == ["p9"]
    assert found["disabled_interests"] == ["adproduct:9"]
    (decision,) = found["decisions"]
    assert [(one["ad_id"], one["at"]) for one in found["impressions"]] == [("p1", [decision["feedback"][0]["at"]])]
    assert decision["context"] == {"domain": "ecommerce", "language": None, "platform": "web", "placement": None}
    assert [one["ad_id"] for one in decision["ads"]] == ["p1"] and decision["ads"][0]["reasons"]
    assert {one["item_id"] for one in decision["history"]} >= {"p9"}
    assert [one["type"] for one in decision["feedback"]] == ["click", "impression"]
    assert found["older_decisions"] == [] and found["decision_log"] == {"whole": True, "read_back_to": None}
    text = orjson.dumps(found)
    assert b"bob" not in text and b'"vector"' not in text
    assert "reservations" in found["not_included"]
    for uid in built.stores.people.uids(tenant, ["ann", "wechat:ann", "bob"]).values():
        assert uid.encode() not in text


def test_the_other_id_has_the_same_and_other_tenants_have_nothing(
    tenant: str, built: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = export(), export("wechat:ann")
    assert other["events"] == mine["events"] and other["decisions"] == mine["decisions"]
    assert [one["ref"] for one in other["ids"] if one["asked"]] != [one["ref"] for one in mine["ids"] if one["asked"]]
    monkeypatch.setitem(built.__dict__, "settings", type("S", (), {"tenant": "other", "stage": "local"})())
    export("ann", 404)


def test_decisions_that_only_the_log_knows_are_read_from_it(
    tenant: str, built: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = built.stores
    now = built.clock()
    decision = export()["decisions"][0]
    decision_log.export(
        stores, now=now, seconds=60.0, consent_basis=built.tenants.consent_basis, tenants=(tenant,), latest=True
    )
    (key,) = (key for key in stores.objects.keys(f"logs/{tenant}/") if gzip.decompress(stores.objects.get(key)))
    built.clock = lambda: now + WEEK
    del built.exporting  # which has the clock of before
    found = export()
    assert found["decisions"] == []
    (older,) = found["older_decisions"]
    assert older["decision_id"] == decision["decision_id"] and older["ads"][0]["copy"] is None
    assert older["feedback"] and sorted(map(str, older["feedback"])) == sorted(map(str, decision["feedback"]))
    assert (older["context"], older["history"]) == (decision["context"], decision["history"])
    assert found["decision_log"]["whole"] and found["decision_log"]["read_back_to"] == key.split("/")[3]
    # The log's own lines are told apart by how they begin.
    uid = stores.people.uid(tenant, "ann")
    gone = Gone([Erased("e", (), {str(uid)}, (), before=0.0)], str)
    monkeypatch.setattr("shared.sweeping.rows.orjson", None)
    lines = gzip.decompress(stores.objects.get(key)).splitlines()
    assert sorted(gone.of_log(line) is not None for line in lines) == [False, True]


def test_of_the_log_memory_holds_a_line_at_a_time(tenant: str, built: System) -> None:
    line = orjson.dumps({"decision_id": "d", "at": 1.0, "person": "other", "x": "y" * (100 << 10)}) + b"\n"
    bucket = int((built.clock() - WEEK) // BUCKET_SECONDS)
    built.stores.objects.put(decision_log.key_of(tenant, bucket), gzip.compress(line * 300, 1))
    export()
    tracemalloc.start()
    try:
        assert export()["decision_log"]["whole"]
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_large_one_lies_elsewhere_for_a_while(tenant: str, built: System) -> None:
    answer = profile.lambda_handler({"action": "export", "tenant": tenant, "user_id": "ann"}, None)
    TypeAdapter(Export).validate_python(answer, strict=False)
    (key,) = built.stores.objects.keys("exports/")
    assert key.startswith(f"exports/{tenant}/{built.stores.people.digest(tenant, 'ann')}/")
    assert key in answer["url"] and "X-Amz-Expires=900" in answer["url"]
    body = gzip.decompress(built.stores.objects.get(key))
    assert len(body) == answer["size"]
    whole = orjson.loads(body)
    TypeAdapter(ExportAnswer).validate_python(whole, strict=False)
    inline = export()
    assert {k: v for k, v in whole.items() if k != "exported_at"} == {
        k: v for k, v in inline.items() if k != "exported_at"
    }
    uids = set(built.stores.people.uids(tenant, ["ann", "wechat:ann"]).values())
    assert set(built.stores.objects.metadata(key)[OWNERS].split(",")) == uids


def test_nobody_is_exported_who_is_not_known_or_not_any_more(
    tenant: str, built: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export("eve", 404)["field"] == "user_id"
    put = built.stores.objects.put_pieces

    def erased(*args: Any, **options: Any) -> None:
        put(*args, **options)
        assert post(profile.app, "/v1/users/ann", b"", method="DELETE").status_code == 202

    monkeypatch.setattr(type(built.stores.objects), "put_pieces", lambda self, *a, **o: erased(*a, **o))
    answer = profile.lambda_handler({"action": "export", "tenant": tenant, "user_id": "ann"}, None)
    assert answer["error"]["status"] == 404 and list(built.stores.objects.keys("exports/")) == []
    export("ann", 404)
    export("bob")
