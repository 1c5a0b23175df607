"""A linear model of whole histories: what people who have these items have too, in whatever order.

EASE (Steck, 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8): each item is predicted from all others
by ridge regression, in closed form. Where order says little it is the strongest simple model there is; an item that is
merely common beside others counts for what these do not explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from scipy.linalg import inv

from infra.training.transitions import BATCH, KEPT, LENGTH, histories_matrix

PENALTIES = (100.0, 300.0, 30.0, 1000.0)  # of which the first does for most
MOST_ITEMS = 20_000  # the commonest: their dense square takes 1.6 GB, and its inverse as much
SECONDS_A_CUBE = 2e-11  # of the inverse on one core, by the third power of the items
EVERYTHING = 10**6  # items of a history


def affordable(seconds: float) -> int:
    """For how many items the weights are found in about so many seconds."""
    return min(MOST_ITEMS, int((max(seconds, 0.0) / SECONDS_A_CUBE) ** (1 / 3)))


def weights(histories: Sequence[np.ndarray], items: int, penalty: float, most: int = MOST_ITEMS) -> sp.csr_matrix:
    """(items, items): what having i says of having j, beside all others; the `KEPT` largest of each i, and nothing of
    items that are not among the `most` commonest."""
    return solved(*had_together(histories, items, most), items, penalty)


def had_together(histories: Sequence[np.ndarray], items: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The `most` commonest items that anybody had, in order, and how many people had both of two of them, float32."""
    sets = histories_matrix(histories, items, 1.0, length=EVERYTHING)
    sets.data[:] = 1
    counts = np.asarray(sets.sum(axis=0)).ravel()
    chosen = np.argsort(-counts, kind="stable")[:most]
    chosen = np.sort(chosen[counts[chosen] > 0])
    sets = sets[:, chosen].tocsc()
    both = np.empty((len(chosen), len(chosen)), dtype=np.float32)
    for start in range(0, len(chosen), BATCH):
        both[start : start + BATCH] = (sets[:, start : start + BATCH].T @ sets).todense()
    return chosen, both


def solved(chosen: np.ndarray, both: np.ndarray, items: int, penalty: float) -> sp.csr_matrix:
    """The `weights` of what `had_together` counted."""
    if not len(chosen):
        return sp.csr_matrix((items, items), dtype=np.float32)
    gram = both.copy()
    gram[np.diag_indices_from(gram)] += np.float32(penalty)
    found = inv(gram, overwrite_a=True, check_finite=False)
    found /= -np.diag(found)
    found[np.diag_indices_from(found)] = 0
    kept = min(KEPT, len(chosen))
    rows, columns, values = [], [], []
    for start in range(0, len(chosen), BATCH):
        block = found[start : start + BATCH]
        top = np.argpartition(-np.abs(block), kept - 1, axis=1)[:, :kept]
        rows.append(np.repeat(chosen[start : start + len(block)], kept))
        columns.append(chosen[top].ravel())
        values.append(np.take_along_axis(block, top, axis=1).ravel())
    table = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(items, items),
        dtype=np.float32,
    ).tocsr()
    table.eliminate_zeros()
    return table


def scores(
    table: sp.csr_matrix, users: Sequence[np.ndarray], memory: float, length: int = LENGTH
) -> Iterator[np.ndarray]:
    """What the latest items of each history say of every item, float32 (batch, items), each counting `memory` of the
    next one."""
    held = histories_matrix(users, table.shape[0], memory, length=length)
    for start in range(0, len(users), BATCH):
        yield np.asarray((held[start : start + BATCH] @ table).todense(), dtype=np.float32)
