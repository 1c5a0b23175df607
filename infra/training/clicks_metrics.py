"""How well clicks are predicted, and the calibration that a click model is served with.

All take labels (n,), 0 or 1, and scores or log-odds (n,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

BINS = 15
_LEAST_SLOPE = 0.05  # a calibration never turns an order round


def auc(clicked: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve: how often a click is above a row without one, ties for a half; nan without both."""
    positive = np.asarray(clicked, bool)
    clicks = int(positive.sum())
    rest = len(positive) - clicks
    if not clicks or not rest:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - clicks * (clicks + 1) / 2) / (clicks * rest))


def uauc(person: NDArray[Any], clicked: NDArray[Any], scores: NDArray[Any]) -> tuple[float, int]:
    """The mean AUC of the persons who have both labels, each person counting the same, and how many they are."""
    order = np.argsort(person, kind="stable")
    bounds = np.flatnonzero(np.diff(person[order])) + 1
    found = [auc(clicked[rows], scores[rows]) for rows in np.split(order, bounds)]
    known = [value for value in found if not np.isnan(value)]
    return (float(np.mean(known)) if known else float("nan")), len(known)


def log_loss(clicked: NDArray[Any], log_odds: NDArray[Any]) -> float:
    """Mean negative log likelihood, in nats."""
    odds = np.asarray(log_odds, np.float64)
    return float(np.mean(np.logaddexp(0, odds) - np.asarray(clicked, np.float64) * odds))


def calibration_error(clicked: NDArray[Any], log_odds: NDArray[Any]) -> float:
    """Expected calibration error: mean distance of predicted and actual rate over `BINS` bins of as many rows each.

    Bins of equal width would put nearly all rows of a click log into one.
    """
    predicted = expit(np.asarray(log_odds, np.float64))
    bins = np.array_split(np.argsort(predicted, kind="stable"), BINS)
    gaps = [abs(float((predicted[rows] - clicked[rows]).sum())) for rows in bins if len(rows)]
    return float(np.sum(gaps) / len(predicted))


def platt(clicked: NDArray[Any], log_odds: NDArray[Any]) -> tuple[float, float]:
    """Slope and bias of ``slope * log_odds + bias`` with the least log loss (Platt 1999); the slope is positive."""
    odds, labels = np.asarray(log_odds, np.float64), np.asarray(clicked, np.float64)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = values[0] * odds + values[1]
        wrong = expit(moved) - labels
        return float(np.mean(np.logaddexp(0, moved) - labels * moved)), np.array([(wrong * odds).mean(), wrong.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(_LEAST_SLOPE, 20.0), (-20, 20)])
    return float(found.x[0]), float(found.x[1])


def figures(
    clicked: NDArray[Any], log_odds: NDArray[Any], person: NDArray[Any] | None = None
) -> dict[str, float | int | None]:
    """AUC, mean AUC a person (`uauc`), log loss, expected calibration error (`ece`) and n; None where not defined."""
    values: dict[str, float] = {"auc": auc(clicked, log_odds)}
    if person is not None:
        known = np.asarray(person) >= 0
        values["uauc"] = uauc(person[known], clicked[known], log_odds[known])[0]
    values |= {"logloss": log_loss(clicked, log_odds), "ece": calibration_error(clicked, log_odds)}
    return {name: None if np.isnan(value) else round(value, 4) for name, value in values.items()} | {"n": len(clicked)}
