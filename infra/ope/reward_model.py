"""Expected clicks of an ad in a slot: the direct method that the doubly robust estimator corrects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ITERATIONS = 50
_TOLERANCE = 1e-8
_RIDGE = 1.0  # pseudo-observations that hold signals near 1 (calibrated, if alone) and slots near their common slope
_STEP = 2.0  # the most that one Newton step may move a coefficient


@dataclass(frozen=True, slots=True)
class RewardModel:
    """log E[click] = intercept + weights · signals + by_slot[slot]: log-linear, so a slot's effect is a factor.

    weights: (k,). by_slot: (S,), 0 for the first.
    """

    intercept: float
    weights: np.ndarray
    by_slot: np.ndarray

    @property
    def examination(self) -> np.ndarray:
        """By what each slot multiplies the clicks of the first, (S,)."""
        return np.exp(self.by_slot)

    @classmethod
    def fit(cls, signals: np.ndarray, slots: np.ndarray, clicks: np.ndarray, slot_count: int) -> RewardModel:
        """Penalised Poisson regression by Newton's method.

        signals: (n, k), log probabilities. slots: (n,), from 0. clicks: (n,), 0 or 1.
        """
        kinds = signals.shape[1]
        depth = np.log2(np.arange(slot_count) + 1.0)
        design = np.concatenate(
            [
                np.ones((len(slots), 1)),
                signals,
                depth[slots][:, None],
                (slots[:, None] == np.arange(1, slot_count)).astype(np.float64),
            ],
            axis=1,
        )
        penalty = np.full(design.shape[1], _RIDGE)
        penalty[0] = 0.0
        centre = np.zeros(design.shape[1])
        centre[1 : 1 + kinds] = 1.0 / max(1, kinds)
        found = centre.copy()
        expected = np.exp(design @ found)
        if clicks.sum() > 0 and expected.sum() > 0:
            found[0] = np.log(clicks.sum() / expected.sum())
        else:
            found[0] = np.log(0.5 / max(1.0, expected.sum()))
            penalty[0] = 1e6
            centre[0] = found[0]
        for _ in range(_ITERATIONS):
            expected = np.exp(np.minimum(design @ found, 0.0))
            slope = design.T @ (clicks - expected) - penalty * (found - centre)
            curvature = (design * expected[:, None]).T @ design + np.diag(penalty + 1e-9)
            step = np.clip(np.linalg.solve(curvature, slope), -_STEP, _STEP)
            found = found + step
            if np.abs(step).max() < _TOLERANCE:
                break
        by_slot = found[1 + kinds] * depth
        by_slot[1:] += found[2 + kinds :]
        return cls(float(found[0]), found[1 : 1 + kinds], by_slot)

    def predict(self, signals: np.ndarray) -> np.ndarray:
        """Expected clicks (..., S) of (..., k) signals, at most 1."""
        odds = self.intercept + signals @ self.weights
        return np.asarray(np.exp(np.minimum(odds[..., None] + self.by_slot, 0.0)))
