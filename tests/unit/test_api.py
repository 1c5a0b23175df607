"""The API through its real apps on an in-process AWS: answers, problem documents, tenants, uploads."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from functions.classify import handler as classify
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.wiring import System
from tests.conftest import Aws

AT = "2026-11-20T10:00:00Z"


def post(app: Any, path: str, body: Any, method: str = "POST", **options: Any) -> Any:
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    with TestClient(app, raise_server_exceptions=False) as client:
        return client.request(method, path, content=content, headers={"content-type": "application/json"}, **options)


def event(**fields: Any) -> dict[str, Any]:
    return {"user_id": "ann", "event": "view", "timestamp": AT, "item_id": "i1", "text": "a phone"} | fields


def test_events_go_in_once_and_bad_ones_are_named(built: System) -> None:
    body = {"events": [event(), event(), event(event="stare"), event(timestamp=60), {"event": "view"}, 7]}
    answer = post(profile.app, "/v1/events", body)
    assert answer.status_code == 200
    report = answer.json()
    assert report["accepted"] == 2  # equal rows at two places of one request are two acts
    assert [(r["index"], r["field"]) for r in report["rejected"]][:3] == [
        (2, "event"),
        (3, "timestamp"),
        (4, "user_id"),
    ]
    assert len(report["rejected"]) == 4
    assert report["versions"]
    again = post(profile.app, "/v1/events", body).json()
    assert (again["accepted"], again["duplicates"]) == (0, 2)


def test_surrogates_and_nul_do_not_keep_the_good_rows_out(built: System) -> None:
    rows = [
        json.dumps(event(text="nul \u0000 phone", event_id="a")),
        json.dumps(event(event_id="b")).replace("a phone", "a \\ud800 phone"),
        json.dumps(event(event_id="c")).replace("ann", "ann\\ud800"),
    ]
    raw = f'{{"events": [{", ".join(rows)}]}}'
    report = post(profile.app, "/v1/events", raw).json()
    assert report["accepted"] == 2
    assert [(r["index"], r["field"]) for r in report["rejected"]] == [(2, "user_id")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{not json", 400),
        (b"\xff\xfe\x00", 400),
        ("[]", 422),
        ('{"events": 5}', 422),
        (json.dumps({"events": []}), 200),
        (b'{"events": [' + b" " * 5_500_000 + b"]}", 413),
        (json.dumps({"events": [event()] * 501}), 413),
        ("[" * 100_000, 400),
    ],
    ids=["broken", "not-utf8", "array", "wrong-type", "none", "5.5MB", "501-events", "nested"],
)
def test_bad_bodies_get_a_problem_document(built: System, body: Any, status: int) -> None:
    answer = post(profile.app, "/v1/events", body)
    assert answer.status_code == status, answer.text[:300]
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert document["status"] == status
        assert document["title"]


def test_unknown_routes_and_methods_are_problem_documents_too(built: System) -> None:
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/events", 405)):
        answer = post(profile.app, path, b"", method=method)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_profile_consent_and_edits(built: System) -> None:
    assert post(profile.app, "/v1/users/ann/profile", b"", method="GET").status_code == 404
    post(profile.app, "/v1/events", {"events": [event(event="purchase")]})
    shown = post(profile.app, "/v1/users/ann/profile", b"", method="GET").json()
    (interest,) = [i for i in shown["interests"] if i["term"] == "long"]
    assert (interest["id"], interest["enabled"], len(interest["evidence"])) == ("adproduct:1118", True, 1)
    assert shown["consent"]["basis"] == "asserted"
    edited = post(profile.app, "/v1/users/ann/interests", {"disable": [interest["id"]]}, method="PATCH").json()
    assert edited["interests"][0]["enabled"] is False
    consent = {"personalisation": False, "source": "banner", "at": AT}
    assert post(profile.app, "/v1/users/ann/consent", consent, method="PUT").json()["personalisation"] is False
    assert post(profile.app, "/v1/users/ann/profile", b"", method="GET").json()["interests"] == []


AD = {
    "ad_id": "p1",
    "title": "A phone for the road",
    "landing_url": "https://example.com/p1",
    "language": "en",
    "domain": "ecommerce",
    "end": "2031-01-01T00:00:00Z",
}


def test_ads_to_recommendation_to_feedback(built: System, aws: Aws) -> None:
    bad = AD | {"ad_id": "p2", "landing_url": "javascript:alert(1)"}
    cure = AD | {"ad_id": "p3", "title": "This phone is the 最佳 and 国家级 choice", "language": "zh"}
    answer = post(classify.app, "/v1/ads", {"ads": [AD, bad, cure]}, method="PUT").json()
    assert answer["ads"][0]["active"] is True
    assert answer["ads"][1]["rejected"]["field"] == "landing_url"
    assert answer["ads"][2]["active"] is False
    assert answer["ads"][2]["findings"][0]["severity"] == "block"
    (message,) = aws.sqs.receive_message(QueueUrl=aws.catalogue_queue_url, WaitTimeSeconds=2)["Messages"]
    record = {"eventSource": "aws:sqs", "messageId": "m", "body": message["Body"]}
    assert classify.lambda_handler({"Records": [record]}, None) == {"batchItemFailures": []}
    kept = post(classify.app, "/v1/ads/p1", b"", method="GET").json()
    assert (kept["title"], kept["end"]) == (AD["title"], "2031-01-01T00:00:00.000Z")
    assert post(classify.app, "/v1/ads/none", b"", method="GET").status_code == 404

    post(profile.app, "/v1/events", {"events": [event(event="cart")]})
    decision = post(recommend.app, "/v1/recommendations", {"user_id": "ann", "n": 3}).json()
    assert [ad["ad_id"] for ad in decision["ads"]] == ["p1"]
    assert decision["ads"][0]["reasons"][0]["interest_id"] == "adproduct:1118"
    assert {"snapshot", "ranker", "encoder"} <= decision["versions"].keys()
    seen = {"decision_id": decision["decision_id"], "ad_id": "p1", "type": "impression", "timestamp": AT}
    first = post(recommend.app, "/v1/feedback", {"feedback": [seen]}).json()["results"][0]
    assert first["result"] == "refused"  # it names a time before the decision
    assert post(recommend.app, "/v1/recommendations", {"user_id": "ann", "n": 0}).json()["field"] == "n"


def test_a_message_that_fails_comes_back_alone(built: System) -> None:
    good = {"eventSource": "aws:sqs", "messageId": "good", "body": json.dumps({"tenant": "demo", "action": "publish"})}
    bad = {"eventSource": "aws:sqs", "messageId": "bad", "body": "{"}
    answer = classify.lambda_handler({"Records": [bad, good]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}


def test_classify_and_its_limits(built: System) -> None:
    answer = post(classify.app, "/v1/classify", {"texts": ["a phone", "what is this"], "top": 1}).json()
    assert answer["results"][0]["labels"][0]["id"] == "adproduct:1118"
    assert answer["results"][1]["abstained"] is True
    assert post(classify.app, "/v1/classify", {"texts": ["x"] * 257}).status_code == 413
    assert post(classify.app, "/v1/classify", {"texts": [" \u200b "]}).json()["field"] == "texts[0]"
    large = {"texts": ["最好" * 5000] * 6 + ["x" * 10_000] * 2}  # of 30,000 and 10,000 bytes each
    assert post(classify.app, "/v1/classify", large).status_code == 200
    refused = post(classify.app, "/v1/classify", {"texts": [*large["texts"], "x"]})
    assert (refused.status_code, refused.json()["field"]) == (413, "texts")
    assert "200,001 bytes" in refused.json()["detail"] and "at most 200,000" in refused.json()["detail"]
    missing = post(classify.app, "/v1/classify", {"texts": ["x"], "head": "nope"})
    assert (missing.status_code, missing.json()["field"]) == (404, "head")


# Tenants ------------------------------------------------------------------------------------------------------------


def api_event(authorizer: dict[str, Any] | None) -> dict[str, Any]:
    context: dict[str, Any] = {
        "http": {"method": "POST", "path": "/v1/events", "sourceIp": "1.1.1.1"},
        "stage": "$default",
    }
    if authorizer is not None:
        context["authorizer"] = authorizer
    return {
        "version": "2.0",
        "routeKey": "POST /v1/events",
        "rawPath": "/v1/events",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "x-tenant": "victim"},
        "requestContext": context,
        "body": json.dumps({"events": [event(tenant="victim")]}),
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("authorizer", "status"),
    [
        (None, 401),
        ({"jwt": {"claims": {"tenant": "acme"}}}, 200),
        ({"jwt": {"claims": {"sub": "x"}}}, 403),
        ({"jwt": {"claims": {"tenant": "../x"}}}, 403),
        ({"iam": {"accountId": "1"}}, 200),
    ],
)
def test_the_tenant_comes_from_the_authorizer_alone(
    built: System, monkeypatch: pytest.MonkeyPatch, authorizer: dict[str, Any] | None, status: int
) -> None:
    monkeypatch.setattr(built, "settings", replace(built.settings, stage="prod", tenant="own"))
    answer = profile.lambda_handler(api_event(authorizer), None)
    assert answer["statusCode"] == status, answer["body"]
    assert built.stores.people.uid("victim", "ann") is None


# Uploads ------------------------------------------------------------------------------------------------------------


def upload(aws: Aws, key: str, body: bytes) -> dict[str, Any]:
    etag = aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=body)["ETag"].strip('"')
    record = {"eventSource": "aws:s3", "s3": {"bucket": {"name": aws.bucket}, "object": {"key": key, "eTag": etag}}}
    front = classify if key.startswith("ads/") else profile
    answer: dict[str, Any] = front.lambda_handler({"Records": [record]}, None)["uploads"][0]
    return answer


LINES = [orjson.dumps(event(event_id=f"e{n}", item_id=f"i{n}")) for n in range(5)]


def test_an_upload_goes_in_and_a_second_time_changes_nothing(built: System, aws: Aws) -> None:
    body = b"\n".join([*LINES, b"{broken", orjson.dumps(event(event="stare"))])
    first = upload(aws, "events/demo/a.jsonl", body)
    assert (first["accepted"], first["duplicates"], first["rejected_count"]) == (5, 0, 2)
    rejected = [orjson.loads(x) for x in built.stores.objects.get("rejected/demo/a.jsonl.events.jsonl").splitlines()]
    assert [row["line"] for row in rejected] == [6, 7]
    assert all(row["reason"] for row in rejected)
    again = upload(aws, "events/demo/a.jsonl", body)
    assert (again["accepted"], again["duplicates"], again["rejected_count"]) == (0, 5, 2)
    other = upload(aws, "events/demo/b.jsonl", body)
    assert (other["accepted"], other["duplicates"]) == (0, 5)


@pytest.mark.slow
def test_a_gzip_cut_short_keeps_its_good_rows_and_says_so(built: System, aws: Aws) -> None:
    many = b"\n".join(orjson.dumps(event(event_id=f"e{n}", text=f"phone {n} {n * 7919}")) for n in range(400))
    whole = gzip.compress(many)
    answer = upload(aws, "events/demo/cut.jsonl.gz", whole[: len(whole) // 2])
    assert 0 < answer["accepted"] < 400
    assert "gzip" in answer["problem"]


@pytest.mark.parametrize(
    ("name", "body", "accepted", "said"),
    [
        ("empty.jsonl", b"", 0, "empty"),
        ("no-column.csv", b"user_id,event\nann,view\n", 0, "timestamp"),
        ("good.csv", f"user_id,event,timestamp,tags\nann,view,{AT},a|b\n".encode(), 1, None),
    ],
)
def test_files_that_are_wrong_as_a_whole_say_why(
    built: System, aws: Aws, name: str, body: bytes, accepted: int, said: str | None
) -> None:
    answer = upload(aws, f"events/demo/{name}", body)
    assert answer["accepted"] == accepted
    assert (said is None and answer["problem"] is None) or (said or "") in answer["problem"]


def test_a_broken_quote_costs_its_own_line(built: System, aws: Aws) -> None:
    rows = [f"ann,view,{AT},item{n},text {n}" for n in range(6)]
    rows[2] = f'ann,view,{AT},item2,"broken'
    answer = upload(aws, "events/demo/q.csv", "\n".join(["user_id,event,timestamp,item_id,text", *rows]).encode())
    assert answer["accepted"] == 5, answer
    assert answer["rejected_count"] == 1


def test_uploaded_ads_are_counted_and_published(built: System, aws: Aws) -> None:
    body = b"\n".join(orjson.dumps(AD | {"ad_id": f"p{n}", "title": f"phone {n}"}) for n in range(3)) + b"\n{}\n"
    answer = upload(aws, "ads/demo/a.jsonl", body)
    assert (answer["accepted"], answer["rejected_count"]) == (3, 1)
    assert built.classifying.publish("demo")
    assert built.recommending.ready("demo").startswith("00000003-")
