"""Clients of the language model: what they have in common, and the one for any OpenAI-compatible URL.

The SageMaker endpoints of `sagemaker.py` take the same body. All of them raise `ModelUnavailable` and nothing else when
the model is down, slow, broken or answers nonsense, so that the caller goes down its ladder. Every call has a deadline
that holds over connecting, retries and a slow trickle.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import stamina
import urllib3

from shared.errors import ModelUnavailable

Message = dict[str, str]
MAX_ANSWER_BYTES = 4 << 20
BATCH = 8  # candidates asked for in one request: llama.cpp refuses more than it has slots
_SENTENCE_END = re.compile(r"[。！？!?]|\.(?=\s|$)")
_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class TextGenerator(Protocol):
    """Whatever completes a chat n times."""

    @property
    def name(self) -> str:
        """What provenance calls the model."""
        ...

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
        """Up to n completions within `timeout` seconds.

        Raises:
            ModelUnavailable: there is not a single one.
        """
        ...


class Transient(Exception):
    """A failure after which the same request may succeed."""


def chat_body(
    model: str,
    messages: Sequence[Message],
    *,
    n: int,
    temperature: float,
    max_tokens: int,
    seed: int | None = None,
    stop: Sequence[str] = (),
) -> dict[str, Any]:
    """The request body that every endpoint understands (OpenAI chat completions)."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(messages),
        "n": n,
        "temperature": temperature,
        "top_p": 0.95,
        "max_tokens": max_tokens,
        "stream": False,
    }
    if seed is not None:
        body["seed"] = seed
    if stop:
        body["stop"] = list(stop)
    return body


def read_completions(answer: bytes) -> list[str]:
    """The texts of a chat completion's choices, without what the token limit broke off.

    Raises:
        ModelUnavailable: the answer is no chat completion.
    """
    try:
        document = json.loads(answer)
        texts = [_whole(choice["message"]["content"], choice.get("finish_reason")) for choice in document["choices"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable("the language model's answer is no chat completion") from error
    return [text for text in texts if text]


def _whole(text: str | None, finish_reason: str | None) -> str:
    """The text without the sentence that the token limit broke off; empty where that was the first one."""
    if text is None or finish_reason != "length":
        return (text or "").strip()
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


class OpenAICompatible:
    """Chat completions over HTTP (llama.cpp, vLLM …). `url` is the base URL, ``http://127.0.0.1:8081/v1``."""

    def __init__(self, url: str, model: str, *, api_key: str = "", attempts: int = 3, batch: int = BATCH) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no http(s) URL")
        self.name = model
        self._url = url.rstrip("/") + "/chat/completions"
        self._headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {api_key}"} if api_key else {}
        )
        self._attempts = attempts
        self._batch = batch
        self._pool = urllib3.PoolManager(maxsize=4, retries=False)

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
        """See `TextGenerator`. More than `batch` candidates are asked for in several requests, one after the other:
        the engine's slots are full with one of them."""
        deadline = time.monotonic() + timeout
        texts: list[str] = []
        asked = 0
        while len(texts) < n and asked < 2 * n:
            size = min(self._batch, n - len(texts))
            body = chat_body(
                self.name,
                messages,
                n=size,
                temperature=temperature,
                max_tokens=max_tokens,
                seed=None if seed is None else seed + asked,
                stop=stop,
            )
            try:
                got = read_completions(self._post(json.dumps(body).encode(), deadline))
            except ModelUnavailable:
                if texts:
                    break
                raise
            texts += got
            asked += size
        if not texts:
            raise ModelUnavailable("the language model answered nothing")
        return texts[:n]

    def close(self) -> None:
        """Closes the pooled connections."""
        self._pool.clear()

    def _post(self, body: bytes, deadline: float) -> bytes:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise ModelUnavailable("no time left for the language model")
        try:
            for attempt in stamina.retry_context(
                on=Transient,
                attempts=self._attempts,
                timeout=remaining,
                wait_initial=0.1,
                wait_max=1.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    return self._once(body, deadline)
        except Transient as error:
            raise ModelUnavailable(f"the language model is unavailable: {error}", retry_after=5) from error
        raise ModelUnavailable("the language model is unavailable")

    def _once(self, body: bytes, deadline: float) -> bytes:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise ModelUnavailable("the language model did not answer in time", retry_after=5)
        limits = urllib3.Timeout(connect=min(2.0, remaining), read=remaining)
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                timeout=limits,
                preload_content=False,
                redirect=False,
            )
            try:
                data = _read_all(answer, deadline)
            finally:
                answer.release_conn()
        except urllib3.exceptions.ReadTimeoutError as error:
            raise ModelUnavailable("the language model did not answer in time", retry_after=5) from error
        except urllib3.exceptions.HTTPError as error:
            raise Transient(type(error).__name__) from error
        if answer.status in _RETRYABLE_STATUS:
            raise Transient(f"status {answer.status}")
        if answer.status != 200:
            raise ModelUnavailable(f"the language model refused the request with status {answer.status}")
        return data


def _read_all(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The body, unless it is too long or trickles past the deadline."""
    chunks: list[bytes] = []
    size = 0
    for chunk in answer.stream(1 << 14):
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            answer.close()
            raise ModelUnavailable("the language model's answer is too long")
        if time.monotonic() > deadline:
            answer.close()
            raise ModelUnavailable("the language model did not answer in time", retry_after=5)
        chunks.append(chunk)
    length = answer.headers.get("content-length")
    if length is not None and length.isdigit() and size < int(length):
        raise Transient("the answer was cut off")
    return b"".join(chunks)
