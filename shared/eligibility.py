"""Which ads may be shown to a person at all, and which cannot be had any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.categories import TARGETED, is_restricted, is_sensitive, open_segments, tells
from shared.domain import DOMAINS, LANGUAGES, Ad, Consent, Profile
from shared.pacing import allowance
from shared.snapshot import Snapshot, step
from shared.stores import Stores
from shared.stores.delivery import Terms

PACED_FROM = 50  # impressions that a day's budget pays for: fewer are not worth spreading over the day
CENT = 1e-9  # of the currency: what sums of floats may be off by
OPEN = "open"  # the entry of an ad's ``targeting.deals`` that stands for no deal at all


@dataclass(frozen=True, slots=True)
class Context:
    """Where the ads would be shown, and on what terms.

    floor_cpm: ads that bid less per thousand impressions are left out. max_per_category: ads of one category in one
    answer. diversity: see `shared.exploration.slate`. None: no floor, no limit, the usual diversity. deal: the private
    deal in which they would be.
    """

    domain: str | None = None
    language: str | None = None
    platform: str | None = None
    placement: str | None = None
    floor_cpm: float | None = None
    max_per_category: int | None = None
    diversity: float | None = None
    deal: str = OPEN


def allowed(
    snapshot: Snapshot,
    profile: Profile | None,
    consent: Consent | None,
    context: Context,
    now: float,
    *,
    minor: bool = False,
) -> tuple[np.ndarray, dict[str, int]]:
    """Mask (n,) of the ads that may be shown at all, and how many each rule kept out of those that were left before it:
    dates, language, targeting, the health domain's rule, the floor price, and nothing that the person has just bought
    or is already taking. minor: without what minors are never shown (`shared.policy.minors`)."""
    mask = np.ones(len(snapshot.ads), dtype=bool)
    excluded: dict[str, int] = {}

    def keep(rule: str, wanted: np.ndarray) -> None:
        nonlocal mask
        left = mask & wanted
        excluded[rule] = int(mask.sum() - left.sum())
        mask = left

    keep("dates", (snapshot.start <= now) & (now < snapshot.end))
    if minor:
        fit = np.array([not is_restricted(category) for category in snapshot.categories], dtype=bool)
        keep("minors", fit[snapshot.category] & (snapshot.domain != DOMAINS.index("health")))
    if context.floor_cpm is not None:
        keep("floor", snapshot.bid >= np.float32(context.floor_cpm))
    if context.language is not None:
        spoken = snapshot.language == LANGUAGES.index(context.language)
        if (mask & spoken).any():
            keep("language", spoken)
    # Health advertising follows the page it stands on, or a person who has asked for it and consented.
    if not (consent is not None and consent.sensitive) and context.domain != "health":
        keep("health", snapshot.domain != DOMAINS.index("health"))
    if profile is not None:
        had = [snapshot.places[ad_id] for ad_id in profile.acquired if ad_id in snapshot.places]
        if had:
            others = np.ones_like(mask)
            others[had] = False
            keep("acquired", others)
    keep("targeting", _targeted(snapshot, profile, context))
    return mask, {rule: ads for rule, ads in excluded.items() if ads}


def _targeted(snapshot: Snapshot, profile: Profile | None, context: Context) -> np.ndarray:
    mask = np.ones(len(snapshot.ads), dtype=bool)
    # Of interests too, those that at least k people hold: to be shown an ad that only they are shown tells of a person.
    held = set(open_segments(profile)) if profile else set()
    offers = {
        "platforms": {context.platform} if context.platform else set(),
        "languages": {context.language} if context.language else set(),
        "segments": held,
        "interests": held,
        "deals": {context.deal},
    }
    for name, (named, wanting) in snapshot.targeting.items():
        offered = offers.get(name, set())
        # What the request does not say cannot exclude; what is known of the person must match.
        if name in ("platforms", "languages") and not offered:
            continue
        matched = np.zeros(len(mask), dtype=bool)
        for value in offered & wanting.keys():
            if name in TARGETED and is_sensitive(value):
                continue  # nobody is reached by what is sensitive, whoever put it into a profile
            matched[wanting[value]] = True
        mask[named] &= matched[named]
    return mask


def followed(snapshot: Snapshot, acquired: Sequence[str], consent: Consent) -> tuple[str, ...]:
    """What somebody acquired and that may count: without what tells something sensitive, which they are neither offered
    the next step of, nor spared another time. The health domain's counts for who consented to that."""

    def open_(ad_id: str) -> bool:
        row = snapshot.places.get(ad_id)
        if row is None:
            return False
        ad = snapshot.ads[row]
        return (consent.sensitive and ad.domain == "health") or not tells(
            ad, snapshot.categories[snapshot.category[row]]
        )

    return tuple(ad_id for ad_id in acquired if open_(ad_id))


def sequels(snapshot: Snapshot, acquired: Sequence[str]) -> np.ndarray:
    """Mask (n,) of the ads that come right after an acquired one in its series (attributes ``series``, ``level``)."""
    mask = np.zeros(len(snapshot.ads), dtype=bool)
    if not acquired:
        return mask
    reached: dict[tuple[str, str], float] = {}
    for ad_id in acquired:
        place = snapshot.places.get(ad_id)
        own = step(snapshot.ads[place]) if place is not None else None
        if own is not None:
            language, series, level = own
            reached[language, series] = max(reached.get((language, series), level), level)
    for (language, series), level in reached.items():
        mask[snapshot.sequels.get((language, series, level), [])] = True
    return mask


def terms_of(ad: Ad) -> Terms:
    """What showing the ad once costs, and what limits it."""
    return Terms(ad.bid_cpm / 1000, ad.daily_budget, ad.frequency_cap)


class Limits:
    """The caps and budgets of one request, looked up as far as they are asked about.

    uids: all ids of the person; none of somebody unknown, whom no cap can follow.
    """

    def __init__(self, stores: Stores, tenant: str, snapshot: Snapshot, uids: Sequence[str], now: float) -> None:
        self._stores = stores
        self._tenant = tenant
        self._snapshot = snapshot
        self._uids = uids
        self._now = now
        self._shown: dict[str, list[float]] | None = None
        self._rules: dict[int, str | None] = {}  # by row what keeps it out, of those that were asked about

    @property
    def excluded(self) -> dict[str, int]:
        """How many ads each rule kept out, of those that were asked about."""
        return dict(Counter(rule for rule in self._rules.values() if rule))

    def refuse(self, rows: Iterable[int]) -> None:
        """These were asked for, and there was no room for them any more."""
        self._rules |= dict.fromkeys(rows, "taken")

    def first(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Places in `rows` of the first ads that have room left: under their frequency cap, within the day's budget,
        and not ahead of its pace. At least `count` where there are so many."""
        found: list[int] = []
        for start in range(0, len(rows), count):
            part = rows[start : start + count].tolist()
            self._look_at([row for row in part if row not in self._rules])
            found += [start + place for place, row in enumerate(part) if self._rules[row] is None]
            if len(found) >= count:
                break
        return np.array(found, dtype=np.int64)

    def _look_at(self, rows: list[int]) -> None:
        self._rules |= dict.fromkeys(rows)
        snapshot = self._snapshot
        if self._uids and any(snapshot.capped[row] for row in rows):
            if self._shown is None:
                self._shown = self._stores.delivery.exposures(self._tenant, self._uids, self._now)
            self._rules |= {row: "frequency_cap" for row in rows if self._capped(snapshot.ads[row])}
        budgeted = [row for row in rows if snapshot.budgeted[row] and self._rules[row] is None]
        if budgeted:
            spent = self._stores.delivery.spent(self._tenant, (snapshot.ads[row].ad_id for row in budgeted), self._now)
            for row in budgeted:
                self._rules[row] = self._over_budget(snapshot.ads[row], spent[snapshot.ads[row].ad_id])

    def _capped(self, ad: Ad) -> bool:
        cap = ad.frequency_cap
        if cap is None or self._shown is None:
            return False
        since = self._now - cap.hours * 3600
        return sum(at > since for at in self._shown.get(ad.ad_id, ())) >= cap.count

    def _over_budget(self, ad: Ad, spent: float) -> str | None:
        if ad.daily_budget is None:
            return None
        after = spent + ad.bid_cpm / 1000
        if after > ad.daily_budget + CENT:
            return "budget"
        if ad.daily_budget < PACED_FROM * ad.bid_cpm / 1000:
            return None
        return "pacing" if after > allowance(ad.daily_budget, self._now, start=ad.start, end=ad.end) + CENT else None
