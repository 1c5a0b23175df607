"""Files sent to a signed address, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from functions.classify import handler as classify
from functions.profile import handler as profile
from infra.answers import ANSWERS
from shared.ingest import rejected_key
from shared.labels import MOST_BYTES
from shared.uploading import LONGEST_NAME, SHOWN_LINES, STALLED_SECONDS, UNREAD_SECONDS, _unusable
from shared.wiring import System
from tests.conftest import REGION, TENANT, Aws
from tests.fakes.two_tenants import Answer, ad, call, jwt

pytestmark = pytest.mark.slow
ROWS = 4  # of a chunk


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.ingest.CHUNK_ROWS", ROWS)


def address(kind: str, name: str, tenant: str = TENANT, **headers: str) -> Answer:
    body = {"kind": kind, "name": name}
    return call(profile, "POST", "/v1/uploads", body, authorizer=jwt(tenant), headers=headers)


def told(kind: str, name: str, tenant: str = TENANT) -> dict[str, Any]:
    """What became of it, as the contract has it."""
    answer = call(profile, "GET", f"/v1/uploads/{kind}/{name}", authorizer=jwt(tenant))
    assert answer.status == 200, answer.body
    TypeAdapter(ANSWERS["GET /v1/uploads/{kind}/{name}"][200]).validate_python(answer.body)
    body: dict[str, Any] = answer.body
    return body


def send(aws: Aws, kind: str, name: str, body: bytes) -> dict[str, Any]:
    """Puts the file where its address says; returns the notice that S3 then gives."""
    answer = address(kind, name)
    assert answer.status == 201, answer.body
    key = answer.body["key"]
    etag = aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=body)["ETag"].strip('"')
    return {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": quote(key), "eTag": etag}}}]}


def event(n: int, **more: Any) -> bytes:
    row = {"user_id": f"u{n % 7}", "event": "view", "timestamp": 1_790_000_000 + n, "text": "a phone"} | more
    return json.dumps(row).encode() + b"\n"


def messages(aws: Aws, handler: Any) -> int:
    """Hands the chunks that are queued to the function."""
    done = 0
    while found := aws.sqs.receive_message(QueueUrl=aws.event_queue_url, MaxNumberOfMessages=10).get("Messages"):
        for message in found:
            attributes = {"ApproximateReceiveCount": "1"}
            record = {"messageId": "m", "eventSource": "aws:sqs", "body": message["Body"], "attributes": attributes}
            assert handler.lambda_handler({"Records": [record]}, None) == {"batchItemFailures": []}
            aws.sqs.delete_message(QueueUrl=aws.event_queue_url, ReceiptHandle=message["ReceiptHandle"])
            done += 1
    return done


# The address ----------------------------------------------------------------------------------------------------------


def test_an_address_is_of_one_key_for_a_quarter_of_an_hour(built: System) -> None:
    answer = address("events", "事件 (1).csv.gz")
    assert answer.status == 201
    TypeAdapter(ANSWERS["POST /v1/uploads"][201]).validate_python(answer.body)
    assert answer.body["key"] == f"events/{TENANT}/事件 (1).csv.gz"
    assert (answer.body["method"], answer.body["headers"], answer.body["fields"]) == ("PUT", {}, {})
    assert answer.body["most_bytes"] == 5 * 2**30
    assert address("labels", "mine.csv").body["most_bytes"] == MOST_BYTES  # what training takes
    url = urlsplit(answer.body["url"])
    query = parse_qs(url.query)
    assert unquote(url.path).endswith(f"/events/{TENANT}/事件 (1).csv.gz")
    assert query["X-Amz-Expires"] == ["900"] and query["X-Amz-SignedHeaders"] == ["host"]
    left = datetime.fromisoformat(answer.body["expires_at"]) - datetime.now(UTC)
    assert 800 < left.total_seconds() <= 901


def test_on_aws_an_address_names_the_bucket_and_its_region(built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of no region redirects a new bucket's requests, which no preflight survives."""
    monkeypatch.setattr(built, "settings", replace(built.settings, stage="prod"))
    url = urlsplit(address("ads", "a.csv").body["url"])
    assert url.scheme == "https" and url.hostname == f"{built.settings.bucket_name}.s3.{REGION}.amazonaws.com"


def test_an_address_is_never_kept_to_be_told_again(built: System, aws: Aws) -> None:
    first = address("ads", "a.csv", **{"idempotency-key": "k"})
    again = address("ads", "b.csv", **{"idempotency-key": "k"})
    assert (first.status, again.status) == (201, 201)
    assert "idempotency-replayed" not in again.headers and again.body["key"].endswith("b.csv")
    assert aws.dynamodb.scan(TableName=aws.table)["Count"] == 0


BAD = {
    "up": "../a.csv",
    "over": "a/../../ads/other/a.csv",
    "slash": "a/b.csv",
    "backslash": "a\\b.csv",
    "dots": "..",
    "hidden": ".csv",
    "query": "a?b.csv",
    "fragment": "a#b.csv",
    "escaped": "%2e%2e%2fa.csv",
    "line": "a\nb.csv",
    "nul": "a\x00.csv",
    "turned round": "a\u202evsc.csv",
    "quote": 'a".csv',
    "mail": "ann@example.com.csv",
    "telephone": "13800138000.csv",
    "telephone within": "orders_138-0013-8000.jsonl.gz",
    "identity": "110101199003078515.csv",
    "blank first": " a.csv",
    "picture": "photo.png",
    "none": "csv",
    "behind": "a.csv.exe",
    "zip": "a.csv.zip",
    "surrogate": "\ud800.csv",
    "long": "a" * LONGEST_NAME + ".csv",
    "empty": "",
}


@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
def test_a_name_that_means_something_else_is_refused_by_both_routes(built: System, aws: Aws, name: str) -> None:
    answer = address("events", name)
    assert (answer.status, answer.body["field"]) == (422, "name")
    asked = call(profile, "GET", f"/v1/uploads/events/{name}", authorizer=jwt(TENANT))
    assert asked.status in (404, 405, 422), asked.body


@pytest.mark.parametrize("name", ["20261126.csv", "2026-11-26 10-20-30.jsonl", "events-1790000000123.csv.gz"])
def test_days_and_moments_in_a_name_are_nobody_s(built: System, name: str) -> None:
    assert address("events", name).status == 201


@pytest.mark.parametrize("kind", ["rejected", "artifacts", "chunks", "", "EVENTS", "events/x"])
def test_only_folders_of_uploads_have_addresses(built: System, kind: str) -> None:
    assert address(kind, "a.csv").status == 422
    assert call(profile, "GET", f"/v1/uploads/{kind}/a.csv", authorizer=jwt(TENANT)).status in (404, 422)


@pytest.mark.parametrize("name", ["a b.jsonl", "content.csv", "adproduct.jsonl", "a.test.jsonl", "-_.csv"])
def test_labels_are_named_after_a_head(built: System, name: str) -> None:
    assert (address("labels", name).status, address("labels", name).body["field"]) == (422, "name")
    assert address("labels", "mine.dev.jsonl").status == 201


@given(st.text(min_size=1, max_size=30).map(lambda text: f"{text}.csv"))
def test_what_a_name_may_hold_stays_one_part_of_a_key(name: str) -> None:
    if _unusable(name) is None:
        assert name.isprintable() and not set(name) & set('/\\?#%"<>&@:\r\n') and not name.startswith(".")
        assert rejected_key(f"events/{TENANT}/{name}").split("/")[:2] == ["rejected", TENANT]


# What became of it ----------------------------------------------------------------------------------------------------


def test_a_small_file_waits_is_read_and_is_done(built: System, aws: Aws) -> None:
    assert told("events", "a.jsonl") == told("events", "a.jsonl") | {
        "state": "waiting", "chunks": None, "accepted": None, "lines": [], "rejected_url": None, "problem": None
    }  # fmt: skip
    notice = send(aws, "events", "a.jsonl", event(1) + event(2) + b"{broken\n" + event(2))
    assert told("events", "a.jsonl")["state"] == "reading"
    profile.lambda_handler(notice, None)
    found = told("events", "a.jsonl")
    assert (found["state"], found["accepted"], found["duplicates"], found["rejected"]) == ("done", 3, 0, 1)
    [line] = found["lines"]
    assert (line["line"], line["field"]) == (3, "row") and line["reason"]
    link = urlsplit(found["rejected_url"])
    assert unquote(link.path).endswith(rejected_key(found["key"])) and "X-Amz-Expires=900" in link.query
    assert told("events", "a.jsonl", "other")["state"] == "waiting"


def test_lines_of_behaviour_are_not_for_who_only_reads(built: System, aws: Aws) -> None:
    """They quote what people did; of ads and labels they quote the advertiser's own."""
    profile.lambda_handler(send(aws, "events", "a.jsonl", event(1, timestamp="half past ten")), None)

    def status(kind: str, scope: str) -> int:
        who = {"jwt": {"claims": {"tenant": TENANT, "scope": f"adtailor/{scope}"}}}
        return call(profile, "GET", f"/v1/uploads/{kind}/a.jsonl", authorizer=who).status

    assert [status("events", scope) for scope in ("read", "serve", "people", "write")] == [403, 403, 403, 200]
    assert [status("ads", scope) for scope in ("read", "serve", "people", "write")] == [200, 403, 403, 200]


def test_a_large_file_shows_its_chunks(built: System, aws: Aws) -> None:
    body = b"".join(map(event, range(2 * ROWS + 1))) + b"{broken\n"
    profile.lambda_handler(send(aws, "events", "big.jsonl", body), None)
    found = told("events", "big.jsonl")
    assert (found["state"], found["chunks"], found["accepted"]) == ("reading", {"done": 0, "total": 3}, 0)
    assert messages(aws, profile) == 3
    found = told("events", "big.jsonl")
    assert (found["state"], found["chunks"]) == ("done", {"done": 3, "total": 3})
    assert (found["accepted"], found["rejected"], len(found["lines"])) == (2 * ROWS + 1, 1, 1)


def test_while_it_is_split_the_number_of_chunks_is_not_known(built: System, aws: Aws) -> None:
    notice = send(aws, "events", "big.jsonl", b"".join(map(event, range(2 * ROWS + 1))))

    class Hurried:
        def get_remaining_time_in_millis(self) -> int:
            return 1_000

    profile.lambda_handler(notice, Hurried())
    assert told("events", "big.jsonl")["chunks"] == {"done": 0, "total": None}


def test_only_the_first_rejected_lines_are_in_the_answer(built: System, aws: Aws) -> None:
    profile.lambda_handler(send(aws, "events", "bad.jsonl", b"{broken\n" * (SHOWN_LINES + 50)), None)
    messages(aws, profile)
    found = told("events", "bad.jsonl")
    assert (found["rejected"], len(found["lines"])) == (SHOWN_LINES + 50, SHOWN_LINES)


@pytest.mark.parametrize("body", [b"", b"\x89PNG\r\n\x1a\n\x00\x00", b"user_id,event\n"])
def test_a_file_that_is_no_data_says_so(built: System, aws: Aws, body: bytes) -> None:
    profile.lambda_handler(send(aws, "events", "a.csv", body), None)
    found = told("events", "a.csv")
    assert found["state"] == "done" and found["accepted"] == 0
    assert found["problem"] or found["rejected"]


def test_a_later_file_of_the_same_name_is_told_of_by_itself(built: System, aws: Aws) -> None:
    profile.lambda_handler(send(aws, "events", "a.jsonl", event(1)), None)
    assert told("events", "a.jsonl")["accepted"] == 1
    notice = send(aws, "events", "a.jsonl", event(2) + event(3))
    assert told("events", "a.jsonl")["state"] == "reading"
    profile.lambda_handler(notice, None)
    assert told("events", "a.jsonl")["accepted"] == 2
    profile.lambda_handler(send(aws, "events", "a.jsonl", event(2) + event(3)), None)  # the very same again
    assert (told("events", "a.jsonl")["state"], told("events", "a.jsonl")["accepted"]) == ("done", 2)


def test_the_report_outlives_the_file(built: System, aws: Aws) -> None:
    profile.lambda_handler(send(aws, "events", "a.jsonl", event(1) + b"{\n"), None)
    key = told("events", "a.jsonl")["key"]
    for gone in (key, rejected_key(key)):
        aws.s3.delete_object(Bucket=aws.bucket, Key=gone)
    found = told("events", "a.jsonl")
    assert (found["state"], found["rejected"], found["lines"], found["rejected_url"]) == ("done", 1, [], None)


def late(built: System, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock: Callable[[], float] = built.clock
    monkeypatch.setattr(built, "clock", lambda: clock() + seconds)
    built.__dict__.pop("uploading", None)


def test_what_nobody_goes_on_with_has_failed(built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    profile.lambda_handler(send(aws, "events", "big.jsonl", b"".join(map(event, range(2 * ROWS)))), None)
    send(aws, "events", "lost.jsonl", event(1))
    late(built, monkeypatch, STALLED_SECONDS + 60)
    found = told("events", "big.jsonl")
    assert found["state"] == "failed" and "2 chunks are not in" in found["problem"]
    assert told("events", "lost.jsonl")["state"] == "reading"
    late(built, monkeypatch, UNREAD_SECONDS)
    assert told("events", "lost.jsonl")["state"] == "failed"
    messages(aws, profile)  # an operator sends it back: what it comes to counts
    assert told("events", "big.jsonl")["state"] == "done"


def test_ads_and_labels_have_the_same_ways(built: System, aws: Aws) -> None:
    rows = json.dumps(ad("p1", "A phone")).encode() + b"\n" + json.dumps({"ad_id": "p2"}).encode()
    classify.lambda_handler(send(aws, "ads", "shop.jsonl", rows), None)
    found = told("ads", "shop.jsonl")
    assert (found["state"], found["accepted"], found["rejected"]) == ("done", 1, 1)
    classify.lambda_handler(send(aws, "labels", "mine.jsonl", b'{"text": "a", "label": "b"}\n'), None)
    found = told("labels", "mine.jsonl")
    assert found["state"] == "failed" and "one label alone" in found["problem"]  # there is nothing to train on
    aws.s3.delete_object(Bucket=aws.bucket, Key=found["key"])
    assert told("labels", "mine.jsonl")["state"] == "failed"
    two = b"".join(json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}).encode() + b"\n" for n in range(40))
    classify.lambda_handler(send(aws, "labels", "mine.jsonl", two + b"{}\n"), None)
    found = told("labels", "mine.jsonl")
    assert (found["state"], found["accepted"], found["rejected"]) == ("done", 40, 1)
    send(aws, "labels", "mine.unlabelled.jsonl", b'{"text": "a"}\n')
    assert told("labels", "mine.unlabelled.jsonl")["state"] == "done"  # the next training reads it


def test_heads_are_listed_with_the_figures_of_what_serves(built: System, aws: Aws) -> None:
    manifest = {"metadata": {"labels": ["a", "b"], "metrics": {"dev": {"accuracy": 0.9}, "tfidf": {"accuracy": 0.8}}}}
    for name, body in (("latest", b"v1"), ("v1/manifest.json", json.dumps(manifest).encode())):
        aws.s3.put_object(Bucket=aws.bucket, Key=f"artifacts/{TENANT}/heads/mine/{name}", Body=body)
    aws.s3.put_object(Bucket=aws.bucket, Key=f"artifacts/{TENANT}/heads/gone/latest", Body=b"v7")
    answer = call(classify, "GET", "/v1/heads", authorizer=jwt(TENANT))
    TypeAdapter(ANSWERS["GET /v1/heads"][200]).validate_python(answer.body)
    gone, mine = answer.body["heads"]
    assert (gone["name"], gone["metrics"]) == ("gone", None)
    assert mine["metrics"] == {"accuracy": 0.9, "baselines": {"tfidf": {"accuracy": 0.8}}}
