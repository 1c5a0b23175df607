"""What a trained head is compared with, on the same rows: TF-IDF of characters or words with logistic regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from infra.training.labels import Rows
from infra.training.regression import fit_logistic

MOST_WEIGHTS = 8_000_000  # features times labels


def tfidf(train: Rows, test: Rows) -> NDArray[np.str_]:
    """Predicted labels of `test`, (n,): character 1- to 3-grams where most texts are Chinese, else words and pairs."""
    chinese = sum(any("\u3400" <= character <= "\u9fff" for character in text) for text in train.texts[:1000])
    labels = np.array(train.labels)
    most = max(20_000, MOST_WEIGHTS // len(set(train.labels)))
    analyse = (
        {"analyzer": "char", "ngram_range": (1, 3)} if 2 * chinese > min(len(train), 1000) else {"ngram_range": (1, 2)}
    )
    vectoriser = TfidfVectorizer(sublinear_tf=True, max_features=most, min_df=2 if len(train) > 2000 else 1, **analyse)
    data = vectoriser.fit_transform(train.texts)
    model = fit_logistic(data, labels, 10.0)
    return np.asarray(model.predict(vectoriser.transform(test.texts)))
