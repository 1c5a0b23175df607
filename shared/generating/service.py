"""From a request to copy: resolves what may be known of the reader, writes at once or through the queue, keeps jobs.

Nothing personal goes further than `Generating._brief`: prompts, job rows and the bank see a `Brief`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from shared.domain import Language, Profile
from shared.errors import ModelUnavailable, NotFound, Unavailable, Unprocessable
from shared.generating.gate import Check, Classifier, Encoder, Gate
from shared.generating.prompts import may_generate
from shared.generating.requests import Brief, CopyRequest, CopyResult, JobView, nameable
from shared.generating.writing import Writer, asked, prompt_of
from shared.interests import ProfileReader
from shared.models.generator import TextGenerator, chat_body
from shared.models.sagemaker import SageMakerAsync, Ticket
from shared.policy.rules import channels
from shared.stores import Stores
from shared.stores.copies import ANYONE, Job
from shared.telemetry import logger

LIGHT = 8  # the most copies that are written while the caller waits
MAX_COPIES = 50
SHORT_SECONDS = 5.0  # with less left to wait, the copy is written through the queue
ASYNC_SECONDS = 900.0  # after which an asynchronous call is given up
STALE_SECONDS = 1800.0  # after which a job without a sign of life counts as failed
POLL_SECONDS = 15


class Generating:
    """Use case of functions/generate."""

    def __init__(
        self,
        stores: Stores,
        encoder: Callable[[], Encoder],
        classifier: Callable[[], Classifier],
        profiles: ProfileReader,
        check: Check,
        *,
        generator: TextGenerator | None,
        asynchronous: SageMakerAsync | None = None,
        k_floor: int,
        clock: Callable[[], float] = time.time,
        versions: Callable[[], Mapping[str, str]] = dict,
        timeout_seconds: float = 20.0,
    ) -> None:
        """generator: writes while the caller waits; None where there is none. asynchronous: writes queued jobs; without
        it they go to `generator`, with more time. versions: of the models, for the answer."""
        self._stores = stores
        self._profiles = profiles
        endpoint = generator or asynchronous
        self._writer = Writer(
            Gate(encoder, classifier, check),
            stores.copies,
            generator,
            model=endpoint.name if endpoint is not None else "none",
            versions=versions,
        )
        self._generator = generator
        self._asynchronous = asynchronous
        self._k_floor = k_floor
        self._clock = clock
        self._timeout = timeout_seconds

    # Requests ---------------------------------------------------------------------------------------------------

    def copy(self, tenant: str, request: CopyRequest, *, remaining: float | None = None) -> CopyResult | str:
        """Copies for the request, or the id of the job that will write them.

        remaining: seconds that the caller can wait.

        Raises:
            NotFound: no such ad. Unprocessable: an unknown channel. Unavailable: the job cannot be queued.
        """
        brief = self._brief(tenant, request)
        only_later = self._asynchronous is not None and self._generator is None
        hurried = self._generator is not None and remaining is not None and remaining < SHORT_SECONDS
        later = may_generate(brief.ad) and (only_later or hurried)
        if request.queued or request.n > LIGHT or (later and not self._writer.banked(tenant, brief, brief.n)[0]):
            return self._queue(tenant, brief)
        budget = self._timeout if remaining is None else min(self._timeout, remaining - 1.0)
        return self._writer.write(tenant, brief, budget)

    def job(self, tenant: str, job_id: str) -> JobView:
        """The state of a job; one that has died without a word is reported as failed.

        Raises:
            NotFound: no such job.
        """
        job = self._stores.copies.job_get(tenant, job_id)
        if job is None:
            raise NotFound(f"no job {job_id!r}", field="job_id")
        if job.state == "running" and self._ticket(job) is not None:
            try:  # the notification may have been lost: whoever asks collects
                self.handle_job(tenant, job_id, again=False)
            except Unavailable:
                logger.warning("collecting failed", extra={"job_id": job_id})
            job = self._stores.copies.job_get(tenant, job_id) or job
        if job.state in ("queued", "running") and self._clock() - job.updated_at > STALE_SECONDS:
            self._stores.copies.job_update(
                tenant, job_id, state="failed", error="gave no sign of life", expect=("queued", "running")
            )
            job = self._stores.copies.job_get(tenant, job_id) or job
        progress = {"queued": 0.0, "running": 0.5, "done": 1.0, "failed": 1.0}[job.state]
        return JobView(job_id, job.state, progress, job.result if job.state == "done" else None, job.error)

    def handle_job(self, tenant: str, job_id: str, *, again: bool = True) -> None:
        """Does a queued job. Repeats and races are harmless: the first result stands.

        again: whether to look again later (through the queue) where an asynchronous call is still running.

        Raises:
            Unavailable: a store or the queue does not answer; the message comes back.
        """
        job = self._stores.copies.job_get(tenant, job_id)
        if job is None or job.state in ("done", "failed"):
            logger.info("job is over or unknown", extra={"job_id": job_id})
            return
        ticket = self._ticket(job)
        if ticket is not None and self._asynchronous is not None:
            self._collect(tenant, job, ticket, self._asynchronous, again)
            return
        self._stores.copies.job_update(tenant, job_id, state="running", expect=("queued", "running"))
        brief = Brief.from_row(job.request)
        if self._asynchronous is not None and may_generate(brief.ad):
            try:
                self._submit(tenant, job, brief, self._asynchronous)
                return
            except ModelUnavailable as error:
                logger.warning("asynchronous endpoint unavailable", extra={"job_id": job_id, "detail": error.detail})
        self._finish(tenant, job_id, self._writer.write(tenant, brief, max(self._timeout, 10.0 * brief.n)))

    def collect(self, tenant: str, job_id: str) -> None:
        """The asynchronous endpoint says that the job's call is over, one way or the other."""
        self.handle_job(tenant, job_id, again=False)

    def versions(self) -> dict[str, str]:
        """Of everything that has a say in a copy."""
        return self._writer.versions()

    # Jobs -------------------------------------------------------------------------------------------------------

    def _queue(self, tenant: str, brief: Brief) -> str:
        job_id = secrets.token_hex(16)
        self._stores.copies.job_create(tenant, job_id, brief.row())
        try:
            self._stores.queues.send("copy", {"tenant": tenant, "job_id": job_id})
        except Unavailable:
            self._stores.copies.job_update(
                tenant, job_id, state="failed", error="could not be queued", expect=("queued",)
            )
            raise
        return job_id

    def _submit(self, tenant: str, job: Job, brief: Brief, endpoint: SageMakerAsync) -> None:
        prompt = prompt_of(brief)
        body = chat_body(
            endpoint.name,
            prompt.messages,
            n=asked(brief.n),
            temperature=prompt.temperature,
            max_tokens=prompt.max_tokens,
            stop=prompt.stop,
        )
        ticket = endpoint.submit(job.job_id, f"jobs/{tenant}/{job.job_id}/input.json", body)
        pending = {"ticket": asdict(ticket), "until": self._clock() + ASYNC_SECONDS}
        self._stores.copies.job_update(tenant, job.job_id, state="running", result=pending, expect=("running",))
        self._look_again(tenant, job.job_id)

    def _look_again(self, tenant: str, job_id: str) -> None:
        self._stores.queues.send("copy", {"tenant": tenant, "job_id": job_id}, delay_seconds=POLL_SECONDS)

    def _ticket(self, job: Job) -> Ticket | None:
        if job.state != "running" or not job.result or "ticket" not in job.result or self._asynchronous is None:
            return None
        return Ticket(**job.result["ticket"])

    def _collect(self, tenant: str, job: Job, ticket: Ticket, endpoint: SageMakerAsync, again: bool) -> None:
        brief = Brief.from_row(job.request)
        texts: list[str] | None
        try:
            texts = endpoint.collect(ticket)
        except ModelUnavailable as error:
            logger.warning("asynchronous generation failed", extra={"job_id": job.job_id, "detail": error.detail})
            texts = []
        if texts is None:
            if self._clock() < (job.result or {}).get("until", 0.0):
                if again:
                    self._look_again(tenant, job.job_id)
                return
            texts = []
        self._finish(tenant, job.job_id, self._writer.answer(tenant, brief, texts, endpoint.name))

    def _finish(self, tenant: str, job_id: str, result: CopyResult) -> None:
        self._stores.copies.job_update(tenant, job_id, state="done", result=result.body(), expect=("queued", "running"))

    # Briefs -----------------------------------------------------------------------------------------------------

    def _brief(self, tenant: str, request: CopyRequest) -> Brief:
        if request.channel not in channels():
            raise Unprocessable(f"channel: one of {', '.join(channels())}", field="channel")
        ad = request.ad
        if ad is None:
            stored = self._stores.catalogue.get_ad(tenant, request.ad_id or "")
            if stored is None:
                raise NotFound(f"no ad {request.ad_id!r} in the catalogue", field="ad_id")
            ad = stored.ad
        brief = Brief(ad, request.language or ad.language, request.channel, request.n)
        if request.user_id is not None:
            return self._for_person(tenant, brief, request.user_id)
        own = request.ad is None
        if request.segment is not None:
            big = self._stores.people.interest_holders(tenant, request.segment) >= self._k_floor
            if not big:  # too few people to know anything about: served as anyone
                return replace(brief, segments=(ANYONE,) if own else ())
            return replace(
                brief,
                audience=_segment_name(request.segment, brief.language),
                segments=(request.segment, ANYONE) if own else (),
                bank=request.segment if own else None,
            )
        return replace(brief, segments=(ANYONE,) if own else (), bank=ANYONE if own else None)

    def _for_person(self, tenant: str, brief: Brief, user_id: str) -> Brief:
        uid = self._stores.people.uid(tenant, user_id)
        profile: Profile
        profile, _, _ = self._profiles.read(tenant, user_id, uid)
        holders = self._stores.people.holders(tenant, [i.id for i in profile.interests if not i.sensitive])
        interests = nameable(profile.interests, holders, self._k_floor)
        interests.sort(key=lambda interest: -interest.weight)
        names = dict.fromkeys(interest.name.get(brief.language, "") for interest in interests)
        return replace(
            brief,
            audience=tuple(name for name in names if name)[:2],
            segments=(*profile.segments, ANYONE),
            interest_vectors=tuple(interest.vector.hex() for interest in interests if interest.vector)[:8],
        )


def _segment_name(segment: str, language: Language) -> tuple[str, ...]:
    """The general name of a segment that is a taxonomy category."""
    from shared.models.taxonomy import load_taxonomy

    taxonomy, _, _ = segment.partition(":")
    if taxonomy not in ("adproduct", "content"):
        return ()
    tree = load_taxonomy(taxonomy)
    if segment not in tree:
        return ()
    name = tree[segment].name.get(language)
    return (name,) if name else ()
