"""The language model behind a SageMaker endpoint, real-time or asynchronous, with the chat body of `generator.py`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

import stamina
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import ModelUnavailable
from shared.models.generator import BATCH, MAX_ANSWER_BYTES, Message, Transient, chat_body, read_completions

_RETRYABLE = frozenset({"ThrottlingException", "ServiceUnavailable", "InternalFailure", "ModelNotReadyException"})


class SageMakerRealtime:
    """A real-time endpoint that takes the chat body. `client` is boto3's ``sagemaker-runtime``.

    boto3 sets timeouts by client, not by call, so the call runs in a thread that is given up at the deadline.
    """

    def __init__(self, endpoint: str, client: Any, *, attempts: int = 3, batch: int = BATCH) -> None:
        self.name = endpoint
        self._client = client
        self._attempts = attempts
        self._batch = batch
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sagemaker")

    def complete(
        self,
        messages: Sequence[Message],
        *,
        n: int,
        temperature: float,
        max_tokens: int,
        timeout: float,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> list[str]:
        """See `TextGenerator`. The batches run concurrently: the endpoint may have several instances."""
        sizes = [min(self._batch, n - start) for start in range(0, n, self._batch)]
        deadline = time.monotonic() + timeout
        calls = [
            self._threads.submit(
                self._invoke,
                json.dumps(
                    chat_body(
                        self.name,
                        messages,
                        n=size,
                        temperature=temperature,
                        max_tokens=max_tokens,
                        seed=None if seed is None else seed + place,
                        stop=stop,
                    )
                ).encode(),
                deadline,
            )
            for place, size in enumerate(sizes)
        ]
        texts: list[str] = []
        problem: ModelUnavailable | None = None
        for call in calls:
            try:
                texts += read_completions(call.result(timeout=max(0.0, deadline - time.monotonic())))
            except FutureTimeout:
                call.cancel()
                problem = ModelUnavailable(f"endpoint {self.name} did not answer in time", retry_after=5)
            except ModelUnavailable as error:
                problem = error
        if not texts:
            raise problem or ModelUnavailable(f"endpoint {self.name} answered nothing")
        return texts[:n]

    def _invoke(self, body: bytes, deadline: float) -> bytes:
        try:
            for attempt in stamina.retry_context(
                on=Transient,
                attempts=self._attempts,
                timeout=max(0.01, deadline - time.monotonic()),
                wait_initial=0.1,
                wait_max=1.0,
            ):
                with attempt:
                    return _sagemaker_call(
                        lambda: self._client.invoke_endpoint(
                            EndpointName=self.name, ContentType="application/json", Accept="application/json", Body=body
                        )["Body"].read(MAX_ANSWER_BYTES)
                    )
        except Transient as error:
            raise ModelUnavailable(f"endpoint {self.name} is unavailable: {error}", retry_after=5) from error
        raise ModelUnavailable(f"endpoint {self.name} is unavailable")


def _sagemaker_call(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _RETRYABLE:
            raise Transient(code) from error
        raise ModelUnavailable(f"the endpoint refused the call ({code})") from error
    except BotoCoreError as error:
        raise Transient(type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where the answer of an asynchronous call will lie (``s3://…``): one of the two appears."""

    output: str
    failure: str | None


class SageMakerAsync:
    """An asynchronous endpoint: the input goes to S3, the answer comes back there, also from a cold GPU.

    put: stores bytes under a key and returns their ``s3://`` location.
    read: the bytes at a location, None while there is nothing.
    """

    def __init__(
        self, endpoint: str, client: Any, *, put: Callable[[str, bytes], str], read: Callable[[str], bytes | None]
    ) -> None:
        self.name = endpoint
        self._client = client
        self._put = put
        self._read = read

    def submit(self, job_id: str, key: str, body: Mapping[str, Any], *, timeout_seconds: int = 900) -> Ticket:
        """Queues the call under the inference id `job_id`; `key` is where the input lies in the bucket.

        Raises:
            ModelUnavailable: the endpoint does not take it.
        """
        location = self._put(key, json.dumps(body).encode())
        try:
            answer = _sagemaker_call(
                lambda: self._client.invoke_endpoint_async(
                    EndpointName=self.name,
                    ContentType="application/json",
                    InputLocation=location,
                    InferenceId=job_id,
                    InvocationTimeoutSeconds=timeout_seconds,
                )
            )
        except Transient as error:
            raise ModelUnavailable(f"endpoint {self.name} is unavailable: {error}", retry_after=5) from error
        return Ticket(output=answer["OutputLocation"], failure=answer.get("FailureLocation"))

    def collect(self, ticket: Ticket) -> list[str] | None:
        """The completions once they are there; None while the call is still running.

        Raises:
            ModelUnavailable: the call failed.
        """
        answer = self._read(ticket.output)
        if answer is not None:
            return read_completions(answer)
        if ticket.failure and self._read(ticket.failure) is not None:
            raise ModelUnavailable(f"endpoint {self.name} failed")
        return None
