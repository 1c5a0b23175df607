"""Profiles as of now: a person's cached fold, with what has come since folded into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shared.domain import Consent, Profile
from shared.errors import Conflict
from shared.interests import Evidence, acquired_items, dump_state, fold, interests_of, load_state
from shared.policy.consent import in_force
from shared.stores.catalogue import Catalogue
from shared.stores.faults import give_way
from shared.stores.people import People, Person, unpack_vectors

if TYPE_CHECKING:
    from shared.models.classifier import TaxonomyClassifier

ATTEMPTS = 20  # at saving a profile while other writers are at the same person or counters
REFRESH_SECONDS = 900.0  # a profile with session interests is read off anew after this long


class ProfileReader:
    """Profiles as of now: serves the cache, and folds what has come since into it first."""

    def __init__(
        self,
        people: People,
        catalogue: Catalogue,
        classifiers: Callable[[], Mapping[str, TaxonomyClassifier]],
        *,
        consent_basis: str,
        k_floor: int,
        clock: Callable[[], float],
    ) -> None:
        self._people = people
        self._catalogue = catalogue
        self._classifiers = classifiers
        self._consent_basis = consent_basis
        self._k_floor = k_floor
        self._clock = clock

    def read(self, tenant: str, user_id: str, uid: str | None) -> tuple[Profile, Consent, Person | None]:
        """The profile, the consent in force and the person's row (None: nobody knows them).

        Without consent to personalisation the profile is empty, and one that was made before is taken away.
        """
        now = self._clock()
        nobody = Profile(user_id=user_id, interests=(), segments=(), updated_at=now)
        if uid is None:
            return nobody, in_force(None, self._consent_basis), None
        for attempt in range(ATTEMPTS):
            person = self._people.load(tenant, uid, user_id)
            consent = in_force(person.consent, self._consent_basis)
            if not consent.personalisation:
                if person.profile is None or not person.profile.interests:
                    return nobody, consent, person
                # What was inferred goes, and the person no longer counts as holding it.
                if self._people.save_profile(tenant, person, replace(nobody, version=0), b"", 0):
                    return nobody, consent, person
                continue
            if person.profile is not None and not person.stale and not self._aged(person.profile, now):
                return self._with_segments(tenant, person.profile), consent, person
            profile, saved = self._fold(tenant, user_id, person, consent, now)
            if saved:
                return self._with_segments(tenant, _disabled(profile, person.disabled)), consent, person
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def rebuild(self, tenant: str, uid: str) -> None:
        """Makes the person's profile anew from all of their events."""
        for attempt in range(ATTEMPTS):
            person = self._people.load(tenant, uid, "")
            consent = in_force(person.consent, self._consent_basis)
            if not consent.personalisation:
                self.read(tenant, "", uid)  # takes away what was inferred
                return
            if self._fold(tenant, "", person, consent, self._clock(), anew=True)[1]:
                return
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def _fold(
        self, tenant: str, user_id: str, person: Person, consent: Consent, now: float, *, anew: bool = False
    ) -> tuple[Profile, bool]:
        state, count = ({}, 0) if anew else load_state(self._people.state(tenant, person.uid))
        after = person.folded
        if not state:
            after, count = 0, 0
        events = [e for e in self._people.events(tenant, person.uid, user_id, after=after) if e.seq <= person.head]
        # Numbers have no gaps: fewer rows than numbers means that a transaction is still becoming visible.
        whole = len(events) == person.head - after
        state, added = fold(state, events)
        count += added
        vectors = self._vectors(tenant, person.uid, state)
        interests = interests_of(state, vectors, self._classifiers(), now=now, sensitive_allowed=consent.sensitive)
        version = person.profile.version if person.profile else 0
        known = {key: one for key, one in state.items() if consent.sensitive or one.domain != "health"}
        profile = Profile(user_id, interests, (), now, count, version + 1, acquired_items(known, now))
        if not whole:
            return profile, False
        return profile, self._people.save_profile(tenant, person, profile, dump_state(state, count), person.head)

    def _vectors(self, tenant: str, uid: str, state: Mapping[str, Evidence]) -> dict[str, np.ndarray]:
        item_keys = [e.key for e in state.values() if e.key.startswith("i/")]
        items = self._catalogue.resolve(tenant, (key.removeprefix("i/") for key in item_keys))
        packed = {f"i/{item_id}": item.vector for item_id, item in items.items() if item.vector}
        own = [e.key.removeprefix("e/") for e in state.values() if e.key.startswith("e/")]
        packed |= {f"e/{event_id}": v for event_id, v in self._people.event_vectors(tenant, uid, own).items()}
        return dict(zip(packed, unpack_vectors(list(packed.values())), strict=True))

    def _aged(self, profile: Profile, now: float) -> bool:
        limit = REFRESH_SECONDS if any(i.term == "session" for i in profile.interests) else 86400.0
        return abs(now - profile.updated_at) > limit  # made by a clock that was far ahead, it would never age

    def _with_segments(self, tenant: str, profile: Profile) -> Profile:
        """Segments are the interests that at least `k_floor` people hold; smaller groups have no name."""
        held = [i.id for i in profile.interests if i.term == "long" and i.enabled and not i.sensitive]
        if not held:
            return profile
        holders = self._people.holders(tenant, held)
        return replace(profile, segments=tuple(i for i in held if holders[i] >= self._k_floor))


def _disabled(profile: Profile, disabled: frozenset[str]) -> Profile:
    if not disabled:
        return profile
    return replace(profile, interests=tuple(replace(i, enabled=i.id not in disabled) for i in profile.interests))
