"""Use case of ``POST /openrtb2/auction`` and of the notices: bids with what the tenant's catalogue has for somebody.

A bid is a decision, made and reserved as for every other caller. The price is the ad's own `bid_cpm`, and that is what
the budget is charged when the exchange bills the impression (`burl`), once, whatever it clears at. A win by itself
charges nothing, and a loss gives nothing back at once: what is reserved lapses within `RESERVATION_SECONDS`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from shared.domain import Ad, Decision, RankedAd
from shared.eligibility import Context
from shared.errors import AdTailorError, Conflict, NotFound, Unavailable
from shared.feedback import FeedbackItem
from shared.openrtb import markup, native, notices
from shared.openrtb.categories import told
from shared.openrtb.choosing import Asking, Choosing
from shared.openrtb.notices import Notice
from shared.openrtb.requests import BidRequest, Slot, parse
from shared.openrtb.shelf import Shelf, Shelves
from shared.recommending import Recommending
from shared.snapshot import Snapshots
from shared.stores import Stores
from shared.stores.delivery import BUCKET_SECONDS, RESERVATION_SECONDS
from shared.stores.faults import LEAST_SECONDS, patience
from shared.telemetry import MetricUnit, logger, metrics

BANNER, NATIVE = 1, 4  # `bid.mtype` (4.2.3)
EXPIRES = RESERVATION_SECONDS - BUCKET_SECONDS  # seconds for which a reservation holds for certain
AWAY_SECONDS = 0.02  # of `tmax`: for the answer's way back, and for writing it
_REMEMBERED, _SURE = 256, 0.99  # decisions, and the share of them that would have been done in time
# OpenRTB 3.0, "List: No-Bid Reason Codes"; vendors' own are from 500 on
UNKNOWN, TECHNICAL, INVALID = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Trade:
    """On what terms a deployment bids. currency: of `bid_cpm`. seat: its name at exchanges. eid_source: of the entry of
    `user.eids` that names people as events do. vendor_id: its own in the Global Vendor List, 0 for none."""

    currency: str = "USD"
    seat: str = "adtailor"
    eid_source: str = ""
    vendor_id: int = 0


@dataclass(frozen=True, slots=True)
class NoBid:
    """Nothing is bid, and why: a code of OpenRTB's list, and in words for whoever integrates."""

    code: int
    reason: str


class Pace:
    """How long a decision takes here, so that none is begun that is not all but sure to be done in time: the
    `_SURE` quantile of the last ones. A refusal, from which nothing is learnt, forgets the oldest of them."""

    def __init__(self, seconds: float = 0.01) -> None:
        self._last: deque[float] = deque([seconds], maxlen=_REMEMBERED)
        self._lock = Lock()

    def allows(self, left: float) -> bool:
        with self._lock:
            taken = sorted(self._last)
            needed = taken[min(len(taken) - 1, int(_SURE * len(taken)))]
            if left >= needed:
                return True
            self._last.popleft()
            if not self._last:
                self._last.append(0.9 * needed)
            return False

    def took(self, seconds: float) -> None:
        with self._lock:
            self._last.append(seconds)


class Bidding:
    """Answers bid requests, and takes notices. monotonic: seconds of a clock that nobody sets."""

    def __init__(
        self,
        recommending: Recommending,
        snapshots: Snapshots,
        stores: Stores,
        trade: Trade,
        *,
        clock: Callable[[], float],
        shelves: Shelves,
        pace: Pace,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recommending = recommending
        self._snapshots = snapshots
        self._stores = stores
        self._choosing = Choosing(recommending, stores, clock)
        self._trade = trade
        self._clock = clock
        self._shelves = shelves
        self._pace = pace
        self._monotonic = monotonic

    def bid(self, tenant: str, body: Any, base: str, *, arrived: float) -> dict[str, Any] | NoBid:
        """The bid response (4.2.1) to a bid request as it came.

        base: where notices are sent, ``https://…/openrtb2``. arrived: when the request did, on the monotonic clock.

        Raises:
            BadInput: it is none. Unavailable: a part that this needs is down, and the request has no `tmax`; where it
                has one, that is a no-bid like any that cannot be had in time.
        """
        request = parse(body, eid_source=self._trade.eid_source, vendor_id=self._trade.vendor_id)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        until = None if request.tmax is None else arrived + request.tmax / 1000 - AWAY_SECONDS
        try:
            shelf = self._shelf(tenant)
            with self._bounded(until):
                bids = self._bids(tenant, request, shelf, base, until)
        except NotFound:
            return NoBid(TECHNICAL, "the tenant has published no catalogue")
        except Unavailable as error:
            if until is None:
                raise
            logger.warning("no bid", extra={"reason": error.detail})
            return NoBid(TECHNICAL, "a part that a bid needs did not answer within tmax")
        if isinstance(bids, NoBid):
            return bids
        if until is not None and self._monotonic() > until:
            metrics.add_metric("AuctionsTooLate", MetricUnit.Count, 1)
            return NoBid(TECHNICAL, "tmax is over")
        metrics.add_metric("Bids", MetricUnit.Count, len(bids))
        seat = {"seat": self._trade.seat, "bid": bids, "group": 0}
        return {"id": request.id, "bidid": bids[0]["id"], "cur": self._trade.currency, "seatbid": [seat]}

    def _refusal(self, request: BidRequest) -> NoBid | None:
        """What the whole request cannot be bid on for."""
        trade = self._trade
        if request.currencies and trade.currency not in request.currencies:
            return NoBid(UNKNOWN, f"bids are in {trade.currency}")
        if (request.seats and trade.seat not in request.seats) or trade.seat in request.blocked_seats:
            return NoBid(UNKNOWN, f"the seat {trade.seat} may not bid")
        if request.languages is not None and not request.languages:
            return NoBid(UNKNOWN, "no creative is in an allowed language")
        return None

    @contextmanager
    def _bounded(self, until: float | None) -> Iterator[None]:
        """No call to a service is begun when the time is over."""
        if until is None:
            yield
            return
        with patience(max(0.0, until - self._monotonic()) + LEAST_SECONDS):
            yield

    def _shelf(self, tenant: str) -> Shelf:
        """The tenant's catalogue, with what ranks it. A process that has neither yet reads them beyond any `tmax`: read
        in part they would be of no use to the next request either, and be taken for damaged."""
        snapshot = self._snapshots.latest(tenant)
        self._recommending.prepare(tenant, snapshot)
        return self._shelves.of(tenant, snapshot)

    def _bids(
        self, tenant: str, request: BidRequest, shelf: Shelf, base: str, until: float | None
    ) -> list[dict[str, Any]] | NoBid:
        left = shelf.takes(request)
        if until is not None and not self._pace.allows(until - self._monotonic()):
            return NoBid(TECHNICAL, "tmax is too short")
        asker = self._choosing.asker(tenant, request.person)
        bids: list[dict[str, Any]] = []
        reason = "no ad fits what the request allows"
        for slot in request.slots:
            begun = self._monotonic()
            if until is not None and not self._pace.allows(until - begun):
                reason = "tmax is too short"
                break
            found = self._bid(tenant, request, slot, asker, shelf, left, base)
            self._pace.took(self._monotonic() - begun)
            if isinstance(found, NoBid):
                reason = found.reason
                continue
            ad, bid = found
            bids.append(bid)
            left = _without(shelf, left, ad)
        return bids or NoBid(UNKNOWN, reason)

    def _bid(
        self, tenant: str, request: BidRequest, slot: Slot, asker: Asking, shelf: Shelf, left: np.ndarray, base: str
    ) -> tuple[Ad, dict[str, Any]] | NoBid:
        if slot.private:
            return NoBid(UNKNOWN, "only deals may bid (pmp.private_auction)")
        if slot.banner is None and slot.native is None:
            return NoBid(UNKNOWN, "neither a banner of a size that can be read, nor a native ad")
        if slot.floor and slot.floor_currency != self._trade.currency:
            return NoBid(UNKNOWN, f"the floor is not in {self._trade.currency}")
        mask = left & shelf.fits(slot)
        context = Context(
            domain=request.domain,
            language=request.language,
            platform=request.platform,
            placement=slot.placement,
            floor_cpm=slot.floor or None,
        )
        try:
            decision = self._choosing.choose(
                tenant,
                shelf.snapshot,
                asker,
                lambda _: mask,
                context,
                interests=request.interests,
                reserve=not request.test,
            )
        except Conflict:
            return NoBid(TECHNICAL, "too many others are at the last of these budgets")
        if decision is None:
            return NoBid(UNKNOWN, "no ad fits what the impression allows")
        ad = shelf.snapshot.ads[shelf.snapshot.places[decision.ads[0].ad_id]]
        return ad, self._written(tenant, request, slot, shelf, ad, decision, base)

    def _written(
        self, tenant: str, request: BidRequest, slot: Slot, shelf: Shelf, ad: Ad, decision: Decision, base: str
    ) -> dict[str, Any]:
        """The bid (4.2.3)."""
        (shown,) = decision.ads
        snapshot = shelf.snapshot
        bid: dict[str, Any] = {
            "id": decision.decision_id,
            "impid": slot.id,
            "price": ad.bid_cpm,
            "adid": ad.ad_id,
            "crid": f"{ad.ad_id}:{shown.variant or 'own'}",
            "cid": ad.campaign_id or ad.ad_id,
            "adomain": [native.domain_of(ad)],
            "language": ad.language,
            "exp": EXPIRES,
        } | _creative(slot, shelf, ad, shown)
        if ad.image_url:
            bid["iurl"] = ad.image_url
        category = told(snapshot.categories[snapshot.category[snapshot.places[ad.ad_id]]], request.cattax)
        if category is not None:
            bid["cattax"], bid["cat"] = category
        if not request.test:  # of a test there is nothing to be told
            for kind, name in (("win", "nurl"), ("billing", "burl"), ("loss", "lurl")):
                notice = Notice(kind, tenant, decision.decision_id, ad.ad_id)
                bid[name] = notices.address(self._stores.people, base, notice)
        return bid

    def notice(self, notice: Notice, signature: str) -> bool:
        """Takes a notice: a billing counts the impression, the first time it comes. False of one that is not ours,
        which changes nothing; what comes too late or again is ours, and changes nothing either.

        Raises:
            Unavailable: it cannot be counted now; it should be sent again.
        """
        if not notices.is_ours(self._stores.people, notice, signature):
            return False
        if notice.kind == "win":
            metrics.add_metric("Wins", MetricUnit.Count, 1)
        elif notice.kind == "loss":
            metrics.add_metric("Losses", MetricUnit.Count, 1)
        else:
            metrics.add_metric("Billings", MetricUnit.Count, 1)
            item = FeedbackItem(notice.decision_id, notice.ad_id, "impression", self._clock())
            self._recommending.feedback(notice.tenant, [item])
        return True


def _creative(slot: Slot, shelf: Shelf, ad: Ad, shown: RankedAd) -> dict[str, Any]:
    """The markup: a banner where the slot takes this ad as one, else natively."""
    row = shelf.snapshot.places[ad.ad_id]
    if slot.banner is not None and shelf.as_banner(slot.banner, secure=slot.secure)[row]:
        banner = slot.banner
        kind = markup.form(
            ad,
            secure=slot.secure,
            blocked_types=banner.blocked_types,
            blocked_attributes=banner.blocked_attributes,
        )
        image = native.image_of(ad, secure=slot.secure) if kind == "image" else None
        html = markup.banner(ad, shown.copy, banner.size, image=image, label=shown.copy_label)
        width, height = banner.size
        attributes = [] if image else [markup.TEXT_ONLY]
        return {"adm": html, "mtype": BANNER, "w": width, "h": height, "attr": attributes}
    copies = [shown.copy]
    if shown.copy_label:  # what a model wrote is shown with its label, or not at all
        label = shown.copy_label.get(ad.language) or next(iter(shown.copy_label.values()))
        copies = [f"{shown.copy} ({label})"]
    adm = native.markup(slot.native, ad, copies, secure=slot.secure) if slot.native is not None else None
    if adm is None:
        raise AdTailorError("an ad was chosen that does not fit its slot")
    return {"adm": adm, "mtype": NATIVE}


def _without(shelf: Shelf, mask: np.ndarray, ad: Ad) -> np.ndarray:
    """The ads that may stand beside this one on a page: other ones, and none that shares an exclusion label with it
    (as in one answer of `shared.recommending`)."""
    mask = mask.copy()
    mask[shelf.snapshot.places[ad.ad_id]] = False
    labels = frozenset(ad.exclusion_labels)
    if labels:
        ads = shelf.snapshot.ads
        rivals = [
            row
            for row, others in enumerate(shelf.snapshot.labels)
            if others & labels and (ad.campaign_id is None or ads[row].campaign_id != ad.campaign_id)
        ]
        mask[rivals] = False
    return mask
