"""The policy that fills the slots of an answer, with the probability of everything it may do.

The best slate is chosen greedily for relevance and diversity. A little of every answer explores, so that what another
policy would have done can be estimated from the log (Bottou et al., "Counterfactual Reasoning and Learning Systems",
JMLR 2013): each slot shows its own ad, or with probability `epsilon` one of its pool, independently of the others; and
with probability `rotation` the filled slots are turned by a number of places drawn at random. Pools have no ad in
common and are made so that no draw breaks a rule of separation. So the probability of an ad in a slot has a closed
form::

    P(ad in slot s) = chance(ad) * ((1 - rotation) * [s is the ad's own slot] + rotation / slots)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

POOL = 4  # ads that a slot may show instead of its own
LEAST_SHARE = 0.5  # of an exploring slot's chance that is spread evenly over its pool; the rest goes by score


@dataclass(frozen=True, slots=True)
class Ration:
    """How many slots a group may fill. strict: even where the answer gets shorter by it."""

    most: int
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Traits:
    """What keeps an ad apart from others.

    counted: the groups it belongs to (its campaign, brand, category), each with its ration.
    labels, campaign: two ads that share an exclusion label are shown together only where they are of one campaign.
    """

    counted: Mapping[str, Ration]
    labels: frozenset[str] = frozenset()
    campaign: str | None = None


@dataclass(frozen=True, slots=True)
class Slate:
    """What may be shown in each slot. base: by slot the ad's place in the ranking; pools: by slot the places that may
    come instead. chances: by slot and place the probability, before the rotation."""

    base: tuple[int, ...]
    pools: tuple[tuple[int, ...], ...]
    chances: tuple[dict[int, float], ...]
    rotation: float

    @property
    def slots(self) -> int:
        return len(self.base)

    def places(self) -> list[tuple[int, int]]:
        """(place, own slot) of every ad that has a chance."""
        return [(place, slot) for slot, chances in enumerate(self.chances) for place in chances]

    def propensity(self, place: int, slot: int) -> float:
        """Probability that the ad at this place of the ranking is shown in this slot."""
        total = 0.0
        for own, chances in enumerate(self.chances):
            if chance := chances.get(place):
                total += chance * ((1 - self.rotation) * (own == slot) + self.rotation / self.slots)
        return total

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The places to show, by slot."""
        picks = []
        for base, pool, chances in zip(self.base, self.pools, self.chances, strict=True):
            mark, pick = rng.random() - chances[base], base
            for place in pool:
                if mark < 0:
                    break
                pick = place
                mark -= chances[place]
            picks.append(pick)
        if self.slots > 1 and rng.random() < self.rotation:
            turn = int(rng.integers(self.slots))
            picks = picks[-turn:] + picks[:-turn] if turn else picks
        return tuple(picks)


class Separation:
    """Which slots may show what, so far: says whether an ad may come into one of them whatever the others show."""

    def __init__(self, traits: Sequence[Traits]) -> None:
        self._traits = traits
        self._slots: dict[str, set[int]] = {}
        self._labels: dict[str, dict[str | None, set[int]]] = {}

    def admits(self, place: int, slot: int, *, rationed: bool = True) -> bool:
        """rationed: whether all rations count, or only the strict ones."""
        one = self._traits[place]
        for group, ration in one.counted.items():
            held = self._slots.get(group, set())
            # Where a loose ration had to be broken already, an ad may still come instead of one of its group.
            if len(held | {slot}) > max(ration.most, len(held)) and (rationed or ration.strict):
                return False
        return not any(
            (campaign != one.campaign or campaign is None) and slots - {slot}
            for label in one.labels
            for campaign, slots in self._labels.get(label, {}).items()
        )

    def add(self, place: int, slot: int) -> None:
        one = self._traits[place]
        for group in one.counted:
            self._slots.setdefault(group, set()).add(slot)
        for label in one.labels:
            self._labels.setdefault(label, {}).setdefault(one.campaign, set()).add(slot)


def slate(
    scores: np.ndarray,
    traits: Sequence[Traits],
    slots: int,
    *,
    epsilon: float,
    rotation: float,
    vectors: np.ndarray | None = None,
    diversity: float = 0.0,
    pool: int = POOL,
) -> Slate:
    """The slate of a ranking: maximal marginal relevance (Carbonell and Goldstein, 1998) within the rules.

    scores: click probabilities (n,) in falling order. traits: of each ad. vectors: (n, d), unit length; `diversity` is
    how many nats of click probability full likeness to what is already chosen costs.
    """
    base = _greedy(scores, traits, slots, vectors, diversity)
    separation = Separation(traits)
    for slot, place in enumerate(base):
        separation.add(place, slot)
    pools: list[list[int]] = [[] for _ in base]
    if epsilon > 0 and base:
        taken = set(base)
        for place in range(len(scores)):
            if place in taken:
                continue
            # The emptiest first, so that every slot explores; a slot that must not show it passes it on.
            for slot in sorted(range(len(base)), key=lambda slot: (len(pools[slot]), slot)):
                if len(pools[slot]) < pool and separation.admits(place, slot):
                    pools[slot].append(place)
                    separation.add(place, slot)
                    break
            if all(len(one) >= pool for one in pools):
                break
    chances = [_chances(place, pools[slot], scores, epsilon) for slot, place in enumerate(base)]
    turning = rotation if len(base) > 1 else 0.0
    return Slate(tuple(base), tuple(map(tuple, pools)), tuple(chances), turning)


def _chances(base: int, pool: Sequence[int], scores: np.ndarray, epsilon: float) -> dict[int, float]:
    if not pool:
        return {base: 1.0}
    weights = np.maximum(scores[list(pool)].astype(np.float64), 1e-12)
    shares = LEAST_SHARE / len(pool) + (1 - LEAST_SHARE) * weights / weights.sum()
    return {base: 1 - epsilon, **{place: float(epsilon * share) for place, share in zip(pool, shares, strict=True)}}


def _greedy(
    scores: np.ndarray,
    traits: Sequence[Traits],
    slots: int,
    vectors: np.ndarray | None,
    diversity: float,
) -> list[int]:
    if not len(scores):
        return []
    relevance = np.log(scores.astype(np.float64) / (float(scores.max()) or 1.0) + 1e-6)
    likeness = np.zeros(len(scores))
    separation = Separation(traits)
    open_ = np.ones(len(scores), dtype=bool)
    chosen: list[int] = []
    held: list[int] = []
    while len(chosen) < slots and open_.any():
        place = int(np.argmax(np.where(open_, relevance - diversity * likeness, -np.inf)))
        open_[place] = False
        if not separation.admits(place, len(chosen)):
            held.append(place)
            continue
        separation.add(place, len(chosen))
        chosen.append(place)
        if vectors is not None and diversity:
            likeness = np.maximum(likeness, vectors @ vectors[place])
    for place in sorted(held):  # a ration that is not strict never makes the answer shorter
        if len(chosen) >= slots:
            break
        if separation.admits(place, len(chosen), rationed=False):
            separation.add(place, len(chosen))
            chosen.append(place)
    return chosen
