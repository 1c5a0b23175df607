"""Histories of items out of the data pack's files: who took what, in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra.evaluate.rows import read_jsonl


@dataclass(frozen=True)
class Histories:
    """Item numbers of each user in order of time; at least three a user."""

    users: list[np.ndarray]
    item_ids: list[str]

    @property
    def items(self) -> int:
        return len(self.item_ids)

    def shuffled(self, generator: np.random.Generator) -> Histories:
        """The same, each in an order of chance."""
        return Histories([generator.permutation(user) for user in self.users], self.item_ids)

    def cut(self, last: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Histories without the last `last` items, and the item that follows each."""
        return [user[:-last] for user in self.users], np.array([user[-last] for user in self.users])


def read_histories(items: Path, events: Path) -> tuple[Histories, list[str]]:
    """Histories and each item's text (title and categories)."""
    numbers: dict[str, int] = {}
    texts: list[str] = []
    for row in read_jsonl(items):
        if str(row["item_id"]) not in numbers:
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
    return Histories(users, list(numbers)), texts


def _text(row: dict[str, Any]) -> str:
    categories = " ".join(str(name) for name in (row.get("categories") or [])[-2:])
    return f"{row.get('title') or ''} {categories}".strip() or str(row["item_id"])
