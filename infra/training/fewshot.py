"""A linear head for few rows a label: Gaussians that share a shrunk covariance, drawn towards the labels' own names.

With 8 to 32 rows a label a regression's weights are mostly noise. The discriminant of Gaussians with one covariance
needs only the labels' means, and shrinking that covariance towards a sphere (Friedman 1989) keeps it usable with fewer
rows than dimensions. What a label is called says what it is about: its name's vector is a further row of evidence. How
far to shrink, and how much the names and the labels' frequencies weigh, is found by cross-validation on the training
rows alone. Unlabelled texts help by self-training (Scudder 1965): those that the head is surest of become rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.training.calibrate import log_loss, softmax, temperature
from infra.training.regression import fit_logistic, full_weights

Classes = NDArray[np.int64]
FOLDS = 5
SHRINKAGES = (0.5, 0.7, 0.8, 0.9)
NAME_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
PRIOR_WEIGHTS = (0.0, 0.5, 1.0)
MOST_ROWS_A_LABEL = 50
LEAST_VARIANCE = 0.01  # of standardised vectors
MOST_CELLS = 4_000_000  # rows times labels that the settings are chosen on
# Self-training: texts a label at most, how many of them one labelled row counts for, and the penalty of the regression.
MOST_GUESSED, ROW_COUNTS_FOR, INVERSE_PENALTY = 500, 3.0, 0.003


@dataclass(frozen=True)
class FewShot:
    """Logits are ``x @ weight.T + bias``, at their own best temperature; weight (labels, d), bias (labels,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    shrinkage: float
    name_weight: float
    prior_weight: float
    loss: float  # mean negative log likelihood of rows held out in cross-validation


def suits(rows: int, labels: int) -> bool:
    """Whether this head is to be preferred to a regression."""
    return rows < MOST_ROWS_A_LABEL * labels


def spoken(labels: Sequence[str]) -> list[str]:
    """Labels as words: without a prefix that all of them share (``news_sports``), `_` and `-` as spaces."""
    first, last = min(labels), max(labels)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    shared = first[:same] if len(labels) > 1 else ""
    cut = max(shared.rfind(mark) for mark in "_-/:.") + 1
    return [" ".join(label[cut:].replace("_", " ").replace("-", " ").split()) or label for label in labels]


def _discriminant(
    data: NDArray[Any], classes: Classes, count: int, shrinkages: Sequence[float]
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Weight and bias at each shrinkage. Labels are equally likely; one without rows lies at the common mean."""
    sizes = np.bincount(classes, minlength=count)
    means = np.zeros((count, data.shape[1]))
    np.add.at(means, classes, data)
    means /= np.maximum(sizes, 1)[:, None]
    means[sizes == 0] = means[sizes > 0].mean(axis=0)
    # Where no label has two rows, nothing is known of the spread within one: that of all rows stands for it.
    repeated = bool((sizes > 1).any())
    within = data - (means[classes] if repeated else data.mean(axis=0))
    covariance = within.T @ within / max(len(data) - (int((sizes > 0).sum()) if repeated else 1), 1)
    level = max(float(np.trace(covariance)) / len(covariance), LEAST_VARIANCE)
    found = []
    for shrinkage in shrinkages:
        shrunk = (1 - shrinkage) * covariance
        shrunk[np.diag_indices_from(shrunk)] += shrinkage * level
        weight = np.linalg.solve(shrunk, means.T).T
        found.append((weight, -0.5 * (weight * means).sum(axis=1)))
    return found


def _name_logits(data: NDArray[Any], names: NDArray[Any], like: NDArray[Any]) -> float:
    """What the names' products are multiplied by so that they spread as the logits in `like` do."""
    return float(like.std(axis=1).mean() / max((data @ names.T).std(axis=1).mean(), 1e-9))


def fit(data: NDArray[np.float32], classes: Classes, names: NDArray[np.float32], *, seed: int = 0) -> FewShot:
    """The head for standardised vectors.

    data: (n, d). classes: (n,), places in `names`. names: (labels, d), vectors of the labels' names, standardised with
    their own mean and the rows' spread.
    """
    rows, count = data.astype(np.float64), len(names)
    words = names / np.maximum(np.linalg.norm(names, axis=1, keepdims=True), 1e-9)
    # The n-th row of a label, in random order, goes into fold n modulo FOLDS: each fold has its share of every label.
    order = np.random.default_rng(seed).permutation(len(rows))
    nth = np.zeros(len(rows), np.int64)
    seen = np.zeros(count, np.int64)
    for place in order:
        nth[place] = seen[classes[place]]
        seen[classes[place]] += 1
    fold = (nth + classes) % FOLDS
    some = np.sort(order[: max(MOST_CELLS // count, 1)])
    truth = classes[some]
    held = np.zeros((len(SHRINKAGES), len(some), count), np.float32)
    named = np.zeros_like(held)
    for number in range(FOLDS):
        out = fold == number
        asked = out[some]
        if not asked.any() or out.all():
            continue
        for place, (weight, bias) in enumerate(_discriminant(rows[~out], classes[~out], count, SHRINKAGES)):
            part = rows[some[asked]]
            logits = part @ weight.T + bias
            held[place, asked] = logits
            named[place, asked] = _name_logits(part, words, logits) * (part @ words.T)
    prior = np.log((np.bincount(classes, minlength=count) + 1) / (len(classes) + count))
    best: tuple[float, int, int, float, float] = (np.inf, 0, 0, 1.0, 0.0)
    for place in range(len(SHRINKAGES)):
        for other, name_weight in enumerate(NAME_WEIGHTS):
            logits = held[place] + name_weight * named[place]
            heat = temperature(logits, truth)
            for prior_weight in PRIOR_WEIGHTS:
                loss = log_loss(logits / heat + prior_weight * prior, truth)
                best = min(best, (loss, place, other, heat, prior_weight))
    loss, place, other, heat, prior_weight = best
    matrix, bias = _discriminant(rows, classes, count, SHRINKAGES[place : place + 1])[0]
    scale = NAME_WEIGHTS[other] * _name_logits(rows, words, rows @ matrix.T + bias)
    return FewShot(
        ((matrix + scale * words) / heat).astype(np.float32),
        (bias / heat + prior_weight * prior).astype(np.float32),
        SHRINKAGES[place],
        NAME_WEIGHTS[other],
        prior_weight,
        loss,
    )


def self_trained(
    head: FewShot, data: NDArray[np.float32], classes: Classes, more: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """A regression on the labelled rows and on those of `more` (m, d) that `head` is surest of: weight, bias, and how
    many of them it took."""
    count = len(head.bias)
    guessed = softmax((more @ head.weight.T + head.bias).astype(np.float64))
    label, sure = guessed.argmax(axis=1), guessed.max(axis=1)
    most = min(MOST_GUESSED, len(more) // (2 * count))
    taken: list[int] = []
    for one in range(count):
        places = np.flatnonzero(label == one)
        taken += places[np.argsort(-sure[places], kind="stable")][:most].tolist()
    weights = np.concatenate([np.full(len(data), ROW_COUNTS_FOR), sure[taken]])
    model = fit_logistic(
        np.concatenate([data, more[taken]]), np.concatenate([classes, label[taken]]), INVERSE_PENALTY, weights
    )
    weight, bias = full_weights(model, count)
    return weight, bias, len(taken)
