"""What AWS answers when it cannot, and how long a caller waits for that to pass.

botocore repeats a call that was throttled or broken off. Where our own loops go on after that, attempts multiply; so
everything that is done for one request shares one `Patience`: of seconds, which also cap the time-out of each attempt,
and of repeats, whoever makes them. Once it is used up, the answer is `Unavailable`, at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NotConnected

from shared.errors import Unavailable
from shared.stores.clients import Deferred

REPEATS = 100  # of attempts on behalf of one request: enough for many writers at one row
CALL_SECONDS = 10.0  # for one call where no request's time is known
LEAST_SECONDS = 0.2  # an attempt that has less left than this is not begun
_TRANSIENT = frozenset(
    {
        # DynamoDB
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionInProgressException",
        # S3
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        # SQS and others
        "KmsThrottled",
        "OverLimit",
        "RequestThrottled",
        "ThrottledException",
        "TooManyRequestsException",
    }
)


def passing(error: Exception, what: str) -> Unavailable | None:
    """The error as one that may pass by itself; None where it will not (denied, missing, malformed, misconfigured).

    what: who it was, for the answer's detail ("the table").
    """
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _TRANSIENT or status == 429 or status >= 500:
            return Unavailable(f"{what} does not answer ({code})", retry_after=2)
    elif isinstance(error, HTTPClientError | NotConnected | IncompleteReadError):
        return Unavailable(f"{what} cannot be reached ({type(error).__name__})", retry_after=2)
    return None


@dataclass(slots=True)
class Patience:
    """What is left of one request's budget. `until` is of the monotonic clock."""

    until: float
    repeats: int

    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patience(seconds: float, repeats: int = REPEATS) -> Iterator[Patience]:
    """Bounds everything that is done within the block; one within another only ever shortens it."""
    outer = _patience.get()
    until = time.monotonic() + seconds
    held = Patience(until, repeats)
    if outer is not None:
        held = Patience(min(until, outer.until), min(repeats, outer.repeats))
    token = _patience.set(held)
    try:
        yield held
    finally:
        _patience.reset(token)
        if outer is not None:
            outer.repeats = min(outer.repeats, held.repeats)


def held_patience() -> Patience | None:
    """That of the request at hand; None outside one."""
    return _patience.get()


def pause(attempt: int, what: str, *, first: float = 0.05, most: float = 2.0) -> None:
    """Waits before repeat number `attempt` (from 0): exponential back-off with full jitter.

    Raises:
        Unavailable: the patience is used up, or would be by then.
    """
    wait = random.uniform(0, min(most, first * 2**attempt))
    _spend(what, wait)
    time.sleep(wait)


def give_way(attempt: int) -> None:
    """Waits before repeat number `attempt` at rows that other writers are at. Raises `Unavailable` as `pause` does."""
    pause(attempt, "the table", first=0.005, most=0.5)


def _spend(what: str, wait: float = 0.0) -> None:
    held = _patience.get()
    if held is None:
        return
    if held.repeats <= 0 or held.left() < wait + LEAST_SECONDS:
        raise Unavailable(f"{what} did not answer in time", retry_after=2)
    held.repeats -= 1


def watch(client: Any, what: str) -> None:
    """Makes a boto3 client keep to the patience in force: none of its attempts begins, or waits, beyond it."""
    if isinstance(client, Deferred):
        client.when_made(lambda made: watch(made, what))
        return
    meta = getattr(client, "meta", None)
    if meta is None:  # no client of boto3: it has no events to watch
        return
    usual = meta.config.read_timeout

    def before_send(request: Any, **_: Any) -> None:
        held = _patience.get()
        if held is None:
            return
        context = getattr(request, "context", None) or {}
        again = context.get("retries", {}).get("attempt", 1) > 1
        left = held.left()
        if left < LEAST_SECONDS:
            raise Unavailable(f"{what} did not answer in time", retry_after=2)
        if again:
            _spend(what)
        context["read_timeout"] = min(usual, left)  # botocore's own way to bound a single request

    service = meta.service_model.service_id.hyphenize()
    meta.events.register_first(f"before-send.{service}", before_send, unique_id=f"patience-{service}")
