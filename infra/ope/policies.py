"""What a ranker would have shown: the slate policy rebuilt over a logged decision's candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.exploration import Ration, Slate, Traits, slate

SAME_CAMPAIGN = 3  # ads of one campaign in an answer, as serving has it


def chances_of(
    scores: np.ndarray, campaigns: Sequence[str | None], slots: int, epsilon: float, rotation: float
) -> np.ndarray:
    """A ranker's chances (C, S) of each candidate in each slot. scores: (C,) click probabilities; campaigns: of each
    candidate, None where it has none."""
    order = np.argsort(-scores, kind="stable")
    traits = [_traits(campaigns[place]) for place in order]
    pool = max(0, -(-len(order) // slots) - 1) if slots else 0  # all candidates keep a chance where rules let them
    made = slate(scores[order], traits, slots, epsilon=epsilon, rotation=rotation, pool=pool)
    chances = np.zeros((len(scores), slots))
    chances[order] = _matrix(made, len(order), slots)
    return chances


def spread(own: np.ndarray, chances: np.ndarray, slots: int, rotation: float) -> np.ndarray:
    """Chances (C, S) of candidates that have a slot of their own, `own` (C,), and `chances` (C,) to be shown at all,
    where with probability `rotation` the slots are turned."""
    turning = rotation if slots > 1 else 0.0
    found = np.repeat(chances[:, None] * turning / max(1, slots), slots, axis=1)
    found[np.arange(len(own)), own] += chances * (1 - turning)
    return found


def _matrix(made: Slate, count: int, slots: int) -> np.ndarray:
    """A slate's propensities, (count, slots)."""
    found = np.zeros((count, slots))
    places = made.places()
    if places:
        at, own = (np.array(column) for column in zip(*places, strict=True))
        chance = np.array([made.chances[slot][place] for place, slot in places])
        found[at, : made.slots] = spread(own, chance, made.slots, made.rotation)
    return found


def _traits(campaign: str | None) -> Traits:
    return Traits({} if campaign is None else {f"campaign:{campaign}": Ration(SAME_CAMPAIGN)}, campaign=campaign)
