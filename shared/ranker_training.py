"""Use case of functions/classify: a schedule, or a call, starts the training of tenants' rankers on decision logs.

A job trains on the earlier part of the log and has the gate judge what it made on the later part. What is kept here is
which job trains, how it ended and what the gate said; only a ranker with a verdict to promote goes into service
(`shared.promotion`). One job at a time trains a tenant's ranker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from shared import promotion
from shared.errors import AdTailorError, ArtifactError, Forbidden, NotFound, Unavailable, Unprocessable
from shared.models.artifacts import MANIFEST, load_manifest, verify
from shared.models.trained_ranker import KIND
from shared.ranker_inputs import FILE, log_files, survey_log, write_vectors
from shared.snapshot import Project, Snapshot
from shared.stores import Stores
from shared.stores.rankers import RankerRow, RankerState
from shared.stores.training_jobs import (
    NEVER_STARTED,
    QUEUED,
    TrainingJobs,
    TrainingRefused,
    candidate_prefix,
    job_name,
    ranker_job,
    standing,
)
from shared.telemetry import MetricUnit, logger, metrics

NO_TRAINING = "no training is configured (TrainingImageUri): use infra.training.train_ranker and infra.gate"
LEAST_CLICKS = 300  # of a log: fewer cannot teach on its earlier part and judge on its later one
CALL_SECONDS = 90.0  # of one call; the tenants that are left are for the next
READ_SECONDS = 40.0  # for one tenant's log
LONGEST_REASON = 1000  # characters
_STATES: Mapping[str, RankerState] = {"hold": "held", "refuse": "refused", promotion.PROMOTE: "served"}


class Published(Protocol):
    """Published catalogues (`shared.snapshot.Snapshots`)."""

    def latest(self, tenant: str) -> Snapshot: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A tenant's ranker as it stands. row: of its training, None before the first. version: that serves, None where the
    untrained one does."""

    row: RankerRow | None
    version: str | None


class RankerTraining:
    """Starts the jobs, keeps how they ended and promotes what may be. jobs: None where nobody trains."""

    def __init__(
        self,
        stores: Stores,
        jobs: TrainingJobs | None,
        catalogues: Published,
        *,
        project: Project,
        clock: Callable[[], float],
        prefix: str = "adtailor",
    ) -> None:
        """project: of stored vectors into the topic space. prefix: first part of the jobs' names."""
        self._stores = stores
        self._jobs = jobs
        self._catalogues = catalogues
        self._project = project
        self._clock = clock
        self._prefix = prefix

    def train(self, tenant: str | None = None, *, force: bool = False, started_by: str = "call") -> dict[str, Any]:
        """Starts a job for the tenant, or for every one, whose log has files that no job has seen, and clicks enough;
        with `force` whatever a job has seen. A tenant who cannot be looked at holds no other up.

        Raises:
            Unprocessable: nobody trains here.
        """
        if self._jobs is None:
            raise Unprocessable(NO_TRAINING)
        until = self._clock() + CALL_SECONDS
        outcome: dict[str, Any] = {"started": [], "unchanged": 0, "too_few_clicks": [], "failed": [], "left": 0}
        for owner in [tenant] if tenant else self._stores.log_progress.tenants():
            if self._clock() > until:
                outcome["left"] += 1
                continue
            try:
                self._looked_at(owner, self._jobs, force, started_by, outcome)
            except Exception as error:  # whatever it is, the tenants behind this one have their turn
                logger.exception("a ranker cannot be trained", extra={"tenant": owner})
                known = isinstance(error, AdTailorError)
                reason = str(error) if known else "it cannot be trained now: see the log of the function"
                outcome["failed"].append({"tenant": owner, "reason": reason})
        if outcome["left"]:
            logger.warning("tenants are left for the next training of rankers", extra={"left": outcome["left"]})
        return outcome

    def ended(self, tenant: str, job: str) -> RankerRow | None:
        """Notes how a job ended, and promotes what it made where its verdict lets it; None where the tenant's job is
        another one by now. Told again, it changes nothing.

        Raises:
            Unavailable: how it ended is not known yet.
        """
        row = self._stores.rankers.get(tenant)
        if row is None or row.job != job:
            logger.info("a job that no ranker waits for has ended", extra={"job": job})
            return None
        settled = self._settled(tenant, row)
        if settled.state == "training" and settled.job == job:
            raise Unavailable(f"how the training job {job} ended is not known yet", retry_after=60)
        return settled

    def standing(self, tenant: str) -> Standing:
        """The training as it stands, and what serves. Asks for the job's state where one trains."""
        row = self._stores.rankers.get(tenant)
        if row is not None:
            row = self._settled(tenant, row)
        return Standing(row, promotion.in_service(self._stores.objects, tenant))

    # A job's beginning --------------------------------------------------------------------------------------------

    def _looked_at(
        self, tenant: str, jobs: TrainingJobs, force: bool, started_by: str, outcome: dict[str, Any]
    ) -> None:
        """Starts the tenant's job where it is time, and adds to the outcome what became of it."""
        row = self._stores.rankers.get(tenant)
        if row is not None:
            row = self._settled(tenant, row)
            if row.state == "training":
                if not row.submitted:  # who wrote the row was cut off before the job was started
                    row = self._submit(tenant, row, jobs)
                outcome["unchanged"] += 1
                return
        files = log_files(self._stores.objects, tenant)
        written = max((at for _, at in files), default=0.0)
        seen = row is not None and row.submitted and written <= row.written
        if not files or (seen and not force):
            outcome["unchanged"] += 1
            return
        snapshot = self._catalogues.latest(tenant)
        until = self._clock() + READ_SECONDS
        found = survey_log(
            self._stores.objects,
            [key for key, _ in files],
            snapshot,
            now=self._clock(),
            over=lambda: self._clock() > until,
        )
        if found.clicks < LEAST_CLICKS and found.whole:
            outcome["too_few_clicks"].append({"tenant": tenant, "clicks": found.clicks, "wanted": LEAST_CLICKS})
            return
        attempt = row.attempt + 1 if row else 1
        now = self._clock()
        made = RankerRow(
            "training",
            job_name(self._prefix, "ranker", tenant, "", f"{written}", attempt),
            now,
            attempt=attempt,
            started_by=started_by,
            started_at=now,
            written=written,
            clicks=found.clicks,
            current=promotion.in_service(self._stores.objects, tenant),
            revision=row.revision if row else 0,
        )
        key = f"{candidate_prefix(tenant, made.job)}prepared/{FILE}"
        with_vector = write_vectors(self._stores, tenant, snapshot, found.items, key, project=self._project)
        counted = {"clicks": found.clicks, "items": len(found.items), "with_vector": with_vector, "whole": found.whole}
        logger.info("the training of a ranker is prepared", extra=counted | {"job": made.job})
        saved = self._stores.rankers.save(tenant, made)
        if saved is None:
            outcome["unchanged"] += 1  # somebody else starts one
            return
        saved = self._submit(tenant, saved, jobs)
        named = {"tenant": tenant, "job": saved.job}
        if saved.state == "training":
            outcome["started"].append(named)
        else:
            outcome["failed"].append(named | {"reason": saved.reason})

    def _submit(self, tenant: str, row: RankerRow, jobs: TrainingJobs) -> RankerRow:
        """Starts the job that the row names."""
        try:
            jobs.start(ranker_job(row.job, tenant, current=row.current))
        except TrainingRefused as error:
            logger.error("a training job was refused", extra={"job": row.job, "detail": error.detail})
            return self._fail(tenant, row, str(error))
        saved = self._stores.rankers.save(tenant, replace(row, submitted=True))
        if saved is None:
            return row  # who came between knows more: the job's end
        metrics.add_metric("TrainingsStarted", MetricUnit.Count, 1)
        logger.info("a training job was started", extra={"job": row.job})
        return saved

    # A job's end --------------------------------------------------------------------------------------------------

    def _settled(self, tenant: str, row: RankerRow) -> RankerRow:
        """The row as it is once the job's state has been asked for; that a job cannot be asked changes nothing."""
        if row.state != "training" or self._jobs is None:
            return row
        status = standing(self._jobs, row.job, submitted=row.submitted, silent=self._clock() - row.updated_at)
        if status == QUEUED:
            return row
        if status.reason != NEVER_STARTED:
            row = replace(row, submitted=True)
        if status.state == "running":
            return row
        return self._judged(tenant, row) if status.state == "completed" else self._fail(tenant, row, status.reason)

    def _judged(self, tenant: str, row: RankerRow) -> RankerRow:
        """Promotes what the job made, or says why not."""
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / KIND
            try:
                self._fetch(f"{candidate_prefix(tenant, row.job)}result/", folder)
                version = verify(folder, KIND).version
                verdict = promotion.read_verdict(folder)
            except NotFound:
                return self._fail(tenant, row, "the job ended without a ranker and a verdict")
            except ArtifactError as error:
                return self._fail(tenant, row, error.detail)
            state, reason = _STATES.get(verdict["verdict"], "refused"), "; ".join(map(str, verdict["reasons"]))
            if state == "served" and promotion.in_service(self._stores.objects, tenant) != version:
                try:
                    promotion.promote(folder, self._stores.objects, tenant, now=self._clock())
                except Forbidden as error:
                    state, reason = "held", error.detail
        logger.info("a ranker was judged", extra={"job": row.job, "version": version, "verdict": state})
        judged = replace(
            row,
            state=state,
            reason=None if state == "served" else reason[:LONGEST_REASON],
            version=version,
            figures=figures(verdict),
            updated_at=self._clock(),
        )
        return self._stores.rankers.save(tenant, judged) or self._stores.rankers.get(tenant) or judged

    def _fetch(self, prefix: str, folder: Path) -> None:
        """Fetches an artefact and its verdict: the files that its manifest names, and no others.

        Raises:
            NotFound: one is not there. ArtifactError: the manifest is none.
        """
        folder.mkdir()
        (folder / MANIFEST).write_bytes(self._stores.objects.get(f"{prefix}{MANIFEST}"))
        for name in (*load_manifest(folder).files, promotion.VERDICT):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._stores.objects.get(f"{prefix}{name}"))

    def _fail(self, tenant: str, row: RankerRow, reason: str | None) -> RankerRow:
        failed = replace(
            row, state="failed", reason=(reason or "the job failed")[:LONGEST_REASON], updated_at=self._clock()
        )
        saved = self._stores.rankers.save(tenant, failed)
        if saved is None:
            return self._stores.rankers.get(tenant) or row
        metrics.add_metric("TrainingsFailed", MetricUnit.Count, 1)
        logger.error("a training failed", extra={"job": row.job})
        return saved


def figures(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What of a verdict is for people: clicks per decision of both rankers and the difference with its interval, by the
    estimator that decides."""
    found: dict[str, Any] = {"verdict": verdict["verdict"]}
    found |= {name: verdict[name] for name in ("decisions", "clicks", "estimator", "click_model") if name in verdict}
    try:
        judged = verdict["click_models"][verdict["click_model"]]["estimators"][verdict["estimator"]]
        measured = {name: float(judged[name]["estimate"]) for name in ("candidate", "current", "difference")}
        measured |= {name: float(judged["difference"][name]) for name in ("low", "high")}
    except (KeyError, TypeError, ValueError):
        return found  # there was nothing to estimate from
    return found | {name: value for name, value in measured.items() if isfinite(value)}
