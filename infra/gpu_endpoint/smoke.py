"""Tries an endpoint: one chat for the model and one for each adapter, with what it wrote and how quickly.

    python -m infra.gpu_endpoint.smoke --endpoint adtailor-realtime --adapter warm
    python -m infra.gpu_endpoint.smoke --endpoint adtailor-async --bucket BUCKET     # asynchronous, through S3

It is boto3 alone, so that it tells an endpoint that fails from a client that does. The exit status is 1 if one of the
calls failed. Against the local front: ``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=http://127.0.0.1:8092``.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

MESSAGES = [
    {"role": "system", "content": "You write one line of advertising copy. Use only the facts given."},
    {
        "role": "user",
        "content": "Product: Wren kettle\nFacts: 1.2 l, stainless steel, keeps water warm for 40 minutes\nCopy:",
    },
]
Invoke = Callable[[bytes], bytes]


class CallFailed(Exception):
    """The endpoint did not answer with a chat completion; the message says what it did."""


@dataclass(frozen=True, slots=True)
class Trial:
    """tokens: written, over all candidates. seconds: until the whole answer was here."""

    adapter: str
    texts: tuple[str, ...]
    tokens: int
    seconds: float


def try_chat(invoke: Invoke, adapter: str, *, n: int, clock: Callable[[], float] = time.perf_counter) -> Trial:
    """Asks for n candidates. adapter: its name; empty: the model itself.

    Raises:
        CallFailed: there is no answer, or it is no chat completion.
    """
    body: dict[str, Any] = {"messages": MESSAGES, "n": n, "temperature": 0.8, "max_tokens": 48}
    if adapter:
        body["model"] = adapter
    start = clock()
    try:
        answer = invoke(json.dumps(body).encode())
    except (ClientError, BotoCoreError) as error:
        raise CallFailed(str(error)) from error
    seconds = clock() - start
    try:
        document = json.loads(answer)
        texts = tuple(choice["message"]["content"].strip() for choice in document["choices"])
        return Trial(adapter, texts, int(document["usage"]["completion_tokens"]), seconds)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallFailed(f"no chat completion: {answer[:200]!r}") from error


def realtime(runtime: Any, endpoint: str) -> Invoke:
    """Calls of a real-time endpoint."""

    def invoke(body: bytes) -> bytes:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=body)
        return bytes(answer["Body"].read())

    return invoke


def asynchronous(
    runtime: Any,
    s3: Any,
    endpoint: str,
    bucket: str,
    *,
    patience: float,
    pause: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> Invoke:
    """Calls of an asynchronous endpoint: the input goes to ``jobs/smoke/`` of the bucket, where the endpoint may read.

    patience: seconds until a call is given up; a start from zero takes several minutes.
    """

    def invoke(body: bytes) -> bytes:
        job = uuid.uuid4().hex
        key = f"jobs/smoke/{job}/input.json"
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
        call = runtime.invoke_endpoint_async(
            EndpointName=endpoint, InputLocation=f"s3://{bucket}/{key}", InferenceId=job, ContentType="application/json"
        )
        deadline = clock() + patience
        while clock() < deadline:
            if (answer := _read(s3, call["OutputLocation"])) is not None:
                return answer
            if call.get("FailureLocation") and (failure := _read(s3, call["FailureLocation"])) is not None:
                raise CallFailed(failure.decode(errors="replace")[:500])
            time.sleep(pause)
        raise CallFailed(f"no answer within {patience:.0f} s")

    return invoke


def _read(s3: Any, location: str) -> bytes | None:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    try:
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None


def main(
    endpoint: Annotated[str, typer.Option(help="Name of the endpoint.")],
    adapter: Annotated[list[str] | None, typer.Option(help="Adapter to try as well; may be repeated.")] = None,
    n: Annotated[int, typer.Option(min=1, max=64, help="Candidates asked for.")] = 8,
    bucket: Annotated[str, typer.Option(help="The system's bucket: calls the endpoint asynchronously.")] = "",
    patience: Annotated[float, typer.Option(help="Seconds an asynchronous call may take.")] = 1200.0,
) -> None:
    """Sends one chat for the model and one for each adapter; prints texts and tokens a second."""
    runtime = boto3.client("sagemaker-runtime", config=Config(read_timeout=65, retries={"total_max_attempts": 1}))
    if bucket:
        invoke = asynchronous(runtime, boto3.client("s3"), endpoint, bucket, patience=patience)
    else:
        invoke = realtime(runtime, endpoint)
    table = Table("adapter", "seconds", "tokens", "tokens/s", "first text")
    failed = False
    for name in ["", *(adapter or [])]:
        shown = name or "(the model)"
        try:
            trial = try_chat(invoke, name, n=n)
        except CallFailed as error:
            failed = True
            table.add_row(shown, "-", "-", "-", f"FAILED: {error}")
            continue
        rate = trial.tokens / trial.seconds if trial.seconds > 0 else 0.0
        table.add_row(shown, f"{trial.seconds:.2f}", str(trial.tokens), f"{rate:.0f}", trial.texts[0])
    Console().print(table)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
