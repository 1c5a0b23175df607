"""SageMaker's runtime API on 127.0.0.1 in front of an OpenAI-compatible endpoint, for the real boto3 client.

Serves ``POST /endpoints/{name}/invocations`` (real-time), ``…/invocations-response-stream`` and
``…/async-invocations``: the body goes to ``{openai_url}/chat/completions``; an asynchronous call reads its input from
S3, answers 202 at once and writes its output, or its error, to S3. Point the client at it with ``endpoint_url`` or
``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME``::

    python -m infra.local.sagemaker_front --port 8092 --openai-url http://127.0.0.1:8091/v1 --bucket adtailor
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from infra.local.processes import HOST
from infra.local.sagemaker_endpoints import (
    REAL_TIME_SECONDS,
    STREAM_SECONDS,
    Dropped,
    Endpoints,
    Notify,
    RequestError,
)


class SageMakerFront:
    """`Endpoints` served over HTTP, as a context manager. `url` is the client's ``endpoint_url``."""

    def __init__(self, endpoints: Endpoints, port: int = 0) -> None:
        self._endpoints = endpoints

        class Bound(_Requests):
            served = endpoints

        self._server = _Server((HOST, port), Bound)
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


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none; anything else is told as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Requests(BaseHTTPRequestHandler):
    served: Endpoints
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out apart, and the body would wait for the head's receipt

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        try:
            operation = parts[2] if len(parts) == 3 and parts[0] == "endpoints" else ""
            if operation == "invocations":
                answer = self.served.invoke(parts[1], body)
                self._answer(200, answer, {"x-Amzn-Invoked-Production-Variant": "AllTraffic"})
            elif operation == "invocations-response-stream":
                self._stream(self.served.stream(parts[1], body))
            elif operation == "async-invocations":
                call = self.served.submit(parts[1], {name.lower(): value for name, value in self.headers.items()})
                headers = {f"X-Amzn-SageMaker-{name}": call[name] for name in ("OutputLocation", "FailureLocation")}
                self._answer(202, json.dumps({"InferenceId": call["InferenceId"]}).encode(), headers)
            else:
                raise RequestError("UnknownOperationException", 404, f"no operation at {self.path}")
        except RequestError as error:
            self._answer(error.status, json.dumps(error.body).encode(), {"x-amzn-ErrorType": error.kind})
        except (Dropped, OSError):  # broken on purpose, or by the client
            self.close_connection = True

    def _stream(self, frames: Iterator[bytes]) -> None:
        """Headers go out with the first frame: until then, a failure is an ordinary error."""
        try:
            first = next(frames, b"")
            self.send_response(200)
            self.send_header("content-type", "application/vnd.amazon.eventstream")
            self.send_header("x-amzn-sagemaker-content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self._chunk(first)
            for frame in frames:
                self._chunk(frame)
            self.wfile.write(b"0\r\n\r\n")
        finally:
            frames.close()  # type: ignore[attr-defined]  # ends the model's work where the client has gone

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the client reports what matters."""


def serve(
    openai_url: Annotated[str, typer.Option(help="Base URL of the model's OpenAI API, ending in /v1.")],
    bucket: Annotated[str, typer.Option(help="Bucket for asynchronous results.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses a free one.")] = 0,
    prefix: Annotated[str, typer.Option(help="Key prefix for asynchronous results.")] = "jobs/output",
    queue_url: Annotated[str, typer.Option(help="SQS queue for notifications; empty: none.")] = "",
    real_time_seconds: Annotated[float, typer.Option(help="Limit of a real-time call.")] = REAL_TIME_SECONDS,
    stream_seconds: Annotated[float, typer.Option(help="Limit of a streaming call.")] = STREAM_SECONDS,
    most_at_once: Annotated[int, typer.Option(help="Calls at a time before others are throttled; 0: any.")] = 0,
) -> None:
    """Serves SageMaker's runtime API on 127.0.0.1; S3 and SQS as the AWS environment variables say."""
    import boto3

    notify: Notify | None = None
    if queue_url:
        sqs = boto3.client("sqs")

        def send(document: dict[str, Any]) -> None:
            sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(document))

        notify = send
    endpoints = Endpoints(
        openai_url,
        boto3.client("s3"),
        f"s3://{bucket}/{prefix}",
        notify=notify,
        real_time_seconds=real_time_seconds,
        stream_seconds=stream_seconds,
        most_at_once=most_at_once,
    )
    with SageMakerFront(endpoints, port) as front:
        print(f"SageMaker runtime API on {front.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    typer.run(serve)
