"""What becomes of bids: wins, billings, losses and clicks, as they are told by exchanges and browsers.

What is told is counted, and once. A billing and an image of the ad's markup tell of the same impression, whichever
comes first. It is charged to the ad's budget, whether its reservation holds, has lapsed or was given back; where the
budget has no room for it any more it counts uncharged, as in feedback. A win alone counts nothing. A loss gives back
what was reserved, once, also after a win (exchanges tell winners of their auction that lost in the next), and never
what was billed; of a decision that was bid with more than once, the loss of the last of its bids does.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import AdTailorError
from shared.feedback import FeedbackItem
from shared.openrtb import notices
from shared.openrtb.notices import Notice
from shared.recommending import Recommending
from shared.stores import Stores
from shared.telemetry import MetricUnit, logger, metrics

_WON = "0"  # OpenRTB 3.0, "List: Loss Reason Codes"
_AUDIT = "AUDIT"  # what macros are replaced by where no auction was (4.4)
_COUNTED = {"billing": "impression", "click": "click", "visit": "click"}  # as feedback


class Outcomes:
    """Takes notices."""

    def __init__(self, recommending: Recommending, stores: Stores, *, clock: Callable[[], float]) -> None:
        self._recommending = recommending
        self._stores = stores
        self._clock = clock

    def take(self, notice: Notice, signature: str, *, reason: str = "", price: str = "") -> bool:
        """Counts what is told, the first time it comes. False of a notice that is not ours, which changes nothing; what
        comes too late or again is ours, and changes nothing either.

        reason, price: as they stand in the notice's address. Where the price is AUDIT the ad was rendered for a look at
            its quality (4.4), and nothing counts.

        Raises:
            Unavailable, Conflict: it cannot be counted now; it should be sent again.
        """
        if not notices.is_ours(self._stores.people, notice, signature):
            return False
        if price == _AUDIT:
            return True
        if notice.kind == "win":
            metrics.add_metric("Wins", MetricUnit.Count, 1)
        elif notice.kind == "loss":
            self._lose(notice, reason)
        else:
            self._count(notice)
        return True

    def visit(self, notice: Notice, signature: str, *, seen: bool = True) -> str | None:
        """Where a click leads: the page of the ad that was shown, as the catalogue has it now. None of an address that
        is not ours, or of an ad that is gone. seen: a person follows the link; else nothing is counted.

        Whoever clicks is led on even where the click cannot be counted.

        Raises:
            Unavailable: the catalogue cannot be read.
        """
        if not notices.is_ours(self._stores.people, notice, signature):
            return None
        found = self._stores.catalogue.get_ads(notice.tenant, [notice.ad_id]).get(notice.ad_id)
        if found is None:
            return None
        if seen:
            try:
                self._count(notice)
            except AdTailorError as error:
                metrics.add_metric("ClicksNotCounted", MetricUnit.Count, 1)
                logger.error("a click is not counted", extra={"reason": error.detail})
        return found.ad.landing_url

    def _count(self, notice: Notice) -> None:
        kind = _COUNTED[notice.kind]
        if kind == "impression":
            metrics.add_metric("Billings", MetricUnit.Count, 1)
        else:
            metrics.add_metric("Clicks", MetricUnit.Count, 1)
        item = FeedbackItem(notice.decision_id, notice.ad_id, kind, self._clock())
        (answer,) = self._recommending.feedback(notice.tenant, [item])
        if answer["result"] == "refused":  # the decision is over, or was erased
            metrics.add_metric("NoticesTooLate", MetricUnit.Count, 1)
            logger.warning("what is told of a bid is not counted", extra={"kind": kind, "reason": answer["reason"]})
        if answer.get("charged") is False:
            metrics.add_metric("ImpressionsUncharged", MetricUnit.Count, 1)
            logger.warning("an impression came when the budget had no room for it", extra={"ad_id": notice.ad_id})

    def _lose(self, notice: Notice, reason: str) -> None:
        if reason == _WON:
            metrics.add_metric("Wins", MetricUnit.Count, 1)
            return
        metrics.add_metric("Losses", MetricUnit.Count, 1)
        if reason.isdecimal() and len(reason) <= 4:  # not where it was left unfilled, or is encrypted
            metrics.add_metadata("loss_reason", int(reason))
        delivery, now = self._stores.delivery, self._clock()
        delivery.lose(notice.tenant, notice.decision_id, notice.ad_id, now, place=notice.place)
