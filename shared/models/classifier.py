"""Vectors and texts to calibrated labels, or to none: zero-shot to a taxonomy, and heads trained on a user's labels.

**Zero-shot.** Cosines of the encoder lie in a narrow cone (.75 to .9 for any two texts), Chinese and English texts in
two halves of it. So vectors are first centred on the mean of texts about everything and freed of the language direction
(`Space`). A category's score is the weighted mean of two cosines, with its label vector and with its nearest terms
(names, products of its hint, and ads and posts written as examples), plus its prior. "None of them" has a score too,
which grows with the cosine to texts about nothing. A softmax over all of them gives each category its own probability;
with its descendants' it makes the category's whole probability, so that a parent is never less likely than its child.
Where the likeliest category is not likely enough, the answer backs off to the first ancestor that is; where none is, it
abstains. What is weighed how is found by `infra/training/calibrate_taxonomy.py` and stored in the artefact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from shared.domain import Classification, Label
from shared.errors import ArtifactError
from shared.models.artifacts import Manifest, verify
from shared.models.members import Member, load_members, summed
from shared.models.taxonomy import load_taxonomy

Vectors = NDArray[np.float32]
KIND = "label-vectors"
HEAD_KIND = "head"
VECTORS = "vectors.npz"
NEAREST_NOTHING = 3
_ROWS = 64


def unit(vectors: Vectors) -> Vectors:
    """The vectors scaled to unit length; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return cast(Vectors, (vectors / np.maximum(length, 1e-9)).astype(np.float32))


def packed(vectors: Vectors) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rows as int8 and what each is multiplied by: a quarter of the bytes, cosines within .002."""
    scale = np.maximum(np.abs(vectors).max(axis=1), 1e-9) / 127
    return np.rint(vectors / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def unpacked(values: NDArray[Any], scale: NDArray[Any]) -> Vectors:
    """The rows that `packed` was given, about."""
    return cast(Vectors, values.astype(np.float32) * scale.astype(np.float32)[:, None])


@dataclass(frozen=True, slots=True)
class Space:
    """Where cosines mean topic: `centre` (384,) is the mean text, `direction` (384,) the language axis, of length 1."""

    centre: Vectors
    direction: Vectors

    def project(self, vectors: Vectors) -> Vectors:
        """Centred, without the language axis, of unit length again; (n, 384)."""
        centred = vectors - self.centre
        return unit(centred - np.outer(centred @ self.direction, self.direction))


class Terms:
    """What categories are compared with besides their label vectors: unit vectors, each of one or more categories."""

    def __init__(self, vectors: Vectors, category_of: NDArray[Any], term_of: NDArray[Any], categories: int) -> None:
        """category_of, term_of: pairs of a category's and a vector's place. Each category has two terms at least."""
        order = np.argsort(category_of, kind="stable")
        self._columns = np.ascontiguousarray(vectors.T)
        self._term_of = term_of[order]
        counts = np.bincount(category_of, minlength=categories)
        if len(counts) != categories or counts.min() < 2:
            raise ValueError("a category has fewer than two terms")
        self._starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        self._counts = counts

    def nearness(self, query: Vectors) -> Vectors:
        """The mean cosine with each category's two nearest terms; (n, categories)."""
        near = (query @ self._columns).take(self._term_of, axis=1)  # by rows; an index would lay it out by columns
        first = np.maximum.reduceat(near, self._starts, axis=1)
        near[near == np.repeat(first, self._counts, axis=1)] = -1.0
        return cast(Vectors, (first + np.maximum.reduceat(near, self._starts, axis=1)) / 2)


def nothingness(query: Vectors, nothing: Vectors) -> Vectors:
    """The mean cosine with the nearest texts about nothing; (n,)."""
    near = np.partition(query @ nothing.T, -NEAREST_NOTHING, axis=1)[:, -NEAREST_NOTHING:]
    return cast(Vectors, near.mean(axis=1))


class TaxonomyClassifier:
    """Zero-shot classification to one taxonomy. Ids carry the taxonomy as a prefix (``adproduct:1114``)."""

    def __init__(self, arrays: dict[str, NDArray[Any]], manifest: Manifest) -> None:
        metadata = manifest.metadata
        self.version = manifest.version
        self.encoder_version: str = metadata["encoder_version"]
        self._temperature = float(metadata["temperature"])
        self._label_weight = float(metadata["label_weight"])
        self._none_score = float(metadata["none_score"])
        self._none_weight = float(metadata["none_weight"])
        self.threshold = float(metadata["threshold"])
        self._space = Space(arrays["centre"].astype(np.float32), arrays["direction"].astype(np.float32))
        self._labels = unpacked(arrays["labels"], arrays["labels_scale"])
        self._nothing = unpacked(arrays["nothing"], arrays["nothing_scale"])
        self._prior: Vectors = arrays["prior"].astype(np.float32)
        self.ids: list[str] = arrays["ids"].tolist()
        terms = unpacked(arrays["terms"], arrays["terms_scale"])
        self._terms = Terms(terms, arrays["category_of"], arrays["term_of"], len(self.ids))
        taxonomy = load_taxonomy(metadata["taxonomy"])
        if set(self.ids) != set(taxonomy):
            raise ArtifactError(f"label vectors {manifest.version} are of another table of {taxonomy!r}: `make models`")
        self._names = [dict(taxonomy[key].name) for key in self.ids]
        place = {key: index for index, key in enumerate(self.ids)}
        self._parents = [place[parent] if (parent := taxonomy[key].parent) else -1 for key in self.ids]
        self._line = [frozenset(place[one.id] for one in taxonomy.path(key)) for key in self.ids]
        # Deepest first: adding each tier's probabilities to its parents' in this order makes subtree sums.
        tiers = np.array([taxonomy[key].tier for key in self.ids])
        parents = np.array(self._parents)
        lower = [np.flatnonzero((tiers == tier) & (parents >= 0)) for tier in np.unique(tiers)[::-1]]
        self._upwards = [(below, parents[below]) for below in lower]

    @classmethod
    def load(cls, folder: Path, encoder_version: str | None = None) -> TaxonomyClassifier:
        """Loads the label vectors in `folder` after verifying them.

        Raises:
            ArtifactError: they are absent, changed, of another preprocessing version, or made by another encoder than
                `encoder_version`.
        """
        manifest = verify(folder, KIND)
        try:
            with np.load(folder / VECTORS, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            result = cls(arrays, manifest)
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"{folder / VECTORS} is not a set of label vectors: {error}") from error
        if encoder_version is not None and result.encoder_version != encoder_version:
            raise ArtifactError(
                f"{folder} was made by encoder {result.encoder_version}, not {encoder_version}: `make models`"
            )
        return result

    def project(self, vectors: Vectors) -> Vectors:
        """The vectors (n, 384) where cosines mean topic (`Space`)."""
        return self._space.project(np.asarray(vectors, np.float32))

    def probabilities(self, vectors: Vectors) -> tuple[Vectors, Vectors]:
        """Each category's own probability, and that with its descendants'; both (n, categories).

        A row's own probabilities, like those of its roots with all below them, sum to less than 1: the rest is "none".
        """
        result = np.empty((len(vectors), len(self.ids)), np.float32)
        for start in range(0, len(vectors), _ROWS):
            query = self._space.project(np.asarray(vectors[start : start + _ROWS], np.float32))
            near = self._terms.nearness(query)
            scores = self._label_weight * (query @ self._labels.T) + (1 - self._label_weight) * near + self._prior
            none = (self._none_score + self._none_weight * nothingness(query, self._nothing))[:, None]
            top = np.maximum(scores.max(axis=1, keepdims=True), none)
            weight = np.exp((scores - top) / self._temperature)
            rest = np.exp((none - top) / self._temperature)
            result[start : start + _ROWS] = weight / (weight.sum(axis=1, keepdims=True) + rest)
        whole = result.T.copy()
        for below, above in self._upwards:
            np.add.at(whole, above, whole[below])
        return result, whole.T

    def classify_vectors(self, vectors: Vectors, top: int = 3) -> list[Classification]:
        """The `top` labels of each vector, (n, 384), in falling probability; none of them above or below another.

        The first label's probability is its own with its descendants'; the others' are their own. `abstained` is set
        where the first one's is below `threshold`.
        """
        if not len(vectors):
            return []
        own, whole = self.probabilities(vectors)
        return [self._classify(*row, top) for row in zip(own, whole, strict=True)]

    def _classify(self, own: Vectors, whole: Vectors, top: int) -> Classification:
        first = int(own.argmax())
        best = first
        while float(whole[best]) < self.threshold and self._parents[best] >= 0:
            best = self._parents[best]
        abstained = float(whole[best]) < self.threshold
        if abstained:
            best = first
        chosen = [best]
        labels = [self._label(best, float(whole[best]))]
        likeliest = np.argsort(-own, kind="stable")[: 20 * top].tolist() if top > 1 else []
        for index in likeliest:
            if len(chosen) >= top or float(own[index]) < 0.01:
                break
            if not any(self._related(index, other) for other in chosen):
                chosen.append(index)
                labels.append(self._label(index, float(own[index])))
        return Classification(tuple(labels), abstained)

    def _label(self, index: int, probability: float) -> Label:
        return Label(self.ids[index], dict(self._names[index]), round(probability, 4))

    def _related(self, one: int, other: int) -> bool:
        """Whether one is the other, or above or below it."""
        return one in self._line[other] or other in self._line[one]


class Head:
    """A trained head for a user's own labels: from tokens to logits, by one encoder or by the sum of several
    (`shared.models.members`).

    Its manifest's metadata hold `labels` (list of ``{"id", "name": {"zh", "en"}}`` or of plain strings), `temperature`
    (1 where absent) and `threshold` (0 where absent), and may hold `prefix` (``query: ``) and `max_tokens` (256).
    """

    def __init__(self, members: Sequence[Member], manifest: Manifest) -> None:
        metadata = manifest.metadata
        self.version = manifest.version
        self.name = manifest.name
        self.labels = [_as_label(entry) for entry in metadata["labels"]]
        self.threshold = float(metadata.get("threshold", 0.0))
        self._temperature = float(metadata.get("temperature", 1.0))
        self._members = members
        widths = {member.width for member in members}
        if widths != {len(self.labels)} or len(self.labels) < 2:
            raise ArtifactError(f"head {self.name!r} has {len(self.labels)} labels and {widths} logits")
        if not self._temperature > 0:
            raise ArtifactError(f"head {self.name!r}: the temperature must be above 0, not {self._temperature}")

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> Head:
        """Loads the head in `folder` (``model.onnx``, ``tokenizer.json``, or its `members`' files) after verifying it.

        Raises:
            ArtifactError: it is absent, changed, of another preprocessing version, or its labels do not fit its graph.
        """
        manifest = verify(folder, HEAD_KIND)
        try:
            return cls(load_members(folder, manifest, threads, prefix="query: ", max_tokens=256), manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder} is not a head: {error!r}") from error

    def probabilities(self, texts: Sequence[str]) -> Vectors:
        """Calibrated probabilities, (n, labels)."""
        if not texts:
            return np.zeros((0, len(self.labels)), np.float32)
        logits = summed(self._members, texts) / self._temperature
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        return cast(Vectors, weight / weight.sum(axis=1, keepdims=True))

    def classify(self, texts: Sequence[str], top: int = 3) -> list[Classification]:
        """The `top` labels of each text in falling probability. A text of white space alone abstains."""
        result = []
        for text, row in zip(texts, self.probabilities(texts), strict=True):
            order = np.argsort(-row, kind="stable")[:top].tolist()
            labels = tuple(
                Label(self.labels[index].id, dict(self.labels[index].name), round(float(row[index]), 4))
                for index in order
            )
            result.append(Classification(labels, not text.strip() or labels[0].probability < self.threshold))
        return result


def _as_label(entry: str | dict[str, Any]) -> Label:
    if isinstance(entry, str):
        return Label(entry, {"zh": entry, "en": entry}, 0.0)
    languages: tuple[Literal["zh", "en"], ...] = ("zh", "en")
    return Label(entry["id"], {language: entry["name"][language] for language in languages}, 0.0)
