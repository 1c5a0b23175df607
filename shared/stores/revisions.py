"""Rows whose writer names the revision that it has seen: of two at the same row, one gives way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.stores.table import ConditionFailed, Row, Table


def put_next(table: Table, pk: str, sk: str, values: Mapping[str, Any], *, seen: int) -> bool:
    """Writes `values`, with their own ``revision``, in the place of revision `seen` (0: of no row yet); whether it was
    still that one. Values that are None are left out."""
    row: Row = {"pk": pk, "sk": sk} | {name: value for name, value in values.items() if value is not None}
    condition, bound = "attribute_not_exists(pk)", None
    if seen:
        condition, bound = "revision = :seen", {":seen": seen}
    try:
        table.put(row, condition=condition, values=bound)
    except ConditionFailed:
        return False
    return True
