"""Delivery: decisions, what they reserve, and what is counted of what happened to them.

::

    t/{tenant}/d/{bucket}{shard}   {decision_id}         shared.stores.decisions
    t/{tenant}/p/{uid}             f/{ad_id}             shared.stores.frequency
    t/{tenant}/spend               {day}/{ad_id}         shared.stores.spend
    t/{tenant}/variants            {ad_id}/{variant}     shared.stores.variants
    t/{tenant}/stats               {ad_id}               impressions, clicks, conversions, dismissals

A decision and all that it reserves are one transaction; so is all that one request tells of one decision. Both hold
only where nobody else has changed what they rest on, so that neither a race nor a repeat counts or spends twice.

**What holds at the edges.** A decision is made on the terms of its moment: that its campaign ends, or its budget is
changed, before the answer is out or before the impression changes nothing about it. An impression whose reservation has
been released meanwhile is charged where the day's budget still has room, and else counted for nothing (`charged` is
False). The first thing to be told of an ad implies that it was seen: a click, a conversion or a dismissal without an
impression counts the impression with it, and when that comes later it is a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.domain import Decision, FrequencyCap
from shared.errors import Conflict
from shared.stores.decisions import (
    DECISION_DAYS,
    SHARDS,
    Decisions,
    StoredDecision,
    Terms,
    bucket_of,
    new_decision_id,
)
from shared.stores.faults import give_way
from shared.stores.feedback import Act, Feedback, Recorded
from shared.stores.frequency import IMPRESSION_DAYS, Frequency
from shared.stores.losses import Losses, Lost
from shared.stores.spend import BUCKET_SECONDS, RESERVATION_SECONDS, Spend, units
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Table
from shared.stores.variants import Variants
from shared.telemetry import MetricUnit, metrics

__all__ = [
    "BUCKET_SECONDS",
    "DECISION_DAYS",
    "IMPRESSION_DAYS",
    "RESERVATION_SECONDS",
    "SHARDS",
    "Act",
    "Delivery",
    "Lost",
    "Recorded",
    "StoredDecision",
    "Terms",
    "bucket_of",
    "new_decision_id",
]

_TURNS = 30  # at rows that other decisions are at


class Delivery:
    """Store of decisions, feedback, frequency and spend. Money is in the advertiser's currency, times in epoch
    seconds."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._decisions = Decisions(table)
        self._spend = Spend(table)
        self._frequency = Frequency(table)
        self._variants = Variants(table)
        self._feedback = Feedback(table, self._decisions, self._spend, self._frequency, self._variants)
        self._losses = Losses(table, self._decisions, self._spend, self._frequency)

    # Decisions --------------------------------------------------------------------------------------------------

    def put_decision(
        self,
        tenant: str,
        decision: Decision,
        terms: Mapping[str, Terms],
        uids: Collection[str],
        now: float,
    ) -> frozenset[str]:
        """Keeps the decision and reserves what its ads need: of those with a daily limit the cost of an impression, of
        those with a cap a place among what the person may be shown.

        Returns the ads that cannot be had (budget used up, cap reached, or more of both than one transaction holds: the
        last ones); nothing is kept then. Empty: it is kept, with everything that it needs.

        terms: by ad; one that is not there has none. uids: all ids of the person, whose impressions a cap counts;
        without effect where the decision has no uid, for who is unknown has no caps.

        Raises:
            Conflict: too many others are at the same budgets. Unavailable: as everywhere. ValueError: the decision's id
                is not one of `new_decision_id`.
        """
        wanted = {ad.ad_id: terms.get(ad.ad_id, Terms()) for ad in decision.ads}
        budget = {
            ad_id: (units(own.cost), units(own.daily_limit))
            for ad_id, own in wanted.items()
            if own.daily_limit is not None and units(own.cost) > 0
        }
        dear = frozenset(ad_id for ad_id, (cost, limit) in budget.items() if cost > limit)
        if dear:
            return dear
        person = [decision.uid, *(uid for uid in uids if uid != decision.uid)] if decision.uid is not None else []
        caps = {ad_id: own.cap for ad_id, own in wanted.items() if own.cap is not None and person}
        kept = self._decisions.put_actions(tenant, decision, budget)
        for ad_id in budget:
            self._spend.tidy(tenant, ad_id, now)
        for attempt in range(_TURNS):
            reserving, out = self._reserving(tenant, decision, budget, caps, person, now)
            if out:
                return out
            actions, payers = list(kept), {}
            for ad_id, parts in reserving.items():
                if len(actions) + len(parts) > TRANSACTION_LIMIT:
                    out |= {ad_id}
                elif ad_id in budget:
                    payers[len(actions)] = ad_id
                actions += parts
            if out:
                return out
            try:
                self._table.transact(actions)
            except ConditionFailed as error:
                poor = [payers[place] for place in error.failed if place in payers]
                out = frozenset(
                    ad for ad in poor if not self._spend.make_room(tenant, ad, decision.at, *budget[ad], now)
                )
                if out:
                    return out
                give_way(attempt)
                continue
            for ad_id in budget:
                self._spend.forget(tenant, ad_id, decision.at)
            metrics.add_metric("Decisions", MetricUnit.Count, 1)
            return frozenset()
        raise Conflict("too many decisions at the same ads", retry_after=1)

    def _reserving(
        self,
        tenant: str,
        decision: Decision,
        budget: Mapping[str, tuple[int, int]],
        caps: Mapping[str, FrequencyCap],
        person: Sequence[str],
        now: float,
    ) -> tuple[dict[str, list[dict[str, Any]]], frozenset[str]]:
        """What each ad adds to the transaction, its budget first; and the ads whose cap is reached."""
        rows = self._frequency.rows(tenant, person, caps) if caps else {}
        out = frozenset(
            ad_id for ad_id, cap in caps.items() if self._frequency.reached(tenant, person, ad_id, cap, rows, now)
        )
        parts: dict[str, list[dict[str, Any]]] = {}
        for ad_id, (cost, limit) in budget.items():
            parts[ad_id] = [self._spend.reserve_action(tenant, ad_id, decision.at, cost, limit)]
        when = decision.decision_id, decision.at
        for ad_id in caps:
            more = self._frequency.reserve_actions(tenant, person, ad_id, when, rows, now)
            parts.setdefault(ad_id, []).extend(more)
        return parts, out

    def get_decision(self, tenant: str, decision_id: str, now: float | None = None) -> Decision | None:
        """None where this tenant has no such decision (an id that is none included), or, of `now`, no longer."""
        return self._decisions.get(tenant, decision_id, now)

    def get_decisions(self, tenant: str, decision_ids: Iterable[str], now: float) -> dict[str, StoredDecision]:
        """Those that there are, by id, without their logs, in one read for a hundred; `record_many` takes them."""
        return self._decisions.get_many(tenant, decision_ids, now)

    def decisions_of(
        self, tenant: str, bucket: str, shard: str
    ) -> Iterator[tuple[str, float, bytes, dict[str, float]]]:
        """See `Decisions.decisions_of`."""
        return self._decisions.decisions_of(tenant, bucket, shard)

    # Feedback ---------------------------------------------------------------------------------------------------

    def record_many(
        self,
        tenant: str,
        acts: Sequence[Act],
        now: float,
        *,
        decisions: Mapping[str, StoredDecision] | None = None,
        nobody: Collection[str] = (),
    ) -> list[Recorded]:
        """See `Feedback.record_many`: one read for all decisions, and one transaction for each."""
        return self._feedback.record_many(tenant, acts, now, decisions=decisions, nobody=nobody)

    def record(self, tenant: str, decision: Decision, ad_id: str, kind: str, at: float) -> Recorded:
        """Counts one thing that happened to a decision's ad; for nobody, where `decision` is given without its uid."""
        stored = self._decisions.get_many(tenant, [decision.decision_id])
        nobody = {one.decision.uid or "" for one in stored.values()} if decision.uid is None else ()
        act = Act(decision.decision_id, ad_id, kind, at)
        return self._feedback.record_many(tenant, [act], at, decisions=stored, nobody=nobody)[0]

    def lose(
        self, tenant: str, decision_id: str, ad_id: str, now: float, *, place: tuple[int, int] | None = None
    ) -> Lost:
        """See `Losses.lose`: what was reserved for an ad that will not be shown is free again."""
        return self._losses.lose(tenant, decision_id, ad_id, now, place=place)

    def erase_decision(
        self,
        tenant: str,
        uid: str,
        decision_id: str,
        told: Callable[[Mapping[str, int]], list[dict[str, Any]]],
    ) -> None:
        """See `Feedback.erase`."""
        self._feedback.erase(tenant, uid, decision_id, told)

    def rows_of_decisions(self, tenant: str, decision_ids: Iterable[str]) -> int:
        """How many rows there are of these decisions, their logs' included."""
        return self._decisions.there(tenant, decision_ids)

    # Counters ---------------------------------------------------------------------------------------------------

    def impressions(self, tenant: str, *uids: str) -> dict[str, list[float]]:
        """Times of the impressions of each ad to this person, through any of these ids of theirs, oldest first."""
        return self._frequency.impressions(tenant, *uids)

    def exposures(self, tenant: str, uids: Iterable[str], now: float) -> dict[str, list[float]]:
        """`impressions`, and with them the times of decisions whose ads may yet be seen: what `put_decision` counts."""
        return self._frequency.exposures(tenant, uids, now)

    def spent(self, tenant: str, ad_ids: Iterable[str], now: float) -> dict[str, float]:
        """Charged plus still reserved today (UTC) by ad; 0 where nothing is. What other processes have written in the
        last two seconds may be missing."""
        return self._spend.spent(tenant, ad_ids, now)

    def stats(self, tenant: str) -> dict[str, dict[str, int]]:
        """Impressions, clicks, conversions and dismissals by ad, since the beginning."""
        return self._feedback.stats(tenant)

    def stats_of(self, tenant: str, ad_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """The same of these ads alone: those that something was counted of."""
        return self._feedback.stats_of(tenant, ad_ids)

    def variant_stats(
        self, tenant: str, variants: Iterable[tuple[str, str]], now: float, half_life_days: float = 14
    ) -> dict[tuple[str, str], tuple[float, float]]:
        """Impressions and clicks by (ad id, variant), the older the less (see `Variants.stats`)."""
        return self._variants.stats(tenant, variants, now, half_life_days)
