"""What SageMaker's endpoints do with a call, on top of an OpenAI URL: limits, failures, asynchronous results.

`sagemaker_front` speaks HTTP.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.event_stream import payload_part, stream_exception
from infra.local.sagemaker_container import Container, ContainerError

Notify = Callable[[dict[str, Any]], None]
BODY_BYTES = 25 * 1024 * 1024  # of a real-time body, as on AWS; the API's reference and older regions say 6 MB
REAL_TIME_SECONDS = 60.0  # of a real-time call, as on AWS
STREAM_SECONDS = 480.0  # of a streaming call, as on AWS


class RequestError(Exception):
    """A call that the front refuses; `kind` is the error's name in SageMaker's API."""

    def __init__(self, kind: str, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.body = {"Message": message, **more}


class Dropped(Exception):
    """The connection breaks here, without a word."""


@dataclass
class Faults:
    """What goes wrong, for tests. throttle: as many calls are answered with a ``ThrottlingException``. fail_after,
    drop_after: a stream ends after so many parts, with an ``InternalStreamFailure`` or without a word."""

    throttle: int = 0
    fail_after: int | None = None
    drop_after: int | None = None


@dataclass
class Endpoints:
    """What the front does, without HTTP.

    s3: boto3 client that reads inputs and writes outputs. output: ``s3://bucket/prefix`` of asynchronous results.
    names: endpoints that exist; empty: any. notify: gets the notification that SageMaker sends to the success or error
        topic of an asynchronous endpoint. real_time_seconds, stream_seconds: the service's limits, to be scaled down.
    body_bytes: of a real-time call. most_at_once: calls that run at the same time before others are throttled; 0: any.
    batch: completions that the engine writes at once; a call for more is split.
    """

    openai_url: str
    s3: Any
    output: str
    names: frozenset[str] = frozenset()
    notify: Notify | None = None
    real_time_seconds: float = REAL_TIME_SECONDS
    stream_seconds: float = STREAM_SECONDS
    body_bytes: int = BODY_BYTES
    most_at_once: int = 0
    batch: int = 8
    faults: Faults = field(default_factory=Faults)
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _container: Container = field(init=False)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "async-inference"))

    def __post_init__(self) -> None:
        self._container = Container(self.openai_url, self.batch)

    def invoke(self, name: str, body: bytes) -> bytes:
        """A real-time invocation.

        Raises:
            RequestError: no such endpoint, a body over the limit, too many calls, or the model failed (``ModelError``).
        """
        with self._admitted(name, body):
            return self._complete(body, self.real_time_seconds)

    def stream(self, name: str, body: bytes) -> Iterator[bytes]:
        """A streaming invocation: frames of the response stream, the first once the container has answered.

        Raises:
            RequestError: as `invoke`, before the first frame. Dropped: the connection is to break.
        """
        with self._admitted(name, body):
            deadline = time.monotonic() + self.stream_seconds
            source = self._container.stream(body, silence=self.real_time_seconds, timeout=self.stream_seconds)
            with closing(source) as pieces:
                yield from self._parts(pieces, deadline)

    def _parts(self, pieces: Iterator[bytes], deadline: float) -> Iterator[bytes]:
        begun = False
        try:
            for number, data in enumerate(pieces):
                begun = True
                if number == self.faults.drop_after:
                    raise Dropped
                if number == self.faults.fail_after:
                    yield stream_exception("InternalStreamFailure", {"Message": "The stream processing failed."})
                    return
                if time.monotonic() > deadline:
                    yield _broken("ModelInvocationTimeExceeded", "the model did not finish in time")
                    return
                yield payload_part(data)
        except ContainerError as error:
            if not begun:
                raise self._refused(error) from None
            yield _broken("ModelInvocationTimeExceeded" if not error.status else "StreamBroken", error.message)
        except httpx2.HTTPError as error:
            yield _broken("StreamBroken", type(error).__name__)

    def submit(self, name: str, headers: Mapping[str, str]) -> dict[str, str]:
        """An asynchronous invocation: queued, answered with the headers and the id that SageMaker answers with.

        headers: the request's, with names in lower case.

        Raises:
            RequestError: no such endpoint, or no input location.
        """
        self._known(name)
        location = headers.get("x-amzn-sagemaker-inputlocation", "")
        if not location.startswith("s3://"):
            raise RequestError("ValidationError", 400, "InputLocation must be an S3 URI")
        inference_id = headers.get("x-amzn-sagemaker-inference-id") or str(uuid.uuid4())
        stem = f"{self.output.rstrip('/')}/{uuid.uuid4()}"
        call = {
            "InferenceId": inference_id,
            "OutputLocation": f"{stem}.out",
            "FailureLocation": f"{stem}-error.out",
        }
        timeout = float(headers.get("x-amzn-sagemaker-invocationtimeoutseconds") or 900)
        expires = time.monotonic() + float(headers.get("x-amzn-sagemaker-requestttlseconds") or 21600)
        self._pool.submit(self._run, name, location, call, timeout, expires)
        return call

    def close(self) -> None:
        """Ends after the invocations that are running."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._container.close()

    def _run(self, name: str, location: str, call: Mapping[str, str], timeout: float, expires: float) -> None:
        received = datetime.now(UTC).isoformat()
        try:
            if time.monotonic() > expires:
                raise RequestError("ModelError", 424, "the request expired in the queue")
            body = self.s3.get_object(**_place(location))["Body"].read()
            output = self._complete(body, timeout)
            self.s3.put_object(**_place(call["OutputLocation"]), Body=output, ContentType="application/json")
            failure = None
        except (RequestError, BotoCoreError, ClientError) as error:
            failure = str(error)
            document = json.dumps(error.body if isinstance(error, RequestError) else {"Message": failure}).encode()
            self.s3.put_object(**_place(call["FailureLocation"]), Body=document, ContentType="application/json")
        if self.notify is not None:
            self.notify(_notification(name, location, call, received, failure))

    @contextmanager
    def _admitted(self, name: str, body: bytes) -> Iterator[None]:
        self._known(name)
        if len(body) > self.body_bytes:
            raise RequestError("ValidationError", 400, f"the body is over {self.body_bytes} bytes")
        with self._lock:
            if self.faults.throttle or (self.most_at_once and self._running >= self.most_at_once):
                self.faults.throttle = max(0, self.faults.throttle - 1)
                raise RequestError("ThrottlingException", 400, "Rate exceeded")
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def _known(self, name: str) -> None:
        if self.names and name not in self.names:
            raise RequestError("ValidationError", 400, f"Endpoint {name} of account 000000000000 not found.")

    def _complete(self, body: bytes, timeout: float) -> bytes:
        try:
            return self._container.complete(body, timeout)
        except ContainerError as error:
            raise self._refused(error) from None

    @staticmethod
    def _refused(error: ContainerError) -> RequestError:
        if error.status == 503 and "loading" in error.message.lower():
            return RequestError("ModelNotReadyException", 429, "the model is still being loaded")
        return RequestError(
            "ModelError",
            424,
            f'Received server error ({error.status}) from primary with message "{error.message}"',
            OriginalStatusCode=error.status,
            OriginalMessage=error.message,
        )


def _broken(code: str, message: str) -> bytes:
    return stream_exception("ModelStreamError", {"Message": message, "ErrorCode": code})


def _place(location: str) -> dict[str, str]:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _notification(
    name: str, location: str, call: Mapping[str, str], received: str, failure: str | None
) -> dict[str, Any]:
    """The document that SageMaker publishes when an asynchronous invocation ends."""
    document: dict[str, Any] = {
        "awsRegion": "us-east-1",
        "eventTime": datetime.now(UTC).isoformat(),
        "receivedTime": received,
        "invocationStatus": "Failed" if failure else "Completed",
        "requestParameters": {"endpointName": name, "inputLocation": location},
        "inferenceId": call["InferenceId"],
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    if failure:
        return document | {
            "failureReason": failure,
            "responseParameters": {"outputLocation": call["FailureLocation"]},
        }
    return document | {
        "responseParameters": {"contentType": "application/json", "outputLocation": call["OutputLocation"]}
    }
