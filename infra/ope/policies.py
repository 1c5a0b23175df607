"""What a ranker would have shown: the slate policy rebuilt over a logged decision's candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.exploration import Traits, slate


def chances_of(scores: np.ndarray, traits: Sequence[Traits], slots: int, epsilon: float, rotation: float) -> np.ndarray:
    """A ranker's chances (C, S) of each candidate in each slot, under the exploration that was logged.

    scores: click probabilities (C,). traits: of each candidate, for the rules of separation.
    """
    order = np.argsort(-scores, kind="stable")
    pool = max(0, -(-len(order) // slots) - 1) if slots else 0  # who was a candidate keeps a chance, the rules allowing
    ranked = [traits[place] for place in order.tolist()]
    made = slate(scores[order], ranked, slots, epsilon=epsilon, rotation=rotation, pool=pool)
    found = np.zeros((len(scores), slots))
    if places := made.places():
        place, own = (np.array(column) for column in zip(*places, strict=True))
        chance = np.array([made.chances[slot][one] for one, slot in places])
        found[order[place], : made.slots] = spread(own, chance, made.slots, made.rotation)
    return found


def spread(own: np.ndarray, chances: np.ndarray, slots: int, rotation: float) -> np.ndarray:
    """Chances (C, slots) in each slot of candidates with a slot of their own, `own` (C,), and `chances` (C,) before the
    slots are turned, as with probability `rotation` they are."""
    turning = rotation if slots > 1 else 0.0
    found = np.repeat(chances[:, None] * (turning / max(1, slots)), slots, axis=1)
    found[np.arange(len(own)), own] += chances * (1 - turning)
    return found
