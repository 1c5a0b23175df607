"""Every function in Lambda's runtime (AWS's interface emulator and `awslambdaric`), on the local AWS services."""

from __future__ import annotations

import copy
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local import resources
from infra.local.ministack import Ministack
from infra.local.processes import HOST, StartError, free_port
from tests.data import ROOT, artifact
from tests.lambda_runtime import LambdaRuntime, emulator, event_of

pytestmark = pytest.mark.emulator
TENANT = "demo"
EXTERNAL_IDS = ("shopper-1", "visitor-", "crowd-")


@dataclass
class Functions:
    """The four functions on one set of services, each started at its first event."""

    folder: Path
    resources: resources.Resources
    running: dict[str, LambdaRuntime] = field(default_factory=dict)

    def start(self, name: str, label: str = "", **env: str) -> LambdaRuntime:
        settings = self.resources.environment() | {
            "STAGE": "local",
            "TENANT": TENANT,
            "CONSENT_BASIS": "asserted",
            "EXPLORATION": "0",
            "ROTATION": "0",
            "K_FLOOR": "2",
            "THREADS": "1",
            "PSEUDONYM_KEY_FILE": str(self.folder / "key"),
            "AWS_LAMBDA_LOG_FORMAT": "JSON",  # as the template has it
        }
        key = label or name
        self.running[key] = LambdaRuntime(ROOT / "functions" / name, self.folder / f"{key}.log", settings | env)
        return self.running[key]

    def __getitem__(self, name: str) -> LambdaRuntime:
        return self.running.get(name) or self.start(name)

    def client(self, service: str) -> Any:
        return resources.client(service, self.resources.endpoint_url)

    def rows(self, prefix: str) -> list[dict[str, Any]]:
        """Rows of the table whose pk begins so."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.resources.table)
        return [row for page in pages for row in page["Items"] if row["pk"]["S"].startswith(prefix)]

    def upload(self, key: str, body: bytes, event: dict[str, Any]) -> dict[str, Any]:
        """Puts the object, and returns the event that S3 sends of it."""
        answer = self.client("s3").put_object(Bucket=self.resources.bucket, Key=key, Body=body)
        event = copy.deepcopy(event)
        event["Records"][0]["s3"]["object"] |= {"key": key, "size": len(body), "eTag": answer["ETag"].strip('"')}
        return event

    def messages(self, queue: str, seconds: int = 1) -> dict[str, Any] | None:
        """The SQS event of up to ten messages of the queue, which are taken off it; None where none comes in time."""
        sqs, url = self.client("sqs"), self.resources.queues[queue]
        taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds).get("Messages", ())
        event = event_of("classify_sqs")
        usual = event["Records"][0]
        event["Records"] = [usual | {"messageId": one["MessageId"], "body": one["Body"]} for one in taken]
        for one in taken:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return event if taken else None


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Functions]:
    artifact("encoder")
    emulator()
    folder = tmp_path_factory.mktemp("runtime")
    try:
        services = Ministack(free_port(), folder / "services", folder / "services.log")
        services.wait()
    except StartError as error:
        if os.environ.get("REQUIRE_ARTIFACTS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    started = Functions(folder, resources.create(services.url))
    try:
        yield started
    finally:
        for runtime in started.running.values():
            runtime.stop()
        services.stop()


@pytest.fixture(scope="module")
def catalogue(functions: Functions) -> dict[str, Any]:
    """Body of the answer to PUT /v1/ads; its catalogue is published through the queue."""
    status, body = functions["classify"].api(event_of("classify_api"))
    assert status == 200, body
    event = functions.messages("catalogue", seconds=10)  # a short while goes by, so that one build takes many writes
    assert event is not None
    assert functions["classify"].invoke(event) == {"batchItemFailures": []}
    assert isinstance(body, dict)
    return body


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()


def with_body(event: dict[str, Any], body: object) -> dict[str, Any]:
    return event | {"body": json.dumps(body, ensure_ascii=False)}


def behaviour() -> dict[str, Any]:
    event = event_of("profile_api")
    body = json.loads(event["body"])
    for place, row in enumerate(body["events"]):
        row["timestamp"] = ago(600 - 60 * place)
    return with_body(event, body)


# Each way in, for each function that has it ----------------------------------------------------------------------


def test_classify_api_and_queue(functions: Functions, catalogue: dict[str, Any]) -> None:
    assert [ad["ad_id"] for ad in catalogue["ads"] if ad["active"]] == ["phone-a", "watch-b", "course-c"]
    assert {row["sk"]["S"] for row in functions.rows(f"t/{TENANT}/")} >= {"ad/phone-a", "ad/watch-b", "ad/course-c"}
    found = functions.client("s3").list_objects_v2(Bucket=functions.resources.bucket, Prefix=f"catalogue/{TENANT}/")
    assert found["KeyCount"] == 2  # ads and vectors


def test_classify_upload(functions: Functions) -> None:
    lines = "ad_id,title,landing_url,language,domain\nup-1,轻便徒步鞋,https://example.com/1,zh,ecommerce\n"
    lines += "up-2,,https://example.com/2,zh,social\n"
    event = functions.upload("ads/demo/autumn.csv", lines.encode(), event_of("classify_s3"))
    (report,) = functions["classify"].invoke(event)["uploads"]
    assert (report["accepted"], report["rejected_count"]) == (1, 1), report
    before = [row for row in functions.rows(f"t/{TENANT}/") if row["sk"]["S"].startswith("ad/up-")]
    assert [row["sk"]["S"] for row in before] == ["ad/up-1"]
    functions["classify"].invoke(event)
    assert [row for row in functions.rows(f"t/{TENANT}/") if row["sk"]["S"].startswith("ad/up-")] == before


def test_classify_direct(functions: Functions) -> None:
    answer = functions["classify"].invoke(event_of("classify_direct"))
    assert len({result["labels"][0]["id"] for result in answer["results"]}) == 3


def test_profile_api_and_direct(functions: Functions) -> None:
    status, body = functions["profile"].api(behaviour())
    assert (status, body["accepted"], len(body["rejected"])) == (200, 3, 1), body
    kept = {row["sk"]["S"] for row in functions.rows(f"t/{TENANT}/p/") if row["sk"]["S"].startswith("e/")}
    assert {"e/e1", "e/e2", "e/e3"} <= kept
    profile = functions["profile"].invoke(event_of("profile_direct"))
    assert profile["interests"], profile
    again = functions["profile"].api(behaviour())[1]
    assert (again["accepted"], again["duplicates"]) in ((0, 3), (3, 0)), again  # their times are new


def test_profile_upload(functions: Functions) -> None:
    rows = [
        {"event_id": f"v{n}", "user_id": f"visitor-{n % 2}", "event": "view", "timestamp": ago(n), "text": "跑鞋"}
        for n in range(4)
    ]
    lines = "\n".join([*(json.dumps(row, ensure_ascii=False) for row in rows), "{broken"])
    event = functions.upload("events/demo/shop.jsonl", lines.encode(), event_of("profile_s3"))
    (first,) = functions["profile"].invoke(event)["uploads"]
    assert (first["accepted"], first["rejected_count"]) == (4, 1), first
    before = functions.rows(f"t/{TENANT}/p/")
    functions["profile"].invoke(event)
    assert sorted(map(str, functions.rows(f"t/{TENANT}/p/"))) == sorted(map(str, before))


def test_profile_queue_takes_a_large_upload_in(functions: Functions) -> None:
    rows = [
        {"event_id": f"c{n}", "user_id": f"crowd-{n % 40}", "event": "view", "timestamp": ago(n), "tags": ["shoes"]}
        for n in range(1500)
    ]
    lines = "\n".join(map(json.dumps, rows))
    event = functions.upload("events/demo/crowd.jsonl", lines.encode(), event_of("profile_s3"))
    functions["profile"].invoke(event)
    handled = 0
    while (batch := functions.messages("events")) is not None:
        assert functions["profile"].invoke(batch) == {"batchItemFailures": []}
        handled += len(batch["Records"])
    kept = {row["sk"]["S"] for row in functions.rows(f"t/{TENANT}/p/") if row["sk"]["S"].startswith("e/c")}
    assert len(kept) == 1500 and handled >= 2


def test_generate_api_direct_and_queue(functions: Functions, catalogue: dict[str, Any]) -> None:
    status, body = functions["generate"].api(event_of("generate_api"))
    assert status == 200 and body["copies"], body
    assert all(one["served_by"] in ("template", "advertiser") for one in body["copies"])  # no model is configured
    queued = functions["generate"].invoke(event_of("generate_direct"))
    assert queued["state"] == "queued", queued
    batch = functions.messages("copy")
    assert batch is not None
    batch["Records"].append(batch["Records"][0] | {"messageId": "broken", "body": "{not JSON"})
    assert functions["generate"].invoke(batch) == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    (job,) = functions.rows(f"t/{TENANT}/job/{queued['job_id']}")
    assert job["state"]["S"] == "done"


def test_recommend_api_and_direct(functions: Functions, catalogue: dict[str, Any]) -> None:
    functions["profile"].api(behaviour())
    status, body = functions["recommend"].api(event_of("recommend_api"))
    assert status == 200 and body["personalised"] and body["ads"], body
    assert any(body["decision_id"] in row["pk"]["S"] + row["sk"]["S"] for row in functions.rows("t/"))
    direct = functions["recommend"].invoke(event_of("recommend_direct"))
    assert direct["personalised"] is False and len(direct["ads"]) == 2


# What goes wrong, and the next event after it -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind", "says"),
    [
        ({}, "BadInput", "neither an API request"),
        ({"Records": "none"}, None, ""),
        ([], None, ""),
    ],
    ids=["empty", "no records", "a list"],
)
def test_a_raise_is_the_runtime_s_error(functions: Functions, event: object, kind: str | None, says: str) -> None:
    answer = functions["classify"].invoke(event)
    assert {"errorMessage", "errorType", "stackTrace"} <= set(answer), answer
    assert kind is None or answer["errorType"] == kind
    assert says in answer["errorMessage"]
    assert functions["classify"].invoke(event_of("classify_direct"))["results"]


def test_an_event_that_is_no_json(functions: Functions) -> None:
    answer = functions["classify"].send(b"{not JSON")
    assert json.loads(answer.content)["errorType"] == "Runtime.UnmarshalError", answer.text
    assert functions["classify"].invoke(event_of("classify_direct"))["results"]


def test_a_body_over_five_megabytes(functions: Functions) -> None:
    event = event_of("classify_api")
    event["requestContext"]["http"] |= {"method": "POST", "path": "/v1/classify"}
    event |= {"rawPath": "/v1/classify", "routeKey": "POST /v1/classify"}
    status, body = functions["classify"].api(with_body(event, {"texts": ["a" * 5_000_001]}))
    assert status == 413 and "5000000 bytes" in body["detail"], body
    assert functions["classify"].api(with_body(event, {"texts": ["a watch"]}))[0] == 200


def test_nobody_gets_in_without_an_authorizer(functions: Functions) -> None:
    event = event_of("recommend_api")
    del event["requestContext"]["authorizer"]
    status, body = functions.start("recommend", "recommend-dev", STAGE="dev").api(event)
    assert status == 401 and body["type"].endswith("Unauthenticated"), body


def test_a_model_that_never_answers(functions: Functions, catalogue: dict[str, Any]) -> None:
    """A direct call, which nobody bounds, is cut off; a request is answered by a lower rung within its time."""
    checkup = {"title": "定期体检，预防高血压", "language": "zh", "domain": "health"}  # which no model writes for
    other = with_body(event_of("generate_api"), {"ad": checkup, "n": 1})
    direct = {"action": "copy", "tenant": TENANT, "ad_id": "phone-a", "n": 1, "fresh": True}
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}/v1"
        runtime = functions.start("generate", "generate-silent", LLM_URL=url, AWS_LAMBDA_FUNCTION_TIMEOUT="7")
        assert "Task timed out after 7.00 seconds" in runtime.post(direct).text
        status, body = runtime.api_after_time_out(other)
        assert status == 200 and body["copies"], body
        began = time.monotonic()
        event = with_body(event_of("generate_api"), {"ad_id": "phone-a", "n": 1, "fresh": True})
        status, body = runtime.api(event)
        assert time.monotonic() - began < 7
        assert status == 200 and body["copies"][0]["served_by"] in ("template", "advertiser"), body
        assert "did not answer in time" in body["notice"]


def test_logs_are_json_and_name_nobody(functions: Functions, catalogue: dict[str, Any]) -> None:
    """Of everything that the tests above sent; alone, of what it sends itself."""
    functions["profile"].api(behaviour())
    functions["recommend"].api(event_of("recommend_api"))
    told = functions["classify"].invoke({"action": "fly", "tenant": TENANT})
    assert "action: one of" in told["error"]["detail"]
    lines = [line for runtime in functions.running.values() for line in runtime.lines()]
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict), line
        assert not any(name in line for name in EXTERNAL_IDS), line
