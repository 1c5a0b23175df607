"""Item transitions: what follows what in histories, the strongest simple signal there is where histories are sparse.

A pair of items counts 1 / distance^power, more forward than backward; a person's items count less the older and the
commoner they are; text neighbours may lend their transitions to each other. Everything is chosen by coordinate search
on validation, since data sets want opposite settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

BATCH = 512
NEIGHBOURS = 20
LENGTH = 50  # items of a history that are looked at, the latest
SMOOTHING = 0.3  # share that a smoothed item's neighbours have in it, as source and as target
KEPT = 300  # targets of a source in a smoothed table
CHOICES: dict[str, tuple[float, ...]] = {
    "backward": (0.1, 0.25, 0.5, 1.0),
    "decay": (0.5, 0.6, 0.7, 0.85, 0.97),
    "damping": (0.0, 0.2, 0.4, 0.6),
    "power": (0.4, 0.7, 1.0),
}


@dataclass(frozen=True)
class Setting:
    """power: of the distance. backward: weight of a pair the other way round. decay: per step of age in a history.
    damping: power of an item's count by which it is divided in a history."""

    power: float = 0.7
    backward: float = 0.25
    decay: float = 0.7
    damping: float = 0.4


def transitions(
    histories: Sequence[np.ndarray], items: int, power: float, backward: float, reach: int = 10
) -> sp.csr_matrix:
    """(items, items): how often j follows i within `reach` steps, each weighted by 1 / distance^power; pairs the other
    way round count `backward`."""
    rows, columns, values = [], [], []
    for distance in range(1, reach + 1):
        sources = [history[:-distance] for history in histories if len(history) > distance]
        targets = [history[distance:] for history in histories if len(history) > distance]
        if not sources:
            break
        source, target = np.concatenate(sources), np.concatenate(targets)
        weight = np.full(len(source), distance**-power, dtype=np.float32)
        rows += [source, target]
        columns += [target, source]
        values += [weight, backward * weight]
    if not rows:
        return sp.csr_matrix((items, items), dtype=np.float32)
    matrix = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(items, items),
        dtype=np.float32,
    ).tocsr()
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    return matrix


def histories_matrix(
    histories: Sequence[np.ndarray],
    items: int,
    decay: float,
    strength: np.ndarray | None = None,
    length: int = LENGTH,
) -> sp.csr_matrix:
    """(users, items): weight of each history item, ``decay^age``, times the item's `strength` where given."""
    lengths = np.array([min(len(history), length) for history in histories])
    rows = np.repeat(np.arange(len(histories)), lengths)
    recent = [history[-length:][::-1] for history in histories]
    columns = np.concatenate(recent)
    ages = np.concatenate([np.arange(len(history)) for history in recent])
    values = np.power(decay, ages).astype(np.float32)
    if strength is not None:
        values = values * strength[columns]
    return sp.coo_matrix((values, (rows, columns)), shape=(len(histories), items), dtype=np.float32).tocsr()


def text_neighbours(vectors: np.ndarray, count: int = NEIGHBOURS) -> sp.csr_matrix:
    """(items, items): the nearest texts of each item, weighted by the cube of their cosine; rows sum to 1."""
    items = len(vectors)
    count = min(count, items - 1)
    rows, columns, values = [], [], []
    for start in range(0, items, BATCH):
        block = vectors[start : start + BATCH] @ vectors.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -1
        near = np.argpartition(-block, count - 1, axis=1)[:, :count]
        rows.append(np.repeat(np.arange(start, start + len(block)), count))
        columns.append(near.ravel())
        values.append(np.clip(np.take_along_axis(block, near, axis=1), 0, None).ravel() ** 3)
    matrix = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(items, items),
        dtype=np.float32,
    ).tocsr()
    total = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-9).astype(np.float32)
    return sp.csr_matrix(sp.diags(1 / total) @ matrix)


def smoothed(matrix: sp.csr_matrix, neighbours: sp.csr_matrix, share: float = SMOOTHING) -> sp.csr_matrix:
    """Transitions in which an item's text neighbours have a `share`, as its sources and as its targets; the `KEPT`
    strongest targets of each source."""
    items = matrix.shape[0]
    lend = sp.csr_matrix(sp.identity(items, dtype=np.float32) * np.float32(1 - share) + neighbours * np.float32(share))
    kept = min(KEPT, items)
    rows, columns, values = [], [], []
    for start in range(0, items, BATCH):
        block = np.asarray((lend[start : start + BATCH] @ matrix @ lend).todense())
        block[np.arange(len(block)), np.arange(start, start + len(block))] = 0
        top = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
        rows.append(np.repeat(np.arange(start, start + len(block)), kept))
        columns.append(top.ravel())
        values.append(np.take_along_axis(block, top, axis=1).ravel())
    found = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(items, items),
        dtype=np.float32,
    ).tocsr()
    found.eliminate_zeros()
    return found


class Transitions:
    """Transitions of the given histories, (users, items) scores for any setting.

    counts: float32 (items,), how often each item was taken.
    """

    def __init__(self, histories: Sequence[np.ndarray], items: int) -> None:
        self.histories = histories
        self.items = items
        self.counts = np.bincount(np.concatenate(histories), minlength=items).astype(np.float32)
        self._tables: dict[tuple[float, float], sp.csr_matrix] = {}

    def table(self, setting: Setting) -> sp.csr_matrix:
        """(items, items)."""
        key = (setting.power, setting.backward)
        if key not in self._tables:
            self._tables[key] = transitions(self.histories, self.items, *key)
        return self._tables[key]

    def strength(self, setting: Setting) -> np.ndarray:
        """(items,): what an item in a history counts, apart from its age."""
        return np.asarray(np.maximum(self.counts, 1) ** -setting.damping, dtype=np.float32)

    def scores(
        self, users: Sequence[np.ndarray], setting: Setting, table: sp.csr_matrix | None = None
    ) -> Iterator[np.ndarray]:
        """float32 (batch, items), by batches of `BATCH` users; by another `table` where given."""
        matrix = self.table(setting) if table is None else table
        weights = histories_matrix(users, self.items, setting.decay, self.strength(setting))
        for start in range(0, len(users), BATCH):
            yield np.asarray((weights[start : start + BATCH] @ matrix).todense(), dtype=np.float32)


def search(start: Any, choices: dict[str, tuple[float, ...]], value: Callable[[Any], float], deadline: float) -> Any:
    """The best setting and its value by coordinate search, round after round until nothing changes or the time
    (`time.monotonic`) is over."""
    tried = {start: value(start)}
    best = start
    while True:
        before = best
        for name, options in choices.items():
            for option in options:
                candidate = replace(best, **{name: option})
                if candidate not in tried:
                    if time.monotonic() > deadline:
                        return best, tried[best]
                    tried[candidate] = value(candidate)
                if tried[candidate] > tried[best]:
                    best = candidate
        if best == before:
            return best, tried[best]
