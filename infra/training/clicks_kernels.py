"""Which items are alike: by their texts, their years, and by who came upon them and when, whatever they said of them.

That somebody rated or was shown two items at all, and how near each other in time, tells more of likeness than what
they thought of the two (Koren 2008, "Factorization meets the neighborhood", on implicit feedback).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

WINDOW = 8  # rows of a person between which items count as neighbours
NEIGHBOUR_FACTORS, EXPOSURE_FACTORS = 40, 20
_SHORT = 0.3  # of the median length: shorter vectors, of items hardly seen, are not blown up to unit length
_YEAR = re.compile(r"\((\d{4})\)\s*$")

Kernel = NDArray[np.float32]


def years(texts: Sequence[str]) -> NDArray[np.float64]:
    """The year in brackets at the end of each text; the mean where there is none, 0 where none has one."""
    found = [_YEAR.search(text) for text in texts]
    values = np.array([float(match[1]) if match else np.nan for match in found])
    return np.nan_to_num(values, nan=float(np.nanmean(values)) if np.isfinite(values).any() else 0.0)


def neighbour_factors(
    person: NDArray[np.int64], item: NDArray[np.int64], at: NDArray[np.float64], items: int
) -> NDArray[np.float64]:
    """Vectors (items, factors) of items that people come upon near each other: truncated SVD of the positive pointwise
    mutual information (Levy & Goldberg 2014, "Neural word embedding as implicit matrix factorization", section 5)."""
    order = np.lexsort((at, person))
    who, what = person[order], item[order]
    rows, columns, values = [], [], []
    for distance in range(1, WINDOW + 1):
        same = who[distance:] == who[:-distance]
        one, other = what[:-distance][same], what[distance:][same]
        rows += [one, other]
        columns += [other, one]
        values += [np.full(len(one), distance**-0.5)] * 2
    counts = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(items, items)
    ).tocsr()
    total = np.asarray(counts.sum(axis=1)).ravel() + 1e-9
    smooth = total**0.75  # or rare items would seem near to whatever they met
    pairs = counts.tocoo()
    mutual = np.log(pairs.data * smooth.sum() / (total[pairs.row] * smooth[pairs.col]))
    matrix = sp.coo_matrix((np.maximum(mutual, 0), (pairs.row, pairs.col)), shape=(items, items)).tocsr()
    left, strength = _svd(matrix, NEIGHBOUR_FACTORS)[:2]
    return np.asarray(left * np.sqrt(strength))


def exposure_factors(
    person: NDArray[np.int64], item: NDArray[np.int64], people: int, items: int
) -> NDArray[np.float64]:
    """Vectors (items, factors) of items that the same people come upon: truncated SVD of who has seen what."""
    seen = sp.coo_matrix((np.ones(len(person)), (person, item)), shape=(people, items)).tocsr()
    of_item, of_person = np.asarray(seen.sum(axis=0)).ravel(), np.asarray(seen.sum(axis=1)).ravel()
    matrix = sp.diags(1 / np.sqrt(of_person + 5)) @ seen @ sp.diags(1 / np.sqrt(of_item + 3))
    _, strength, right = _svd(sp.csr_matrix(matrix), EXPOSURE_FACTORS)
    return np.asarray(right.T * strength)


def _svd(matrix: sp.csr_matrix, factors: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The largest `factors` singular values with their vectors; fewer where the matrix is smaller."""
    if matrix.nnz and min(matrix.shape) > factors + 1:
        left, strength, right = svds(matrix.astype(np.float64), k=factors, random_state=0)
    else:
        left, strength, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    return left[:, :factors], strength[:factors], right[:factors]


def _scaled(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    usual = float(np.median(length[length > 1e-9])) if (length > 1e-9).any() else 1.0
    return np.asarray(vectors / np.maximum(length, usual * _SHORT))


def _cosines(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors @ vectors.T)


def _sharp(cosines: NDArray[np.float64], power: int) -> Kernel:
    """``((1 + cosine) / 2) ** power``: positive definite as the cosines are (products of kernels are kernels)."""
    return np.asarray(((1 + cosines) / 2) ** power, np.float32)


def kernels(
    vectors: NDArray[np.float32],
    year: NDArray[np.float64],
    neighbours: NDArray[np.float64],
    exposure: NDArray[np.float64],
) -> dict[str, Kernel]:
    """Kernels (items, items) by name. vectors: of the texts, (items, 384)."""
    centred = vectors - vectors.mean(axis=0)
    text = _cosines(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9))
    near, seen = _cosines(_scaled(neighbours)), _cosines(_scaled(exposure))
    apart = year[:, None] - year[None]
    count = len(vectors)
    return {
        "one": np.ones((count, count), np.float32),
        "own": np.eye(count, dtype=np.float32),
        "text": _sharp(text, 8),
        "decade": np.exp(-((apart / 10) ** 2) / 2).astype(np.float32),
        "neighbours_wide": near.astype(np.float32),
        "neighbours": _sharp(near, 4),
        "neighbours_sharp": _sharp(near, 12),
        "exposure": _sharp(seen, 4),
    }
