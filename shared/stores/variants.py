"""How the variants of an ad's copy have done, by week::

    t/{tenant}/variants   {ad_id}/{variant}   i{week}, c{week}: impressions and clicks of the decisions of that week

Counts are only ever added to, so writers need not know of each other; that what is long past counts less is worked out
at reading. A click counts in the week of its decision, as its impression does, so both grow old together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.stores.table import Table

WEEK_SECONDS = 7 * 86400
KEPT_WEEKS = 26  # at a half-life of two weeks, what is older counts a ten-thousandth
_PRUNED_WEEKS = 8  # taken off at a time, so that weeks without an impression leave nothing behind


class Variants:
    """Store of variants' counts."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def count_action(
        self, tenant: str, ad_id: str, variant: str, decided_at: float, impressions: int, clicks: int
    ) -> dict[str, Any]:
        """Part of a transaction: adds to the counts of the decision's week, and takes off what is too old to count."""
        week = int(decided_at // WEEK_SECONDS)
        added = {f"i{week}": impressions, f"c{week}": clicks}
        more = {name: count for name, count in added.items() if count}
        past = range(week - KEPT_WEEKS - _PRUNED_WEEKS, week - KEPT_WEEKS)
        return self._table.update_action(
            (f"t/{tenant}/variants", f"{ad_id}/{variant}"),
            f"SET expires_at = :ttl ADD {', '.join(f'{name} :{name}' for name in more)} "
            f"REMOVE {', '.join(f'i{old}, c{old}' for old in past)}",
            {f":{name}": count for name, count in more.items()} | {":ttl": int(decided_at) + KEPT_WEEKS * WEEK_SECONDS},
        )

    def take_back_action(
        self, tenant: str, ad_id: str, variant: str, decided_at: float, impressions: int, clicks: int
    ) -> dict[str, Any]:
        """Part of a transaction: takes off again what `count_action` added. It holds only where so much is there."""
        week = int(decided_at // WEEK_SECONDS)
        taken = {name: count for name, count in ((f"i{week}", impressions), (f"c{week}", clicks)) if count}
        return self._table.update_action(
            (f"t/{tenant}/variants", f"{ad_id}/{variant}"),
            f"ADD {', '.join(f'{name} :{name}' for name in taken)}",
            {f":{name}": -count for name, count in taken.items()}
            | {f":least_{name}": count for name, count in taken.items()},
            condition=" AND ".join(f"{name} >= :least_{name}" for name in taken),
        )

    def stats(
        self, tenant: str, variants: Iterable[tuple[str, str]], now: float, half_life_days: float = 14
    ) -> dict[tuple[str, str], tuple[float, float]]:
        """Impressions and clicks by (ad id, variant), each week's worth half of what it was `half_life_days` later;
        zeros where there are none. This week and later ones (of another function's clock) count whole."""
        keys = {(f"t/{tenant}/variants", f"{ad_id}/{variant}"): (ad_id, variant) for ad_id, variant in variants}
        rows = self._table.get_many(keys, consistent=False)
        found = dict.fromkeys(keys.values(), (0.0, 0.0))
        for key, row in rows.items():
            totals = {"i": 0.0, "c": 0.0}
            for name, count in row.items():
                age = int(now // WEEK_SECONDS) - int(name[1:]) if name[0] in totals and name[1:].isdigit() else None
                if age is not None and age < KEPT_WEEKS:
                    totals[name[0]] += count * 0.5 ** (7 * max(age, 0) / half_life_days)
            found[keys[key]] = totals["i"], totals["c"]
        return found
