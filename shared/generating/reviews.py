"""Reviews of copy by people: what is approved becomes an example for the next prompt, what is rejected is never shown.

An approved text passes the gate like any other: approval is no licence to say what the ad does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from shared.domain import CatalogueAd, Copy, Language
from shared.errors import ArtifactError, ModelUnavailable, Unprocessable
from shared.generating.briefs import Briefs, segment_audience
from shared.generating.examples import Examples
from shared.generating.facts import facts_of
from shared.generating.gate import Asked, Gate
from shared.generating.ladder import distinct
from shared.generating.templates import every_template
from shared.preprocess import clean_text
from shared.stores import Stores
from shared.stores.copies import ANYONE, Approved, text_key
from shared.telemetry import logger

MAX_REVIEWS = 100
MAX_TEXT = 500
KEPT_DESCRIPTION = 600  # characters of an ad's description that stay with its approved copy


@dataclass(frozen=True, slots=True)
class Review:
    """A person's word on a text for an ad of the catalogue. `language`: the ad's own if None."""

    ad_id: str
    text: str
    state: Literal["approved", "rejected"]
    language: Language | None = None
    segment: str | None = None
    reviewer: str | None = None


class Reviews:
    """Takes reviews in."""

    def __init__(
        self, stores: Stores, briefs: Briefs, gate: Gate, examples: Examples, clock: Callable[[], float]
    ) -> None:
        self._stores = stores
        self._briefs = briefs
        self._gate = gate
        self._examples = examples
        self._clock = clock

    def take(self, tenant: str, reviews: Sequence[Review]) -> list[dict[str, Any]]:
        """For each review its ``result``: ``approved``, ``rejected`` or ``refused`` with the reasons; and ``banked``,
        whether the bank held the text. A later review of a text wins."""
        ads = self._stores.catalogue.get_ads(tenant, {review.ad_id for review in reviews})
        self._gate.ahead([asked for review in reviews if (asked := self._asked(review, ads.get(review.ad_id)))])
        results: list[dict[str, Any]] = []
        approved: dict[tuple[str, str, str], Approved] = {}
        for place, review in enumerate(reviews):
            answer: dict[str, Any] = {"index": place, "ad_id": review.ad_id}
            text = clean_text(review.text, MAX_TEXT)
            stored = ads.get(review.ad_id)
            reasons = self._against(review, text, stored)
            if reasons or stored is None:
                results.append(answer | {"result": "refused", "reasons": reasons})
                continue
            language = review.language or stored.ad.language
            key = text_key(text)
            try:
                self._stores.copies.reject(tenant, review.ad_id, key, rejected=review.state == "rejected")
            except Unprocessable as error:
                results.append(answer | {"result": "refused", "reasons": [error.detail]})
                continue
            if review.state == "approved":
                approved[review.ad_id, language, key] = self._approved(review, stored, text, language)
            else:
                approved.pop((review.ad_id, language, key), None)
                self._stores.copies.disapprove(tenant, review.ad_id, language, key)
            banked = self._mark(tenant, review, key)
            results.append(answer | {"result": review.state, "banked": banked})
        self._stores.copies.approve(tenant, list(approved.values()))
        self._examples.forget(tenant)
        return results

    def _against(self, review: Review, text: str, stored: CatalogueAd | None) -> list[str]:
        """Why the review cannot be taken."""
        if stored is None:
            return [f"ad_id: no ad {review.ad_id!r} in the catalogue"]
        if not text:
            return ["text: nothing to read"]
        if review.segment is not None:
            try:
                self._briefs.check_segment(review.segment)
            except Unprocessable as error:
                return [error.detail]
        asked = self._asked(review, stored)
        if asked is None:
            return []
        try:
            gate = partial(self._gate.reasons, asked.text, asked.ad, asked.language, audience=asked.audience)
            reasons = gate()[0]
            if reasons and text_key(asked.text) in map(text_key, every_template(asked.ad, asked.language)):
                reasons = gate(author="template")[0]  # it is shown already, and no reader was asked about it
            return reasons
        except (ArtifactError, ModelUnavailable) as error:
            logger.error("a review cannot be judged", extra={"detail": error.detail})
            return ["text: cannot be judged now"]

    def _asked(self, review: Review, stored: CatalogueAd | None) -> Asked | None:
        """What the gate is asked about an approval; None where it is asked nothing."""
        if stored is None or review.state == "rejected":
            return None
        try:
            if review.segment is not None:
                self._briefs.check_segment(review.segment)
        except Unprocessable:
            return None
        language = review.language or stored.ad.language
        audience = segment_audience(review.segment or ANYONE, language)
        return Asked(clean_text(review.text, MAX_TEXT), stored.ad, language, audience)

    def _approved(self, review: Review, stored: CatalogueAd, text: str, language: Language) -> Approved:
        ad = stored.ad
        return Approved(
            ad_id=ad.ad_id,
            language=language,
            text=text,
            facts=("，" if language == "zh" else ", ").join(facts_of(ad, language)),
            ad={
                "title": ad.title,
                "description": ad.description[:KEPT_DESCRIPTION],
                "brand": ad.brand,
                "attributes": ad.attributes,
                "domain": ad.domain,
                "language": ad.language,
            },
            at=self._clock(),
            segment=review.segment or ANYONE,
            audience=segment_audience(review.segment or ANYONE, language),
            reviewer=review.reviewer,
            vector=stored.vector,
        )

    def _mark(self, tenant: str, review: Review, key: str) -> bool:
        """Writes the review into the banked text's provenance, or takes the text out; whether there was one."""
        found = False
        for segment, language in self._stores.copies.bank_places(tenant, review.ad_id):
            held = False

            def change(copies: list[Copy]) -> list[Copy]:
                nonlocal held
                held = any(text_key(copy.text) == key for copy in copies)
                if review.state == "rejected":
                    return [copy for copy in copies if text_key(copy.text) != key]
                marked = [self._reviewed(copy, review) if text_key(copy.text) == key else copy for copy in copies]
                return distinct(sorted(marked, key=lambda copy: copy.provenance["human_review"] != "approved"))

            self._stores.copies.bank_change(tenant, review.ad_id, segment, language, change)
            found = found or held
        return found

    def _reviewed(self, copy: Copy, review: Review) -> Copy:
        record = copy.provenance | {"human_review": review.state}
        if review.reviewer:
            record["reviewer"] = review.reviewer
        return replace(copy, provenance=record)
