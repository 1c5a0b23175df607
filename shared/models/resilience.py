"""What stands between a caller and a failing endpoint: bounded retries, their budget, and a circuit breaker.

A retry has to be worth it: while an endpoint is healthy, a lost request is asked again at once; when it fails for
everyone, retries only add load, so they may be no more than a share of the requests, and the breaker stops asking. What
asks a given-up endpoint whether it is back is a probe in the background, so that no caller waits for a dead one.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from typing import ClassVar, TypeVar

from shared.errors import ModelUnavailable
from shared.telemetry import MetricUnit, logger, metrics

Result = TypeVar("Result")
PATIENT_SECONDS = 30.0  # with so much time left, a caller waits for a model that is loading
PROBE_WAIT = 0.04  # seconds that a caller in a hurry waits for a probe: a healthy endpoint writes a token in that
PROBE_SECONDS = 5.0  # and a patient one


class Failure(Exception):
    """An attempt failed, and the endpoint is to blame. `retry_after`: seconds that it asked us to stay away for.

    repeat: another attempt at once may succeed. trips: it is clear that no other request would fare better.
    """

    repeat: ClassVar[bool] = True
    trips: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unreachable(Failure):
    """No connection: refused, no such host, or nobody answers."""

    repeat = False
    trips = True


class Loading(Failure):
    """The endpoint is there, its model is not yet."""

    repeat = False
    trips = True


class TimedOut(Failure):
    """The time is over."""

    repeat = False


class Silent(TimedOut):
    """Nothing at all came in a time in which a healthy endpoint would have begun."""

    trips = True


class StreamBroken(Failure):
    """The endpoint ended what the model was writing, by its own limit as like as not: once more would take as long."""

    repeat = False


class Malformed(Failure):
    """The answer is not what it should be; asked again, it would hardly be."""

    repeat = False


class RetryBudget:
    """Tokens: a request brings `ratio` of one, a retry takes one; `reserve` are there at the start, `most` are kept.

    So there are never more than ``reserve + ratio * requests`` retries.
    """

    def __init__(self, ratio: float = 0.1, *, reserve: float = 3.0, most: float = 10.0) -> None:
        self._ratio = ratio
        self._tokens = reserve
        self._most = most
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A request is made."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Whether a retry may be made; it is then counted."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


class Breaker:
    """Closed: everyone may ask. Open, after `failures` in a row or one that trips it: nobody, for `first` seconds that
    double with every further failure up to `most`. Then half open: one may probe, and its fate decides."""

    def __init__(
        self,
        *,
        failures: int = 3,
        first: float = 1.0,
        most: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = failures
        self._first = first
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._seconds = 0.0  # how long it was open the last time; 0 while closed
        self._until = 0.0
        self._probing = False
        self.cause: Failure | None = None

    def admit(self) -> float | None:
        """None where the caller may ask; 0 where it is the one to probe; else the seconds until it is worth trying. Who
        asks or probes must then tell how it went."""
        with self._lock:
            if not self._seconds:
                return None
            left = self._until - self._clock()
            if left > 0:
                return left
            if self._probing:
                return self._first
            self._probing = True
            return 0.0

    def succeed(self) -> None:
        """The endpoint answered."""
        with self._lock:
            self._failed = 0
            self._seconds = 0.0
            self._probing = False
            self.cause = None

    def fail(self, cause: Failure, *, trip: bool = False) -> bool:
        """It did not. Returns whether that opened the breaker; `trip`: at any rate."""
        with self._lock:
            self._failed += 1
            self.cause = cause
            if self._seconds and not self._probing:
                return False  # asked before it opened
            if not (trip or cause.trips or self._probing or self._failed >= self._threshold):
                return False
            self._probing = False
            self._seconds = min(self._most, max(self._seconds * 2 or self._first, cause.retry_after or 0.0))
            self._until = self._clock() + self._seconds
            return True


class Guard:
    """The budget and the breaker of one endpoint, and the loop that asks both.

    attempts: at one request. first, most: bounds of the waits between them in seconds, with full jitter: so small that
        an interactive caller learns within 100 ms that the endpoint only answers with errors.
    probe: asks a given-up endpoint for next to nothing, and raises as `work` does; it runs in a thread. Without one,
        a caller's own request is the probe.
    """

    def __init__(
        self,
        name: str,
        *,
        attempts: int = 3,
        first: float = 0.015,
        most: float = 1.0,
        budget: RetryBudget | None = None,
        breaker: Breaker | None = None,
        probe: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.probe = probe
        self.budget = budget or RetryBudget()
        self.breaker = breaker or Breaker(clock=clock)
        self._attempts = attempts
        self._first = first
        self._most = most
        self._clock = clock
        self._sleep = sleep
        self._probed = threading.Event()  # not set while a probe is out
        self._probed.set()

    def run(self, work: Callable[[], Result], deadline: float) -> Result:
        """What `work` returns, at the first or a later attempt that begins before `deadline` (of the clock).

        Raises:
            ModelUnavailable: `work` raised it, or failed too often; or the breaker is open.
        """
        self.budget.earn()
        attempt = 0
        while True:
            self._admitted(deadline)
            attempt += 1
            try:
                result = work()
            except Failure as failure:
                too_long = self._clock() + (failure.retry_after or 0.0) >= deadline
                if self.breaker.fail(failure, trip=failure.retry_after is not None and too_long):
                    logger.warning(
                        "endpoint given up for a while", extra={"endpoint": self.name, "cause": str(failure)}
                    )
                    metrics.add_metric(name="EndpointGivenUp", unit=MetricUnit.Count, value=1)
                if isinstance(failure, Loading) and self._patient(deadline):
                    continue
                wait = self._wait(failure, attempt, deadline)
                if wait is None:
                    raise self._unavailable(failure, failure.retry_after or 5.0) from failure
                metrics.add_metric(name="EndpointRetries", unit=MetricUnit.Count, value=1)
                self._sleep(wait)
            except ModelUnavailable:
                self.breaker.succeed()  # it refuses this request: it is alive
                raise
            except BaseException:
                self.breaker.fail(Failure("given up"))
                raise
            else:
                self.breaker.succeed()
                return result

    def _admitted(self, deadline: float) -> None:
        while (left := self.breaker.admit()) is not None:
            cause = self.breaker.cause or Failure("it failed")
            if left == 0.0:
                if self.probe is None:
                    break
                self._send(self.probe)
            patience = PROBE_SECONDS if self._patient(deadline) else PROBE_WAIT
            if (left == 0.0 or not self._probed.is_set()) and self._probed.wait(patience):
                continue
            if not (isinstance(cause, Loading) and self._patient(deadline - left)):
                raise self._unavailable(cause, left)
            self._sleep(left)
        if self._clock() >= deadline:
            raise ModelUnavailable(f"no time left for {self.name}")

    def _send(self, probe: Callable[[], None]) -> None:
        """Where a function's process is frozen once it has answered, the next request finds the probe's answer."""
        self._probed.clear()

        def ask() -> None:
            try:
                probe()
            except Failure as failure:
                self.breaker.fail(failure)
            except ModelUnavailable:
                self.breaker.succeed()  # it refuses the probe: it is alive
            except Exception:
                logger.exception("a probe failed", extra={"endpoint": self.name})
                self.breaker.fail(Failure("the probe failed"))
            else:
                self.breaker.succeed()
            finally:
                self._probed.set()

        threading.Thread(target=ask, name="endpoint-probe", daemon=True).start()

    def _patient(self, deadline: float) -> bool:
        return deadline - self._clock() > PATIENT_SECONDS

    def _wait(self, failure: Failure, attempt: int, deadline: float) -> float | None:
        """Seconds before the next attempt; None where there should be none."""
        if not failure.repeat or attempt >= self._attempts:
            return None
        jitter = random.uniform(0, min(self._most, self._first * 2 ** (attempt - 1)))
        wait = (failure.retry_after or 0.0) + jitter
        if self._clock() + wait >= deadline or not self.budget.spend():
            return None
        return wait

    def _unavailable(self, cause: Failure, retry_after: float) -> ModelUnavailable:
        return ModelUnavailable(f"{self.name} is unavailable: {cause}", retry_after=max(1, math.ceil(retry_after)))
