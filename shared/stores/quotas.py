"""What tenants have taken of their quotas::

t/{tenant}/quota   {limit}/{window}     taken: how much, of the minute or day with that number
                   {limit}//{source}    a piece of work that has been counted: it may come again

Rows of windows that are over expire.
"""

from __future__ import annotations

from shared.stores.table import ConditionFailed, Key, Table

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

    def take_once(
        self, tenant: str, limit: str, window: int, amount: int, *, allowed: int, expires: float, source: str
    ) -> bool:
        """As `take`, for a piece of work (`source`) that counts once, whenever it comes; False where it was not taken,
        now or before."""
        if amount > allowed:
            return self._table.get(*_piece(tenant, limit, source)) is not None
        counter = self._table.update_action(
            _key(tenant, limit, window),
            "SET expires_at = :ttl ADD taken :n",
            {":n": amount, ":room": allowed - amount, ":ttl": int(expires) + _KEPT_SECONDS},
            condition="attribute_not_exists(taken) OR taken <= :room",
        )
        pk, sk = _piece(tenant, limit, source)
        piece = self._table.put_action(
            {"pk": pk, "sk": sk, "expires_at": int(expires) + _PIECE_SECONDS}, condition="attribute_not_exists(pk)"
        )
        if self._table.transact_in_turn([piece, counter], "quota"):
            return True
        return self._table.get(pk, sk) is not None


def _key(tenant: str, limit: str, window: int) -> Key:
    return f"t/{tenant}/quota", f"{limit}/{window}"


def _piece(tenant: str, limit: str, source: str) -> Key:
    return f"t/{tenant}/quota", f"{limit}//{source}"
