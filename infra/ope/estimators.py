"""Off-policy estimates of what a policy would have earned, from what another one showed.

Inverse propensity scoring (IPS; Horvitz and Thompson 1952), its self-normalised form (SNIPS; Swaminathan and Joachims
2015) and the doubly robust estimator (DR; Dudík, Langford and Li 2011) with clipped weights, whose clipped part DR
leaves to the reward model (as SWITCH does; Wang, Agarwal and Dudík 2017). The unit is a decision: its slots are summed,
and it counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from infra.ope.intervals import Functional, Interval, mean_of, studentised

ESTIMATORS = ("ips", "snips", "dr")
BIAS_SHARE = 0.1  # of a standard error that clipping may cost: an interval loses a tenth of a point of coverage by it
_OUTWEIGHED = 2.0  # root mean squared errors that not clipping may cost
_CLIPS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 1.0)  # quantiles of the weights

Bounds = Callable[[Functional, int], Interval]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a log says about one policy. n shown slots of D decisions.

    decisions: (n,) the decision of each, 0 to D-1. rewards: (n,), in [0, 1]. weights: (n,) the policy's chance of what
    was shown over the logged chance. shares: (n,) what a slot counts in its decision, so that shares times weights,
    summed by decision, are 1 in expectation. modelled: (n,) the reward model's guess of the reward. values: (D,) the
    reward model's mean of a decision under the policy.
    """

    decisions: np.ndarray
    rewards: np.ndarray
    weights: np.ndarray
    shares: np.ndarray
    modelled: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def summed(self, per_slot: np.ndarray) -> np.ndarray:
        """(n,) values of slots summed by decision, (D,)."""
        return np.bincount(self.decisions, weights=per_slot, minlength=len(self.values))


@dataclass(frozen=True, slots=True)
class Clipping:
    """What clipping did. limit: the highest weight. rows: slots above it. mass: share of the weight that was cut off.
    bias_bound: by how much a decision's IPS estimate is too low because of it, as the reward model guesses."""

    limit: float
    rows: int
    mass: float
    bias_bound: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value per decision. effective_sample_size: Kish's, in decisions; effective_clicks: the same of the gains."""

    estimate: float
    low: float
    high: float
    effective_sample_size: float
    effective_clicks: float

    @property
    def width(self) -> float:
        return self.high - self.low


def clipping_at(evidence: Evidence, limit: float) -> Clipping:
    """What a limit on the weights costs.

    The weight that is cut off is seen in the log, and it is what the clipped weights lack of their expectation, 1. The
    first is the better known until single weights outweigh the rest of the log: the lower bound counts.
    """
    over = np.maximum(evidence.weights - limit, 0.0)
    total, decisions = float(evidence.weights.sum()), len(evidence)
    seen = float((over * evidence.modelled).sum()) / decisions
    kept = evidence.summed((evidence.weights - over) * evidence.shares)
    lacking = max(0.0, 1.0 - float(kept.mean())) + 2 * float(kept.std()) / np.sqrt(decisions)
    return Clipping(
        limit=float(limit),
        rows=int(np.count_nonzero(over)),
        mass=float(over.sum()) / total if total else 0.0,
        bias_bound=min(seen, lacking * float(evidence.values.mean())) if over.any() else 0.0,
    )


def choose_clip(evidence: Evidence) -> Clipping:
    """The lowest limit whose bias stays so far below the standard error that the intervals keep their coverage. Where
    there is none, no limit, or where single weights outweigh the log, the limit of the least mean squared error.

    All of it is guessed from the weights and the reward model, never from the clicks' own gains: else a limit is
    preferred that happens to cut a heavy click off.
    """
    weights = evidence.weights
    highest = max(1.0, float(weights.max(initial=1.0)))
    limits = np.unique(np.maximum(1.0, np.quantile(weights, _CLIPS, method="higher"))) if len(weights) else [highest]
    tried: list[tuple[float, Clipping]] = []
    for limit in limits:
        found = clipping_at(evidence, float(limit))
        clipped = np.minimum(weights, found.limit)
        spread = float(np.sqrt(np.sum(clipped**2 * evidence.modelled))) / len(evidence)
        bias = found.bias_bound if found.limit < highest else 0.0
        if bias <= BIAS_SHARE * spread and found.limit < highest:
            return found
        tried.append((float(np.hypot(spread, bias)), found))
    least = min(tried, key=lambda one: one[0])
    return least[1] if tried[-1][0] > _OUTWEIGHED * least[0] else tried[-1][1]


def effective(weights: np.ndarray) -> float:
    """Kish's effective sample size of (n,) weights: (Σw)² / Σw²; 0 of nothing."""
    squares = float(np.sum(np.square(weights)))
    return float(np.sum(weights)) ** 2 / squares if squares > 0 else 0.0


def functionals(evidence: Evidence, clip: Clipping) -> dict[str, Functional]:
    """Each estimator as a function of means over decisions."""
    gains, controls, corrected = _columns(evidence, clip)
    return {
        "ips": mean_of(gains),
        "snips": Functional(np.stack([gains, controls], axis=1), _ratio, _ratio_gradient),
        "dr": mean_of(corrected),
    }


def estimates(
    evidence: Evidence, clip: Clipping | None = None, *, seed: int = 0, bounds: Bounds = studentised
) -> dict[str, Estimate]:
    """Every estimator's value per decision with its interval; none is below 0, as no rate of clicks is."""
    clip = clip or choose_clip(evidence)
    clipped = np.minimum(evidence.weights, clip.limit)
    size = effective(evidence.summed(clipped * evidence.shares))
    clicks = effective((clipped * evidence.rewards)[evidence.rewards > 0])
    answer = {}
    for name, functional in functionals(evidence, clip).items():
        found = bounds(functional, seed)
        estimate, low, high = (max(0.0, one) for one in (found.estimate, found.low, found.high))
        answer[name] = Estimate(estimate, low, high, size, clicks)
    return answer


def differences(
    candidate: Evidence,
    current: Evidence,
    clips: tuple[Clipping, Clipping],
    *,
    seed: int = 0,
    bounds: Bounds = studentised,
) -> dict[str, Interval]:
    """candidate - current per decision, paired: both on the same decisions, so what they share cancels."""
    gains, controls, corrected = _columns(candidate, clips[0])
    gains_now, controls_now, corrected_now = _columns(current, clips[1])

    def value(means: np.ndarray) -> np.ndarray:
        return np.asarray(_ratio(means[..., :2]) - _ratio(means[..., 2:]))

    def gradient(means: np.ndarray) -> np.ndarray:
        return np.concatenate([_ratio_gradient(means[..., :2]), -_ratio_gradient(means[..., 2:])], axis=-1)

    paired: Mapping[str, Functional] = {
        "ips": mean_of(gains - gains_now),
        "snips": Functional(np.stack([gains, controls, gains_now, controls_now], axis=1), value, gradient),
        "dr": mean_of(corrected - corrected_now),
    }
    return {name: bounds(functional, seed) for name, functional in paired.items()}


def _columns(evidence: Evidence, clip: Clipping) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By decision: weighted rewards, weights (1 in expectation) and DR's value, each (D,)."""
    weights = np.minimum(evidence.weights, clip.limit)
    gains = evidence.summed(weights * evidence.rewards)
    controls = evidence.summed(weights * evidence.shares)
    return gains, controls, evidence.values + evidence.summed(weights * (evidence.rewards - evidence.modelled))


def _ratio(means: np.ndarray) -> np.ndarray:
    """Of two means (..., 2): the first by the second; 0 where that is 0."""
    below = means[..., 1]
    return np.asarray(np.divide(means[..., 0], below, out=np.zeros_like(below), where=below != 0))


def _ratio_gradient(means: np.ndarray) -> np.ndarray:
    below = means[..., 1]
    first = np.divide(1.0, below, out=np.zeros_like(below), where=below != 0)
    return np.stack([first, -_ratio(means) * first], axis=-1)
