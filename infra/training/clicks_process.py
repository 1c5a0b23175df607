"""Who will like what, as a Gaussian process: an effect of the item, one of the person, and one of the person's taste
that runs along kernels between items (Yu, Lafferty, Zhu & Gong 2009, "Large-scale collaborative prediction using a
nonparametric random effects model").

``label = mean + item effect + person effect + taste(person, item) + noise``. Item effects are one process over all
items, tastes one process for each person; both are exact. There is nothing random in fitting it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from infra.training.clicks_kernels import Kernel

ROUNDS = 4  # of fitting items' and persons' effects in turns
MOST_LIKED = 40  # items, the latest
JITTER = (4e-5, 4e-4, 4e-3, 4e-2, 0.4)  # of the labels' variance, for what is rounded to float32


@dataclass(frozen=True)
class Setting:
    """Variances. item, taste: weights of the kernels. item_noise, noise: of a label, for items' effects and for tastes.
    person: rows that a person's effect is shrunk by. liked_noise, liked_excess: of items that a person is known to have
    liked while nobody knows what they disliked: such rows count little, and less than a like of their own worth, for
    only likes are heard of.
    """

    item: Mapping[str, float]
    taste: Mapping[str, float]
    item_noise: float
    noise: float
    person: float
    liked_noise: float = 2.0
    liked_excess: float = 0.35


@dataclass(frozen=True)
class _Known:
    """Of one person: their rows' items, each one's weight, both (rows,), and the inverse covariance (rows, rows)."""

    items: NDArray[np.int64]
    weight: NDArray[np.float64]
    inverse: NDArray[np.float64]


@dataclass(frozen=True)
class Process:
    """Fitted effects. effect: mean and effect of each item, (items,). taste: kernel of tastes, (items, items)."""

    effect: NDArray[np.float64]
    taste: Kernel
    setting: Setting
    known: Mapping[int, _Known]

    def predict(
        self,
        person: NDArray[np.int64],
        item: NDArray[np.int64],
        liked: Sequence[NDArray[np.int64]] | None = None,
    ) -> NDArray[np.float64]:
        """Expected labels (n,). liked: of each row the items that the person is known to have liked before it, oldest
        first; those among the fitted rows are in it already and change nothing."""
        label = self.effect[item].copy()
        for who, rows in by_person(person).items():
            known = self.known.get(who)
            if known is not None:
                label[rows] += self._across(item[rows], known.items) @ known.weight
            if liked is None:
                continue
            for some, new in _alike(rows, liked, () if known is None else known.items):
                label[some] += self._moved(item[some], new, known)
        return label

    def _moved(self, item: NDArray[np.int64], new: NDArray[np.int64], known: _Known | None) -> NDArray[np.float64]:
        """How far likes of `new` items move the labels expected of others, (n,): the posterior by blocks."""
        setting = self.setting
        found = 1 - self.effect[new] - setting.liked_excess
        within, across = self._across(new, new), self._across(item, new)
        if known is not None:
            between = self._across(known.items, new)
            solved = known.inverse @ between
            found = found - between.T @ known.weight
            within = within - between.T @ solved
            across = across - self._across(item, known.items) @ solved
        return np.asarray(across @ np.linalg.solve(within + setting.liked_noise * np.eye(len(new)), found))

    def _across(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.taste[np.ix_(one, other)].astype(np.float64)


def _alike(
    rows: NDArray[np.int64], liked: Sequence[NDArray[np.int64]], known: Iterable[int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of one person with the same new likes, and these, at most `MOST_LIKED`, the latest."""
    seen = set(known)
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in rows.tolist():
        new = tuple(one for one in liked[row].tolist() if one not in seen)[-MOST_LIKED:]
        if new:
            groups.setdefault(new, []).append(row)
    for likes, members in groups.items():
        yield np.array(members, np.int64), np.array(likes, np.int64)


def fit(
    person: NDArray[np.int64],
    item: NDArray[np.int64],
    label: NDArray[np.float64],
    kernels: Mapping[str, Kernel],
    setting: Setting,
) -> Process:
    """Fits on rows, all (n,). kernels: (items, items)."""
    effect, _ = effects(person, item, label, kernels, setting)
    taste = _weighed(kernels, setting.taste)
    known: dict[int, _Known] = {}
    for who, rows in by_person(person).items():
        items = item[rows]
        covariance = taste[np.ix_(items, items)].astype(np.float64) + setting.noise * np.eye(len(items))
        inverse = np.linalg.inv(covariance).astype(np.float64)
        known[who] = _Known(items, inverse @ (label[rows] - effect[items]), inverse)
    return Process(effect, taste, setting, known)


def effects(
    person: NDArray[np.int64],
    item: NDArray[np.int64],
    label: NDArray[np.float64],
    kernels: Mapping[str, Kernel],
    setting: Setting,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and effect of every item, (items,), a process over the items' mean labels less the effects of who gave them;
    and the effect of every person, (people,)."""
    items = len(next(iter(kernels.values())))
    count = np.bincount(item, minlength=items)
    rated = np.flatnonzero(count)
    across = _weighed({name: kernels[name][:, rated] for name in setting.item}, setting.item)
    covariance = across[rated].astype(np.float64) + np.diag(setting.item_noise / count[rated])
    factor = factored(covariance, float(label.var())), True
    mean, people = label.mean(), int(person.max()) + 1
    rows, own = np.bincount(person, minlength=people), np.zeros(people)
    effect = np.full(items, mean)
    for _ in range(ROUNDS):
        rest = np.bincount(item, label - mean - own[person], minlength=items)[rated] / count[rated]
        effect = mean + across @ cho_solve(factor, rest)
        own = np.bincount(person, label - effect[item], minlength=people) / (rows + setting.person)
    return effect, own


def factored(covariance: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """The lower Cholesky factor of a covariance of labels of that variance, a little of which is added to each: as
    much as makes it positive definite again where rounding has made it none. It is changed.

    Raises:
        numpy.linalg.LinAlgError: no share of `JITTER` is enough.
    """
    added = 0.0
    for share in JITTER:
        covariance[np.diag_indices_from(covariance)] += share * spread - added
        added = share * spread
        try:
            return np.asarray(cholesky(covariance, lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("a covariance of labels is not positive definite")


def _weighed(kernels: Mapping[str, Kernel], weights: Mapping[str, float]) -> Kernel:
    total = np.zeros_like(next(iter(kernels.values())))
    for name, weight in weights.items():
        total += np.float32(weight) * kernels[name]
    return total


def by_person(person: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Of each person the places of their rows, in the rows' order."""
    order = np.argsort(person, kind="stable")
    bounds = np.flatnonzero(np.diff(person[order])) + 1
    return {int(person[rows[0]]): rows for rows in np.split(order, bounds) if len(rows)}
