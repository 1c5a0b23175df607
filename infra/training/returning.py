"""What people take again: how likely each item of a history is the next one once more.

What one took of late and often is taken again most (Anderson, Kumar, Tomkins and Vassilvitskii, 2014, "The dynamics of
repeat consumption"), but hardly at once where a basket holds a thing once: classes of age, and the log of the times,
are weighed by what validation's people took again, as a choice among all that they had (McFadden, 1974, "Conditional
logit analysis of qualitative choice behavior").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from shared.models.next_item import AGE_CLASSES, age_classes

PRIOR = 1.0  # deviation of a class's log-odds from its neighbours', before anything was seen
LEVEL = 30.0  # and from 0: only differences are told, so that something has to hold them


@dataclass(frozen=True)
class Had:
    """What each person of a batch had, once each: of the batch's `rows` the `items`, of the classes of age `ages`, and
    the log of the `times`, each (cells,)."""

    rows: np.ndarray
    items: np.ndarray
    ages: np.ndarray
    times: np.ndarray


def had(users: Sequence[np.ndarray]) -> Had:
    """users: item numbers, oldest first."""
    found = [_distinct(history) for history in users]
    rows = np.repeat(np.arange(len(users), dtype=np.int32), [len(items) for items, _ in found])
    ages = np.concatenate([age_classes(len(items)) for items, _ in found])
    items, times = (np.concatenate(part) for part in zip(*found, strict=True))
    return Had(rows, items.astype(np.int32), ages, np.log(times).astype(np.float32))


def joined(batches: Sequence[Had], size: int) -> Had:
    """Batches of so many people as one."""
    rows = np.concatenate([one.rows + size * place for place, one in enumerate(batches)])
    return Had(rows, *(np.concatenate([getattr(one, name) for one in batches]) for name in ("items", "ages", "times")))


def again(score: np.ndarray, held: Had, repeat: Sequence[float], often: float) -> None:
    """Moves what each person of the batch had by the `repeat` of its class of age, and by `often` for each log of its
    times. score: (batch, items), changed."""
    score[held.rows, held.items] += np.asarray(repeat, np.float32)[held.ages] + np.float32(often) * held.times


def learned(score: np.ndarray, held: Had, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """By how much likelier than an average one, had once, each class of age is what is taken again, (`AGE_CLASSES`,),
    and each log of the times, in log-odds.

    score: float (cells,), log-probabilities of what the people had, in the order of `held`. targets: what each took.
    Learned from those who took one of these things; all 0 where nobody did. Neighbouring classes are held together, so
    that few people tell little and a class that nobody reaches is like the one before it.
    """
    hit = held.items == targets[held.rows]
    told = np.zeros(len(targets), dtype=bool)
    told[held.rows[hit]] = True
    kept = told[held.rows]
    if not kept.any():
        return np.zeros(AGE_CLASSES), 0.0
    people = np.cumsum(told)[held.rows[kept]] - 1
    ages, times, hit = held.ages[kept], held.times[kept].astype(np.float64), hit[kept]
    scores = score[kept].astype(np.float64)

    def unlikely(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = scores + weights[ages] + weights[-1] * times
        logits -= np.maximum.reduceat(logits, np.flatnonzero(np.diff(people, prepend=-1)))[people]
        total = np.bincount(people, np.exp(logits))[people]
        logs = logits - np.log(total)
        over = np.exp(logs) - hit
        moved = np.append(np.bincount(ages, over, minlength=AGE_CLASSES), over @ times)
        return float(-logs[hit].sum() + weights @ held_by @ weights / 2), moved + held_by @ weights

    steps = np.diff(np.eye(AGE_CLASSES, AGE_CLASSES + 1), axis=0)
    held_by = steps.T @ steps / PRIOR**2 + np.diag([*[LEVEL**-2] * AGE_CLASSES, PRIOR**-2])
    found = minimize(unlikely, np.zeros(AGE_CLASSES + 1), jac=True, method="L-BFGS-B", options={"ftol": 1e-12}).x
    lift, often = found[:-1], float(found[-1])
    counts = np.bincount(ages, minlength=AGE_CLASSES)
    return np.asarray(lift - np.average(lift, weights=counts)), often


def _distinct(history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items of a history, each once, the latest first, and how often each stands there."""
    items, first, times = np.unique(history[::-1], return_index=True, return_counts=True)
    order = np.argsort(first)
    return items[order], times[order]
