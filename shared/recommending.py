"""Use case of functions/recommend: choose and rank the ads to show one person, and count what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from shared import decision_log
from shared.categories import is_open, open_segments
from shared.comparing import Compared, Side, alike, difference
from shared.domain import Consent, Decision, Profile, RankedAd
from shared.eligibility import Context, Limits, allowed, followed, sequels, terms_of
from shared.errors import Conflict
from shared.exploration import Ration, Slate, Traits, slate
from shared.feedback import Feedback, FeedbackItem
from shared.histories import Histories
from shared.models.features import History
from shared.models.ranker import Ranker
from shared.policy.consent import in_force
from shared.profiles import ProfileReader
from shared.reasons import reasons
from shared.recording import Asked, record_of, slot_of
from shared.retrieval import Request
from shared.scoring import NO_QUERIES, Models, Scoring
from shared.snapshot import Project, Snapshot, Snapshots
from shared.stores import Stores
from shared.stores.delivery import Terms, new_decision_id
from shared.stores.people import unpack_vectors
from shared.stores.table import TRANSACTION_LIMIT
from shared.trained import Found
from shared.variants import variants

if TYPE_CHECKING:
    from shared.models.trained_ranker import Prepared, TrainedRanker

CANDIDATES = 400  # that go on from retrieval to the click model
SHORTLIST = 100  # of them that a slate is made of, at least: their caps and budgets are looked up
DIVERSITY = 0.35  # nats of click probability that full likeness to what is already chosen costs
SAME_CAMPAIGN = 3  # ads of one campaign or brand in one answer, where there are others
RESERVATIONS = TRANSACTION_LIMIT - 3  # of budgets and caps in one decision: its own rows need the rest
DRAWS = 20  # slates for one answer, where others take the last of a budget or cap at the same moment
HELD_PREPARED = 8  # tenants whose catalogue is kept as the trained ranker sees it


@dataclass(frozen=True, slots=True)
class Exploring:
    """How much of an answer is there to be learned from: see `shared.exploration.slate`."""

    epsilon: float = 0.0
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. uid, uids: whom decisions and caps may follow; none of somebody unknown."""

    profile: Profile
    consent: Consent
    uid: str | None = None
    uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A slate that one transaction can reserve. tried: ids of the ads that are there to be tried. slots: how many were
    drawn for; redraws: how often it had to be anew."""

    decision: Decision
    record: decision_log.Record
    terms: dict[str, Terms]
    tried: frozenset[str]
    slots: int
    redraws: int


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
        self._feedback = Feedback(stores, clock=clock, consent_basis=profiles.consent_basis)

    def recommend(
        self,
        tenant: str,
        user_id: str,
        *,
        n: int = 5,
        context: Context | None = None,
        personalised: bool = True,
        minor: bool = False,
    ) -> Decision:
        """The n ads for this person now; fewer only where fewer may be shown.

        Without consent, or with ``personalised=False``, the person is served as somebody unknown. So is a minor, whom
        the request or the person's own row says to be one: by context alone, without what minors are never shown.

        Raises:
            NotFound: the tenant has no published catalogue. Unavailable: it cannot be read.
        """
        now = self._clock()
        snapshot = self._snapshots.latest(tenant)
        person = self.asker(tenant, user_id, minor=minor)
        asked, scoring = self.ask(tenant, person, snapshot, n, context or Context(), now, personalised=personalised)
        return self.decide(asked, scoring, new_decision_id(now)).decision

    def compare(
        self,
        tenant: str,
        user_id: str,
        *,
        n: int = 5,
        context: Context | None = None,
        personalised: bool = True,
        minor: bool = False,
    ) -> Compared:
        """`recommend`, and beside it what it would have answered with ``personalised=False``, with the difference.

        The twin is scored, not decided: it takes nothing of budgets and caps, and is neither stored nor logged.
        """
        context, now = context or Context(), self._clock()
        snapshot = self._snapshots.latest(tenant)
        person = self.asker(tenant, user_id, minor=minor)
        decision_id = new_decision_id(now)
        asked, scoring = self.ask(tenant, person, snapshot, n, context, now, personalised=personalised)
        if person.consent.minor or not personalised or not person.consent.personalisation or person.uid is None:
            why = "minor" if person.consent.minor else "unknown" if personalised else "refused"
            return alike(self.decide(asked, scoring, decision_id).decision, why)
        plain, plainly = self.ask(tenant, person, snapshot, n, context, now, personalised=False)
        limits = Limits(self._stores, tenant, snapshot, plain.uids, now)
        twin = self.draw(plain, plainly, limits, decision_id, generator(decision_id), n)  # before anything is taken
        drawn = self.decide(asked, scoring, decision_id)
        found = difference(
            snapshot,
            Side(drawn.decision.ads, drawn.tried, asked.allowed),
            Side(twin.decision.ads, twin.tried, plain.allowed),
            asked.interests,
        )
        return Compared(drawn.decision, twin.decision.ads, found)

    def asker(self, tenant: str, user_id: str, *, minor: bool) -> Asker:
        """Who asks; nothing is looked up of whom the request says to be a minor."""
        if minor:
            nobody = Profile(user_id=user_id, interests=(), segments=(), updated_at=self._clock())
            return Asker(nobody, Consent(False, False, source="request", at=0.0, basis="none", minor=True))
        known = self._stores.people.look_up(tenant, [user_id])[user_id]
        profile, consent, person = self._profiles.read(tenant, user_id, known.uid)
        if person is None and known.said is not None:  # they were erased, and still are under age
            consent = in_force(known.said, self._profiles.consent_basis(tenant))
        if person is None or not consent.personalisation:
            # A person who refused is not followed, not even for caps: their decisions carry no uid.
            return Asker(profile, consent)
        return Asker(profile, consent, known.uid, person.uids)

    def ask(
        self,
        tenant: str,
        person: Asker,
        snapshot: Snapshot,
        n: int,
        context: Context,
        now: float,
        *,
        personalised: bool,
    ) -> tuple[Asked, Scoring]:
        """The request with what is known of who asks, and the scores of its ads; nothing is stored."""
        profile, consent = person.profile, person.consent
        known = personalised and consent.personalisation
        interests = [i for i in profile.interests if i.enabled and (i.sensitive or is_open(i))] if known else []
        trained = self._rankers(tenant)
        if known and profile.acquired:
            profile = replace(profile, acquired=followed(snapshot, profile.acquired, consent))
        mask, excluded = allowed(
            snapshot, profile if known else None, consent if known else None, context, now, minor=consent.minor
        )
        asked = Asked(
            tenant,
            n,
            context,
            now,
            snapshot,
            person.uid,
            person.uids,
            interests,
            self._project(unpack_vectors([i.vector for i in interests])) if interests else NO_QUERIES,
            open_segments(profile) if known else (),
            self._histories.of(tenant, snapshot, profile, now, sensitive=consent.sensitive) if known else History(),
            self._versions_of(tenant, snapshot, trained),
            mask,
            excluded,
        )
        request = Request(
            interests,
            asked.queries,
            mask,
            sequels(snapshot, profile.acquired if known else ()),
            language=context.language,
            domain=context.domain,
        )
        scoring = Scoring(snapshot, self._models(tenant, snapshot, trained.artefact), request, asked.history, now)
        return asked, scoring

    def decide(
        self,
        asked: Asked,
        scoring: Scoring,
        decision_id: str,
        shown: Callable[[RankedAd], RankedAd] | None = None,
    ) -> Drawn:
        """Draws a slate and stores it with what it takes of budgets and caps: where somebody else took the last of one
        at the same moment, it is drawn anew without that ad.

        shown: what people will see of an ad, where its place has no room for everything; what is kept and learnt from.

        Raises:
            Conflict: `DRAWS` slates in turn met such ads.
        """
        limits = Limits(self._stores, asked.tenant, asked.snapshot, asked.uids, asked.now)
        rng = generator(decision_id)
        slots, redraws = asked.n, 0
        for _ in range(DRAWS):
            drawn = self.draw(asked, scoring, limits, decision_id, rng, slots, redraws)
            slots, redraws = drawn.slots, drawn.redraws + 1
            decision = drawn.decision
            if shown is not None:
                decision = replace(decision, ads=tuple(map(shown, decision.ads)))
            decision = replace(decision, log=decision_log.pack(drawn.record, decision))
            taken = self._stores.delivery.put_decision(asked.tenant, decision, drawn.terms, asked.uids, asked.now)
            if not taken:
                return replace(drawn, decision=decision)
            limits.refuse(asked.snapshot.places[ad_id] for ad_id in taken)
        raise Conflict("too many others are at the last of these budgets", retry_after=1)

    def draw(
        self,
        asked: Asked,
        scoring: Scoring,
        limits: Limits,
        decision_id: str,
        rng: np.random.Generator,
        slots: int,
        redraws: int = 0,
    ) -> Drawn:
        """Draws a slate of at most `slots` ads, of fewer where one transaction could not hold what they take."""
        while True:
            rows, scores = self._shortlist(asked, scoring, limits)
            plan = self._slate(asked, rows, scores, slots)
            decision, tried = self._decision(asked, scoring, decision_id, plan, rows, scores, rng)
            terms = {ad.ad_id: terms_of(asked.snapshot.ads[asked.snapshot.places[ad.ad_id]]) for ad in decision.ads}
            parts = sum(
                (one.daily_limit is not None) + len(asked.uids) * (one.cap is not None) for one in terms.values()
            )
            if parts <= RESERVATIONS or slots == 1:
                excluded = asked.excluded | limits.excluded
                record = record_of(
                    asked, scoring, decision, plan, rows, scores, redraws, self._exploring.epsilon, excluded
                )
                return Drawn(decision, record, terms, tried, slots, redraws)
            slots, redraws = max(1, plan.slots * RESERVATIONS // parts), redraws + 1

    def _shortlist(self, asked: Asked, scoring: Scoring, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """Rows and click probabilities of the best ads that caps and budgets leave room for."""
        wanted, limit = max(SHORTLIST, 6 * asked.n), CANDIDATES
        while True:
            rows, scores = scoring.best(limit)
            places = limits.first(rows, wanted)
            # Caps and budgets took too many: look further down.
            if len(places) >= asked.n or len(rows) >= scoring.allowed:
                return rows[places], scores[places]
            limit *= 4

    def _slate(self, asked: Asked, rows: np.ndarray, scores: np.ndarray, slots: int) -> Slate:
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
        asked: Asked,
        scoring: Scoring,
        decision_id: str,
        plan: Slate,
        rows: np.ndarray,
        scores: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[Decision, frozenset[str]]:
        """The decision that a plan comes to, and the ids of its ads that are there to be tried."""
        places = plan.draw(rng)
        snapshot, shown = asked.snapshot, rows[list(places)]
        rates = snapshot.prior[shown].tolist()
        ads = [snapshot.ads[row] for row in shown.tolist()]
        pairs = list(zip(ads, rates, strict=True))
        copies = variants(self._stores, asked.tenant, pairs, asked.segments, rng, asked.now)
        explored = [place not in plan.base for place in places]
        named = reasons(snapshot, scoring, shown, asked.interests, asked.queries, asked.context, explored=explored)
        slots = tuple(
            slot_of(ad.ad_id, float(scores[place]), one.reason, chosen, plan.propensity(place, slot))
            for slot, (place, ad, chosen, one) in enumerate(zip(places, ads, copies, named, strict=True))
        )
        tried = frozenset(ad.ad_id for ad, trying in zip(ads, explored, strict=True) if trying)
        return Decision(decision_id, asked.uid, asked.now, slots, scoring.knows, asked.versions), tried

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
            for old in [other for other in list(self._prepared) if not self._snapshots.holds(other[0])]:
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

    def elsewhere(self, stores: Stores, profiles: ProfileReader, clock: Callable[[], float]) -> Recommending:
        """The same on other stores and at another time, with all that was made of catalogues."""
        other = copy(self)
        other._stores, other._profiles, other._clock = stores, profiles, clock
        other._feedback = Feedback(stores, clock=clock, consent_basis=profiles.consent_basis)
        return other

    def consent_basis(self, tenant: str) -> str:
        """``asserted`` or ``required``."""
        return self._profiles.consent_basis(tenant)

    def ready(self, tenant: str) -> str:
        """The version of the snapshot in service. Raises `NotFound` where there is none."""
        return self._snapshots.latest(tenant).version


def generator(decision_id: str) -> np.random.Generator:
    """The numbers that a decision is drawn by: its own, and its twin's."""
    return np.random.default_rng(int.from_bytes(blake2b(decision_id.encode(), digest_size=16).digest()))


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
