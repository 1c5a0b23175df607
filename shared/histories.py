"""A person's last items as the models see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.categories import tells
from shared.domain import Profile, turns
from shared.interests import SAME_INTEREST
from shared.models.features import HISTORY_ITEMS, LONGEST_HISTORY, History
from shared.snapshot import DIMENSIONS, Project, Snapshot
from shared.stores.catalogue import Catalogue
from shared.stores.people import unpack_vectors

HELD_ITEMS = 20_000  # items that are no ads whose vectors are kept


class Histories:
    """Reads histories. Vectors of items that are no ads are read once a process."""

    def __init__(self, catalogue: Catalogue, *, project: Project) -> None:
        self._catalogue = catalogue
        self._project = project
        self._items: dict[tuple[str, str], np.ndarray] = {}

    def of(self, tenant: str, snapshot: Snapshot, profile: Profile, now: float, *, sensitive: bool = False) -> History:
        """The last items, without those of interests that are switched off, and without ads that tell something
        sensitive by the catalogue as it is now; the health domain's stay where the person consented (`sensitive`)."""
        off = [interest for interest in profile.interests if not interest.enabled]
        off_ids = {interest.id for interest in off}
        recent = turns(
            one
            for one in profile.recent
            if one.interest_id not in off_ids and not _tells(snapshot, one.item_id, sensitive)
        )
        if not recent:
            return History()
        vectors = self._vectors(tenant, snapshot, list(dict.fromkeys(one.item_id for one in recent))[:HISTORY_ITEMS])
        if off:  # what is near such an interest is as good as in it, and of what is not read nobody knows
            switched = self._project(unpack_vectors([interest.vector for interest in off]))
            far = {
                item
                for item, vector in vectors.items()
                if vector.any() and float((switched @ vector).max()) < SAME_INTEREST
            }
            recent = turns(one for one in recent if one.item_id in far)
        recent = recent[:LONGEST_HISTORY]
        ages = np.array([max(now - one.at, 0.0) / 86400 for one in recent], dtype=np.float32)
        stacked = np.zeros((len(recent), _width(snapshot)), dtype=np.float32)
        for place, one in enumerate(recent):
            if (vector := vectors.get(one.item_id)) is not None:
                stacked[place] = vector
        return History(tuple(one.item_id for one in recent), stacked, ages)

    def _vectors(self, tenant: str, snapshot: Snapshot, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Vectors (384,) in the topic space; zeros where an item is known no more. Items that are no ads are read
        once."""
        if len(self._items) > HELD_ITEMS:
            self._items.clear()
        unknown = [item for item in item_ids if item not in snapshot.places and (tenant, item) not in self._items]
        if unknown:
            items = self._catalogue.resolve(tenant, unknown)
            found = {item_id: item.vector for item_id, item in items.items() if item.vector}
            if found:
                for item_id, vector in zip(found, self._project(unpack_vectors(list(found.values()))), strict=True):
                    self._items[tenant, item_id] = vector
        nothing = np.zeros(_width(snapshot), dtype=np.float32)
        return {
            item: snapshot.vectors[row]
            if (row := snapshot.places.get(item)) is not None
            else self._items.get((tenant, item), nothing)
            for item in item_ids
        }


def _width(snapshot: Snapshot) -> int:
    return snapshot.vectors.shape[1] if len(snapshot.ads) else DIMENSIONS


def _tells(snapshot: Snapshot, item_id: str, sensitive: bool) -> bool:
    row = snapshot.places.get(item_id)
    if row is None:
        return False
    ad = snapshot.ads[row]
    return not (sensitive and ad.domain == "health") and tells(ad, snapshot.categories[snapshot.category[row]])
