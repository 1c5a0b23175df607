"""Delivery: decisions, what happened to them, and the counters that caps and budgets are kept with.

::

    t/{tenant}/d/{decision_id}   d               the decision; `fb` remembers which feedback has been counted
    t/{tenant}/p/{uid}           f/{ad_id}       times of the ad's impressions to this id of a person
    t/{tenant}/stats             {ad_id}         impressions, clicks, conversions, dismissals
    t/{tenant}/spend             {day}/{ad_id}   charged, and reserved by ten-minute bucket

A reservation is never taken back by a sweeper: it counts while its bucket is young (`RESERVATION_SECONDS`), and an
impression moves it to `charged`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from shared.domain import Decision, RankedAd, Reason
from shared.stores.people import person_key
from shared.stores.table import Table

RESERVATION_SECONDS = 1800
BUCKET_SECONDS = 600
DECISION_DAYS = 7
IMPRESSION_DAYS = 367  # the longest frequency cap is a leap year
_COUNTERS = {"impression": "impressions", "click": "clicks", "conversion": "conversions", "dismiss": "dismissals"}


class Delivery:
    """Store of decisions, feedback, frequency and spend. Money is in the advertiser's currency."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # Decisions --------------------------------------------------------------------------------------------------

    def put_decision(self, tenant: str, decision: Decision, bids: dict[str, float], budgets: dict[str, float]) -> None:
        """Keeps the decision, and reserves ``bid_cpm / 1000`` of each budgeted ad shown in it.

        bids: cost of one impression by ad; budgets: daily budget by ad, of those that have one.
        """
        document = asdict(decision)
        actions = [
            self._table.put_action(
                {
                    "pk": f"t/{tenant}/d/{decision.decision_id}",
                    "sk": "d",
                    "uid": decision.uid,
                    "at": decision.at,
                    "doc": orjson.dumps(document),
                    "costs": {ad.ad_id: bids.get(ad.ad_id, 0.0) for ad in decision.ads},
                    "budgeted": [ad.ad_id for ad in decision.ads if ad.ad_id in budgets],
                    "fb": {},
                    "expires_at": int(decision.at) + DECISION_DAYS * 86400,
                }
            )
        ]
        if decision.uid is not None:
            actions.append(
                self._table.put_action(
                    {
                        "pk": person_key(tenant, decision.uid),
                        "sk": f"d/{decision.decision_id}",
                        "at": decision.at,
                        "expires_at": int(decision.at) + DECISION_DAYS * 86400,
                    }
                )
            )
        bucket = _bucket(decision.at)
        for ad in decision.ads:
            if ad.ad_id in budgets:
                actions.append(self._reserve(tenant, ad.ad_id, decision.at, bucket, bids.get(ad.ad_id, 0.0)))
        self._table.transact_in_turn(actions, "counters")

    def get_decision(self, tenant: str, decision_id: str) -> Decision | None:
        row = self._table.get(f"t/{tenant}/d/{decision_id}", "d")
        if row is None:
            return None
        document = orjson.loads(row["doc"])
        ads = tuple(
            RankedAd(**ad | {"reasons": tuple(Reason(**reason) for reason in ad["reasons"])}) for ad in document["ads"]
        )
        return Decision(**document | {"ads": ads})

    def _reserve(self, tenant: str, ad_id: str, at: float, bucket: str, amount: float) -> dict[str, Any]:
        return self._table.update_action(
            (f"t/{tenant}/spend", f"{_day(at)}/{ad_id}"),
            "SET expires_at = :ttl ADD #bucket :amount",
            {":amount": amount, ":ttl": _spend_expires(at)},
            names={"#bucket": bucket},
        )

    # Feedback ---------------------------------------------------------------------------------------------------

    def record(self, tenant: str, decision: Decision, ad_id: str, kind: str, at: float) -> bool:
        """Counts one thing that happened to a decision's ad; False where it was counted before.

        One transaction marks it as counted and moves every counter, so a repeat or a crash changes nothing twice.
        """
        key = (f"t/{tenant}/d/{decision.decision_id}", "d")
        row = self._table.get(*key)
        if row is None:
            return False
        mark = f"{kind}/{ad_id}"
        actions = [
            self._table.update_action(
                key,
                "SET fb.#mark = :at",
                {":at": at},
                names={"#mark": mark},
                condition="attribute_not_exists(fb.#mark)",
            ),
            self._table.update_action(
                (f"t/{tenant}/stats", ad_id), "ADD #counter :one", {":one": 1}, names={"#counter": _COUNTERS[kind]}
            ),
        ]
        if kind == "impression":
            if decision.uid is not None:
                actions.append(
                    self._table.update_action(
                        (person_key(tenant, decision.uid), f"f/{ad_id}"),
                        "SET shown = list_append(if_not_exists(shown, :none), :at), expires_at = :ttl",
                        {":at": [at], ":none": [], ":ttl": int(at) + IMPRESSION_DAYS * 86400},
                    )
                )
            cost = float(row["costs"].get(ad_id, 0.0))
            if ad_id in row["budgeted"] and cost:
                actions.append(
                    self._table.update_action(
                        (f"t/{tenant}/spend", f"{_day(decision.at)}/{ad_id}"),
                        # The row may have expired before a late impression: it must do so again.
                        "SET expires_at = if_not_exists(expires_at, :ttl) ADD charged :cost, #bucket :back",
                        {":cost": cost, ":back": -cost, ":ttl": _spend_expires(at)},
                        names={"#bucket": _bucket(decision.at)},
                    )
                )
        return self._table.transact_in_turn(actions, "counters")

    # Counters ---------------------------------------------------------------------------------------------------

    def impressions(self, tenant: str, *uids: str) -> dict[str, list[float]]:
        """Times of the impressions of each ad to this person, through any of these ids of theirs, oldest first."""
        shown: dict[str, list[float]] = {}
        for uid in uids:
            for row in self._table.query(person_key(tenant, uid), prefix="f/"):
                shown.setdefault(row["sk"].removeprefix("f/"), []).extend(float(at) for at in row["shown"])
        return {ad_id: sorted(times) for ad_id, times in shown.items()}

    def spent(self, tenant: str, ad_ids: Iterable[str], now: float) -> dict[str, float]:
        """Charged plus still reserved today (UTC) by ad; 0 where nothing is."""
        keys = {(f"t/{tenant}/spend", f"{_day(now)}/{ad_id}"): ad_id for ad_id in ad_ids}
        oldest = _bucket_number(now - RESERVATION_SECONDS)
        spent = dict.fromkeys(keys.values(), 0.0)
        for key, row in self._table.get_many(keys).items():
            # Those to come are counted too: another function's clock may be before ours.
            reserved = sum(
                float(value)
                for name, value in row.items()
                if name[0] == "r" and name[1:].isdigit() and int(name[1:]) >= oldest and float(value) > 0
            )
            spent[keys[key]] = float(row.get("charged", 0.0)) + reserved
        return spent

    def stats(self, tenant: str) -> dict[str, dict[str, int]]:
        """Impressions, clicks, conversions and dismissals by ad, since the beginning."""
        return {
            row["sk"]: {name: int(row.get(name, 0)) for name in _COUNTERS.values()}
            for row in self._table.query(f"t/{tenant}/stats", consistent=False)
        }


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _spend_expires(at: float) -> int:
    return int(at) + 3 * 86400


def _bucket_number(at: float) -> int:
    return int(at // BUCKET_SECONDS)


def _bucket(at: float) -> str:
    return f"r{_bucket_number(at)}"
