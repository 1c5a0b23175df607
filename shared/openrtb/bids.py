"""The bid response (4.2): a decision's ad as bids, with its markup and the addresses by which it is told of.

An ad is bid with on all terms on which the impression can be had with it, deals and the open market: an exchange takes
one of an impression's bids at most, so they share the decision, its reservation, its markup and its notices. A loss
says which of how many bids it is of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from shared.domain import Ad, Decision, RankedAd
from shared.errors import AdTailorError
from shared.openrtb import markup, native, notices
from shared.openrtb.categories import told
from shared.openrtb.notices import Digests, Notice
from shared.openrtb.requests import BidRequest, Offer, Slot
from shared.openrtb.shelf import Shelf
from shared.stores.copies import text_key
from shared.stores.delivery import BUCKET_SECONDS, RESERVATION_SECONDS

BANNER, NATIVE = 1, 4  # `bid.mtype` (4.2.3)
EXPIRES = RESERVATION_SECONDS - BUCKET_SECONDS  # seconds for which a reservation holds for certain
_HERE = {"localhost", "127.0.0.1", "::1"}  # which pages over HTTPS may load from all the same


@dataclass(frozen=True, slots=True)
class Trade:
    """On what terms a deployment bids. currency: of `bid_cpm`. seat: its name at exchanges. eid_source: of the entry of
    `user.eids` that names people as events do. vendor_id: its own in the Global Vendor List, 0 for none.

    tracked: tenants whose ads may carry addresses that browsers call, which sign nothing; None: all. pixel: whether a
    banner tells its impression by an image, for exchanges that bill none (`burl`)."""

    currency: str = "USD"
    seat: str = "adtailor"
    eid_source: str = ""
    vendor_id: int = 0
    tracked: frozenset[str] | None = frozenset()
    pixel: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """An ad that was chosen for an impression, and the terms on which it is bid with: first those it was chosen on."""

    slot: Slot
    ad: Ad
    decision: Decision
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Writing:
    """Writes bids. base: where notices are sent, ``https://…/openrtb2``."""

    digests: Digests
    trade: Trade
    tenant: str
    base: str

    def response(self, request: BidRequest, bids: list[dict[str, Any]]) -> dict[str, Any]:
        """The bid response (4.2.1)."""
        seat = {"seat": self.trade.seat, "bid": bids, "group": 0}
        return {"id": request.id, "bidid": bids[0]["id"], "cur": self.trade.currency, "seatbid": [seat]}

    def bids(self, request: BidRequest, shelf: Shelf, placed: Placed) -> Iterable[dict[str, Any]]:
        """A bid (4.2.3) on each of its terms."""
        slot, ad, decision = placed.slot, placed.ad, placed.decision
        (shown,) = decision.ads
        snapshot = shelf.snapshot
        alike: dict[str, Any] = {
            "impid": slot.id,
            "adid": ad.ad_id,
            "crid": f"{ad.ad_id}:{shown.variant or 'own'}",
            "cid": ad.campaign_id or ad.ad_id,
            "adomain": [native.domain_of(ad)],
            "language": ad.language,
            "exp": EXPIRES,
        } | self._creative(request, slot, shelf, ad, shown, decision.decision_id)
        if ad.image_url:
            alike["iurl"] = ad.image_url
        category = told(snapshot.categories[snapshot.category[snapshot.places[ad.ad_id]]], request.cattax)
        if category is not None:
            alike["cattax"], alike["cat"] = category
        for number, offer in enumerate(placed.offers):
            bid = alike | {
                "id": f"{decision.decision_id}.{number}" if number else decision.decision_id,
                "price": offer.floor if offer.fixed else ad.bid_cpm,
            }
            if offer.deal is not None:
                bid["dealid"] = offer.deal
            if not request.test:  # of a test there is nothing to be told
                for kind, name in (("win", "nurl"), ("billing", "burl"), ("loss", "lurl")):
                    several = kind == "loss" and len(placed.offers) > 1
                    place = (number, len(placed.offers)) if several else None
                    bid[name] = self._address(kind, decision.decision_id, ad.ad_id, filled_in=True, place=place)
            yield bid

    def shown(self, slot: Slot, shelf: Shelf, ranked: RankedAd) -> RankedAd:
        """The ad as its markup will show it. Where a native slot has no room for the copy that was chosen, what people
        see is the advertiser's own text, and nothing is to be learnt of the copy."""
        row = shelf.snapshot.places[ranked.ad_id]
        if slot.native is None or self._is_banner(slot, shelf, row):
            return ranked
        ad = shelf.snapshot.ads[row]
        copies = _copies(ranked, ad.language)
        assets = native.assets_of(slot.native, ad, copies, secure=slot.secure) or ()
        if not copies or native.is_told(assets, copies):
            return ranked
        return replace(
            ranked,
            copy=ad.title,
            copy_served_by="advertiser",
            copy_label=None,
            copy_provenance={"generator": "advertiser"},
            variant=text_key(ad.title),
            variant_propensity=1.0,
        )

    def _address(
        self,
        kind: str,
        decision_id: str,
        ad_id: str,
        *,
        filled_in: bool = False,
        place: tuple[int, int] | None = None,
    ) -> str:
        notice = Notice(kind, self.tenant, decision_id, ad_id, place)
        return notices.address(self.digests, self.base, notice, filled_in=filled_in)

    def _is_banner(self, slot: Slot, shelf: Shelf, row: int) -> bool:
        return slot.banner is not None and bool(shelf.as_banner(slot.banner, secure=slot.secure)[row])

    def _tracks(self, request: BidRequest, slot: Slot) -> bool:
        """Whether the ad may carry addresses of ours: browsers get in, and a secure page may load from here."""
        tracked, place = self.trade.tracked, urlsplit(self.base)
        if request.test or (tracked is not None and self.tenant not in tracked):
            return False
        return not slot.secure or place.scheme == "https" or place.hostname in _HERE

    def _creative(
        self, request: BidRequest, slot: Slot, shelf: Shelf, ad: Ad, shown: RankedAd, decision_id: str
    ) -> dict[str, Any]:
        """The markup: a banner where the slot takes this ad as one, else natively."""
        tracks = self._tracks(request, slot)
        row = shelf.snapshot.places[ad.ad_id]
        if slot.banner is not None and self._is_banner(slot, shelf, row):
            banner = slot.banner
            kind = markup.form(
                ad,
                secure=slot.secure,
                blocked_types=banner.blocked_types,
                blocked_attributes=banner.blocked_attributes,
            )
            image = native.image_of(ad, secure=slot.secure) if kind == "image" else None
            html = markup.banner(
                ad,
                shown.copy,
                banner.size,
                image=image,
                label=shown.copy_label,
                link=self._address("visit", decision_id, ad.ad_id) if tracks else None,
                pixel=self._address("billing", decision_id, ad.ad_id) if tracks and self.trade.pixel else None,
            )
            width, height = banner.size
            return {"adm": html, "mtype": BANNER, "w": width, "h": height, "attr": _attributes(text_only=not image)}
        copies = _copies(shown, ad.language)
        assets = native.assets_of(slot.native, ad, copies, secure=slot.secure) if slot.native is not None else None
        if slot.native is None or assets is None:
            raise AdTailorError("an ad was chosen that does not fit its slot")
        trackers = native.Trackers(
            *(self._address(kind, decision_id, ad.ad_id) if tracks else None for kind in ("billing", "click"))
        )
        attributes = _attributes(text_only=native.is_text_only(assets))
        return {"adm": native.markup(slot.native, ad, assets, trackers), "mtype": NATIVE, "attr": attributes}


def _attributes(*, text_only: bool) -> list[int]:
    return [native.TEXT_ONLY] if text_only else []


def _copies(shown: RankedAd, language: str) -> list[str]:
    """What a native ad says of itself before the advertiser's own texts."""
    return [] if shown.copy_served_by == "advertiser" else [_labelled(shown.copy, shown.copy_label, language)]


def _labelled(copy: str, label: Mapping[str, str] | None, language: str) -> str:
    """What a model wrote is shown with its label, or not at all."""
    return f"{copy} ({label.get(language) or next(iter(label.values()))})" if label else copy
