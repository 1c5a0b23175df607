"""The language model behind a SageMaker endpoint: real-time, streaming and asynchronous, with OpenAI's chat body."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.eventstream import ParserError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from urllib3.exceptions import HTTPError

from shared.errors import ModelUnavailable, NotFound
from shared.models.answers import read_completions
from shared.models.chat import ChatClient
from shared.models.generator import ChatRequest, Completions, Engine, chat_body
from shared.models.openai import refusal, seconds_of
from shared.models.resilience import Failure, Guard, Loading, StreamBroken, TimedOut, Unreachable
from shared.telemetry import logger

BODY_BYTES = 6 * 1024 * 1024  # of a real-time request: the service model's limit for its body
CALL_SECONDS = 300  # for an asynchronous call that has begun: a few texts take some, and one that hangs keeps a GPU
_PASSING = frozenset(
    {
        "ServiceUnavailable",
        "InternalFailure",
        "InternalDependencyException",
        "InternalStreamFailure",
        "InternalServerException",
    }
)
_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})


class SageMakerRealtime(ChatClient):
    """See `ChatClient`. `client`: boto3's ``sagemaker-runtime``, without retries of its own: they know no deadline."""

    def __init__(
        self,
        endpoint: str,
        client: Any,
        *,
        engine: Engine = "vllm",
        model: str | None = None,
        streaming: bool = True,
        guard: Guard | None = None,
    ) -> None:
        guard = guard or Guard(f"endpoint {endpoint}")
        super().__init__(endpoint, engine=engine, model=model, streaming=streaming, guard=guard)
        self._client = client

    def _exchange(self, body: bytes, *, streaming: bool, timeout: float) -> Generator[bytes]:
        if len(body) > BODY_BYTES:
            raise ModelUnavailable(f"the request is over the endpoint's {BODY_BYTES} bytes")
        call: dict[str, Any] = {"EndpointName": self.name, "ContentType": "application/json", "Body": body}
        try:
            if not streaming:
                yield from self._client.invoke_endpoint(**call, Accept="application/json")["Body"].iter_chunks(1 << 14)
                return
            events = self._client.invoke_endpoint_with_response_stream(**call, Accept="text/event-stream")["Body"]
            try:
                for event in events:
                    if "PayloadPart" in event:
                        yield event["PayloadPart"]["Bytes"]
            finally:
                events.close()
        except (ClientError, BotoCoreError) as error:
            raise meaning(error) from error
        except (HTTPError, ParserError) as error:  # botocore lets them through while it reads a stream
            raise Failure(f"the connection broke ({type(error).__name__})") from error


def meaning(error: ClientError | BotoCoreError) -> Failure | ModelUnavailable:
    """What boto3's exception says of the endpoint."""
    if isinstance(error, NoCredentialsError):
        return ModelUnavailable("there are no AWS credentials for the endpoint")
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return Unreachable(f"no connection ({type(error).__name__})")
    if isinstance(error, ReadTimeoutError):
        return TimedOut("it did not answer in time")
    if not isinstance(error, ClientError):
        return Failure(f"the connection broke ({type(error).__name__})")
    problem = error.response.get("Error", {})
    code = str(problem.get("Code", ""))
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    wait = seconds_of(headers.get("retry-after"))
    if code == "ModelNotReadyException":
        return Loading("the model is still loading", retry_after=wait)
    if code in _THROTTLED:
        return Failure("it is asked too often", retry_after=wait)
    if code == "ModelError":
        return _container(error.response, wait)
    if code == "ModelStreamError":  # botocore does not pass on whether it was the limit or the connection
        return StreamBroken(f"the stream broke ({problem.get('Message', '')})")
    if code in _PASSING or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return Failure(code, retry_after=wait)
    return ModelUnavailable(f"the endpoint refused the call ({code})")


def _container(response: Mapping[str, Any], wait: float | None) -> Failure | ModelUnavailable:
    """The container answered with an error, or not within the endpoint's own limit (status 0)."""
    status = int(response.get("OriginalStatusCode") or 0)
    message = str(response.get("OriginalMessage") or response.get("Message") or "")
    if not status:
        return TimedOut("its container did not answer within the endpoint's limit (ModelError)")
    return refusal(status, None if wait is None else str(int(wait)), message.encode())


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where the answer of an asynchronous call will lie (``s3://…``): one of the two appears."""

    output: str
    failure: str | None


class Bucket(Protocol):
    """Where inputs and answers lie."""

    @property
    def bucket(self) -> str:
        """Its name."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Stores bytes."""

    def get(self, key: str) -> bytes:
        """The bytes under a key; `NotFound` without any."""


def in_bucket(objects: Bucket) -> tuple[Callable[[str, bytes], str], Callable[[str], bytes | None]]:
    """`put` and `read` of a `SageMakerAsync` whose endpoint has its output in the deployment's own bucket."""
    own = f"s3://{objects.bucket}/"

    def put(key: str, data: bytes) -> str:
        objects.put(key, data, "application/json")
        return f"{own}{key}"

    def read(location: str) -> bytes | None:
        if not location.startswith(own):  # where nothing may be read, whatever lies there
            raise ModelUnavailable("the endpoint answers to another bucket than the deployment's own")
        try:
            return objects.get(location.removeprefix(own))
        except NotFound:
            return None

    return put, read


class SageMakerAsync:
    """An asynchronous endpoint: the input goes to S3, the answer comes back there, also from a cold GPU.

    client: boto3's ``sagemaker-runtime``, with retries of its own: nobody waits, and mode ``standard`` has a quota.
    put: stores bytes under a key and returns their ``s3://`` location.
    read: the bytes at a location, None while there is nothing.
    """

    def __init__(
        self,
        endpoint: str,
        client: Any,
        *,
        put: Callable[[str, bytes], str],
        read: Callable[[str], bytes | None],
        engine: Engine = "vllm",
        model: str | None = None,
    ) -> None:
        self.name = endpoint
        self._client = client
        self._put = put
        self._read = read
        self._engine: Engine = engine
        self._model = model

    def submit(self, job_id: str, key: str, request: ChatRequest, *, timeout_seconds: int = 900) -> Ticket:
        """Queues the call under the inference id `job_id`; `key` is where the input lies in the bucket.

        timeout_seconds: for waiting until it begins and for the call together: nobody would look at an answer that is
            older. The call itself gets `CALL_SECONDS` of them at most.

        Raises:
            ModelUnavailable: the endpoint does not take it.
        """
        location = self._put(key, json.dumps(chat_body(request, engine=self._engine, model=self._model)).encode())
        try:
            answer = self._client.invoke_endpoint_async(
                EndpointName=self.name,
                ContentType="application/json",
                InputLocation=location,
                InferenceId=job_id,
                RequestTTLSeconds=max(60, timeout_seconds - CALL_SECONDS),
                InvocationTimeoutSeconds=min(timeout_seconds, CALL_SECONDS),
            )
        except (ClientError, BotoCoreError) as error:
            cause = meaning(error)
            if isinstance(cause, ModelUnavailable):
                raise cause from error
            raise ModelUnavailable(f"endpoint {self.name} is unavailable: {cause}", retry_after=5) from error
        return Ticket(output=answer["OutputLocation"], failure=answer.get("FailureLocation"))

    def collect(self, ticket: Ticket) -> Completions | None:
        """The completions once they are there, as often as one asks; None while the call is still running.

        Raises:
            ModelUnavailable: the call failed, or its answer is no chat completion.
        """
        answer = self._read(ticket.output)
        if answer is not None:
            try:
                return read_completions(answer)
            except Failure as failure:
                raise ModelUnavailable(f"endpoint {self.name} failed: {failure}") from failure
        problem = self._read(ticket.failure) if ticket.failure else None
        if problem is not None:
            # What it says may name an account, or repeat a prompt.
            logger.warning("an asynchronous call failed", extra={"endpoint": self.name, "location": ticket.failure})
            raise ModelUnavailable(f"endpoint {self.name} reports that the call failed")
        return None
