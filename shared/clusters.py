"""Clusters of unit vectors by average linkage, without a given number of clusters (numpy only).

Average linkage (UPGMA: Sokal and Michener, 1958) of cosines: two clusters are as near as the mean cosine of their
members. It is reducible, so any two clusters that are each other's nearest may be merged at once, many pairs a round,
with the same outcome as one by one (Murtagh, 1983). Clusters depend on which vectors are there and on nothing else: not
on their order, and not on any weight.
"""

from __future__ import annotations

import numpy as np


def average_linkage(vectors: np.ndarray, least: float) -> np.ndarray:
    """Cluster numbers (n,), from 0 in the order of each cluster's first row.

    vectors: unit vectors (n, d), in an order of their own (by key), which settles ties. least: mean cosine from which
    two clusters are one.
    """
    count = len(vectors)
    owner = np.arange(count)
    if count < 2:
        return owner
    sums = (vectors @ vectors.T).astype(np.float32)
    sizes = np.ones(count, dtype=np.float32)
    names = np.arange(count)  # the first row of each cluster that is left
    while len(names) > 1:
        means = sums / np.outer(sizes, sizes)
        np.fill_diagonal(means, -np.inf)
        nearest = means.argmax(axis=1)
        rows = np.arange(len(names))
        first = np.flatnonzero((rows < nearest) & (nearest[nearest] == rows) & (means[rows, nearest] >= least))
        if not len(first):
            if means.max() < least:
                break
            # Rounding broke the symmetry of a tie: the nearest pair of all goes alone.
            place = np.unravel_index(int(means.argmax()), means.shape)
            first, second = np.array([min(place)]), np.array([max(place)])
        else:
            second = nearest[first]
        sums[first] += sums[second]
        sums[:, first] += sums[:, second]
        sizes[first] += sizes[second]
        into = np.arange(count)
        into[names[second]] = names[first]
        owner = into[owner]
        left = np.ones(len(names), dtype=bool)
        left[second] = False
        sums, sizes, names = sums[np.ix_(left, left)], sizes[left], names[left]
    return np.unique(owner, return_inverse=True)[1].ravel()
