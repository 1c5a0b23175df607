"""An approximate index of the ads, for catalogues so large that looking at every ad takes too long.

A graph (HNSW: Malkov and Yashunin, 2018) of `usearch`, on int8 components. What it is searched for is the largest part
of an ad's log-odds, that of a person's interests, its own click rate, its language and its domain: these are a few
components more, so that inner products are their sum. What comes out are candidates: their scores are computed in full.

It is made once and carried from one version of the catalogue to the next; ads that are new or have another text by
then are listed beside it, and are candidates each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain import DOMAINS, LANGUAGES
from shared.models.ranker import WEIGHTS

INDEX_FROM = 250_000  # ads that may be shown from which the index is quicker than all of them by their int8 copies
MOST_BESIDE = 0.1  # of the ads; where more stand beside the index, it is made anew
_CONNECTIVITY = 16
_EFFORT_ADDING = 64  # nodes that are looked at for an ad to be added, and
_EFFORT_SEARCHING = 400  # for a query, at least
_MATCH = 0.3  # of a language or domain, as a component: as large as keeps both sides' numbers of one size
_PIECE = 16  # ads that are added in one go: about two milliseconds
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class _Graph:
    """ids, prints: of the ads in it, by their keys."""

    index: Any
    ids: tuple[str, ...]
    prints: np.ndarray


class AdIndex:
    """The index as it serves one snapshot.

    beside: rows (k,) of the ads that it does not hold.
    """

    def __init__(self, graph: _Graph, rows: np.ndarray, beside: np.ndarray) -> None:
        self._graph = graph
        self._rows = rows  # (len(graph.ids),): of the ads in the snapshot, -1 where they are not in it as they were
        self.beside = beside

    @classmethod
    def build(
        cls, ids: Sequence[str], vectors: np.ndarray, columns: np.ndarray, give_way: Callable[[], None]
    ) -> AdIndex:
        """Of vectors (n, width) of unit length and `ad_columns`. Takes a second for 10,000 ads; give_way: called every
        few milliseconds."""
        from usearch.index import Index

        n, width = vectors.shape
        index = Index(
            ndim=width + columns.shape[1],
            metric="ip",
            dtype="i8",
            connectivity=_CONNECTIVITY,
            expansion_add=_EFFORT_ADDING,
            expansion_search=_EFFORT_SEARCHING,
        )
        for start in range(0, n, _PIECE):
            piece = slice(start, min(start + _PIECE, n))
            index.add(np.arange(piece.start, piece.stop), np.hstack((vectors[piece], columns[piece])), threads=1)
            give_way()
        graph = _Graph(index, tuple(ids), _prints(vectors))
        return cls(graph, np.arange(n), np.zeros(0, dtype=np.intp))

    def carried(self, places: dict[str, int], vectors: np.ndarray) -> AdIndex | None:
        """The same index for another version of the catalogue (rows of ads by their ids, and vectors); None where too
        much has changed."""
        graph = self._graph
        rows = np.array([places.get(ad_id, -1) for ad_id in graph.ids], dtype=np.intp)
        held = np.flatnonzero(rows >= 0)
        changed = _prints(vectors)[rows[held]] != graph.prints[held]
        rows[held[changed]] = -1
        covered = np.zeros(len(vectors), dtype=bool)
        covered[rows[rows >= 0]] = True
        beside = np.flatnonzero(~covered)
        gone = len(rows) - int(covered.sum())
        if max(len(beside), gone) > MOST_BESIDE * len(vectors):
            return None
        return AdIndex(graph, rows, beside)

    def near(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Rows of the `count` ads with about the largest inner products with each query, a vector and `query_columns`
        (m, width + columns), and of all that stand beside the index: in order, each once."""
        found = self._graph.index.search(queries, min(count, len(self._rows)), threads=1)
        counts = found.counts if len(queries) > 1 else [len(found.keys)]
        keys = np.atleast_2d(found.keys)
        rows = self._rows[np.concatenate([row[:some] for row, some in zip(keys, counts, strict=True)]).astype(np.intp)]
        return np.unique(np.concatenate((rows[rows >= 0], self.beside)))


def ad_columns(prior: np.ndarray, language: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """What an ad has besides its vector, float32 (n, columns). prior: click rates. language, domain: places in
    `LANGUAGES` and `DOMAINS`."""
    rates = np.clip(prior, 1e-6, 1 - 1e-6)
    odds = np.log(rates / (1 - rates))
    lift = (odds - odds.mean()) / WEIGHTS["similarity"]
    spoken = np.eye(len(LANGUAGES), dtype=np.float32)[language]
    placed = np.eye(len(DOMAINS), dtype=np.float32)[domain]
    return np.column_stack((lift, _MATCH * spoken, _MATCH * placed)).astype(np.float32)


def query_columns(language: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """What a query has besides its vector, so that products are log-odds in units of a cosine's; (columns,). language,
    domain: 1 at the place of the wanted one, if any."""
    spoken, placed = (
        WEIGHTS[name] / WEIGHTS["similarity"] / _MATCH * wanted
        for name, wanted in (("language", language), ("domain", domain))
    )
    return np.concatenate((np.ones(1), spoken, placed)).astype(np.float32)


def _prints(vectors: np.ndarray) -> np.ndarray:
    """A checksum of each vector, uint64 (n,)."""
    words = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    factors = np.random.default_rng(1).integers(1, 2**63, words.shape[1], dtype=np.uint64) | np.uint64(1)
    result = np.empty(len(words), dtype=np.uint64)
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK].astype(np.uint64)
        result[start : start + _BLOCK] = (block * factors).sum(axis=1, dtype=np.uint64)
    return result
