"""How far each tenant's decision log has been written::

tenants          {tenant}   everybody who has published a catalogue
t/{tenant}/log   written    by how late a file is written (in buckets of ten minutes) the last bucket that was
                 counted    impressions that the click rates of the published catalogue rest on
"""

from __future__ import annotations

from shared.stores.table import Table

_ALL = "tenants"


class LogProgress:
    """Store of whose log there is, and how far it got."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add_tenant(self, tenant: str) -> None:
        self._table.put({"pk": _ALL, "sk": tenant})

    def tenants(self) -> list[str]:
        return [row["sk"] for row in self._table.query(_ALL)]

    def written(self, tenant: str) -> dict[int, int]:
        row = self._table.get(f"t/{tenant}/log", "written") or {}
        return {int(name[1:]): int(bucket) for name, bucket in row.items() if name[0] == "d" and name[1:].isdigit()}

    def counted(self, tenant: str) -> int:
        return int((self._table.get(f"t/{tenant}/log", "counted") or {}).get("impressions", 0))

    def mark_counted(self, tenant: str, impressions: int) -> None:
        self._table.put({"pk": f"t/{tenant}/log", "sk": "counted", "impressions": impressions})

    def mark(self, tenant: str, due: int, bucket: int) -> None:
        self._table.update(
            (f"t/{tenant}/log", "written"), "SET #due = :bucket", {":bucket": bucket}, names={"#due": f"d{due}"}
        )
