"""Events become interests: a commutative fold of events into per-item evidence, and interests read off that evidence.

`fold` adds events in any order, at once or one by one, with the same result, because every sum is exponentially decayed
to the time of the item's latest event. `interests_of` groups the items a person cares about by the similarity of their
vectors, so that a person has several interests and not one average, and names each group by the taxonomy.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from shared.domain import Classification, Consent, Interest, Profile
from shared.errors import Conflict
from shared.models.taxonomy import load_taxonomy
from shared.policy.consent import in_force
from shared.policy.sensitive import is_sensitive
from shared.presets import DEFAULT_DOMAIN, preset
from shared.stores.catalogue import Catalogue
from shared.stores.faults import give_way
from shared.stores.people import People, Person, StoredEvent, pack_vector, unpack_vectors

if TYPE_CHECKING:
    from shared.models.classifier import TaxonomyClassifier

MAX_ITEMS = 512  # a person's state keeps the items with the most evidence
MAX_GROUPED = 200  # items that take part in the grouping
MAX_EVIDENCE = 20  # event ids kept for one item, the latest
MAX_STATE_BYTES = 300_000  # a row of DynamoDB holds 400 KB
MAX_ACQUIRED_BYTES = 100_000  # of the ids of acquired items, the latest, in the profile's row
ACQUIRING = frozenset({"purchase", "enrol", "complete"})
ACQUIRED_HALF_LIVES = 3.0  # of its domain: for so long nobody needs to be offered the same thing again
MAX_LONG, MAX_SESSION = 12, 4
SAME_INTEREST = 0.50  # cosine in the topic space from which two items are of one group
NOTHING = 1e-6  # evidence (in units of one view) that counts for nothing
MIN_SHARE = 0.02  # an interest below this share of the person's evidence is noise
SESSION_FLOOR = 0.25  # session evidence (in units of one view) below which a session is over
ATTEMPTS = 20  # at saving a profile while other writers are at the same person or counters
REFRESH_SECONDS = 900.0  # a profile with session interests is read off anew after this long


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for (or against) one item, decayed to `last`. `key` is ``i/{item_id}`` or ``e/{event_id}``."""

    key: str
    domain: str
    long: float
    session: float
    last: float
    events: tuple[tuple[float, str], ...]
    acquired: float = 0.0  # when the item was last bought, enrolled in or completed; 0: never

    def merged(self, other: Evidence) -> Evidence:
        """Both together; the order does not matter."""
        first, second = (self, other) if self.last <= other.last else (other, self)
        terms = preset(self.domain)
        age = second.last - first.last
        events = sorted({*self.events, *other.events}, reverse=True)[:MAX_EVIDENCE]
        return Evidence(
            key=self.key,
            domain=self.domain,
            long=second.long + first.long * 0.5 ** (age / terms.long_half_life),
            session=second.session + first.session * 0.5 ** (age / terms.session_half_life),
            last=second.last,
            events=tuple(events),
            acquired=max(self.acquired, other.acquired),
        )

    def at(self, now: float) -> tuple[float, float]:
        """Long-term and session evidence as of `now`."""
        terms = preset(self.domain)
        age = max(0.0, now - self.last)
        return self.long * 0.5 ** (age / terms.long_half_life), self.session * 0.5 ** (age / terms.session_half_life)


State = dict[str, Evidence]


def evidence_of(stored: StoredEvent) -> Evidence | None:
    """One event as evidence; None where it stands for nothing that could be an interest."""
    event = stored.event
    if event.item_id is not None and not stored.vector:
        key = f"i/{event.item_id}"
    elif stored.vector:
        key = f"e/{event.event_id}"
    else:
        return None
    domain = event.domain or DEFAULT_DOMAIN
    weight = preset(domain).event_weights[event.event]
    acquired = event.timestamp if event.event in ACQUIRING else 0.0
    return Evidence(key, domain, weight, weight, event.timestamp, ((event.timestamp, event.event_id),), acquired)


def fold(state: Mapping[str, Evidence], events: Iterable[StoredEvent]) -> tuple[State, int]:
    """The state with `events` added, and how many there were."""
    new = dict(state)
    count = 0
    for stored in events:
        count += 1
        evidence = evidence_of(stored)
        if evidence is None:
            continue
        place = f"{evidence.domain}|{evidence.key}"
        new[place] = new[place].merged(evidence) if place in new else evidence
    if len(new) > MAX_ITEMS:
        latest = max(evidence.last for evidence in new.values())
        kept = sorted(new.items(), key=lambda entry: (-abs(entry[1].at(latest)[0]), entry[0]))[:MAX_ITEMS]
        new = dict(kept)
    return new, count


def dump_state(state: Mapping[str, Evidence], count: int) -> bytes:
    """The state packed into at most `MAX_STATE_BYTES`: evidence ids go first, then the weakest items."""
    kept, depth = list(state.values()), MAX_EVIDENCE
    while True:
        rows = [[e.key, e.domain, e.long, e.session, e.last, e.events[:depth], e.acquired] for e in kept]
        packed = zlib.compress(orjson.dumps({"count": count, "items": rows}), 1)
        if len(packed) <= MAX_STATE_BYTES or len(kept) <= 1:
            return packed
        if depth > 1:
            depth //= 2
        else:
            latest = max(evidence.last for evidence in kept)
            kept = sorted(kept, key=lambda e: (-abs(e.at(latest)[0]), e.key))[: len(kept) // 2]


def load_state(packed: bytes) -> tuple[State, int]:
    if not packed:
        return {}, 0
    document = orjson.loads(zlib.decompress(packed))
    state = {}
    for key, domain, long, session, last, events, acquired in document["items"]:
        state[f"{domain}|{key}"] = Evidence(
            key, domain, long, session, last, tuple((float(at), event_id) for at, event_id in events), acquired
        )
    return state, document["count"]


def acquired_items(state: Mapping[str, Evidence], now: float) -> tuple[str, ...]:
    """Ids of the items that the person lately bought, enrolled in or completed."""
    found = [
        (evidence.acquired, evidence.key.removeprefix("i/"))
        for evidence in state.values()
        if evidence.key.startswith("i/")
        and now - evidence.acquired < ACQUIRED_HALF_LIVES * preset(evidence.domain).long_half_life
    ]
    room = MAX_ACQUIRED_BYTES
    kept: list[str] = []
    for _, item_id in sorted(found, reverse=True):
        room -= len(item_id.encode())
        if room < 0:
            break
        kept.append(item_id)
    return tuple(sorted(kept))


def interests_of(
    state: Mapping[str, Evidence],
    vectors: Mapping[str, np.ndarray],
    classifiers: Mapping[str, TaxonomyClassifier],
    *,
    now: float,
    sensitive_allowed: bool,
) -> tuple[Interest, ...]:
    """Interests, long-term ones first, each term in falling weight.

    vectors: unit vectors (384,) by evidence key; items without one take no part.
    classifiers: by taxonomy name; a domain whose taxonomy is not there is named in Ad Product.
    sensitive_allowed: whether the person consented to sensitive interests. Without it nothing is inferred from the
        health domain, and no group that falls into a sensitive category becomes an interest.
    """
    found: list[Interest] = []
    known = [e for e in state.values() if e.key in vectors and (sensitive_allowed or e.domain != "health")]
    keys = [e.key for e in known]
    topics: dict[str, np.ndarray] = {}
    if keys:
        projected = classifiers["adproduct"].project(np.stack([vectors[key] for key in keys]))
        topics = dict(zip(keys, projected, strict=True))
    for term, limit in (("long", MAX_LONG), ("session", MAX_SESSION)):
        place = 0 if term == "long" else 1
        weighed = sorted(((e.at(now)[place], e) for e in known), key=lambda pair: (-pair[0], pair[1].key))
        if term == "session" and sum(max(weight, 0.0) for weight, _ in weighed) < SESSION_FLOOR:
            continue
        groups = _groups(weighed[:MAX_GROUPED], vectors, topics)
        named = _named(groups, classifiers, sensitive_allowed)
        total = sum(weight for _, weight, _, _ in named) or 1.0
        for label, weight, centre, evidence in sorted(named, key=lambda one: -one[1])[:limit]:
            share = weight / total
            if share < MIN_SHARE:
                continue
            found.append(
                Interest(
                    id=label["id"],
                    name=label["name"],
                    weight=round(share, 4),
                    term=term,  # type: ignore[arg-type]
                    evidence=evidence,
                    sensitive=label["sensitive"],
                    vector=pack_vector(centre),
                )
            )
    return tuple(found)


@dataclass
class _Group:
    """Items of one topic. `centre` is the weighted sum of their vectors, `topic` of their places in the topic space."""

    domain: str
    centre: np.ndarray
    topic: np.ndarray
    weight: float
    events: list[tuple[float, str]]


def _groups(
    weighed: list[tuple[float, Evidence]], vectors: Mapping[str, np.ndarray], topics: Mapping[str, np.ndarray]
) -> list[_Group]:
    """Leader clustering within a domain, strongest evidence first; evidence against an item lowers its group."""
    groups: list[_Group] = []
    for weight, evidence in weighed:
        if abs(weight) < NOTHING:
            continue
        vector, topic = vectors[evidence.key], topics[evidence.key]
        near = [
            (float(topic @ group.topic) / float(np.linalg.norm(group.topic)), place)
            for place, group in enumerate(groups)
            if group.domain == evidence.domain
        ]
        cosine, place = max(near, default=(0.0, -1))
        if cosine >= SAME_INTEREST:
            group = groups[place]
            group.weight += weight
            if weight > 0:
                group.centre = group.centre + weight * vector
                group.topic = group.topic + weight * topic
                group.events += evidence.events
        elif weight > 0:
            groups.append(_Group(evidence.domain, weight * vector, weight * topic, weight, list(evidence.events)))
    return [group for group in groups if group.weight > 0]


def _named(
    groups: list[_Group], classifiers: Mapping[str, TaxonomyClassifier], sensitive_allowed: bool
) -> list[tuple[dict[str, Any], float, np.ndarray, tuple[str, ...]]]:
    """Groups with their taxonomy label, those of one label merged: (label, weight, centre, evidence)."""
    merged: dict[str, tuple[dict[str, Any], float, np.ndarray, list[tuple[float, str]]]] = {}
    for group, (taxonomy, result) in zip(groups, _labels(groups, classifiers), strict=True):
        if result.abstained or not result.labels:
            continue
        top = result.labels[0]
        tree = load_taxonomy(taxonomy)
        sensitive = group.domain == "health" or is_sensitive(top.id, _ancestor_ids(tree))
        # A sensitive category is an interest only in the health domain and with consent (DESIGN section 7).
        if sensitive and not (sensitive_allowed and group.domain == "health"):
            continue
        label = {"id": top.id, "name": dict(top.name), "sensitive": sensitive}
        key = f"{top.id}|{sensitive}"
        if key in merged:
            known, weight, before, events = merged[key]
            merged[key] = (known, weight + group.weight, before + group.centre, events + group.events)
        else:
            merged[key] = (label, group.weight, group.centre, list(group.events))
    return [
        (
            label,
            weight,
            centre / np.linalg.norm(centre),
            tuple(event_id for _, event_id in sorted(set(events), reverse=True)[:MAX_EVIDENCE]),
        )
        for label, weight, centre, events in merged.values()
    ]


def _labels(groups: list[_Group], classifiers: Mapping[str, TaxonomyClassifier]) -> list[tuple[str, Classification]]:
    """The taxonomy and the classification of each group's centre, each taxonomy asked once."""
    taxonomies = [preset(group.domain).taxonomy for group in groups]
    taxonomies = [taxonomy if taxonomy in classifiers else "adproduct" for taxonomy in taxonomies]
    found: dict[int, Classification] = {}
    for taxonomy in set(taxonomies):
        places = [place for place, name in enumerate(taxonomies) if name == taxonomy]
        centres = np.stack([groups[place].centre / np.linalg.norm(groups[place].centre) for place in places])
        results = classifiers[taxonomy].classify_vectors(centres.astype(np.float32), top=1)
        found |= dict(zip(places, results, strict=True))
    return [(taxonomy, found[place]) for place, taxonomy in enumerate(taxonomies)]


def _ancestor_ids(tree: Any) -> Callable[[str], list[str]]:
    return lambda category_id: [category.id for category in tree.ancestors(category_id)]


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
