"""Which of an ad's copies to show: the ladder of DESIGN section 5, and among the variants of its rung a bandit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.bandit import arms, choose
from shared.domain import Ad, Copy
from shared.stores import Stores
from shared.stores.copies import ANYONE, text_key


@dataclass(frozen=True, slots=True)
class Chosen:
    """A copy to show. variant: which one (`text_key`), chance: that it was shown, given the ad."""

    copy: Copy
    variant: str
    chance: float


def variants(
    stores: Stores,
    tenant: str,
    ads: Sequence[tuple[Ad, float]],
    segments: Sequence[str],
    rng: np.random.Generator,
    now: float,
) -> list[Chosen]:
    """A copy for each (ad, its click rate): one of the bank's for the first of the person's segments that has any, else
    of those for anyone, else the advertiser's own title."""
    wanted = [(ad.ad_id, segment, ad.language) for ad, _ in ads for segment in (*segments, ANYONE)]
    banked = stores.copies.bank_get_many(tenant, wanted)
    rungs: list[list[Copy]] = []
    for ad, _ in ads:
        stamp = stores.copies.stamp(ad)
        for segment in (*segments, ANYONE):
            # What was checked against other facts or older rules waits until generation has looked at it again.
            held = banked.get((ad.ad_id, segment, ad.language), ())
            copies = [copy for copy in held if copy.provenance.get("gate") == stamp]
            if copies:
                # Where somebody has looked at them, what was approved is what competes.
                copies = [copy for copy in copies if copy.provenance.get("human_review") == "approved"] or copies
                rungs.append([replace(copy, served_by="bank" if segment == ANYONE else "segment") for copy in copies])
                break
        else:
            rungs.append([Copy(ad.title, ad.language, "advertiser", provenance={"generator": "advertiser"})])
    several = [(ad.ad_id, rung) for (ad, _), rung in zip(ads, rungs, strict=True) if len(rung) > 1]
    asked = [(ad_id, text_key(copy.text)) for ad_id, rung in several for copy in rung]
    counted = stores.delivery.variant_stats(tenant, asked, now) if asked else {}
    found = []
    for (ad, rate), rung in zip(ads, rungs, strict=True):
        keys = [text_key(copy.text) for copy in rung]
        if len(rung) == 1:
            found.append(Chosen(rung[0], keys[0], 1.0))
            continue
        counts = [counted.get((ad.ad_id, key), (0.0, 0.0)) for key in keys]
        place, chances = choose(arms(counts, _predicted(rung), rate), rng)
        found.append(Chosen(rung[place], keys[place], float(chances[place])))
    return found


def _predicted(rung: Sequence[Copy]) -> list[float]:
    """Click rates beside the siblings', as the click model of texts predicted them; 1 each where not all of them were
    looked at by the same model."""
    scores = [copy.provenance.get("click_score") for copy in rung]
    if None in scores or len({copy.provenance.get("click_model") for copy in rung}) > 1:
        return [1.0] * len(rung)
    from shared.models.text_clicks import relative

    return [float(rate) for rate in relative(np.array(scores, dtype=np.float32))]
