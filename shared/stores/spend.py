"""What ads have spent of their daily budgets (UTC days), to the last unit::

    t/{tenant}/spend   {day}/{ad_id}   charged; r{bucket}: reserved, by ten-minute bucket; committed: all of them

Money is kept in whole billionths of the advertiser's currency, so that sums and comparisons are exact. Every write
keeps ``committed == charged + sum of r{bucket}``, and none that raises `committed` succeeds beyond the budget: that is
a condition of the write itself, so it holds whoever writes at the same moment.

A reservation counts while its bucket is young (`RESERVATION_SECONDS`). No sweeper takes it back: whoever meets a budget
that is used up takes the old buckets off `committed` first, by one conditional write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from shared.stores.faults import give_way
from shared.stores.table import ConditionFailed, Key, Row, Table

RESERVATION_SECONDS = 1800
BUCKET_SECONDS = 600
TRUSTED_SECONDS = 2.0  # how long `spent` may answer from memory
_KEPT_DAYS = 9  # longer than a decision, whose impression is charged to its own day
_UNITS = 1_000_000_000  # of one of the currency
_UNTIDY = 6  # buckets in a row that wait for release: each makes every write of it dearer
_HELD = 50_000  # ads whose spending is remembered
_AT_ONCE = 100  # buckets: DynamoDB's expressions have 300 operators
_TURNS = 10
_ROOM = "attribute_not_exists(committed) OR committed <= :room"


def units(amount: float) -> int:
    """Money in the units it is kept in."""
    return round(amount * _UNITS)


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    spent: float
    waiting: int  # buckets that can be released


class Spend:
    """Store of budgets' use. `at` is the time of the decision throughout: it names the day and the bucket."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._seen: dict[Key, _Seen] = {}

    def reserve_action(self, tenant: str, ad_id: str, at: float, cost: int, limit: int) -> dict[str, Any]:
        """Part of a transaction: reserves `cost` where the day's `limit` has room for it. Both in `units`, and `cost`
        no more than `limit`."""
        return self._table.update_action(
            self._key(tenant, ad_id, at),
            "SET expires_at = :ttl ADD committed :cost, #bucket :cost",
            {":cost": cost, ":room": limit - cost, ":ttl": _expires(at)},
            names={"#bucket": _bucket(at)},
            condition=_ROOM,
        )

    def charge_reserved_action(self, tenant: str, ad_id: str, at: float, cost: int) -> dict[str, Any]:
        """Part of a transaction: makes a reservation a charge, where it has not been released."""
        return self._table.update_action(
            self._key(tenant, ad_id, at),
            "SET expires_at = if_not_exists(expires_at, :ttl) ADD charged :cost, #bucket :back",
            {":cost": cost, ":back": -cost, ":ttl": _expires(at)},
            names={"#bucket": _bucket(at)},
            condition="#bucket >= :cost",
        )

    def give_back_action(self, tenant: str, ad_id: str, at: float, cost: int) -> dict[str, Any]:
        """Part of a transaction: takes a reservation back, where it has not been released."""
        return self._table.update_action(
            self._key(tenant, ad_id, at),
            "ADD committed :back, #bucket :back",
            {":cost": cost, ":back": -cost},
            names={"#bucket": _bucket(at)},
            condition="#bucket >= :cost",
        )

    def charge_action(self, tenant: str, ad_id: str, at: float, cost: int, limit: int) -> dict[str, Any]:
        """Part of a transaction: charges what is not reserved (any more), where the day's `limit` has room for it."""
        return self._table.update_action(
            self._key(tenant, ad_id, at),
            "SET expires_at = if_not_exists(expires_at, :ttl) ADD charged :cost, committed :cost",
            {":cost": cost, ":room": limit - cost, ":ttl": _expires(at)},
            condition=_ROOM,
        )

    def make_room(self, tenant: str, ad_id: str, at: float, cost: int, limit: int, now: float) -> bool:
        """Whether `limit` has room for `cost`, once what is reserved no longer is released; it is."""
        for attempt in range(_TURNS):
            row = self._table.get(*self._key(tenant, ad_id, at)) or {}
            old = _over(row, now)
            if row.get("committed", 0) - sum(old.values()) + cost > limit:
                return False
            if not old or self._release(tenant, ad_id, at, old):
                return True
            give_way(attempt)
        return True  # others are at it: the caller's own write will tell

    def tidy(self, tenant: str, ad_id: str, now: float) -> None:
        """Releases what can be, where `spent` has met a row that is growing long."""
        key = self._key(tenant, ad_id, now)
        seen = self._seen.get(key)
        if seen is not None and seen.waiting >= _UNTIDY:
            self._seen.pop(key, None)
            old = _over(self._table.get(*key) or {}, now)
            if old:
                self._release(tenant, ad_id, now, old)

    def _release(self, tenant: str, ad_id: str, at: float, buckets: Mapping[str, int]) -> bool:
        """Takes these buckets off, `_AT_ONCE` at most; False where one has changed."""
        buckets = dict(islice(buckets.items(), _AT_ONCE))
        names = {f"#b{place}": bucket for place, bucket in enumerate(buckets)}
        values = {f":b{place}": amount for place, amount in enumerate(buckets.values())}
        try:
            self._table.update(
                self._key(tenant, ad_id, at),
                f"SET committed = committed - :sum REMOVE {', '.join(names)}",
                values | {":sum": sum(buckets.values())},
                names=names,
                condition=" AND ".join(f"#b{place} = :b{place}" for place in range(len(buckets))),
            )
        except ConditionFailed:
            return False
        self.forget(tenant, ad_id, at)
        return True

    def spent(self, tenant: str, ad_ids: Iterable[str], now: float) -> dict[str, float]:
        """Charged plus still reserved today (UTC) by ad, in the currency; 0 where nothing is.

        May lack what other processes have written in the last `TRUSTED_SECONDS`: enough to choose by, while the
        reservation itself is exact.
        """
        keys = {self._key(tenant, ad_id, now): ad_id for ad_id in ad_ids}
        found: dict[str, float] = {}
        unknown: list[Key] = []
        for key, ad_id in keys.items():
            seen = self._seen.get(key)
            if seen is not None and 0 <= now - seen.at < TRUSTED_SECONDS:
                found[ad_id] = seen.spent
            else:
                unknown.append(key)
        rows = self._table.get_many(unknown) if unknown else {}
        if len(self._seen) + len(unknown) > _HELD:
            self._seen.clear()
        for key in unknown:
            row = rows.get(key, {})
            old = _over(row, now)
            amount = (row.get("committed", 0) - sum(old.values())) / _UNITS
            self._seen[key] = _Seen(now, amount, len(old))
            found[keys[key]] = amount
        return {ad_id: found[ad_id] for ad_id in keys.values()}

    def forget(self, tenant: str, ad_id: str, at: float) -> None:
        """Has the next `spent` look again."""
        self._seen.pop(self._key(tenant, ad_id, at), None)

    def _key(self, tenant: str, ad_id: str, at: float) -> Key:
        return f"t/{tenant}/spend", f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}/{ad_id}"


def _over(row: Row, now: float) -> dict[str, int]:
    """The row's buckets whose time is over, with what is left reserved in them. Those to come are not: another
    function's clock may be before ours."""
    oldest = int((now - RESERVATION_SECONDS) // BUCKET_SECONDS)
    return {
        name: amount for name, amount in row.items() if name[0] == "r" and name[1:].isdigit() and int(name[1:]) < oldest
    }


def _bucket(at: float) -> str:
    return f"r{int(at // BUCKET_SECONDS)}"


def _expires(at: float) -> int:
    return int(at) + _KEPT_DAYS * 86400
