"""From scores to log click rates: how much of each score goes into the prediction, and what is left unexplained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from infra.training.headline_targets import LEAST_SPREAD, log_rates
from infra.training.headline_tests import Headlines, Values

GROUPS = 1 << 20  # more images than a test has
# Each score is in log-odds of winning, and models that err differently add up: equal weights are what is expected
# beforehand, and count as so many tests.
PRIOR_TESTS = 300


@dataclass(frozen=True)
class Stack:
    """weights: of each score in the log click rate. spread, left: variance of true log click rates within a test, and
    what of it the prediction does not explain."""

    weights: Values
    spread: float
    left: float

    @property
    def prior_clicks(self) -> float:
        """What the prediction of an arm is worth in clicks: the log of a rate seen with n clicks has variance 1 / n."""
        return 1 / self.left


def fit(scores: NDArray[np.floating], headlines: Headlines) -> Stack:
    """Least squares of log click rates on scores (arms, scores) within each test and image, weights from 0.

    The scores are log-odds of winning, from models that have not seen these tests; their weights are drawn together as
    if `PRIOR_TESTS` more tests had found them equal. An arm counts by the variance of its log click rate
    about the siblings' mean: that of true rates and the sampling error.
    """
    group = np.unique(headlines.tests * GROUPS + headlines.images, return_inverse=True)[1]
    n = int(group.max()) + 1
    rates = log_rates(headlines)

    def centred(values: Values, weight: Values) -> Values:
        return values - (np.bincount(group, weight * values, n) / np.bincount(group, weight, n))[group]

    left = rates.spread
    weights = np.zeros(scores.shape[1])
    for _ in range(3):  # the weights depend on what is left, which depends on the weights
        weight = 1 / (left + rates.error)
        root = np.sqrt(weight)
        columns = np.stack([centred(column.astype(np.float64), weight) for column in scores.T], axis=1)
        target = centred(rates.seen, weight)
        weights = _weights(columns * root[:, None], target * root, PRIOR_TESTS / len(headlines.names))
        left = _unexplained(target - columns @ weights, rates.error, group)
    return Stack(weights, rates.spread, left)


def _weights(columns: Values, target: Values, prior: float) -> Values:
    """Least squares with weights from 0 that are pulled together, but not down: `prior` is a share of the data."""
    energy = (columns**2).sum(axis=0)
    apart = np.sqrt(2) * (np.eye(len(energy)) - 1 / len(energy))  # from their mean
    pull = np.sqrt(prior * float(energy.min())) * apart
    weights, _ = nnls(np.concatenate([columns, pull]), np.append(target, np.zeros(len(pull))))
    fitted = columns @ weights
    power = float(fitted @ fitted)
    return np.asarray(weights * (float(fitted @ target) / power if power > 0 else 0.0))


def _unexplained(residual: Values, error: Values, group: NDArray[np.int64]) -> float:
    """The variance of residuals beyond their sampling error, by the method of moments within groups."""
    weight = 1 / error
    total, squares = np.bincount(group, weight), np.bincount(group, weight**2)
    mean = np.bincount(group, weight * residual) / total
    off = weight * (residual - mean[group]) ** 2
    freedom = np.bincount(group) - 1
    scale = float((total - squares / total).sum())
    return max(float(off.sum() - freedom.sum()) / scale, LEAST_SPREAD) if scale > 0 else LEAST_SPREAD
