"""Runs: large work that is split into chunks, which a queue hands out one by one.

::

    t/{tenant}/run/{run_id}   run      how far the splitter has got, and the sums of the chunks that are done
                              c/{n}    chunk n is done, with its own counts

A chunk's row and the sums change in one transaction, so a chunk that comes twice counts once. The splitter moves its
cursor on condition that nobody else has, so of two at the same run one gives way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from shared.errors import NotFound
from shared.stores.table import ConditionFailed, Row, Table

RUN_DAYS = 30


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands.

    kind: what is split. subject: of what, e.g. an upload's key. fingerprint: of the very content. since: epoch seconds
    of that content; 0 where it has no time of its own. cursor: where the splitter goes on; None at the beginning.
    emitted: chunks that are handed out; whole: there will be no more. finished: chunks that are done, accepted,
    duplicates, rejected and over (of those rejected, for want of quota) their sums. done: the result has been written.
    moved_at: when any of this changed last, epoch seconds; when it was started, of a run from before that was noted.
    """

    tenant: str
    run_id: str
    kind: str
    subject: str
    fingerprint: str
    since: float
    started_at: float
    cursor: dict[str, Any] | None = None
    emitted: int = 0
    whole: bool = False
    problem: str | None = None
    finished: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    over: int = 0
    done: bool = False
    moved_at: float = 0.0

    @property
    def complete(self) -> bool:
        return self.whole and self.finished >= self.emitted


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a chunk's rows."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    over: int = 0


class Runs:
    """Store of runs."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def begin(self, run: Run) -> Run:
        """Makes the run where it does not exist yet; returns it as it is."""
        row = {
            **_key(run.tenant, run.run_id),
            "kind": run.kind,
            "subject": run.subject,
            "fingerprint": run.fingerprint,
            "since": run.since,
            "started_at": run.started_at,
            "whole": False,
            "done": False,
            **dict.fromkeys(("emitted", "finished", "accepted", "duplicates", "rejected"), 0),
            "expires_at": int(run.started_at) + RUN_DAYS * 86400,
        }
        try:
            self._table.put(row, condition="attribute_not_exists(pk)")
        except ConditionFailed:
            return self.get(run.tenant, run.run_id) or run
        return run

    def get(self, tenant: str, run_id: str) -> Run | None:
        row = self._table.get(*_key(tenant, run_id).values())
        return _run(tenant, run_id, row) if row else None

    def find(self, tenant: str, run_id: str) -> Run:
        """Raises `NotFound` where there is none."""
        run = self.get(tenant, run_id)
        if run is None:
            raise NotFound(f"no run {run_id!r}", field="run")
        return run

    def advance(
        self, run: Run, *, cursor: Mapping[str, Any] | None, emitted: int, whole: bool, problem: str | None = None
    ) -> Run | None:
        """Moves the splitter from where `run` has it; None where another one has moved it."""
        values: dict[str, Any] = {
            ":cursor": orjson.dumps(cursor),
            ":emitted": emitted,
            ":before": run.emitted,
            ":whole": whole,
            ":open": False,
            ":now": time.time(),
        }
        same = "attribute_not_exists(#cursor)"
        if run.cursor is not None:
            values[":was"] = orjson.dumps(run.cursor)
            same = "#cursor = :was"
        expression = "SET #cursor = :cursor, emitted = :emitted, whole = :whole, moved_at = :now"
        if problem is not None:
            values[":problem"] = problem
            expression += ", problem = :problem"
        try:
            row = self._table.update(
                (_pk(run.tenant, run.run_id), "run"),
                expression,
                values,
                names={"#cursor": "cursor"},
                condition=f"emitted = :before AND whole = :open AND {same}",
            )
        except ConditionFailed:
            return None
        return _run(run.tenant, run.run_id, row)

    def has_finished(self, tenant: str, run_id: str, chunk: int) -> bool:
        return self._table.get(_pk(tenant, run_id), _chunk(chunk)) is not None

    def finish_chunk(self, run: Run, chunk: int, counts: Counts) -> bool:
        """Counts a chunk; False where it was counted before."""
        sums = {":accepted": counts.accepted, ":duplicates": counts.duplicates, ":rejected": counts.rejected}
        added = "SET moved_at = :now ADD finished :one, accepted :accepted, duplicates :duplicates, rejected :rejected"
        if counts.over:
            sums[":over"] = counts.over
            added += ", beyond :over"  # "over" is a word of DynamoDB's own
        row = {"pk": _pk(run.tenant, run.run_id), "sk": _chunk(chunk), "rejected": counts.rejected}
        actions = [
            self._table.put_action(
                row | {"expires_at": int(run.started_at) + RUN_DAYS * 86400}, condition="attribute_not_exists(pk)"
            ),
            self._table.update_action(
                (_pk(run.tenant, run.run_id), "run"),
                added,
                sums | {":one": 1, ":now": time.time()},
            ),
        ]
        return self._table.transact_in_turn(actions, "run")

    def chunks_with_rejections(self, tenant: str, run_id: str) -> list[int]:
        """Numbers of the finished chunks that rejected rows, in order."""
        rows = self._table.query(_pk(tenant, run_id), prefix="c/")
        return [int(row["sk"].removeprefix("c/")) for row in rows if row["rejected"]]

    def close(self, run: Run) -> bool:
        """Marks the run's result as written; False where it was before."""
        try:
            self._table.update(
                (_pk(run.tenant, run.run_id), "run"),
                "SET done = :yes",
                {":yes": True, ":no": False},
                condition="done = :no",
            )
        except ConditionFailed:
            return False
        return True


def _pk(tenant: str, run_id: str) -> str:
    return f"t/{tenant}/run/{run_id}"


def _key(tenant: str, run_id: str) -> dict[str, str]:
    return {"pk": _pk(tenant, run_id), "sk": "run"}


def _chunk(number: int) -> str:
    return f"c/{number:08d}"  # so that they are read in order


def _run(tenant: str, run_id: str, row: Row) -> Run:
    return Run(
        tenant=tenant,
        run_id=run_id,
        kind=row["kind"],
        subject=row["subject"],
        fingerprint=row["fingerprint"],
        since=float(row["since"]),
        started_at=float(row["started_at"]),
        cursor=orjson.loads(row["cursor"]) if "cursor" in row else None,
        emitted=row["emitted"],
        whole=row["whole"],
        problem=row.get("problem"),
        finished=row["finished"],
        accepted=row["accepted"],
        duplicates=row["duplicates"],
        rejected=row["rejected"],
        over=row.get("beyond", 0),
        done=row["done"],
        moved_at=float(row["moved_at"] if "moved_at" in row else row["started_at"]),
    )
