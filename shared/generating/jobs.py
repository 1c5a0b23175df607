"""Jobs: copy that is written through the queue, one job at a time, with the first result standing.

A message may come twice, late or never, a worker may die, the asynchronous endpoint's notice may be lost: every job
still ends as ``done`` (from whatever rung) or ``failed`` (with the reason).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from math import ceil, inf

from shared.errors import AdTailorError, ModelUnavailable, Unavailable
from shared.generating.briefs import Briefs
from shared.generating.costs import NO_COST, call_cost
from shared.generating.prompts import may_generate
from shared.generating.requests import Brief, CopyRequest, CopyResult, JobView
from shared.generating.writing import Writer, asked
from shared.models.generator import Completions
from shared.models.sagemaker import SageMakerAsync, Ticket
from shared.stores import Stores
from shared.stores.jobs import Job
from shared.telemetry import logger

ASYNC_SECONDS = 3600  # after which an asynchronous call is given up: a GPU may have to start, and others may be first
STALE_SECONDS = 1800.0  # after which a worker without a sign of life counts as dead
QUEUED_SECONDS = 6 * 3600.0  # after which a job that nobody takes up counts as lost: a large pass may be before it
LEASE_SECONDS = 120.0  # for so long (a function's timeout) a worker may be at a job that it took up
WRITE_SECONDS = 100.0  # the most that the model gets within them
GATE_SECONDS = 15.0  # that are kept for the gate after it
LATE_SECONDS = 600.0  # past an asynchronous call's time, after which a job whose answer cannot be read is given up
POLL_SECONDS = (15, 300)  # least and most before an asynchronous call is looked at again: as long as it has run
ATTEMPTS = 3  # as often as the queue delivers a message
WAITS = (30, 120)  # seconds before the next attempt where the model is down: it may be starting, or be asked too often


class CopyJobs:
    """Queues jobs and does them. asynchronous: writes where there is one; else the writer's model, with more time."""

    def __init__(
        self,
        stores: Stores,
        briefs: Briefs,
        writer: Writer,
        asynchronous: SageMakerAsync | None,
        *,
        clock: Callable[[], float],
        timeout_seconds: float,
    ) -> None:
        self._stores = stores
        self._briefs = briefs
        self._writer = writer
        self._asynchronous = asynchronous
        self._clock = clock
        self._timeout = timeout_seconds

    def queue(self, tenant: str, brief: Brief) -> str:
        """Makes a job of the brief; its id.

        Raises:
            Unavailable: it cannot be queued.
        """
        job_id = secrets.token_hex(16)
        self._stores.jobs.create(tenant, job_id, brief.row(), now=self._clock())
        try:
            self._stores.queues.send("copy", {"tenant": tenant, "job_id": job_id})
        except Unavailable:
            self._update(tenant, job_id, state="failed", error="could not be queued", expect=("queued",))
            raise
        return job_id

    def view(self, tenant: str, job: Job) -> JobView:
        """The state of a single job; one that has died without a word is reported as failed."""
        job_id = job.job_id
        if job.state == "running" and self._ticket(job) is not None:
            try:  # the notification may have been lost: whoever asks collects
                self.handle(tenant, job_id, again=False)
            except Unavailable:
                logger.warning("collecting failed", extra={"job_id": job_id})
            except Exception:  # whoever asks is told the state; `_collected` sees to it that the job ends
                logger.exception("collecting failed", extra={"job_id": job_id})
            job = self._stores.jobs.get(tenant, job_id) or job
        if self._lost(job):
            self._over(tenant, job, error="gave no sign of life")
            job = self._stores.jobs.get(tenant, job_id) or job
        progress = {"queued": 0.0, "running": 0.5, "done": 1.0, "failed": 1.0}[job.state]
        result = job.result if job.state == "done" else None
        return JobView(job_id, job.state, progress, job.request.get("adapter"), result, job.error)

    def _lost(self, job: Job) -> bool:
        """Whether nobody is at the job any more. An asynchronous call has a time of its own (`_collect`)."""
        if job.state not in ("queued", "running") or self._ticket(job) is not None:
            return False
        patience = QUEUED_SECONDS if job.state == "queued" else STALE_SECONDS
        return self._clock() - job.updated_at > patience

    def handle(
        self, tenant: str, job_id: str, *, again: bool = True, remaining: Callable[[], float] = lambda: inf
    ) -> None:
        """Does a queued job. Repeats and races are harmless: the first result stands.

        again: whether to look again later (through the queue) where an asynchronous call is still running.
        remaining: seconds that are left to the function.

        Raises:
            Unavailable: a store or the queue does not answer, or another worker took the job at the same moment; the
                message comes back.
        """
        job = self._stores.jobs.get(tenant, job_id)
        if job is None or job.state in ("done", "failed"):
            logger.info("job is over or unknown", extra={"job_id": job_id})
            return
        ticket = self._ticket(job)
        if ticket is not None and self._asynchronous is not None:
            self._collected(tenant, job, ticket, self._asynchronous, again)
            return
        left = LEASE_SECONDS - (self._clock() - job.updated_at)
        if job.state == "running" and left > 0:
            if not again:
                raise Unavailable("another worker is at this job", retry_after=ceil(left))
            # Its own message may be this one, and the worker that has the job may be dead: one comes after the lease.
            self._send(tenant, job_id, ceil(left) + 1)
            return
        if job.attempts >= ATTEMPTS:
            self._over(tenant, job, error=f"given up after {ATTEMPTS} attempts")
            return
        if not self._update(tenant, job_id, state="running", expect=(job.state,), taken=True):
            raise Unavailable("another worker took this job", retry_after=1)
        try:
            self._do(tenant, job, remaining)
        except AdTailorError as error:
            if error.status < 500:  # the ad has gone, or what was asked for: trying again changes nothing
                self._over(tenant, job, error=error.detail)
                return
            self._let_go(tenant, job)
            raise
        except Exception:
            self._let_go(tenant, job)
            raise

    def _let_go(self, tenant: str, job: Job) -> None:
        """After a failure that its message will come back for: the next worker need not wait for the lease."""
        if job.attempts + 1 >= ATTEMPTS:
            self._over(tenant, job, error=f"failed {ATTEMPTS} times")
        else:
            self._update(tenant, job.job_id, state="queued", expect=("running",))

    def _do(self, tenant: str, job: Job, remaining: Callable[[], float]) -> None:
        brief = self._brief(tenant, job)
        if job.parent is not None and not job.request.get("fresh"):
            # The bank may have been filled since the pass listed the ad; or what it holds had to be checked again.
            banked = self._writer.from_bank(tenant, brief, patient=True)
            if banked is not None:
                self._finish(tenant, job, banked)
                return
        waits = WAITS[job.attempts : job.attempts + 1]  # nothing: this is the last attempt
        if self._asynchronous is not None and may_generate(brief.ad):
            try:
                self._submit(tenant, job, brief, self._asynchronous)
                return
            except ModelUnavailable as error:
                logger.warning(
                    "asynchronous endpoint unavailable", extra={"job_id": job.job_id, "detail": error.detail}
                )
                if waits and not self._writer.has_model:
                    self._wait(tenant, job, waits[0])
                    return
        budget = min(max(self._timeout, 10.0 * brief.n), WRITE_SECONDS, remaining() - GATE_SECONDS)
        try:
            result = self._writer.write(tenant, brief, budget, insist=bool(waits))
        except ModelUnavailable as error:
            logger.warning("language model unavailable", extra={"job_id": job.job_id, "detail": error.detail})
            self._wait(tenant, job, waits[0])
            return
        self._finish(tenant, job, result)

    def _wait(self, tenant: str, job: Job, seconds: int) -> None:
        """Puts the job back for later: nobody waits for it, and the lower rungs write nothing into the bank."""
        self._update(tenant, job.job_id, state="queued", expect=("running",))
        self._send(tenant, job.job_id, seconds)

    def _brief(self, tenant: str, job: Job) -> Brief:
        """A single job keeps its brief. A pass's child keeps the request, and the k-floor is asked when it is done."""
        if job.parent is None:
            return Brief.from_row(job.request)
        return self._briefs.of(tenant, CopyRequest(**job.request))

    def _submit(self, tenant: str, job: Job, brief: Brief, endpoint: SageMakerAsync) -> None:
        request = self._writer.request(tenant, brief)
        key = f"jobs/{tenant}/{job.job_id}/input.json"
        ticket = endpoint.submit(job.job_id, key, request, timeout_seconds=ASYNC_SECONDS)
        now = self._clock()
        pending = {"ticket": asdict(ticket), "at": now, "until": now + ASYNC_SECONDS}
        self._update(tenant, job.job_id, state="running", result=pending, expect=("running",))
        try:
            self._look_again(tenant, job.job_id, 0.0)
        except Unavailable:  # the endpoint's notice and whoever asks for the job come as well
            logger.warning("no second look queued", extra={"job_id": job.job_id})

    def _look_again(self, tenant: str, job_id: str, running: float) -> None:
        least, most = POLL_SECONDS
        self._send(tenant, job_id, min(max(int(running), least), most))

    def _send(self, tenant: str, job_id: str, seconds: int) -> None:
        """Has the queue deliver the job once more, after so many seconds."""
        self._stores.queues.send("copy", {"tenant": tenant, "job_id": job_id}, delay_seconds=seconds)

    def _ticket(self, job: Job) -> Ticket | None:
        if job.state != "running" or not job.result or "ticket" not in job.result or self._asynchronous is None:
            return None
        return Ticket(**job.result["ticket"])

    def _collected(self, tenant: str, job: Job, ticket: Ticket, endpoint: SageMakerAsync, again: bool) -> None:
        """Collects; an answer that cannot be read or judged is tried again for as long as the call has time."""
        try:
            self._collect(tenant, job, ticket, endpoint, again)
        except Unavailable:
            raise
        except Exception:
            pending = job.result or {}
            now = self._clock()
            if now >= pending.get("until", 0.0) + LATE_SECONDS:
                logger.exception("an asynchronous answer is given up", extra={"job_id": job.job_id})
                self._over(tenant, job, error="what the asynchronous endpoint answered could not be read")
                return
            if not again:
                raise
            logger.exception("an asynchronous answer cannot be read", extra={"job_id": job.job_id})
            self._look_again(tenant, job.job_id, now - pending.get("at", now))

    def _collect(self, tenant: str, job: Job, ticket: Ticket, endpoint: SageMakerAsync, again: bool) -> None:
        pending = job.result or {}
        written: Completions | None
        try:
            written = endpoint.collect(ticket)
        except ModelUnavailable as error:
            logger.warning("asynchronous generation failed", extra={"job_id": job.job_id, "detail": error.detail})
            written = Completions((), notice=error.detail)
        if written is None:
            now = self._clock()
            if now < pending.get("until", 0.0):
                if again:
                    self._look_again(tenant, job.job_id, now - pending.get("at", now))
                return
            written = Completions((), notice="the asynchronous endpoint did not answer in time")
        try:
            brief = self._brief(tenant, job)
        except AdTailorError as error:
            if error.status >= 500:
                raise
            self._over(tenant, job, error=error.detail)
            return
        cost = NO_COST
        if written.texts:
            now = self._clock()
            usage = replace(written.usage, seconds=max(0.0, now - pending.get("at", now)))
            cost = call_cost(usage, candidates=asked(brief.n))
        answer = self._writer.answer(tenant, brief, written.texts, endpoint.name, written.notice or None, cost)
        self._finish(tenant, job, answer)

    def _finish(self, tenant: str, job: Job, result: CopyResult) -> None:
        written = any(copy.served_by in ("llm", "bank", "segment") for copy in result.copies)
        counts = {"done": 1.0, "lower_rung": float(not written)} | result.cost.counts()
        self._over(tenant, job, result=result, counts=counts)

    def _over(
        self,
        tenant: str,
        job: Job,
        *,
        result: CopyResult | None = None,
        error: str | None = None,
        counts: dict[str, float] | None = None,
    ) -> None:
        """The job's last state; a pass that it belongs to counts it, once."""
        self._stores.jobs.update(
            tenant,
            job.job_id,
            state="done" if result is not None else "failed",
            expect=("queued", "running"),
            result=result.body() if result is not None else None,
            error=error,
            parent=job.parent,
            counts=counts or {"failed": 1.0},
            now=self._clock(),
        )

    def _update(self, tenant: str, job_id: str, **changes: object) -> bool:
        return self._stores.jobs.update(tenant, job_id, now=self._clock(), **changes)  # type: ignore[arg-type]
