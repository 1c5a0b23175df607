"""Near-duplicate texts by MinHash and locality-sensitive hashing, then checked exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.preprocess.text import match_key

GRAM = 5
_PERMUTATIONS = 128
_MISSED = 1e-3  # the chance that a pair at the threshold shares no band
_SEED = 20_260_101

_Words = NDArray[np.uint64]


def near_duplicates(texts: Sequence[str], threshold: float = 0.8) -> list[int]:
    """For each text the place of the first earlier text that is nearly the same, or its own place.

    Nearly the same: the sets of 5-character grams of their `match_key` have a Jaccard similarity of `threshold` or
    more. A text without letters or digits is like no other. A pair just at the threshold is missed once in a thousand
    times; no pair below it is ever reported.

    Raises:
        ValueError: `threshold` is not in (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold {threshold} is not in (0, 1]")
    rows = _rows_per_band(threshold)
    bands = _PERMUTATIONS // rows
    generator = np.random.Generator(np.random.PCG64(_SEED))
    multipliers = generator.integers(1, 2**63, size=_PERMUTATIONS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = generator.integers(0, 2**63, size=_PERMUTATIONS, dtype=np.uint64)
    # A pair at the threshold agrees in fewer of the minima than this about once in 30,000 times.
    least_agreement = threshold - 4.0 * float(np.sqrt(threshold * (1.0 - threshold) / _PERMUTATIONS))

    first: list[int] = []
    by_key: dict[str, int] = {}
    grams: dict[int, _Words] = {}
    signatures = np.zeros((len(texts), _PERMUTATIONS), dtype=np.uint32)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for place, text in enumerate(texts):
        key = match_key(text)
        same = by_key.setdefault(key, place) if key else place
        if not key or same != place:
            first.append(same)
            continue
        own = grams[place] = _grams(key)
        signature = signatures[place] = _signature(own, multipliers, offsets)
        candidates: set[int] = set()
        for band in range(bands):
            bucket = buckets.setdefault((band, signature[band * rows : (band + 1) * rows].tobytes()), [])
            candidates.update(bucket)
            bucket.append(place)
        first.append(_first_match(place, sorted(candidates), grams, signatures, threshold, least_agreement))
    return first


def _first_match(
    place: int,
    candidates: list[int],
    grams: dict[int, _Words],
    signatures: NDArray[np.uint32],
    threshold: float,
    least_agreement: float,
) -> int:
    if not candidates:
        return place
    places = np.array(candidates)
    agreement = (signatures[places] == signatures[place]).mean(axis=1)
    own = grams[place]
    for candidate in places[agreement >= least_agreement].tolist():
        other = grams[candidate]
        shared = np.intersect1d(own, other, assume_unique=True).size
        if shared >= threshold * (own.size + other.size - shared):
            return int(candidate)
    return place


def _rows_per_band(threshold: float) -> int:
    """The most rows with which a pair at the threshold is still found: longer bands mean fewer false candidates."""
    fitting = (rows for rows in range(16, 0, -1) if (1.0 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED)
    return next(fitting, 1)


def _grams(key: str) -> _Words:
    """The distinct 5-grams of a key as 64-bit hashes, sorted; a shorter key is one gram."""
    codes = np.frombuffer(key.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64) + np.uint64(1)
    size = min(GRAM, len(codes))
    hashes = np.zeros(len(codes) - size + 1, dtype=np.uint64)
    for step in range(size):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[step : len(codes) - size + 1 + step]
    hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes * np.uint64(0xBF58476D1CE4E5B9))


def _signature(grams: _Words, multipliers: _Words, offsets: _Words) -> NDArray[np.uint32]:
    """The least of every permutation's hashes (multiply-shift), shape (128,)."""
    minima = np.full(_PERMUTATIONS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(grams), 512):
        hashes = grams[start : start + 512, None] * multipliers + offsets
        np.minimum(minima, hashes.min(axis=0), out=minima)
    return (minima >> np.uint64(32)).astype(np.uint32)
