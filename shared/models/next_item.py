"""What a person turns to next: a sequence model and item transitions, learned from histories, served without torch.

An item's representation is its text vector projected, plus an embedding of its id where the item was in the training;
an item that was not is placed by its text alone (cold start). The history, read by a causal transformer (Kang and
McAuley, 2018, "Self-attentive sequential recommendation"), gives one distribution over the catalogue, whose logits are
scaled cosines of representations and, where it helps, of the texts as they are, and of what a linear model says of what
people have together (Steck, 2019, "Embarrassingly shallow autoencoders for sparse data"); damped, distance-weighted
item transitions, lent between neighbours in text, give another. Their weighted product (Hinton, 2002, "Training
products of experts") is the prediction, in which what the person had before is moved by how many other things came
since, and by how often they had it.

Trained and written by ``infra/training/next_item.py``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import ArtifactError
from shared.models.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime

SETTINGS, ARRAYS, ITEMS = "next_item.json", "next_item.npz", "items.json"
GRAPH = "sequence-{}.onnx"
FORMAT = 4
BOUND = 4.0  # of the scores: no ad is moved further by its history than by anything else
CHUNK = 8192  # ads projected at a time
AGE_CLASSES = 7  # classes of how long ago a person last had a thing


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalogue of n ads as the model sees it.

    matrix: float32 (n, parts * width), unit vectors of each part: the members and, where it counts, the text. rows: row
    of each trained item, -1 where it is not in the catalogue, int (items,). new: whether an ad was not in the training,
    bool (n,). places: row of each ad by id.
    """

    matrix: np.ndarray
    rows: np.ndarray
    new: np.ndarray
    places: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Table:
    """A sparse matrix of what each of the items trained with says of the others, by rows: of item i the `columns` and
    `weights` between `pointers` i and i + 1."""

    pointers: np.ndarray
    columns: np.ndarray
    weights: np.ndarray

    def lead(self, known: np.ndarray, counts: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        """Sum over the `known` items (below 0: not trained with), each counting as `counts` says, float32 (count,) of
        the catalogue, whose `rows` are those of `Prepared`."""
        total = np.zeros(count, dtype=np.float32)
        for item, weight in zip(known, counts, strict=True):
            if item < 0:
                continue
            start, end = self.pointers[item], self.pointers[item + 1]
            targets = rows[self.columns[start:end]]
            there = targets >= 0
            total[targets[there]] += weight * self.weights[start:end][there]  # a row names no item twice
        return total


def age_classes(items: int) -> np.ndarray:
    """The classes of age of so many different items of a history, the latest first, int8 (items,): by how many others
    came later, 0, 1 to 2, 3 to 6 and so on by powers of two; the last class has no end."""
    return np.minimum(np.frexp(np.arange(1, items + 1))[1] - 1, AGE_CLASSES - 1).astype(np.int8)


def _log_sum(logits: np.ndarray) -> np.float32:
    """Log of the sum of the exponentials."""
    highest = logits.max()
    return np.float32(highest + np.log(np.exp(logits - highest).sum()))


class NextItem:
    """Scores ads by a person's history. One instance may serve many threads."""

    def __init__(
        self,
        settings: dict[str, Any],
        arrays: dict[str, np.ndarray],
        items: Sequence[str],
        sessions: Sequence[onnxruntime.InferenceSession],
    ) -> None:
        self.version: str = settings["version"]
        self.length: int = settings["length"]
        self._settings = settings
        self._items = {item: place for place, item in enumerate(items)}
        self._sessions = sessions
        self._parts = len(sessions) + bool(settings["content"])
        self._mean = arrays["mean"].astype(np.float32)
        self._projection = arrays["projection"].astype(np.float32)
        self._trained = arrays["trained"].astype(np.float32)
        self._transitions = _Table(*(arrays[name] for name in ("pointers", "columns", "weights")))
        self._together = _Table(*(arrays[f"together_{name}"] for name in ("pointers", "columns", "weights")))
        self._strength = arrays["strength"].astype(np.float32)

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> NextItem:
        """Loads the files that ``infra/training/next_item.py`` wrote; their checksums are the manifest's affair.

        Raises:
            ArtifactError: a file is missing, cannot be read or is of another format.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            items = json.loads((folder / ITEMS).read_text(encoding="utf-8"))
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if settings["format"] != FORMAT:
                raise ArtifactError(f"{folder.name}: next-item model of format {settings['format']}, not {FORMAT}")
            if len(settings["repeat"]) != AGE_CLASSES:
                raise ArtifactError(f"{folder.name}: repeats not by {AGE_CLASSES} classes of age")
            sessions = [open_session(folder / GRAPH.format(number), threads) for number in range(settings["members"])]
            model = cls(settings, arrays, items, sessions)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder.name}: the next-item model cannot be read: {error!r}") from None
        lengths = {len(model._trained), len(model._transitions.pointers) - 1, len(model._together.pointers) - 1}
        if lengths != {len(items)}:
            raise ArtifactError(f"{folder.name}: the next-item model's files do not belong together")
        return model

    def prepare(self, ad_ids: Sequence[str], vectors: np.ndarray) -> Prepared:
        """A catalogue's representation, made once for each snapshot.

        vectors: float32 (n, 384), of unit length, in the space of the training; a zero vector (unknown text) of an item
        that was not in the training gets a zero representation, which is neither near to nor far from anybody.
        """
        known = np.array([self._items.get(ad, -1) for ad in ad_ids], dtype=np.int64)
        matrix = np.empty((len(ad_ids), self._trained.shape[1]), dtype=np.float32)
        for start in range(0, len(matrix), CHUNK):
            matrix[start : start + CHUNK] = self._content(vectors[start : start + CHUNK])
        matrix[known >= 0] = self._trained[known[known >= 0]]
        rows = np.full(len(self._trained), -1, dtype=np.int64)
        rows[known[known >= 0]] = np.flatnonzero(known >= 0)
        return Prepared(matrix, rows, known < 0, {ad: row for row, ad in enumerate(ad_ids)})

    def scores(
        self, prepared: Prepared, history_ids: Sequence[str], history_vectors: np.ndarray, ages_days: np.ndarray
    ) -> np.ndarray:
        """How much likelier each ad is the next than an average one, float32 (n,).

        The log of probability times n, brought smoothly into (-4, 4) by `BOUND` * tanh(x / `BOUND`), which keeps the
        order: to be added to the log-odds of an average ad. All 0 where nothing is known of the history.

        history_ids, history_vectors (L, 384), ages_days (L,): what the person had to do with. The latest is the one
        of least age; of equals, the one that comes first; what stands there twice was had twice. An item that was not
        in the training is read by its vector; one without either (a vector of zeros) is passed over.
        """
        count = len(prepared.matrix)
        if not len(history_ids) or not count:
            return np.zeros(count, dtype=np.float32)
        order = np.argsort(ages_days, kind="stable")
        known = np.array([self._items.get(history_ids[place], -1) for place in order], dtype=np.int64)
        vectors = np.asarray(history_vectors, dtype=np.float32)[order]
        useful = (known >= 0) | vectors.any(axis=1)
        known, vectors = known[useful][: self.length], vectors[useful][: self.length]
        if not len(known):
            return np.zeros(count, dtype=np.float32)

        shown = self._content(vectors)
        shown[known >= 0] = self._trained[known[known >= 0]]
        score = prepared.matrix @ self._query(shown[::-1])
        factor, share = np.float32(self._settings["linear"]), np.float32(self._settings["share"])
        if factor:
            ages = np.float32(self._settings["memory"]) ** np.arange(len(known), dtype=np.float32)
            lift = factor * self._together.lead(known, ages, prepared.rows, count)
            # It says nothing of a new ad, which stays as likely as it was.
            old = ~prepared.new
            if old.any():
                lift[prepared.new] = _log_sum(score[old] + lift[old]) - _log_sum(score[old])
            score += lift
        ages = np.float32(self._settings["decay"]) ** np.arange(len(known), dtype=np.float32)
        moves = self._transitions.lead(known, ages * self._strength[known], prepared.rows, count)
        mass = moves.sum()
        if share and mass > 0:
            score -= score.max()
            score -= np.log(np.exp(score).sum())
            other = np.log(moves / mass + np.float32(self._settings["floor"]))
            # That nothing leads to a new ad says nothing about it: there the sequence model speaks for both.
            other[prepared.new] = score[prepared.new]
            score += share * (other - score)
        # Each once, the latest first; what says nothing makes nothing else older.
        ids = [history_ids[place] for place in order]
        had = Counter(item for item, told in zip(ids, useful, strict=True) if told or item in prepared.places)
        for (item, times), age in zip(had.items(), age_classes(len(had)), strict=True):
            if item in prepared.places:
                lift = self._settings["repeat"][age] + self._settings["often"] * math.log(times)
                score[prepared.places[item]] += lift
        score *= self._settings["sharpness"]
        score -= score.max()
        score += np.log(count / np.exp(score).sum())
        return np.asarray(BOUND * np.tanh(score / BOUND), dtype=np.float32)

    def _content(self, vectors: np.ndarray) -> np.ndarray:
        """Representations by text alone, (n, parts * width)."""
        centred = np.asarray(vectors, dtype=np.float32) - self._mean
        centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        parts = (centred @ self._projection).reshape(len(vectors), self._parts, -1)
        parts /= np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-9)
        parts[~np.asarray(vectors).any(axis=1)] = 0
        return parts.reshape(len(vectors), -1)

    def _query(self, shown: np.ndarray) -> np.ndarray:
        """What the members look for after the representations (L, parts * width), oldest first, and what the texts are
        about; the product with an item's representation is its mean logit with the likeness added."""
        parts = shown.reshape(len(shown), self._parts, -1)
        queries = [
            session.run(None, {"history": np.ascontiguousarray(parts[:, number])})[0]
            for number, session in enumerate(self._sessions)
        ]
        query = np.concatenate(queries) * np.float32(1 / len(queries))
        if self._parts == len(queries):
            return query
        ages = np.arange(len(shown), dtype=np.float32)[::-1]
        about = np.float32(self._settings["age"]) ** ages @ parts[:, -1]
        about *= np.float32(self._settings["content"] / max(float(np.linalg.norm(about)), 1e-9))
        return np.concatenate([query, about])
