"""A tenant's ranker as its training sees it.

::

    t/{tenant}/ranker   training   the last job that trained one, and what came of it

Rows are written as `shared.stores.revisions` has it. The rankers themselves lie in S3: those that jobs made at
``candidates/{tenant}/{job}/``, those that the gate let out at ``artifacts/{tenant}/ranker/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from shared.stores.revisions import put_next
from shared.stores.table import Table

RankerState = Literal["training", "served", "held", "refused", "failed"]
_SK = "training"


@dataclass(frozen=True, slots=True)
class RankerRow:
    """The training of a ranker as it stands. Times are epoch seconds.

    state: held and refused are verdicts of the gate; failed: there is no verdict. reason: why it does not serve. job:
    its name; submitted: whether it is known to have been taken; attempt: jobs so far. written: when the latest file of
    the log was written that the job has; clicks: in the log, as far as it was read. current: version that it was to
    beat. version: of what the job trained. figures: of the verdict.
    """

    state: RankerState
    job: str
    updated_at: float
    reason: str | None = None
    submitted: bool = False
    attempt: int = 0
    started_by: str = "call"
    started_at: float = 0.0
    written: float = 0.0
    clicks: int = 0
    current: str | None = None
    version: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 0


_NUMBERS = {"updated_at", "started_at", "written"}


class Rankers:
    """Store of the trainings of rankers."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant: str) -> RankerRow | None:
        row = self._table.get(_pk(tenant), _SK)
        if row is None:
            return None
        values: dict[str, Any] = {one.name: row[one.name] for one in fields(RankerRow) if one.name in row}
        return RankerRow(**values | {name: float(values[name]) for name in _NUMBERS & values.keys()})

    def save(self, tenant: str, ranker: RankerRow) -> RankerRow | None:
        """Writes what `ranker` says, as the next revision; None where somebody else has written since."""
        made = replace(ranker, revision=ranker.revision + 1)
        return made if put_next(self._table, _pk(tenant), _SK, asdict(made), seen=ranker.revision) else None


def _pk(tenant: str) -> str:
    return f"t/{tenant}/ranker"
