"""What a trained head is compared with, on the same rows: TF-IDF of characters or words with logistic regression, and
the most frequent label."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from infra.training.labels import Rows
from infra.training.regression import fit_logistic

MOST_WEIGHTS = 8_000_000  # features times labels
_CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}
_WORDS: dict[str, Any] = {"ngram_range": (1, 2)}


@dataclass(frozen=True)
class Prediction:
    """names: the labels, sorted. probabilities: (n, labels)."""

    names: list[str]
    probabilities: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.str_]:
        """The likeliest label of each row, (n,)."""
        return np.array(self.names)[self.probabilities.argmax(axis=1)]


def tfidf_model(train: Rows, test: Rows) -> Prediction:
    """What the model says of `test`: character 1- to 3-grams where most texts are Chinese, else words and pairs."""
    chinese = sum(any("\u3400" <= character <= "\u9fff" for character in text) for text in train.texts[:1000])
    most = max(20_000, MOST_WEIGHTS // len(set(train.labels)))
    common: dict[str, Any] = {
        "sublinear_tf": True,
        "max_features": most,
        "min_df": 2 if len(train) > 2000 else 1,
    }
    analyse = _CHARACTERS if 2 * chinese > min(len(train), 1000) else _WORDS
    vectoriser = TfidfVectorizer(**common, **analyse)
    try:
        data = vectoriser.fit_transform(train.texts)
    except ValueError:  # texts without any word of two letters have characters all the same
        vectoriser = TfidfVectorizer(**common | {"min_df": 1}, **_CHARACTERS)
        data = vectoriser.fit_transform(train.texts)
    model = fit_logistic(data, np.array(train.labels), 10.0)
    return Prediction([str(name) for name in model.classes_], model.predict_proba(vectoriser.transform(test.texts)))


def tfidf(train: Rows, test: Rows) -> NDArray[np.str_]:
    """Predicted labels of `test`, (n,)."""
    return tfidf_model(train, test).labels


def majority(train: Rows) -> tuple[str, float]:
    """The label that most rows have (the first by name of several), and its share of them."""
    label, count = min(Counter(train.labels).items(), key=lambda one: (-one[1], one[0]))
    return label, count / len(train)
