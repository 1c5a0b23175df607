"""Losses: what was reserved for an ad of a decision that will not be shown is given back at once, and once.

The decision's row takes the mark ``lost/{ad_id}`` in the transaction that takes the reservation off budget and cap, on
the condition that there is neither this mark nor the ad's impression. An impression that comes all the same is charged
to what the budget has left (`shared.stores.feedback`), never to a reservation, which is somebody else's by then.

A decision may be bid with more than once, on the terms of a deal and on the open market, of which one at most can win.
Each loss then leaves a mark ``out/{n}``, on the condition that some other bid has none; the last one finds that all
others have theirs, and gives back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from shared.errors import Conflict
from shared.stores.decisions import Decisions, StoredDecision, decision_key, lost_name, out_name
from shared.stores.faults import give_way
from shared.stores.frequency import Frequency
from shared.stores.spend import Spend
from shared.stores.table import ConditionFailed, Key, Table

_TURNS = 30

# given back: now. kept: another bid with it may win. repeated: before. shown: its impression counts, and stays.
# nothing: it had reserved nothing, or that has lapsed. unknown: no such decision of this tenant (any more), or it did
# not show this ad.
Lost = Literal["given back", "kept", "repeated", "shown", "nothing", "unknown"]


class Losses:
    """Gives back what decisions have reserved."""

    def __init__(self, table: Table, decisions: Decisions, spend: Spend, frequency: Frequency) -> None:
        self._table = table
        self._decisions = decisions
        self._spend = spend
        self._frequency = frequency

    def lose(
        self, tenant: str, decision_id: str, ad_id: str, now: float, *, place: tuple[int, int] | None = None
    ) -> Lost:
        """Says what became of it. place: which bid of how many with the decision has lost, from 0; None: all of them.

        Raises:
            Conflict: too many others write at the same budget. Unavailable: as everywhere.
        """
        lapsed = False  # what was reserved of the budget
        for attempt in range(_TURNS):
            stored = self._decisions.get_many(tenant, [decision_id], now).get(decision_id)
            if stored is None or all(ad.ad_id != ad_id for ad in stored.decision.ads):
                return "unknown"
            if f"impression/{ad_id}" in stored.marks:
                return "shown"
            if ad_id in stored.lost:
                return "repeated"
            others = frozenset(range(place[1])) - {place[0]} - stored.out if place is not None else frozenset()
            if place is not None and others:
                if place[0] in stored.out:
                    return "repeated"
                if self._mark_out(tenant, decision_id, place[0], others, now):
                    return "kept"
                give_way(attempt)
                continue
            parts = self._parts(tenant, stored, ad_id, lapsed=lapsed)
            if not parts:
                return "nothing"
            try:
                self._table.transact([self._mark_action(tenant, decision_id, ad_id, now), *parts.values()])
            except ConditionFailed as error:
                lapsed |= any(list(parts)[place - 1] == "budget" for place in error.failed if place)
                if not error.failed:
                    give_way(attempt)
                continue
            self._spend.forget(tenant, ad_id, stored.decision.at)
            return "given back"
        raise Conflict("too many writers at the same budget", retry_after=1)

    def _mark_out(self, tenant: str, decision_id: str, place: int, others: Iterable[int], now: float) -> bool:
        """Marks this bid as lost, where another one has not; False where it has been, or all others have, meanwhile."""
        names = {f"#o{other}": out_name(other) for other in others}
        some = " OR ".join(f"attribute_not_exists({name})" for name in names)
        try:
            self._table.update(
                _key(tenant, decision_id),
                "SET #out = :at",
                {":at": now},
                names=names | {"#out": out_name(place)},
                condition=f"attribute_exists(pk) AND attribute_not_exists(#out) AND ({some})",
            )
        except ConditionFailed:
            return False
        return True

    def _parts(self, tenant: str, stored: StoredDecision, ad_id: str, *, lapsed: bool) -> dict[str, dict[str, Any]]:
        """The transaction's parts that give back, by what they do."""
        decision, parts = stored.decision, {}
        if ad_id in stored.budget and not lapsed:
            cost, _ = stored.budget[ad_id]
            parts["budget"] = self._spend.give_back_action(tenant, ad_id, decision.at, cost)
        uid = decision.uid
        if uid is not None and self._frequency.reserved(tenant, uid, ad_id, decision.decision_id):
            parts["cap"] = self._frequency.give_back_action(tenant, uid, ad_id, decision.decision_id)
        return parts

    def _mark_action(self, tenant: str, decision_id: str, ad_id: str, now: float) -> dict[str, Any]:
        return self._table.update_action(
            _key(tenant, decision_id),
            "SET #lost = :at",
            {":at": now},
            names={"#lost": lost_name(ad_id), "#shown": f"impression/{ad_id}"},
            condition="attribute_exists(pk) AND attribute_not_exists(#lost) AND attribute_not_exists(fb.#shown)",
        )


def _key(tenant: str, decision_id: str) -> Key:
    key = decision_key(tenant, decision_id)
    if key is None:
        raise ValueError(f"{decision_id!r} is no decision's id")
    return key
