"""Which ads of a catalogue an impression takes at all, as masks over its snapshot.

What a request blocks comes in few combinations, and a snapshot serves many requests: what has to look at every ad is
done once for each snapshot and combination.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from shared.domain import LANGUAGES, Language
from shared.eligibility import OPEN
from shared.openrtb.categories import is_offered
from shared.openrtb.markup import form
from shared.openrtb.native import TEXT_ONLY, domain_of, fits
from shared.openrtb.requests import BannerSlot, BidRequest, Offer, Slot
from shared.snapshot import Snapshot

_FORMS = 128  # combinations that are kept of one snapshot
_HELD = 8  # snapshots


class Shelf:
    """A snapshot as exchanges see it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._forms: dict[Any, np.ndarray] = {}

    def takes(self, request: BidRequest) -> np.ndarray:
        """Mask (n,) of the ads that the request does not block: by category, advertiser and language. None without a
        price is among them."""
        snapshot = self.snapshot
        kinds = [is_offered(one, request.cattax, request.blocked, request.allowed) for one in snapshot.categories]
        mask = (snapshot.bid > 0) & np.array(kinds, dtype=bool)[snapshot.category]
        for rows in filter(None, map(self._advertisers.get, request.advertisers)):
            mask[rows] = False
        if request.languages is not None:
            mask &= self._spoken(request.languages)
        return mask

    def fits(self, slot: Slot) -> np.ndarray:
        """Mask (n,) of the ads that can be put into the slot, as a banner or natively."""
        mask = np.zeros(len(self.snapshot.ads), dtype=bool)
        if slot.banner is not None:
            mask |= self.as_banner(slot.banner, secure=slot.secure)
        if slot.native is not None:
            native = slot.native
            mask |= self._form(("native", native, slot.secure), lambda ad: fits(native, ad, secure=slot.secure))
        return mask

    def within(self, offer: Offer) -> np.ndarray:
        """Mask (n,) of the ads that may be bid with on these terms: in a deal those that name it and whose advertiser
        it allows, on the open market any (`shared.eligibility` leaves out those of deals alone); none below the floor.
        """
        mask = self._bids >= offer.floor
        if offer.deal is not None:
            mask &= self._rows(self._deals.get(offer.deal, ()))
        if offer.advertisers is not None:
            found = filter(None, map(self._advertisers.get, offer.advertisers))
            mask &= self._rows([row for rows in found for row in rows])
        return mask

    @property
    def deals(self) -> Collection[str]:
        """Ids of the deals that some ad names."""
        return self._deals.keys()

    def _rows(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        mask = np.zeros(len(self.snapshot.ads), dtype=bool)
        mask[np.asarray(rows, dtype=np.int64)] = True
        return mask

    @cached_property
    def _bids(self) -> np.ndarray:
        """What each ad bids, as it will stand in the bid: the snapshot's column is rounded."""
        return np.array([ad.bid_cpm for ad in self.snapshot.ads], dtype=np.float64)

    @cached_property
    def _deals(self) -> dict[str, np.ndarray]:
        _, wanting = self.snapshot.targeting.get("deals", (None, {}))
        return {name: rows for name, rows in wanting.items() if name != OPEN}

    def as_banner(self, banner: BannerSlot, *, secure: bool) -> np.ndarray:
        types, attributes = banner.blocked_types & {1, 2}, banner.blocked_attributes & {TEXT_ONLY}
        return self._form(
            ("banner", types, attributes, secure),
            lambda ad: form(ad, secure=secure, blocked_types=types, blocked_attributes=attributes) is not None,
        )

    def _form(self, key: Any, takes: Callable[[Any], bool]) -> np.ndarray:
        mask = self._forms.get(key)
        if mask is None:
            mask = np.fromiter(map(takes, self.snapshot.ads), dtype=bool, count=len(self.snapshot.ads))
            if len(self._forms) >= _FORMS:
                self._forms.clear()
            self._forms[key] = mask
        return mask

    def _spoken(self, languages: Iterable[Language]) -> np.ndarray:
        return np.isin(self.snapshot.language, [LANGUAGES.index(one) for one in languages])

    @cached_property
    def _advertisers(self) -> dict[str, list[int]]:
        """Rows by the advertiser's domain and every domain above it, so that ``ford.com`` blocks ``cars.ford.com``."""
        found: dict[str, list[int]] = {}
        for row, ad in enumerate(self.snapshot.ads):
            parts = domain_of(ad).split(".")
            for start in range(max(1, len(parts) - 1)):
                found.setdefault(".".join(parts[start:]), []).append(row)
        return found


class Shelves:
    """The shelves of the snapshots in service."""

    def __init__(self) -> None:
        self._held: dict[str, Shelf] = {}

    def of(self, tenant: str, snapshot: Snapshot) -> Shelf:
        shelf = self._held.get(tenant)
        if shelf is None or shelf.snapshot is not snapshot:
            while len(self._held) >= _HELD and tenant not in self._held:
                self._held.pop(next(iter(self._held)), None)
            shelf = self._held[tenant] = Shelf(snapshot)
        return shelf
