"""Interests read off a person's evidence: clusters of items in the topic space, named by the taxonomies.

Several vectors a person, found by hierarchical clustering and weighed by decayed evidence, as in PinnerSage (Pal et
al., KDD 2020), with average linkage in the place of Ward's: as good on our texts, and its one threshold is a cosine.
What is one cluster depends on which items there are, not on how much speaks for them, so interests stay while weights
move.

Removing exactly the events that an interest names as its evidence lowers its strength or removes it, as long as what
is left of it is nearer to itself than to other clusters: an item's evidence never falls by an event for it or for
another item, and what a dismissal takes away never falls with either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import numpy as np

from shared.categories import is_sensitive
from shared.clusters import average_linkage
from shared.domain import Classification, Interest, Label, RecentItem, turns
from shared.evidence import (
    Evidence,
    Stamped,
    State,
    acquired_items,
    considered,
    dump_state,
    fold,
    load_state,
)
from shared.firewall import TAXONOMIES, sensitive_items
from shared.models.taxonomy import TaxonomyName
from shared.presets import preset
from shared.stores.people import pack_vector

if TYPE_CHECKING:
    from shared.models.classifier import TaxonomyClassifier

__all__ = [
    "Evidence",
    "State",
    "acquired_items",
    "considered",
    "dump_state",
    "fold",
    "harmless",
    "interests_of",
    "load_state",
    "read_off",
]

MAX_LONG, MAX_SESSION = 12, 4
MAX_NAMED, MAX_NAMED_RECENT = 16, 4  # clusters that are classified: the strongest long-term and session ones
MAX_RECENT = 50  # times that an item was turned to, the last ones
MAX_EVIDENCE = 20  # event ids named for one interest, the latest
MAX_AGAINST = 10  # and against it
SAME_INTEREST = 0.35  # mean cosine in the topic space from which two clusters are one (`infra.evaluate.profiles_task`)
SAME_ITEM = 0.50  # cosine in the topic space from which a dismissal counts in full; at `SAME_INTEREST`, for nothing
LONGEST_SESSION = 86400.0  # seconds
NOTHING = 1e-6  # evidence (in units of one view) that counts for nothing

Vectors = np.ndarray
Term = Literal["long", "session"]


@dataclass(slots=True)
class _Reading:
    """The items with evidence for them as of now: rows of `vectors` and `topics` (n, 384), sorted by place.

    gross: evidence for each item, net: the same less what dismissals take away; both (2, n), long-term and session.
    lowers: (m, n), which of the dismissed items lower which item; dismissals: the latest of each of these m.
    since: by domain, when its session began.
    """

    items: list[Evidence]
    vectors: Vectors
    topics: Vectors
    gross: Vectors
    net: Vectors
    lowers: Vectors
    dismissals: list[tuple[Stamped, ...]]
    since: dict[str, float]


@dataclass(slots=True)
class _Named:
    """Clusters of one category. rows: of all their items; heaviest: evidence of the one that says `categories`."""

    label: Label
    categories: dict[str, str | None]
    sensitive: bool
    rows: list[int] = field(default_factory=list)
    heaviest: float = -1.0


def interests_of(
    state: Mapping[str, Evidence],
    vectors: Mapping[str, Vectors],
    classifiers: Mapping[str, TaxonomyClassifier],
    *,
    now: float,
    sensitive_allowed: bool,
) -> tuple[Interest, ...]:
    """The interests alone of `read_off`."""
    return read_off(state, vectors, classifiers, now=now, sensitive_allowed=sensitive_allowed)[0]


def read_off(
    state: Mapping[str, Evidence],
    vectors: Mapping[str, Vectors],
    classifiers: Mapping[str, TaxonomyClassifier],
    *,
    now: float,
    sensitive_allowed: bool,
) -> tuple[tuple[Interest, ...], tuple[RecentItem, ...]]:
    """Interests, long-term ones first, each term in falling weight; and the last items, latest first.

    vectors: unit vectors (384,) by evidence key; items without one take no part. What is asked for is at most that of
        the items in ``considered(state, now)``.
    classifiers: by taxonomy name; a domain whose taxonomy is not there is named in Ad Product.
    sensitive_allowed: whether the person consented to sensitive interests. Without it nothing is inferred from the
        health domain. With or without it, outside the health domain no item that is in a sensitive category of either
        taxonomy counts, no cluster that falls into one becomes an interest, and no item of either is among the last
        ones.
    """
    known = {
        place: evidence
        for place, evidence in state.items()
        if evidence.key in vectors and (sensitive_allowed or evidence.domain != "health")
    }
    counting = harmless(considered(known, now), vectors, classifiers)
    items = [evidence for _, evidence in sorted(counting.items())]
    if not items:
        return (), ()
    reading = _read(items, np.stack([vectors[evidence.key] for evidence in items]), classifiers, now)
    named, unnamed = _name(reading, _clusters(reading), classifiers, sensitive_allowed)
    interests = (*_of_term(reading, named, "long", MAX_LONG), *_of_term(reading, named, "session", MAX_SESSION))
    return interests, _recent(reading, named, unnamed)


def harmless(
    state: Mapping[str, Evidence], vectors: Mapping[str, Vectors], classifiers: Mapping[str, TaxonomyClassifier]
) -> State:
    """The state without what is about something sensitive by itself, as far as it has a vector; the health domain's is
    there by consent."""
    asked = [place for place, evidence in state.items() if evidence.domain != "health" and evidence.key in vectors]
    if not asked:
        return dict(state)
    mask = sensitive_items(np.stack([vectors[state[place].key] for place in asked]), classifiers)
    told = {place for place, sensitive in zip(asked, mask.tolist(), strict=True) if sensitive}
    return {place: evidence for place, evidence in state.items() if place not in told}


def _read(
    items: list[Evidence], vectors: Vectors, classifiers: Mapping[str, TaxonomyClassifier], now: float
) -> _Reading:
    topics = classifiers["adproduct"].project(vectors)
    since = _sessions(items, now)
    weights = np.array([evidence.at(now) for evidence in items]).T  # long, session, against
    in_session = [bool(e.events) and e.events[0][0] >= since.get(e.domain, np.inf) for e in items]
    gross = np.stack([weights[0], np.where(in_session, weights[1], 0.0)])
    gross[gross < NOTHING] = 0.0
    net, lowers, dismissed = _less_dismissals(items, topics, gross, weights[2])
    rows = np.flatnonzero(gross.any(axis=0))
    return _Reading(
        [items[row] for row in rows],
        vectors[rows],
        topics[rows],
        gross[:, rows],
        net[:, rows],
        lowers[:, rows],
        [items[place].dismissals for place in dismissed],
        since,
    )


def _sessions(items: Sequence[Evidence], now: float) -> dict[str, float]:
    """By domain, the time of the first event of the session that is going on; absent where none is."""
    times: dict[str, list[float]] = {}
    for evidence in items:
        if evidence.last > now - LONGEST_SESSION:
            recent = [at for at, _ in evidence.events if now - at <= LONGEST_SESSION]
            times.setdefault(evidence.domain, []).extend(recent)
    since: dict[str, float] = {}
    for domain, moments in times.items():
        start, gap = now, preset(domain).session_gap
        for at in sorted(moments, reverse=True):
            if start - at > gap:
                break
            start = at
            since[domain] = at
    return since


def _less_dismissals(
    items: Sequence[Evidence], topics: Vectors, gross: Vectors, against: Vectors
) -> tuple[Vectors, Vectors, list[int]]:
    """Evidence less what dismissals take away, (2, n); who lowers what, (m, n); and the m dismissed items' places.

    A dismissal takes its own weight away from the near items of its domain together, from each in proportion to
    nearness and evidence: all of a view of the item itself, next to nothing from a large interest at its edge. Each
    item's rest is a non-decreasing function of the evidence for it and for every other item.
    """
    places = np.flatnonzero(against >= NOTHING)
    domains = np.unique([evidence.domain for evidence in items], return_inverse=True)[1]
    near = np.clip((topics[places] @ topics.T - SAME_INTEREST) / (SAME_ITEM - SAME_INTEREST), 0.0, 1.0)
    near *= domains[places][:, None] == domains
    near[np.arange(len(places)), places] = 1.0
    taken = np.minimum(1.0, against[places] / np.maximum(gross @ near.T, NOTHING))
    return gross * np.maximum(0.0, 1.0 - taken @ near), near > 0, places.tolist()


def _clusters(reading: _Reading) -> list[list[int]]:
    """Rows of the items of each cluster. Items of two domains are never one: they are named in different taxonomies."""
    found: list[list[int]] = []
    domains = np.array([evidence.domain for evidence in reading.items])
    for domain in sorted(set(domains.tolist())):
        rows = np.flatnonzero(domains == domain)
        numbers = average_linkage(reading.topics[rows], SAME_INTEREST)
        clusters: list[list[int]] = [[] for _ in range(int(numbers.max()) + 1)]
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
            clusters[number].append(row)
        found += clusters
    return found


def _name(
    reading: _Reading,
    clusters: list[list[int]],
    classifiers: Mapping[str, TaxonomyClassifier],
    sensitive_allowed: bool,
) -> tuple[list[_Named], list[int]]:
    """The strongest clusters under their categories, those of one category together; and the rows of those that are in
    no category."""
    # What a cluster is about does not depend on what was dismissed of it.
    cluster_of = np.empty(len(reading.items), dtype=np.intp)
    for number, rows in enumerate(clusters):
        cluster_of[rows] = number
    weight = np.stack([np.bincount(cluster_of, gross, len(clusters)) for gross in reading.gross], axis=1)
    chosen = {
        int(place)
        for term, limit in ((0, MAX_NAMED), (1, MAX_NAMED_RECENT))
        for place in np.argsort(-weight[:, term], kind="stable")[:limit]
        if weight[place, term] > 0
    }
    clusters, weights = [clusters[place] for place in sorted(chosen)], weight[sorted(chosen)].sum(axis=1).tolist()
    placed, doubtful = _placed(
        [_unit(reading.gross[0, rows] @ reading.vectors[rows]) for rows in clusters], classifiers
    )
    named: dict[tuple[str, bool], _Named] = {}
    unnamed: list[int] = []
    for rows, own_weight, labels, doubt in zip(clusters, weights, placed, doubtful, strict=True):
        domain = reading.items[rows[0]].domain
        own = preset(domain).taxonomy
        label = labels[own if own in labels else "adproduct"]
        categories: dict[str, str | None] = {
            name: found.id if (found := labels.get(name)) else None for name in TAXONOMIES
        }
        sensitive = domain == "health" or any(is_sensitive(one) for one in categories.values() if one)
        # A sensitive category is an interest only in the health domain and with consent (DESIGN section 7).
        if sensitive and not (sensitive_allowed and domain == "health"):
            continue
        if label is None:
            if not doubt:
                unnamed += rows
            continue
        entry = named.setdefault((label.id, sensitive), _Named(label, categories, sensitive))
        entry.rows += rows
        if own_weight > entry.heaviest:  # of several clusters the heaviest one says where it is in the other taxonomy
            entry.heaviest, entry.categories = own_weight, categories
    return list(named.values()), unnamed


def _recent(reading: _Reading, named: list[_Named], unnamed: list[int]) -> tuple[RecentItem, ...]:
    """What was last turned to, of what may be told: a sensitive interest serves the person who consented to it, and is
    remembered nowhere else (DESIGN section 7). An item is named as often as there was another one in between
    (looked at, put into a cart and bought, it is named once), as far as its `MAX_EVENTS` latest events tell."""
    owners = [("", row) for row in unnamed if reading.items[row].domain != "health"]
    owners += [(one.label.id, row) for one in named if not one.sensitive for row in one.rows]
    named_items = [
        (item, interest_id)
        for interest_id, row in owners
        if (item := reading.items[row]).key.startswith("i/") and item.events and reading.net[0, row] > 0
    ]
    # Whatever is older than the last events of so many items is behind them.
    last: dict[str, float] = {}
    for item, _ in named_items:
        last[item.key] = max(item.events[0][0], last.get(item.key, -np.inf))  # it may stand in two domains
    latest = nlargest(MAX_RECENT, last.values())
    oldest = latest[-1] if len(latest) == MAX_RECENT else -np.inf
    found = [
        (-at, item.key.removeprefix("i/"), interest_id)
        for item, interest_id in named_items
        for at, _ in takewhile(lambda one: one[0] >= oldest, item.events)
    ]
    return turns(RecentItem(item_id, -at, interest_id) for at, item_id, interest_id in sorted(found))[:MAX_RECENT]


def _placed(
    centres: list[Vectors], classifiers: Mapping[str, TaxonomyClassifier]
) -> tuple[list[dict[TaxonomyName, Label | None]], list[bool]]:
    """For each centre its category in each taxonomy that is there, None where the classifier abstains; and whether the
    best guess of any of them is a sensitive one."""
    if not centres:
        return [], []
    together = np.stack(centres).astype(np.float32)
    answers: dict[TaxonomyName, list[Classification]] = {
        name: classifiers[name].classify_vectors(together, top=1) for name in TAXONOMIES if name in classifiers
    }
    placed: list[dict[TaxonomyName, Label | None]] = [
        {
            name: None if found[place].abstained or not found[place].labels else found[place].labels[0]
            for name, found in answers.items()
        }
        for place in range(len(centres))
    ]
    doubtful = [
        any(found[place].labels and is_sensitive(found[place].labels[0].id) for found in answers.values())
        for place in range(len(centres))
    ]
    return placed, doubtful


def _of_term(reading: _Reading, named: list[_Named], term: Term, limit: int) -> list[Interest]:
    net = reading.net[0 if term == "long" else 1]
    strengths = [float(net[one.rows].sum()) for one in named]
    total = sum(strengths)
    order = sorted(range(len(named)), key=lambda place: (-strengths[place], named[place].label.id))
    found = []
    for place in order[:limit]:
        one, strength = named[place], strengths[place]
        least = min(preset(domain).least_share for domain in {reading.items[row].domain for row in one.rows})
        if strength < NOTHING or strength < least * total:
            continue
        rows = [row for row in one.rows if net[row] > 0]
        found.append(
            Interest(
                id=one.label.id,
                name=dict(one.label.name),
                weight=max(round(strength / total, 4), 1e-4),
                term=term,
                evidence=_ids([e for row in rows for e in _events(reading, row, term)], MAX_EVIDENCE),
                sensitive=one.sensitive,
                vector=pack_vector(_unit(net[rows] @ reading.vectors[rows])),
                strength=round(strength, 6),
                against=_ids(_against(reading, one.rows), MAX_AGAINST),
                categories=one.categories,
            )
        )
    return found


def _events(reading: _Reading, row: int, term: Term) -> Sequence[Stamped]:
    evidence = reading.items[row]
    if term == "long":
        return evidence.events
    return [one for one in evidence.events if one[0] >= reading.since[evidence.domain]]


def _against(reading: _Reading, rows: list[int]) -> list[Stamped]:
    dismissed = np.flatnonzero(reading.lowers[:, rows].any(axis=1)).tolist()
    return [one for place in dismissed for one in reading.dismissals[place]]


def _ids(stamped: list[Stamped], limit: int) -> tuple[str, ...]:
    """The latest ids, latest first, each once."""
    return tuple(dict.fromkeys(event_id for _, event_id in sorted(set(stamped), reverse=True)[:limit]))


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))
