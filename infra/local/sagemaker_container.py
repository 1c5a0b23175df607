"""The container of a local SageMaker endpoint: takes vLLM's chat body; an OpenAI URL, llama.cpp as a rule, answers.

llama.cpp differs from vLLM in two ways that are made up for: an adapter is a number in ``lora`` and not the ``model``,
and it writes no more completions at once than it has slots.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import httpx2

from shared.models.openai import adapter_numbers

TIMED_OUT = "Your invocation timed out while waiting for a response from container primary."


class ContainerError(Exception):
    """It answered with an error status, or not in time (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Container:
    """`batch`: completions that the engine writes at once; a call for more is split."""

    def __init__(self, openai_url: str, batch: int = 8) -> None:
        self._base = openai_url.rstrip("/")
        self._batch = batch
        # A connection for each call: llama.cpp closes idle ones, and may do so just when the next call is sent.
        self._http = httpx2.Client(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))

    def close(self) -> None:
        self._http.close()

    def complete(self, body: bytes, timeout: float) -> bytes:
        """The whole answer.

        Raises:
            ContainerError: there is none.
        """
        deadline = time.monotonic() + timeout
        whole: dict[str, Any] = {}
        parts = list(self._parts(body))
        for start, part in parts:
            answer = self._post(part, max(0.01, deadline - time.monotonic()))
            if len(parts) == 1:
                return answer
            document = json.loads(answer)
            for choice in document["choices"]:
                choice["index"] = choice.get("index", 0) + start
            whole = document | {"choices": [*whole.get("choices", []), *document["choices"]]}
        return json.dumps(whole).encode()

    def stream(self, body: bytes, *, silence: float, timeout: float) -> Generator[bytes]:
        """The bytes of the answer as they come; none comes before the engine has begun. `silence`: seconds that it may
        say nothing for.

        Raises:
            ContainerError: it does not begin. httpx2.HTTPError: it breaks off.
        """
        limits = httpx2.Timeout(timeout, read=silence)
        parts = list(self._parts(body))
        for start, part in parts:
            request = self._http.build_request("POST", self._url, **_content(part), timeout=limits)
            try:
                answer = self._http.send(request, stream=True)
            except httpx2.HTTPError as error:
                raise _failure(error) from None
            try:
                if answer.is_error:
                    raise ContainerError(answer.status_code, answer.read().decode(errors="replace")[:1000])
                if len(parts) == 1:
                    yield from answer.iter_raw()
                else:
                    yield from _moved(answer.iter_lines(), start, last=start == parts[-1][0])
            finally:
                answer.close()

    def _parts(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        """The call in llama.cpp's words, in as many as it takes; each with the number of its first completion. What is
        no JSON object goes as it is: to refuse it is for the engine."""
        try:
            document = json.loads(body)
            n = int(document.get("n") or 1)
        except (ValueError, AttributeError, TypeError):
            yield 0, body
            return
        document = self._translated(document)
        if n <= self._batch:
            yield 0, json.dumps(document).encode()
            return
        seed = document.get("seed")
        for start in range(0, n, self._batch):
            own = {"n": min(self._batch, n - start)} | ({} if seed is None else {"seed": seed + start})
            yield start, json.dumps(document | own).encode()

    def _translated(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The adapter that is named as the model becomes llama.cpp's number."""
        name = document.get("model")
        if not name or (adapters := self._adapters()) is None:
            return dict(document)
        if name not in adapters:
            raise ContainerError(404, f"The model `{name}` does not exist.")
        rest = {key: value for key, value in document.items() if key != "model"}
        return rest | {"lora": [{"id": adapters[name], "scale": 1.0}]}

    def _adapters(self) -> dict[str, int] | None:
        """By name; None where the engine is not llama.cpp."""
        try:
            answer = self._http.get(f"{self._base.removesuffix('/v1')}/lora-adapters", timeout=2.0)
            return adapter_numbers(answer.json()) if answer.is_success else None
        except httpx2.HTTPError as error:
            raise _failure(error) from None
        except (ValueError, KeyError, TypeError):
            return None

    def _post(self, body: bytes, timeout: float) -> bytes:
        try:
            answer = self._http.post(self._url, **_content(body), timeout=timeout)
        except httpx2.HTTPError as error:
            raise _failure(error) from None
        if answer.is_error:
            raise ContainerError(answer.status_code, answer.text[:1000])
        return answer.content

    @property
    def _url(self) -> str:
        return f"{self._base}/chat/completions"


def _content(body: bytes) -> dict[str, Any]:
    return {"content": body, "headers": {"content-type": "application/json"}}


def _failure(error: httpx2.HTTPError) -> ContainerError:
    if isinstance(error, httpx2.TimeoutException):
        return ContainerError(0, TIMED_OUT)
    return ContainerError(500, f"{type(error).__name__}: {error}")


def _moved(lines: Iterator[str], start: int, *, last: bool) -> Iterator[bytes]:
    """The events of one of several streams, its completions counted from `start`."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or (data == "[DONE]" and not last):
            continue
        if data != "[DONE]":
            document = json.loads(data)
            for choice in document.get("choices", ()):
                choice["index"] = choice.get("index", 0) + start
            data = json.dumps(document)
        yield f"data: {data}\n\n".encode()
