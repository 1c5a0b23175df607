"""Walks through a tenant's objects: which erasures wait for one, and who leads the one that is under way.

::

    t/{tenant}/walks      {erasure_id}   an erasure that has got as far as the objects and is not done
                          lead           until when (epoch seconds) somebody leads a walk, and who

One walk is for all who wait, so that fifty erasures read the bucket as often as one. None of this decides what is
removed, or whether: each erasure's own row says how far it is (`shared.stores.erasures`), and two leaders at once only
read twice. A leader who was cut off is followed by another when its time is over.
"""

from __future__ import annotations

from shared.stores.table import ConditionFailed, Key, Table

_LEAD = "lead"


class Walks:
    """Store of walks."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def enter(self, tenant: str, erasure_id: str, expires_at: float) -> None:
        """Has an erasure wait for a walk; a repeat changes nothing."""
        pk, sk = _key(tenant, erasure_id)
        self._table.put({"pk": pk, "sk": sk, "expires_at": int(expires_at)})

    def leave(self, tenant: str, erasure_id: str) -> None:
        self._table.transact([self._table.delete_action(_key(tenant, erasure_id))])

    def entered(self, tenant: str) -> list[str]:
        """The erasures that wait."""
        return [row["sk"] for row in self._table.query(_key(tenant, "")[0]) if row["sk"] != _LEAD]

    def lead(self, tenant: str, leader: str, now: float, until: float) -> bool:
        """Takes the lead up to `until` (epoch seconds); False where somebody else has it."""
        pk, sk = _key(tenant, _LEAD)
        row = {"pk": pk, "sk": sk, "leader": leader, "ends_at": until, "expires_at": int(until) + 86400}
        try:
            self._table.put(row, condition="attribute_not_exists(pk) OR leader = :me OR ends_at <= :now",
                            values={":me": leader, ":now": now})  # fmt: skip
        except ConditionFailed:
            return False
        return True

    def release(self, tenant: str, leader: str) -> None:
        """Gives the lead back, where it is still held."""
        gone = self._table.delete_action(_key(tenant, _LEAD), condition="leader = :me", values={":me": leader})
        try:
            self._table.transact([gone])
        except ConditionFailed:
            return


def _key(tenant: str, sk: str) -> Key:
    return f"t/{tenant}/walks", sk
