"""Copy through SageMaker: the real boto3 client against SageMaker's wire API in front of a scripted chat endpoint."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from infra.local import resources
from infra.local.sagemaker_front import Endpoints, SageMakerFront
from shared.errors import ModelUnavailable
from shared.models.sagemaker import SageMakerAsync, SageMakerRealtime, Ticket
from tests.integration.conftest import LocalSystem

MESSAGES = [{"role": "user", "content": "商品：星辰手机\n广告文案："}]
AD = {"title": "星辰智能手机", "description": "6.6 英寸直屏，5000 mAh 电池，活动价 1999 元。"}
TRUE_TEXTS = ["星辰智能手机，6.6 英寸直屏。", "5000 mAh 电池的星辰智能手机。", "星辰智能手机，活动价 1999 元。"]
FALSE_TEXT = "星辰智能手机，9999 mAh 电池。"


class Chat:
    """An OpenAI chat endpoint that answers n times from its texts, or with an error status."""

    def __init__(self) -> None:
        self.texts = [*TRUE_TEXTS, FALSE_TEXT]
        self.status = 200
        self.bodies: list[dict[str, Any]] = []
        chat = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                chat.bodies.append(body)
                choices = [
                    {"index": i, "message": {"content": chat.texts[i % len(chat.texts)]}} for i in range(body["n"])
                ]
                answer = json.dumps({"choices": choices} if chat.status == 200 else {"error": "out of memory"}).encode()
                self.send_response(chat.status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    served = Chat()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture(scope="module")
def front(chat: Chat) -> Iterator[tuple[SageMakerFront, Endpoints]]:
    """The front; its S3 is set when the local system of a test is there."""
    endpoints = Endpoints(chat.url, s3=None, output=f"s3://{resources.NAME}/jobs/output", names=frozenset({"copy"}))
    with SageMakerFront(endpoints) as served:
        yield served, endpoints


@pytest.fixture(scope="module")
def system(front: tuple[SageMakerFront, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A local system whose model is a SageMaker endpoint, real-time and asynchronous."""
    served, endpoints = front
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_ENDPOINT", "copy")
        patch.setenv("SAGEMAKER_ASYNC_ENDPOINT", "copy")
        patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", served.url)
        running = LocalSystem(tmp_path_factory.mktemp("sagemaker") / "state").start()
    endpoints.s3 = running.client("s3")
    sqs = running.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{resources.NAME}-copy")["QueueUrl"]

    def notify(document: dict[str, Any]) -> None:
        body = {"Type": "Notification", "Message": json.dumps(document)}  # what SNS puts into a queue
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))

    endpoints.notify = notify
    yield running
    running.stop()


@pytest.fixture
def working(chat: Chat) -> Iterator[Chat]:
    chat.status = 200
    chat.bodies.clear()
    yield chat
    chat.status = 200


def finished(system: LocalSystem, job_id: str, timeout: float = 90) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while True:
        job: dict[str, Any] = system.http.get(f"/v1/copy/{job_id}").raise_for_status().json()
        if job["state"] not in ("queued", "running"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)


def collected(endpoint: SageMakerAsync, ticket: Ticket, timeout: float = 20) -> list[str]:
    deadline = time.monotonic() + timeout
    while (texts := endpoint.collect(ticket)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return texts


def test_a_real_time_call_is_the_same_chat(front: tuple[SageMakerFront, Endpoints], working: Chat) -> None:
    generator = SageMakerRealtime("copy", resources.client("sagemaker-runtime", front[0].url))
    texts = generator.complete(MESSAGES, n=3, temperature=0.7, max_tokens=30, timeout=10, stop=["\n"])
    assert texts == TRUE_TEXTS
    assert working.bodies[0]["messages"] == MESSAGES
    assert working.bodies[0]["stop"] == ["\n"]


@pytest.mark.parametrize(("endpoint", "status"), [("copy", 500), ("unknown", 200)])
def test_a_failure_is_the_one_error_that_callers_know(
    front: tuple[SageMakerFront, Endpoints], working: Chat, endpoint: str, status: int
) -> None:
    working.status = status
    generator = SageMakerRealtime(endpoint, resources.client("sagemaker-runtime", front[0].url))
    with pytest.raises(ModelUnavailable):
        generator.complete(MESSAGES, n=2, temperature=0.7, max_tokens=30, timeout=10)


@pytest.mark.parametrize("status", [200, 500])
def test_an_asynchronous_call_leaves_its_answer_or_its_error_in_s3(
    system: LocalSystem, front: tuple[SageMakerFront, Endpoints], working: Chat, status: int
) -> None:
    working.status = status
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

    client = resources.client("sagemaker-runtime", front[0].url)
    endpoint = SageMakerAsync("copy", client, put=put, read=read)
    job = f"{status:032d}"
    ticket = endpoint.submit(job, f"jobs/nobody/{job}/input.json", {"messages": MESSAGES, "n": 2})
    if status == 200:
        assert collected(endpoint, ticket) == TRUE_TEXTS[:2]
    else:
        with pytest.raises(ModelUnavailable, match="failed"):
            collected(endpoint, ticket)


def test_copy_is_written_by_the_real_time_endpoint_and_gated(system: LocalSystem, working: Chat) -> None:
    body = system.http.post("/v1/copy", json={"ad": AD, "n": 2}).raise_for_status().json()
    assert {copy["served_by"] for copy in body["copies"]} == {"llm"}
    assert {copy["text"] for copy in body["copies"]} <= set(TRUE_TEXTS)
    assert FALSE_TEXT in {rejected["text"] for rejected in body["rejected"]}


def test_a_heavy_job_goes_through_the_asynchronous_endpoint(system: LocalSystem, working: Chat) -> None:
    answer = system.http.post("/v1/copy", json={"ad": AD, "n": 9})
    assert answer.status_code == 202
    job = finished(system, answer.json()["job_id"])
    assert job["state"] == "done"
    written = [copy["text"] for copy in job["result"]["copies"] if copy["served_by"] == "llm"]
    assert written
    assert set(written) <= set(TRUE_TEXTS)
    assert all(body["n"] >= 9 for body in working.bodies)


def test_an_asynchronous_failure_ends_in_the_templates(system: LocalSystem, working: Chat) -> None:
    working.status = 500
    answer = system.http.post("/v1/copy", json={"ad": AD, "n": 10})
    job = finished(system, answer.json()["job_id"])
    assert job["state"] == "done"
    assert {copy["served_by"] for copy in job["result"]["copies"]} <= {"template", "advertiser"}
