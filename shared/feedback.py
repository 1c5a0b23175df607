"""What happened to the ads of decisions: counted once, and learned from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain import FEEDBACK_TYPES, Event
from shared.policy.consent import in_force
from shared.stores import Stores
from shared.stores.delivery import Act, Recorded, StoredDecision
from shared.stores.people import StoredEvent

# What an act on an ad tells about the person, as an event on it; an impression tells nothing.
_LEARNT = {"click": "click", "conversion": "purchase", "dismiss": "dismiss"}
_AHEAD_SECONDS = 300.0  # that another clock may be ahead


@dataclass(frozen=True, slots=True)
class FeedbackItem:
    decision_id: str
    ad_id: str
    type: str
    timestamp: float


class Feedback:
    """Counts feedback, and makes events of what it tells about people."""

    def __init__(
        self,
        stores: Stores,
        *,
        clock: Callable[[], float],
        consent_basis: Callable[[str], str] = lambda tenant: "asserted",
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._consent_basis = consent_basis

    def take(self, tenant: str, items: Sequence[FeedbackItem]) -> list[dict[str, Any]]:
        """What became of each item: ``counted`` (with what else that did), ``repeated`` or ``refused`` with its reason.

        A click, conversion or dismissal that comes before its impression counts the impression with it
        (`implied_impression`). An impression for which the day's budget has no room any more counts, but is not
        charged.
        """
        now = self._clock()
        decisions = self._stores.delivery.get_decisions(tenant, {item.decision_id for item in items}, now)
        reasons_ = [_feedback_problem(item, decisions.get(item.decision_id), now) for item in items]
        good = [item for item, reason in zip(items, reasons_, strict=True) if reason is None]
        people = {one.decision.uid for item in good if (one := decisions[item.decision_id]).decision.uid is not None}
        # A refusal since the decision, or a basis since that needs their consent: it counts, for nobody.
        said = self._stores.people.consents(tenant, sorted(people)) if people else {}
        basis = self._consent_basis(tenant)
        nobody = {uid for uid in people if not in_force(said.get(uid), basis).personalisation}
        acts = [Act(item.decision_id, item.ad_id, item.type, item.timestamp) for item in good]
        recorded = iter(self._stores.delivery.record_many(tenant, acts, now, decisions=decisions, nobody=nobody))
        self._learn(tenant, good, decisions, nobody)
        results: list[dict[str, Any]] = []
        for place, (item, reason) in enumerate(zip(items, reasons_, strict=True)):
            answer: dict[str, Any] = {"index": place, "decision_id": item.decision_id, "ad_id": item.ad_id}
            results.append(answer | ({"result": "refused", "reason": reason} if reason else _told(next(recorded))))
        return results

    def _learn(
        self,
        tenant: str,
        items: Sequence[FeedbackItem],
        decisions: Mapping[str, StoredDecision],
        nobody: Collection[str],
    ) -> None:
        """Writes what the items tell about people as events of theirs. Written again on a repeat: the ids are the same,
        so a crash after the counting is made good."""
        told = [
            (uid, item) for item in items if item.type in _LEARNT and (uid := decisions[item.decision_id].decision.uid)
        ]
        told = [(uid, item) for uid, item in told if uid not in nobody]
        if not told:
            return
        ads = self._stores.catalogue.get_ads(tenant, {item.ad_id for _, item in told})
        events: dict[str, list[StoredEvent]] = {}
        for uid, item in told:
            ad = ads.get(item.ad_id)
            event = Event(
                user_id="",
                event=_LEARNT[item.type],
                timestamp=item.timestamp,
                event_id=f"fb:{item.decision_id}:{item.ad_id}:{item.type}",
                item_id=item.ad_id,
                domain=ad.ad.domain if ad is not None else None,
            )
            events.setdefault(uid, []).append(StoredEvent(event))
        self._stores.people.append_events(tenant, events)


def _told(recorded: Recorded) -> dict[str, Any]:
    if not recorded.known:
        return {"result": "refused", "reason": "decision_id: no such decision, or it is older than it is kept"}
    answer: dict[str, Any] = {"result": "counted" if recorded.counted else "repeated"}
    if recorded.implied_impression:
        answer["implied_impression"] = True
    if recorded.charged is False:
        answer["charged"] = False
    return answer


def _feedback_problem(item: FeedbackItem, stored: StoredDecision | None, now: float) -> str | None:
    if item.type not in FEEDBACK_TYPES:
        return f"type: one of {', '.join(FEEDBACK_TYPES)}"
    if stored is None:
        return "decision_id: no such decision, or it is older than it is kept"
    if item.ad_id not in {ad.ad_id for ad in stored.decision.ads}:
        return "ad_id: the decision did not show this ad"
    if not stored.decision.at - _AHEAD_SECONDS <= item.timestamp <= now + _AHEAD_SECONDS:
        return "timestamp: before the decision or in the future"
    return None
