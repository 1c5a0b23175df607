"""Linear models of pairs of headlines: on TF-IDF of words (what is compared with), on hashed n-grams of tokens (which
the served graph can compute), and on the untouched encoder's vectors (where fine-tuning starts)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from infra.training.headline_scorer import Lessons
from infra.training.ngrams import BUCKETS, LEAST_SQUARE, Ids, NgramModel, buckets
from infra.training.regression import fit_logistic

# Inverse penalties: of 0.1 to 3, and of 0.0001 to 0.003, those with the least loss on held-out tests.
SPARSE_PENALTY, DENSE_PENALTY = 1.0, 0.001
WORD = r"\w+|[^\w\s]"
RAREST = 2  # texts that an n-gram stands in, at least


def fit_pairs(data: Any, lessons: Lessons, inverse_penalty: float) -> NDArray[np.float64]:
    """Weights (features,) of a logistic regression: whether the first text of a pair wins, from the difference of the
    two rows of `data` (rows of the lessons, features), dense or sparse."""
    apart = data[lessons.first] - data[lessons.second]
    # Each pair twice, as won and as lost, weighted by how likely either is.
    twice = sp.vstack([apart, apart]).tocsr() if sp.issparse(apart) else np.concatenate([apart, apart])
    won = np.repeat([1, 0], len(lessons.first))
    weights = np.concatenate([lessons.weight * lessons.target, lessons.weight * (1 - lessons.target)])
    return np.asarray(fit_logistic(twice, won, inverse_penalty, weights).coef_[0])


def tfidf_scores(texts: Sequence[str], lessons: Lessons, asked: Sequence[str]) -> NDArray[np.float64]:
    """The baseline's scores of the texts asked about, (n,): words, pairs of words and punctuation. texts: of the
    lessons' rows."""
    vectoriser = TfidfVectorizer(sublinear_tf=True, min_df=RAREST, ngram_range=(1, 2), token_pattern=WORD)
    try:
        data = vectoriser.fit_transform(texts)
    except ValueError:  # no word stands in two texts
        return np.zeros(len(asked))
    return np.asarray(vectoriser.transform(asked) @ fit_pairs(data, lessons, SPARSE_PENALTY))


def fit_ngrams(rows: Ids, lessons: Lessons) -> NgramModel:
    """The model of hashed token unigrams and bigrams with one output, a score. rows: tokens of the lessons' rows."""
    hashed = [buckets(row) for row in rows]
    documents = np.zeros(BUCKETS, np.int64)
    for row in hashed:
        documents[np.unique(row)] += 1
    kept = np.flatnonzero((documents >= RAREST) & (documents < len(rows)))
    row_of = np.zeros(BUCKETS, np.int32)
    row_of[kept] = np.arange(1, len(kept) + 1)
    idf = np.zeros(len(kept) + 1, np.float32)
    idf[1:] = np.log((1 + len(rows)) / (1 + documents[kept])) + 1
    columns = np.concatenate([row_of[row] for row in hashed])
    places = np.repeat(np.arange(len(rows)), [len(row) for row in hashed])
    values = idf[columns].astype(np.float64)
    lengths = np.sqrt(np.maximum(np.bincount(places, values**2, len(rows)), LEAST_SQUARE))
    matrix = sp.coo_matrix((values / lengths[places], (places, columns)), shape=(len(rows), len(idf))).tocsr()
    weights = fit_pairs(matrix, lessons, SPARSE_PENALTY) * idf
    return NgramModel(row_of, weights[:, None].astype(np.float16), idf**2, np.zeros(1, np.float32))


def start_weights(vectors: NDArray[np.float32], lessons: Lessons) -> NDArray[np.float32]:
    """Weights (hidden,) of the head over standardised vectors of the lessons' rows (rows, hidden)."""
    return fit_pairs(vectors, lessons, DENSE_PENALTY).astype(np.float32)
