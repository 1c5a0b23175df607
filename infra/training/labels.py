"""Rows of a labels file, ready to train on: cleaned as in serving, without empty ones, and split by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.evaluate.rows import read_jsonl
from shared.preprocess import clean_text

DEV_SHARE = 0.1  # of the rows, held out where no development file is given


@dataclass(frozen=True)
class Rows:
    """Texts and their labels, of one length."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.texts + other.texts, self.labels + other.labels)

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Rows:
        """The rows at `places`."""
        return Rows([self.texts[place] for place in places], [self.labels[place] for place in places])

    def classes(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Each row's place in `names`, -1 where its label is none of them."""
        place = {name: index for index, name in enumerate(names)}
        return np.array([place.get(label, -1) for label in self.labels], np.int64)


def read_labels(path: Path) -> Rows:
    """The rows of a JSON Lines file (``{"text", "label"}``, gzipped or not) whose cleaned text is not empty.

    Raises:
        ValueError: a row lacks text or label, or nothing is left; the message names the file and the line.
    """
    texts, labels = [], []
    for number, row in enumerate(read_jsonl(path), start=1):
        text, label = row.get("text"), row.get("label")
        if not isinstance(text, str) or not isinstance(label, str | int) or label == "":
            raise ValueError(f"{path.name}, row {number}: needs text and label")
        if cleaned := clean_text(text):
            texts.append(cleaned)
            labels.append(str(label))
    if not texts:
        raise ValueError(f"{path.name}: no rows")
    return Rows(texts, labels)


def split(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Training and development rows, `share` of each label to the second; a label always keeps one row in the first.

    Equal texts stay on one side: a text that stands in both would make the development figures too good.
    """
    generator = np.random.default_rng(seed)
    kept = Counter(rows.labels)
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(rows.texts):
        groups.setdefault(text, []).append(place)
    first = [group[0] for group in groups.values()]
    wanted = {label: round(share * count) for label, count in kept.items()}
    held: list[int] = []
    for place in generator.permutation(np.array(first)).tolist():
        group = groups[rows.texts[place]]
        label = rows.labels[place]
        if wanted[label] >= len(group) and kept[label] > len(group):
            wanted[label] -= len(group)
            kept[label] -= len(group)
            held += group
    if not held:
        raise ValueError("too few rows a label to hold any out: give --dev")
    out = set(held)
    return rows.take([place for place in range(len(rows)) if place not in out]), rows.take(sorted(held))
