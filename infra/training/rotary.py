"""The angles of rotary positions (Su et al. 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_BASE = 10_000.0


@lru_cache(maxsize=64)
def rotary_tables(tokens: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines of each position's angles, (tokens, size / 2) each, for attention heads of `size`.

    Section 3.4.2: dimensions 2i and 2i + 1 of the token at position m turn by m / 10000^(2i / size) radians.
    """
    angles = np.arange(tokens)[:, None] * _BASE ** (-np.arange(0, size, 2) / size)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
