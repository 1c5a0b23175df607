"""Profiles as of now: a person's cached fold, with what has come since folded into it.

The profile of linked ids is the fold over the events of them all. In it an event's id is ``{place}/{event_id}``, where
`place` is that of its id within the group: event ids are unique within one id only. Who asks sees the event's own id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shared.categories import is_open
from shared.domain import Consent, Interest, Profile, turns
from shared.errors import Conflict
from shared.evidence import acquired_evidence, permitted, settled
from shared.interests import Evidence, acquired_items, considered, dump_state, fold, harmless, load_state, read_off
from shared.policy.consent import in_force
from shared.stores.catalogue import Catalogue
from shared.stores.faults import give_way
from shared.stores.people import People, StoredEvent, unpack_vectors
from shared.stores.person import NOT_COUNTED, Member, Person

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
        consent_basis: Callable[[str], str],
        k_floor: int,
        clock: Callable[[], float],
    ) -> None:
        self._people = people
        self._catalogue = catalogue
        self._classifiers = classifiers
        self._consent_basis = consent_basis
        self._k_floor = k_floor
        self._clock = clock

    def consent_basis(self, tenant: str) -> str:
        """``asserted`` or ``required``."""
        return self._consent_basis(tenant)

    def read(self, tenant: str, user_id: str, uid: str | None) -> tuple[Profile, Consent, Person | None]:
        """The profile, the consent in force and the person's row (None: nobody knows them).

        Without consent to personalisation the profile is empty, and one that was made before is taken away.
        """
        now = self._clock()
        nobody = Profile(user_id=user_id, interests=(), segments=(), updated_at=now)
        if uid is None:
            return nobody, in_force(None, self._consent_basis(tenant)), None
        for attempt in range(ATTEMPTS):
            person = self._people.load(tenant, uid, user_id)
            if not person.there:  # erased since the uid was looked up
                return nobody, in_force(None, self._consent_basis(tenant)), None
            consent = in_force(person.consent, self._consent_basis(tenant))
            if not consent.personalisation:
                if _nothing_kept(person):
                    return nobody, consent, person
                # What was inferred goes, and the person no longer counts as holding it. Where there is no profile yet,
                # an empty one keeps out whoever is folding what they read before the refusal.
                if self._people.save_profile(tenant, person, replace(nobody, version=0), b"", 0):
                    return nobody, consent, person
                continue
            if person.profile is not None and not self._behind(tenant, person) and not self._aged(person.profile, now):
                return self._with_segments(tenant, person.profile), consent, person
            profile, saved = self._fold(tenant, user_id, person, consent, now)
            if saved:
                return self._with_segments(tenant, _disabled(profile, person.disabled)), consent, person
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def rebuild(self, tenant: str, uid: str) -> None:
        """Makes the person's profile anew from all of their events; that of linked ids when the first of them comes."""
        for attempt in range(ATTEMPTS):
            person = self._people.load(tenant, uid, "")
            if uid != person.uids[0] or not person.there:
                return
            consent = in_force(person.consent, self._consent_basis(tenant))
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
        # What a withdrawal took away is in no later profile, though consent was given again before it came here.
        taken = any(NOT_COUNTED < member.folded < member.cut for member in person.members)
        anew = anew or taken or self._recount(tenant, person)
        state, count = ({}, 0) if anew else load_state(self._people.state(tenant, person.uid, group=person.group))
        if not state:
            count = 0
        before = bool(state)
        folded: dict[str, int] = {}
        whole = True
        for place, member in enumerate(person.members):
            if not self._counts(tenant, member):
                continue
            after = max(member.folded if before else 0, member.cut)
            new = [e for e in self._people.events(tenant, member.uid, user_id, after=after) if e.seq <= member.head]
            # Numbers have no gaps: fewer rows than numbers means that a transaction is still becoming visible.
            whole = whole and len(new) == member.head - after
            state, added = fold(state, (_placed(e, place) for e in new) if person.group else new, place)
            count += added
            folded[member.uid] = member.head
        sensitive = self._sensitive(tenant, person, consent)
        allowed = permitted(state, sensitive)
        chosen = considered(allowed, now)
        # What was acquired is named in the profile, however weak it is beside the rest: it is judged by its item too.
        vectors, domains = self._vectors(tenant, person, chosen | acquired_evidence(allowed, now))
        everyone = len(sensitive) == len(person.members)
        known = harmless(settled(allowed, sensitive, domains, all_sensitive=everyone), vectors, self._classifiers())
        read = {one.key: vectors[one.key] for one in chosen.values() if one.key in vectors}
        interests, recent = read_off(known, read, self._classifiers(), now=now, sensitive_allowed=consent.sensitive)
        version = person.profile.version if person.profile else 0
        if person.group:
            interests = tuple(_with_own_ids(interest) for interest in interests)
        profile = Profile(user_id, interests, (), now, count, version + 1, acquired_items(known, now), recent)
        if not whole:
            return profile, False
        upto = folded if person.group else person.head
        return profile, self._people.save_profile(tenant, person, profile, dump_state(state, count), upto)

    def _counts(self, tenant: str, member: Member) -> bool:
        """Whether the id's events are part of the profile, of a person who may have one."""
        return in_force(member.consent, self._consent_basis(tenant)).personalisation

    def _sensitive(self, tenant: str, person: Person, consent: Consent) -> frozenset[int]:
        """Places of the person's ids whose sensitive events count: where the person may have sensitive interests, of
        those through which that was said. An id's silence takes nothing away from the others, and gives nothing of its
        own."""
        if not consent.sensitive:
            return frozenset()
        own = (in_force(member.consent, self._consent_basis(tenant)) for member in person.members)
        return frozenset(place for place, one in enumerate(own) if one.sensitive)

    def _recount(self, tenant: str, person: Person) -> bool:
        """Whether the profile of linked ids may hold events that do not count, or lack some that do."""
        linked = bool(person.group)
        return linked and any(
            (member.folded == NOT_COUNTED) == self._counts(tenant, member) for member in person.members
        )

    def _behind(self, tenant: str, person: Person) -> bool:
        return person.stale or self._recount(tenant, person)

    def _vectors(
        self, tenant: str, person: Person, state: Mapping[str, Evidence]
    ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """By evidence key the vectors, and the domains of the items that have one."""
        item_keys = [e.key for e in state.values() if e.key.startswith("i/")]
        items = self._catalogue.resolve(tenant, (key.removeprefix("i/") for key in item_keys))
        packed = {f"i/{item_id}": item.vector for item_id, item in items.items() if item.vector}
        domains = {f"i/{item_id}": item.domain for item_id, item in items.items() if item.domain}
        own: dict[str, list[str]] = {}
        for evidence in state.values():
            if evidence.key.startswith("e/"):
                event_id = evidence.key.removeprefix("e/")
                owner = person.members[int(event_id.partition("/")[0])].uid if person.group else person.uid
                own.setdefault(owner, []).append(event_id)
        for uid, event_ids in own.items():
            by_own = {_own_id(event_id) if person.group else event_id: event_id for event_id in event_ids}
            found = self._people.event_vectors(tenant, uid, by_own)
            packed |= {f"e/{by_own[event_id]}": vector for event_id, vector in found.items()}
        return dict(zip(packed, unpack_vectors(list(packed.values())), strict=True)), domains

    def _aged(self, profile: Profile, now: float) -> bool:
        limit = REFRESH_SECONDS if any(i.term == "session" for i in profile.interests) else 86400.0
        return abs(now - profile.updated_at) > limit  # made by a clock that was far ahead, it would never age

    def _with_segments(self, tenant: str, profile: Profile) -> Profile:
        """Segments are the interests that at least `k_floor` people hold; smaller groups have no name."""
        held = [i.id for i in profile.interests if i.term == "long" and i.enabled and not i.sensitive and is_open(i)]
        if not held:
            return profile
        holders = self._people.holders(tenant, held)
        return replace(profile, segments=tuple(i for i in held if holders[i] >= self._k_floor))


def _nothing_kept(person: Person) -> bool:
    """Whether an empty profile is all that there is, made under what the person has said by now; or not even an event,
    that somebody could be folding."""
    kept = person.profile
    if kept is None and not person.head:
        return True
    empty = kept is None or not (kept.interests or kept.recent or kept.acquired or kept.events)
    return empty and person.folded_changes >= person.changes


def _placed(stored: StoredEvent, place: int) -> StoredEvent:
    return replace(stored, event=replace(stored.event, event_id=f"{place}/{stored.event.event_id}"))


def _own_id(placed: str) -> str:
    return placed.partition("/")[2]


def _with_own_ids(interest: Interest) -> Interest:
    evidence, against = (tuple(dict.fromkeys(map(_own_id, ids))) for ids in (interest.evidence, interest.against))
    return replace(interest, evidence=evidence, against=against)


def _disabled(profile: Profile, disabled: frozenset[str]) -> Profile:
    if not disabled:
        return profile
    return replace(
        profile,
        interests=tuple(replace(i, enabled=i.id not in disabled) for i in profile.interests),
        recent=turns(one for one in profile.recent if one.interest_id not in disabled),
    )
