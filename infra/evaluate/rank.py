"""Next-item ranking on purchase or view histories: ``python -m infra.evaluate rank --items F --events F``.

The last item of a user is the test, the one before it validation; every item is ranked. Settings are found on
validation, never on the test. What is ranked first is a blend of item transitions (Markov, weighted by distance),
transitions smoothed through text neighbours, and content (the decayed mean of the history's vectors, which is what the
serving ranker's similarity is made of).

Baselines: popularity; co_occurrence (plain, with the last item); transitions (distance-weighted, tuned on validation);
content alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from infra.evaluate.histories import BATCH, histories_matrix, read_histories, text_neighbours, transitions

TUNING_USERS = 4000
REPEAT_LIMIT = 0.01  # below this share of repeats in validation, seen items are excluded

Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Ranked:
    recall: float
    ndcg: float
    coverage: float

    def rounded(self) -> dict[str, float]:
        return {"recall": round(self.recall, 4), "ndcg": round(self.ndcg, 4)}


def measure(
    scores: Iterator[np.ndarray],
    histories: list[np.ndarray],
    targets: np.ndarray,
    k: int,
    exclude_seen: bool,
    items: int,
) -> Ranked:
    """Recall@k, NDCG@k and the share of items ever shown. scores: (batch, items) by batches of `BATCH` users."""
    hits = gain = 0.0
    shown = np.zeros(items, dtype=bool)
    start = 0
    for block in scores:
        if exclude_seen:
            for row in range(len(block)):
                block[row, histories[start + row]] = -np.inf
        top = np.argpartition(-block, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(block, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        found = top == targets[start : start + len(block), None]
        hits += found.any(axis=1).sum()
        gain += (found / np.log2(np.arange(2, k + 2))).sum()
        shown[top.ravel()] = True
        start += len(block)
    return Ranked(hits / start, gain / start, float(shown.mean()))


def _batches(matrix: sp.csr_matrix) -> Iterator[tuple[int, sp.csr_matrix]]:
    for start in range(0, matrix.shape[0], BATCH):
        yield start, matrix[start : start + BATCH]


def _standard(block: np.ndarray) -> np.ndarray:
    """Rows brought to one scale, so that kinds of score can be blended."""
    low = block.min(axis=1, keepdims=True)
    span = block.max(axis=1, keepdims=True) - low
    return np.asarray((block - low) / np.where(span > 0, span, 1), dtype=np.float32)


class Model:
    """Transitions, smoothed transitions and content, fitted on the given histories."""

    def __init__(self, histories: list[np.ndarray], items: int, vectors: np.ndarray, neighbours: sp.csr_matrix) -> None:
        self.histories = histories
        self.items = items
        self.vectors = vectors
        self.neighbours = neighbours
        self.counts = np.bincount(np.concatenate(histories), minlength=items).astype(np.float32)
        self._transitions: dict[tuple[float, float], sp.csr_matrix] = {}

    def moves(self, power: float, backward: float) -> sp.csr_matrix:
        if (power, backward) not in self._transitions:
            self._transitions[power, backward] = transitions(self.histories, self.items, power, backward)
        return self._transitions[power, backward]

    def popularity(self, users: list[np.ndarray]) -> Iterator[np.ndarray]:
        for start in range(0, len(users), BATCH):
            yield np.tile(self.counts, (len(users[start : start + BATCH]), 1))

    def co_occurrence(self, users: list[np.ndarray]) -> Iterator[np.ndarray]:
        """How many users have both the item and the person's last one."""
        pairs = histories_matrix(self.histories, self.items, 1.0, length=10**6)
        pairs.data[:] = 1
        last = histories_matrix([user[-1:] for user in users], self.items, 1.0)
        for _, block in _batches(last):
            yield np.asarray(((block @ pairs.T) @ pairs).todense(), dtype=np.float32)

    def transition_scores(self, users: list[np.ndarray], setting: Setting) -> Iterator[np.ndarray]:
        matrix = self.moves(setting.power, setting.backward)
        damping = np.power(np.maximum(self.counts, 1), setting.damping)
        for _, block in _batches(histories_matrix(users, self.items, setting.decay, damping)):
            yield np.asarray((block @ matrix).todense(), dtype=np.float32)

    def content_scores(self, users: list[np.ndarray], decay: float) -> Iterator[np.ndarray]:
        for _, block in _batches(histories_matrix(users, self.items, decay)):
            query = block @ self.vectors
            query /= np.maximum(np.linalg.norm(query, axis=1, keepdims=True), 1e-9)
            yield np.asarray(query @ self.vectors.T, dtype=np.float32)

    def blend(self, users: list[np.ndarray], setting: Setting, weights: Weights) -> Iterator[np.ndarray]:
        matrix = self.moves(setting.power, setting.backward)
        damping = np.power(np.maximum(self.counts, 1), setting.damping)
        popular = np.log1p(self.counts) / np.log1p(self.counts.max())
        content = self.content_scores(users, weights.content_decay)
        for _, block in _batches(histories_matrix(users, self.items, setting.decay, damping)):
            direct = block @ matrix
            smooth = ((block @ self.neighbours) @ matrix) @ self.neighbours if weights.smooth else None
            score = _standard(np.asarray(direct.todense()))
            if smooth is not None:
                score += weights.smooth * _standard(np.asarray(smooth.todense()))
            yield score + weights.content * _standard(next(content)) + weights.popular * popular


@dataclass(frozen=True)
class Setting:
    power: float = 0.7
    backward: float = 0.25
    decay: float = 0.7
    damping: float = 0.4


@dataclass(frozen=True)
class Weights:
    smooth: float = 0.5
    content: float = 0.5
    popular: float = 0.02
    content_decay: float = 0.8


def tune(
    model: Model, users: list[np.ndarray], targets: np.ndarray, k: int, exclude_seen: bool, deadline: float
) -> tuple[Setting, Weights, float]:
    """Settings by coordinate search on validation NDCG, for transitions alone and then for the blend."""

    def value(scores: Iterator[np.ndarray]) -> float:
        return measure(scores, users, targets, k, exclude_seen, model.items).ndcg

    setting = Setting()
    choices: dict[str, tuple[float, ...]] = {
        "backward": (0.1, 0.25, 0.5, 1.0),
        "decay": (0.5, 0.6, 0.7, 0.85, 0.97),
        "damping": (0.0, 0.2, 0.4, 0.6),
        "power": (0.4, 0.7, 1.0),
    }
    half = (time.monotonic() + deadline) / 2  # the other half is for the blend
    setting, _ = _search(setting, choices, lambda one: value(model.transition_scores(users, one)), half)
    decays = {decay: value(model.content_scores(users, decay)) for decay in (0.6, 0.8, 0.95)}
    content_decay = max(decays, key=lambda decay: decays[decay])
    weights, _ = _search(
        Weights(content_decay=content_decay),
        {
            "smooth": (0.0, 0.25, 0.5, 1.0, 2.0),
            "content": (0.0, 0.15, 0.3, 0.6, 1.0),
            "popular": (0.0, 0.02, 0.05, 0.1),
        },
        lambda one: value(model.blend(users, setting, one)),
        deadline,
    )
    return setting, weights, content_decay


def _search(start: Any, choices: dict[str, tuple[float, ...]], value: Callable[[Any], float], deadline: float) -> Any:
    """Coordinate search, round after round until nothing changes or the time is over."""
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


def run(
    items: Path, events: Path, encode: Encode, *, k: int = 10, seed: int = 0, budget_seconds: float | None = None
) -> dict[str, Any]:
    """Measures; see the module's docstring for what and against what."""
    began = time.monotonic()
    deadline = began + (budget_seconds or 600.0) * 0.7
    histories, texts = read_histories(items, events)
    vectors = encode(texts)
    vectors = vectors - vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    neighbours = text_neighbours(vectors)

    fitting, validation = histories.cut(2)
    repeats = float(np.mean([target in history for history, target in zip(fitting, validation, strict=True)]))
    exclude_seen = repeats < REPEAT_LIMIT
    generator = np.random.default_rng(seed)
    sample = generator.permutation(len(fitting))[:TUNING_USERS]
    setting, weights, content_decay = tune(
        Model(fitting, histories.items, vectors, neighbours),
        [fitting[place] for place in sample],
        validation[sample],
        k,
        exclude_seen,
        deadline,
    )

    training, targets = histories.cut(1)
    model = Model(training, histories.items, vectors, neighbours)

    def test(scores: Iterator[np.ndarray]) -> Ranked:
        return measure(scores, training, targets, k, exclude_seen, histories.items)

    ours = test(model.blend(training, setting, weights))
    return {
        **ours.rounded(),
        "coverage": round(ours.coverage, 4),
        "users": len(training),
        "k": k,
        "excluded_seen": exclude_seen,
        "validation_repeats": round(repeats, 4),
        "settings": setting.__dict__ | weights.__dict__,
        "seconds": round(time.monotonic() - began, 1),
        "baselines": {
            "popularity": test(model.popularity(training)).rounded(),
            "co_occurrence": test(model.co_occurrence(training)).rounded(),
            "transitions": test(model.transition_scores(training, setting)).rounded(),
            "content": test(model.content_scores(training, content_decay)).rounded(),
        },
    }
