"""Rules, reasons and variants inside one decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.domain import Copy, Decision
from shared.eligibility import Context
from shared.feedback import FeedbackItem
from shared.reasons import LEAST, Named, reasons
from shared.recommending import Exploring
from shared.stores import Stores
from shared.stores.copies import ANYONE, gate_stamp, text_key
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import act, ad, catalogue, ids

pytestmark = pytest.mark.slow


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    return FakeSystem(stores)


def shown(system: FakeSystem, user: str = "ann", n: int = 5, **context: Any) -> list[str]:
    return ids(system.recommending.recommend(TENANT, user, n=n, context=Context(**context)))


# Campaign rules ---------------------------------------------------------------------------------------------------


def test_ads_that_bid_less_than_the_floor_stay_out(system: FakeSystem) -> None:
    catalogue(
        system, ad("low", "phone", bid_cpm=1.0), ad("floor", "watch", bid_cpm=2.5), ad("high", "shoe", bid_cpm=9.0)
    )
    assert set(shown(system)) == {"low", "floor", "high"}
    assert set(shown(system, floor_cpm=2.5)) == {"floor", "high"}
    assert shown(system, floor_cpm=100.0) == []


@pytest.mark.parametrize("exploring", [Exploring(), Exploring(0.5, 0.5)], ids=["plain", "exploring"])
def test_competitors_are_never_in_one_answer(stores: Stores, exploring: Exploring) -> None:
    system = FakeSystem(stores, exploring=exploring)
    cars = {"exclusion_labels": ["cars"]}
    catalogue(
        system,
        ad("ours1", "phone", campaign_id="ours", **cars),
        ad("ours2", "phone", campaign_id="ours", **cars),
        ad("theirs", "phone", campaign_id="theirs", **cars),
        ad("nobodys", "phone", **cars),
        *(ad(f"other{n}", "watch") for n in range(4)),
    )
    for number in range(40):
        answer = set(shown(system, f"u{number}", n=6))
        rivals = [{"ours1", "ours2"} & answer, {"theirs"} & answer, {"nobodys"} & answer]
        assert sum(map(bool, rivals)) <= 1, answer


def test_a_category_fills_no_more_slots_than_it_may(system: FakeSystem) -> None:
    catalogue(system, *(ad(f"p{n}", "phone") for n in range(4)), ad("w", "watch"))
    act(system, "ann", "view", "phone")
    answer = shown(system, max_per_category=2)
    assert Counter(name[0] for name in answer) == {"p": 2, "w": 1}


def test_diversity_is_the_callers_to_choose(system: FakeSystem) -> None:
    catalogue(system, *(ad(f"p{n}", "phone", brand=f"b{n}") for n in range(3)), ad("w", "watch"))
    act(system, "ann", "view", "phone")
    act(system, "ann", "view", "watch")
    act(system, "ann", "view", "phone two")
    assert set(shown(system, n=3, diversity=0.0)) == {"p0", "p1", "p2"}
    assert "w" in shown(system, n=2, diversity=10.0)


def test_a_campaign_that_has_ended_is_not_chosen_and_its_last_impressions_count(system: FakeSystem) -> None:
    catalogue(system, ad("p", "phone", end=system.clock.now + 60))
    decision = system.recommending.recommend(TENANT, "ann", n=1)
    system.clock.now += 60
    assert shown(system) == []
    item = FeedbackItem(decision.decision_id, "p", "impression", system.clock.now)
    assert system.recommending.feedback(TENANT, [item])[0]["result"] == "counted"


@pytest.mark.slow
def test_spending_follows_the_day(system: FakeSystem) -> None:
    """Demand is twice the budget: what is spent at noon is what noon allows, and at night it is all gone."""
    day = system.clock.now - system.clock.now % 86400 + 86400
    system.clock.now = day
    catalogue(system, ad("p", "phone", bid_cpm=10.0, daily_budget=0.5), ad("w", "watch"))
    spent = {}
    for step in range(96):
        system.clock.now = day + step * 900
        decision = system.recommending.recommend(TENANT, f"u{step}", n=2)
        items = [FeedbackItem(decision.decision_id, one.ad_id, "impression", system.clock.now) for one in decision.ads]
        system.recommending.feedback(TENANT, items)
        spent[step] = system.stores.delivery.spent(TENANT, ["p"], system.clock.now)["p"]
    assert 0.20 <= spent[48] <= 0.31 and spent[95] == pytest.approx(0.5, abs=0.011)


@pytest.mark.slow
def test_an_answer_is_as_long_as_one_transaction_can_reserve(system: FakeSystem) -> None:
    terms = {"bid_cpm": 1.0, "daily_budget": 1.0, "frequency_cap": {"count": 3, "hours": 1}}
    catalogue(system, *(ad(f"a{n}", "phone", brand=f"b{n}", **terms) for n in range(60)))
    act(system, "ann", "view", "phone")
    known = system.recommending.recommend(TENANT, "ann", n=50)
    unknown = system.recommending.recommend(TENANT, "nobody", n=50)
    assert 45 <= len(known.ads) < 50 and len(unknown.ads) == 50
    assert system.stores.delivery.get_decision(TENANT, known.decision_id) == known


# Feedback ---------------------------------------------------------------------------------------------------------


def feedback(system: FakeSystem, decision: Decision, ad_id: str, kind: str, **change: Any) -> dict[str, Any]:
    item = FeedbackItem(decision.decision_id, ad_id, kind, system.clock.now)
    return system.recommending.feedback(change.pop("tenant", TENANT), [replace(item, **change)])[0]


def test_feedback_at_the_edges_has_its_answers(system: FakeSystem) -> None:
    catalogue(system, ad("p", "phone"), ad("w", "watch"))
    decision = system.recommending.recommend(TENANT, "ann", n=1)
    [name] = ids(decision)
    other = {"p": "w", "w": "p"}[name]
    assert "no such decision" in feedback(system, decision, name, "click", decision_id="unknown")["reason"]
    assert "no such decision" in feedback(system, decision, name, "click", tenant="other")["reason"]
    assert "did not show" in feedback(system, decision, other, "click")["reason"]
    assert "timestamp" in feedback(system, decision, name, "click", timestamp=system.clock.now - 900)["reason"]
    first = feedback(system, decision, name, "click")
    assert (first["result"], first["implied_impression"]) == ("counted", True)
    assert feedback(system, decision, name, "click")["result"] == "repeated"
    assert feedback(system, decision, name, "impression")["result"] == "repeated"
    assert system.stores.delivery.stats(TENANT)[name] == {
        "impressions": 1,
        "clicks": 1,
        "conversions": 0,
        "dismissals": 0,
    }
    system.clock.now += 8 * 86400
    assert "no such decision" in feedback(system, decision, name, "conversion")["reason"]


# Variants -----------------------------------------------------------------------------------------------------------


def test_the_copy_that_is_clicked_is_shown_more_and_its_chance_is_logged(system: FakeSystem) -> None:
    catalogue(system, ad("p", "phone"))
    stored = system.stores.catalogue.get_ad(TENANT, "p")
    assert stored is not None
    texts = ("a phone to like", "a phone to love", "a phone to hold")
    copies = [Copy(text, "en", "llm", provenance={"gate": gate_stamp(stored.ad)}) for text in texts]
    system.stores.copies.bank_put(TENANT, "p", ANYONE, "en", copies)
    chances: dict[str, list[float]] = {text: [] for text in texts}
    first = 0.0
    for number in range(60):
        decision = system.recommending.recommend(TENANT, f"u{number}", n=1)
        [slot] = decision.ads
        assert slot.variant == text_key(slot.copy) and 0 < slot.variant_propensity < 1
        chances[slot.copy].append(slot.variant_propensity)
        first = slot.variant_propensity if number == 0 else first
        feedback(system, decision, "p", "impression")
        if slot.copy == texts[1]:
            feedback(system, decision, "p", "click")
    assert len(chances[texts[1]]) > 30 and chances[texts[1]][-1] > 0.8
    assert first == pytest.approx(1 / 3, abs=0.02)


def test_a_predicted_winner_is_shown_more_from_the_first_day(system: FakeSystem) -> None:
    catalogue(system, ad("p", "phone"))
    stored = system.stores.catalogue.get_ad(TENANT, "p")
    assert stored is not None
    gate = {"gate": gate_stamp(stored.ad)}
    copies = [
        Copy(f"phone text {n}", "en", "llm", provenance=gate | {"click_score": float(n), "click_model": "m"})
        for n in range(2)
    ]
    system.stores.copies.bank_put(TENANT, "p", ANYONE, "en", copies)
    seen = Counter(system.recommending.recommend(TENANT, f"u{n}", n=1).ads[0].copy for n in range(30))
    assert seen["phone text 1"] > 20


def test_copy_that_was_checked_against_another_wording_waits(system: FakeSystem) -> None:
    catalogue(system, ad("p", "phone"))
    stored = system.stores.catalogue.get_ad(TENANT, "p")
    assert stored is not None
    free = Copy("phones made of dreams", "en", "llm", provenance={"gate": gate_stamp(stored.ad, "free")})
    quoted = Copy("see the phone", "en", "llm", provenance={"gate": gate_stamp(stored.ad, "quoted")})
    system.stores.copies.bank_put(TENANT, "p", ANYONE, "en", [free, quoted])
    assert {system.recommending.recommend(TENANT, f"u{n}", n=1).ads[0].copy for n in range(9)} == {quoted.text}


# Reasons ------------------------------------------------------------------------------------------------------------


def test_what_a_reason_names_lowers_the_score_when_it_is_taken_away(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(system, *(ad(f"{topic[0]}{n}", topic) for topic in ("phone", "watch", "shoe") for n in range(2)))
    act(system, "ann", "view", "phone")
    act(system, "ann", "view", "watch")
    act(system, "ann", "view", "watch two")
    seen: list[Named] = []

    def noted(*given: Any, **named: Any) -> list[Named]:
        seen[:] = reasons(*given, **named)
        return list(seen)

    monkeypatch.setattr("shared.recommending.reasons", noted)
    answer = system.recommending.recommend(TENANT, "ann", n=6, context=Context(domain="ecommerce"))
    named = {slot.ad_id: one for slot, one in zip(answer.ads, list(seen), strict=True)}
    for ad_id, one in named.items():
        assert one.reason.code == "general" or one.effect >= LEAST, (ad_id, one)
    profile, _ = system.profiling.profile(TENANT, "ann")
    interest = {one.id for one in profile.interests}
    for ad_id in ("p0", "w0"):
        code, target = named[ad_id].reason.code, named[ad_id].reason.interest_id
        assert code.startswith("interest_") and target in interest
        before = {slot.ad_id: slot.score for slot in answer.ads}[ad_id]
        system.profiling.edit_interests(TENANT, "ann", disable=[target or ""], enable=[])
        after = system.recommending.recommend(TENANT, "ann", n=6, context=Context(domain="ecommerce"))
        assert {slot.ad_id: slot.score for slot in after.ads}[ad_id] < before
        system.profiling.edit_interests(TENANT, "ann", disable=[], enable=[target or ""])
    assert named["s0"].reason.code == "context"


def test_reasons_come_in_the_ads_own_language(system: FakeSystem) -> None:
    catalogue(system, ad("zh", "phone", language="zh"), ad("en", "phone"))
    act(system, "ann", "view", "phone")
    texts = {one.ad_id: one.reasons[0].text for one in system.recommending.recommend(TENANT, "ann", n=2).ads}
    assert texts["zh"].startswith("因为您") and texts["en"].startswith("Because you")


# Exploration ----------------------------------------------------------------------------------------------------------


def test_each_decision_explores_by_itself_and_can_be_drawn_again(stores: Stores) -> None:
    """The draw depends on the decision's id alone: a frozen random state (a restored snapshot) repeats nothing."""
    system = FakeSystem(stores, exploring=Exploring(0.5, 0.0))
    catalogue(system, *(ad(f"a{n}", "phone", brand=f"b{n}") for n in range(12)))
    answers = set()
    for _ in range(20):
        np.random.seed(0)
        answers.add(tuple(ids(system.recommending.recommend(TENANT, "ann", n=3))))
    assert len(answers) > 3
