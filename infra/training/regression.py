"""Multinomial logistic regression, fitted the same way in a head and in what it is compared with."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

MOST_STEPS = 200


def fit_logistic(
    data: Any, labels: NDArray[Any], inverse_penalty: float, weights: NDArray[Any] | None = None
) -> LogisticRegression:
    """The regression on `data` (n, features), dense or sparse. weights: (n,), what each row counts for.

    A looser tolerance than scikit-learn's own stops it so early on sparse features that it costs a point of accuracy;
    more steps than `MOST_STEPS` change nothing that matters.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=inverse_penalty, max_iter=MOST_STEPS).fit(data, labels, weights)


def full_weights(model: LogisticRegression, classes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (classes, features) and bias (classes,) of a fitted regression.

    scikit-learn keeps one row where there are two classes; a class that it never saw gets a very low bias.
    """
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2 and len(weight) == 1:
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    full = np.zeros((classes, weight.shape[1]), np.float32)
    low = np.full(classes, float(bias.min()) - 5.0, np.float32)
    full[model.classes_], low[model.classes_] = weight, bias
    return full, low
