"""Use case of functions/recommend: choose and rank the ads to show one person, and count what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from shared import decision_log
from shared.domain import (
    Decision,
    Interest,
    RankedAd,
    Reason,
)
from shared.eligibility import Context, Limits, allowed, sequels, terms_of
from shared.errors import Conflict
from shared.exploration import Ration, Slate, Traits, slate
from shared.feedback import Feedback, FeedbackItem
from shared.histories import Histories
from shared.models.features import History
from shared.models.ranker import Ranker
from shared.profiles import ProfileReader
from shared.reasons import reasons
from shared.retrieval import Request
from shared.scoring import NO_QUERIES, Models, Scoring
from shared.snapshot import Project, Snapshot, Snapshots
from shared.stores import Stores
from shared.stores.delivery import new_decision_id
from shared.stores.people import unpack_vectors
from shared.stores.table import TRANSACTION_LIMIT
from shared.telemetry import MetricUnit, metrics
from shared.trained import Found
from shared.variants import Chosen, variants

if TYPE_CHECKING:
    from shared.models.trained_ranker import Prepared, TrainedRanker

CANDIDATES = 400  # that go on from retrieval to the click model
SHORTLIST = 100  # of them that a slate is made of, at least: their caps and budgets are looked up
DIVERSITY = 0.35  # nats of click probability that full likeness to what is already chosen costs
SAME_CAMPAIGN = 3  # ads of one campaign or brand in one answer, where there are others
RESERVATIONS = TRANSACTION_LIMIT - 3  # of budgets and caps in one decision: its own rows need the rest
DRAWS = 20  # slates for one answer, where others take the last of a budget or cap at the same moment
HELD_PREPARED = 8  # tenants whose catalogue is kept as the trained ranker sees it
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


@dataclass(frozen=True, slots=True)
class Exploring:
    """How much of an answer is there to be learned from: see `shared.exploration.slate`."""

    epsilon: float = 0.0
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, with what is known of who asks. uids: ids that caps follow; none of somebody unknown."""

    tenant: str
    n: int
    context: Context
    now: float
    snapshot: Snapshot
    uid: str | None
    uids: tuple[str, ...]
    interests: Sequence[Interest]
    queries: np.ndarray
    segments: tuple[str, ...]
    history: History
    versions: dict[str, str]


class Recommending:
    """Chooses ads, and takes what happens to them.

    rankers: the trained ranker in service for a tenant, if any.
    """

    def __init__(
        self,
        stores: Stores,
        snapshots: Snapshots,
        profiles: ProfileReader,
        ranker: Ranker,
        rankers: Callable[[str], Found[TrainedRanker]],
        *,
        project: Project,
        versions: dict[str, str],
        exploring: Exploring,
        clock: Callable[[], float],
    ) -> None:
        self._stores = stores
        self._snapshots = snapshots
        self._profiles = profiles
        self._ranker = ranker
        self._rankers = rankers
        self._project = project
        self._versions = versions
        self._exploring = exploring
        self._clock = clock
        self._prepared: dict[tuple[str, str, str], Prepared] = {}
        self._histories = Histories(stores.catalogue, project=project)
        self._feedback = Feedback(stores, clock=clock)

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
        trained = self._rankers(tenant)
        asked = _Asked(
            tenant,
            n,
            context,
            now,
            snapshot,
            uid,
            person.uids if person is not None and uid is not None else (),
            interests,
            self._project(unpack_vectors([i.vector for i in interests])) if interests else NO_QUERIES,
            profile.segments if known else (),
            self._histories.of(tenant, snapshot, profile, now) if known else History(),
            self._versions_of(tenant, snapshot, trained),
        )
        mask, excluded = allowed(snapshot, profile if known else None, consent if known else None, context, now)
        request = Request(
            interests,
            asked.queries,
            mask,
            sequels(snapshot, profile.acquired if known else ()),
            language=context.language,
            domain=context.domain,
        )
        scoring = Scoring(snapshot, self._models(tenant, snapshot, trained.artefact), request, asked.history, now)
        decision = self._decide(asked, scoring, excluded)
        metrics.add_metric("Decisions", MetricUnit.Count, 1)
        return decision

    def _decide(self, asked: _Asked, scoring: Scoring, excluded: dict[str, int]) -> Decision:
        """Draws a slate and stores it with what it takes of budgets and caps: where somebody else took the last of one
        at the same moment, it is drawn anew without that ad.

        Raises:
            Conflict: `DRAWS` slates in turn met such ads.
        """
        limits = Limits(self._stores, asked.tenant, asked.snapshot, asked.uids, asked.now)
        decision_id = new_decision_id(asked.now)
        rng = np.random.default_rng(int.from_bytes(blake2b(decision_id.encode(), digest_size=16).digest()))
        slots = asked.n
        for redraws in range(DRAWS):
            rows, scores = self._shortlist(asked, scoring, limits)
            plan = self._slate(asked, rows, scores, slots)
            decision = self._decision(asked, scoring, decision_id, plan, rows, scores, rng)
            record = _record(asked, scoring, plan, rows, scores, redraws, self._exploring, excluded | limits.excluded)
            decision = replace(decision, log=decision_log.pack(record, decision))
            terms = {ad.ad_id: terms_of(asked.snapshot.ads[asked.snapshot.places[ad.ad_id]]) for ad in decision.ads}
            parts = sum(
                (one.daily_limit is not None) + len(asked.uids) * (one.cap is not None) for one in terms.values()
            )
            if parts > RESERVATIONS:  # one transaction holds no more: the answer gets shorter
                slots = max(1, plan.slots * RESERVATIONS // parts)
                continue
            taken = self._stores.delivery.put_decision(asked.tenant, decision, terms, asked.uids, asked.now)
            if not taken:
                return decision
            limits.refuse(asked.snapshot.places[ad_id] for ad_id in taken)
        raise Conflict("too many others are at the last of these budgets", retry_after=1)

    def _shortlist(self, asked: _Asked, scoring: Scoring, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """Rows and click probabilities of the best ads that caps and budgets leave room for."""
        wanted, limit = max(SHORTLIST, 6 * asked.n), CANDIDATES
        while True:
            rows, scores = scoring.best(limit)
            places = limits.first(rows, wanted)
            # Caps and budgets took too many: look further down.
            if len(places) >= asked.n or len(rows) >= scoring.allowed:
                return rows[places], scores[places]
            limit *= 4

    def _slate(self, asked: _Asked, rows: np.ndarray, scores: np.ndarray, slots: int) -> Slate:
        snapshot, context = asked.snapshot, asked.context
        diversity = DIVERSITY if context.diversity is None else context.diversity
        return slate(
            scores,
            [_traits(snapshot, row, context) for row in rows.tolist()],
            slots,
            epsilon=self._exploring.epsilon,
            rotation=self._exploring.rotation,
            vectors=snapshot.vectors[rows],
            diversity=diversity,
        )

    def _decision(
        self,
        asked: _Asked,
        scoring: Scoring,
        decision_id: str,
        plan: Slate,
        rows: np.ndarray,
        scores: np.ndarray,
        rng: np.random.Generator,
    ) -> Decision:
        places = plan.draw(rng)
        snapshot, shown = asked.snapshot, rows[list(places)]
        rates = snapshot.prior[shown].tolist()
        ads = [snapshot.ads[row] for row in shown.tolist()]
        pairs = list(zip(ads, rates, strict=True))
        copies = variants(self._stores, asked.tenant, pairs, asked.segments, rng, asked.now)
        explored = [place not in plan.base for place in places]
        named = reasons(snapshot, scoring, shown, asked.interests, asked.queries, asked.context, explored=explored)
        slots = tuple(
            _slot(ad.ad_id, float(scores[place]), one.reason, chosen, plan.propensity(place, slot))
            for slot, (place, ad, chosen, one) in enumerate(zip(places, ads, copies, named, strict=True))
        )
        return Decision(decision_id, asked.uid, asked.now, slots, scoring.knows, asked.versions)

    def prepare(self, tenant: str, snapshot: Snapshot) -> None:
        """Makes what a trained ranker needs of a catalogue, before the catalogue serves."""
        trained = self._rankers(tenant).artefact
        if trained is not None:
            self._prepared_for(tenant, snapshot, trained)

    def _models(self, tenant: str, snapshot: Snapshot, trained: TrainedRanker | None) -> Models:
        if trained is None:
            return Models(self._ranker)
        return Models(self._ranker, trained, self._prepared_for(tenant, snapshot, trained))

    def _prepared_for(self, tenant: str, snapshot: Snapshot, trained: TrainedRanker) -> Prepared:
        key = tenant, snapshot.version, trained.version
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = trained.prepare([ad.ad_id for ad in snapshot.ads], snapshot.vectors)
            # The one before may serve a moment longer; those before it do not.
            for old in [other for other in list(self._prepared) if other[0] == tenant][:-1]:
                self._prepared.pop(old, None)
            for old in list(self._prepared)[: -2 * HELD_PREPARED]:
                self._prepared.pop(old, None)
            self._prepared[key] = prepared
        return prepared

    def _versions_of(self, tenant: str, snapshot: Snapshot, trained: Found[TrainedRanker]) -> dict[str, str]:
        """What answers; `snapshot_refused` and `ranker_refused` name a newer one that cannot be read."""
        versions = self._versions | {"snapshot": snapshot.version, "ranker": self._ranker.version}
        if trained.artefact is not None:
            versions["ranker"] = trained.artefact.version
        if trained.refused is not None:
            versions["ranker_refused"] = trained.refused
        refused = self._snapshots.refused(tenant)
        return versions | ({"snapshot_refused": refused} if refused is not None else {})

    def feedback(self, tenant: str, items: Sequence[FeedbackItem]) -> list[dict[str, Any]]:
        """See `shared.feedback.Feedback.take`."""
        return self._feedback.take(tenant, items)

    def ready(self, tenant: str) -> str:
        """The version of the snapshot in service. Raises `NotFound` where there is none."""
        return self._snapshots.latest(tenant).version


def _slot(ad_id: str, score: float, reason: Reason, chosen: Chosen, propensity: float) -> RankedAd:
    copy = chosen.copy
    return RankedAd(
        ad_id=ad_id,
        copy=copy.text,
        score=round(score, 6),
        reasons=(reason,),
        copy_served_by=copy.served_by,
        propensity=propensity,
        copy_label=copy.label,
        copy_provenance={name: copy.provenance[name] for name in _TOLD if name in copy.provenance},
        variant=chosen.variant,
        variant_propensity=chosen.chance,
    )


def _traits(snapshot: Snapshot, row: int, context: Context) -> Traits:
    ad, counted = snapshot.ads[row], {}
    if ad.campaign_id:
        counted[f"c:{ad.campaign_id}"] = Ration(SAME_CAMPAIGN)
    if ad.brand:
        counted[f"b:{ad.brand}"] = Ration(SAME_CAMPAIGN)
    category = snapshot.categories[snapshot.category[row]]
    if context.max_per_category is not None and category:
        counted[f"t:{category}"] = Ration(context.max_per_category, strict=True)
    return Traits(counted, snapshot.labels[row], ad.campaign_id)


def _record(
    asked: _Asked,
    scoring: Scoring,
    plan: Slate,
    rows: np.ndarray,
    scores: np.ndarray,
    redraws: int,
    exploring: Exploring,
    excluded: Mapping[str, int],
) -> decision_log.Record:
    snapshot, context, chances = asked.snapshot, asked.context, plan.places()
    known = rows[[place for place, _ in chances]]
    columns = scoring.columns(known) if len(known) else np.zeros((0, 0), dtype=np.float32)
    candidates = [
        decision_log.Candidate(
            ad_id=snapshot.ads[row].ad_id,
            campaign_id=snapshot.ads[row].campaign_id,
            category=snapshot.categories[snapshot.category[row]] or None,
            labels=sorted(snapshot.labels[row]),
            score=round(float(scores[place]), 6),
            slot=slot,
            propensity=plan.chances[slot][place],
            base=place == plan.base[slot],
            features=features,
        )
        for (place, slot), row, features in zip(chances, known.tolist(), columns.tolist(), strict=True)
    ]
    return decision_log.Record(
        domain=context.domain,
        language=context.language,
        platform=context.platform,
        placement=context.placement,
        n=asked.n,
        epsilon=exploring.epsilon,
        rotation=plan.rotation,
        redraws=redraws,
        segments=asked.segments,
        history=asked.history.ids,
        history_ages=asked.history.ages.tolist(),
        candidates=candidates,
        excluded=excluded,
        nobody=any(interest.sensitive for interest in asked.interests),
    )
