"""What a pair of a headline test teaches: how likely the first text's click rate is the higher one, and how much that
tells.

The log click rates of a test's arms scatter about their mean with a variance that is the same for all tests (found by
the method of moments); what was counted adds sampling error. The posterior of a text's rate is thus drawn towards the
test's mean, the more the fewer clicks it has. A pair that nobody clicked teaches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from infra.training.headline_tests import Headlines, Pairs, Values

HALF = 0.5  # added to clicks, so that their logarithm exists
LEAST_SPREAD = 0.01


@dataclass(frozen=True)
class Rates:
    """Log click rates, (arms,): what was seen, its sampling variance, and the posterior's mean and variance.
    spread: the variance of true log rates within a test."""

    seen: Values
    error: Values
    mean: Values
    variance: Values
    spread: float


def log_rates(headlines: Headlines, spread: float | None = None) -> Rates:
    """The log click rates of the arms, shrunk to their test's mean. spread: taken from the data where it is not given
    (DerSimonian and Laird 1986, section 2, over the tests)."""
    seen = np.log((headlines.clicks + HALF) / (headlines.impressions + 2 * HALF))
    error = 1 / (headlines.clicks + HALF)
    tests, n = headlines.tests, len(headlines.names)

    def means(weight: Values) -> Values:
        return np.bincount(tests, weight * seen, n) / np.bincount(tests, weight, n)

    if spread is None:
        weight = 1 / error
        off = weight * (seen - means(weight)[tests]) ** 2
        total, squares = np.bincount(tests, weight, n), np.bincount(tests, weight**2, n)
        freedom = np.bincount(tests, minlength=n) - 1
        scale = float((total - squares / total).sum())
        spread = max(float(off.sum() - freedom.sum()) / scale, LEAST_SPREAD) if scale > 0 else LEAST_SPREAD
    centre = means(1 / (spread + error))[tests]
    kept = spread / (spread + error)
    return Rates(seen, error, centre + kept * (seen - centre), spread * (1 - kept), spread)


def soft_targets(headlines: Headlines, among: Pairs, rates: Rates) -> tuple[Values, Values]:
    """The probability that the first arm's click rate is the higher one, and the pair's weight; both (pairs,).

    The weight is the share of the difference's variance that the counts explain. Each test's weights are divided by
    half its number of arms, so that a test of many arms counts as its degrees of freedom and not as its pairs.
    """
    first, second = among.first, among.second
    left = rates.variance[first] + rates.variance[second]
    chance = norm.cdf((rates.mean[first] - rates.mean[second]) / np.sqrt(left))
    told = 1 - left / (2 * rates.spread)
    arms = np.bincount(headlines.tests)[headlines.tests[first]]
    return np.asarray(chance), np.asarray(told * 2 / arms)
