"""Interests that hold up: real evidence, dismissals, sessions, both taxonomies, and no reshuffling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest
import scipy.cluster.hierarchy as hierarchy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from shared.clusters import average_linkage
from shared.domain import DOMAINS, EVENT_TYPES, Classification, Event, Interest, Profile
from shared.feedback import FeedbackItem
from shared.interests import fold, interests_of
from shared.stores import Stores
from shared.stores.people import StoredEvent, _profile_row, _row_profile
from tests.fakes.models import TOPICS, TopicClassifier, topic_vector
from tests.fakes.system import FakeSystem

NOW = 1_790_000_000.0
DAY = 86400.0
TENANT = "acme"
POSITIVE = [kind for kind in EVENT_TYPES if kind != "dismiss"]
OPEN = ("phone", "watch", "course", "shoe")  # in no sensitive category
Row = tuple[str, float, str, str]  # event, seconds ago, item (its topic and a number), domain


def stored(rows: list[Row]) -> list[StoredEvent]:
    return [
        StoredEvent(Event("u", kind, NOW - age, f"e{number}", item_id=item, domain=domain))  # type: ignore[arg-type]
        for number, (kind, age, item, domain) in enumerate(rows)
    ]


def read(
    events: list[StoredEvent],
    *,
    now: float = NOW,
    sensitive: bool = False,
    placed: Mapping[str, TopicClassifier] | None = None,
) -> tuple[Interest, ...]:
    state, _ = fold({}, events)
    vectors = {one.key: topic_vector(one.key) for one in state.values()}
    known: Any = placed or {"adproduct": TopicClassifier(), "content": TopicClassifier()}
    return interests_of(state, vectors, known, now=now, sensitive_allowed=sensitive)


def by_id(interests: tuple[Interest, ...], term: str = "long") -> dict[str, Interest]:
    return {one.id: one for one in interests if one.term == term}


def by_kind(interests: tuple[Interest, ...], term: str) -> dict[tuple[str, bool], Interest]:
    """In the health domain an id stands for something else than in the others."""
    return {(one.id, one.sensitive): one for one in interests if one.term == term}


def histories(
    topics: tuple[str, ...] = tuple(TOPICS), kinds: tuple[str, ...] = EVENT_TYPES
) -> st.SearchStrategy[list[Row]]:
    return st.lists(
        st.tuples(
            st.sampled_from(kinds),
            st.floats(0, 40 * DAY),
            st.builds("{} {}".format, st.sampled_from(topics), st.integers(0, 3)),
            st.sampled_from(DOMAINS),
        ),
        min_size=1,
        max_size=40,
    )


# Clusters -----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.05, 0.8))
def test_clusters_are_those_of_average_linkage_in_any_order(seed: int, count: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 12)) + 1.5 * rng.normal(size=(4, 12))[rng.integers(4, size=count)]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = average_linkage(vectors, least)
    order = rng.permutation(count)
    assert adjusted_rand_score(found[order], average_linkage(vectors[order], least)) == 1.0
    if count > 1:
        distance = 1 - vectors.astype(float) @ vectors.T.astype(float)
        np.fill_diagonal(distance, 0)
        tree = hierarchy.linkage(squareform((distance + distance.T) / 2, checks=False), "average")
        assert adjusted_rand_score(hierarchy.fcluster(tree, 1 - least, "distance"), found) == 1.0


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_clusters_of_the_same_vector_are_one(count: int) -> None:
    vectors = np.tile(topic_vector("phone"), (count, 1))
    assert average_linkage(vectors, 0.2).tolist() == [0] * count


# Evidence is real ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(histories(), st.booleans())
def test_without_its_evidence_an_interest_is_weaker_or_gone(rows: list[Row], sensitive: bool) -> None:
    events = stored(rows)
    known = {one.event.event_id: one.event for one in events}
    found = read(events, sensitive=sensitive)
    for interest in found:
        assert interest.evidence
        assert all(known[event_id].event != "dismiss" for event_id in interest.evidence)
        assert all(known[event_id].event == "dismiss" for event_id in interest.against)
        without = read([one for one in events if one.event.event_id not in interest.evidence], sensitive=sensitive)
        left = by_kind(without, interest.term).get((interest.id, interest.sensitive))
        assert left is None or left.strength < interest.strength
        one_less = read([one for one in events if one.event.event_id != interest.evidence[-1]], sensitive=sensitive)
        left = by_kind(one_less, interest.term).get((interest.id, interest.sensitive))
        assert left is None or left.strength < interest.strength


def test_more_events_than_are_named_still_lower_it() -> None:
    events = stored([("view", n * 60.0, f"phone {n % 7}", "ecommerce") for n in range(60)])
    (phone,) = by_id(read(events)).values()
    assert len(phone.evidence) == 20
    left = by_id(read([one for one in events if one.event.event_id not in phone.evidence]))[phone.id]
    assert left.strength < phone.strength
    assert left.weight == phone.weight == 1.0  # the share alone would not show it


# Dismissals ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(histories(), st.sampled_from(tuple(TOPICS)), st.integers(0, 3), st.sampled_from(DOMAINS))
def test_a_dismissal_creates_nothing_and_strengthens_nothing(
    rows: list[Row], topic: str, number: int, domain: str
) -> None:
    before = read(stored(rows), sensitive=True)
    after = read(stored([*rows, ("dismiss", 0.0, f"{topic} {number}", domain)]), sensitive=True)
    for term in ("long", "session"):
        held = by_kind(before, term)
        # What was too small a share before may be large enough now, but no stronger.
        assert all(one.strength <= held[key].strength for key, one in by_kind(after, term).items() if key in held)
    assert (
        read(stored([row for row in [*rows, ("dismiss", 0.0, topic, domain)] if row[0] == "dismiss"]), sensitive=True)
        == ()
    )


def test_a_dismissal_lowers_what_is_near_and_says_so_and_spares_the_rest() -> None:
    rows: list[Row] = [("purchase", 60.0, f"phone {n}", "ecommerce") for n in range(3)]
    rows += [("purchase", 60.0, "watch 1", "ecommerce")]
    before = by_id(read(stored(rows)))
    after = by_id(read(stored([*rows, ("dismiss", 0.0, "phone 9", "ecommerce")])))
    phone, watch = TOPICS["phone"], TOPICS["watch"]
    assert after[phone].strength == pytest.approx(before[phone].strength - 4.0, rel=0.02)
    assert after[phone].against == ("e4",)
    assert after[watch].strength == before[watch].strength
    assert after[watch].against == ()
    elsewhere = by_id(read(stored([*rows, ("dismiss", 0.0, "phone 9", "education")])))
    assert elsewhere[phone].strength == before[phone].strength


@pytest.mark.parametrize("item", ["phone 1", "phone 2"])
def test_one_view_does_not_make_good_a_dismissal_but_time_and_a_purchase_do(item: str) -> None:
    rows: list[Row] = [("view", 3600.0, "phone 1", "ecommerce"), ("dismiss", 1800.0, "phone 1", "ecommerce")]
    assert read(stored([*rows, ("view", 0.0, item, "ecommerce")])) == ()
    assert by_id(read(stored([*rows, ("purchase", 0.0, item, "ecommerce")])))
    old: list[Row] = [("dismiss", 200 * DAY, "phone 1", "ecommerce")]
    (later,) = by_id(read(stored([*old, ("view", 0.0, item, "ecommerce")]))).values()
    assert 0.5 < later.strength < 1.0
    assert later.against == ("e0",)


def test_a_dismissed_ad_lowers_the_interest_it_was_shown_for(stores: Stores) -> None:
    system = FakeSystem(stores)
    ads = [
        {
            "ad_id": name,
            "title": f"{topic} {name}",
            "landing_url": "https://example.com",
            "language": "en",
            "domain": "ecommerce",
        }
        for name, topic in (("p1", "phone"), ("w1", "watch"))
    ]
    assert len(system.classifying.put_ads(TENANT, ads)) == 2
    system.classifying.publish(TENANT)
    now = system.clock.now
    system.profiling.post_events(
        TENANT,
        [
            {"user_id": "ann", "event": "purchase", "timestamp": now - 9, "text": f"{topic} 7", "domain": "ecommerce"}
            for topic in ("phone", "watch")
        ],
    )
    decision = system.recommending.recommend(TENANT, "ann", n=2)
    before = by_id(system.profiling.profile(TENANT, "ann")[0].interests)
    item = FeedbackItem(decision.decision_id, "p1", "dismiss", system.clock.now)
    assert system.recommending.feedback(TENANT, [item])[0]["result"] == "counted"
    after = by_id(system.profiling.profile(TENANT, "ann")[0].interests)
    phone, watch = TOPICS["phone"], TOPICS["watch"]
    assert after[phone].strength == pytest.approx(before[phone].strength - 4.0, rel=0.02)
    assert after[phone].against == (f"fb:{decision.decision_id}:p1:dismiss",)
    assert after[watch].strength == pytest.approx(before[watch].strength, rel=1e-3)


# Sessions -----------------------------------------------------------------------------------------------------------


def test_a_session_is_what_came_without_a_gap_in_its_domain() -> None:
    minutes = [0, 20, 40, 75, 80]  # 35 between the third and the fourth: another session
    rows: list[Row] = [("view", 60.0 * age, f"phone {age}", "ecommerce") for age in minutes]
    rows += [("view", 60.0 * 45, "course 1", "education"), ("purchase", 2 * DAY, "watch 1", "ecommerce")]
    session = by_id(read(stored(rows)), "session")
    assert session[TOPICS["phone"]].evidence == ("e0", "e1", "e2")
    assert set(session) == {TOPICS["phone"], TOPICS["course"]}  # a lesson's pause may be longer
    assert set(by_id(read(stored(rows)))) == {TOPICS["phone"], TOPICS["course"], TOPICS["watch"]}
    assert by_id(read(stored(rows), now=NOW + 31 * 60), "session") == {}


# Stability ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(histories(OPEN, tuple(POSITIVE)))
def test_a_second_later_the_interests_are_the_same(rows: list[Row]) -> None:
    rows = [(kind, age + 2.0, item, domain) for kind, age, item, domain in rows]
    one, other = by_id(read(stored(rows))), by_id(read(stored(rows), now=NOW + 1))
    for key in one.keys() ^ other.keys():
        assert (one.get(key) or other[key]).weight == pytest.approx(0.02, abs=1e-3)  # at the least share
    for key in one.keys() & other.keys():
        assert one[key].weight == pytest.approx(other[key].weight, abs=2e-4)
        assert one[key].evidence == other[key].evidence


@settings(deadline=None, max_examples=40)
@given(histories(("phone", "watch", "course"), tuple(POSITIVE)))
def test_an_unrelated_view_moves_nothing_else(rows: list[Row]) -> None:
    one = by_id(read(stored(rows)))
    other = by_id(read(stored([*rows, ("view", 0.0, "shoe 1", "ecommerce")])))
    assert other.keys() - one.keys() <= {TOPICS["shoe"]}
    for key in one.keys() & other.keys():
        assert other[key].strength == pytest.approx(one[key].strength, rel=1e-6, abs=2e-6)
        assert other[key].vector == one[key].vector
        assert other[key].evidence == one[key].evidence
    order = [key for key in one if key in other]
    assert [key for key in other if key in one] == order
    for key in one.keys() - other.keys():  # its share fell under the least one: the view is most of a faint history
        assert one[key].strength < 0.03 * (1 + sum(interest.strength for interest in one.values()))


# Taxonomies ---------------------------------------------------------------------------------------------------------


class Placing(TopicClassifier):
    """Says one category of everything, or abstains."""

    def __init__(self, category: str | None) -> None:
        self.category = category

    def classify_vectors(self, vectors: np.ndarray, top: int = 3) -> list[Classification]:
        answers = super().classify_vectors(vectors, top)
        if self.category is None:
            return [Classification(one.labels, True) for one in answers]
        return [
            Classification(tuple(type(label)(self.category, label.name, 1.0) for label in one.labels[:1]), False)
            for one in answers
        ]


def test_an_interest_lies_in_both_taxonomies_and_is_named_in_its_domain_s() -> None:
    placed = {"adproduct": Placing("adproduct:1118"), "content": Placing("content:239")}
    shop = read(stored([("view", 60.0, "phone 1", "ecommerce")]), placed=placed)[0]
    assert shop.id == "adproduct:1118"
    assert shop.categories == {"adproduct": "adproduct:1118", "content": "content:239"}
    social = read(stored([("view", 60.0, "phone 1", "social")]), placed=placed)[0]
    assert social.id == "content:239"
    assert social.categories == shop.categories
    nowhere = read(stored([("view", 60.0, "phone 1", "ecommerce")]), placed=placed | {"content": Placing(None)})[0]
    assert nowhere.categories == {"adproduct": "adproduct:1118", "content": None}
    assert read(stored([("view", 60.0, "phone 1", "ecommerce")]), placed=placed | {"adproduct": Placing(None)}) == ()


@pytest.mark.parametrize("taxonomy", ["adproduct", "content"])
@pytest.mark.parametrize("domain", ["ecommerce", "social"])
@pytest.mark.parametrize("allowed", [True, False])
def test_what_is_sensitive_in_either_taxonomy_is_hidden(taxonomy: str, domain: str, allowed: bool) -> None:
    placed = {"adproduct": Placing("adproduct:1118"), "content": Placing("content:239")}
    sensitive = {"adproduct": "adproduct:1349", "content": "content:453"}[taxonomy]
    events = stored([("purchase", 60.0, "phone 1", domain)])
    assert len(read(events, sensitive=allowed, placed=placed)) == 2
    assert read(events, sensitive=allowed, placed=placed | {taxonomy: Placing(sensitive)}) == ()
    health = stored([("purchase", 60.0, "phone 1", "health")])
    found = read(health, sensitive=allowed, placed=placed | {taxonomy: Placing(sensitive)})
    assert [one.sensitive for one in found] == ([True, True] if allowed else [])


# Rows ---------------------------------------------------------------------------------------------------------------


def test_a_profile_s_row_gives_its_interests_back_and_so_does_one_from_before() -> None:
    rows: list[Row] = [("purchase", 60.0, "phone 1", "ecommerce"), ("dismiss", 0.0, "phone 2", "ecommerce")]
    found = read(stored(rows))
    assert found[0].against and found[0].strength > 0
    row = _profile_row("pk", Profile("u", found, (), NOW), 2, 0)
    assert _row_profile(row, "u", frozenset()).interests == found
    bare = [
        {name: one for name, one in entry.items() if name not in ("strength", "against", "categories")}
        for entry in orjson.loads(row["interests"])
    ]
    old = _row_profile(row | {"interests": orjson.dumps(bare)}, "u", frozenset()).interests
    assert [(one.id, one.against, one.categories) for one in old] == [(one.id, (), {}) for one in found]
