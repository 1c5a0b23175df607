"""What both kinds of upload share: streaming, chunks, the rejected lines and the report."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import orjson

from shared.domain import IngestReport, Rejection
from shared.errors import Unprocessable
from shared.stores import Stores
from shared.telemetry import MetricUnit, logger, metrics
from shared.uploads import Row, StreamProblem, read_rows

CHUNK = 1000  # rows that are taken in together
KEPT_REJECTIONS = 1000  # rejections that a report carries; the rejected object has them all
_SPOOL_BYTES = 1 << 20
_LONGEST_KEY = 1024  # bytes of a key in S3
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass
class Tally:
    """Running counts of one ingest."""

    accepted: int = 0
    duplicates: int = 0
    rejected_count: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    problem: str | None = None

    def reject(self, rejection: Rejection) -> None:
        self.rejected_count += 1
        if len(self.rejected) < KEPT_REJECTIONS:
            self.rejected.append(rejection)

    def report(self) -> IngestReport:
        return IngestReport(self.accepted, self.duplicates, tuple(self.rejected), self.rejected_count, self.problem)


def tenant_of_key(key: str, kind: str) -> str:
    """The tenant in ``{kind}/{tenant}/…``.

    Raises:
        Unprocessable: the key has no tenant, or is not of that kind.
    """
    parts = key.split("/")
    if len(parts) < 3 or parts[0] != kind or not _TENANT.fullmatch(parts[1]) or not parts[-1]:
        raise Unprocessable(f"upload to {kind}/{{tenant}}/{{file}}, not to {key}", field="key")
    return parts[1]


def rejected_key(key: str) -> str:
    """Where the rejected lines of an upload go: ``events/t/x.csv`` to ``rejected/t/x.csv.events.jsonl``.

    A key that would get too long for S3 is replaced by its hash."""
    kind, rest = key.split("/", 1)
    rejected = f"rejected/{rest}.{kind}.jsonl"
    if len(rejected.encode()) > _LONGEST_KEY:
        rejected = f"rejected/{rest.split('/')[0]}/{hashlib.sha256(rest.encode()).hexdigest()}.{kind}.jsonl"
    return rejected


def ingest_upload(
    stores: Stores,
    tenant: str,
    key: str,
    *,
    fingerprint: str,
    version: str | None,
    required: frozenset[str],
    take: Callable[[Sequence[Row]], Iterator[Rejection | bool]],
    clock: Callable[[], float],
) -> IngestReport:
    """Streams an uploaded object through `take` in chunks and keeps a report of it.

    take: for each row, in order, True (new), False (a duplicate) or why it is rejected.
    fingerprint: the ETag in the notification; the same object a second time is answered from its first report. What
        is kept is the ETag of the content that was read: it may have been replaced since the notification.

    Rejected lines go to ``rejected/{tenant}/…`` as JSON Lines of ``{"line", "field", "reason"}``.
    """
    done = stores.catalogue.upload(tenant, key)
    if done is not None and fingerprint and done["fingerprint"] == fingerprint:
        return _again(key, done)
    opened, fingerprint = stores.objects.open(key, version)
    if done is not None and fingerprint and done["fingerprint"] == fingerprint:
        opened.close()
        return _again(key, done)
    tally = Tally()
    name = key.rsplit("/", 1)[-1]
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as rejects:

        def reject(rejection: Rejection) -> None:
            tally.reject(rejection)
            line = {"line": rejection.index, "field": rejection.field, "reason": rejection.reason}
            rejects.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

        def flush(chunk: list[Row]) -> None:
            for outcome in take(chunk):
                if isinstance(outcome, Rejection):
                    reject(outcome)
                elif outcome:
                    tally.accepted += 1
                else:
                    tally.duplicates += 1

        chunk: list[Row] = []
        with opened as stream:
            for row in read_rows(stream, name, required):
                if isinstance(row, Rejection):
                    reject(row)
                elif isinstance(row, StreamProblem):
                    tally.problem = row.reason
                else:
                    chunk.append(row)
                    if len(chunk) >= CHUNK:
                        flush(chunk)
                        chunk = []
            if chunk:
                flush(chunk)
        if tally.problem is not None:
            line = {"line": None, "field": "upload", "reason": tally.problem}
            rejects.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if rejects.tell():
            rejects.seek(0)
            stores.objects.put(rejected_key(key), cast("BinaryIO", rejects), "application/x-ndjson")
    report = tally.report()
    stores.catalogue.finish_upload(tenant, key, fingerprint, report, clock())
    metrics.add_metric("RowsAccepted", MetricUnit.Count, report.accepted)
    metrics.add_metric("RowsRejected", MetricUnit.Count, report.rejected_count)
    logger.info(
        "upload taken in",
        extra={
            "key": key,
            "accepted": report.accepted,
            "duplicates": report.duplicates,
            "rejected": report.rejected_count,
            "problem": report.problem,
        },
    )
    return report


def _again(key: str, done: Mapping[str, Any]) -> IngestReport:
    """The answer to an upload that was taken in before."""
    logger.info("upload was taken in before", extra={"key": key})
    return IngestReport(0, done["accepted"] + done["duplicates"], (), done["rejected"], done.get("problem"))
