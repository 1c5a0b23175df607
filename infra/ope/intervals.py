"""Confidence intervals for shares and for smooth functions of means over decisions.

The slots of a decision share a person and a moment, and the decisions for a person share the person: what is drawn
independently is a person with all of their decisions. Every interval here resamples or linearises whole rows (the
cluster bootstrap): decisions, or people with what their decisions sum up to (`by_person`). Clicks are rare and weights
skewed, so a symmetric normal interval misses low: the studentised bootstrap (Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, section 12.5) follows the skew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import norm

LEVEL = 0.95
RESAMPLES = 2000
_MOST_KINDS = 100
_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds of its interval."""

    estimate: float
    low: float
    high: float


def wilson(successes: float, trials: float, level: float = LEVEL) -> Interval:
    """Of a share of independent trials (Wilson 1927); 0 to 1 where there was none."""
    if trials <= 0:
        return Interval(0.0, 0.0, 1.0)
    z = float(norm.ppf(0.5 + level / 2))
    share = successes / trials
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    middle, scale = share + z * z / (2 * trials), 1 + z * z / trials
    return Interval(share, max(0.0, float((middle - spread) / scale)), min(1.0, float((middle + spread) / scale)))


@dataclass(frozen=True, slots=True)
class Functional:
    """A smooth function of means, as a bootstrap needs it.

    columns: (D, k), one row a decision, or a person. value: of means (..., k), the estimate (...). gradient: of means
    (..., k), its derivative by each mean (..., k).
    """

    columns: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray], np.ndarray]

    @property
    def estimate(self) -> float:
        return float(self.value(self.columns.mean(axis=0)))

    def influence(self) -> np.ndarray:
        """Each decision's share in the estimate's error, (D,); its mean is 0."""
        means = self.columns.mean(axis=0)
        return np.asarray((self.columns - means) @ self.gradient(means))


def mean_of(values: np.ndarray) -> Functional:
    """The mean of (D,) values."""
    return Functional(values[:, None], lambda means: means[..., 0], np.ones_like)


def by_person(functional: Functional, people: np.ndarray) -> Functional:
    """The same estimate with a row for each person. people: (D,) whose each decision is, 0 to P-1.

    A mean over decisions is what people's decisions sum up to over how many they are, a ratio of two means over people
    (Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", 2015): its error has the covariance
    between the decisions of one person in it.
    """
    decisions = np.bincount(people).astype(np.float64)
    sums = np.stack([np.bincount(people, weights=column) for column in functional.columns.T], axis=1)

    def parts(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return means[..., :-1] / means[..., -1:], means[..., -1:]

    def value(means: np.ndarray) -> np.ndarray:
        return functional.value(parts(means)[0])

    def gradient(means: np.ndarray) -> np.ndarray:
        ratio, size = parts(means)
        slope = functional.gradient(ratio) / size
        return np.concatenate([slope, -(slope * ratio).sum(axis=-1, keepdims=True)], axis=-1)

    return Functional(np.column_stack([sums, decisions]), value, gradient)


def normal(functional: Functional, level: float = LEVEL) -> Interval:
    """The linearised (delta method) interval over decisions."""
    psi = functional.influence()
    spread = float(norm.ppf(0.5 + level / 2) * psi.std(ddof=1) / np.sqrt(len(psi))) if len(psi) > 1 else np.inf
    estimate = functional.estimate
    return Interval(estimate, estimate - spread, estimate + spread)


def studentised(
    functional: Functional, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES, least_spread: float = 0.0
) -> Interval:
    """The studentised cluster bootstrap interval.

    least_spread: the standard error that a resample is given at least, as a share of the sample's own: without a floor,
    resamples that caught hardly any click divide by almost nothing.
    """
    columns = functional.columns
    count, width = columns.shape
    estimate = functional.estimate
    spread = float(functional.influence().std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    if spread == 0.0 or not np.isfinite(spread):
        return normal(functional, level)
    kinds, drawn = _resamples(columns, seed, resamples)
    products = (kinds[:, :, None] * kinds[:, None, :]).reshape(len(kinds), width * width)
    means = drawn @ kinds
    moments = (drawn @ products).reshape(-1, width, width) - means[:, :, None] * means[:, None, :]
    slope = functional.gradient(means)
    variance = np.einsum("ri,rij,rj->r", slope, moments, slope) / _units(kinds, count)
    error = np.sqrt(np.maximum(variance, (least_spread * spread) ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (functional.value(means) - estimate) / error
    found = np.where(np.isnan(found), -np.inf, found)  # neither gain nor spread: as far below as any
    tail = (1 - level) / 2
    below, above = np.quantile(found, [tail, 1 - tail], method="nearest")
    return Interval(estimate, float(estimate - above * spread), float(estimate - below * spread))


def bca(functional: Functional, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """The bias-corrected and accelerated cluster bootstrap interval (Efron 1987)."""
    estimate = functional.estimate
    psi = functional.influence()
    if len(psi) < 2 or not psi.any():
        return normal(functional, level)
    kinds, drawn = _resamples(functional.columns, seed, resamples)
    found = functional.value(drawn @ kinds)
    below = (np.sum(found < estimate) + 0.5 * np.sum(found == estimate)) / resamples
    shift = float(norm.ppf(np.clip(below, 1 / resamples, 1 - 1 / resamples)))
    acceleration = float(np.sum(psi**3) / (6 * np.sum(psi**2) ** 1.5))
    tail = norm.ppf([(1 - level) / 2, (1 + level) / 2])
    moved = shift + (shift + tail) / (1 - acceleration * (shift + tail))
    low, high = np.quantile(found, norm.cdf(moved))
    return Interval(estimate, float(low), float(high))


def _resamples(columns: np.ndarray, seed: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """What is drawn (m, k), with the mean of `columns`, and its shares in each resample (resamples, m).

    Decisions that are alike (most: no click, one weight) are drawn as one kind. Where many differ, random groups of
    equal size are drawn instead: sums of independent decisions are independent, and their mean has the same skew.
    """
    kinds, sizes = np.unique(columns, axis=0, return_counts=True)
    count = len(columns)
    if len(kinds) <= _MOST_KINDS:
        drawn = np.random.default_rng([seed, 0]).multinomial(count, sizes / count, size=resamples) / count
        return kinds, drawn
    group = -(-count // _GROUPS)
    groups = count // group
    member = np.minimum(np.arange(count) // group, groups - 1)
    shuffled = columns[np.random.default_rng([seed, 1]).permutation(count)]
    sums = np.stack([np.bincount(member, weights=column, minlength=groups) for column in shuffled.T], axis=1)
    return sums * groups / count, _equal_shares(groups, seed, resamples)


def _units(kinds: np.ndarray, count: int) -> int:
    """How many of what `_resamples` draws make a sample."""
    return count if len(kinds) <= _MOST_KINDS else len(kinds)


@lru_cache(maxsize=2)
def _equal_shares(groups: int, seed: int, resamples: int) -> np.ndarray:
    """Of a resample of so many equal groups, each group's share: (resamples, groups)."""
    rng = np.random.default_rng([seed, 2])
    drawn = rng.integers(groups, size=(resamples, groups)) + np.arange(resamples)[:, None] * groups
    counts = np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups)
    return counts / groups
