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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from infra.evaluate.rows import read_jsonl

BATCH = 512
NEIGHBOURS = 20
TUNING_USERS = 4000
REPEAT_LIMIT = 0.01  # below this share of repeats in validation, seen items are excluded

Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Histories:
    """Item numbers of each user in order of time; at least three a user."""

    users: list[np.ndarray]
    items: int

    def cut(self, last: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Histories without the last `last` items, and the item that follows each."""
        return [user[:-last] for user in self.users], np.array([user[-last] for user in self.users])


def read_histories(items: Path, events: Path) -> tuple[Histories, list[str]]:
    """Histories and each item's text (title and categories)."""
    numbers: dict[str, int] = {}
    texts: list[str] = []
    for row in read_jsonl(items):
        numbers[str(row["item_id"])] = len(texts)
        texts.append(_text(row))
    rows: dict[str, list[tuple[float, int, int]]] = {}
    for order, row in enumerate(read_jsonl(events)):
        item = numbers.get(str(row["item_id"]))
        if item is None:
            continue
        at = float(row.get("position", row.get("timestamp", order)))
        rows.setdefault(str(row["user_id"]), []).append((at, order, item))
    users = [np.array([item for _, _, item in sorted(history)]) for history in rows.values() if len(history) >= 3]
    if not users:
        raise ValueError("no user has three events: nothing to hold out")
    return Histories(users, len(texts)), texts


def _text(row: dict[str, Any]) -> str:
    categories = " ".join(str(name) for name in (row.get("categories") or [])[-2:])
    return f"{row.get('title') or ''} {categories}".strip() or str(row["item_id"])


def transitions(
    histories: list[np.ndarray], items: int, power: float, backward: float, reach: int = 10
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
    matrix = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(items, items),
        dtype=np.float32,
    ).tocsr()
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    return matrix


def histories_matrix(
    histories: list[np.ndarray], items: int, decay: float, damping: np.ndarray | None = None, length: int = 50
) -> sp.csr_matrix:
    """(users, items): weight of each history item, ``decay^age``, over `damping` of the item where given."""
    lengths = np.array([min(len(history), length) for history in histories])
    rows = np.repeat(np.arange(len(histories)), lengths)
    recent = [history[-length:][::-1] for history in histories]
    columns = np.concatenate(recent)
    ages = np.concatenate([np.arange(len(history)) for history in recent])
    values = np.power(decay, ages).astype(np.float32)
    if damping is not None:
        values = values / damping[columns]
    return sp.coo_matrix((values, (rows, columns)), shape=(len(histories), items), dtype=np.float32).tocsr()


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


def text_neighbours(vectors: np.ndarray, count: int = NEIGHBOURS) -> sp.csr_matrix:
    """(items, items): each item itself (1) and its nearest texts, weighted by centred cosine; rows sum to 1."""
    items = len(vectors)
    count = min(count, items - 1)
    rows, columns, values = [], [], []
    for start in range(0, items, BATCH):
        block = vectors[start : start + BATCH] @ vectors.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -1
        near = np.argpartition(-block, count, axis=1)[:, :count] if count < items else np.argsort(-block, axis=1)
        rows.append(np.repeat(np.arange(start, start + len(block)), near.shape[1]))
        columns.append(near.ravel())
        values.append(np.clip(np.take_along_axis(block, near, axis=1), 0, None).ravel() ** 3)
    matrix = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(items, items),
        dtype=np.float32,
    ).tocsr()
    matrix = sp.diags(1 / np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-9)) @ matrix
    return sp.csr_matrix((sp.identity(items, dtype=np.float32) + matrix) * np.float32(0.5))


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
    setting, _ = _search(setting, choices, lambda one: value(model.transition_scores(users, one)), deadline)
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
    best, score = start, value(start)
    for name, options in choices.items():
        for option in options:
            if time.monotonic() > deadline:
                return best, score
            if option == getattr(best, name):
                continue
            candidate = type(best)(**{**best.__dict__, name: option})
            reached = value(candidate)
            if reached > score:
                best, score = candidate, reached
    return best, score


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
