"""Use case of functions/classify: texts to categories, and the catalogue that is kept and published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import orjson

from shared.categories import sensitive_targets
from shared.domain import Ad, CatalogueAd, Classification, Finding, IngestReport, Rejection
from shared.errors import BadInput, NotFound, TooLarge
from shared.ingest import Piece, Uploads
from shared.preprocess import clean_text, match_key, parse_ad
from shared.preprocess.near_duplicates import near_duplicates
from shared.quotas import UNLIMITED, Quotas
from shared.snapshot import build
from shared.splitting import Remaining
from shared.stores import Stores
from shared.stores.catalogue import Stamp
from shared.stores.people import pack_vector, unpack_vectors
from shared.stores.runs import Run

if TYPE_CHECKING:
    from shared.models.classifier import Head, TaxonomyClassifier
    from shared.models.encoder import Encoder

MAX_TEXTS = 256
MAX_ADS = 100  # in one request
MAX_LISTED = 500  # ads of one page of the catalogue
MAX_LOOKED_THROUGH = 2_000  # ads that one page of a filtered list looks at
TEXT_LIMIT = 10_000  # characters of one text to classify
MAX_TEXT_BYTES = 200_000  # of all texts of a request in UTF-8: 256 times 260 Chinese characters take a core some 10 s
MAX_AD_BYTES = 200_000  # of an ad as JSON: with its findings it must fit a row of DynamoDB (400 KB)
MAX_FINDINGS = 30  # of one text or ad, the first
MAX_REWRITE_BYTES = 100_000  # of an ad's rewrites, each of which is the whole text again
MAX_ANSWER_REWRITE_BYTES = 1_000_000  # of all texts of one request: Lambda answers with at most 6 MB
CHUNK_BYTES = 1 << 18  # of an upload's ads taken in together: each is embedded twice, a long one in a tenth of a second
DEFAULT_HEAD = "adproduct"
CONTENT = "content"
REQUIRED = frozenset({"ad_id", "title", "landing_url", "language", "domain"})

Check = Callable[[str, str | None], list[Finding]]


@dataclass(frozen=True, slots=True)
class TextResult:
    classification: Classification
    findings: tuple[Finding, ...]


class Classifying:
    """Classifies texts and keeps the catalogue."""

    def __init__(
        self,
        stores: Stores,
        encoder: Callable[[], Encoder],
        classifiers: Callable[[], Mapping[str, TaxonomyClassifier]],
        heads: Callable[[str, str], Head],
        check: Check,
        *,
        clock: Callable[[], float],
        quotas: Quotas = UNLIMITED,
    ) -> None:
        """heads: (tenant, name) to a trained head, raising `NotFound`. check: (text, domain) to policy findings."""
        self._stores = stores
        self._encoder = encoder
        self._classifiers = classifiers
        self._heads = heads
        self._check = check
        self._clock = clock
        self._quotas = quotas
        self._uploads = Uploads(
            stores,
            "ads",
            self._take,
            required=REQUIRED,
            on_finished=self._mark_dirty,
            clock=clock,
            chunk_bytes=CHUNK_BYTES,
        )

    def classify(
        self, tenant: str, texts: Sequence[str], *, head: str | None = None, top: int = 3
    ) -> tuple[list[TextResult], str]:
        """Labels and policy findings of each text, and the version of what labelled them.

        head: a trained head's name, or a taxonomy (``adproduct``, the default, or ``content``).

        Raises:
            TooLarge: more than `MAX_TEXTS` or `MAX_TEXT_BYTES`, or a text over `TEXT_LIMIT`; NotFound: no such head;
            BadInput: a text that is empty once cleaned.
        """
        if len(texts) > MAX_TEXTS:
            raise TooLarge(f"{len(texts)} texts in one request: at most {MAX_TEXTS}", field="texts")
        for place, text in enumerate(texts):
            if len(text) > TEXT_LIMIT:
                raise TooLarge(f"{len(text)} characters: at most {TEXT_LIMIT}", field=f"texts[{place}]")
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        if size > MAX_TEXT_BYTES:
            raise TooLarge(
                f"texts of {size:,} bytes in one request: at most {MAX_TEXT_BYTES:,}; send them in several",
                field="texts",
            )
        cleaned = [clean_text(text, TEXT_LIMIT) for text in texts]
        for place, text in enumerate(cleaned):
            if not text:
                raise BadInput("the text is empty", field=f"texts[{place}]")
        name = head or DEFAULT_HEAD
        taxonomies = self._classifiers()
        if name in taxonomies:
            labels = taxonomies[name].classify_vectors(self._encoder().encode(cleaned, kind="query"), top=top)
            version = taxonomies[name].version
        else:
            trained = self._heads(tenant, name)
            labels, version = trained.classify(cleaned, top=top), trained.version
        share = MAX_ANSWER_REWRITE_BYTES // max(len(cleaned), 1)
        return [
            TextResult(label, _bounded(self._check(text, None), share))
            for text, label in zip(cleaned, labels, strict=True)
        ], version

    def put_ads(self, tenant: str, rows: Sequence[object]) -> list[CatalogueAd | Rejection]:
        """Writes ads; for each row, in order, the ad as kept or why it is rejected. Queues the next snapshot.

        Raises:
            TooLarge: more than `MAX_ADS`.
        """
        if len(rows) > MAX_ADS:
            raise TooLarge(f"{len(rows)} ads in one request: at most {MAX_ADS}", field="ads")
        outcomes = self._within(tenant, [(index, _parsed(row, index)) for index, row in enumerate(rows)])
        ads = [ad for ad in outcomes if isinstance(ad, Ad)]
        stamp = Stamp.of_request(self._clock())
        kept, over = self._keep(tenant, ads, dict.fromkeys((ad.ad_id for ad in ads), stamp))
        if kept:  # also where nothing is new: the task of the first try may not have been queued
            self._mark_dirty(tenant)
        remaining = iter(kept)
        written: list[CatalogueAd | Rejection] = []
        for index, outcome in enumerate(outcomes):
            one = next(remaining) if isinstance(outcome, Ad) else outcome
            full = isinstance(one, CatalogueAd) and one.ad.ad_id in over
            written.append(self._full(tenant, index) if full else one)
        return written

    def get_ad(self, tenant: str, ad_id: str) -> CatalogueAd:
        """Raises `NotFound`."""
        ad = self._stores.catalogue.get_ad(tenant, ad_id)
        if ad is None:
            raise NotFound(f"no ad {ad_id!r}", field="ad_id")
        return ad

    def list_ads(
        self,
        tenant: str,
        *,
        after: str = "",
        limit: int = 100,
        campaign_id: str | None = None,
        domain: str | None = None,
    ) -> tuple[list[CatalogueAd], str | None]:
        """Up to `limit` ads behind the id `after`, in the order of their ids, and the id to go on behind; None behind
        the last. With a filter it may be fewer, or none, though there are more: `MAX_LOOKED_THROUGH` are looked at."""
        found: list[CatalogueAd] = []
        looked = 0
        while looked < MAX_LOOKED_THROUGH:
            wanted = min(limit, MAX_LOOKED_THROUGH - looked) if campaign_id or domain else limit
            ads = self._stores.catalogue.page(tenant, after, wanted)
            for place, one in enumerate(ads):
                after = one.ad.ad_id
                if campaign_id in (None, one.ad.campaign_id) and domain in (None, one.ad.domain):
                    found.append(one)
                    if len(found) == limit:
                        more = place + 1 < len(ads) or bool(self._stores.catalogue.page(tenant, after, 1))
                        return found, after if more else None
            if len(ads) < wanted:
                return found, None
            looked += len(ads)
        return found, after

    def content_of(self, ads: Sequence[CatalogueAd]) -> list[Classification | None]:
        """Each ad's place in the Content Taxonomy, from the vector that is kept of it; None where there is none.

        It is not stored: a catalogue row stays as it is, and a new table of the taxonomy needs no new rows.
        """
        known = [ad for ad in ads if ad.vector]
        if CONTENT not in self._classifiers() or not known:
            return [None] * len(ads)
        vectors = unpack_vectors([ad.vector for ad in known])
        places = iter(self._classifiers()[CONTENT].classify_vectors(vectors, top=3))
        return [next(places) if ad.vector else None for ad in ads]

    def ingest(
        self,
        tenant: str,
        key: str,
        *,
        fingerprint: str,
        version: str | None = None,
        remaining: Remaining = lambda: inf,
    ) -> IngestReport | Run:
        """Takes an uploaded file of ads in, or splits it (see `shared.ingest.Uploads.ingest`). When it is in, the next
        snapshot is queued."""
        return self._uploads.ingest(tenant, key, fingerprint=fingerprint, version=version, remaining=remaining)

    def go_on(self, tenant: str, run_id: str, chunk: int | None, *, remaining: Remaining = lambda: inf) -> None:
        """Does what a message of the queue asks for: a chunk's work, or (None) to split on. Raises `NotFound`."""
        self._uploads.go_on(self._stores.runs.find(tenant, run_id), chunk, remaining)

    def publish(self, tenant: str) -> str | None:
        """Publishes the catalogue as it is; the version in service, None where another builder is at it."""
        pointer = build(self._stores, tenant, clock=self._clock)
        if pointer:
            self._stores.log_progress.add_tenant(tenant)
        return pointer.version if pointer else None

    # ------------------------------------------------------------------------------------------------------------

    def _take(self, tenant: str, piece: Piece) -> Iterator[Rejection | bool]:
        """For each row, in order: True (new or changed), False (as it was, or a later one is there), or why not."""
        parsed = [(row.line, _parsed(row.value, row.line)) for row in piece.rows]
        outcomes = list(zip((row.line for row in piece.rows), self._within(tenant, parsed), strict=True))
        stamps = {
            ad.ad_id: Stamp.of_upload(piece.since, line, piece.source) for line, ad in outcomes if isinstance(ad, Ad)
        }
        before = self._stores.catalogue.stamps(tenant, stamps)
        _, over = self._keep(tenant, [ad for _, ad in outcomes if isinstance(ad, Ad)], stamps)
        seen: dict[str, Ad] = {ad_id: ad for ad_id, (ad, stamp) in before.items() if stamp.source != piece.source}
        for line, outcome in outcomes:
            if isinstance(outcome, Rejection):
                yield outcome
            elif outcome.ad_id in over:
                yield self._full(tenant, line)
            else:
                late = outcome.ad_id in before and before[outcome.ad_id][1].order > stamps[outcome.ad_id].order
                yield not late and seen.get(outcome.ad_id) != outcome
                seen[outcome.ad_id] = outcome

    def _within(self, tenant: str, rows: Sequence[tuple[int, Ad | Rejection]]) -> list[Ad | Rejection]:
        """The outcomes, without new ads for which the tenant's catalogue has no room, so that nothing is made of them.
        Others may be writing: what holds is what the write finds."""
        most = self._quotas.ads(tenant)
        ids = dict.fromkeys(ad.ad_id for _, ad in rows if isinstance(ad, Ad))
        if most is None or not ids:
            return [outcome for _, outcome in rows]
        catalogue = self._stores.catalogue
        room = most - catalogue.count(tenant)
        over: set[str] = set()
        if len(ids) > room:
            there = catalogue.stamps(tenant, ids)
            over = set([ad_id for ad_id in ids if ad_id not in there][max(room, 0) :])
        return [self._full(tenant, n) if isinstance(one, Ad) and one.ad_id in over else one for n, one in rows]

    def _full(self, tenant: str, index: int) -> Rejection:
        most = self._quotas.ads(tenant) or 0
        return Rejection(index, "ad_id", f"The catalogue has its {most:,} ads (limit ads): a new one finds no room.")

    def _mark_dirty(self, tenant: str) -> None:
        # The delay lets a burst of writes share one build; the snapshot is still out well within 10 s.
        self._stores.queues.send("catalogue", {"tenant": tenant, "action": "publish"}, delay_seconds=1)

    def _keep(
        self, tenant: str, ads: Sequence[Ad], stamps: Mapping[str, Stamp]
    ) -> tuple[list[CatalogueAd], frozenset[str]]:
        """The ads with category, findings and state, and the ids of those for which there was no room."""
        if not ads:
            return [], frozenset()
        texts = [ad.text for ad in ads]
        vectors = self._encoder().encode(texts, kind="query")
        # The title names the thing, the description its facts: at equal weight more ads get their category.
        titles = self._encoder().encode([ad.title for ad in ads], kind="query")
        categories = self._classifiers()[DEFAULT_HEAD].classify_vectors(_unit(titles + vectors), top=3)
        first = near_duplicates(texts)
        kept: list[CatalogueAd] = []
        for place, (ad, vector, category) in enumerate(zip(ads, vectors, categories, strict=True)):
            findings = [*self._check(ad.title, ad.domain), *self._check(ad.description, ad.domain)]
            reason = None
            blocking = next((finding for finding in findings if finding.severity == "block"), None)
            if blocking is not None:
                reason = f"policy: {blocking.rule}: {blocking.reason}"
            if targets := sensitive_targets(ad.targeting):
                named = f"targeting by {', '.join(targets)} reaches nobody: sensitive categories are no audience"
                law = "GDPR Art. 9; Regulation (EU) 2022/2065 Art. 26(3); PIPL Art. 28"
                findings.append(Finding(0, len(ad.title), "sensitive_targeting", "warn", named, law))
            original = ads[first[place]]
            if original.ad_id != ad.ad_id:
                if (match_key(original.text), original.landing_url) == (match_key(ad.text), ad.landing_url):
                    reason = reason or f"duplicate of {original.ad_id}: the same text and landing page"
                else:
                    findings.append(
                        Finding(0, len(ad.title), "near_duplicate", "warn", f"reads almost like {original.ad_id}")
                    )
            noted = _bounded(findings, MAX_REWRITE_BYTES)
            kept.append(CatalogueAd(ad, category, reason is None, reason, noted, pack_vector(vector)))
        return kept, self._stores.catalogue.put_ads_within(tenant, kept, stamps, self._quotas.ads(tenant))[1]


def _parsed(row: object, index: int) -> Ad | Rejection:
    ad = parse_ad(row, index=index)
    if isinstance(ad, Ad) and (size := len(orjson.dumps(asdict(ad)))) > MAX_AD_BYTES:
        return Rejection(index, "row", f"The ad has {size:,} bytes; the limit is {MAX_AD_BYTES:,}.")
    return ad


def _bounded(findings: Sequence[Finding], rewrite_bytes: int) -> tuple[Finding, ...]:
    """The first `MAX_FINDINGS`, with rewrites while there is room for them."""
    kept = []
    for finding in findings[:MAX_FINDINGS]:
        rewrite_bytes -= len((finding.rewrite or "").encode())
        kept.append(finding if rewrite_bytes >= 0 else replace(finding, rewrite=None))
    return tuple(kept)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float32)
