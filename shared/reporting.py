"""What the console shows of campaigns and of an ad's variants: spend beside pacing, counts, chances. It only reads.

Nothing here is about a person: counts are of ads and texts, and a bank has copy for anyone or for a segment that at
least k people make up (`shared.generating`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.bandit import arms, chances, posterior
from shared.domain import CatalogueAd, Copy
from shared.errors import NotFound
from shared.pacing import allowance
from shared.stores import Stores
from shared.stores.copies import text_key

MAX_LISTED = 500  # ads of one page
USUAL_RATE = 0.01  # click rate of an ad that nothing is known of
COUNTS = ("impressions", "clicks", "conversions", "dismissals")


@dataclass(frozen=True, slots=True)
class CampaignAd:
    """An ad and what became of it. Money is in the advertiser's currency. spent: charged plus reserved today (UTC);
    allowed: what pacing lets it have spent by now; both None without a daily budget. counts: by `COUNTS`, since the
    beginning."""

    ad: CatalogueAd
    spent: float | None
    allowed: float | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Variant:
    """A banked text. impressions, clicks: the older the less they count. chance: how often the text is shown when the
    ad is, by these counts alone (a click model may move it)."""

    copy: Copy
    impressions: float
    clicks: float
    chance: float


@dataclass(frozen=True, slots=True)
class Rung:
    """The texts that compete for one segment in one language."""

    segment: str
    language: str
    variants: tuple[Variant, ...]


class Reporting:
    """Reads what delivery and the bank hold."""

    def __init__(self, stores: Stores, *, clock: Callable[[], float]) -> None:
        self._stores = stores
        self._clock = clock

    def campaigns(
        self, tenant: str, *, after: str = "", limit: int = 100
    ) -> tuple[float, list[CampaignAd], str | None]:
        """The moment (epoch seconds), up to `limit` ads behind the id `after` in the order of their ids, and the id to
        go on behind; None behind the last."""
        now, delivery = self._clock(), self._stores.delivery
        ads = self._stores.catalogue.page(tenant, after, limit + 1)
        onward = ads[limit - 1].ad.ad_id if len(ads) > limit else None
        ads = ads[:limit]
        counts = delivery.stats_of(tenant, [one.ad.ad_id for one in ads])
        paced = [one.ad for one in ads if one.ad.daily_budget is not None]
        spent = delivery.spent(tenant, [ad.ad_id for ad in paced], now) if paced else {}
        allowed = {ad.ad_id: allowance(ad.daily_budget or 0.0, now, start=ad.start, end=ad.end) for ad in paced}
        none = dict.fromkeys(COUNTS, 0)
        rows = [
            CampaignAd(one, spent.get(one.ad.ad_id), allowed.get(one.ad.ad_id), none | counts.get(one.ad.ad_id, {}))
            for one in ads
        ]
        return now, rows, onward

    def variants(self, tenant: str, ad_id: str) -> list[Rung]:
        """The ad's banked texts by segment and language. Raises `NotFound`."""
        stores = self._stores
        if stores.catalogue.get_ad(tenant, ad_id) is None:
            raise NotFound(f"no ad {ad_id!r}", field="ad_id")
        rungs = []
        for segment, language in stores.copies.bank_places(tenant, ad_id):
            copies = stores.copies.bank_get(tenant, ad_id, segment, language)
            if copies:
                rungs.append(Rung(segment, language, self._competing(tenant, ad_id, copies)))
        return rungs

    def _competing(self, tenant: str, ad_id: str, copies: list[Copy]) -> tuple[Variant, ...]:
        keys = [text_key(copy.text) for copy in copies]
        counted = self._stores.delivery.variant_stats(tenant, [(ad_id, key) for key in keys], self._clock())
        counts = [counted[ad_id, key] for key in keys]
        approved = [copy.provenance.get("human_review") == "approved" for copy in copies]
        # Where somebody has looked at them, what was approved is what competes.
        competing = [place for place, yes in enumerate(approved) if yes or not any(approved)]
        made = arms([counts[place] for place in competing], [1.0] * len(competing), USUAL_RATE)
        numbers = np.array([(arm.impressions, arm.clicks, arm.prior, arm.strength) for arm in made], np.float64).T
        share = dict(zip(competing, chances(*posterior(*numbers)).tolist(), strict=True))
        return tuple(Variant(copy, *counts[place], chance=share.get(place, 0.0)) for place, copy in enumerate(copies))
