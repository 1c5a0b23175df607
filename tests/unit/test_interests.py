"""The fold of events: any order, any cut, the same interests."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import DOMAINS, EVENT_TYPES, Event
from shared.interests import Evidence, dump_state, fold, interests_of, load_state
from shared.stores.people import StoredEvent
from tests.fakes.models import TopicClassifier, topic_vector

NOW = 1_790_000_000.0

EVENTS = st.lists(
    st.builds(
        lambda kind, age, item, domain, number: (kind, NOW - age, item, domain, number),
        st.sampled_from(EVENT_TYPES),
        st.floats(0, 200 * 86400),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(DOMAINS),
        st.integers(0, 10**9),
    ),
    max_size=30,
    unique_by=lambda row: row[4],
)


def stored(rows: list[tuple[str, float, str, str, int]]) -> list[StoredEvent]:
    return [StoredEvent(Event("u", kind, at, str(n), item_id=item, domain=d)) for kind, at, item, d, n in rows]  # type: ignore[arg-type]


def same(one: dict[str, Evidence], other: dict[str, Evidence]) -> None:
    assert one.keys() == other.keys()
    for key, evidence in one.items():
        assert evidence.last == other[key].last
        assert evidence.events == other[key].events
        assert evidence.dismissals == other[key].dismissals
        assert evidence.acquired == other[key].acquired
        assert evidence.long == pytest.approx(other[key].long, rel=1e-6, abs=1e-9)
        assert evidence.against == pytest.approx(other[key].against, rel=1e-6, abs=1e-9)
        assert evidence.session == pytest.approx(other[key].session, rel=1e-6, abs=1e-9)


@given(EVENTS, st.randoms(use_true_random=False), st.integers(0, 30))
def test_the_fold_does_not_depend_on_order_or_on_how_it_is_cut(
    rows: list[tuple[str, float, str, str, int]], shuffle: random.Random, cut: int
) -> None:
    events = stored(rows)
    whole, count = fold({}, events)
    mixed = list(events)
    shuffle.shuffle(mixed)
    first, a = fold({}, mixed[:cut])
    restored, kept = load_state(dump_state(first, a))
    second, b = fold(restored, mixed[cut:])
    assert (kept, a + b) == (a, count)
    same(whole, second)


def interests(texts: list[tuple[str, str]], **options: bool) -> list[str]:
    """Long-term interests of purchases given as (domain, text), heaviest first."""
    events = [
        StoredEvent(Event("u", "purchase", NOW - place, f"e{place}", domain=domain), vector=b"own")  # type: ignore[arg-type]
        for place, (domain, _) in enumerate(texts)
    ]
    state, _ = fold({}, events)
    vectors = {f"e/e{place}": topic_vector(text) for place, (_, text) in enumerate(texts)}
    classifiers = {"adproduct": TopicClassifier(), "content": TopicClassifier()}
    found = interests_of(
        state,
        vectors,
        classifiers,  # type: ignore[arg-type]
        now=NOW,
        sensitive_allowed=options.get("sensitive", False),
    )
    return [interest.id for interest in found if interest.term == "long"]


def test_a_person_has_several_interests_not_one_average() -> None:
    texts = [("ecommerce", f"phone {n}") for n in range(3)] + [("ecommerce", f"watch {n}") for n in range(2)]
    assert interests(texts) == ["adproduct:1118", "adproduct:1067"]


def test_a_text_near_no_topic_makes_no_interest() -> None:
    assert interests([("ecommerce", "xyzzy plugh")]) == []


def test_sensitive_groups_need_consent_and_the_health_domain() -> None:
    texts = [("health", "pressure in the morning"), ("social", "prayer at dawn"), ("social", "pressure again")]
    assert interests(texts) == []
    assert interests(texts, sensitive=True) == ["content:296"]


def test_taking_the_evidence_away_lowers_the_interest() -> None:
    texts = [("ecommerce", "phone 1"), ("ecommerce", "phone 2"), ("ecommerce", "watch 1")]
    assert interests(texts)[0] == "adproduct:1118"
    assert interests(texts[2:]) == ["adproduct:1067"]


def test_dismissing_outweighs_viewing() -> None:
    kinds = [("view", 50.0), ("dismiss", 10.0)]
    state, _ = fold({}, [StoredEvent(Event("u", k, NOW - age, k, item_id="a")) for k, age in kinds])
    found = interests_of(
        state,
        {"i/a": topic_vector("phone")},
        {"adproduct": TopicClassifier()},  # type: ignore[dict-item]
        now=NOW,
        sensitive_allowed=False,
    )
    assert found == ()


def test_a_session_ends_and_a_long_interest_stays() -> None:
    state, _ = fold({}, [StoredEvent(Event("u", "view", NOW, "e", item_id="a"))])
    vectors = {"i/a": topic_vector("phone")}
    classifiers = {"adproduct": TopicClassifier()}
    fresh = interests_of(state, vectors, classifiers, now=NOW + 60, sensitive_allowed=False)  # type: ignore[arg-type]
    later = interests_of(state, vectors, classifiers, now=NOW + 7200, sensitive_allowed=False)  # type: ignore[arg-type]
    assert [i.term for i in fresh] == ["long", "session"]
    assert [i.term for i in later] == ["long"]
    assert all(np.frombuffer(i.vector, np.float16).shape == (384,) for i in fresh)
    assert fresh[0].evidence == ("e",)
