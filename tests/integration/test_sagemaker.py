"""Copy through SageMaker: the real boto3 client against SageMaker's wire API in front of a scripted chat endpoint."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from infra.local import resources
from infra.local.processes import free_port
from infra.local.sagemaker_endpoints import BODY_BYTES, Endpoints, Faults
from infra.local.sagemaker_front import SageMakerFront
from shared.errors import ModelUnavailable
from shared.models import sagemaker
from shared.models.generator import ChatRequest, Completions
from shared.models.sagemaker import SageMakerAsync, SageMakerRealtime, Ticket
from tests.fakes.chat_server import DONE, ChatServer, chat_server, chunk, replies, streams, writes
from tests.integration.conftest import LocalSystem

REQUEST = ChatRequest(({"role": "user", "content": "商品：星辰手机\n广告文案："},), n=3, max_tokens=30, stop=("\n",))
AD = {"title": "星辰智能手机", "description": "6.6 英寸直屏，5000 mAh 电池。活动价 1999 元。"}
TRUE_TEXTS = ["星辰智能手机，6.6 英寸直屏。", "5000 mAh 电池的星辰智能手机。", "星辰智能手机，活动价 1999 元。"]
FALSE_TEXT = "星辰智能手机，9999 mAh 电池。"


@dataclass
class Front:
    """The front, what it does, and the model behind it."""

    url: str
    endpoints: Endpoints
    chat: ChatServer

    def client(self, name: str = "copy", **options: Any) -> SageMakerRealtime:
        return SageMakerRealtime(name, runtime(self.url), **options)


def runtime(url: str, attempts: int = 1) -> Any:
    """The real boto3 client as `wiring` makes it."""
    retries = {"total_max_attempts": attempts, "mode": "standard"}
    config = Config(retries=retries, connect_timeout=1, read_timeout=20, proxies={"http": ""})
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        config=config,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture(scope="module")
def serving() -> Iterator[Front]:
    """The front; its S3 is set when the local system of a test is there."""
    with chat_server() as chat:
        endpoints = Endpoints(chat.url, s3=None, output=f"s3://{resources.NAME}/jobs/output", names=frozenset({"copy"}))
        with SageMakerFront(endpoints) as served:
            yield Front(served.url, endpoints, chat)


@pytest.fixture
def front(serving: Front) -> Front:
    """As good as new: it writes three true lines and a false one."""
    serving.chat.acts = [writes(*TRUE_TEXTS, FALSE_TEXT)]
    serving.chat.bodies.clear()
    serving.endpoints.faults = Faults()
    serving.endpoints.real_time_seconds = 60.0
    serving.endpoints.stream_seconds = 480.0
    serving.endpoints.most_at_once = 0
    return serving


@pytest.fixture(scope="module")
def system(serving: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A local system whose model is a SageMaker endpoint, real-time and asynchronous."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_ENDPOINT", "copy")
        patch.setenv("SAGEMAKER_ASYNC_ENDPOINT", "copy")
        patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", serving.url)
        running = LocalSystem(tmp_path_factory.mktemp("sagemaker") / "state").start()
    serving.endpoints.s3 = running.client("s3")
    sqs = running.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{resources.NAME}-copy")["QueueUrl"]

    def notify(document: dict[str, Any]) -> None:
        body = {"Type": "Notification", "Message": json.dumps(document)}  # what SNS puts into a queue
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))

    serving.endpoints.notify = notify
    yield running
    running.stop()


def finished(system: LocalSystem, job_id: str, timeout: float = 90) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while True:
        job: dict[str, Any] = system.http.get(f"/v1/copy/{job_id}").raise_for_status().json()
        if job["state"] not in ("queued", "running"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)


def collected(endpoint: SageMakerAsync, ticket: Ticket, timeout: float = 20) -> Completions:
    deadline = time.monotonic() + timeout
    while (answer := endpoint.collect(ticket)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


# The client and the wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
def test_a_real_time_call_is_the_same_chat(front: Front, streaming: bool) -> None:
    answer = front.client(streaming=streaming).complete(REQUEST, timeout=10)
    assert answer.texts == tuple(TRUE_TEXTS) and answer.usage.completion_tokens == 9
    (body,) = front.chat.bodies
    assert body["messages"] == list(REQUEST.messages) and body["stop"] == ["\n"] and body["stream"] == streaming


def test_pieces_come_while_the_model_still_writes(front: Front) -> None:
    seen = threading.Event()
    front.chat.acts = [streams([chunk(0, "星辰"), seen, chunk(0, "手机。", "stop"), DONE])]
    pieces = front.client().stream(replace(REQUEST, n=1), timeout=10)
    assert next(pieces).text == "星辰"
    seen.set()
    assert [piece.text for piece in pieces] == ["手机。"]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_failing_container_is_the_one_error_that_callers_know(front: Front, streaming: bool) -> None:
    front.chat.acts = [replies(b'{"error": "out of memory"}', 500)]
    client = front.client(streaming=streaming)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="endpoint copy is unavailable: status 500"):
            client.complete(REQUEST, timeout=10)
    assert len(front.chat.bodies) == 3, "later calls do not reach the endpoint"


def test_an_unknown_endpoint_is_refused(front: Front) -> None:
    with pytest.raises(ModelUnavailable, match="ValidationError"):
        front.client("unknown").complete(REQUEST, timeout=10)
    assert not front.chat.bodies


def test_a_body_over_the_limit_is_not_sent_or_refused(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    big = replace(REQUEST, messages=({"role": "user", "content": "x" * sagemaker.BODY_BYTES},))
    with pytest.raises(ModelUnavailable, match=f"{sagemaker.BODY_BYTES} bytes"):
        front.client().complete(big, timeout=10)
    monkeypatch.setattr(sagemaker, "BODY_BYTES", 2 * BODY_BYTES)  # what the service itself says
    assert front.client().complete(big, timeout=10).texts
    huge = replace(REQUEST, messages=({"role": "user", "content": "x" * BODY_BYTES},))
    with pytest.raises(ModelUnavailable, match=r"refused the call \(ValidationError\)"):
        front.client().complete(huge, timeout=10)
    assert len(front.chat.bodies) == 1


@pytest.mark.parametrize("streaming", [True, False])
def test_an_adapter_is_chosen_by_the_request(front: Front, streaming: bool) -> None:
    client = front.client(streaming=streaming)
    assert client.complete(replace(REQUEST, adapter="calm"), timeout=10).texts
    (body,) = front.chat.bodies
    assert body["lora"] == [{"id": 1, "scale": 1.0}] and "model" not in body
    with pytest.raises(ModelUnavailable, match="status 404"):
        client.complete(replace(REQUEST, adapter="loud"), timeout=10)
    assert len(front.chat.bodies) == 1
    assert client.complete(REQUEST, timeout=10).texts, "an adapter that is not there says nothing against the endpoint"


@pytest.mark.parametrize("streaming", [True, False])
def test_more_completions_than_the_engine_has_slots_for(front: Front, streaming: bool) -> None:
    answer = front.client(streaming=streaming).complete(replace(REQUEST, n=18, seed=1), timeout=10)
    assert len(answer.texts) == answer.finished == 18 and not answer.cut
    assert [(body["n"], body["seed"]) for body in front.chat.bodies] == [(8, 1), (8, 9), (2, 17)]


def test_a_throttled_call_is_tried_again(front: Front) -> None:
    front.endpoints.faults = Faults(throttle=2)
    assert front.client().complete(REQUEST, timeout=10).texts == tuple(TRUE_TEXTS)


def test_an_endpoint_that_throttles_everyone_is_left_alone(front: Front) -> None:
    front.endpoints.faults = Faults(throttle=100)
    client = front.client()
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="too often"):
            client.complete(REQUEST, timeout=10)
    assert front.endpoints.faults.throttle == 97


def test_an_endpoint_takes_so_many_calls_at_a_time(front: Front) -> None:
    front.endpoints.most_at_once = 1
    seen = threading.Event()
    front.chat.acts = [streams([chunk(0, "星辰"), seen, chunk(0, "手机。", "stop"), DONE])]
    slow = front.client().stream(replace(REQUEST, n=1), timeout=10)
    next(slow)
    with pytest.raises(ModelUnavailable, match="too often"):
        front.client().complete(REQUEST, timeout=10)
    seen.set()
    assert list(slow)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_container_that_says_nothing_within_the_services_limit(front: Front, streaming: bool) -> None:
    front.endpoints.real_time_seconds = 0.3
    front.chat.acts = [lambda *_: time.sleep(2)]
    with pytest.raises(ModelUnavailable, match="within the endpoint's limit"):
        front.client(streaming=streaming).complete(REQUEST, timeout=10)
    assert len(front.chat.bodies) == 1


def test_a_stream_over_the_services_limit_leaves_what_is_finished(front: Front) -> None:
    front.endpoints.stream_seconds = 0.2
    front.chat.acts = [streams([chunk(0, "好。", "stop"), chunk(1, "没写"), 0.5, chunk(1, "完"), DONE])]
    answer = front.client().complete(REQUEST, timeout=10)
    assert answer.texts == ("好。",) and answer.cut == 2 and "the stream broke" in answer.notice


@pytest.mark.parametrize(
    ("faults", "notice"), [(Faults(fail_after=2), "InternalStreamFailure"), (Faults(drop_after=2), "connection broke")]
)
def test_a_stream_that_the_service_breaks_leaves_what_is_finished(front: Front, faults: Faults, notice: str) -> None:
    front.endpoints.faults = faults
    front.chat.acts = [streams([chunk(0, "好。", "stop"), 0.1, chunk(1, "没写"), 0.1, chunk(1, "完"), DONE])]
    answer = front.client().complete(REQUEST, timeout=10)
    assert answer.texts == ("好。",) and answer.cut == 2 and notice in answer.notice


def test_a_container_that_breaks_its_stream(front: Front) -> None:
    front.chat.acts = [streams([chunk(0, "好。", "stop"), chunk(1, "没写")], cut=True)]
    answer = front.client().complete(REQUEST, timeout=10)
    assert answer.texts == ("好。",) and "the stream broke" in answer.notice


def test_a_loading_model_is_waited_for_by_a_job_and_not_by_a_person(front: Front) -> None:
    loading = replies(b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}', 503)
    front.chat.acts = [loading, *front.chat.acts]
    client = front.client()
    with pytest.raises(ModelUnavailable, match="loading"):
        client.complete(REQUEST, timeout=10)
    assert client.complete(REQUEST, timeout=90).texts == tuple(TRUE_TEXTS)


def test_nobody_serves_the_api() -> None:
    client = SageMakerRealtime("copy", runtime(f"http://127.0.0.1:{free_port()}"))
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="no connection"):
            client.complete(REQUEST, timeout=20)


# With the system --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 500])
def test_an_asynchronous_call_leaves_its_answer_or_its_error_in_s3(
    system: LocalSystem, front: Front, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(front.endpoints, "notify", told.append)
    if status != 200:
        front.chat.acts = [replies(b'{"error": "out of memory"}', status)]
    s3 = system.client("s3")

    def put(key: str, data: bytes) -> str:
        s3.put_object(Bucket=resources.NAME, Key=key, Body=data)
        return f"s3://{resources.NAME}/{key}"

    def read(location: str) -> bytes | None:
        try:
            key = location.removeprefix(f"s3://{resources.NAME}/")
            return bytes(s3.get_object(Bucket=resources.NAME, Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None

    endpoint = SageMakerAsync("copy", runtime(front.url, attempts=3), put=put, read=read)
    job = f"{status:032d}"
    ticket = endpoint.submit(job, f"jobs/nobody/{job}/input.json", replace(REQUEST, n=10))
    if status == 200:
        for _ in range(2):  # also when its notification comes twice
            assert collected(endpoint, ticket).texts == (*TRUE_TEXTS, FALSE_TEXT) * 2 + tuple(TRUE_TEXTS[:2])
        assert [body["n"] for body in front.chat.bodies] == [8, 2]
    else:
        with pytest.raises(ModelUnavailable, match="copy reports that the call failed"):
            collected(endpoint, ticket)
        assert ticket.failure and b"out of memory" in (read(ticket.failure) or b"")
    while not told:
        time.sleep(0.01)
    (notice,) = told
    assert notice["inferenceId"] == job and notice["requestParameters"]["endpointName"] == "copy"
    assert notice["invocationStatus"] == ("Completed" if status == 200 else "Failed")
    assert notice["responseParameters"]["outputLocation"] == (ticket.output if status == 200 else ticket.failure)
    assert ("out of memory" in notice.get("failureReason", "")) == (status != 200)


def test_copy_is_written_by_the_real_time_endpoint_and_gated(system: LocalSystem, front: Front) -> None:
    body = system.http.post("/v1/copy", json={"ad": AD, "n": 2}).raise_for_status().json()
    assert {copy["served_by"] for copy in body["copies"]} == {"llm"}
    assert {copy["text"] for copy in body["copies"]} <= set(TRUE_TEXTS)
    assert FALSE_TEXT in {rejected["text"] for rejected in body["rejected"]}


def test_a_heavy_job_goes_through_the_asynchronous_endpoint(system: LocalSystem, front: Front) -> None:
    answer = system.http.post("/v1/copy", json={"ad": AD, "n": 9})
    assert answer.status_code == 202
    job = finished(system, answer.json()["job_id"])
    assert job["state"] == "done"
    written = [copy["text"] for copy in job["result"]["copies"] if copy["served_by"] == "llm"]
    assert written
    assert set(written) <= set(TRUE_TEXTS)
    assert sum(body["n"] for body in front.chat.bodies) >= 9


def test_an_asynchronous_failure_ends_in_the_templates(system: LocalSystem, front: Front) -> None:
    front.chat.acts = [replies(b"{}", 500)]
    answer = system.http.post("/v1/copy", json={"ad": AD, "n": 10})
    job = finished(system, answer.json()["job_id"])
    assert job["state"] == "done"
    assert {copy["served_by"] for copy in job["result"]["copies"]} <= {"template", "advertiser"}


@pytest.mark.parametrize("times", [0, 2])
def test_a_notification_that_is_lost_or_comes_twice_changes_nothing(
    system: LocalSystem, front: Front, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    told = front.endpoints.notify
    assert told is not None
    monkeypatch.setattr(front.endpoints, "notify", lambda document: [told(document) for _ in range(times)])
    answer = system.http.post("/v1/copy", json={"ad": AD, "n": 11 + times})
    job = finished(system, answer.json()["job_id"])
    assert job["state"] == "done"
    assert {copy["text"] for copy in job["result"]["copies"] if copy["served_by"] == "llm"} <= set(TRUE_TEXTS)
