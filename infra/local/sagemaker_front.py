"""SageMaker's runtime API on 127.0.0.1 in front of an OpenAI-compatible endpoint, for the real boto3 client.

Serves ``POST /endpoints/{name}/invocations`` (real-time) and ``…/async-invocations``: the body goes to
``{openai_url}/chat/completions``; an asynchronous call reads its input from S3, answers 202 at once and writes its
output, or its error, to S3. Point the client at it with ``endpoint_url`` or ``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME``::

    python -m infra.local.sagemaker_front --port 8092 --openai-url http://127.0.0.1:8091/v1 --bucket adtailor
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import httpx2
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.processes import HOST

Notify = Callable[[dict[str, Any]], None]
_LIMIT = 6 * 1024 * 1024  # bytes of a real-time body, as on AWS
_TIMEOUT_SECONDS = 60.0  # of a real-time call, as on AWS


class RequestError(Exception):
    """A call that the front refuses; `kind` is the error's name in SageMaker's API."""

    def __init__(self, kind: str, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.body = {"Message": message, **more}


@dataclass
class Endpoints:
    """What the front does, without HTTP.

    s3: boto3 client that reads inputs and writes outputs. output: ``s3://bucket/prefix`` of asynchronous results.
    names: endpoints that exist; empty: any. notify: gets the notification that SageMaker sends to the success or error
        topic of an asynchronous endpoint.
    """

    openai_url: str
    s3: Any
    output: str
    names: frozenset[str] = frozenset()
    notify: Notify | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "async-inference"))

    def invoke(self, name: str, body: bytes, timeout: float = _TIMEOUT_SECONDS) -> bytes:
        """A real-time invocation.

        Raises:
            RequestError: no such endpoint, a body over 6 MB, or the model failed (``ModelError``).
        """
        self._known(name)
        if len(body) > _LIMIT:
            raise RequestError("ValidationError", 400, f"the body is over {_LIMIT} bytes")
        try:
            answer = httpx2.post(
                f"{self.openai_url.rstrip('/')}/chat/completions",
                content=body,
                headers={"content-type": "application/json"},
                timeout=timeout,
                trust_env=False,
            )
        except httpx2.TimeoutException:
            raise self._model_error(504, f"no answer within {timeout:.0f} s") from None
        except httpx2.HTTPError as error:
            raise self._model_error(500, f"{type(error).__name__}: {error}") from None
        if answer.is_error:
            raise self._model_error(answer.status_code, answer.text[:1000])
        return answer.content

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
        self._pool.submit(self._run, name, location, call, timeout)
        return call

    def close(self) -> None:
        """Ends after the invocations that are running."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, name: str, location: str, call: Mapping[str, str], timeout: float) -> None:
        received = datetime.now(UTC).isoformat()
        try:
            body = self.s3.get_object(**_place(location))["Body"].read()
            output = self.invoke(name, body, timeout)
            self.s3.put_object(**_place(call["OutputLocation"]), Body=output, ContentType="application/json")
            failure = None
        except (RequestError, BotoCoreError, ClientError) as error:
            failure = str(error)
            document = json.dumps(error.body if isinstance(error, RequestError) else {"Message": failure}).encode()
            self.s3.put_object(**_place(call["FailureLocation"]), Body=document, ContentType="application/json")
        if self.notify is not None:
            self.notify(_notification(name, location, call, received, failure))

    def _known(self, name: str) -> None:
        if self.names and name not in self.names:
            raise RequestError("ValidationError", 400, f"Endpoint {name} of account 000000000000 not found.")

    @staticmethod
    def _model_error(status: int, message: str) -> RequestError:
        return RequestError(
            "ModelError",
            424,
            f"Received server error ({status}) from primary with message: {message}",
            OriginalStatusCode=status,
            OriginalMessage=message,
        )


class SageMakerFront:
    """`Endpoints` served over HTTP, as a context manager. `url` is the client's ``endpoint_url``."""

    def __init__(self, endpoints: Endpoints, port: int = 0) -> None:
        self._endpoints = endpoints

        class Bound(_Requests):
            served = endpoints

        self._server = ThreadingHTTPServer((HOST, port), Bound)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> SageMakerFront:
        threading.Thread(target=self._server.serve_forever, name="sagemaker-front", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._endpoints.close()


class _Requests(BaseHTTPRequestHandler):
    served: Endpoints
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        try:
            if len(parts) == 3 and parts[0] == "endpoints" and parts[2] == "invocations":
                answer = self.served.invoke(parts[1], body)
                self._answer(200, answer, {"x-Amzn-Invoked-Production-Variant": "AllTraffic"})
            elif len(parts) == 3 and parts[0] == "endpoints" and parts[2] == "async-invocations":
                call = self.served.submit(parts[1], {name.lower(): value for name, value in self.headers.items()})
                headers = {f"X-Amzn-SageMaker-{name}": call[name] for name in ("OutputLocation", "FailureLocation")}
                self._answer(202, json.dumps({"InferenceId": call["InferenceId"]}).encode(), headers)
            else:
                raise RequestError("UnknownOperationException", 404, f"no operation at {self.path}")
        except RequestError as error:
            self._answer(error.status, json.dumps(error.body).encode(), {"x-amzn-ErrorType": error.kind})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the client reports what matters."""


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


def serve(
    openai_url: Annotated[str, typer.Option(help="Base URL of the model's OpenAI API, ending in /v1.")],
    bucket: Annotated[str, typer.Option(help="Bucket for asynchronous results.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses a free one.")] = 0,
    prefix: Annotated[str, typer.Option(help="Key prefix for asynchronous results.")] = "jobs/output",
    queue_url: Annotated[str, typer.Option(help="SQS queue for notifications; empty: none.")] = "",
) -> None:
    """Serves SageMaker's runtime API on 127.0.0.1; S3 and SQS as the AWS environment variables say."""
    import boto3

    notify: Notify | None = None
    if queue_url:
        sqs = boto3.client("sqs")

        def send(document: dict[str, Any]) -> None:
            sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(document))

        notify = send
    endpoints = Endpoints(openai_url, boto3.client("s3"), f"s3://{bucket}/{prefix}", notify=notify)
    with SageMakerFront(endpoints, port) as front:
        print(f"SageMaker runtime API on {front.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    typer.run(serve)
