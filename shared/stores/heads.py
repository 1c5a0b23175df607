"""Trained heads as their training sees them.

::

    t/{tenant}/heads   {head}   what was uploaded last, the job that trains on it and what came of it

Rows are written as `shared.stores.revisions` has it. What a head answers with lies in S3
(``artifacts/{tenant}/heads/``), where the job itself publishes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from shared.stores.revisions import put_next
from shared.stores.table import Row, Table

TrainingState = Literal["training", "served", "failed"]


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A head's training as it stands. Times are epoch seconds.

    key, fingerprint, modified: of the labels that `state` is about. reason: why it failed. job: its name; submitted:
    whether it is known to have been taken. attempt: jobs so far. waiting: key of labels that came while it trained.
    started_by: upload, schedule or call. version: of the head that the last training published.
    """

    head: str
    state: TrainingState
    key: str
    fingerprint: str
    modified: float
    updated_at: float
    reason: str | None = None
    job: str | None = None
    submitted: bool = False
    attempt: int = 0
    waiting: str | None = None
    started_by: str = "upload"
    started_at: float = 0.0
    rows: int = 0
    labels: int = 0
    rejected: int = 0
    version: str | None = None
    revision: int = 0


_NUMBERS = {"modified", "updated_at", "started_at"}


class Heads:
    """Store of heads."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant: str, head: str) -> HeadRow | None:
        row = self._table.get(_pk(tenant), head)
        return _head(row) if row else None

    def all(self, tenant: str) -> Iterator[HeadRow]:
        """In the order of their names."""
        return (_head(row) for row in self._table.query(_pk(tenant)))

    def save(self, tenant: str, head: HeadRow) -> HeadRow | None:
        """Writes what `head` says, as the next revision; None where somebody else has written since."""
        made = replace(head, revision=head.revision + 1)
        values = {name: value for name, value in asdict(made).items() if name != "head"}
        return made if put_next(self._table, _pk(tenant), head.head, values, seen=head.revision) else None


def _pk(tenant: str) -> str:
    return f"t/{tenant}/heads"


def _head(row: Row) -> HeadRow:
    values: dict[str, Any] = {one.name: row[one.name] for one in fields(HeadRow) if one.name in row}
    values |= {name: float(values[name]) for name in _NUMBERS & values.keys()}
    return HeadRow(**values | {"head": row["sk"]})
