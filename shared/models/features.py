"""What the click model looks at: the columns of its input, made once for serving and training alike.

Serving writes the columns it used into the decision log, and training reads them from there, so that a feature cannot
mean one thing in training and another in serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# prior, campaign_prior: log-odds of the smoothed click rate of the ad and of its campaign. similarity, session: cosine
# with the best interest, weighted, and with the best session interest. category, language, domain, sequel: matches in
# [0, 1]. next_item: log-odds of the next-item model, 0 without one. history_match: highest cosine with the last items.
# bid: log(1 + bid_cpm). ad_age: log(1 + days since its start). activity: log(1 + different items in the
# history, at most `HISTORY_ITEMS`). recency: log(1 + hours since the last of them). position: log2(1 + slot).
FEATURES = (
    "prior",
    "campaign_prior",
    "similarity",
    "category",
    "session",
    "language",
    "domain",
    "sequel",
    "next_item",
    "history_match",
    "bid",
    "ad_age",
    "activity",
    "recency",
    "position",
)
FIRST_POSITION = 1.0  # log2(1 + slot) of the first slot: where serving imagines every ad
HISTORY_ITEMS = 20  # different ones of a person, the latest, as the click model reads them
LONGEST_HISTORY = 50  # times that a person turned to an item, the latest, as the next-item model reads them


@dataclass(frozen=True, slots=True)
class History:
    """What a person last turned to, the latest first, at most `LONGEST_HISTORY`; an item stands there as often as they
    came back to it from another.

    ids: item ids. vectors: float32 (L, 384), unit length, in the topic space; zeros where the item is unknown, or not
    among the first `HISTORY_ITEMS` different ones: each may cost a read, and the next-item model knows by their ids the
    items that it was trained with. ages: days, (L,).
    """

    ids: tuple[str, ...] = ()
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 384), dtype=np.float32))
    ages: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def distinct(self) -> History:
        """The first `HISTORY_ITEMS` items, each once, where it stands first."""
        places = first_places(self.ids)
        return History(tuple(self.ids[place] for place in places), self.vectors[places], self.ages[places])


def first_places(ids: Sequence[str]) -> list[int]:
    """Where the first `HISTORY_ITEMS` different ids stand first."""
    found: dict[str, int] = {}
    for place, item in enumerate(ids):
        found.setdefault(item, place)
    return list(found.values())[:HISTORY_ITEMS]


@dataclass(frozen=True, slots=True)
class Candidates:
    """n ads as a click model sees them. vectors: float32 (n, 384), in the topic space. columns: (n, len(FEATURES))."""

    ids: Sequence[str]
    vectors: np.ndarray
    columns: np.ndarray
