"""The use case as its front door sees it: copy at once, copy later, passes over the catalogue, reviews.

`briefs` resolves a request, `writing` writes, `jobs` and `catalogue` do so through the queue, `reviews` takes in what
people say of the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from shared.domain import LANGUAGES, Wording
from shared.errors import NotFound
from shared.generating.briefs import Briefs
from shared.generating.catalogue import CataloguePass, PassRequest
from shared.generating.examples import Examples
from shared.generating.gate import Check, Classifier, Encoder, Gate, Reader
from shared.generating.jobs import CopyJobs
from shared.generating.judging import heard
from shared.generating.prompts import USUAL, Styles, may_generate
from shared.generating.requests import Brief, CopyRequest, CopyResult, JobView
from shared.generating.reviews import Review, Reviews
from shared.generating.writing import Writer, untrained
from shared.models.generator import TextGenerator
from shared.models.sagemaker import SageMakerAsync
from shared.quotas import UNLIMITED, Quotas
from shared.stores import Stores
from shared.stores.copies import ANYONE, Banked
from shared.trained import Found

if TYPE_CHECKING:
    from shared.models.text_clicks import TextClicks
    from shared.profiles import ProfileReader

LIGHT = 8  # the most copies that are written while the caller waits
MAX_COPIES = 50
SHORT_SECONDS = 5.0  # with less left to wait, the copy is written through the queue
RESERVE_SECONDS = 2.5  # kept of it to answer from a lower rung: the entry keeps one of them, a cold ledger another


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
        styles: Styles = USUAL,
        adapters: Collection[str] = (),
        price_per_hour: float = 0.0,
        constrained: bool = False,
        reader: Callable[[], Reader] | None = None,
        wording: Wording = "quoted",
        text_clicks: Callable[[str], Found[TextClicks]] = untrained,
        quotas: Quotas = UNLIMITED,
    ) -> None:
        """generator: writes while the caller waits; None where there is none. asynchronous: writes queued jobs; without
        it they go to `generator`, with more time. versions: of the models, for the answer. adapters: see `Briefs`.
        price_per_hour, constrained, text_clicks: see `Writer`. reader, wording: see `Gate`."""
        self._stores = stores
        self._generator = generator
        self._asynchronous = asynchronous
        self._timeout = timeout_seconds
        gate = Gate(encoder, classifier, check, reader=heard(wording, generator, reader), wording=wording)
        examples = Examples(stores.copies, clock)
        endpoint = generator or asynchronous
        self._briefs = Briefs(stores, profiles, k_floor=k_floor, adapters=adapters)
        self._writer = Writer(
            gate,
            stores.copies,
            generator,
            model=endpoint.name if endpoint is not None else "none",
            versions=versions,
            styles=styles,
            examples=examples,
            price_per_hour=price_per_hour,
            constrained=constrained,
            text_clicks=text_clicks,
            clock=clock,
        )
        self._jobs = CopyJobs(
            stores, self._briefs, self._writer, asynchronous, clock=clock, timeout_seconds=timeout_seconds
        )
        if endpoint is None:  # nothing is asked of anybody
            quotas = UNLIMITED
        self._passes = CataloguePass(stores, self._briefs, price_per_hour=price_per_hour, clock=clock, quotas=quotas)
        self._quotas = quotas
        self._reviews = Reviews(stores, self._briefs, gate, examples, clock)

    def copy(self, tenant: str, request: CopyRequest, *, remaining: float | None = None) -> CopyResult | str:
        """Copies for the request, or the id of the job that will write them.

        What is for anyone or a segment comes from the bank where it holds enough; one person's copy is written anew
        where there is time, and comes from the bank else. remaining: seconds that the caller can wait.

        Raises:
            NotFound: no such ad. Unprocessable: an unknown channel, tone, adapter or segment. Unavailable: the job
            cannot be queued. QuotaExceeded: the tenant has asked for as much copy as it may on this day.
        """
        stored, banks = None, dict[str, Banked]()
        if request.ad_id is not None and request.user_id is None and not request.fresh:
            self._briefs.check(tenant, request)
            languages = (request.language,) if request.language else LANGUAGES  # the ad's own is not known yet
            stored, banks = self._stores.ad_and_bank(tenant, request.ad_id, request.segment or ANYONE, languages)
        brief = self._briefs.of(tenant, request, stored)
        if request.queued or request.n > LIGHT:
            return self._queue(tenant, brief)
        if not request.fresh and not brief.for_person:
            own = brief.segments[:1] == (request.segment or ANYONE,)  # not where the segment is too small
            banked = self._writer.from_bank(tenant, brief, read=banks.get(brief.language) if own else None)
            if banked is not None:
                return banked
        only_later = self._asynchronous is not None and self._generator is None
        hurried = self._generator is not None and remaining is not None and remaining < SHORT_SECONDS
        later = may_generate(brief.ad) and (only_later or hurried)
        if later and (request.fresh or not self._writer.has_banked(tenant, brief)):
            return self._queue(tenant, brief)
        budget = self._timeout if remaining is None else min(self._timeout, remaining - RESERVE_SECONDS)
        with self._quotas.copies(tenant, brief.n if self._writer.asks(brief, budget) else 0) as held:
            written = self._writer.write(tenant, brief, budget)
        if not written.cost.candidates:
            held.hand_back()  # the model was down, or too busy to begin
        return written

    def _queue(self, tenant: str, brief: Brief) -> str:
        with self._quotas.copies(tenant, brief.n if may_generate(brief.ad) else 0):
            return self._jobs.queue(tenant, brief)

    def start_pass(self, tenant: str, request: PassRequest) -> str:
        """Starts a pass over the catalogue; see `CataloguePass.start`."""
        return self._passes.start(tenant, request)

    def review(self, tenant: str, reviews: Sequence[Review]) -> list[dict[str, Any]]:
        """Takes reviews in; see `Reviews.take`."""
        return self._reviews.take(tenant, reviews)

    def job(self, tenant: str, job_id: str) -> JobView:
        """The state of a job or of a pass; one that has died without a word is reported as failed.

        Raises:
            NotFound: no such job.
        """
        job = self._stores.jobs.get(tenant, job_id)
        if job is None:
            raise NotFound(f"no job {job_id!r}", field="job_id")
        return self._passes.view(tenant, job) if job.progress is not None else self._jobs.view(tenant, job)

    def handle_job(
        self, tenant: str, job_id: str, *, cursor: int | None = None, remaining: Callable[[], float] = lambda: inf
    ) -> None:
        """Does what a message of the queue asks for: a job, or (`cursor`) a page of a pass.

        remaining: seconds that are left to the function.

        Raises:
            Unavailable: a store or the queue does not answer, or another worker is at the job; the message comes back.
        """
        if cursor is not None:
            self._passes.page(tenant, job_id, cursor)
        else:
            self._jobs.handle(tenant, job_id, remaining=remaining)

    def collect(self, tenant: str, job_id: str) -> None:
        """The asynchronous endpoint says that the job's call is over, one way or the other."""
        self._jobs.handle(tenant, job_id, again=False)

    def versions(self, adapter: str | None = None) -> dict[str, str]:
        """Of everything that has a say in a copy by that adapter, or by the model alone."""
        return self._writer.versions(adapter)
