"""Chat completions over HTTP: llama.cpp, vLLM, or whatever else speaks OpenAI's API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from shared.errors import ModelUnavailable
from shared.models.chat import MOST_AT_ONCE, ChatClient, until
from shared.models.generator import Engine
from shared.models.keys import ApiKey
from shared.models.resilience import Failure, Guard, Loading, TimedOut, Unreachable

CONNECT_SECONDS = 1.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


class OpenAICompatible(ChatClient):
    """See `ChatClient`. `url` is the base URL, ``http://127.0.0.1:8081/v1``; the connection must come about within
    `connect` seconds. `api_key` is what requests bear, or what reads it (`ApiKey`); empty: none."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        engine: Engine = "llama.cpp",
        api_key: str | Callable[[], str] = "",
        streaming: bool = True,
        connect: float = CONNECT_SECONDS,
        guard: Guard | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no http(s) URL")
        place = f"the language model at {urlsplit(url).netloc.rpartition('@')[2]}"
        super().__init__(model, engine=engine, model=model, streaming=streaming, guard=guard or Guard(place))
        self._base = url.rstrip("/")
        self._key = ApiKey(api_key if callable(api_key) else lambda: api_key)
        self._connect = connect
        self._numbered: dict[str, int] = {}
        self._pool = urllib3.PoolManager(maxsize=2 * MOST_AT_ONCE, retries=False)

    def close(self) -> None:
        """Closes the pooled connections."""
        self._pool.clear()

    def adapters(self, name: str, deadline: float) -> Mapping[str, int] | None:
        """llama.cpp numbers its adapters. Asked again where the name is not known: it may have been started anew."""
        if self.engine == "llama.cpp" and name not in self._numbered:
            self._numbered = self._listed(min(deadline, time.monotonic() + 2.0))
        return self._numbered

    def _listed(self, deadline: float) -> dict[str, int]:
        url = f"{self._base.removesuffix('/v1')}/lora-adapters"

        def ask() -> bytes:
            left = max(0.001, deadline - time.monotonic())
            return b"".join(until(deadline, lambda: self._bytes("GET", url, None, left)))

        try:
            return adapter_numbers(json.loads(self.guard.run(ask, deadline)))
        except (ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable(f"{self.name} does not tell its adapters") from error

    def _exchange(self, body: bytes, *, streaming: bool, timeout: float) -> Generator[bytes]:
        return self._bytes("POST", f"{self._base}/chat/completions", body, timeout)

    def _bytes(self, method: str, url: str, body: bytes | None, timeout: float) -> Generator[bytes]:
        limits = urllib3.Timeout(connect=min(self._connect, timeout), read=timeout)
        key = self._key.current()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            answer = self._pool.request(
                method, url, body=body, headers=headers, timeout=limits, preload_content=False, redirect=False
            )
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise Unreachable(f"no connection ({type(error).__name__})") from error
        except HTTPError as error:
            raise _failure(error) from error
        try:
            if answer.status == 401:
                self._key.refused(key)
            if answer.status != 200:
                raise refusal(answer.status, answer.headers.get("retry-after"), answer.read(2000))
            if answer.chunked:
                yield from answer.stream(1 << 14)
            else:
                while data := answer.read1(1 << 14):
                    yield data
            answer.release_conn()
        except HTTPError as error:
            raise _failure(error) from error
        finally:
            answer.close()  # of a connection that went back to the pool, nothing is left to close


def adapter_numbers(listed: Any) -> dict[str, int]:
    """llama.cpp's numbers of its adapters (``/lora-adapters``) by name: that of the file without its ending, or of the
    folder where the file is called ``adapter``.

    Raises:
        KeyError, TypeError, ValueError: this is no such list.
    """
    places = [(PurePath(str(adapter["path"])), int(adapter["id"])) for adapter in listed]
    return {path.parent.name if path.stem == "adapter" else path.stem: number for path, number in places}


def _failure(error: HTTPError) -> Failure:
    if isinstance(error, ReadTimeoutError):
        return TimedOut("it did not answer in time")
    return Failure(f"the connection broke ({type(error).__name__})")


def refusal(status: int, retry_after: str | None, text: bytes) -> Failure | ModelUnavailable:
    """What an answer other than 200 means. llama.cpp says 503 ``Loading model`` until it can serve."""
    wait = seconds_of(retry_after)
    if status == 503 and b"loading" in text.lower():
        return Loading("the model is still loading", retry_after=wait)
    if status in _PASSING:
        return Failure("it is asked too often" if status == 429 else f"status {status}", retry_after=wait)
    return ModelUnavailable(f"the language model refused the request with status {status}")


def seconds_of(retry_after: str | None) -> float | None:
    """A ``Retry-After`` header (seconds or a date, RFC 9110 section 10.2.3) in seconds from now; None without one."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
