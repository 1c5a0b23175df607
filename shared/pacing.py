"""Smooth pacing: what of a day's budget may have been spent by now, so that it lasts until the day's end.

Spend follows the share of the day's traffic that is past (a curve), not the haste of the first comers: the allocation
curve of Agarwal et al., "Budget pacing for targeted online advertisements at LinkedIn" (KDD 2014). An ad that is ahead
of it sits out, rather than taking part with a probability that some process has to keep adjusting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

DAY = 86400.0
HOUR = 3600.0
HOURS = 24
HEADROOM = 0.02
UNIFORM = (1.0,) * HOURS


def allowance(
    budget: float,
    now: float,
    *,
    start: float | None = None,
    end: float | None = None,
    curve: Sequence[float] = UNIFORM,
    headroom: float = HEADROOM,
) -> float:
    """Spend allowed by epoch second `now` of the UTC day's `budget`, in its currency; it grows within the day, from
    `headroom` of the budget to all of it.

    That is the budget times the share of the curve that is past, and `headroom` of the budget ahead of it. So the whole
    budget is free a little before the end (on a uniform curve half an hour).

    start, end: of the ad, epoch seconds; one that starts or ends within the day is paced over its part of it. curve:
    traffic expected in each hour (UTC), 24 weights of any scale; where none is expected in that part, it is uniform.

    Raises:
        ValueError: the curve is not 24 finite weights of 0 or more.
    """
    day = now - now % DAY
    first = max(day, start) if start is not None else day
    last = min(day + DAY, end) if end is not None else day + DAY
    if now < first:
        return 0.0
    if now >= last:
        return budget
    before = _cumulative(tuple(curve))
    begun, past, whole = (_traffic(before, at - day) for at in (first, now, last))
    share = (past - begun) / (whole - begun) if whole > begun else (now - first) / (last - first)
    return min(budget, budget * (share + headroom))


@lru_cache(maxsize=256)
def _cumulative(curve: tuple[float, ...]) -> tuple[float, ...]:
    """Weight before each full hour of the day, its end included."""
    if len(curve) != HOURS or not all(math.isfinite(weight) and weight >= 0 for weight in curve):
        raise ValueError(f"a curve is {HOURS} finite weights of 0 or more")
    return tuple(accumulate(curve, initial=0.0))


def _traffic(before: Sequence[float], second: float) -> float:
    """The curve's weight before a second of the day."""
    hour = min(int(second // HOUR), HOURS - 1)
    return before[hour] + (before[hour + 1] - before[hour]) * (second - hour * HOUR) / HOUR
