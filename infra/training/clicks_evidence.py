"""How much each likeness of items counts, found by the evidence (Rasmussen and Williams 2006, "Gaussian Processes for
Machine Learning", section 5.4.1): the weights of kernels and the noise under which labels are likeliest, of items'
effects given people's levels, and of people's tastes given items' effects, in turns. No row is held out for it. An
effect that is taken as known is the estimate of the same rows, so that of rarely seen items the noise comes out low.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotri
from scipy.optimize import OptimizeResult, minimize

from infra.training.clicks_kernels import Kernel
from infra.training.clicks_process import Setting, by_person, effects, factored

ROUNDS = 2  # of items and people in turns
STEPS = 15  # of each climb: more move weights between kernels that are much alike
MOST_ITEMS = 4000  # those with the most rows: a step takes their number cubed
MOST_ROWS = 400  # of a person, the last ones
MOST_CELLS = 20_000_000  # of people's covariances together; where there are more, people are evenly left out
OF_ITEMS, OF_TASTES, OF_NOISE = 0.1, 0.5, 0.7  # of the labels' variance, where a climb begins
# Of the labels' variance: bounds of a kernel's weight and of the noise.
LEAST, MOST, LEAST_NOISE = 4e-6, 16.0, 4e-3

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels that vary together: kernels (k, n, n), how much of the noise each label has (n,), and the labels (n,)."""

    kernels: Kernel
    noise: Values
    value: Values


def even(item: Sequence[str], taste: Sequence[str], label: Values) -> Setting:
    """Kernels of those names, each worth as much as any other, for labels (n,) of 0 and 1."""
    spread = float(np.var(label))
    one, noise = OF_TASTES * spread / len(taste), OF_NOISE * spread
    return Setting(
        item=dict.fromkeys(item, OF_ITEMS * spread / len(item)),
        taste=dict.fromkeys(taste, one),
        item_noise=spread,
        noise=noise,
        person=noise / one,
    )


def learn(
    person: NDArray[np.int64],
    item: NDArray[np.int64],
    label: Values,
    kernels: Mapping[str, Kernel],
    start: Setting,
    *,
    rounds: int = ROUNDS,
    deadline: float = math.inf,
) -> Setting:
    """The weights of `start` moved to where the labels are likeliest. Rows (n,) in order of time; kernels: (items,
    items). deadline: in seconds of `time.monotonic`, after which it ends where it is.
    """
    setting, spread = start, float(np.var(label))
    count = np.bincount(item, minlength=len(next(iter(kernels.values()))))
    often = np.sort(np.argsort(-count, kind="stable")[: min(MOST_ITEMS, int((count > 0).sum()))])
    shared = _among(often, kernels, start.item)
    people = _heard(list(by_person(person).values()))
    tastes = [_among(item[rows], kernels, start.taste) for rows in people]
    for _ in range(rounds):
        _, own = effects(person, item, label, kernels, setting)
        rest = np.bincount(item, label - label.mean() - own[person], minlength=len(count))[often] / count[often]
        weights, noise = _climb(
            [Labels(shared, 1 / count[often], rest)], setting.item, setting.item_noise, spread, deadline
        )
        setting = replace(setting, item=weights, item_noise=noise)
        effect, _ = effects(person, item, label, kernels, setting)
        rest = label - effect[item]
        parts = [Labels(one, np.ones(len(rows)), rest[rows]) for rows, one in zip(people, tastes, strict=True)]
        weights, noise = _climb(parts, setting.taste, setting.noise, spread, deadline)
        # The kernel of ones is what a person thinks of everything.
        level = noise / weights["one"] if "one" in weights else setting.person
        setting = replace(setting, taste=weights, noise=noise, person=level)
        if time.monotonic() >= deadline:
            break
    return setting


def _among(items: NDArray[np.int64], kernels: Mapping[str, Kernel], names: Iterable[str]) -> Kernel:
    """The kernels of those names between some items, (names, n, n)."""
    return np.stack([kernels[name][np.ix_(items, items)] for name in names])


def _heard(people: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """The last rows of each, of as many people as there is room for."""
    last = [rows[-MOST_ROWS:] for rows in people]
    return last[:: max(1, math.ceil(sum(len(rows) ** 2 for rows in last) / MOST_CELLS))]


def _climb(
    parts: Sequence[Labels], start: Mapping[str, float], noise: float, spread: float, deadline: float
) -> tuple[dict[str, float], float]:
    """The weights of the kernels, and the noise, under which the labels of all parts are likeliest: uphill on the log
    likelihood, by the logarithms of the weights. spread: variance of the labels."""

    def in_time(intermediate_result: OptimizeResult) -> None:
        if time.monotonic() >= deadline:
            raise StopIteration

    found = minimize(
        unlikely,
        np.log([*start.values(), noise]),
        args=(parts, spread),
        jac=True,
        method="L-BFGS-B",
        bounds=[(math.log(least * spread), math.log(MOST * spread)) for least in (*[LEAST] * len(start), LEAST_NOISE)],
        callback=in_time,
        options={"maxiter": STEPS},
    )
    *weights, noise = (float(value) for value in np.exp(found.x))
    return dict(zip(start, weights, strict=True)), noise


def unlikely(logs: Values, parts: Sequence[Labels], spread: float) -> tuple[float, Values]:
    """The negative log likelihood of the labels, less what does not depend on the weights, and its slope. logs: the
    logarithms of the kernels' weights and, last, of the noise, (k + 1,). spread: variance of the labels."""
    *weights, noise = np.exp(logs)
    total, slope = 0.0, np.zeros(len(logs))
    for part in parts:
        covariance = np.tensordot(np.array(weights, part.kernels.dtype), part.kernels, 1).astype(np.float64)
        covariance[np.diag_indices_from(covariance)] += noise * part.noise
        # Finite at every point: a climb does not come back from one that is not.
        factor = factored(covariance, spread)
        inverse = np.tril(dpotri(factor, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        solved = inverse @ part.value
        total += float(part.value @ solved) / 2 + float(np.log(np.diag(factor)).sum())
        inverse -= np.outer(solved, solved)
        slope[:-1] += part.kernels.reshape(len(weights), -1) @ inverse.astype(part.kernels.dtype).ravel() / 2
        slope[-1] += float(np.diag(inverse) @ part.noise) / 2
    return total, slope * np.exp(logs)
