"""The int8 copy of vectors: its products are those of its own numbers, and its error is a bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.quantized import QuantizedVectors


def vectors_like(kind: str, seed: int, n: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(n, width))
    if kind == "topics":  # many vectors around few centres, as a catalogue's are
        vectors = vectors * 0.2 + generator.normal(size=(5, width))[generator.integers(0, 5, n)]
    elif kind == "spiky":  # one component holds nearly all: the others are lost in int8
        vectors *= 1e-3
        vectors[np.arange(n), generator.integers(0, width, n)] = generator.choice([-1, 1], n)
    elif kind == "flat":  # every component at its largest, where sums are, too
        vectors = np.sign(vectors)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[generator.random(n) < 0.05] = 0
    return vectors.astype(np.float32)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["even", "topics", "spiky", "flat"]),
    seed=st.integers(0, 10_000),
    n=st.integers(1, 300),
    width=st.sampled_from([1, 7, 64, 384]),
    groups=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_the_error_is_a_bound(kind: str, seed: int, n: int, width: int, groups: list[int]) -> None:
    vectors = vectors_like(kind, seed, n, width)
    weights = np.random.default_rng(seed).uniform(0, 1, (sum(groups), 1)).astype(np.float32)
    queries = vectors_like(kind, seed + 1, sum(groups), width) * weights
    parts = np.split(queries, np.cumsum(groups)[:-1])
    maxima, error = QuantizedVectors(vectors).maxima(parts)
    for part, found in zip(parts, maxima, strict=True):
        exact = (vectors.astype(np.float64) @ part.T.astype(np.float64)).max(axis=1)
        assert (np.abs(found - exact) <= error).all()
    # Of use, too: int8 of 384 components is known to keep cosines within a few hundredths.
    assert width < 384 or kind == "spiky" or error.max() < 0.03


def test_products_at_their_largest_do_not_saturate() -> None:
    ones = np.ones((64, 384), dtype=np.float32)
    for sign in (1, -1):
        (found,), error = QuantizedVectors(ones * sign).maxima([ones[:3]])
        assert found == pytest.approx(384 * sign, rel=1e-5)
        assert error.max() < 1e-3


def test_a_copy_does_not_follow_what_it_was_made_of() -> None:
    vectors = vectors_like("even", 1, 50, 384)
    quantized = QuantizedVectors(vectors)
    queries = vectors[:4].copy()
    before = quantized.maxima([queries])[0][0]
    vectors[:] = 0
    assert (quantized.maxima([queries])[0][0] == before).all()
