"""Use case of functions/classify: an upload of labels, or a schedule, starts the training of a head.

The job itself publishes what it has trained (``artifacts/{tenant}/heads/``); here is kept what was uploaded, which job
trains on it and how that ended. One job at a time trains a head: labels that come meanwhile wait for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf
from typing import Any

import orjson

from shared.domain import IngestReport
from shared.errors import AdTailorError, ArtifactError, Conflict, NotFound, Unavailable, Unprocessable
from shared.ingest import rejected_key
from shared.labels import HEAD, PREFIX, Place, Survey, place_of, survey
from shared.quotas import UNLIMITED, Held, QuotaExceeded, Quotas
from shared.splitting import Remaining
from shared.stores import Stores
from shared.stores.heads import HeadRow
from shared.stores.training_jobs import (
    NEVER_STARTED,
    QUEUED,
    TrainingJobs,
    TrainingRefused,
    head_job,
    job_name,
    standing,
)
from shared.telemetry import MetricUnit, logger, metrics

NO_TRAINING = "no training is configured (TrainingImageUri): train with infra.training.train_classifier and --publish"
CLOCK_SLACK = 120.0  # seconds by which S3's clock and ours may differ
ASKED_AT_ONCE = 3  # jobs whose state one request for all heads asks for
MOST_HEADS = 100  # of an answer
RETRAIN_SECONDS = 100.0  # of one call; what is left is for the next
SURVEY_SECONDS = 60.0  # for reading a file of labels through: behind `RETRAIN_SECONDS` within the function's time-out
SPARE_SECONDS = 15.0  # of the function's time, for what comes behind the reading
_TURNS = 8


@dataclass(frozen=True, slots=True)
class Head:
    """A head as it stands. version: that serves, None where none does. row: None for a head that was published without
    an upload. labels, metrics, encoders (that it was fine-tuned from): of that version; metrics is None where its files
    are not there."""

    name: str
    row: HeadRow | None
    version: str | None
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Any] | None = None
    encoders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """What an upload of labels led to. started: by this very call. report: of its rows, where they were read."""

    row: HeadRow | None
    started: bool = False
    report: IngestReport | None = None


class Training:
    """Starts training jobs and keeps how they ended. jobs: None where nobody trains."""

    def __init__(
        self,
        stores: Stores,
        jobs: TrainingJobs | None,
        *,
        clock: Callable[[], float],
        prefix: str = "adtailor",
        reserved: Collection[str] = (),
        quotas: Quotas = UNLIMITED,
    ) -> None:
        """prefix: first part of the jobs' names, which the function's role names. reserved: names that are no heads."""
        self._stores = stores
        self._jobs = jobs
        self._prefix = prefix
        self._reserved = reserved
        self._quotas = quotas
        self._clock = clock

    def ingest(
        self, key: str, *, started_by: str = "upload", force: bool = False, remaining: Remaining = lambda: inf
    ) -> Taken:
        """Checks an uploaded file of labels and starts the job that trains on it; once, however often it is told.

        A file that cannot be trained on, or a job that is refused, leaves the head failed with the reason. Rejected
        lines go to ``rejected/{tenant}/…`` as those of other uploads do. remaining: seconds that the caller has.

        Raises:
            Unprocessable: the key names no head; NotFound: there is no such object (any more); Unavailable.
        """
        place = place_of(key)
        if place.head in self._reserved:
            raise Unprocessable(f"{place.head!r} is the name of a taxonomy: give the head another", field="key")
        if place.part != "train":
            return Taken(None)  # the next training reads it
        for _ in range(_TURNS):
            taken = self._turn(place, key, started_by, force, remaining)
            if taken is not None:
                return taken
        raise Conflict(f"too many uploads of the head {place.head} at once", retry_after=5)

    def ended(self, tenant: str, head: str, job: str) -> HeadRow | None:
        """Notes how a job ended, and goes on with the labels that came meanwhile; None where the head's job is another
        one by now.

        Raises:
            Unavailable: how it ended is not known yet, or the labels cannot be taken; told again, it goes on.
        """
        row = self._stores.heads.get(tenant, head)
        if row is None or row.job != job:
            logger.info("a job that no head waits for has ended", extra={"job": job})
            return None
        settled = self._settled(tenant, row)
        if settled.state == "training" and settled.job == job:
            raise Unavailable(f"how the training job {job} ended is not known yet", retry_after=60)
        if settled.waiting is None or settled.state == "training":
            return settled
        with suppress(NotFound):  # what waited has been deleted
            settled = self.ingest(settled.waiting).row or settled
        return self._with_none_waiting(tenant, settled)

    def retrain(self, tenant: str | None = None, *, force: bool = False, started_by: str = "call") -> dict[str, Any]:
        """Starts jobs for the labels that no job has trained on yet, of one tenant or of all; with `force` for all.

        What is in the bucket counts, so an upload whose notice was lost is found too; of several files of one head
        the one that was uploaded last. A head that cannot be looked at is among the failed, and holds no other up.
        """
        until = self._clock() + RETRAIN_SECONDS
        prefix = f"{PREFIX}{tenant}/" if tenant else PREFIX
        outcome: dict[str, Any] = {"started": [], "unchanged": 0, "failed": [], "left": 0}
        for (owner, head), files in groupby(self._labels(prefix), lambda file: (file[0].tenant, file[0].head)):
            written = {key: modified for _, key, modified in files}
            if self._clock() > until:
                outcome["left"] += 1
                continue
            named = {"tenant": owner, "head": head}
            try:
                taken = self._retrained(owner, head, written, started_by, force)
            except NotFound:
                continue  # deleted meanwhile
            except Exception as error:  # whatever it is, the heads behind this one have their turn
                logger.exception("a head cannot be trained again", extra=named)
                known = isinstance(error, AdTailorError)
                reason = str(error) if known else "it cannot be trained now: see the log of the function"
                outcome["failed"].append(named | {"reason": reason})
                continue
            if taken.started:
                outcome["started"].append(named)
            elif taken.report is not None:
                outcome["failed"].append(named | {"reason": taken.row.reason if taken.row else None})
            else:
                outcome["unchanged"] += 1
        if outcome["left"]:
            logger.warning("heads are left for the next retraining", extra={"left": outcome["left"]})
        return outcome

    def _retrained(self, tenant: str, head: str, written: Mapping[str, float], started_by: str, force: bool) -> Taken:
        """written: the head's files of labels, and when they were uploaded."""
        row = self._stores.heads.get(tenant, head)
        if row is not None:
            row = self._settled(tenant, row)
        # S3 knows whole seconds: of two files of the same one, the row says which came last.
        last = (row.waiting, row.key) if row else (None, None)
        newest = max(written, key=lambda key: (written[key], key == last[0], key == last[1]))
        taken = self.ingest(newest, started_by=started_by, force=force)
        return replace(taken, row=self._with_none_waiting(tenant, taken.row)) if taken.row else taken

    def heads(self, tenant: str) -> list[Head]:
        """The first `MOST_HEADS` of the tenant's heads, by name: those that labels were uploaded for, and those that
        were published without."""
        rows = {row.head: row for row in self._stores.heads.all(tenant)}
        asked = 0
        found: list[Head] = []
        for name in sorted(rows.keys() | set(self._stores.objects.folders(_artifacts(tenant)))):
            if len(found) == MOST_HEADS:
                break
            row, version = rows.get(name), self._version(tenant, name)
            if row is None and version is None:
                continue  # something lies there, but no head was published
            if row is not None and row.state == "training" and asked < ASKED_AT_ONCE:
                row, asked = self._settled(tenant, row), asked + 1
            found.append(self._with_figures(tenant, Head(name, row, version)))
        return found

    def head(self, tenant: str, name: str) -> Head:
        """One head, with the labels and figures of what it serves. Raises `NotFound`."""
        row = self._stores.heads.get(tenant, name) if HEAD.fullmatch(name) else None
        if row is not None:
            row = self._settled(tenant, row)
        version = self._version(tenant, name) if HEAD.fullmatch(name) else None
        if row is None and version is None:
            raise NotFound(f"no head {name!r}: upload labels/{tenant}/{name}.jsonl", field="name")
        found = self._with_figures(tenant, Head(name, row, version))
        if version is not None and found.metrics is None:
            raise ArtifactError(f"head {name}: the version that is named as its latest is not there")
        return found

    def _with_figures(self, tenant: str, head: Head) -> Head:
        """With the labels and figures of the version that serves; as it is where that has none, or is not there."""
        if head.version is None:
            return head
        try:
            body = self._stores.objects.get(f"{_artifacts(tenant)}{head.name}/{head.version}/manifest.json")
        except NotFound:
            return head
        metadata = orjson.loads(body).get("metadata", {})
        labels = tuple(one if isinstance(one, str) else str(one["id"]) for one in metadata.get("labels", ()))
        figures = _figures(metadata.get("metrics", {}))
        return replace(head, labels=labels, metrics=figures, encoders=encoders(metadata))

    # An upload ----------------------------------------------------------------------------------------------------

    def _turn(self, place: Place, key: str, started_by: str, force: bool, remaining: Remaining) -> Taken | None:
        """One try at an upload; None where somebody else has written the head's row meanwhile."""
        tenant, head = place.tenant, place.head
        before = self._stores.heads.get(tenant, head)
        opened = self._stores.objects.open(key)
        with closing(opened.reader):
            if before is not None and before.state == "training":
                if (before.key, before.fingerprint) == (key, opened.fingerprint):
                    return Taken(before if before.submitted else self._submit(place, before))
                before = self._settled(tenant, before)
                if before.state == "training":
                    waits = self._stores.heads.save(tenant, replace(before, waiting=key, updated_at=self._clock()))
                    return Taken(waits) if waits else None
            if before is not None and not force and _is_done(before, key, opened.fingerprint, opened.modified):
                return Taken(before)
            until = self._clock() + min(SURVEY_SECONDS, remaining() - SPARE_SECONDS)
            found = survey(opened.reader, place.name, lambda: self._clock() > until)
        report = self._report(key, found)
        attempt = before.attempt + 1 if before else 1
        now = self._clock()
        row = HeadRow(
            head,
            "training",
            key,
            opened.fingerprint,
            opened.modified,
            now,
            attempt=attempt,
            job=job_name(self._prefix, "head", tenant, head, opened.fingerprint, attempt),
            started_by=started_by,
            started_at=now,
            rows=found.rows,
            labels=len(found.labels),
            rejected=found.rejected_count,
            version=before.version if before else None,
            revision=before.revision if before else 0,
        )
        problem = found.hopeless or (NO_TRAINING if self._jobs is None else None)
        held = Held(0)
        if problem is None:
            try:
                held = self._quotas.trainings(place.tenant)
            except QuotaExceeded as over:
                problem = f"{over.detail}: upload it again tomorrow"
        if problem is not None:
            row = replace(row, state="failed", reason=problem, job=None)
            # Without the reason, which may name a label.
            counted = {"rows": found.rows, "labels": len(found.labels), "rejected": found.rejected_count}
            logger.warning("labels are not trained on", extra={"key": key, "trains": self._jobs is not None} | counted)
        with held:  # once the row is there, a repeat goes on with it, and takes nothing more
            saved = self._stores.heads.save(tenant, row)
        if saved is not None and problem is None:
            saved = self._submit(place, saved)
        if saved is None or saved.state != "training":
            held.hand_back()
        if saved is None:
            return None
        # Last: whoever is cut off before this is told of the upload again, and goes on where the row says.
        self._stores.catalogue.finish_upload(
            tenant, key, opened.fingerprint, report, self._clock(), since=opened.modified
        )
        return Taken(saved, started=saved.state == "training", report=report)

    def _submit(self, place: Place, row: HeadRow) -> HeadRow:
        """Starts the job that the row names."""
        if self._jobs is None or row.job is None:
            return row
        try:
            self._jobs.start(head_job(row.job, place.tenant, place.head, row.key.rsplit("/", 1)[-1]))
        except TrainingRefused as error:
            logger.error("a training job was refused", extra={"job": row.job, "detail": error.detail})
            return self._fail(place.tenant, row, str(error))
        saved = self._stores.heads.save(place.tenant, replace(row, submitted=True))
        if saved is None:
            return row  # who came between knows more: a second notice of the upload, or the job's end
        metrics.add_metric("TrainingsStarted", MetricUnit.Count, 1)
        logger.info("a training job was started", extra={"job": row.job, "key": row.key, "rows": row.rows})
        return saved

    def _report(self, key: str, found: Survey) -> IngestReport:
        """Keeps the rejected lines; the report of an upload, of which nothing is accepted where it is hopeless."""
        lines = [{"line": one.index, "field": one.field, "reason": one.reason} for one in found.rejected]
        problem = found.hopeless or found.problem
        if problem:
            lines.append({"line": None, "field": "upload", "reason": problem})
        if lines:
            body = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
            self._stores.objects.put(rejected_key(key), body, "application/x-ndjson")
        else:
            self._stores.objects.delete([rejected_key(key)])  # that of an earlier upload under this key
        accepted = 0 if found.hopeless else found.rows
        metrics.add_metric("RowsAccepted", MetricUnit.Count, accepted)
        metrics.add_metric("RowsRejected", MetricUnit.Count, found.rejected_count)
        return IngestReport(accepted, 0, tuple(found.rejected), found.rejected_count, problem)

    # The end of a job ---------------------------------------------------------------------------------------------

    def _settled(self, tenant: str, row: HeadRow) -> HeadRow:
        """The row as it is once the job's state has been asked for; that a job cannot be asked changes nothing. Labels
        that wait stay with it: whoever starts jobs goes on with them."""
        if row.state != "training" or self._jobs is None or row.job is None:
            return row
        silent = self._clock() - row.updated_at
        status = standing(self._jobs, row.job, submitted=row.submitted, silent=silent)
        if status == QUEUED:
            return row
        if status.reason != NEVER_STARTED:
            row = replace(row, submitted=True)
        if status.state == "running":
            return row
        return self._serve(tenant, row) if status.state == "completed" else self._fail(tenant, row, status.reason)

    def _with_none_waiting(self, tenant: str, row: HeadRow) -> HeadRow:
        """The row once the labels that waited have been looked at: they were trained on before, or are gone."""
        if row.waiting is None or row.state == "training":
            return row
        saved = self._stores.heads.save(tenant, replace(row, waiting=None, updated_at=self._clock()))
        return saved or self._stores.heads.get(tenant, row.head) or row

    def _serve(self, tenant: str, row: HeadRow) -> HeadRow:
        try:
            pointer = self._stores.objects.open(f"{_artifacts(tenant)}{row.head}/latest")
        except NotFound:
            return self._fail(tenant, row, "the job ended without publishing a head")
        with closing(pointer.reader):
            version = pointer.reader.read().decode()
        if pointer.modified < row.started_at - CLOCK_SLACK:
            return self._fail(tenant, row, "the job ended without publishing a head; the one before still serves")
        served = replace(row, state="served", version=version, updated_at=self._clock())
        return self._stores.heads.save(tenant, served) or self._stores.heads.get(tenant, row.head) or row

    def _fail(self, tenant: str, row: HeadRow, reason: str | None) -> HeadRow:
        failed = replace(row, state="failed", reason=(reason or "the job failed")[:1000], updated_at=self._clock())
        saved = self._stores.heads.save(tenant, failed)
        if saved is None:
            return self._stores.heads.get(tenant, row.head) or row
        metrics.add_metric("TrainingsFailed", MetricUnit.Count, 1)
        logger.error("a training failed", extra={"job": row.job})  # its reason may name a label
        return saved

    # What there is ------------------------------------------------------------------------------------------------

    def _labels(self, prefix: str) -> Iterator[tuple[Place, str, float]]:
        """Files to train on, and when they were uploaded; those of a head come together, as keys are in order."""
        for key, modified in self._stores.objects.dated_keys(prefix):
            try:
                place = place_of(key)
            except Unprocessable:
                continue
            if place.part == "train" and place.head not in self._reserved:
                yield place, key, modified

    def _version(self, tenant: str, head: str) -> str | None:
        try:
            return self._stores.objects.get(f"{_artifacts(tenant)}{head}/latest").decode()
        except NotFound:
            return None


def _artifacts(tenant: str) -> str:
    return f"artifacts/{tenant}/heads/"


def _is_done(row: HeadRow, key: str, fingerprint: str, modified: float) -> bool:
    """Whether a job has trained on these labels, or they were found wanting. What failed for want of a job, or was
    uploaded once more after it had failed, is tried again."""
    if (row.key, row.fingerprint) != (key, fingerprint):
        return False
    wanting = row.job is None and row.reason != NO_TRAINING
    return row.state == "served" or (row.modified == modified and (row.submitted or wanting))


def encoders(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the encoders that a head was fine-tuned from, out of its manifest's metadata; of an older one, which
    tells none, nothing."""
    plan = metadata.get("plan", {})
    parts = [plan, *plan.get("beside", ())]
    return tuple(part["encoder"] for part in parts if "encoder" in part)


def _figures(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy, macro-F1 and calibration error on the development rows, and those of the baselines beside them."""
    own = measured.get("dev", {})
    found: dict[str, Any] = {name: own[name] for name in ("accuracy", "macro_f1", "ece") if name in own}
    if isinstance(measured.get("warning"), str):
        found["warning"] = measured["warning"]
    beside = measured.get("baselines") or {name: one for name, one in measured.items() if name != "dev"}
    baselines = {
        name: {key: one[key] for key in ("accuracy", "macro_f1") if key in one}
        for name, one in beside.items()
        if isinstance(one, Mapping)
    }
    return found | {"baselines": baselines}
