"""Functions that fail in Docker as they would on Lambda, and the next request after each."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.sam.conftest import TENANT, Cloud, docker, event_of, needs_docker, sqs_event, status_and_body

needs_docker()
pytestmark = [pytest.mark.docker, pytest.mark.slow]

HANGING, SMALL = "HangingGenerateFunction", "SmallClassifyFunction"
USER = "993:990"  # an unprivileged one, like Lambda's


def direct(action: str, **call: Any) -> dict[str, Any]:
    return {"tenant": TENANT, "action": action} | call


def test_time_out_and_the_next_request(cloud: Cloud) -> None:
    # A direct call waits for the model as long as the settings say, which is longer than this function may run.
    ad = {"title": "Trail shoes", "landing_url": "https://example.com/shoes", "language": "en"}
    for _ in range(2):  # the second, too, must be cut off at the limit, and not hang behind the first
        start = time.monotonic()
        answer = cloud.call(HANGING, direct("copy", ad=ad, n=1))
        assert "Task timed out after 6.00 seconds" in answer.text, answer
        assert time.monotonic() - start < 60
    queued = json.loads(cloud.call(HANGING, direct("copy", ad=ad, n=1) | {"async": True}).text)
    assert queued["state"] == "queued", queued
    other = cloud.invoke("generate", direct("copy", ad=ad, n=1))
    assert other["copies"], other


def test_out_of_memory_and_the_next_request(cloud: Cloud) -> None:
    classify = direct("classify", texts=["A gold wedding ring"])
    too_much = direct("classify", texts=[f"A gold wedding ring, number {n}. " * 60 for n in range(100)])
    for _ in range(2):
        killed = cloud.call(SMALL, too_much)
        assert killed.error == "Unhandled" and "signal: killed" in killed.text, killed
        assert json.loads(cloud.call(SMALL, classify).text)["results"][0]["labels"]
    (container,) = cloud.containers(SMALL)  # it was the runtime that was killed, not the container
    assert docker("inspect", "--format", "{{.HostConfig.Memory}}", container) == str(192 << 20)
    assert cloud.invoke("classify", classify)["results"][0]["labels"]


def test_unhandled_error_and_the_next_request(cloud: Cloud) -> None:
    failed = json.loads(cloud.call("ClassifyFunction", {"neither": "this nor that"}).text)
    assert failed["errorType"] == "BadInput" and failed["stackTrace"], failed
    assert cloud.invoke("classify", direct("classify", texts=["A phone"]))["results"]


def test_services_that_hang_and_the_next_request(cloud: Cloud, catalogue: dict[str, Any]) -> None:
    event = event_of("recommend_api")
    assert cloud.api("recommend", event)[0] == 200
    docker("pause", cloud.name)
    try:
        start = time.monotonic()
        status, body = cloud.api("recommend", event)
        waited = time.monotonic() - start
    finally:
        docker("unpause", cloud.name)
    print(f"\ntable silent: {status} after {waited:.1f} s")
    assert status == 503 and waited < 29, (status, body, waited)
    assert cloud.api("recommend", event)[0] == 200


def test_poison_messages_come_back_and_the_others_do_not(cloud: Cloud) -> None:
    unknown = json.dumps({"action": "chunk", "tenant": TENANT, "run": "0" * 24, "chunk": 0})
    publish = json.dumps({"tenant": TENANT, "action": "publish"})
    answer = cloud.invoke("profile", sqs_event("profile_sqs", "{not JSON", unknown, "[]"))
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["0", "1", "2"]
    answer = cloud.invoke("classify", sqs_event("classify_sqs", publish, "null", publish))
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["1"]


def test_upload_that_is_gone_is_answered_and_not_repeated(cloud: Cloud) -> None:
    event = event_of("profile_s3")
    event["Records"][0]["s3"]["object"]["key"] = "events/demo/gone.jsonl"
    (refused,) = cloud.invoke("profile", event)["uploads"]
    assert refused["error"]["status"] == 404, refused


def test_task_root_is_read_only(cloud: Cloud) -> None:
    cloud.invoke("profile", direct("profile", user_id="somebody"))
    (container,) = cloud.containers("ProfileFunction")
    mounts = json.loads(docker("inspect", "--format", "{{json .Mounts}}", container))
    assert [mount["RW"] for mount in mounts if mount["Destination"] == "/var/task"] == [False], mounts
    assert "Read-only file system" in docker("exec", container, "/bin/sh", "-c", "touch /var/task/x 2>&1 || true")


def test_everything_but_tmp_is_read_only(cloud: Cloud, built: Path) -> None:
    """As in Lambda, by hand: the SAM CLI runs functions as root and bakes the layer into their image."""
    cloud.invoke("classify", direct("classify", texts=["A phone"]))
    (warm,) = cloud.containers("ClassifyFunction")
    image, variables = json.loads(docker("inspect", "--format", "[{{json .Config.Image}}, {{json .Config.Env}}]", warm))
    name = f"{cloud.name}-locked"
    docker(
        *("run", "--detach", "--name", name, "--network", cloud.name, "--read-only", "--tmpfs", "/tmp"),
        *("--user", USER, "--memory", "1769m", "--publish", "127.0.0.1::8080"),
        *("--volume", f"{built / 'ClassifyFunction'}:/var/task:ro", "--volume", f"{built / 'SharedLayer'}:/opt:ro"),
        *(part for variable in variables for part in ("--env", variable)),
        *("--entrypoint", "/var/rapid/aws-lambda-rie", image, "--log-level", "error"),
    )
    for place in ("/var/task", "/opt/python", "/var"):
        said = docker("exec", name, "/bin/sh", "-c", f"touch {place}/x 2>&1 || true")
        assert "Read-only file system" in said, (place, said)
    url = f"http://{docker('port', name, '8080').splitlines()[0]}/2015-03-31/functions/function/invocations"
    transport = httpx2.HTTPTransport(retries=5)  # the runtime may still be starting
    with httpx2.Client(transport=transport, timeout=120) as client:
        assert client.post(url, json=direct("classify", texts=["A phone"])).json()["results"][0]["labels"]
        status, body = status_and_body(client.post(url, json=event_of("classify_api")).json())
    assert status == 200 and [ad["accepted"] for ad in body["ads"]] == [True, True, True], body
