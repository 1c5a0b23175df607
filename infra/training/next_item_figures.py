"""Recall and NDCG of a ranking of every item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

REPEAT_LIMIT = 0.01  # below this share of repeats in validation, seen items are excluded


@dataclass(frozen=True)
class Ranked:
    recall: float
    ndcg: float
    coverage: float

    @property
    def worth(self) -> float:
        """The mean of recall and NDCG: settings are chosen by it, since either alone gives the other away."""
        return (self.recall + self.ndcg) / 2

    def rounded(self) -> dict[str, float]:
        return {"recall": round(float(self.recall), 4), "ndcg": round(float(self.ndcg), 4)}


def measure(
    scores: Iterator[np.ndarray],
    histories: Sequence[np.ndarray],
    targets: np.ndarray,
    k: int,
    exclude_seen: bool,
    items: int,
) -> Ranked:
    """Recall@k, NDCG@k and the share of items ever shown. scores: (batch, items), batch by batch, changed in place."""
    hits = gain = 0.0
    shown = np.zeros(items, dtype=bool)
    start = 0
    k = min(k, items)
    for block in scores:
        if exclude_seen:
            forget(block, histories[start : start + len(block)])
        top = np.argpartition(-block, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(block, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        found = top == targets[start : start + len(block), None]
        hits += found.any(axis=1).sum()
        gain += (found / np.log2(np.arange(2, k + 2))).sum()
        shown[top.ravel()] = True
        start += len(block)
    return Ranked(float(hits / start), float(gain / start), float(shown.mean()))


def forget(block: np.ndarray, histories: Sequence[np.ndarray]) -> None:
    """Leaves the items of each history out of its row."""
    for row, history in enumerate(histories):
        block[row, history] = -np.inf


def repeats(histories: Sequence[np.ndarray], targets: np.ndarray) -> float:
    """Share of the targets that stand in their history already."""
    return float(np.mean([target in history for history, target in zip(histories, targets, strict=True)]))
