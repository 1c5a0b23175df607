"""Accuracy, macro-F1 and calibration of predictions, and the temperature and threshold that a head is served with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Classes = NDArray[np.int64]
Figures = dict[str, float]
BINS = 15
# A wrong answer costs half of what a right one gains; below the threshold, saying nothing is worth more.
WRONG_COST = 0.5


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities over the last axis, in the logits' precision."""
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def accuracy(truth: Classes, predicted: Classes) -> float:
    """The share of right answers."""
    return float((truth == predicted).mean())


def macro_f1(truth: Classes, predicted: Classes) -> float:
    """The mean F1 over the classes that occur in `truth` or `predicted`; a class never predicted right counts 0."""
    scores = []
    for one in np.union1d(truth, predicted):
        both = float(((truth == one) & (predicted == one)).sum())
        scores.append(2 * both / float((truth == one).sum() + (predicted == one).sum()))
    return float(np.mean(scores))


def figures(truth: Classes, predicted: Classes) -> Figures:
    """Accuracy and macro-F1, rounded."""
    return {"accuracy": round(accuracy(truth, predicted), 4), "macro_f1": round(macro_f1(truth, predicted), 4)}


def expected_calibration_error(probabilities: NDArray[Any], truth: Classes) -> float:
    """Mean distance of confidence and accuracy over `BINS` equal bins of the top probability (Guo et al. 2017)."""
    return calibration_gap(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)


def calibration_gap(confidence: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """The same of top probabilities and whether each is right, both (n,)."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(place, confidence - right, BINS)).sum() / len(confidence))


def error_by_chance(confidence: NDArray[Any], draws: int = 200) -> float:
    """The expected calibration error that a head of these confidences, (n,), would show if it were calibrated
    perfectly: few rows in a bin are never as often right as they should be (consistency resampling, Bröcker and Smith
    2007, "Increasing the reliability of reliability diagrams"). Deterministic."""
    generator = np.random.default_rng(0)
    drawn = (generator.random(len(confidence)) < confidence for _ in range(draws))
    return float(np.mean([calibration_gap(confidence, right) for right in drawn]))


def losses(logits: NDArray[Any], truth: Classes) -> NDArray[np.float64]:
    """Negative log likelihood of each row whose truth is known (not below 0: a label that training never saw), (m,)."""
    known = truth >= 0
    logits = logits[known].astype(np.float64)
    top = logits.max(axis=1)
    likelihood = logits[np.arange(len(logits)), truth[known]] - top - np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return np.asarray(-likelihood)


def log_loss(logits: NDArray[Any], truth: Classes) -> float:
    """Mean negative log likelihood; a truth below 0 (a label that training never saw) is left out."""
    return float(losses(logits, truth).mean())


def temperature(logits: NDArray[Any], truth: Classes) -> float:
    """What the logits are divided by for the least log loss, between 0.05 and 20."""
    found = minimize_scalar(
        lambda power: log_loss(logits / np.exp(power), truth), bounds=(np.log(0.05), np.log(20.0)), method="bounded"
    )
    return float(np.exp(found.x))


def threshold(probabilities: NDArray[Any], truth: Classes) -> float:
    """The top probability from which answering pays (`WRONG_COST`), at least 0.

    Found on the given texts: the texts below it are right less than one time in three.
    """
    confidence = probabilities.max(axis=1)
    gain = np.where(probabilities.argmax(axis=1) == truth, 1.0, -WRONG_COST)
    order = np.argsort(-confidence, kind="stable")
    total = np.cumsum(gain[order])
    best = int(np.flatnonzero(total == total.max())[-1])
    if best == len(order) - 1:
        return 0.0
    return round(float((confidence[order[best]] + confidence[order[best + 1]]) / 2), 4)


def blend(deep: NDArray[Any], wide: NDArray[Any], truth: Classes) -> tuple[float, float, float]:
    """The weight of `wide` in ``deep + weight * wide``, its temperature and its log loss.

    The smallest weight that is not worse than the best by more than a standard error of the rows' differences (Breiman
    et al. 1984): on few rows a larger one is chance, and costs accuracy elsewhere.
    """
    found = []
    for weight in (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0):
        logits = deep + weight * wide
        heat = temperature(logits, truth)
        found.append((weight, heat, losses(logits / heat, truth)))
    best = min(found, key=lambda one: float(one[2].mean()))[2]

    def as_good(row: NDArray[np.float64]) -> bool:
        apart = row - best
        return bool(apart.mean() <= apart.std() / np.sqrt(max(len(apart), 1)))

    weight, heat, chosen = next(one for one in found if as_good(one[2]))
    return weight, heat, float(chosen.mean())
