"""Copy jobs: single ones, and catalogue passes with their children.

::

    t/{tenant}/job/{job_id}   job   one asynchronous request and its state; of a pass also how far it has got

A child of a pass counts once: its last state and the pass's counter change in one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from shared.stores.table import ConditionFailed, Key, Row, Table

JobState = Literal["queued", "running", "done", "failed"]
JOB_DAYS = 7
COUNTERS = ("done", "failed", "lower_rung", "copies", "candidates", "seconds", "tokens_in", "tokens_out")


@dataclass(frozen=True, slots=True)
class Job:
    """One asynchronous copy request. `result` is the answer's body once `state` is done. `parent`: the pass that it is
    part of. `attempts`: how often it was taken up."""

    job_id: str
    state: JobState
    request: dict[str, Any]
    created_at: float
    updated_at: float
    result: dict[str, Any] | None = None
    error: str | None = None
    attempts: int = 0
    parent: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass has got. `listed`: everything has been found that it is to write; `cursor`: how far that is."""

    listed: bool
    cursor: int
    total: int
    skipped: int
    counts: Mapping[str, float] = field(default_factory=dict)  # by `COUNTERS`

    @property
    def over(self) -> bool:
        return self.listed and self.counts["done"] + self.counts["failed"] >= self.total


class Jobs:
    """Store of copy jobs."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(
        self,
        tenant: str,
        job_id: str,
        request: Mapping[str, Any],
        *,
        is_pass: bool = False,
        now: float | None = None,
    ) -> bool:
        """Makes a queued job; False where that id exists already."""
        row = _new(tenant, job_id, request, time.time() if now is None else now)
        if is_pass:
            row |= dict.fromkeys(COUNTERS, 0) | {"total": 0, "skipped": 0, "cursor": 0, "listed": False}
        try:
            self._table.put(row, condition="attribute_not_exists(pk)")
        except ConditionFailed:
            return False
        return True

    def get(self, tenant: str, job_id: str) -> Job | None:
        row = self._table.get(*_key(tenant, job_id))
        return _job(job_id, row) if row else None

    def known(self, tenant: str, job_ids: Sequence[str]) -> dict[str, JobState]:
        """The states of those of the jobs that exist."""
        keys = {_key(tenant, job_id): job_id for job_id in job_ids}
        rows = self._table.get_many(keys, attributes=["state"])
        return {keys[key]: row["state"] for key, row in rows.items()}

    def update(
        self,
        tenant: str,
        job_id: str,
        *,
        state: JobState,
        expect: tuple[JobState, ...],
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        taken: bool = False,
        parent: str | None = None,
        counts: Mapping[str, float] | None = None,
        now: float | None = None,
    ) -> bool:
        """Moves the job to `state` if it is in one of `expect`; False where it is not.

        taken: somebody takes it up, which counts as an attempt. parent, counts: the pass whose counters grow by
        `counts` in the same transaction.
        """
        sets: dict[str, Any] = {"state": state, "updated_at": time.time() if now is None else now}
        if result is not None:
            sets["result"] = orjson.dumps(result)
        if error is not None:
            sets["error"] = error
        expected = {f":e{place}": one for place, one in enumerate(expect)}
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in sets) + " ADD attempts :taken"
        values = {f":{name}": value for name, value in sets.items()} | expected | {":taken": int(taken)}
        options: dict[str, Any] = {
            "names": {f"#{name}": name for name in sets},
            "condition": f"#state IN ({', '.join(expected)})",
        }
        try:
            if parent is None:
                self._table.update(_key(tenant, job_id), expression, values, **options)
                return True
            own = self._table.update_action(_key(tenant, job_id), expression, values, **options)
            grown = {name: value for name, value in (counts or {}).items() if value}
            return self._table.transact_in_turn([own, self._add(tenant, parent, grown, sets["updated_at"])], "job")
        except ConditionFailed:
            return False

    def _add(self, tenant: str, parent: str, counts: Mapping[str, float], now: Any) -> dict[str, Any]:
        added = ", ".join(f"#{name} :{name}" for name in counts)
        return self._table.update_action(
            _key(tenant, parent),
            "SET updated_at = :now" + (f" ADD {added}" if added else ""),
            {f":{name}": value for name, value in counts.items()} | {":now": now},
            names={f"#{name}": name for name in counts} or None,
        )

    def extend(
        self,
        tenant: str,
        parent: str,
        children: Mapping[str, Mapping[str, Any]],
        *,
        cursor: tuple[int, int],
        skipped: int = 0,
        listed: bool,
        now: float,
    ) -> bool:
        """Adds a page of children to a pass, all or nothing: (from, to) is the cursor's move. False: that page is in
        already, or one of the children is.

        children: requests by job id, at most 99.
        """
        before, after = cursor
        head = self._table.update_action(
            _key(tenant, parent),
            "SET #cursor = :after, listed = :listed, #state = :state, updated_at = :now "
            "ADD #total :children, skipped :skipped",
            {
                ":after": after,
                ":before": before,
                ":listed": listed,
                ":state": "running",
                ":now": now,
                ":children": len(children),
                ":skipped": skipped,
                ":open": False,
            },
            names={"#cursor": "cursor", "#state": "state", "#total": "total"},
            condition="#cursor = :before AND listed = :open",
        )
        rows = [_new(tenant, job_id, request, now) | {"parent": parent} for job_id, request in children.items()]
        puts = [self._table.put_action(row, condition="attribute_not_exists(pk)") for row in rows]
        return self._table.transact_in_turn([head, *puts], "job")


def _key(tenant: str, job_id: str) -> Key:
    return f"t/{tenant}/job/{job_id}", "job"


def _new(tenant: str, job_id: str, request: Mapping[str, Any], now: float) -> Row:
    pk, sk = _key(tenant, job_id)
    return {
        "pk": pk,
        "sk": sk,
        "state": "queued",
        "request": orjson.dumps(request),
        "created_at": now,
        "updated_at": now,
        "attempts": 0,
        "expires_at": int(now) + JOB_DAYS * 86400,
    }


def _job(job_id: str, row: Row) -> Job:
    progress = None
    if "cursor" in row:
        counts = {name: row.get(name, 0) for name in COUNTERS}
        progress = Progress(row["listed"], row["cursor"], row["total"], row["skipped"], counts)
    return Job(
        job_id=job_id,
        state=row["state"],
        request=orjson.loads(row["request"]),
        created_at=float(row["created_at"]),
        updated_at=float(row["updated_at"]),
        result=orjson.loads(row["result"]) if "result" in row else None,
        error=row.get("error"),
        attempts=row.get("attempts", 0),
        parent=row.get("parent"),
        progress=progress,
    )
