"""The firewall around sensitive interests, at the level of single items: what is about something sensitive by itself
counts for no interest, however harmless the company it would be in (a book about a faith among other books)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from shared.categories import is_sensitive
from shared.domain import Classification
from shared.models.taxonomy import TaxonomyName

if TYPE_CHECKING:
    from shared.models.classifier import TaxonomyClassifier

TAXONOMIES: tuple[TaxonomyName, ...] = ("adproduct", "content")
# From here on a classifier's best guess counts although it abstains: a wrong one costs an interest, a missed one tells
# something that nobody may know. Below it guesses are noise (`tests/unit/test_sensitive_firewall.py` has the figures).
DOUBTED = 0.15
HELD = 50_000  # items whose answer is kept: to classify one takes a third of a millisecond
_answers: dict[bytes, bool] = {}


def sensitive_items(vectors: np.ndarray, classifiers: Mapping[str, TaxonomyClassifier]) -> np.ndarray:
    """Mask (n,) of the unit vectors (n, 384) that a taxonomy files under a sensitive category.

    classifiers: by taxonomy name, those that are there. One that abstains still says something from `DOUBTED` on.
    """
    judges = [classifiers[name] for name in TAXONOMIES if name in classifiers]
    stamp = "|".join(judge.version for judge in judges).encode()
    keys = [blake2b(row.tobytes(), digest_size=16, key=stamp[:64]).digest() for row in vectors]
    new = [place for place, key in enumerate(keys) if key not in _answers]
    found = dict.fromkeys(new, False)
    if new:
        for judge in judges:
            for place, one in zip(new, judge.classify_vectors(vectors[new], top=1), strict=True):
                found[place] |= _suspected(one)
    mask = np.array([found[place] if place in found else _answers[key] for place, key in enumerate(keys)], dtype=bool)
    if len(_answers) + len(new) > HELD:
        _answers.clear()
    _answers.update({keys[place]: answer for place, answer in found.items()})
    return mask


def _suspected(found: Classification) -> bool:
    if not found.labels or (found.abstained and found.labels[0].probability < DOUBTED):
        return False
    return is_sensitive(found.labels[0].id)
