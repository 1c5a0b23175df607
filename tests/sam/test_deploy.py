"""`sam deploy` of the built template into the local AWS services, then what a user does with the AWS command line.

The emulator enforces the roles and the resource policies, so what follows also shows that each role allows enough.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.data import ROOT
from tests.sam.conftest import TENANT
from tests.sam.deployment import STACK, Deployed, deployment, until

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "infra" / "sample"
BUYERS = {"phone-buyer": ("浏览了一款智能手机", "ec-zh-phone"), "watch-buyer": ("收藏了一只手表", "ec-zh-watch")}
SAMPLE_ROWS = 1300  # with the buyers' events more than a chunk


@pytest.fixture(scope="module")
def deployed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A fresh emulator with the built template deployed into it."""
    with deployment(tmp_path_factory.mktemp("emulator")) as found:
        yield found


@pytest.fixture(scope="module")
def catalogue(deployed: Deployed) -> str:
    """A file of the snapshot that the uploaded ads were published in."""
    bucket = deployed.outputs["BucketName"]
    ads = SAMPLE / "ads_ecommerce.jsonl"
    deployed.cli("s3", "cp", "--quiet", str(ads), f"s3://{bucket}/ads/{TENANT}/shop.jsonl")
    report = until("report of the ads", 90, lambda: deployed.report(f"ads/{TENANT}/shop.jsonl"))
    assert report == {"accepted": len(ads.read_text().splitlines()), "duplicates": 0, "rejected": 0}

    def published() -> list[str]:
        return deployed.cli("s3", "ls", "--recursive", f"s3://{bucket}").split()

    names = until("snapshot", 60, lambda: [n for n in published() if n.startswith(f"catalogue/{TENANT}/")])
    return str(names[0])


@pytest.fixture(scope="module")
def events(deployed: Deployed, catalogue: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uploaded file of events, taken in: the sample's, and those of `BUYERS`."""
    path = tmp_path_factory.mktemp("uploads") / "week.jsonl"
    lines = (SAMPLE / "events.jsonl").read_text(encoding="utf-8").splitlines()[:SAMPLE_ROWS]
    now = time.time()
    for user, (text, _) in BUYERS.items():
        for n in range(3):
            at = datetime.fromtimestamp(now - 60 * (n + 1), UTC).isoformat()
            row = {"event_id": f"{user}-{n}", "user_id": user, "event": "cart", "timestamp": at, "text": text}
            lines.append(json.dumps(row | {"domain": "ecommerce"}, ensure_ascii=False))
    path.write_text("\n".join(lines), encoding="utf-8")
    key = f"events/{TENANT}/{path.name}"
    deployed.cli("s3", "cp", "--quiet", str(path), f"s3://{deployed.outputs['BucketName']}/{key}")
    report = until("report of the events", 120, lambda: deployed.report(key))
    assert sum(report.values()) == len(lines) and report["rejected"] == 0, report
    return path


def recommended(answer: dict[str, Any]) -> list[str]:
    assert answer.get("personalised") is True, answer
    return [ad["ad_id"] for ad in answer["ads"]]


def test_deploys(deployed: Deployed) -> None:
    print(f"\nsam deploy into an empty emulator: {deployed.seconds:.1f} s")
    assert {"ApiUrl", "BucketName", "TableName"} <= set(deployed.outputs)


@pytest.mark.parametrize("user", sorted(BUYERS))
def test_ads_fit_the_events_by_the_aws_cli(deployed: Deployed, events: Path, user: str, tmp_path: Path) -> None:
    call = {"tenant": TENANT, "action": "recommend", "user_id": user, "n": 2, "context": {"language": "zh"}}
    answer = tmp_path / "answer.json"
    deployed.cli(
        *("lambda", "invoke", "--function-name", deployed.function("RecommendFunction"), "--qualifier", "live"),
        *("--payload", json.dumps(call), str(answer)),
    )
    first, _ = recommended(json.loads(answer.read_text(encoding="utf-8")))
    assert first.startswith(BUYERS[user][1]), first


def test_ads_fit_the_events_by_the_api(deployed: Deployed, events: Path) -> None:
    assert deployed.request("GET", "/healthz").json()["status"] == "ok"
    body = {"user_id": "phone-buyer", "n": 1, "context": {"language": "zh"}}
    answer = deployed.request("POST", "/v1/recommendations", body)
    assert answer.status_code == 200, answer.text
    (chosen,) = recommended(answer.json())
    assert chosen.startswith("ec-zh-phone")
    happened = {"decision_id": answer.json()["decision_id"], "ad_id": chosen, "type": "click", "timestamp": time.time()}
    assert deployed.request("POST", "/v1/feedback", {"feedback": [happened]}).status_code == 200
    copy = deployed.request("POST", "/v1/copy", {"ad_id": chosen, "n": 1})
    assert copy.status_code == 200 and copy.json()["copies"], copy.text
    profile = deployed.request("GET", "/v1/users/phone-buyer/profile")
    assert profile.status_code == 200 and profile.json()["interests"], profile.text


def test_api_lets_nobody_in_unsigned(deployed: Deployed) -> None:
    body = {"user_id": "phone-buyer", "n": 1}
    for method, path, content in (("POST", "/v1/recommendations", body), ("GET", "/healthz", None)):
        assert deployed.request(method, path, content, signed=False).status_code == 403
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        deployed.client("s3", key="AKIAIOSFODNN7EXAMPLE").list_objects_v2(Bucket=deployed.outputs["BucketName"])


def test_queued_copy_is_written(deployed: Deployed, catalogue: str) -> None:
    queued = deployed.request("POST", "/v1/copy", {"ad_id": "ec-zh-phone-b", "n": 1, "async": True})
    assert queued.status_code == 202, queued.text
    job = f"/v1/copy/{queued.json()['job_id']}"
    until("copy", 60, lambda: deployed.request("GET", job).json()["state"] == "done")


def test_labels_without_training_fail_with_the_reason(deployed: Deployed, tmp_path: Path) -> None:
    path = tmp_path / "topics.jsonl"
    path.write_text('{"text": "a phone", "label": "phones"}\n{"text": "a soup", "label": "food"}\n')
    deployed.cli(
        "s3", "cp", "--quiet", str(path), f"s3://{deployed.outputs['BucketName']}/labels/{TENANT}/topics.jsonl"
    )

    def told() -> dict[str, Any] | None:
        answer = deployed.request("GET", "/v1/heads/topics")
        return dict(answer.json()) if answer.status_code == 200 else None

    head = until("head", 60, told)
    assert head["state"] == "failed" and "no training is configured" in head["reason"], head
    assert [one["name"] for one in deployed.request("GET", "/v1/heads").json()["heads"]] == ["topics"]


def test_rebuild_goes_through_the_queue(deployed: Deployed, events: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"

    def call(**fields: str) -> dict[str, Any]:
        name = deployed.function("ProfileFunction")
        payload = json.dumps({"tenant": TENANT} | fields)
        deployed.cli(
            "lambda", "invoke", "--function-name", name, "--qualifier", "live", "--payload", payload, str(answer)
        )
        run: dict[str, Any] = json.loads(answer.read_text())
        assert "run" in run, run
        return run

    run = call(action="rebuild")["run"]
    done = until("rebuild", 90, lambda: (now := call(action="run", run=run))["state"] == "done" and now)
    people = {row["pk"]["S"] for row in deployed.rows(f"t/{TENANT}/p/")}
    assert done["accepted"] == len(people), (done, len(people))


def test_same_upload_again_changes_nothing(deployed: Deployed, events: Path) -> None:
    before = deployed.rows(f"t/{TENANT}/p/")
    report = deployed.report(f"events/{TENANT}/{events.name}")
    seen = deployed.emulator.log.read_text(errors="replace").count("upload was taken in before")
    deployed.cli(
        "s3", "cp", "--quiet", str(events), f"s3://{deployed.outputs['BucketName']}/events/{TENANT}/{events.name}"
    )

    def noticed() -> bool:
        return deployed.emulator.log.read_text(errors="replace").count("upload was taken in before") > seen

    until("second notification", 60, noticed)
    assert deployed.rows(f"t/{TENANT}/p/") == before
    assert deployed.report(f"events/{TENANT}/{events.name}") == report


def test_no_role_lacked_a_right_and_nothing_was_given_up(deployed: Deployed, events: Path) -> None:
    refused = [
        line for line in deployed.emulator.log.read_text(errors="replace").splitlines() if "not authorized" in line
    ]
    assert not refused, refused[0]
    sqs = deployed.client("sqs")
    for url in sqs.list_queues(QueueNamePrefix=f"{STACK}-")["QueueUrls"]:
        name = url.rsplit("/", 1)[-1]
        if "DeadLetters" in name or name.endswith("-dlq") or "failed" in name.lower():
            waiting = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            assert waiting["Attributes"]["ApproximateNumberOfMessages"] == "0", name
