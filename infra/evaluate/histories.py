"""Histories of items as matrices: who took what, what follows what, and which texts are near each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from infra.evaluate.rows import read_jsonl

BATCH = 512
NEIGHBOURS = 20


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
