"""A linear head for few rows a label: Gaussians that share a shrunk covariance, drawn towards the labels' own names.

With 8 to 32 rows a label a regression's weights are mostly noise. The discriminant of Gaussians with one covariance
needs only the labels' means, and shrinking that covariance towards a sphere (Friedman 1989) keeps it usable with fewer
rows than dimensions. What a label is called says what it is about: its name's vector is a further row of evidence. How
far to shrink, and how much the names and the labels' frequencies weigh, is found by cross-validation on the training
rows alone. Unlabelled texts help by one step of expectation maximisation (Nigam et al. 2000): each counts for a part of
a row, and is of every label as far as the head believes. The shared covariance is then that of all texts, around the
labels' means. How much they count is found in the same cross-validation, and so is the temperature: the head's logits
are calibrated without a row that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.training.calibrate import log_loss, softmax, temperature

Classes = NDArray[np.int64]
FOLDS = 5
SHRINKAGES = (0.5, 0.7, 0.8, 0.9)
NAME_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
PRIOR_WEIGHTS = (0.0, 0.5, 1.0)
MOST_ROWS_A_LABEL = 50
LEAST_VARIANCE = 0.01  # of standardised vectors
MOST_CELLS = 4_000_000  # rows times labels that the settings are chosen on
# What all unlabelled texts count for beside all rows; the means are surer then, and a rounder covariance is best.
UNLABELLED_SHARES, UNLABELLED_SHRINKAGES = (0.4, 1.25, 4.0), (0.6, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class FewShot:
    """Logits are ``x @ weight.T + bias``, at their own best temperature; weight (labels, d), bias (labels,).

    unlabelled_weight: what an unlabelled text counts for, 0 without. held: (m, labels), the logits of rows by a head
    that was fitted without their fold; asked: (m,), which rows those are; folds: (n,), of every row. loss: their mean
    negative log likelihood.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    shrinkage: float
    name_weight: float
    prior_weight: float
    loss: float
    held: NDArray[np.float32]
    asked: NDArray[np.int64]
    folds: NDArray[np.int64]
    unlabelled_weight: float = 0.0

    def described(self) -> dict[str, float]:
        """What cross-validation found, for a manifest."""
        names = ("shrinkage", "name_weight", "prior_weight", "unlabelled_weight", "loss")
        return {name: round(float(getattr(self, name)), 4) for name in names}


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


def _folds(classes: Classes, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The fold of each row, and the rows in random order.

    The n-th row of a label, in that order, goes into fold n modulo FOLDS: each fold has its share of every label.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    nth = np.zeros(len(classes), np.int64)
    seen = np.zeros(count, np.int64)
    for place in order:
        nth[place] = seen[classes[place]]
        seen[classes[place]] += 1
    return (nth + classes) % FOLDS, order


def fit(data: NDArray[np.float32], classes: Classes, names: NDArray[np.float32], *, seed: int = 0) -> FewShot:
    """The head for standardised vectors.

    data: (n, d). classes: (n,), places in `names`. names: (labels, d), vectors of the labels' names, standardised with
    their own mean and the rows' spread.
    """
    rows, count = data.astype(np.float64), len(names)
    words = names / np.maximum(np.linalg.norm(names, axis=1, keepdims=True), 1e-9)
    fold, order = _folds(classes, count, seed)
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
        ((held[place] + NAME_WEIGHTS[other] * named[place]) / heat + prior_weight * prior).astype(np.float32),
        some,
        fold,
    )


class _Mixture:
    """One step of expectation maximisation: the labels' means and the shared covariance, rows and guesses together."""

    def __init__(self, more: NDArray[np.float64]) -> None:
        self._more = more
        self._squares = more.T @ more

    def step(
        self, rows: NDArray[np.float64], classes: Classes, guessed: NDArray[np.float64], weight: float
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Weight and bias at each of `UNLABELLED_SHRINKAGES`, at no temperature. guessed: (m, labels)."""
        count = guessed.shape[1]
        sizes = np.bincount(classes, minlength=count) + weight * guessed.sum(axis=0)
        sums = weight * (guessed.T @ self._more)
        np.add.at(sums, classes, rows)
        means = sums / np.maximum(sizes, 1e-9)[:, None]
        whole = rows.T @ rows + weight * self._squares
        covariance = (whole - (means * sizes[:, None]).T @ means) / sizes.sum()
        level = max(float(np.trace(covariance)) / len(covariance), LEAST_VARIANCE)
        found = []
        for shrinkage in UNLABELLED_SHRINKAGES:
            shrunk = (1 - shrinkage) * covariance
            shrunk[np.diag_indices_from(shrunk)] += shrinkage * level
            matrix = np.linalg.solve(shrunk, means.T).T
            found.append((matrix, -0.5 * (matrix * means).sum(axis=1)))
        return found


def with_unlabelled(
    head: FewShot,
    data: NDArray[np.float32],
    classes: Classes,
    names: NDArray[np.float32],
    more: NDArray[np.float32],
    *,
    seed: int = 0,
) -> FewShot:
    """The head that learns from unlabelled texts too, or `head` itself where cross-validation prefers it.

    more: (m, d), standardised like `data`. See `fit` for the others.
    """
    count = len(names)
    rows, texts = data.astype(np.float64), more.astype(np.float64)
    mixture = _Mixture(texts)
    fold, _ = _folds(classes, count, seed)
    weights = [min(share * len(rows) / max(len(more), 1), 1.0) for share in UNLABELLED_SHARES]
    cells = [(weight, place) for weight in weights for place in range(len(UNLABELLED_SHRINKAGES))]
    held = np.zeros((len(cells), len(rows), count), np.float32)
    for number in range(FOLDS):
        out = fold == number
        if not out.any() or out.all():
            continue
        first = fit(data[~out], classes[~out], names, seed=seed)
        guessed = softmax(texts @ first.weight.T + first.bias)
        for at, weight in enumerate(weights):
            for place, (matrix, bias) in enumerate(mixture.step(rows[~out], classes[~out], guessed, weight)):
                held[at * len(UNLABELLED_SHRINKAGES) + place, out] = rows[out] @ matrix.T + bias
    heats = [temperature(logits, classes) for logits in held]
    losses = [log_loss(logits / heat, classes) for logits, heat in zip(held, heats, strict=True)]
    best = int(np.argmin(losses))
    if losses[best] >= head.loss:
        return head
    weight, place = cells[best]
    guessed = softmax(texts @ head.weight.T + head.bias)
    matrix, bias = mixture.step(rows, classes, guessed, weight)[place]
    return FewShot(
        (matrix / heats[best]).astype(np.float32),
        (bias / heats[best]).astype(np.float32),
        UNLABELLED_SHRINKAGES[place],
        head.name_weight,
        0.0,
        losses[best],
        held[best] / np.float32(heats[best]),
        np.arange(len(rows)),
        fold,
        weight,
    )
