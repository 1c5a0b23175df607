"""Copy: the bank of variants and the jobs that write them.

::

    t/{tenant}/bank/{ad_id}   {segment}/{language}   the gated variants
    t/{tenant}/job/{job_id}   job                    one asynchronous request and its state
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from shared.domain import Claim, Copy
from shared.stores.table import ConditionFailed, Key, Row, Table

JobState = Literal["queued", "running", "done", "failed"]
JOB_DAYS = 7
ANYONE = "-"  # the segment of copy that was written for nobody in particular


@dataclass(frozen=True, slots=True)
class Job:
    """One asynchronous copy request. `result` is the answer's body once `state` is done."""

    job_id: str
    state: JobState
    request: dict[str, Any]
    created_at: float
    updated_at: float
    result: dict[str, Any] | None = None
    error: str | None = None
    attempts: int = 0


class Copies:
    """Store of the variant bank and of copy jobs."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def bank_get(self, tenant: str, ad_id: str, segment: str, language: str) -> list[Copy]:
        """The banked variants, best first; empty where there are none."""
        return self.bank_get_many(tenant, [(ad_id, segment, language)]).get((ad_id, segment, language), [])

    def bank_get_many(
        self, tenant: str, wanted: Iterable[tuple[str, str, str]]
    ) -> dict[tuple[str, str, str], list[Copy]]:
        """Banked variants of several (ad, segment, language) in one read; absent ones are left out."""
        keys: dict[Key, tuple[str, str, str]] = {
            (f"t/{tenant}/bank/{ad_id}", f"{segment}/{language}"): (ad_id, segment, language)
            for ad_id, segment, language in wanted
        }
        return {keys[key]: _row_copies(row) for key, row in self._table.get_many(keys, consistent=False).items()}

    def bank_put(self, tenant: str, ad_id: str, segment: str, language: str, copies: Sequence[Copy]) -> None:
        """Replaces the variants of this ad, segment and language."""
        self._table.put(
            {
                "pk": f"t/{tenant}/bank/{ad_id}",
                "sk": f"{segment}/{language}",
                "copies": orjson.dumps([asdict(copy) for copy in copies]),
            }
        )

    def job_create(self, tenant: str, job_id: str, request: dict[str, Any]) -> bool:
        """Makes a queued job; False where that id exists already."""
        now = time.time()
        try:
            self._table.put(
                {
                    "pk": f"t/{tenant}/job/{job_id}",
                    "sk": "job",
                    "state": "queued",
                    "request": orjson.dumps(request),
                    "created_at": now,
                    "updated_at": now,
                    "attempts": 0,
                    "expires_at": int(now) + JOB_DAYS * 86400,
                },
                condition="attribute_not_exists(pk)",
            )
        except ConditionFailed:
            return False
        return True

    def job_get(self, tenant: str, job_id: str) -> Job | None:
        row = self._table.get(f"t/{tenant}/job/{job_id}", "job")
        if row is None:
            return None
        return Job(
            job_id=job_id,
            state=row["state"],
            request=orjson.loads(row["request"]),
            created_at=float(row["created_at"]),
            updated_at=float(row["updated_at"]),
            result=orjson.loads(row["result"]) if "result" in row else None,
            error=row.get("error"),
            attempts=row.get("attempts", 0),
        )

    def job_update(
        self,
        tenant: str,
        job_id: str,
        *,
        state: JobState,
        expect: tuple[JobState, ...],
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> bool:
        """Moves the job to `state` if it is in one of `expect`; False where it is not. Entering ``running`` counts an
        attempt."""
        sets = ["#state = :state", "updated_at = :now"]
        values: dict[str, Any] = {":state": state, ":now": time.time(), ":n": 1 if state == "running" else 0}
        if result is not None:
            sets.append("#result = :result")
            values[":result"] = orjson.dumps(result)
        if error is not None:
            sets.append("#error = :error")
            values[":error"] = error
        names = {"#state": "state"}
        if result is not None:
            names["#result"] = "result"
        if error is not None:
            names["#error"] = "error"
        expected = {f":e{place}": one for place, one in enumerate(expect)}
        try:
            self._table.update(
                (f"t/{tenant}/job/{job_id}", "job"),
                f"SET {', '.join(sets)} ADD attempts :n",
                values | expected,
                names=names,
                condition=f"#state IN ({', '.join(expected)})",
            )
        except ConditionFailed:
            return False
        return True


def _row_copies(row: Row) -> list[Copy]:
    copies = []
    for document in orjson.loads(row["copies"]):
        claims = tuple(Claim(**claim | {"span": tuple(claim["span"])}) for claim in document.pop("claims"))
        copies.append(Copy(**document, claims=claims))
    return copies
