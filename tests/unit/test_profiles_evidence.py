"""Presets as data, and what a person's state keeps of their events when there is too much of them."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import evidence
from shared.domain import DOMAINS, EVENT_TYPES, Event
from shared.errors import ArtifactError
from shared.evidence import Evidence, considered, dump_state, fold, load_state, permitted, settled, weight_of
from shared.presets import FILE, parse_presets, preset
from shared.stores.people import StoredEvent

NOW = 1_790_000_000.0


def event(kind: str, age: float, item: str, number: int | str, **more: Any) -> StoredEvent:
    return StoredEvent(Event("u", kind, NOW - age, f"e{number}", item_id=item, **more))


def test_where_events_name_no_domain_that_of_their_item_counts_whenever_it_becomes_known() -> None:
    events = [event("view", 60, "a", 0), event("purchase", 30, "a", 1, domain="health"), event("view", 9, "b", 2)]
    state = load_state(dump_state(*fold({}, events)))[0]
    assert settled(state, {0}, {}).keys() == {"ecommerce|i/a", "health|i/a", "ecommerce|i/b"}
    assert settled(state, (), {}).keys() == {"ecommerce|i/a", "ecommerce|i/b"}  # a is nothing that is known yet
    health = {"i/a": "health", "i/b": "education"}
    together = settled(state, {0}, health)
    assert together.keys() == {"health|i/a", "education|i/b"}
    assert [event_id for _, event_id in together["health|i/a"].events] == ["e1", "e0"]
    assert not together["health|i/a"].assumed and together["health|i/a"].acquired == NOW - 30
    assert settled(state, (), health).keys() == {"education|i/b"}
    # A domain that an event names is the sender's word, whatever the catalogue says, but for what is about health.
    named = fold({}, [event("view", 60, item, 0, domain="social") for item in ("a", "b")])[0]
    assert settled(named, (), health).keys() == {"social|i/b"} == settled(named, {0}, health).keys()
    assert settled(named, {0}, health, all_sensitive=True).keys() == {"health|i/a", "social|i/b"}


def test_sensitive_evidence_counts_only_of_the_ids_that_it_was_allowed_through() -> None:
    state: dict[str, Evidence] = {}
    for owner in (0, 7):
        rows = [
            event("view", 60, item, f"{owner}{item}", domain=named) for item, named in (("a", None), ("b", "health"))
        ]
        state, _ = fold(state, [*rows, event("view", 50, "c", owner, domain="ecommerce")], owner)
    state = load_state(dump_state(state, 6))[0]
    health = {"i/a": "health"}

    def ids(allowed: set[int], domains: dict[str, str]) -> dict[str, list[str]]:
        found = settled(permitted(state, allowed), allowed, domains)
        assert found == settled(state, allowed, domains)
        return {place: sorted(i for _, i in one.events) for place, one in found.items()}

    both = ["e0", "e7"]
    assert ids({0, 7}, health) == {"health|i/a": ["e0a", "e7a"], "health|i/b": ["e0b", "e7b"], "ecommerce|i/c": both}
    assert ids({7}, health) == {"health|i/a": ["e7a"], "health|i/b": ["e7b"], "ecommerce|i/c": both}
    assert ids(set(), health) == {"ecommerce|i/c": both}
    assert ids(set(), {}) == {"ecommerce|i/a": ["e0a", "e7a"], "ecommerce|i/c": both}
    alone = fold({}, [event("view", 60, "a", 0)])[0]
    twice = settled(fold(alone, [event("view", 60, "a", 1)], 3)[0], (), {})["ecommerce|i/a"]
    assert twice.long == pytest.approx(2 * alone["|i/a"].long)


def many(count: int, items: int, seed: int) -> list[StoredEvent]:
    rng = random.Random(seed)
    kinds = [kind for kind in EVENT_TYPES if kind != "complete"]
    return [
        event(rng.choice(kinds), rng.random() * 30 * 86400, f"i{rng.randrange(items)}", number)
        for number in range(count)
    ]


def test_every_domain_has_its_numbers_and_a_dismissal_outweighs_a_view_for_longer() -> None:
    for domain in DOMAINS:
        terms = preset(domain)
        assert set(terms.event_weights) == set(EVENT_TYPES) - {"dismiss"}
        assert terms.dismissal.weight > 2 * terms.weight("view")
        assert terms.dismissal.half_life_days >= terms.long_half_life_days


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_weights": {"view": 1.0}}, "event_weights has no"),
        ({"long_half_life_days": 0}, "ecommerce.long_half_life_days: Input should be greater than 0"),
        ({"session_gap_minutes": "soon"}, "ecommerce.session_gap_minutes"),
        ({"taxonomy": "products"}, "ecommerce.taxonomy"),
        ({"dismissal": {"weight": 4.0}}, "ecommerce.dismissal.half_life_days: Field required"),
        ({"value": {"events": ["buy"], "reference": 1.0, "most": 2.0}}, "buy: no event that speaks for"),
        ({"long_halflife": 3}, "ecommerce.long_halflife: Extra inputs"),
    ],
)
def test_presets_that_do_not_fit_are_refused_with_the_place(change: dict[str, Any], message: str) -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    document["ecommerce"] |= change
    with pytest.raises(ArtifactError, match="presets") as raised:
        parse_presets(orjson.dumps(document))
    assert message in raised.value.detail


def test_presets_need_every_domain_and_json() -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    del document["health"]
    with pytest.raises(ArtifactError, match="no health"):
        parse_presets(orjson.dumps(document))
    with pytest.raises(ArtifactError, match="document"):
        parse_presets(b"{")


@given(st.floats(allow_nan=True, allow_infinity=True) | st.none())
def test_a_value_raises_a_purchase_up_to_a_cap_and_never_lowers_it(value: float | None) -> None:
    terms = preset("ecommerce")
    weight = terms.weight("purchase", value)
    assert terms.weight("purchase") <= weight <= terms.value.most * terms.weight("purchase")
    assert terms.weight("view", value) == terms.weight("view")


def test_a_dearer_purchase_counts_for_more() -> None:
    cheap, dear = fold({}, [event("purchase", 0, "a", 0, value=10.0), event("purchase", 0, "b", 1, value=900.0)])[
        0
    ].values()
    assert cheap.long < dear.long


def test_a_dismissal_is_never_evidence_for_an_item() -> None:
    state, _ = fold({}, [event("view", 60, "a", 0), event("dismiss", 0, "a", 1)])
    (one,) = state.values()
    assert one.long == pytest.approx(1.0, rel=1e-3)
    assert one.against == preset(None).dismissal.weight
    assert [event_id for _, event_id in one.events] == ["e0"]
    assert [event_id for _, event_id in one.dismissals] == ["e1"]


def test_ids_that_are_kept_do_not_depend_on_order_or_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_IDS", 40)
    events = many(400, 30, seed=1)
    whole = load_state(dump_state(*fold({}, events)))[0]
    rng = random.Random(2)
    for _ in range(5):
        rng.shuffle(events)
        state: dict[str, Evidence] = {}
        for start in range(0, 400, 57):
            state = load_state(dump_state(*fold(state, events[start : start + 57])))[0]
        assert {place: one.events for place, one in state.items()} == {
            place: one.events for place, one in whole.items()
        }
        assert {place: one.dismissals for place, one in state.items()} == {
            place: one.dismissals for place, one in whole.items()
        }
    assert all(one.events or one.dismissals for one in whole.values())  # nothing loses its last explanation


def test_beyond_the_limit_an_item_lacks_at_most_what_the_weakest_had_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    events = many(3000, 300, seed=3)
    exact = fold({}, events)[0]
    monkeypatch.setattr(evidence, "MAX_ITEMS", 200)
    rng = random.Random(4)
    for _ in range(3):
        rng.shuffle(events)
        state: dict[str, Evidence] = {}
        allowed = 0.0
        for start in range(0, 3000, 500):
            state = fold(state, events[start : start + 500])[0]
            if len(state) == 200:
                allowed += min(weight_of(one, NOW) for one in state.values())
        assert len(state) == 200
        for place, one in exact.items():
            kept = weight_of(state[place], NOW) if place in state else 0.0
            assert kept <= weight_of(one, NOW) * (1 + 1e-9)
            assert kept >= weight_of(one, NOW) - allowed - 1e-9
        strongest = sorted(exact, key=lambda place: -weight_of(exact[place], NOW))[:50]
        assert all(place in state for place in strongest)


def test_what_is_dropped_for_room_is_the_weakest_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    state, count = fold({}, many(500, 100, seed=5))
    monkeypatch.setattr(evidence, "MAX_STATE_BYTES", 2500)
    packed = dump_state(state, count)
    assert len(packed) <= 2500
    assert packed == dump_state(state, count)
    kept, again = load_state(packed)
    assert again == 500
    latest = max(one.last for one in state.values())
    weakest = min(weight_of(state[place], latest) for place in kept)
    assert all(weight_of(state[place], latest) <= weakest for place in state.keys() - kept.keys())


@pytest.mark.parametrize(
    "packed", [b"", zlib.compress(b'{"count": 3, "items": []}'), b"2:00000000:" + zlib.compress(b"?")]
)
def test_a_state_of_another_form_or_other_presets_is_folded_anew(packed: bytes) -> None:
    assert load_state(packed) == ({}, 0)


def test_what_is_read_are_the_strongest_items_and_the_last_ones() -> None:
    old = [event("purchase", 86400, f"old{number}", number) for number in range(600)]
    state, _ = fold({}, [*old, event("view", 0, "new", 10_000)])
    chosen = considered(state, NOW)
    assert len(chosen) == evidence.MAX_READ
    assert "|i/new" in chosen
    assert considered(dict(reversed(state.items())), NOW).keys() == chosen.keys()


@given(
    st.lists(
        st.tuples(st.sampled_from(("view", "purchase", "dismiss")), st.integers(0, 4), st.sampled_from(DOMAINS)),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 30),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_ties_among_the_strongest_and_the_last_go_by_place(
    rows: list[tuple[str, int, str]], most: int, recent: int, shuffling: random.Random
) -> None:
    events = [
        event(kind, days * 86400.0, f"item{number}", number, domain=domain)
        for number, (kind, days, domain) in enumerate(rows)
    ]
    shuffling.shuffle(events)
    state, _ = fold({}, events)
    for one in state.values():
        long, _, against = one.at(NOW + 60)
        assert weight_of(one, NOW + 60) == long + against
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "MAX_READ", most)
        patch.setattr(evidence, "MAX_READ_RECENT", min(recent, most))
        chosen = considered(state, NOW)
    plain = sorted(state, key=lambda place: (-state[place].last, place))[: min(recent, most)]
    for place in sorted(state, key=lambda place: (-weight_of(state[place], NOW), place)):
        if place not in plain and len(plain) < most:
            plain.append(place)
    assert chosen == {place: state[place] for place in plain}
