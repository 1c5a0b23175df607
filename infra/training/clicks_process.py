"""Who will like what, as a Gaussian process: an effect of the item, one of the person, and one of the person's taste
that runs along kernels between items (Yu, Lafferty, Zhu & Gong 2009, "Large-scale collaborative prediction using a
nonparametric random effects model").

``label = mean + item effect + person effect + taste(person, item) + noise``. Item effects are one process over all
items, tastes one process for each person; both are exact. There is nothing random in fitting it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from infra.training.clicks_kernels import Kernel

ROUNDS = 4  # of fitting items' and persons' effects in turns


@dataclass(frozen=True)
class Setting:
    """Variances. item, taste: weights of the kernels. item_noise, noise: of a label, for items' effects and for tastes.
    person: rows that a person's effect is shrunk by."""

    item: Mapping[str, float]
    taste: Mapping[str, float]
    item_noise: float
    noise: float
    person: float


@dataclass
class Process:
    """Fitted effects. effect: mean and effect of each item, (items,). taste: kernel of tastes, (items, items).
    known: by person their items and the weight of each, both (rows,), and the inverse covariance (rows, rows)."""

    effect: NDArray[np.float64]
    taste: Kernel
    prior: NDArray[np.float64]
    known: dict[int, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)

    def predict(
        self, person: NDArray[np.int64], item: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected label and the share of the taste's variance that is left, both (n,)."""
        label, left = self.effect[item].copy(), np.ones(len(item))
        for who, rows in _by_person(person).items():
            if who in self.known:
                items, weight, inverse = self.known[who]
                across = self.taste[np.ix_(item[rows], items)].astype(np.float64)
                label[rows] += across @ weight
                left[rows] = 1 - np.einsum("ij,jk,ik->i", across, inverse, across) / self.prior[item[rows]]
        return label, left


def fit(
    person: NDArray[np.int64],
    item: NDArray[np.int64],
    label: NDArray[np.float64],
    kernels: Mapping[str, Kernel],
    setting: Setting,
) -> Process:
    """Fits on rows, all (n,). kernels: (items, items)."""
    effect = _effects(person, item, label, kernels, setting)
    taste = _weighed(kernels, setting.taste)
    known: dict[int, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = {}
    for who, rows in _by_person(person).items():
        items = item[rows]
        covariance = taste[np.ix_(items, items)].astype(np.float64) + setting.noise * np.eye(len(items))
        inverse = np.linalg.inv(covariance).astype(np.float64)
        known[who] = (items, inverse @ (label[rows] - effect[items]), inverse)
    return Process(effect, taste, taste.diagonal().astype(np.float64), known)


def _effects(
    person: NDArray[np.int64],
    item: NDArray[np.int64],
    label: NDArray[np.float64],
    kernels: Mapping[str, Kernel],
    setting: Setting,
) -> NDArray[np.float64]:
    """Mean and effect of every item: a process over the items' mean labels, less the effects of who gave them."""
    items = len(next(iter(kernels.values())))
    count = np.bincount(item, minlength=items)
    rated = np.flatnonzero(count)
    across = _weighed({name: kernels[name][:, rated] for name in setting.item}, setting.item)
    covariance = across[rated].astype(np.float64) + np.diag(setting.item_noise / count[rated])
    factor = cho_factor(covariance)
    mean, people = label.mean(), int(person.max()) + 1
    rows, own = np.bincount(person, minlength=people), np.zeros(people)
    effect = np.full(items, mean)
    for _ in range(ROUNDS):
        rest = np.bincount(item, label - mean - own[person], minlength=items)[rated] / count[rated]
        effect = mean + across @ cho_solve(factor, rest)
        own = np.bincount(person, label - effect[item], minlength=people) / (rows + setting.person)
    return np.asarray(effect)


def _weighed(kernels: Mapping[str, Kernel], weights: Mapping[str, float]) -> Kernel:
    total = np.zeros_like(next(iter(kernels.values())))
    for name, weight in weights.items():
        total += np.float32(weight) * kernels[name]
    return total


def _by_person(person: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(person, kind="stable")
    bounds = np.flatnonzero(np.diff(person[order])) + 1
    return {int(person[rows[0]]): rows for rows in np.split(order, bounds) if len(rows)}
