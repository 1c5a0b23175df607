"""The wide half of a head: a linear model of token unigrams and bigrams, inside the same ONNX graph as the encoder.

A fine-tuned encoder forgets rare words that decide a label; a linear model of them does not, and the two err on
different texts. Everything it needs is a function of the token ids, so that it needs no graph of its own (a head
of several encoders has a graph from tokens to logits of each; the first has the n-grams): each unigram and bigram
hashes to a bucket, a bucket names a row (0: unknown), the rows are summed and divided by the length of the TF-IDF
vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import scipy.sparse as sp
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from infra.training.regression import fit_logistic, full_weights

BUCKETS = 1 << 20
# Odd multipliers of a hash modulo a power of two; ids below 2^18 keep every product within 64 bits.
UNIGRAM, FIRST, SECOND = 2_654_435_761, 40_503_103, 1_000_003
MOST_WEIGHTS = 6_000_000  # rows times labels; two bytes each in the artefact
MOST_ROWS = 100_000
LEAST_SQUARE = 1e-6

Ids = list[list[int]]


def buckets(row: list[int]) -> NDArray[np.int64]:
    """The buckets of a text's unigrams and bigrams, in this order, (2 * tokens - 1,)."""
    ids = np.asarray(row, np.int64)
    return np.concatenate([ids * UNIGRAM % BUCKETS, (ids[:-1] * FIRST + ids[1:] * SECOND) % BUCKETS])


@dataclass(frozen=True)
class NgramModel:
    """row_of: (BUCKETS,) int32. weights: (rows, labels) float16, row 0 zero. squares: (rows,) squared weight in the
    length of the vector, row 0 zero. bias: (labels,)."""

    row_of: NDArray[np.int32]
    weights: NDArray[np.float16]
    squares: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, rows: Ids) -> NDArray[np.float32]:
        """Logits, (n, labels)."""
        result = np.empty((len(rows), len(self.bias)), np.float32)
        for place, row in enumerate(rows):
            found = self.row_of[buckets(row)]
            found = found[found > 0]
            length = np.sqrt(max(float(self.squares[found].sum()), LEAST_SQUARE))
            result[place] = self.weights[found].astype(np.float32).sum(axis=0) / length + self.bias
        return result

    def add_to(self, model: onnx.ModelProto, ids: str, mask: str, weight: float, logits: str, output: str) -> None:
        """Appends ``output = logits + weight * own logits``; `ids` and `mask` are the graph's (n, tokens) inputs."""
        graph = model.graph
        constants: dict[str, NDArray[Any]] = {
            "ngram.unigram": np.array(UNIGRAM, np.int64),
            "ngram.first": np.array(FIRST, np.int64),
            "ngram.second": np.array(SECOND, np.int64),
            "ngram.buckets": np.array(BUCKETS, np.int64),
            "ngram.row_of": self.row_of,
            "ngram.weights": self.weights,
            "ngram.squares": self.squares,
            "ngram.least": np.array(LEAST_SQUARE, np.float32),
            "ngram.bias": (weight * self.bias).astype(np.float32),
            "ngram.weight": np.array(weight, np.float32),
            "ngram.0": np.array([0], np.int64),
            "ngram.1": np.array([1], np.int64),
            "ngram.-1": np.array([-1], np.int64),
            "ngram.end": np.array([np.iinfo(np.int64).max], np.int64),
        }
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())

        def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
            graph.node.append(helper.make_node(kind, inputs, [name], name=f"{name}/{kind}", **attributes))
            return name

        unigram = add("Mod", [add("Mul", [ids, "ngram.unigram"], "ngram.a"), "ngram.buckets"], "ngram.unigrams")
        here = add("Slice", [ids, "ngram.0", "ngram.-1", "ngram.1"], "ngram.here")
        after = add("Slice", [ids, "ngram.1", "ngram.end", "ngram.1"], "ngram.after")
        first = add("Mul", [here, "ngram.first"], "ngram.b")
        second = add("Mul", [after, "ngram.second"], "ngram.c")
        bigram = add("Mod", [add("Add", [first, second], "ngram.d"), "ngram.buckets"], "ngram.bigrams")
        hashed = add("Concat", [unigram, bigram], "ngram.hashed", axis=1)
        # A bigram counts where its second token is a real one.
        mask_after = add("Slice", [mask, "ngram.1", "ngram.end", "ngram.1"], "ngram.mask_after")
        real = add("Concat", [mask, mask_after], "ngram.real", axis=1)
        real = add("Cast", [real], "ngram.real32", to=TensorProto.INT32)
        rows = add("Mul", [add("Gather", ["ngram.row_of", hashed], "ngram.found"), real], "ngram.rows")
        wide = add("Cast", [add("Gather", ["ngram.weights", rows], "ngram.e")], "ngram.f", to=TensorProto.FLOAT)
        total = add("ReduceSum", [wide, "ngram.1"], "ngram.total", keepdims=0)
        squares = add("Gather", ["ngram.squares", rows], "ngram.g")
        length = add("ReduceSum", [squares, "ngram.1"], "ngram.h", keepdims=1)
        length = add("Sqrt", [add("Max", [length, "ngram.least"], "ngram.i")], "ngram.length")
        score = add("Mul", [add("Div", [total, length], "ngram.j"), "ngram.weight"], "ngram.score")
        add("Add", [add("Add", [score, "ngram.bias"], "ngram.logits"), logits], output)


def fit(rows: Ids, labels: NDArray[np.int64], classes: int, *, inverse_penalty: float = 10.0) -> NgramModel:
    """A multinomial logistic regression on TF-IDF of hashed unigrams and bigrams.

    rows: token ids without padding. labels: (n,), each class at least once.
    """
    hashed = [buckets(row) for row in rows]
    documents = np.zeros(BUCKETS, np.int64)
    for row in hashed:
        documents[np.unique(row)] += 1
    least = 1 if len(rows) < 2000 else 2
    most = min(MOST_ROWS, MOST_WEIGHTS // classes)
    kept = np.flatnonzero((documents >= least) & (documents < len(rows)))  # what stands in every text says nothing
    kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")][:most])
    row_of = np.zeros(BUCKETS, np.int32)
    row_of[kept] = np.arange(1, len(kept) + 1)
    idf = np.zeros(len(kept) + 1, np.float32)
    idf[1:] = np.log((1 + len(rows)) / (1 + documents[kept])) + 1

    found = [row_of[row] for row in hashed]
    lengths = [len(row) for row in found]
    columns = np.concatenate(found)
    places = np.repeat(np.arange(len(rows)), lengths)
    values = idf[columns]
    norms = np.sqrt(np.maximum(np.bincount(places, values.astype(np.float64) ** 2, len(rows)), LEAST_SQUARE))
    matrix = sp.coo_matrix((values / norms[places], (places, columns)), shape=(len(rows), len(idf))).tocsr()
    matrix.sum_duplicates()
    weights, bias = full_weights(fit_logistic(matrix, labels, inverse_penalty), classes)
    return NgramModel(row_of, (weights.T * idf[:, None]).astype(np.float16), idf**2, bias)


def held_out(
    rows: Ids, labels: NDArray[np.int64], classes: int, folds: NDArray[np.int64], asked: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits of the rows at the places `asked`, (m,), each by a model that was fitted without its fold, (m, classes).

    rows, labels: see `fit`. folds: (n,), of every row. A fold without which one label alone is left gets zeros.
    """
    logits = np.zeros((len(asked), classes), np.float32)
    for fold in np.unique(folds[asked]):
        others = np.flatnonzero(folds != fold)
        if len(np.unique(labels[others])) < 2:
            continue
        model = fit([rows[place] for place in others], labels[others], classes)
        out = np.flatnonzero(folds[asked] == fold)
        logits[out] = model.logits([rows[place] for place in asked[out]])
    return logits
