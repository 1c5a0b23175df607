"""Events become interests: a commutative fold of events into per-item evidence, and interests read off that evidence.

`fold` adds events in any order, at once or one by one, with the same result, because every sum is exponentially decayed
to the time of the item's latest event. `interests_of` groups the items a person cares about by the similarity of their
vectors, so that a person has several interests and not one average, and names each group by the taxonomy.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from shared.domain import Classification, Interest
from shared.models.taxonomy import load_taxonomy
from shared.policy.sensitive import is_sensitive
from shared.presets import DEFAULT_DOMAIN, preset
from shared.stores.people import StoredEvent, pack_vector

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
