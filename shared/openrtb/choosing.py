"""Which ad an impression gets: a decision like any other (`shared.recommending`), among those that the exchange takes.

Each impression is a decision of its own, since each has its own floor and form. It reserves what it needs of budgets
and caps at once; where it is not seen in time that lapses by itself (`shared.stores.spend`), as where it has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.categories import is_sensitive
from shared.domain import Consent, Decision, Interest, RankedAd
from shared.eligibility import Context, Limits
from shared.models.taxonomy import load_taxonomy
from shared.openrtb.privacy import Person
from shared.recommending import Asker, Recommending, generator
from shared.recording import Asked
from shared.scoring import Scoring
from shared.snapshot import Snapshot
from shared.stores import Stores
from shared.stores.delivery import new_decision_id

Offer = Callable[[Snapshot], np.ndarray]  # mask (n,) of the ads that an impression takes


@dataclass(frozen=True, slots=True)
class Asking:
    """who: as `Recommending` knows them. told: whether what the publisher says of them may be used."""

    who: Asker
    told: bool


class Choosing:
    """Chooses by `recommending`; its stores and clock."""

    def __init__(self, recommending: Recommending, stores: Stores, clock: Callable[[], float]) -> None:
        self._recommending = recommending
        self._stores = stores
        self._clock = clock

    def asker(self, tenant: str, person: Person) -> Asking:
        """Who a bid request is for, looked up once for all of its impressions."""
        chooser = self._recommending
        who = chooser.asker(tenant, person.user_id or "", minor=person.minor or person.user_id is None)
        if person.user_id is None and not person.minor:  # somebody unknown, and no minor for it
            who = replace(who, consent=replace(who.consent, minor=False))
        return Asking(who, self._may_be_told(tenant, person, who.consent))

    def choose(
        self,
        tenant: str,
        snapshot: Snapshot,
        asker: Asking,
        offer: Offer,
        context: Context,
        *,
        shown: Callable[[RankedAd], RankedAd],
        kept: list[str] | None,
        interests: Sequence[str] = (),
    ) -> Decision | None:
        """The decision for one impression; None where no ad is left for it.

        shown: what the impression has room for of an ad. kept: takes the decision's id before the decision is kept, so
            that it can be given up whatever happens; without it the decision is neither kept nor logged, and takes
            nothing of budgets and caps. interests: categories that the publisher says the person cares for, beside
            what is known here.

        Raises:
            Conflict: as `Recommending.recommend`. Unavailable: as everywhere.
        """
        chooser, now = self._recommending, self._clock()
        asked, scoring = chooser.ask(tenant, asker.who, snapshot, 1, context, now, personalised=True)
        told = _interests(snapshot, interests) if asker.told else []
        mask = asked.allowed & offer(snapshot)
        if not mask.any():
            return None
        asked, scoring = _among(asked, scoring, mask, told)
        decision_id = new_decision_id(now)
        if kept is not None:
            kept.append(decision_id)
            decision = chooser.decide(asked, scoring, decision_id, shown).decision
        else:
            limits = Limits(self._stores, tenant, snapshot, asked.uids, now)
            decision = chooser.draw(asked, scoring, limits, decision_id, generator(decision_id), 1).decision
            decision = replace(decision, ads=tuple(map(shown, decision.ads)))
        return decision if decision.ads else None

    def _may_be_told(self, tenant: str, person: Person, consent: Consent) -> bool:
        """Whether what the publisher knows of the person may be used: as what is known here, and of somebody without an
        id where the tenant vouches for what it sends."""
        if not person.known or consent.minor:
            return False
        vouched = person.user_id is None and self._recommending.consent_basis(tenant) == "asserted"
        return consent.personalisation or vouched


def _among(
    asked: Asked, scoring: Scoring, mask: np.ndarray, told: Sequence[tuple[Interest, np.ndarray]]
) -> tuple[Asked, Scoring]:
    """The same request among these ads alone, of a person who is also told to care for something."""
    left_out = int(asked.allowed.sum() - mask.sum())
    excluded = asked.excluded | ({"exchange": left_out} if left_out else {})
    asked = replace(asked, allowed=mask, excluded=excluded)
    if told:
        interests = [*asked.interests, *(interest for interest, _ in told)]
        queries = np.vstack([asked.queries, *(vector[None] for _, vector in told)]).astype(np.float32)
        asked = replace(asked, interests=interests, queries=queries)
    return asked, scoring.among(mask, asked.interests, asked.queries)


def _interests(snapshot: Snapshot, names: Sequence[str]) -> list[tuple[Interest, np.ndarray]]:
    """Interests in these categories, each with the middle of its ads in the topic space; without those that are
    sensitive (DESIGN section 7) and those that no ad is of."""
    tree = load_taxonomy("adproduct")
    found = []
    for name in names:
        rows = snapshot.category == snapshot.categories.index(name) if name in snapshot.categories else None
        if rows is None or name not in tree or is_sensitive(name) or not rows.any():
            continue
        middle = snapshot.vectors[rows].mean(axis=0)
        length = float(np.linalg.norm(middle))
        if length > 0:
            interest = Interest(name, dict(tree[name].name), 1 / len(names), "session", ())
            found.append((interest, middle / length))
    return found
