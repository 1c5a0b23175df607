"""Smooth pacing: the allowance as a curve, and a day of auctions under it."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pacing import DAY, HEADROOM, HOURS, UNIFORM, allowance
from shared.stores.spend import BUCKET_SECONDS, RESERVATION_SECONDS

pytestmark = pytest.mark.slow

MIDNIGHT = 1_790_035_200.0
EVENING = tuple(1.0 if hour < 16 else 4.0 for hour in range(HOURS))
NIGHT_OFF = tuple(0.0 if hour < 7 else 1.0 for hour in range(HOURS))

seconds = st.floats(0, DAY - 1)
curves = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=HOURS, max_size=HOURS)
moments = st.one_of(st.none(), st.floats(-DAY, 2 * DAY).map(lambda offset: MIDNIGHT + offset))
budgets = st.floats(0.01, 1e9)


@given(budgets, st.lists(seconds, min_size=2, max_size=8), curves, moments, moments, st.floats(0, 1))
def test_it_grows_within_a_day_and_never_beyond_the_budget(
    budget: float,
    times: list[float],
    curve: list[float],
    start: float | None,
    end: float | None,
    headroom: float,
) -> None:
    allowed = [
        allowance(budget, MIDNIGHT + second, start=start, end=end, curve=curve, headroom=headroom)
        for second in sorted(times)
    ]
    for earlier, later in pairwise(allowed):
        assert later >= earlier * (1 - 1e-9)
    assert all(0 <= one <= budget for one in allowed)


@given(budgets, curves, st.one_of(st.none(), st.floats(0, DAY - 60).map(lambda offset: MIDNIGHT + offset)))
def test_the_whole_budget_is_free_at_the_end_and_none_of_it_before_the_start(
    budget: float, curve: list[float], start: float | None
) -> None:
    assert allowance(budget, MIDNIGHT + DAY - 1e-3, start=start, curve=curve) == pytest.approx(budget, rel=1e-6)
    if start is not None and start > MIDNIGHT:
        assert allowance(budget, start - 1, start=start, curve=curve) == 0
        assert allowance(budget, start, start=start, curve=curve) == pytest.approx(HEADROOM * budget)


@given(budgets, seconds, curves)
def test_each_day_begins_anew_and_the_scale_of_the_curve_says_nothing(
    budget: float, second: float, curve: list[float]
) -> None:
    today = allowance(budget, MIDNIGHT + second, curve=curve)
    assert allowance(budget, MIDNIGHT + DAY + second, curve=curve) == pytest.approx(today, rel=1e-9)
    assert allowance(budget, MIDNIGHT + second, curve=[3 * one for one in curve]) == pytest.approx(today, rel=1e-9)


def test_a_part_of_the_day_is_paced_over_what_is_left_of_it() -> None:
    noon, evening = MIDNIGHT + DAY / 2, MIDNIGHT + 18 * 3600
    assert allowance(100.0, MIDNIGHT + 15 * 3600, start=noon, end=evening) == pytest.approx(52.0)
    assert allowance(100.0, evening, end=evening) == 100.0
    assert allowance(100.0, noon, start=MIDNIGHT - 5 * DAY, end=MIDNIGHT + 9 * DAY) == pytest.approx(52.0)
    # Where the curve expects nobody at all between its start and its end, it does not wait for them.
    assert allowance(100.0, MIDNIGHT + 3 * 3600, end=MIDNIGHT + 6 * 3600, curve=NIGHT_OFF) == pytest.approx(52.0)


@pytest.mark.parametrize("curve", [(1.0,) * 23, (-1.0,) + (1.0,) * 23, (float("nan"),) * 24, (float("inf"),) * 24])
def test_what_is_no_curve_is_refused(curve: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="24 finite weights"):
        allowance(1.0, MIDNIGHT + 1, curve=curve)


def a_day(
    curve: tuple[float, ...], *, seen: float = 1.0, start: float = 0.0, end: float = DAY, impressions: int = 2000
) -> list[float]:
    """Charged by each ten minutes, as a share of the budget, of an ad that wins every request it may take part in: four
    times as many as it can pay for, over the day as `curve` has it. seen: share of the decisions with an impression, a
    minute later; what is reserved for the others is free after `RESERVATION_SECONDS`, by whole buckets."""
    rng = random.Random(7)
    charged = 0
    reserved: dict[int, int] = {}
    waiting: deque[tuple[float, int]] = deque()
    found: list[float] = []
    mean = sum(curve) / HOURS
    for second in range(0, int(DAY), 10):
        now = MIDNIGHT + second
        while waiting and waiting[0][0] <= now:
            reserved[waiting.popleft()[1]] -= 1
            charged += 1
        if start <= second < end:
            oldest = int((now - RESERVATION_SECONDS) // BUCKET_SECONDS)
            wanted = 4 * impressions / (DAY / 10) * curve[second // 3600] / mean
            for _ in range(int(wanted) + (rng.random() < wanted % 1)):
                spent = charged + sum(count for bucket, count in reserved.items() if bucket >= oldest)
                allowed = allowance(float(impressions), now, start=MIDNIGHT + start, end=MIDNIGHT + end, curve=curve)
                if spent + 1 > allowed:
                    break
                bucket = int(now // BUCKET_SECONDS)
                reserved[bucket] = reserved.get(bucket, 0) + 1
                if rng.random() < seen:
                    waiting.append((now + 60, bucket))
        if second % 600 == 590:
            found.append(charged / impressions)
    return [*found, (charged + len(waiting)) / impressions]


@pytest.mark.parametrize("curve", [UNIFORM, EVENING, NIGHT_OFF], ids=["uniform", "evening", "nights off"])
def test_spend_follows_the_curve_and_the_budget_is_used_up(curve: tuple[float, ...]) -> None:
    charged = a_day(curve)
    for quarter in (1, 2, 3):
        expected = sum(curve[: 6 * quarter]) / sum(curve)
        assert charged[36 * quarter - 1] == pytest.approx(expected, abs=0.03)
    assert 0.99 <= charged[-1] <= 1.0


def test_an_ad_of_the_afternoon_spends_evenly_until_its_end() -> None:
    charged = a_day(UNIFORM, start=DAY / 2, end=DAY * 3 / 4)
    assert charged[71] == 0
    assert [charged[71 + 9 * quarter] for quarter in (1, 2, 3)] == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert 0.99 <= charged[-1] <= 1.0


def test_what_is_never_seen_holds_up_little() -> None:
    charged = a_day(UNIFORM, seen=0.7)
    assert [charged[36 * quarter - 1] for quarter in (1, 2, 3)] == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert 0.97 <= charged[-1] <= 1.0
