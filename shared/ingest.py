"""What both kinds of upload share: reading, chunks, the rejected lines and the report.

An upload that fits one chunk is taken in where it arrives. A larger one becomes a run (`shared.splitting`), whose
chunks are the rows as they were read, with their lines: JSON Lines of ``[line, row]`` or ``[line, null, field,
reason]``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from shared.domain import IngestReport, Rejection
from shared.errors import Conflict, NotFound, Unprocessable
from shared.quotas import Admitted
from shared.splitting import Chunk, Remaining, Splitter, rejections_key
from shared.stores import Stores
from shared.stores.queues import QueueName
from shared.stores.runs import Counts, Run
from shared.telemetry import MetricUnit, logger, metrics
from shared.uploads import Place, Row, RowReader, StreamProblem

CHUNK_ROWS = 1000  # rows that are taken in together
CHUNK_BYTES = 1 << 20  # of them as JSON: what a process holds of an upload
KEPT_REJECTIONS = 1000  # rejections that a report carries; the rejected object has them all
_LONGEST_KEY = 1024  # bytes of a key in S3
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REPLACED = "The object was replaced while it was read; what came before was taken in."


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that are taken in together.

    source: a name that is the same whenever they are. since: the upload's time (epoch seconds), by which a later upload
    wins over an earlier one. alone: they are all that the upload has.
    """

    rows: Sequence[Row]
    source: str
    since: float
    alone: bool


Take = Callable[[str, Piece], Iterator[Rejection | bool]]
Admit = Callable[[str, int, str], Admitted]


@dataclass
class Tally:
    """Running counts of one ingest."""

    accepted: int = 0
    duplicates: int = 0
    rejected_count: int = 0
    over: int = 0  # of these, for want of quota alone
    rejected: list[Rejection] = field(default_factory=list)
    problem: str | None = None

    def reject(self, rejection: Rejection) -> None:
        self.rejected_count += 1
        if len(self.rejected) < KEPT_REJECTIONS:
            self.rejected.append(rejection)

    def add(self, outcome: Rejection | bool) -> None:
        if isinstance(outcome, Rejection):
            self.reject(outcome)
        elif outcome:
            self.accepted += 1
        else:
            self.duplicates += 1

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


def run_id_of(key: str, version: str | None, fingerprint: str, modified: float) -> str:
    """The name of the run that takes an upload in, where it is more than a chunk: the same whenever it is asked."""
    return hashlib.sha256(f"{key}\x00{version or ''}\x00{fingerprint}\x00{modified}".encode()).hexdigest()[:24]


class Uploads:
    """Takes uploaded files of one kind in."""

    def __init__(
        self,
        stores: Stores,
        queue: QueueName,
        take: Take,
        *,
        required: frozenset[str],
        on_finished: Callable[[str], None],
        clock: Callable[[], float],
        chunk_bytes: int = CHUNK_BYTES,
        admit: Admit | None = None,
    ) -> None:
        """
        Args:
            take: (tenant, piece): for each row, in order, True (new), False (a duplicate) or why it is rejected. Of a
                piece that comes again it must say the same.
            required: the columns that a CSV must have.
            on_finished: (tenant) when an upload is in.
            admit: (tenant, rows, source): how many of a piece's rows the tenant may send now; None: nothing is counted.
                `source` names their content, whenever and under whatever name they come.
        """
        self._admit = admit
        self._stores = stores
        self._kind = queue
        self._take_rows = take
        self._required = required
        self._on_finished = on_finished
        self._clock = clock
        self._chunk_bytes = chunk_bytes
        self._splitter = Splitter(stores, queue)

    def ingest(
        self, tenant: str, key: str, *, fingerprint: str, version: str | None, remaining: Remaining
    ) -> IngestReport | Run:
        """Takes an uploaded object in, or splits it; the run then goes on in the queue.

        fingerprint: the ETag in the notification. The object that was taken in last, a second time, is answered from
        its report, unless rows of it were beyond the day's limit: those go in with a later upload of the same file, to
        which what was counted before is free. What is kept is the ETag of the content that was read: it may have been
        replaced since.

        Rejected lines go to ``rejected/{tenant}/…`` as JSON Lines of ``{"line", "field", "reason"}``.

        Raises:
            NotFound: there is no such object (any more).
        """
        done = self._stores.catalogue.upload(tenant, key)
        if done is not None and done.get("over"):
            done = None  # of what was refused that day there may be room now
        if done is not None and fingerprint and done["fingerprint"] == fingerprint:
            return _again(key, done)
        opened = self._stores.objects.open(key, version)
        with closing(opened.reader):
            if done is not None and done["fingerprint"] == opened.fingerprint:
                return _again(key, done)
            run = Run(
                tenant=tenant,
                run_id=run_id_of(key, version, opened.fingerprint, opened.modified),
                kind="upload",
                subject=key,
                fingerprint=opened.fingerprint,
                since=opened.modified,
                started_at=self._clock(),
            )
            started = self._stores.runs.get(tenant, run.run_id)
            if started is None:
                chunks = self._read(RowReader(opened.reader, _name(key), self._required))
                first = next(chunks, None)
                if first is None or first.last or next(chunks, None) is None:
                    return self._take_whole(run, first)
        return self._splitter.split(started or self._stores.runs.begin(run), self, remaining)

    def go_on(self, run: Run, chunk: int | None, remaining: Remaining) -> None:
        """Does what a message of the queue asks for (see `Splitter.go_on`)."""
        self._splitter.go_on(run, chunk, self, remaining)

    # Work of the splitter ---------------------------------------------------------------------------------------

    def chunks(self, run: Run) -> Iterator[Chunk]:
        start = None
        if run.cursor is not None:
            start = Place(**run.cursor | {"columns": tuple(run.cursor["columns"])})
        offset = 0 if start is None or start.packed else start.offset
        try:
            opened = self._stores.objects.open(run.subject, offset=offset, fingerprint=run.fingerprint)
        except (Conflict, NotFound):
            yield Chunk(b"", run.cursor or {}, last=True, problem=_REPLACED)
            return
        with closing(opened.reader):
            yield from self._read(RowReader(opened.reader, _name(run.subject), self._required, start))

    def take(self, run: Run, chunk: int, body: bytes) -> Counts:
        tally, rejected = self._take(run, chunk, body, alone=False)
        if rejected:
            self._stores.objects.put(rejections_key(run, chunk), b"".join(rejected), "application/x-ndjson")
        return Counts(tally.accepted, tally.duplicates, tally.rejected_count, tally.over)

    def finish(self, run: Run) -> None:
        if self._replaced(run):
            self._on_finished(run.tenant)
            return
        parts = self._rejections(run)
        problem = problem_of(run.problem, run.over)
        key, tail = rejected_key(run.subject), _problem_line(problem)
        if parts or tail:
            self._stores.objects.put_joined(key, parts, "application/x-ndjson", tail=tail)
        else:
            self._stores.objects.delete([key])  # that of an earlier upload under this key
        self._report(run, IngestReport(run.accepted, run.duplicates, (), run.rejected, problem), run.over)

    def clean(self, run: Run) -> None:
        self._stores.objects.delete(self._rejections(run))

    # ------------------------------------------------------------------------------------------------------------

    def _replaced(self, run: Run) -> bool:
        """Whether a later upload under the same key has its report already: that one holds."""
        done = self._stores.catalogue.upload(run.tenant, run.subject)
        return done is not None and float(done.get("since", 0)) > run.since

    def _rejections(self, run: Run) -> list[str]:
        """Keys of the chunks' rejected lines, in the order of the file."""
        numbers = self._stores.runs.chunks_with_rejections(run.tenant, run.run_id)
        return [rejections_key(run, number) for number in numbers]

    def _take_whole(self, run: Run, chunk: Chunk | None) -> IngestReport:
        """An upload that is one chunk, taken in at once."""
        tally, rejected = self._take(run, 0, chunk.body if chunk else b"", alone=True)
        tally.problem = problem_of(chunk.problem if chunk else None, tally.over)
        lines = b"".join(rejected) + _problem_line(tally.problem)
        if lines:
            self._stores.objects.put(rejected_key(run.subject), lines, "application/x-ndjson")
        else:
            self._stores.objects.delete([rejected_key(run.subject)])
        self._report(run, tally.report(), tally.over)
        return tally.report()

    def _read(self, reader: RowReader) -> Iterator[Chunk]:
        """The reader's rows in chunks."""
        lines: list[bytes] = []
        size = 0
        for row in reader:
            if isinstance(row, StreamProblem):
                yield Chunk(b"".join(lines), asdict(reader.place), last=True, problem=row.reason)
                return
            line = _chunk_line(row)
            lines.append(line)
            size += len(line)
            if len(lines) >= CHUNK_ROWS or size >= self._chunk_bytes:
                yield Chunk(b"".join(lines), asdict(reader.place))
                lines, size = [], 0
        if lines:
            yield Chunk(b"".join(lines), asdict(reader.place))

    def _take(self, run: Run, chunk: int, body: bytes, *, alone: bool) -> tuple[Tally, list[bytes]]:
        """Takes a chunk's rows in; what became of them, and the rejected ones in the order of their lines."""
        tally = Tally()
        rejections: list[Rejection] = []
        rows: list[Row] = []
        for entry in map(orjson.loads, body.splitlines()):
            if len(entry) == 2:
                rows.append(Row(*entry))
            else:
                rejections.append(Rejection(entry[0], *entry[2:]))
        admitted = self._admitted(run.tenant, len(rows), body)
        over = rows[admitted.rows :]
        if over:
            reason = f"Beyond the day's limit of {admitted.allowed:,} rows: upload the file again tomorrow."
            rejections += [Rejection(row.line, "row", reason) for row in over]
            rows = rows[: admitted.rows]
        piece = Piece(rows, f"{run.run_id}/{chunk}", run.since, alone)
        for outcome in self._take_rows(run.tenant, piece) if rows else ():
            if isinstance(outcome, Rejection):
                rejections.append(outcome)
            else:
                tally.add(outcome)
        admitted.settle(tally.accepted)
        tally.over = len(over)
        rejections.sort(key=lambda rejection: rejection.index)
        for rejection in rejections:
            tally.reject(rejection)
        return tally, [_rejected_line(r.index, r.field, r.reason) for r in rejections]

    def _admitted(self, tenant: str, rows: int, body: bytes) -> Admitted:
        if self._admit is None:
            return Admitted(rows)
        # With the key: of a short piece that tells of one person a plain hash could be searched for what gives it.
        content = self._stores.people.digest(tenant, hashlib.sha256(body).hexdigest())
        return self._admit(tenant, rows, content)

    def _report(self, run: Run, report: IngestReport, over: int) -> None:
        self._on_finished(run.tenant)  # first: whoever is cut off between the two is asked again
        self._stores.catalogue.finish_upload(
            run.tenant, run.subject, run.fingerprint, report, self._clock(), since=run.since, over=over
        )
        metrics.add_metric("RowsAccepted", MetricUnit.Count, report.accepted)
        metrics.add_metric("RowsRejected", MetricUnit.Count, report.rejected_count)
        counts = {"accepted": report.accepted, "duplicates": report.duplicates, "rejected": report.rejected_count}
        logger.info(
            "upload taken in", extra={"key": run.subject, "run": run.run_id, "problem": report.problem, **counts}
        )


def run_body(run: Run) -> dict[str, Any]:
    """A run as a direct call answers it."""
    return {
        "run": run.run_id,
        "kind": run.kind,
        "state": "done" if run.done else "running" if run.whole else "splitting",
        "chunks": run.emitted,
        "finished": run.finished,
        "accepted": run.accepted,
        "duplicates": run.duplicates,
        "rejected_count": run.rejected,
        "problem": problem_of(run.problem, run.over),
    }


def _name(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def _chunk_line(row: Row | Rejection) -> bytes:
    if isinstance(row, Row):
        try:
            return orjson.dumps([row.line, row.value], option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:  # it reads four times as many levels as it writes
            row = Rejection(row.line, "row", "The line is nested too deeply.")
    return orjson.dumps([row.index, None, row.field, row.reason], option=orjson.OPT_APPEND_NEWLINE)


def _rejected_line(line: int | None, name: str, reason: str) -> bytes:
    return orjson.dumps({"line": line, "field": name, "reason": reason}, option=orjson.OPT_APPEND_NEWLINE)


def problem_of(problem: str | None, over: int) -> str | None:
    """What is wrong with a file as a whole, and that rows of it were `over` the day's limit."""
    if not over:
        return problem
    rows = f"{over:,} rows beyond today's limit: upload the file again tomorrow"
    return f"{problem} {rows}" if problem else rows


def _problem_line(problem: str | None) -> bytes:
    """The line about the file as a whole; nothing where there is nothing to say."""
    return b"" if problem is None else _rejected_line(None, "upload", problem)


def _again(key: str, done: Mapping[str, Any]) -> IngestReport:
    """The answer to an upload that was taken in before."""
    logger.info("upload was taken in before", extra={"key": key})
    return IngestReport(0, done["accepted"] + done["duplicates"], (), done["rejected"], done.get("problem"))
