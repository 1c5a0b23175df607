"""Which ads of a catalogue an impression takes at all, as masks over its snapshot.

What has to look at every ad in Python is done once for each snapshot, and kept: the forms that a banner may take, and
of native assets how long each text is. What a request brings is compared with that, and cannot make work of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from shared.domain import LANGUAGES, Ad, Language
from shared.eligibility import OPEN
from shared.openrtb.categories import is_offered
from shared.openrtb.markup import form
from shared.openrtb.native import (
    DATA_TYPES,
    TEXT_ONLY,
    Asset,
    NativeSlot,
    domain_of,
    image_of,
    mime_of,
    shortest,
    takes_main_image,
)
from shared.openrtb.requests import BannerSlot, BidRequest, Offer, Slot
from shared.snapshot import Snapshot

_ENDLESS = np.iinfo(np.int64).max  # characters of a text that there is none of
_HELD = 8  # snapshots


class Shelf:
    """A snapshot as exchanges see it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._columns: dict[Hashable, np.ndarray] = {}

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
            mask |= self.as_native(slot.native, secure=slot.secure)
        return mask

    def as_native(self, slot: NativeSlot, *, secure: bool) -> np.ndarray:
        """Mask (n,) of the ads that have all that the slot requires, whatever their copy says: of those that
        `native.assets_of` finds assets of."""
        count = len(self.snapshot.ads)
        whole, some, pictured = np.ones(count, dtype=bool), np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        # An asset's own id says nothing of who has it.
        for asset in {(one.kind, one.type, one.longest, one.mimes, one.required): one for one in slot.assets}.values():
            has = self._has(asset, secure=secure)
            some |= has
            if asset.kind == "img":
                pictured |= has
            if asset.required:
                whole &= has
        return whole & some & pictured if TEXT_ONLY in slot.blocked_attributes else whole & some

    def _has(self, asset: Asset, *, secure: bool) -> np.ndarray:
        if asset.kind == "img":
            mask = self._column(("image", secure), lambda ad: image_of(ad, secure=secure) is not None, bool)
            if not takes_main_image(asset):
                return np.zeros_like(mask)
            return mask & self._of_types(asset.mimes) if asset.mimes else mask
        if asset.kind != "title" and (asset.kind != "data" or asset.type not in DATA_TYPES):
            return np.zeros(len(self.snapshot.ads), dtype=bool)
        place = asset.kind, asset.type if asset.kind == "data" else None

        def length(ad: Ad) -> int:
            found = shortest(asset, ad)
            return _ENDLESS if found is None else found

        lengths = self._column(place, length, np.int64)
        return lengths < _ENDLESS if asset.longest is None else lengths <= min(asset.longest, _ENDLESS - 1)

    def _of_types(self, mimes: Collection[str]) -> np.ndarray:
        return np.isin(self._image_types, sorted(mimes))

    @cached_property
    def _image_types(self) -> np.ndarray:
        return np.array([mime_of(ad.image_url or "") for ad in self.snapshot.ads])

    def within(self, offer: Offer) -> np.ndarray:
        """Mask (n,) of the ads that may be bid with on these terms: in a deal those that name it and whose advertiser
        it allows, on the open market those that are not of deals alone; none below the floor."""
        mask = self._bids >= offer.floor
        if offer.deal is not None:
            mask &= self._rows(self._deals.get(offer.deal, ()))
        else:
            mask &= self._open
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

    @cached_property
    def _open(self) -> np.ndarray:
        mask = np.ones(len(self.snapshot.ads), dtype=bool)
        if "deals" in self.snapshot.targeting:
            named, wanting = self.snapshot.targeting["deals"]
            mask[named] = False
            if OPEN in wanting:
                mask[wanting[OPEN]] = True
        return mask

    def as_banner(self, banner: BannerSlot, *, secure: bool) -> np.ndarray:
        types, attributes = banner.blocked_types & {1, 2}, banner.blocked_attributes & {TEXT_ONLY}
        return self._column(
            ("banner", types, attributes, secure),
            lambda ad: form(ad, secure=secure, blocked_types=types, blocked_attributes=attributes) is not None,
            bool,
        )

    def _column(self, key: Hashable, value: Callable[[Ad], Any], kind: type[Any]) -> np.ndarray:
        """A value of each ad (n,). The keys are few, whatever is asked for."""
        column = self._columns.get(key)
        if column is None:
            ads = self.snapshot.ads
            column = self._columns[key] = np.fromiter(map(value, ads), dtype=kind, count=len(ads))
        return column

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
