"""Use case of functions/recommend: choose and rank the ads to show one person, and count what happens to them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.domain import (
    DOMAINS,
    FEEDBACK_TYPES,
    LANGUAGES,
    Ad,
    Consent,
    Copy,
    Decision,
    Event,
    Interest,
    Profile,
    RankedAd,
    Reason,
)
from shared.models.ranker import Ranker
from shared.profiles import ProfileReader
from shared.retrieval import Request, Retrieval
from shared.snapshot import Project, Snapshot, Snapshots, step
from shared.stores import Stores
from shared.stores.copies import ANYONE, gate_stamp
from shared.stores.people import StoredEvent, unpack_vectors
from shared.telemetry import MetricUnit, metrics

CANDIDATES = 400  # that go on from retrieval to caps, budgets and diversity
DIVERSITY = 0.35  # nats of click probability that full likeness to what is already chosen costs
SAME_CAMPAIGN = 3  # ads of one campaign or brand in one answer, where there are others
REASON_SIMILARITY = 0.35  # cosine in the topic space from which an interest is named as the reason
NO_QUERIES = np.zeros((0, 384), dtype=np.float32)
FEEDBACK_PAST_SECONDS = 7 * 86400
# What of a copy's provenance goes out with it: where it comes from, not who looked at it.
_TOLD = (
    "generator",
    "model",
    "adapter",
    "prompt_version",
    "generated_at",
    "human_review",
    "digital_source_type",
    "content_id",
    "aigc",
)
# What an act on an ad tells about the person, as an event on it; an impression tells nothing.
_LEARNT = {"click": "click", "conversion": "purchase", "dismiss": "dismiss"}


@dataclass(frozen=True, slots=True)
class Context:
    """Where the ad would be shown."""

    domain: str | None = None
    language: str | None = None
    platform: str | None = None
    placement: str | None = None


@dataclass(frozen=True, slots=True)
class FeedbackItem:
    decision_id: str
    ad_id: str
    type: str
    timestamp: float


class Recommending:
    """Chooses ads and learns from feedback."""

    def __init__(
        self,
        stores: Stores,
        snapshots: Snapshots,
        profiles: ProfileReader,
        ranker: Ranker,
        *,
        project: Project,
        versions: dict[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._stores = stores
        self._snapshots = snapshots
        self._profiles = profiles
        self._ranker = ranker
        self._project = project
        self._versions = versions
        self._clock = clock

    def recommend(
        self, tenant: str, user_id: str, *, n: int = 5, context: Context | None = None, personalised: bool = True
    ) -> Decision:
        """The n ads for this person now; fewer only where fewer may be shown.

        Without consent, or with ``personalised=False``, the person is served as somebody unknown.

        Raises:
            NotFound: the tenant has no published catalogue. Unavailable: it cannot be read.
        """
        context = context or Context()
        now = self._clock()
        snapshot = self._snapshots.latest(tenant)
        uid = self._stores.people.uid(tenant, user_id)
        profile, consent, person = self._profiles.read(tenant, user_id, uid)
        known = personalised and consent.personalisation
        interests = [i for i in profile.interests if i.enabled] if known else []
        # A person who refused is not followed, not even for caps: their decisions carry no uid.
        uid = uid if consent.personalisation and person is not None else None
        uids = person.uids if person is not None and uid is not None else ()
        allowed = _allowed(snapshot, profile if known else None, consent if known else None, context, now)
        sequels = _sequels(snapshot, profile.acquired if known else ())
        queries = self._project(unpack_vectors([i.vector for i in interests])) if interests else NO_QUERIES
        retrieval = Retrieval(
            snapshot,
            self._ranker,
            Request(interests, queries, allowed, sequels, language=context.language, domain=context.domain),
        )
        limit = CANDIDATES
        order, scores = self._within_caps(tenant, uids, snapshot, retrieval.best(limit), now)
        while len(order) < n and limit < retrieval.allowed:  # caps and budgets took too many: look further down
            limit *= 4
            order, scores = self._within_caps(tenant, uids, snapshot, retrieval.best(limit), now)
        picks = _diverse(snapshot, order, scores, n)
        chosen = order[picks].tolist()
        copies = self._copies(tenant, snapshot, chosen, profile.segments if known else ())
        matches = _matches(snapshot, interests, queries, chosen)
        ads = tuple(
            RankedAd(
                ad_id=snapshot.ads[place].ad_id,
                copy=copy.text,
                score=round(float(scores[pick]), 6),
                reasons=(_reason(interest, snapshot.ads[place], context, bool(sequels[place]), bool(interests)),),
                copy_served_by=copy.served_by,
                copy_label=copy.label,
                copy_provenance={name: copy.provenance[name] for name in _TOLD if name in copy.provenance},
            )
            for pick, place, copy, interest in zip(picks, chosen, copies, matches, strict=True)
        )
        decision = Decision(
            decision_id=secrets.token_hex(12),
            uid=uid,
            at=now,
            ads=ads,
            personalised=bool(interests),
            versions=self._versions | self._snapshot_versions(tenant, snapshot),
        )
        shown = [snapshot.ads[place] for place in chosen]
        self._stores.delivery.put_decision(
            tenant,
            decision,
            {ad.ad_id: ad.bid_cpm / 1000 for ad in shown},
            {ad.ad_id: ad.daily_budget for ad in shown if ad.daily_budget is not None},
        )
        metrics.add_metric("Decisions", MetricUnit.Count, 1)
        return decision

    def feedback(self, tenant: str, items: Sequence[FeedbackItem]) -> list[dict[str, Any]]:
        """What became of each item: ``counted``, ``repeated`` or ``refused`` with its reason."""
        results: list[dict[str, Any]] = []
        now = self._clock()
        for place, item in enumerate(items):
            answer: dict[str, Any] = {"index": place, "decision_id": item.decision_id, "ad_id": item.ad_id}
            decision = self._stores.delivery.get_decision(tenant, item.decision_id)
            reason = _feedback_problem(item, decision, now)
            if decision is None or reason:
                results.append(answer | {"result": "refused", "reason": reason})
                continue
            if decision.uid is not None and self._refused(tenant, decision.uid):
                decision = replace(decision, uid=None)  # a refusal since the decision: it counts, for nobody
            counted = self._stores.delivery.record(tenant, decision, item.ad_id, item.type, item.timestamp)
            if decision.uid is not None and item.type in _LEARNT:
                # Written again on a repeat: its id is the same, so a crash after `record` is made good.
                self._learn(tenant, decision.uid, item)
            results.append(answer | {"result": "counted" if counted else "repeated"})
        return results

    def _refused(self, tenant: str, uid: str) -> bool:
        said = self._stores.people.consents(tenant, [uid]).get(uid)
        return said is not None and not said.personalisation

    def _learn(self, tenant: str, uid: str, item: FeedbackItem) -> None:
        event = Event(
            user_id="",
            event=_LEARNT[item.type],
            timestamp=item.timestamp,
            event_id=f"fb:{item.decision_id}:{item.ad_id}:{item.type}",
            item_id=item.ad_id,
        )
        ad = self._stores.catalogue.get_ad(tenant, item.ad_id)
        if ad is not None:
            event = Event(**{name: getattr(event, name) for name in event.__slots__} | {"domain": ad.ad.domain})
        self._stores.people.append_events(tenant, {uid: [StoredEvent(event)]})

    def _snapshot_versions(self, tenant: str, snapshot: Snapshot) -> dict[str, str]:
        """The snapshot in service, and (`snapshot_refused`) the newer one that cannot be read."""
        refused = self._snapshots.refused(tenant)
        return {"snapshot": snapshot.version} | ({"snapshot_refused": refused} if refused is not None else {})

    def ready(self, tenant: str) -> str:
        """The version of the snapshot in service. Raises `NotFound` where there is none."""
        return self._snapshots.latest(tenant).version

    def _within_caps(
        self, tenant: str, uids: Sequence[str], snapshot: Snapshot, ranked: tuple[np.ndarray, np.ndarray], now: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """`ranked` (rows and scores) without ads whose frequency cap or daily budget is reached. uids: the person's
        ids, none of somebody unknown."""
        order, scores = ranked
        out: set[int] = set()
        capped = order[snapshot.capped[order]].tolist()
        if capped and uids:
            shown = self._stores.delivery.impressions(tenant, *uids)
            for place in capped:
                ad = snapshot.ads[place]
                cap = ad.frequency_cap
                if cap is None:
                    continue
                recent = [at for at in shown.get(ad.ad_id, ()) if at > now - cap.hours * 3600]
                if len(recent) >= cap.count:
                    out.add(place)
        budgeted = order[snapshot.budgeted[order]].tolist()
        if budgeted:
            spent = self._stores.delivery.spent(tenant, (snapshot.ads[place].ad_id for place in budgeted), now)
            for place in budgeted:
                ad = snapshot.ads[place]
                if ad.daily_budget is not None and spent[ad.ad_id] + ad.bid_cpm / 1000 > ad.daily_budget:
                    out.add(place)
        if not out:
            return order, scores
        within = ~np.isin(order, list(out))
        return order[within], scores[within]

    def _copies(self, tenant: str, snapshot: Snapshot, chosen: Sequence[int], segments: Sequence[str]) -> list[Copy]:
        """The copy to show for each ad: the bank's for one of the person's segments, then for anyone, then the
        advertiser's own title."""
        wanted = [
            (snapshot.ads[place].ad_id, segment, snapshot.ads[place].language)
            for place in chosen
            for segment in (*segments, ANYONE)
        ]
        banked = self._stores.copies.bank_get_many(tenant, wanted)
        shown: list[Copy] = []
        for place in chosen:
            ad = snapshot.ads[place]
            stamp = gate_stamp(ad)
            for segment in (*segments, ANYONE):
                # What was checked against other facts or older rules waits until generation has looked at it again.
                held = banked.get((ad.ad_id, segment, ad.language), ())
                copies = [copy for copy in held if copy.provenance.get("gate") == stamp]
                if copies:
                    shown.append(replace(copies[0], served_by="bank" if segment == ANYONE else "segment"))
                    break
            else:
                shown.append(Copy(ad.title, ad.language, "advertiser", provenance={"generator": "advertiser"}))
        return shown


def _allowed(
    snapshot: Snapshot, profile: Profile | None, consent: Consent | None, context: Context, now: float
) -> np.ndarray:
    """Mask (n,) of the ads that may be shown at all: dates, language, targeting, the health domain's rule, and nothing
    that the person has just bought or is already taking."""
    mask = (snapshot.start <= now) & (now < snapshot.end)
    if context.language is not None:
        spoken = snapshot.language == LANGUAGES.index(context.language)
        if spoken.any():
            mask &= spoken
    # Health advertising follows the page it stands on, or a person who has asked for it and consented.
    if not (consent is not None and consent.sensitive) and context.domain != "health":
        mask &= snapshot.domain != DOMAINS.index("health")
    if profile is not None:
        for ad_id in profile.acquired:
            if ad_id in snapshot.places:
                mask[snapshot.places[ad_id]] = False
    interest_ids = {i.id for i in profile.interests if i.enabled and not i.sensitive} if profile else set()
    segments = set(profile.segments) if profile else set()
    offers = {
        "platforms": {context.platform} if context.platform else set(),
        "languages": {context.language} if context.language else set(),
        "segments": segments,
        "interests": interest_ids,
    }
    for name, (named, wanting) in snapshot.targeting.items():
        offered = offers.get(name, set())
        # What the request does not say cannot exclude; what is known of the person must match.
        if name in ("platforms", "languages") and not offered:
            continue
        matched = np.zeros(len(mask), dtype=bool)
        for value in offered & wanting.keys():
            matched[wanting[value]] = True
        mask[named] &= matched[named]
    return mask


def _sequels(snapshot: Snapshot, acquired: Sequence[str]) -> np.ndarray:
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


def _diverse(snapshot: Snapshot, order: np.ndarray, scores: np.ndarray, n: int) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998) over `order`, campaigns and brands rationed first.
    Returns places in `order`.

    A ration never makes the answer shorter: what it held back fills up at the end.
    """
    if not len(order):
        return []
    best = float(scores.max()) or 1.0
    relevance = np.log(scores / best + 1e-6)
    likeness = np.zeros(len(order), dtype=np.float32)
    vectors = snapshot.vectors[order]
    chosen: list[int] = []
    open_ = np.ones(len(order), dtype=bool)
    rationed: dict[str, int] = {}
    while len(chosen) < n and open_.any():
        value = np.where(open_, relevance - DIVERSITY * likeness, -np.inf)
        pick = int(np.argmax(value))
        open_[pick] = False
        ad = snapshot.ads[order[pick]]
        groups = [f"c:{ad.campaign_id}"] * bool(ad.campaign_id) + [f"b:{ad.brand}"] * bool(ad.brand)
        if any(rationed.get(group, 0) >= SAME_CAMPAIGN for group in groups):
            continue
        for group in groups:
            rationed[group] = rationed.get(group, 0) + 1
        chosen.append(pick)
        likeness = np.maximum(likeness, vectors @ vectors[pick])
    if len(chosen) < n:
        chosen += [pick for pick in range(len(order)) if pick not in chosen][: n - len(chosen)]
    return chosen


def _matches(
    snapshot: Snapshot, interests: Sequence[Interest], queries: np.ndarray, chosen: Sequence[int]
) -> list[Interest | None]:
    """For each chosen ad the interest it was chosen for; None where it was none."""
    if not interests or not chosen:
        return [None] * len(chosen)
    cosines = snapshot.vectors[chosen] @ queries.T
    matches: list[Interest | None] = []
    for row, place in zip(cosines, chosen, strict=True):
        same = [i for i in interests if i.id == snapshot.categories[snapshot.category[place]]]
        best = int(np.argmax(row))
        if same:
            matches.append(max(same, key=lambda i: i.weight))
        else:
            matches.append(interests[best] if row[best] >= REASON_SIMILARITY or interests[best].sensitive else None)
    return matches


def _reason(interest: Interest | None, ad: Ad, context: Context, sequel: bool, personalised: bool) -> Reason:
    """What truly put the ad there. A sensitive interest is never named, here or anywhere else."""
    place = 0 if ad.language == "zh" else 1
    if sequel and ad.domain != "health":
        return Reason("next_step", ("您已学内容的下一阶段", "The next step after what you have taken")[place])
    if interest is not None and not interest.sensitive:
        name = interest.name[ad.language]
        if interest.term == "session":
            text = (f"因为您刚刚在看“{name}”", f"Because you are looking at {name}")[place]
        else:
            text = (f"因为您对“{name}”感兴趣", f"Because you are interested in {name}")[place]
        return Reason(f"interest_{interest.term}", text, interest.id)
    if interest is not None:
        return Reason("consented_content", ("根据您同意的个性化设置推荐", "Based on what you consented to")[place])
    if personalised:
        return Reason("related", ("与您近期的浏览相近", "Close to what you have been looking at")[place])
    if context.domain == ad.domain:
        return Reason("context", ("与您正在浏览的内容相关", "Fits the page you are on")[place])
    return Reason("general", ("通用推荐，未根据您的兴趣", "A general choice, not based on your interests")[place])


def _feedback_problem(item: FeedbackItem, decision: Decision | None, now: float) -> str | None:
    if item.type not in FEEDBACK_TYPES:
        return f"type: one of {', '.join(FEEDBACK_TYPES)}"
    if decision is None:
        return "decision_id: no such decision, or it is older than it is kept"
    if item.ad_id not in {ad.ad_id for ad in decision.ads}:
        return "ad_id: the decision did not show this ad"
    if not decision.at - 300 <= item.timestamp <= now + 300:
        return "timestamp: before the decision or in the future"
    return None
