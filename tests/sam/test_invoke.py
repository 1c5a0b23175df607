"""Every function in Docker on the local services: API requests, S3 uploads, SQS records, direct calls.

One of each kind goes through `sam local invoke`, which makes a container for it; the others share the warm containers
of `sam local start-lambda`.
"""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra import layer
from tests.sam.conftest import FUNCTIONS, TENANT, Cloud, event_of, needs_docker, sqs_event, status_and_body

needs_docker()
pytestmark = [pytest.mark.docker, pytest.mark.slow]


def ago(minutes: float) -> str:
    return datetime.fromtimestamp(time.time() - 60 * minutes, UTC).isoformat()


def with_body(event: dict[str, Any], body: object) -> dict[str, Any]:
    return event | {"body": json.dumps(body, ensure_ascii=False)}


@pytest.fixture(scope="module")
def behaviour(cloud: Cloud, catalogue: dict[str, Any]) -> dict[str, Any]:
    """Body of the answer to POST /v1/events with the events of tests/events, as of now."""
    event = event_of("profile_api")
    body = json.loads(event["body"])
    for minutes, row in enumerate(body["events"]):
        row["timestamp"] = ago(10 - minutes)
    status, answer = cloud.api("profile", with_body(event, body))
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


def test_layer_and_functions_fit_into_lambda(built: Path) -> None:
    total = layer.megabytes(built / "SharedLayer") + max(layer.megabytes(built / name) for name in FUNCTIONS.values())
    parts = "\n".join(f"{size:7.1f} MB  {name}" for size, name in layer.largest(built / "SharedLayer" / "python"))
    print(f"\nlayer and function, unzipped: {total:.1f} MB of {layer.BUDGET_MB}\n{parts}")
    assert total <= layer.BUDGET_MB, parts


def test_classify_direct(services: Cloud) -> None:
    answer = services.invoke_once("classify", event_of("classify_direct"))
    phone, watch, shoes = answer["results"]
    for result in (phone, watch, shoes):
        probabilities = [label["probability"] for label in result["labels"]]
        assert probabilities == sorted(probabilities, reverse=True) and 0 < probabilities[0] <= 1
        assert all(label["id"].startswith("adproduct:") and label["name"]["zh"] for label in result["labels"])
    assert len({result["labels"][0]["id"] for result in (phone, watch, shoes)}) == 3
    assert answer["versions"]["encoder"]


def test_classify_api_and_queue(cloud: Cloud, catalogue: dict[str, Any]) -> None:
    assert [(ad["ad_id"], ad["active"]) for ad in catalogue["ads"]] == [
        ("phone-a", True),
        ("watch-b", True),
        ("course-c", True),
    ]
    stored = {row["sk"]["S"] for row in cloud.rows(f"t/{TENANT}/") if row["sk"]["S"].startswith("ad/")}
    assert {"ad/phone-a", "ad/watch-b", "ad/course-c"} <= stored
    listing = cloud.client("s3").list_objects_v2(Bucket=cloud.resources.bucket, Prefix=f"catalogue/{TENANT}/")
    assert listing["KeyCount"] >= 1  # the snapshot that the queue's message asked for


def test_classify_upload(cloud: Cloud) -> None:
    header = "ad_id,title,description,landing_url,language,domain,bid_cpm\n"
    good = "csv-1,轻便徒步鞋,防滑鞋底,https://example.com/csv-1,zh,ecommerce,9.5\n"
    no_title = "csv-2,,没有标题,https://example.com/csv-2,zh,ecommerce,9.5\n"
    event = cloud.upload("ads/demo/autumn.csv", (header + good + no_title).encode(), event_of("classify_s3"))
    (report,) = cloud.invoke_once("classify", event)["uploads"]
    assert (report["accepted"], report["duplicates"], report["rejected_count"]) == (1, 0, 1), report
    assert report["rejected"][0] | {"reason": ""} == {"index": 3, "field": "title", "reason": ""}
    rejected = cloud.client("s3").get_object(Bucket=cloud.resources.bucket, Key="rejected/demo/autumn.csv.ads.jsonl")[
        "Body"
    ]
    assert b"title" in rejected.read()


def test_labels_where_nobody_trains(cloud: Cloud) -> None:
    rows = b'{"text": "a phone", "label": "phones"}\n{"text": "a soup", "label": "food"}\n{broken\n'
    event = cloud.upload("labels/demo/topics.jsonl", rows, event_of("classify_labels_s3"))
    (report,) = cloud.invoke("classify", event)["uploads"]
    assert (report["state"], report["started"], report["accepted"]) == ("failed", False, 2), report
    assert "no training is configured" in report["reason"]
    again = cloud.invoke("classify", event_of("classify_train_direct"))
    assert again["started"] == [] and again["failed"][0]["head"] == "topics", again
    ended = cloud.invoke("classify", event_of("classify_trained_direct"))
    assert ended["state"] is None  # of a job that nobody waits for


def test_profile_api_and_direct(cloud: Cloud, behaviour: dict[str, Any]) -> None:
    assert (behaviour["accepted"], behaviour["duplicates"]) == (3, 0)
    assert [(one["index"], one["field"]) for one in behaviour["rejected"]] == [(3, "event")]
    profile = cloud.invoke("profile", event_of("profile_direct"))
    assert profile["user_id"] == "shopper-1" and profile["interests"], profile
    assert {"e1", "e2", "e3"} >= {e for interest in profile["interests"] for e in interest["evidence"]} != set()


def test_profile_upload_twice(cloud: Cloud) -> None:
    rows = [
        {"event_id": f"u{n}", "user_id": f"visitor-{n % 2}", "event": "view", "timestamp": ago(n), "text": "跑鞋"}
        for n in range(4)
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows] + ["{broken"]
    data = gzip.compress("\n".join(lines).encode())
    event = event_of("profile_s3")
    event["Records"][0]["s3"]["object"]["key"] = "events/demo/shop+%E6%97%A5%E5%BF%97.jsonl.gz"  # as S3 writes keys
    event = cloud.upload("events/demo/shop 日志.jsonl.gz", data, event)
    (first,) = cloud.invoke("profile", event)["uploads"]
    assert (first["accepted"], first["duplicates"], first["rejected_count"]) == (4, 0, 1), first

    def kept() -> list[Any]:
        mine = [row for row in cloud.rows(f"t/{TENANT}/p/") if row["sk"]["S"].startswith("e/u")]
        return sorted((row["pk"]["S"], row["sk"]["S"], row["seq"]["N"]) for row in mine)

    before = kept()
    assert len(before) == 4
    (again,) = cloud.invoke("profile", event)["uploads"]
    assert again["accepted"] + again["duplicates"] + again["rejected_count"] == 5
    assert kept() == before


def run_of(cloud: Cloud, function: str, call: dict[str, Any]) -> dict[str, Any]:
    """The run that a direct call asks for or starts, as it stands."""
    run = cloud.invoke(function, {"tenant": TENANT} | call)
    assert "run" in run, run
    assert isinstance(run, dict)
    return run


def test_profile_upload_in_chunks(cloud: Cloud) -> None:
    rows = [
        {"event_id": f"c{n}", "user_id": f"walker-{n % 3}", "event": "view", "timestamp": ago(n), "text": "雨伞"}
        for n in range(1100)
    ]
    data = "\n".join(json.dumps(row) for row in rows).encode()
    event = event_of("profile_s3")
    event["Records"][0]["s3"]["object"]["key"] = "events/demo/large.jsonl"
    (started,) = cloud.invoke("profile", cloud.upload("events/demo/large.jsonl", data, event))["uploads"]
    assert (started["state"], started["chunks"], started["finished"]) == ("running", 2, 0), started
    ask = {"action": "run", "run": started["run"]}
    bodies = [cloud.take_message("events", run=started["run"]) for _ in range(2)]
    assert cloud.invoke("profile", sqs_event("profile_sqs", bodies[0])) == {"batchItemFailures": []}
    half = run_of(cloud, "profile", ask)
    assert (half["state"], half["finished"]) == ("running", 1), half
    # The first comes again beside the second and one that is none: only that is sent back.
    event = sqs_event("profile_sqs", bodies[0], "{not JSON", bodies[1])
    assert cloud.invoke("profile", event) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    done = run_of(cloud, "profile", ask)
    assert (done["state"], done["accepted"], done["duplicates"], done["rejected_count"]) == ("done", 1100, 0, 0), done
    kept = [row for row in cloud.rows(f"t/{TENANT}/p/") if row["sk"]["S"].startswith("e/c")]
    assert len(kept) == 1100


def test_classify_upload_in_chunks(cloud: Cloud) -> None:
    ad = {"landing_url": "https://example.com/bulk", "language": "en", "domain": "ecommerce", "bid_cpm": 1}
    filler = "A sturdy umbrella. " * 1000  # the bytes of a few ads fill a chunk
    rows = [
        ad | {"ad_id": f"bulk-{n}", "title": f"Umbrella {n}", "description": filler[: 18_000 + n]} for n in range(28)
    ]
    data = "\n".join(json.dumps(row) for row in rows).encode()
    event = event_of("classify_s3")
    event["Records"][0]["s3"]["object"]["key"] = "ads/demo/bulk.jsonl"
    (started,) = cloud.invoke("classify", cloud.upload("ads/demo/bulk.jsonl", data, event))["uploads"]
    assert (started["state"], started["chunks"]) == ("running", 2), started
    bodies = [cloud.take_message("ads", run=started["run"]) for _ in range(2)]
    assert cloud.invoke("classify", sqs_event("profile_sqs", *bodies)) == {"batchItemFailures": []}
    (report,) = [row for row in cloud.rows(f"t/{TENANT}/uploads") if row["sk"]["S"] == "ads/demo/bulk.jsonl"]
    assert int(report["accepted"]["N"]) + int(report["rejected"]["N"]) == 28, report
    assert report["duplicates"]["N"] == "0"


def test_rebuild_of_every_profile(cloud: Cloud, behaviour: dict[str, Any]) -> None:
    before = cloud.invoke("profile", event_of("profile_direct"))
    started = run_of(cloud, "profile", {"action": "rebuild"})
    bodies = [cloud.take_message("events", run=started["run"]) for _ in range(started["chunks"])]
    assert bodies and cloud.invoke("profile", sqs_event("profile_sqs", *bodies)) == {"batchItemFailures": []}
    done = run_of(cloud, "profile", {"action": "run", "run": started["run"]})
    assert done["state"] == "done" and done["accepted"] >= 1, done
    after = cloud.invoke("profile", event_of("profile_direct"))
    assert [interest["id"] for interest in after["interests"]] == [interest["id"] for interest in before["interests"]]


def test_generate_api(cloud: Cloud, catalogue: dict[str, Any]) -> None:
    status, body = cloud.api("generate", event_of("generate_api"))
    assert status == 200 and body["copies"], body
    for written in body["copies"]:  # no language model is configured: the ladder answers
        assert written["served_by"] in ("template", "advertiser"), written
        assert all(claim["support"] for claim in written["claims"]), written


def test_generate_direct_queues_and_the_queue_does_it(cloud: Cloud) -> None:
    queued = cloud.invoke("generate", event_of("generate_direct"))
    assert queued["state"] == "queued", queued
    event = sqs_event("generate_sqs", cloud.take_message("copy", job_id=queued["job_id"]), "{not JSON")
    assert cloud.invoke("generate", event) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    (job,) = cloud.rows(f"t/{TENANT}/job/{queued['job_id']}")
    assert job["state"]["S"] == "done"


def test_generate_unknown_job_is_over(cloud: Cloud) -> None:
    assert cloud.invoke_once("generate", event_of("generate_sqs")) == {"batchItemFailures": []}


def test_recommend_api(cloud: Cloud, behaviour: dict[str, Any]) -> None:
    status, body = cloud.api("recommend", event_of("recommend_api"))
    assert status == 200 and body["personalised"] is True, body
    assert body["ads"] and {ad["ad_id"] for ad in body["ads"]} <= {"phone-a", "watch-b", "csv-1"}, body
    assert all(ad["copy"] and ad["reasons"] for ad in body["ads"])
    assert body["decision_id"] and body["versions"]


def test_recommend_direct_without_personalisation(cloud: Cloud, catalogue: dict[str, Any]) -> None:
    body = cloud.invoke("recommend", event_of("recommend_direct"))
    assert body["personalised"] is False and len(body["ads"]) == 2, body


def test_the_decision_log_is_written(cloud: Cloud, behaviour: dict[str, Any]) -> None:
    assert cloud.api("recommend", event_of("recommend_api"))[0] == 200
    assert cloud.invoke("recommend", event_of("recommend_log_direct"))["lines"] >= 1


def test_nobody_gets_in_without_an_authorizer(cloud: Cloud) -> None:
    event = event_of("recommend_api")
    del event["requestContext"]["authorizer"]
    status, body = status_and_body(cloud.invoke_once("recommend", event, Stage="dev"))
    assert status == 401 and body["type"].endswith("Unauthenticated"), body
