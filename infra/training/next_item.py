"""The next-item model: what a person turns to next, learned from histories of items.

`fit` chooses everything on its own validation (the last item of each history), refits on the whole histories and gives
a `Fitted`, which `save` writes as the files that `shared.models.next_item.NextItem` serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fitted:
    """A fitted model. figures: validation measures and settings, JSON-able, for a manifest's metadata."""

    figures: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes the model's files into `folder` (made where absent). The manifest is the caller's."""
        raise NotImplementedError


def fit(
    histories: Sequence[np.ndarray],
    item_ids: Sequence[str],
    vectors: np.ndarray,
    *,
    seed: int = 0,
    deadline: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Fitted:
    """Fits on histories.

    histories: of each person the item numbers (places in `item_ids`), oldest first, integers (L,); those shorter than
    two are of no use and left out. vectors: float32 (len(item_ids), 384), of unit length, of the texts.
    deadline: of `time.monotonic()`; training ends before it. say: is told of progress.

    Raises:
        ValueError: too few histories to learn from.
    """
    raise NotImplementedError
