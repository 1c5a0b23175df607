"""The clients of the language model against a real server on this machine, and against stubbed SageMaker."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import boto3
import pytest
import pytest_socket
from botocore.response import StreamingBody
from botocore.stub import Stubber

from shared.errors import ModelUnavailable
from shared.models.generator import OpenAICompatible, read_completions
from shared.models.sagemaker import SageMakerAsync, SageMakerRealtime
from tests.fakes.generation import FakeSageMakerRuntime

MESSAGES = [{"role": "user", "content": "Product: a phone\nAd:"}]
SAMPLING: dict[str, Any] = {"temperature": 0.7, "max_tokens": 20}
Act = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """Here the network is this machine."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    yield
    pytest_socket.socket_allow_hosts(None)
    pytest_socket.enable_socket()


def choices(*texts: str, finish: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": t}, "finish_reason": finish} for t in texts]}).encode()


def reply(handler: BaseHTTPRequestHandler, data: bytes, status: int = 200, length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def write_all(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    reply(handler, choices(*(f"copy {place}" for place in range(body["n"]))))


@dataclass
class Model:
    """An endpoint that acts as a test says; `acts` are used up one a request, the last stays."""

    url: str = ""
    acts: list[Act] = field(default_factory=lambda: [write_all])
    bodies: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def model() -> Iterator[Model]:
    state = Model()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.bodies.append(body)
            act = state.acts.pop(0) if len(state.acts) > 1 else state.acts[0]
            try:
                act(self, body)
            except OSError:  # the client gave up
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def complete(url: str, n: int = 2, timeout: float = 5.0) -> list[str]:
    client = OpenAICompatible(url, "local")
    try:
        return client.complete(MESSAGES, n=n, timeout=timeout, **SAMPLING)
    finally:
        client.close()


def test_candidates_come_in_one_request_and_in_the_chat_format(model: Model) -> None:
    assert complete(model.url, n=2) == ["copy 0", "copy 1"]
    (body,) = model.bodies
    assert body["messages"] == MESSAGES and body["n"] == 2 and body["model"] == "local" and not body["stream"]


def test_more_than_the_engine_has_slots_are_asked_for_in_batches(model: Model) -> None:
    assert len(complete(model.url, n=20)) == 20
    assert [body["n"] for body in model.bodies] == [8, 8, 4]


def test_an_engine_that_ignores_n_is_asked_again(model: Model) -> None:
    model.acts = [lambda handler, _: reply(handler, choices("only one"))]
    assert complete(model.url, n=2) == ["only one", "only one"]


def test_what_is_there_is_kept_when_a_later_batch_fails(model: Model) -> None:
    model.acts = [write_all, lambda handler, _: reply(handler, b"{}", 400)]
    assert len(complete(model.url, n=16)) == 8


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_again(model: Model, status: int) -> None:
    model.acts = [lambda handler, _: reply(handler, b"busy", status), write_all]
    assert complete(model.url) == ["copy 0", "copy 1"]
    assert len(model.bodies) == 2


def test_a_cut_stream_is_tried_again_and_then_given_up(model: Model) -> None:
    def cut(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        reply(handler, b'{"choices": [', length=5000)
        handler.close_connection = True

    model.acts = [cut, write_all]
    assert complete(model.url) == ["copy 0", "copy 1"]
    model.acts = [cut]
    with pytest.raises(ModelUnavailable):
        complete(model.url)


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_is_not_repeated(model: Model, status: int) -> None:
    model.acts = [lambda handler, _: reply(handler, b"no", status)]
    with pytest.raises(ModelUnavailable, match=str(status)):
        complete(model.url)
    assert len(model.bodies) == 1


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"{}", b"[]", b'{"choices": [{}]}', b'{"choices": []}', b"\xff\xfe"]
)
def test_nonsense_is_an_unavailable_model(model: Model, answer: bytes) -> None:
    model.acts = [lambda handler, _: reply(handler, answer)]
    with pytest.raises(ModelUnavailable):
        complete(model.url)


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ModelUnavailable):
        complete(f"http://127.0.0.1:{port}/v1")
    assert time.monotonic() - started < 5


def test_the_deadline_holds_against_silence(model: Model) -> None:
    model.acts = [lambda *_: time.sleep(1.5)]
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="in time"):
        complete(model.url, timeout=0.3)
    assert time.monotonic() - started < 1.2


def test_the_deadline_holds_against_a_trickle(model: Model) -> None:
    def trickle(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _tick in range(30):
            handler.wfile.write(b"1\r\n \r\n")
            time.sleep(0.1)

    model.acts = [trickle]
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="in time"):
        complete(model.url, timeout=0.5)
    assert time.monotonic() - started < 2


def test_a_sentence_that_the_token_limit_broke_off_is_left_out() -> None:
    assert read_completions(choices("好用的手机。电池很", finish="length")) == ["好用的手机。"]
    assert read_completions(choices("A phone for you. The bat", "the batt", finish="length")) == ["A phone for you."]


def test_only_http_is_spoken() -> None:
    with pytest.raises(ValueError, match="http"):
        OpenAICompatible("file:///etc/passwd", "local")


@pytest.fixture
def sagemaker() -> Any:
    return boto3.client(
        "sagemaker-runtime", region_name="eu-central-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )


def invocation(*texts: str) -> dict[str, Any]:
    data = choices(*texts)
    return {"Body": StreamingBody(BytesIO(data), len(data)), "ContentType": "application/json"}


def test_a_real_time_endpoint_takes_the_same_body(sagemaker: Any) -> None:
    with Stubber(sagemaker) as stub:
        stub.add_response("invoke_endpoint", invocation("copy a", "copy b"))
        texts = SageMakerRealtime("copywriter", sagemaker).complete(MESSAGES, n=2, timeout=5, **SAMPLING)
        assert texts == ["copy a", "copy b"]
        stub.assert_no_pending_responses()


def test_a_throttled_endpoint_is_tried_again(sagemaker: Any) -> None:
    with Stubber(sagemaker) as stub:
        stub.add_client_error("invoke_endpoint", "ThrottlingException", http_status_code=429)
        stub.add_response("invoke_endpoint", invocation("copy a"))
        assert SageMakerRealtime("copywriter", sagemaker).complete(MESSAGES, n=1, timeout=5, **SAMPLING) == ["copy a"]


def test_a_failing_endpoint_is_an_unavailable_model(sagemaker: Any) -> None:
    with Stubber(sagemaker) as stub:
        stub.add_client_error("invoke_endpoint", "ModelError", http_status_code=424)
        with pytest.raises(ModelUnavailable, match="ModelError"):
            SageMakerRealtime("copywriter", sagemaker).complete(MESSAGES, n=1, timeout=5, **SAMPLING)


def test_a_slow_endpoint_is_given_up_at_the_deadline() -> None:
    class Slow:
        def invoke_endpoint(self, **_: Any) -> Any:
            time.sleep(1)
            raise AssertionError

    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="in time"):
        SageMakerRealtime("copywriter", Slow()).complete(MESSAGES, n=1, timeout=0.2, **SAMPLING)
    assert time.monotonic() - started < 0.9


def test_an_asynchronous_call_leaves_its_input_and_is_collected_later() -> None:
    objects: dict[str, bytes] = {}
    runtime = FakeSageMakerRuntime(objects)

    def put(key: str, data: bytes) -> str:
        objects[f"s3://in/{key}"] = data
        return f"s3://in/{key}"

    client = SageMakerAsync("copywriter", runtime, put=put, read=objects.get)
    ticket = client.submit("job-1", "jobs/demo/job-1/input.json", {"messages": MESSAGES})
    assert runtime.calls[0]["InferenceId"] == "job-1"
    assert json.loads(objects[runtime.calls[0]["InputLocation"]]) == {"messages": MESSAGES}
    assert client.collect(ticket) is None
    runtime.answer(["copy a"])
    assert client.collect(ticket) == ["copy a"]


def test_an_asynchronous_failure_is_an_unavailable_model() -> None:
    objects: dict[str, bytes] = {}
    runtime = FakeSageMakerRuntime(objects)
    client = SageMakerAsync("copywriter", runtime, put=lambda key, data: f"s3://in/{key}", read=objects.get)
    ticket = client.submit("job-1", "key", {})
    runtime.fail()
    with pytest.raises(ModelUnavailable, match="failed"):
        client.collect(ticket)
