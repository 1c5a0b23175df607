"""Use case of ``POST /openrtb2/auction``: bids with what the tenant's catalogue has for somebody.

A bid is a decision, made and reserved as for every other caller. The price is the ad's own `bid_cpm`, or the one agreed
on in a deal. The ad's own is what the budget is charged when the impression is billed (`shared.openrtb.outcomes`),
once, whatever it clears at.

An impression gets one ad. Where it has deals (`imp.pmp`) the ad is chosen for the first of them that one fits, else
for the open market unless the auction is private, and is bid with on all terms that it may be had on: the seller ranks
deals by other things than price, and needs both (7.3). As one of these bids at most can win, they share one decision
and one reservation (`shared.openrtb.bids`).

What is reserved for a bid that does not go out is given back before there is an answer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from shared.domain import Ad, Decision
from shared.eligibility import OPEN, Context
from shared.errors import Conflict, NotFound, Unavailable
from shared.openrtb.bids import EXPIRES, Placed, Trade, Writing
from shared.openrtb.choosing import Asking, Choosing
from shared.openrtb.requests import BidRequest, Offer, Slot, parse
from shared.openrtb.shelf import Shelf, Shelves
from shared.recommending import Recommending
from shared.snapshot import Snapshots
from shared.stores import Stores
from shared.stores.faults import LEAST_SECONDS, patience
from shared.telemetry import MetricUnit, logger, metrics

AWAY_SECONDS = 0.02  # of `tmax`: for the answer's way back, and for writing it
FREEING_SECONDS = 1.0  # for giving back what no bid will use
MOST_BIDS = 20  # of one request: one for each impression, and as many more on further terms as there is room for
HIGHEST_FLOOR = 1e9  # beyond which no ad bids, and a float of the catalogue's column has no room
_REMEMBERED, _SURE = 256, 0.99  # decisions, and the share of them that would have been done in time
# OpenRTB 3.0, "List: No-Bid Reason Codes"; vendors' own are from 500 on
UNKNOWN, TECHNICAL, INVALID = 0, 1, 2


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
    """Answers bid requests. monotonic: seconds of a clock that nobody sets."""

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

    def bid(self, tenant: str, body: Any, base: str, *, arrived: float, gpc: bool = False) -> dict[str, Any] | NoBid:
        """The bid response (4.2.1) to a bid request as it came.

        base: where notices are sent, ``https://…/openrtb2``. arrived: when the request did, on the monotonic clock.
        gpc: whether it came with the header of the Global Privacy Control.

        Raises:
            BadInput: it is none. Unavailable: a part that this needs is down, and the request has no `tmax`; where it
                has one, that is a no-bid like any that cannot be had in time.
        """
        request = parse(body, eid_source=self._trade.eid_source, vendor_id=self._trade.vendor_id, gpc=gpc)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        kept: list[str] = []
        answer: dict[str, Any] | NoBid | None = None
        try:
            answer = self._answer(tenant, request, base, arrived, kept)
        finally:
            if not isinstance(answer, dict):
                self._free(tenant, kept)
        return answer

    def _answer(
        self, tenant: str, request: BidRequest, base: str, arrived: float, kept: list[str]
    ) -> dict[str, Any] | NoBid:
        """kept: takes the ids of the decisions that reserve something."""
        until = None if request.tmax is None else arrived + request.tmax / 1000 - AWAY_SECONDS
        writing = Writing(self._stores.people, self._trade, tenant, base)
        try:
            shelf = self._shelf(tenant)
            with self._bounded(until):
                placed = self._placed(tenant, request, shelf, writing, until, kept)
                if isinstance(placed, NoBid):
                    return placed
                bids = [bid for one in _limited(placed) for bid in writing.bids(request, shelf, one)]
        except NotFound:
            return NoBid(TECHNICAL, "the tenant has published no catalogue")
        except Unavailable as error:
            if until is None:
                raise
            logger.warning("no bid", extra={"reason": error.detail})
            return NoBid(TECHNICAL, "a part that a bid needs did not answer within tmax")
        if until is not None and self._monotonic() > until:
            metrics.add_metric("AuctionsTooLate", MetricUnit.Count, 1)
            return NoBid(TECHNICAL, "tmax is over")
        metrics.add_metric("Bids", MetricUnit.Count, len(bids))
        return writing.response(request, bids)

    def _free(self, tenant: str, kept: Sequence[str]) -> None:
        """Gives back what these decisions have reserved, those too of which it is not known whether they were kept."""
        if not kept:
            return
        delivery, now = self._stores.delivery, self._clock()
        try:
            with patience(FREEING_SECONDS):
                for decision_id, stored in delivery.get_decisions(tenant, kept, now).items():
                    for ad in stored.decision.ads:
                        delivery.lose(tenant, decision_id, ad.ad_id, now)
        except (Conflict, Unavailable) as error:
            metrics.add_metric("BidsNotFreed", MetricUnit.Count, 1)
            logger.error("what was reserved for bids that did not go out lapses by itself", extra={"why": error.detail})

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

    def _placed(
        self,
        tenant: str,
        request: BidRequest,
        shelf: Shelf,
        writing: Writing,
        until: float | None,
        kept: list[str],
    ) -> list[Placed] | NoBid:
        """An ad for each impression that there is one for, as far as time allows."""
        left = shelf.takes(request)
        if until is not None and not self._pace.allows(until - self._monotonic()):
            return NoBid(TECHNICAL, "tmax is too short")
        asker = self._choosing.asker(tenant, request.person)
        placed: list[Placed] = []
        reason = "no ad fits what the request allows"
        for slot in request.slots:
            refusal = _unusable(slot)
            if refusal is not None:
                reason = refusal.reason
                continue
            fitting = left & self._fitting(slot, shelf)
            offers = self._offers(slot, shelf)
            if all(offer.deal is not None for offer in slot.offers):
                reason = "only deals may bid (pmp.private_auction), and no ad that fits is in one of them"
            for place, offer in enumerate(offers):
                mask = fitting & shelf.within(offer)
                if offer.floor and offer.currency != self._trade.currency:
                    reason = f"the floor is not in {self._trade.currency}"
                    continue
                if not mask.any():
                    continue
                begun = self._monotonic()
                if until is not None and not self._pace.allows(until - begun):
                    return placed or NoBid(TECHNICAL, "tmax is too short")
                try:
                    decision = self._choose(tenant, request, slot, offer, asker, shelf, mask, writing, kept)
                except Conflict:
                    reason = "too many others are at the last of these budgets"
                    continue
                finally:
                    self._pace.took(self._monotonic() - begun)
                if decision is not None:
                    ad = shelf.snapshot.ads[shelf.snapshot.places[decision.ads[0].ad_id]]
                    others = [one for one in offers[:place] + offers[place + 1 :] if self._may_bid(ad, one, shelf)]
                    placed.append(Placed(slot, ad, decision, (offer, *others)))
                    left = _without(shelf, left, ad)
                    break
        return placed or NoBid(UNKNOWN, reason)

    def _fitting(self, slot: Slot, shelf: Shelf) -> np.ndarray:
        """Mask (n,) of the ads that the impression takes, whatever the terms."""
        if slot.exp is not None and slot.exp > EXPIRES:
            return shelf.fits(slot) & ~shelf.snapshot.budgeted  # what is reserved may have lapsed when it is seen
        return shelf.fits(slot)

    def _offers(self, slot: Slot, shelf: Shelf) -> list[Offer]:
        """Those that this seat may take at all, and some ad is in."""
        seat = self._trade.seat
        return [
            offer
            for offer in slot.offers
            if (offer.deal is None or offer.deal in shelf.deals) and (offer.seats is None or seat in offer.seats)
        ]

    def _may_bid(self, ad: Ad, offer: Offer, shelf: Shelf) -> bool:
        """Whether an ad that the impression takes may be bid with on these terms too."""
        if offer.floor and offer.currency != self._trade.currency:
            return False
        return bool(shelf.within(offer)[shelf.snapshot.places[ad.ad_id]])

    def _choose(
        self,
        tenant: str,
        request: BidRequest,
        slot: Slot,
        offer: Offer,
        asker: Asking,
        shelf: Shelf,
        mask: np.ndarray,
        writing: Writing,
        kept: list[str],
    ) -> Decision | None:
        """The decision for the impression on these terms, among the ads of the mask; None where there is none left."""
        context = Context(
            domain=request.domain,
            language=request.language,
            platform=request.platform,
            placement=slot.placement,
            floor_cpm=min(offer.floor, HIGHEST_FLOOR) or None,
            deal=offer.deal or OPEN,
        )
        return self._choosing.choose(
            tenant,
            shelf.snapshot,
            asker,
            lambda _: mask,
            context,
            shown=lambda ranked: writing.shown(slot, shelf, ranked),
            kept=None if request.test else kept,
            interests=request.interests,
        )


def _limited(placed: Sequence[Placed]) -> list[Placed]:
    """`MOST_BIDS` at most: one for each impression first, then by turns on the further terms of each."""
    kept, room = [1] * len(placed), MOST_BIDS - len(placed)
    for turn in range(1, max(len(one.offers) for one in placed)):
        for place, one in enumerate(placed):
            if room > 0 and turn < len(one.offers):
                kept[place] += 1
                room -= 1
    return [replace(one, offers=one.offers[:count]) for one, count in zip(placed, kept, strict=True)]


def _unusable(slot: Slot) -> NoBid | None:
    """What the impression cannot be bid on for, whatever the terms."""
    if slot.banner is None and slot.native is None:
        return NoBid(UNKNOWN, "neither a banner of a size that can be read, nor a native ad")
    if slot.quantity != 1:
        return NoBid(UNKNOWN, "the impression counts more than once (qty), and a budget pays for one")
    return None


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
