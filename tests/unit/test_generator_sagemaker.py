"""The SageMaker clients against stubbed boto3: what each of its errors means, and where asynchronous results lie."""

from __future__ import annotations

import json
import time
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.response import StreamingBody
from botocore.stub import Stubber

from shared.errors import ModelUnavailable
from shared.models.generator import ChatRequest
from shared.models.resilience import Failure, Loading, StreamBroken, TimedOut, Unreachable
from shared.models.sagemaker import BODY_BYTES, CALL_SECONDS, SageMakerAsync, SageMakerRealtime, in_bucket, meaning
from shared.stores.objects import Objects
from tests.conftest import Aws
from tests.fakes.chat_server import choices
from tests.fakes.generation import FakeSageMakerRuntime

REQUEST = ChatRequest(({"role": "user", "content": "Product: a phone\nAd:"},), n=2, max_tokens=20)


@pytest.fixture
def runtime() -> Any:
    return boto3.client(
        "sagemaker-runtime", region_name="eu-central-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )


def whole(client: Any) -> SageMakerRealtime:
    return SageMakerRealtime("copywriter", client, streaming=False)


def invocation(*texts: str) -> dict[str, Any]:
    data = choices(*texts)
    return {"Body": StreamingBody(BytesIO(data), len(data)), "ContentType": "application/json"}


def error(code: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "sorry"}, **more}, "InvokeEndpoint")


def container(status: int, message: str = "") -> ClientError:
    return error("ModelError", OriginalStatusCode=status, OriginalMessage=message)


def test_a_real_time_endpoint_takes_the_chat_body(runtime: Any) -> None:
    with Stubber(runtime) as stub:
        stub.add_response("invoke_endpoint", invocation("copy a", "copy b"))
        answer = whole(runtime).complete(REQUEST, timeout=5)
        assert answer.texts == ("copy a", "copy b") and answer.usage.completion_tokens == 6
        stub.assert_no_pending_responses()


def test_a_throttled_endpoint_is_tried_again(runtime: Any) -> None:
    with Stubber(runtime) as stub:
        stub.add_client_error("invoke_endpoint", "ThrottlingException", http_status_code=400)
        stub.add_response("invoke_endpoint", invocation("copy a", "copy b"))
        assert whole(runtime).complete(REQUEST, timeout=5).texts == ("copy a", "copy b")


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (error("ThrottlingException"), Failure),
        (error("ServiceUnavailable"), Failure),
        (error("InternalFailure"), Failure),
        (error("InternalDependencyException"), Failure),
        (error("InternalStreamFailure"), Failure),
        (error("ModelStreamError"), StreamBroken),
        (error("ModelNotReadyException"), Loading),
        (container(500, "CUDA out of memory"), Failure),
        (container(503, "Loading model"), Loading),
        (container(429), Failure),
        (container(0, "Your invocation timed out while waiting"), TimedOut),
        (container(400, "no such adapter"), ModelUnavailable),
        (error("ValidationError"), ModelUnavailable),
        (error("AccessDeniedException"), ModelUnavailable),
        (error("413"), ModelUnavailable),
        (EndpointConnectionError(endpoint_url="http://x"), Unreachable),
        (ConnectTimeoutError(endpoint_url="http://x"), Unreachable),
        (ReadTimeoutError(endpoint_url="http://x"), TimedOut),
        (NoCredentialsError(), ModelUnavailable),
        (BotoCoreError(), Failure),
    ],
)
def test_what_an_error_means(problem: ClientError | BotoCoreError, kind: type[Exception]) -> None:
    assert type(meaning(problem)) is kind


def test_a_failing_container_is_named(runtime: Any) -> None:
    with Stubber(runtime) as stub:
        stub.add_client_error("invoke_endpoint", "ModelError", http_status_code=424)
        with pytest.raises(ModelUnavailable, match="ModelError"):
            whole(runtime).complete(REQUEST, timeout=5)


def test_a_body_over_the_limit_is_not_sent(runtime: Any) -> None:
    request = ChatRequest(({"role": "user", "content": "x" * BODY_BYTES},))
    with pytest.raises(ModelUnavailable, match=str(BODY_BYTES)):
        whole(runtime).complete(request, timeout=5)


def test_a_slow_endpoint_is_given_up_at_the_deadline() -> None:
    class Slow:
        def invoke_endpoint_with_response_stream(self, **_: Any) -> Any:
            time.sleep(1)
            raise AssertionError

    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="in time"):
        SageMakerRealtime("copywriter", Slow()).complete(REQUEST, timeout=0.2)
    assert time.monotonic() - started < 0.9


# Asynchronous ----------------------------------------------------------------------------------------------------


@pytest.fixture
def objects() -> dict[str, bytes]:
    return {}


@pytest.fixture
def fake(objects: dict[str, bytes]) -> FakeSageMakerRuntime:
    return FakeSageMakerRuntime(objects)


@pytest.fixture
def endpoint(objects: dict[str, bytes], fake: FakeSageMakerRuntime) -> SageMakerAsync:
    def put(key: str, data: bytes) -> str:
        objects[f"s3://in/{key}"] = data
        return f"s3://in/{key}"

    return SageMakerAsync("copywriter", fake, put=put, read=objects.get)


def test_an_asynchronous_call_leaves_its_input_and_is_collected_later(
    endpoint: SageMakerAsync, fake: FakeSageMakerRuntime, objects: dict[str, bytes]
) -> None:
    ticket = endpoint.submit("job-1", "jobs/demo/job-1/input.json", REQUEST)
    (call,) = fake.calls
    assert call["InferenceId"] == "job-1"
    assert call["InvocationTimeoutSeconds"] == CALL_SECONDS and call["RequestTTLSeconds"] == 900 - CALL_SECONDS
    body = json.loads(objects[call["InputLocation"]])
    assert body["messages"] == list(REQUEST.messages) and body["n"] == 2 and not body["stream"]
    assert endpoint.collect(ticket) is None
    fake.answer(["copy a"])
    for _ in range(2):  # a notification that arrives twice
        answer = endpoint.collect(ticket)
        assert answer is not None and answer.texts == ("copy a",)


def test_an_asynchronous_failure_is_told_without_what_the_container_says(
    endpoint: SageMakerAsync, fake: FakeSageMakerRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = endpoint.submit("job-1", "key", REQUEST)
    fake.fail()
    with pytest.raises(ModelUnavailable, match="endpoint copywriter reports that the call failed") as raised:
        endpoint.collect(ticket)
    assert "out of memory" not in f"{raised.value.detail} {caplog.text}", "it may name an account, or repeat a prompt"


def test_answers_are_read_from_the_own_bucket_alone(aws: Aws) -> None:
    objects = Objects(aws.s3, aws.bucket)
    put, read = in_bucket(objects)
    location = put("jobs/demo/1/input.json", b"{}")
    assert location == f"s3://{aws.bucket}/jobs/demo/1/input.json" and read(location) == b"{}"
    assert read(f"s3://{aws.bucket}/jobs/output/1.out") is None
    with pytest.raises(ModelUnavailable, match="another bucket"):
        read("s3://elsewhere/jobs/output/1.out")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_of_a_servers_without_a_name_is_the_endpoints(runtime: Any, status: int) -> None:
    with Stubber(runtime) as stub:
        stub.add_client_error("invoke_endpoint", str(status), http_status_code=status)
        stub.add_response("invoke_endpoint", invocation("copy a", "copy b"))
        assert whole(runtime).complete(REQUEST, timeout=5).texts


def test_a_refusal_without_a_name_is_no_failure_of_the_endpoint(runtime: Any) -> None:
    with Stubber(runtime) as stub:
        stub.add_client_error("invoke_endpoint", "413", http_status_code=413)
        with pytest.raises(ModelUnavailable, match="refused the call"):
            whole(runtime).complete(REQUEST, timeout=5)


@pytest.mark.parametrize("answer", [b"", b"{", b'{"error": {"message": "out of memory"}}'])
def test_an_asynchronous_answer_that_is_none_is_a_failure(
    endpoint: SageMakerAsync, objects: dict[str, bytes], answer: bytes
) -> None:
    ticket = endpoint.submit("job-1", "key", REQUEST)
    objects[ticket.output] = answer
    with pytest.raises(ModelUnavailable, match="copywriter failed"):
        endpoint.collect(ticket)


def test_an_endpoint_that_does_not_take_the_call_is_unavailable(runtime: Any) -> None:
    client = SageMakerAsync("copywriter", runtime, put=lambda key, _: f"s3://in/{key}", read=lambda _: None)
    for code in ("ServiceUnavailable", "ValidationError"):
        with Stubber(runtime) as stub:
            stub.add_client_error("invoke_endpoint_async", code)
            with pytest.raises(ModelUnavailable, match=code):
                client.submit("job-1", "key", REQUEST)
