"""What tenants have taken of their quotas::

t/{tenant}/quota   {limit}/{window}     taken: how much, of the minute or day with that number
                   {limit}//{source}    a piece of work, and how much of it has been counted: it may come again

Rows of windows that are over expire.
"""

from __future__ import annotations

from contextlib import suppress

from shared.errors import Conflict
from shared.stores.faults import give_way
from shared.stores.table import ConditionFailed, Key, Table

_ATTEMPTS = 30
_KEPT_SECONDS = 3600  # after a window's end
_PIECE_SECONDS = 30 * 86400  # as long as a run lives, whose chunks may come again


class Taken:
    """Store of counters."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def take(self, tenant: str, limit: str, window: int, amount: int, *, allowed: int, expires: float) -> int | None:
        """Takes `amount` of the window where `allowed` has room for all of it; what there was room for (less than
        `amount`, not taken) where it has not, and None where it was taken."""
        key = _key(tenant, limit, window)
        try:
            if amount <= allowed:
                self._table.update(
                    key,
                    "SET expires_at = :ttl ADD taken :n",
                    {":n": amount, ":room": allowed - amount, ":ttl": int(expires) + _KEPT_SECONDS},
                    condition="attribute_not_exists(taken) OR taken <= :room",
                )
                return None
        except ConditionFailed:
            pass
        row = self._table.get(*key)
        return min(max(allowed - (row["taken"] if row else 0), 0), amount - 1)

    def hand_back(self, tenant: str, limit: str, window: int, amount: int) -> None:
        """Gives back what was taken of a window and came to nothing."""
        with suppress(ConditionFailed):
            self._table.update(
                _key(tenant, limit, window), "ADD taken :n", {":n": -amount, ":m": amount}, condition="taken >= :m"
            )

    def take_piece(
        self,
        tenant: str,
        limit: str,
        window: int,
        amount: int,
        *,
        allowed: int,
        expires: float,
        source: str,
        whole: bool = False,
    ) -> tuple[int, int]:
        """Takes as much of a piece of work (`source`) as there is room for; what of it was counted before is free.

        whole: all that is left of it, or nothing. Returns how much of the piece is counted now, and how much of that
        was taken by this call.
        """
        pk, sk = _piece(tenant, limit, source)
        for attempt in range(_ATTEMPTS):
            rows = self._table.get_many([(pk, sk), _key(tenant, limit, window)])
            piece, counter = rows.get((pk, sk)), rows.get(_key(tenant, limit, window), {})
            counted = min(int(piece["counted"]), amount) if piece else 0
            room = max(allowed - int(counter.get("taken", 0)), 0)
            more = min(amount - counted, room)
            if more <= 0 or (whole and counted + more < amount):
                return counted, 0
            values = {":counted": counted + more, ":ttl": int(expires) + _PIECE_SECONDS}
            values |= {":before": piece["counted"]} if piece else {}
            actions = [
                self._table.update_action(
                    (pk, sk),
                    "SET counted = :counted, expires_at = :ttl",
                    values,
                    condition="counted = :before" if piece else "attribute_not_exists(pk)",
                ),
                self._table.update_action(
                    _key(tenant, limit, window),
                    "SET expires_at = :ttl ADD taken :n",
                    {":n": more, ":room": allowed - more, ":ttl": int(expires) + _KEPT_SECONDS},
                    condition="attribute_not_exists(taken) OR taken <= :room",
                ),
            ]
            try:
                self._table.transact(actions)
                return counted + more, more
            except ConditionFailed:
                give_way(attempt)
        raise Conflict("too many writers at the same quota", retry_after=1)


def _key(tenant: str, limit: str, window: int) -> Key:
    return f"t/{tenant}/quota", f"{limit}/{window}"


def _piece(tenant: str, limit: str, source: str) -> Key:
    return f"t/{tenant}/quota", f"{limit}//{source}"
