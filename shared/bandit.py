"""Which of an ad's texts to show: a bandit over click rates, with chances that are known exactly.

Each arm's click rate has a Beta posterior: its prior rate counts as `strength` impressions, and what was counted
(batched, late, decayed: any numbers from 0) is added. Two rules make chances of it:

- `ucb`: the arm with the highest expected click rate plus some of its posterior's deviation (Kaufmann et al. 2012, "On
  Bayesian Upper Confidence Bounds for Bandit Problems");
- `thompson`: each arm as often as it is the best one under the posterior (Thompson 1933; Chapelle and Li 2011, "An
  Empirical Evaluation of Thompson Sampling"). This probability is integrated rather than drawn: it is the same for
  everybody who asks.

A floor keeps every chance from vanishing, and the arm is drawn from these very chances, so that the propensity which is
logged is exact.

Nothing here keeps state: the generator is the caller's, seeded per decision, and a process that is restored from a
snapshot repeats nobody's draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Chances = NDArray[np.float64]
Rule = Literal["ucb", "thompson"]

FLOOR = 0.01  # of an arm's chance; an equal share where there are so many arms that this would be more
RULE: Rule = "ucb"  # by replay of headline tests, like the constants below (`infra.evaluate headlines`)
CAUTION = 0.5  # deviations of the posterior that are explored; the rule says how
# Of the predicted click rate, in clicks: what the prediction of a text beside its siblings, and what the usual click
# rate of all texts, is worth.
PREDICTION_CLICKS = 6.0
LEVEL_CLICKS = 3.0
MOST_RATE = 0.5  # a prior click rate above it is a mistake of its maker

_LEAST_COUNT = 0.05  # of a Beta's parameters
# Where the density of each arm is looked at, in deviations from its mode on the scale of log-odds.
_OFFSETS = np.sinh(np.linspace(-1.0, 1.0, 33) * np.arcsinh(6.0))
_RATE_BOUNDS = (1e-6, MOST_RATE)


@dataclass(frozen=True, slots=True)
class Arm:
    """A text. impressions, clicks: counted, from 0, decayed or not. prior: the click rate expected of it before, in
    (0, 1). strength: impressions that the prior is worth, above 0."""

    impressions: float
    clicks: float
    prior: float
    strength: float


def choose(
    arms: Sequence[Arm],
    rng: np.random.Generator,
    *,
    rule: Rule = RULE,
    floor: float = FLOOR,
    caution: float = CAUTION,
) -> tuple[int, Chances]:
    """The place of the arm to show, and the chances (k,) from which it was drawn; they sum to 1.

    floor: the least chance of an arm, at most 1 / k. caution: of `ucb`, how many deviations are added; of `thompson`,
    how much wider than the posterior the arms are taken to scatter. Towards 0 both show the arm with the best expected
    click rate.

    Raises:
        ValueError: no arms, or a number outside its bounds.
    """
    if not arms:
        raise ValueError("there is no arm to choose")
    numbers = np.array([(arm.impressions, arm.clicks, arm.prior, arm.strength) for arm in arms], np.float64).T
    result = chances(*posterior(*numbers), rule=rule, floor=floor, caution=caution)
    place = int(np.searchsorted(np.cumsum(result)[:-1], rng.random(), side="right"))
    return place, result


def arms(
    counts: Sequence[tuple[float, float]],
    multipliers: Sequence[float],
    usual_rate: float,
    *,
    prediction_clicks: float = PREDICTION_CLICKS,
    level_clicks: float = LEVEL_CLICKS,
) -> list[Arm]:
    """The arms of one ad from what was counted of its texts and from what is predicted of them.

    counts: impressions and clicks of each text. multipliers: predicted click rate beside the siblings'
    (`shared.models.text_clicks`); 1 where nothing is predicted. usual_rate: click rate of the ad, of its campaign or of
    the tenant before there were counts. How well the ad is clicked as a whole is learnt from all of its texts.
    """
    shown, clicked = np.array(counts, np.float64).reshape(-1, 2).T
    prior = priors(shown, clicked, np.asarray(multipliers, np.float64), usual_rate, level_clicks)
    strength = prediction_clicks / prior
    return [Arm(*row) for row in zip(*(part.tolist() for part in (shown, clicked, prior, strength)), strict=True)]


def priors(
    impressions: Chances, clicks: Chances, multipliers: Chances, usual_rate: float, level_clicks: float = LEVEL_CLICKS
) -> Chances:
    """Prior click rates (…, k): multipliers about the level that the counts of all k texts show.

    The level is the posterior mean of a rate common to all texts, whose prior is worth `level_clicks` clicks at the
    usual rate (gamma and Poisson).
    """
    expected = (impressions * multipliers).sum(-1, keepdims=True) * usual_rate
    level = usual_rate * (clicks.sum(-1, keepdims=True) + level_clicks) / (expected + level_clicks)
    return np.clip(level * multipliers, *_RATE_BOUNDS)


def posterior(impressions: Chances, clicks: Chances, prior: Chances, strength: Chances) -> tuple[Chances, Chances]:
    """Parameters of the Beta posterior of each arm, in clicks and in impressions without click; any shape.

    Raises:
        ValueError: a negative or infinite count, a prior outside (0, 1), a strength that is not above 0.
    """
    valid = np.isfinite(impressions) & np.isfinite(clicks) & np.isfinite(strength) & (impressions >= 0)
    if not np.all(valid & (clicks >= 0) & (prior > 0) & (prior < 1) & (strength > 0)):
        raise ValueError("an arm has counts from 0, a prior between 0 and 1 and a strength above 0")
    # A click may be counted before its impression is: it is then an impression too.
    missed = np.maximum(impressions - clicks, 0.0)
    return prior * strength + clicks, (1 - prior) * strength + missed


def chances(
    hits: Chances, misses: Chances, *, rule: Rule = RULE, floor: float = FLOOR, caution: float = CAUTION
) -> Chances:
    """How often each of k arms is to be shown, (…, k), each at least `floor` (or 1 / k), their sum 1.

    hits, misses: parameters of the arms' Beta posteriors, (…, k). See `choose`.
    """
    if rule == "thompson":
        share = best_shares(hits / caution**2, misses / caution**2)
    else:
        share = highest_bounds(hits, misses, caution)
    count = hits.shape[-1]
    least = min(floor, 1 / count)
    return np.asarray(least + (1 - least * count) * share)


def highest_bounds(hits: Chances, misses: Chances, deviations: float) -> Chances:
    """1 for the arm with the highest upper bound of its click rate, 0 for the others, (…, k); equal arms share it."""
    total = hits + misses
    mean = hits / total
    bound = mean + deviations * np.sqrt(mean * (1 - mean) / (total + 1))
    best = bound >= bound.max(-1, keepdims=True)
    return np.asarray(best / best.sum(-1, keepdims=True))


def best_shares(hits: Chances, misses: Chances) -> Chances:
    """The probability that each arm's click rate is the highest, (…, k), of Beta(hits, misses) posteriors (…, k).

    Integrates an arm's density times the others' distribution functions on the log-odds scale, over the points where
    any of the arms has its mass; exact to about a thousandth.
    """
    hits, misses = np.maximum(hits, _LEAST_COUNT), np.maximum(misses, _LEAST_COUNT)
    if hits.shape[-1] == 1:
        return np.ones_like(hits)
    mode, deviation = np.log(hits / misses), np.sqrt(1 / hits + 1 / misses)
    # A Beta of few clicks falls off slowly to the left.
    reach = np.where(_OFFSETS < 0, _OFFSETS * (1 + 1 / hits[..., None]), _OFFSETS)
    points = (mode[..., None] + deviation[..., None] * reach).reshape(*hits.shape[:-1], -1)
    points.sort(axis=-1)
    points = points[..., None, :]
    density = hits[..., None] * points - (hits + misses)[..., None] * np.logaddexp(0.0, points)
    density = np.exp(density - density.max(-1, keepdims=True))
    step = (density[..., 1:] + density[..., :-1]) * np.diff(points, axis=-1)
    step /= step.sum(-1, keepdims=True)
    below = np.cumsum(step, axis=-1) - step / 2  # the distribution function at the middle of each step
    before = np.ones_like(below)
    after = np.ones_like(below)
    np.cumprod(below[..., :-1, :], axis=-2, out=before[..., 1:, :])
    after[..., :-1, :] = np.cumprod(below[..., :0:-1, :], axis=-2)[..., ::-1, :]
    share = (step * before * after).sum(-1)
    return np.asarray(share / share.sum(-1, keepdims=True))
