"""A pass over the catalogue: copy for many ads at once, written through the queue into the bank.

One message lists a page of ads: its children, the cursor and the total change in one transaction, so that a message
that comes twice, or a worker that dies, neither loses a child nor makes it twice. A child's id follows from pass, ad,
segment and language; `jobs.CopyJobs` does it like any other job, and its end counts once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

from shared.domain import CatalogueAd, Domain, Language
from shared.errors import Unavailable, Unprocessable
from shared.generating.briefs import Briefs
from shared.generating.costs import Cost, expected_body
from shared.generating.gate import channel_problems
from shared.generating.jobs import QUEUED_SECONDS
from shared.generating.ladder import in_voice
from shared.generating.prompts import Tone, may_generate
from shared.generating.requests import CopyRequest, JobView
from shared.generating.writing import asked
from shared.quotas import UNLIMITED, QuotaExceeded, Quotas
from shared.stores import Stores
from shared.stores.copies import ANYONE
from shared.stores.jobs import Job, Progress

MAX_SEGMENTS = 10
MAX_AD_IDS = 1000
PAGE = 90  # children that one message adds; a transaction holds 99
SCAN = 300  # ads that one message looks at

Child = tuple[CatalogueAd, str, Language]


@dataclass(frozen=True, slots=True)
class PassRequest:
    """Copy for every active ad that fits all that is given. `missing_only`: not where the bank has n texts already.

    segments: copy for each of them; for anyone where there are none. `language`: of the ads. `copy_language`: the ad's
    own if None.
    """

    ad_ids: tuple[str, ...] | None = None
    domain: Domain | None = None
    language: Language | None = None
    campaign_id: str | None = None
    missing_only: bool = True
    segments: tuple[str, ...] = ()
    n: int = 3
    channel: str = "feed"
    copy_language: Language | None = None
    tone: Tone | None = None
    adapter: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PassRequest:
        ids = row["ad_ids"]
        return cls(**dict(row) | {"ad_ids": None if ids is None else tuple(ids), "segments": tuple(row["segments"])})

    def wants(self, stored: CatalogueAd) -> bool:
        ad = stored.ad
        wanted = ((self.domain, ad.domain), (self.language, ad.language), (self.campaign_id, ad.campaign_id))
        return stored.active and may_generate(ad) and all(one in (None, is_) for one, is_ in wanted)


class CataloguePass:
    """Starts passes, lists their pages, and says how far they are."""

    def __init__(
        self,
        stores: Stores,
        briefs: Briefs,
        *,
        price_per_hour: float,
        clock: Callable[[], float],
        quotas: Quotas = UNLIMITED,
    ) -> None:
        self._quotas = quotas
        self._stores = stores
        self._briefs = briefs
        self._price = price_per_hour
        self._clock = clock

    def start(self, tenant: str, request: PassRequest) -> str:
        """Makes the pass's job; its id.

        Raises:
            Unprocessable: an unknown channel, tone, adapter or segment, or a segment with too few people.
            Unavailable: it cannot be queued.
        """
        self._briefs.check(
            tenant, CopyRequest(ad_id="-", channel=request.channel, tone=request.tone, adapter=request.adapter)
        )
        for segment in request.segments:
            self._briefs.check_segment(segment)
            if not self._briefs.big_enough(tenant, segment):
                raise Unprocessable(f"segments: {segment} has too few people", field="segments")
        if request.ad_ids is not None:
            request = replace(request, ad_ids=tuple(dict.fromkeys(request.ad_ids)))
        job_id = secrets.token_hex(16)
        self._stores.jobs.create(tenant, job_id, asdict(request), is_pass=True, now=self._clock())
        try:
            self._send_page(tenant, job_id, 0)
        except Unavailable:
            self._stores.jobs.update(
                tenant, job_id, state="failed", expect=("queued",), error="could not be queued", now=self._clock()
            )
            raise
        return job_id

    def page(self, tenant: str, job_id: str, cursor: int) -> None:
        """Adds the page of children that starts at `cursor`, sends them out, and sends for the next page.

        Raises:
            Unavailable: a store or the queue does not answer; the message comes back, and nothing happens twice.
        """
        job = self._stores.jobs.get(tenant, job_id)
        if job is None or job.progress is None or job.state == "failed":
            return
        request = PassRequest.from_row(job.request)
        listed, after, last = self._list(tenant, request, cursor)
        ids = {_child_id(job_id, child): child for child in listed}
        if job.progress.cursor == cursor and not job.progress.listed:
            known = self._stores.jobs.known(tenant, list(ids))
            wanted = [one for one in listed if _child_id(job_id, one) not in known]
            missing = self._missing(tenant, request, wanted) if request.missing_only else wanted
            try:
                self._quotas.copies_of(tenant, len(missing) * request.n, f"{job_id}/{cursor}")
            except QuotaExceeded as over:  # what was listed before is written still
                self._stores.jobs.update(
                    tenant, job_id, state="failed", expect=("queued", "running"), error=over.detail, now=self._clock()
                )
                return
            self._stores.jobs.extend(
                tenant,
                job_id,
                {_child_id(job_id, child): _request(request, child) for child in missing},
                cursor=(cursor, after),
                skipped=len(wanted) - len(missing),
                listed=last,
                now=self._clock(),
            )
        # Whoever listed the page may have died before this: what still waits is sent (again), and so is the next page.
        for child_id, state in self._stores.jobs.known(tenant, list(ids)).items():
            if state == "queued":
                self._stores.queues.send("copy", {"tenant": tenant, "job_id": child_id})
        progress = _progress(self._stores.jobs.get(tenant, job_id) or job)
        if not progress.listed:
            self._send_page(tenant, job_id, progress.cursor)

    def view(self, tenant: str, job: Job) -> JobView:
        """How far the pass is, and what it costs."""
        progress = _progress(job)
        state, error = job.state, job.error
        if state in ("queued", "running") and progress.over:
            self._end(tenant, job, "done")
            state = "done"
        elif state in ("queued", "running") and self._clock() - job.updated_at > QUEUED_SECONDS:
            over = int(progress.counts["done"] + progress.counts["failed"])
            state, error = "failed", f"{progress.total - over} of {progress.total} gave no sign of life: start it again"
            self._end(tenant, job, "failed", error)
        counts = {
            "total": progress.total,
            "done": int(progress.counts["done"]),
            "failed": int(progress.counts["failed"]),
            "skipped": progress.skipped,
            "lower_rung": int(progress.counts["lower_rung"]),
        }
        share = (counts["done"] + counts["failed"]) / progress.total if progress.total else float(progress.listed)
        request = PassRequest.from_row(job.request)
        actual = _cost(job, progress)
        whole = expected_body(
            progress.total,
            counts["done"],
            actual,
            candidates=asked(request.n),
            price_per_hour=self._price,
        )
        cost = {"actual": actual.body(self._price), "expected": whole}
        shown = share if progress.listed else min(share, 0.99)
        return JobView(job.job_id, state, round(shown, 4), request.adapter, None, error, counts, cost)

    def _end(self, tenant: str, job: Job, state: Any, error: str | None = None) -> None:
        """Keeps the time of the last child's end: from it follows how long the pass took."""
        self._stores.jobs.update(
            tenant, job.job_id, state=state, expect=("queued", "running"), error=error, now=job.updated_at
        )

    def _send_page(self, tenant: str, job_id: str, cursor: int) -> None:
        self._stores.queues.send("copy", {"tenant": tenant, "job_id": job_id, "cursor": cursor})

    def _list(self, tenant: str, request: PassRequest, cursor: int) -> tuple[list[Child], int, bool]:
        """The children of the page, the next cursor, and whether it is the last page.

        A cursor is a place in `ad_ids`, or the number of an ad's last write.
        """
        room = PAGE // max(1, len(request.segments))
        children: list[Child] = []
        if request.ad_ids is not None:
            ids = request.ad_ids[cursor : cursor + room]
            found = self._stores.catalogue.get_ads(tenant, ids)
            for ad_id in ids:
                if ad_id in found and request.wants(found[ad_id]):
                    children += _children(request, found[ad_id])
            return children, cursor + len(ids), cursor + room >= len(request.ad_ids)
        ads = self._stores.catalogue.ads_after(tenant, cursor, SCAN)
        fitting = 0
        for seq, stored in ads:
            if request.wants(stored):
                if fitting == room:
                    return children, cursor, False
                fitting += 1
                children += _children(request, stored)
            cursor = seq
        return children, cursor, len(ads) < SCAN

    def _missing(self, tenant: str, request: PassRequest, children: Sequence[Child]) -> list[Child]:
        """Those for which the bank has fewer than n texts that fit and were checked against the ad as it is."""
        wanted = {(stored.ad.ad_id, segment, language) for stored, segment, language in children}
        banked = self._stores.copies.bank_get_many(tenant, wanted)
        missing = []
        for stored, segment, language in children:
            stamp = self._stores.copies.stamp(stored.ad)
            held = banked.get((stored.ad.ad_id, segment, language), ())
            good = [
                copy
                for copy in held
                if copy.provenance.get("gate") == stamp
                and not channel_problems(copy.text, request.channel, language)
                and in_voice(copy, request.tone, request.adapter)
            ]
            if len(good) < request.n:
                missing.append((stored, segment, language))
        return missing


def _children(request: PassRequest, stored: CatalogueAd) -> Iterator[Child]:
    for segment in request.segments or (ANYONE,):
        yield stored, segment, request.copy_language or stored.ad.language


def _child_id(job_id: str, child: Child) -> str:
    stored, segment, language = child
    return blake2b(f"{job_id}|{stored.ad.ad_id}|{segment}|{language}".encode(), digest_size=16).hexdigest()


def _request(request: PassRequest, child: Child) -> dict[str, Any]:
    """The child's request, as keywords of `CopyRequest`."""
    stored, segment, language = child
    return {
        "ad_id": stored.ad.ad_id,
        "segment": None if segment == ANYONE else segment,
        "channel": request.channel,
        "language": language,
        "n": request.n,
        "fresh": not request.missing_only,
        "tone": request.tone,
        "adapter": request.adapter,
    }


def _cost(job: Job, progress: Progress) -> Cost:
    """What the pass has cost. Calls run at the same time, and asynchronous ones wait for each other: the endpoint was
    not in use for longer than the pass took."""
    summed = Cost.of_counts(progress.counts)
    elapsed = job.updated_at - job.created_at
    return replace(summed, seconds=elapsed) if 0 < elapsed < summed.seconds else summed


def _progress(job: Job) -> Progress:
    if job.progress is None:
        raise ValueError(f"job {job.job_id} is no catalogue pass")
    return job.progress
