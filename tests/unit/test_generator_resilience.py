"""Retries, their budget and the circuit breaker, by a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ModelUnavailable
from shared.models.openai import refusal, seconds_of
from shared.models.resilience import Breaker, Failure, Guard, Loading, Malformed, RetryBudget, TimedOut, Unreachable


@dataclass
class Clock:
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard("endpoint copy", clock=clock, sleep=clock.sleep)


class Work:
    """Fails as the list says, then answers."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def forever(failure: Callable[[], BaseException]) -> Work:
    return Work(*(failure() for _ in range(100)))


def test_a_passing_failure_is_tried_again_with_a_jittered_wait(guard: Guard, clock: Clock) -> None:
    work = Work(Failure("status 500"), Failure("status 500"))
    assert guard.run(work, clock.now + 10) == "done"
    assert work.calls == 3
    assert 0 <= clock.slept[0] <= 0.015 and 0 <= clock.slept[1] <= 0.03


def test_attempts_are_bounded_and_the_next_caller_is_told_at_once(guard: Guard, clock: Clock) -> None:
    work = forever(lambda: Failure("status 500"))
    with pytest.raises(ModelUnavailable, match="endpoint copy is unavailable: status 500"):
        guard.run(work, clock.now + 10)
    assert work.calls == 3
    with pytest.raises(ModelUnavailable, match="endpoint copy") as refused:
        guard.run(work, clock.now + 10)
    assert work.calls == 3
    assert refused.value.retry_after == 1


@pytest.mark.parametrize("failure", [Unreachable("no connection"), Malformed("nonsense"), TimedOut("late")])
def test_what_would_not_fare_better_is_not_tried_again(guard: Guard, clock: Clock, failure: Failure) -> None:
    work = Work(failure)
    with pytest.raises(ModelUnavailable):
        guard.run(work, clock.now + 10)
    assert work.calls == 1 and not clock.slept


def test_one_refused_connection_opens_the_breaker_and_one_probe_closes_it(guard: Guard, clock: Clock) -> None:
    with pytest.raises(ModelUnavailable):
        guard.run(Work(Unreachable("refused")), clock.now + 10)
    working = Work()
    with pytest.raises(ModelUnavailable, match="refused"):
        guard.run(working, clock.now + 10)
    assert working.calls == 0
    clock.now += 1.01
    assert guard.run(working, clock.now + 10) == "done"
    assert guard.run(working, clock.now + 10) == "done"


def test_the_open_time_doubles_to_a_bound(clock: Clock) -> None:
    breaker = Breaker(first=1.0, most=5.0, clock=clock)
    waits = []
    for _ in range(5):
        assert not breaker.admit()
        breaker.fail(Unreachable("refused"))
        left = breaker.admit()
        assert left
        waits.append(left)
        clock.now += left
    assert waits == [1, 2, 4, 5, 5]
    assert breaker.admit() == 0
    breaker.succeed()
    assert breaker.admit() is None and breaker.admit() is None


def test_half_open_lets_a_single_request_through(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    breaker.fail(Unreachable("refused"))
    clock.now += 1
    assert breaker.admit() == 0
    assert breaker.admit()


def test_what_was_asked_before_it_opened_does_not_extend_it(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(10):
        breaker.fail(Unreachable("refused"))
    assert breaker.admit() == 1.0


def test_a_refused_request_says_nothing_against_the_endpoint(guard: Guard, clock: Clock) -> None:
    for _ in range(10):
        with pytest.raises(ModelUnavailable, match="no adapter"):
            guard.run(Work(ModelUnavailable("no adapter")), clock.now + 10)
    assert guard.run(Work(), clock.now + 10) == "done"


def test_an_unexpected_error_is_no_lost_probe(guard: Guard, clock: Clock) -> None:
    with pytest.raises(ModelUnavailable):
        guard.run(Work(Unreachable("refused")), clock.now + 10)
    clock.now += 1.01
    with pytest.raises(ZeroDivisionError):
        guard.run(Work(ZeroDivisionError()), clock.now + 10)
    clock.now += 2.01
    assert guard.run(Work(), clock.now + 10) == "done"


class Probe:
    """Waits for `go`, then fails as told or not at all."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.go = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        assert self.go.wait(10)
        if self.failures:
            raise self.failures.pop(0)


def given_up(guard: Guard, clock: Clock, probe: Probe) -> None:
    """It has failed, and its time is over."""
    guard.probe = probe
    with pytest.raises(ModelUnavailable):
        guard.run(Work(Unreachable("refused")), clock.now + 10)
    clock.now += 1.01


def test_nobody_waits_while_a_probe_asks_a_given_up_endpoint(guard: Guard, clock: Clock) -> None:
    probe, work = Probe(), Work()
    given_up(guard, clock, probe)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="refused") as error:
            guard.run(work, clock.now + 10)
        assert error.value.retry_after == 1
    assert probe.calls == 1 and work.calls == 0
    probe.go.set()
    assert guard.run(work, clock.now + 60) == "done", "who has the time waits for the probe"
    assert guard.run(work, clock.now + 10) == "done"
    assert probe.calls == 1 and work.calls == 2


@pytest.mark.parametrize("problem", [Unreachable("still refused"), ZeroDivisionError()])
def test_a_probe_that_fails_keeps_everyone_away_for_longer(guard: Guard, clock: Clock, problem: Exception) -> None:
    probe, work = Probe(problem), Work()
    probe.go.set()
    given_up(guard, clock, probe)
    with pytest.raises(ModelUnavailable) as error:
        guard.run(work, clock.now + 60)
    assert error.value.retry_after == 2 and work.calls == 0
    clock.now += 2.01
    assert guard.run(work, clock.now + 60) == "done"
    assert probe.calls == 2


def test_an_endpoint_that_refuses_the_probe_is_alive(guard: Guard, clock: Clock) -> None:
    probe = Probe(ModelUnavailable("no such model"))
    probe.go.set()
    given_up(guard, clock, probe)
    assert guard.run(Work(), clock.now + 60) == "done"


def test_a_job_waits_for_a_model_that_a_probe_finds_loading(guard: Guard, clock: Clock) -> None:
    probe = Probe(Loading("loading"), Loading("loading"))
    probe.go.set()
    given_up(guard, clock, probe)
    assert guard.run(Work(Loading("loading")), clock.now + 90) == "done"


def test_retry_after_is_honoured_within_the_deadline(guard: Guard, clock: Clock) -> None:
    assert guard.run(Work(Failure("throttled", retry_after=2.0)), clock.now + 10) == "done"
    assert 2.0 <= clock.slept[0] <= 2.1


def test_retry_after_beyond_the_deadline_answers_at_once_and_keeps_others_away(guard: Guard, clock: Clock) -> None:
    work = Work(Failure("throttled", retry_after=20.0))
    with pytest.raises(ModelUnavailable) as error:
        guard.run(work, clock.now + 10)
    assert error.value.retry_after == 20 and not clock.slept
    clock.now += 19
    with pytest.raises(ModelUnavailable):
        guard.run(work, clock.now + 10)
    clock.now += 2
    assert guard.run(work, clock.now + 10) == "done"


def test_no_attempt_begins_after_the_deadline(guard: Guard, clock: Clock) -> None:
    work = Work()
    with pytest.raises(ModelUnavailable, match="no time left"):
        guard.run(work, clock.now)
    assert work.calls == 0


def test_a_loading_model_is_waited_for_only_by_who_has_the_time(guard: Guard, clock: Clock) -> None:
    with pytest.raises(ModelUnavailable, match="loading"):
        guard.run(Work(Loading("the model is still loading")), clock.now + 20)
    assert not clock.slept
    work = Work(*(Loading("the model is still loading") for _ in range(3)))
    assert guard.run(work, clock.now + 90) == "done"
    assert work.calls == 4


def test_nobody_waits_for_a_loading_model_past_their_time(guard: Guard, clock: Clock) -> None:
    began = clock.now
    with pytest.raises(ModelUnavailable, match="loading"):
        guard.run(forever(lambda: Loading("loading")), began + 90)
    assert clock.now < began + 90


@given(st.lists(st.booleans(), max_size=300), st.floats(0.05, 0.3))
def test_retries_stay_within_their_share_of_the_requests(asks: list[bool], ratio: float) -> None:
    budget = RetryBudget(ratio, reserve=3.0)
    requests = retries = 0
    for ask in asks:
        if ask:
            budget.earn()
            requests += 1
        else:
            retries += budget.spend()
        assert retries <= 3 + ratio * requests + 1e-6


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_an_endpoint_that_fails_often_is_not_asked_much_more_than_it_would_be_anyway(failing: list[int]) -> None:
    clock = Clock()
    guard = Guard("endpoint copy", clock=clock, sleep=clock.sleep)
    calls = 0
    for failures in failing:
        work = Work(*(Failure("status 500") for _ in range(failures)))
        try:
            guard.run(work, clock.now + 10)
        except ModelUnavailable:
            clock.now += 60
        calls += work.calls
    assert calls <= len(failing) * 1.1 + 3


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), (None, None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


def test_what_a_status_means() -> None:
    assert isinstance(refusal(503, None, b'{"error": {"message": "Loading model"}}'), Loading)
    throttled = refusal(429, "7", b"")
    assert isinstance(throttled, Failure) and throttled.repeat and throttled.retry_after == 7
    assert isinstance(refusal(404, None, b"no such adapter"), ModelUnavailable)
