"""Writes copy: asks the model, gates what comes, and goes down the ladder where nothing is left.

llm -> bank (copy for anyone) or segment (copy for a segment) -> template -> advertiser's own text. The answer names the
rung of every copy. A dead or slow model is never an error of the request.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from shared.domain import Ad, Claim, Copy, Language, Profile, RejectedCopy
from shared.errors import ModelUnavailable, NotFound, Unavailable, Unprocessable
from shared.generating.gate import Check, Classifier, Encoder, Gate, Passed, tidy
from shared.generating.prompts import build_prompt, may_generate, prompt_version
from shared.generating.requests import Brief, CopyRequest, CopyResult, JobView, nameable
from shared.generating.templates import fill_templates, templates_version
from shared.generating.width import display_width
from shared.interests import ProfileReader
from shared.models.generator import SageMakerAsync, TextGenerator, Ticket, chat_body
from shared.policy.claims import claims_version
from shared.policy.rules import channels, packs_version
from shared.preprocess import match_key
from shared.stores import Stores
from shared.stores.copies import ANYONE, Job
from shared.telemetry import MetricUnit, logger, metrics

CANDIDATES = 8  # asked of the model for a light request
LIGHT = 8  # the most copies that are written while the caller waits
MAX_COPIES = 50
BANKED = 8
LEAST_SECONDS = 2.0  # under which the model is not asked any more
ASYNC_SECONDS = 900.0  # after which an asynchronous call is given up
STALE_SECONDS = 1800.0  # after which a job without a sign of life counts as failed
POLL_SECONDS = 15
LABEL = {"zh": "内容由AI生成", "en": "AI-generated"}


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
        self._gate = Gate(encoder, classifier, check)
        self._generator = generator
        self._asynchronous = asynchronous
        self._k_floor = k_floor
        self._clock = clock
        self._versions = versions
        self._timeout = timeout_seconds

    # Requests ---------------------------------------------------------------------------------------------------

    def copy(self, tenant: str, request: CopyRequest, *, remaining: float | None = None) -> CopyResult | str:
        """Copies for the request, or the id of the job that will write them.

        remaining: seconds that the caller can wait.

        Raises:
            NotFound: no such ad. Unprocessable: an unknown channel. Unavailable: the job cannot be queued.
        """
        brief = self._brief(tenant, request)
        waiting = self._asynchronous is not None and self._generator is None and may_generate(brief.ad)
        if request.queued or request.n > LIGHT or (waiting and not self._banked(tenant, brief, brief.n)[0]):
            return self._queue(tenant, brief)
        budget = self._timeout if remaining is None else min(self._timeout, remaining - 1.0)
        return self._write(tenant, brief, budget)

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
        if ticket is not None:
            self._collect(tenant, job, ticket, again)
            return
        self._stores.copies.job_update(tenant, job_id, state="running", expect=("queued", "running"))
        brief = Brief.from_row(job.request)
        if self._asynchronous is not None and may_generate(brief.ad):
            try:
                self._submit(tenant, job, brief)
                return
            except ModelUnavailable as error:
                logger.warning("asynchronous endpoint unavailable", extra={"job_id": job_id, "detail": error.detail})
        self._finish(tenant, job_id, self._write(tenant, brief, max(self._timeout, 10.0 * brief.n)))

    def collect(self, tenant: str, job_id: str) -> None:
        """The asynchronous endpoint says that the job's call is over, one way or the other."""
        self.handle_job(tenant, job_id, again=False)

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

    def _submit(self, tenant: str, job: Job, brief: Brief) -> None:
        assert self._asynchronous is not None
        prompt = build_prompt(brief.ad, brief.language, interests=brief.audience, width=channels()[brief.channel].width)
        body = chat_body(
            self._asynchronous.name,
            prompt.messages,
            n=_asked(brief.n),
            temperature=prompt.temperature,
            max_tokens=prompt.max_tokens,
            stop=prompt.stop,
        )
        ticket = self._asynchronous.submit(job.job_id, f"jobs/{tenant}/{job.job_id}/input.json", body)
        pending = {"ticket": asdict(ticket), "until": self._clock() + ASYNC_SECONDS}
        self._stores.copies.job_update(tenant, job.job_id, state="running", result=pending, expect=("running",))
        self._look_again(tenant, job.job_id)

    def _look_again(self, tenant: str, job_id: str) -> None:
        self._stores.queues.send("copy", {"tenant": tenant, "job_id": job_id}, delay_seconds=POLL_SECONDS)

    def _ticket(self, job: Job) -> Ticket | None:
        if job.state != "running" or not job.result or "ticket" not in job.result or self._asynchronous is None:
            return None
        return Ticket(**job.result["ticket"])

    def _collect(self, tenant: str, job: Job, ticket: Ticket, again: bool) -> None:
        assert self._asynchronous is not None and job.result is not None
        brief = Brief.from_row(job.request)
        texts: list[str] | None
        try:
            texts = self._asynchronous.collect(ticket)
        except ModelUnavailable as error:
            logger.warning("asynchronous generation failed", extra={"job_id": job.job_id, "detail": error.detail})
            texts = []
        if texts is None:
            if self._clock() < job.result["until"]:
                if again:
                    self._look_again(tenant, job.job_id)
                return
            texts = []
        self._finish(tenant, job.job_id, self._answer(tenant, brief, texts, self._asynchronous.name))

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

    # Writing ----------------------------------------------------------------------------------------------------

    def _write(self, tenant: str, brief: Brief, budget: float) -> CopyResult:
        """Asks the model within `budget` seconds, gates, and fills up from the lower rungs."""
        texts: list[str] = []
        notice = None
        if not may_generate(brief.ad):
            notice = "in this domain nothing is generated freely"
        elif self._generator is None:
            notice = "no language model is configured"
        elif budget < LEAST_SECONDS:
            notice = "too little time for the language model"
        else:
            prompt = build_prompt(
                brief.ad, brief.language, interests=brief.audience, width=channels()[brief.channel].width
            )
            try:
                texts = self._generator.complete(
                    prompt.messages,
                    n=_asked(brief.n),
                    temperature=prompt.temperature,
                    max_tokens=prompt.max_tokens,
                    timeout=budget,
                    stop=prompt.stop,
                )
            except ModelUnavailable as error:
                notice = error.detail
                metrics.add_metric(name="ModelUnavailable", unit=MetricUnit.Count, value=1)
                logger.warning("language model unavailable", extra={"detail": error.detail})
        name = self._generator.name if self._generator else ""
        return self._answer(tenant, brief, texts, name, notice)

    def _answer(
        self, tenant: str, brief: Brief, texts: Sequence[str], model: str, notice: str | None = None
    ) -> CopyResult:
        width = channels()[brief.channel].width
        vectors = _vectors(brief.interest_vectors)
        passed, rejected = self._gate.sieve(texts, brief.ad, brief.language, width=width, interests=vectors)
        written = [self._generated(one, brief.language, model) for one in passed]
        banked, refused = self._banked(tenant, brief, BANKED)
        rejected += refused
        if brief.bank is not None and written:
            self._bank(tenant, brief, written, banked)
        copies = _distinct([*written, *banked])[: brief.n]
        if len(copies) < brief.n:
            filled, refused = self._filled(brief, brief.n, width)
            copies = _distinct([*copies, *filled])[: brief.n]
            rejected += refused
        if not copies:
            own, refused = self._advertiser(brief.ad, width)
            copies = own
            rejected += refused
        return CopyResult(tuple(copies), tuple(rejected), self.versions(), len(texts), notice)

    def versions(self) -> dict[str, str]:
        """Of everything that had a say in a copy."""
        return dict(self._versions()) | {
            "generator": (self._asynchronous or self._generator).name
            if self._asynchronous or self._generator
            else "none",  # type: ignore[union-attr]
            "prompt": prompt_version(),
            "templates": templates_version(),
            "claims": claims_version(),
            "policy": packs_version(),
        }

    def _generated(self, one: Passed, language: Language, model: str) -> Copy:
        provenance = {
            "generator": "llm",
            "model": model,
            "prompt_version": prompt_version(),
            "human_review": "none",
            "match": round(one.match, 4),
        }
        return Copy(one.text, language, "llm", one.claims, LABEL, provenance)

    def _banked(self, tenant: str, brief: Brief, limit: int) -> tuple[list[Copy], list[RejectedCopy]]:
        """Banked copy that still holds: the ad's facts or the rules may have changed since it was written."""
        found: list[Copy] = []
        rejected: list[RejectedCopy] = []
        width = channels()[brief.channel].width
        for segment in brief.segments:
            for copy in self._stores.copies.bank_get(tenant, brief.ad.ad_id, segment, brief.language):
                if display_width(copy.text) > width:
                    continue
                reasons, claims = self._gate.reasons(copy.text, brief.ad, brief.language, width=width)
                if reasons:
                    rejected.append(RejectedCopy(copy.text, tuple(reasons)))
                    continue
                rung = "bank" if segment == ANYONE else "segment"
                found.append(replace(copy, served_by=rung, claims=tuple(claims)))  # type: ignore[arg-type]
        return _distinct(found)[:limit], rejected

    def _bank(self, tenant: str, brief: Brief, written: list[Copy], banked: list[Copy]) -> None:
        assert brief.bank is not None
        rung = "bank" if brief.bank == ANYONE else "segment"
        kept = [copy for copy in banked if copy.served_by == rung]
        best = sorted(_distinct([*written, *kept]), key=lambda copy: -copy.provenance.get("match", 0.0))[:BANKED]
        self._stores.copies.bank_put(tenant, brief.ad.ad_id, brief.bank, brief.language, best)

    def _filled(self, brief: Brief, n: int, width: int) -> tuple[list[Copy], list[RejectedCopy]]:
        copies: list[Copy] = []
        rejected: list[RejectedCopy] = []
        for text in fill_templates(brief.ad, brief.language, n + 4, width=width):
            reasons, claims = self._gate.reasons(text, brief.ad, brief.language, width=width)
            if reasons:
                rejected.append(RejectedCopy(text, tuple(reasons)))
                continue
            provenance = {"generator": "template", "prompt_version": templates_version(), "human_review": "none"}
            copies.append(Copy(text, brief.language, "template", tuple(claims), None, provenance))
        return copies[:n], rejected

    def _advertiser(self, ad: Ad, width: int) -> tuple[list[Copy], list[RejectedCopy]]:
        """The advertiser's own words, in the ad's own language; a title that the law forbids is not shown either."""
        rejected: list[RejectedCopy] = []
        for text in (tidy(ad.title, ad, ad.language), tidy(ad.description, ad, ad.language)):
            if not text or display_width(text) > width:
                continue
            reasons, claims = self._gate.reasons(text, ad, ad.language, width=width)
            lawful = [reason for reason in reasons if reason.startswith("policy")]
            if lawful:
                rejected.append(RejectedCopy(text, tuple(lawful)))
                continue
            return [
                Copy(text, ad.language, "advertiser", _supported(claims), None, {"generator": "advertiser"})
            ], rejected
        return [], rejected


def _supported(claims: list[Claim]) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims if claim.support is not None)


def _asked(n: int) -> int:
    """Candidates for n copies: the gate refuses more than half of what a small model writes."""
    return max(CANDIDATES, min(2 * n, 2 * MAX_COPIES))


def _distinct(copies: Sequence[Copy]) -> list[Copy]:
    first: dict[str, Copy] = {}
    for copy in copies:
        first.setdefault(match_key(copy.text), copy)
    return list(first.values())


def _vectors(packed: Sequence[str]) -> Any:
    if not packed:
        return None
    return np.stack([np.frombuffer(bytes.fromhex(one), np.float16) for one in packed]).astype(np.float32)


def _segment_name(segment: str, language: Language) -> tuple[str, ...]:
    """The general name of a segment that is a taxonomy category."""
    from shared.models.taxonomy import load_taxonomy

    taxonomy, _, _ = segment.partition(":")
    if taxonomy not in ("adproduct", "content"):
        return ()
    tree = load_taxonomy(taxonomy)  # type: ignore[arg-type]
    if segment not in tree:
        return ()
    name = tree[segment].name.get(language)
    return (name,) if name else ()
