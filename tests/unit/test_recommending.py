"""Choosing ads: filters, caps, budgets, diversity, reasons, consent."""

from __future__ import annotations

from typing import Any

import pytest

from shared import recommending
from shared.domain import Consent, Copy, Decision
from shared.eligibility import Context
from shared.errors import NotFound
from shared.feedback import FeedbackItem
from shared.stores import Stores
from shared.stores.copies import gate_stamp
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem


def ad(ad_id: str, topic: str, **fields: Any) -> dict[str, Any]:
    row = {
        "ad_id": ad_id,
        "title": f"{topic} offer number {ad_id} for you",
        "landing_url": f"https://example.com/{ad_id}",
        "language": "en",
        "domain": "ecommerce",
        "bid_cpm": 5.0,
    }
    return row | fields


def catalogue(system: FakeSystem, *ads: dict[str, Any]) -> None:
    outcomes = system.classifying.put_ads(TENANT, ads)
    assert all(getattr(outcome, "active", False) for outcome in outcomes), outcomes
    assert system.classifying.publish(TENANT)
    system.clock.now += 10


def act(system: FakeSystem, user: str, event: str, text: str, **fields: Any) -> None:
    row = {"user_id": user, "event": event, "timestamp": system.clock.now - 60, "text": text, **fields}
    report = system.profiling.post_events(TENANT, [row])
    assert report.accepted == 1, report


def ids(decision: Decision) -> list[str]:
    return [shown.ad_id for shown in decision.ads]


@pytest.fixture
def system(stores: Stores) -> FakeSystem:
    return FakeSystem(stores)


def test_without_a_catalogue_the_answer_says_so(system: FakeSystem) -> None:
    with pytest.raises(NotFound, match="no catalogue"):
        system.recommending.recommend(TENANT, "ann")


def test_what_a_person_looked_at_comes_first_with_its_reason(system: FakeSystem) -> None:
    catalogue(system, ad("w1", "watch"), ad("p1", "phone"), ad("s1", "shoe"), ad("p2", "phone"))
    act(system, "ann", "view", "a phone with a large screen")
    answer = system.recommending.recommend(TENANT, "ann", n=2)
    assert set(ids(answer)) == {"p1", "p2"}
    assert answer.personalised
    assert answer.ads[0].reasons[0].code.startswith("interest_")
    assert answer.ads[0].reasons[0].interest_id


def test_an_event_posted_is_in_the_next_answer(system: FakeSystem) -> None:
    catalogue(system, ad("w1", "watch"), ad("p1", "phone"))
    act(system, "ann", "view", "phone one")
    assert ids(system.recommending.recommend(TENANT, "ann", n=1)) == ["p1"]
    for text in ("watch a", "watch b", "watch c"):
        act(system, "ann", "purchase", text)
    assert ids(system.recommending.recommend(TENANT, "ann", n=1)) == ["w1"]


@pytest.mark.slow
def test_not_personalised_means_the_same_for_everybody(system: FakeSystem) -> None:
    catalogue(system, ad("w1", "watch"), ad("p1", "phone"), ad("s1", "shoe"))
    act(system, "ann", "purchase", "shoe of leather")
    plain = system.recommending.recommend(TENANT, "ann", n=3, personalised=False)
    stranger = system.recommending.recommend(TENANT, "nobody", n=3)
    assert ids(plain) == ids(stranger)
    assert not plain.personalised
    assert {reason.code for shown in plain.ads for reason in shown.reasons} == {"general"}


def test_a_refusal_wins_over_the_tenants_basis(system: FakeSystem) -> None:
    catalogue(system, ad("w1", "watch"), ad("p1", "phone"))
    act(system, "ann", "purchase", "phone")
    system.profiling.set_consent(TENANT, "ann", Consent(False, False, "banner", system.clock.now))
    answer = system.recommending.recommend(TENANT, "ann", n=2)
    assert not answer.personalised
    assert answer.uid is None
    report = system.profiling.post_events(
        TENANT, [{"user_id": "ann", "event": "view", "timestamp": system.clock.now, "text": "phone"}]
    )
    assert (report.accepted, report.rejected[0].field) == (0, "user_id")


def test_where_consent_is_required_nothing_is_kept_without_it(stores: Stores) -> None:
    system = FakeSystem(stores, consent_basis="required")
    row = {"user_id": "ann", "event": "view", "timestamp": system.clock.now, "text": "phone"}
    report = system.profiling.post_events(TENANT, [row])
    assert report.accepted == 0
    assert "not consented" in report.rejected[0].reason
    assert stores.people.uid(TENANT, "ann") is None
    system.profiling.set_consent(TENANT, "ann", Consent(True, False, "banner", system.clock.now))
    assert system.profiling.post_events(TENANT, [row]).accepted == 1


def test_dates_language_and_targeting_exclude(system: FakeSystem) -> None:
    now = system.clock.now
    catalogue(
        system,
        ad("over", "phone", end=now - 5),
        ad("later", "phone", start=now + 9999),
        ad("zh", "phone", language="zh"),
        ad("app", "phone", targeting={"platforms": ["app"]}),
        ad("owners", "phone", targeting={"interests": ["adproduct:1"]}),
        ad("plain", "phone"),
    )
    context = Context(language="en", platform="web")
    assert ids(system.recommending.recommend(TENANT, "ann", n=9, context=context)) == ["plain"]
    context = Context(language="en", platform="app")
    assert set(ids(system.recommending.recommend(TENANT, "ann", n=9, context=context))) == {"plain", "app"}


def feedback(system: FakeSystem, answer: Decision, ad_id: str, kind: str) -> str:
    item = FeedbackItem(answer.decision_id, ad_id, kind, system.clock.now)
    return str(system.recommending.feedback(TENANT, [item])[0]["result"])


def test_a_frequency_cap_holds_for_the_person_and_its_hours(system: FakeSystem) -> None:
    catalogue(system, ad("c", "phone", frequency_cap={"count": 1, "hours": 1}), ad("d", "watch"))
    act(system, "ann", "view", "phone")
    answer = system.recommending.recommend(TENANT, "ann", n=1)
    assert ids(answer) == ["c"]
    assert feedback(system, answer, "c", "impression") == "counted"
    assert feedback(system, answer, "c", "impression") == "repeated"
    assert ids(system.recommending.recommend(TENANT, "ann", n=5)) == ["d"]
    system.clock.now += 3601
    assert "c" in ids(system.recommending.recommend(TENANT, "ann", n=5))


def test_a_daily_budget_is_reserved_by_decisions_and_comes_back_unused(system: FakeSystem) -> None:
    catalogue(system, ad("b", "phone", bid_cpm=10.0, daily_budget=0.025), ad("d", "watch"))
    for _ in range(2):
        assert "b" in ids(system.recommending.recommend(TENANT, "x", n=2))
    assert ids(system.recommending.recommend(TENANT, "x", n=2)) == ["d"]
    system.clock.now += 3600
    assert "b" in ids(system.recommending.recommend(TENANT, "x", n=2))


def test_spent_budgets_do_not_shorten_the_answer(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "CANDIDATES", 2)
    spent = [ad(f"b{place}", "phone", bid_cpm=10.0, daily_budget=0.005) for place in range(9)]
    catalogue(system, *spent, ad("d", "watch"), ad("e", "shoe"))
    act(system, "ann", "purchase", "phone")
    assert set(ids(system.recommending.recommend(TENANT, "ann", n=2))) == {"d", "e"}


def test_a_click_teaches_and_a_dismissal_unteaches(system: FakeSystem) -> None:
    catalogue(system, ad("p1", "phone"), ad("w1", "watch"))
    answer = system.recommending.recommend(TENANT, "ann", n=2)
    uid = system.stores.people.uid(TENANT, "ann")
    assert uid is None  # nobody is made by merely asking
    act(system, "ann", "view", "shoe")
    answer = system.recommending.recommend(TENANT, "ann", n=2)
    assert feedback(system, answer, "w1", "click") == "counted"
    assert ids(system.recommending.recommend(TENANT, "ann", n=1)) == ["w1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"decision_id": "none"}, "decision_id"), ({"ad_id": "other"}, "ad_id"), ({"timestamp": 0.0}, "timestamp")],
)
def test_feedback_that_cannot_be_true_is_refused(system: FakeSystem, change: dict[str, Any], field: str) -> None:
    catalogue(system, ad("p1", "phone"))
    answer = system.recommending.recommend(TENANT, "ann", n=1)
    item: dict[str, Any] = {"decision_id": answer.decision_id, "ad_id": "p1", "type": "click"}
    item |= {"timestamp": system.clock.now} | change
    result = system.recommending.feedback(TENANT, [FeedbackItem(**item)])[0]
    assert result["result"] == "refused"
    assert result["reason"].startswith(field)


def test_campaigns_are_rationed_but_never_shorten_the_answer(system: FakeSystem) -> None:
    many = [ad(f"p{i}", "phone", campaign_id="one") for i in range(5)]
    catalogue(system, *many, ad("q", "phone", campaign_id="two"))
    act(system, "ann", "view", "phone")
    answer = ids(system.recommending.recommend(TENANT, "ann", n=3))
    assert "q" in answer
    assert len(ids(system.recommending.recommend(TENANT, "ann", n=6))) == 6


def test_banked_copy_is_shown_and_named(system: FakeSystem) -> None:
    catalogue(system, ad("p1", "phone"))
    stored = system.stores.catalogue.get_ad(TENANT, "p1")
    assert stored
    copy = Copy("A phone that fits your day", "en", "llm", provenance={"gate": gate_stamp(stored.ad)})
    system.stores.copies.bank_put(TENANT, "p1", "-", "en", [copy])
    shown = system.recommending.recommend(TENANT, "ann", n=1).ads[0]
    assert (shown.copy, shown.copy_served_by) == ("A phone that fits your day", "bank")


def health(system: FakeSystem) -> None:
    catalogue(
        system,
        ad("check", "pressure", domain="health", title="pressure check-up once a year"),
        ad("p1", "phone"),
        ad("w1", "watch"),
    )


def test_health_content_needs_sensitive_consent_and_never_names_itself(system: FakeSystem) -> None:
    health(system)
    for user, sensitive in (("yes", True), ("no", False)):
        system.profiling.set_consent(TENANT, user, Consent(True, sensitive, "form", system.clock.now))
        act(system, user, "consult", "pressure is high in the morning", domain="health")
    yes = system.recommending.recommend(TENANT, "yes", n=3)
    assert ids(yes)[0] == "check"
    assert yes.ads[0].reasons[0].code == "consented_content"
    assert yes.ads[0].reasons[0].interest_id is None
    no = system.recommending.recommend(TENANT, "no", n=3)
    assert "check" not in ids(no)
    assert not no.personalised
    assert system.profiling.profile(TENANT, "no")[0].interests == ()
    profile = system.profiling.profile(TENANT, "yes")[0]
    assert profile.interests[0].sensitive
    assert profile.segments == ()


def test_withdrawing_sensitive_consent_takes_the_interest_away(system: FakeSystem) -> None:
    health(system)
    system.profiling.set_consent(TENANT, "yes", Consent(True, True, "form", system.clock.now))
    act(system, "yes", "consult", "pressure is high", domain="health")
    assert system.profiling.profile(TENANT, "yes")[0].interests
    system.profiling.set_consent(TENANT, "yes", Consent(True, False, "form", system.clock.now))
    assert system.profiling.profile(TENANT, "yes")[0].interests == ()
    assert "check" not in ids(system.recommending.recommend(TENANT, "yes", n=3))


def test_religion_never_becomes_an_interest(system: FakeSystem) -> None:
    system.profiling.set_consent(TENANT, "ann", Consent(True, True, "form", system.clock.now))
    act(system, "ann", "like", "prayer at dawn", domain="social")
    assert system.profiling.profile(TENANT, "ann")[0].interests == ()


def test_a_disabled_interest_stops_counting_at_once(system: FakeSystem) -> None:
    catalogue(system, ad("p1", "phone"), ad("w1", "watch"), ad("s1", "shoe"))
    act(system, "ann", "purchase", "watch of steel")
    interest = system.profiling.profile(TENANT, "ann")[0].interests[0]
    system.profiling.edit_interests(TENANT, "ann", disable=[interest.id], enable=[])
    assert not system.recommending.recommend(TENANT, "ann", n=3).personalised
    system.profiling.edit_interests(TENANT, "ann", disable=[], enable=[interest.id])
    assert ids(system.recommending.recommend(TENANT, "ann", n=1)) == ["w1"]


def test_segments_begin_at_the_k_floor(system: FakeSystem) -> None:
    act(system, "ann", "purchase", "watch of steel")
    assert system.profiling.profile(TENANT, "ann")[0].segments == ()
    act(system, "bob", "purchase", "watch of gold")
    assert system.profiling.profile(TENANT, "bob")[0].segments == ("adproduct:1067",)
    assert system.profiling.profile(TENANT, "ann")[0].segments == ("adproduct:1067",)


def test_a_course_taken_is_followed_by_its_next_level_and_not_offered_again(system: FakeSystem) -> None:
    def course(level: int, **fields: Any) -> dict[str, Any]:
        facts = {"series": "Python", "level": level}
        return ad(f"c{level}", "course", domain="education", attributes=facts, **fields)

    catalogue(system, course(1), course(2), course(3), ad("other", "course", domain="education"), ad("p", "phone"))
    act(system, "ann", "view", "watch")
    now = system.clock.now
    rows = [
        {"user_id": "ann", "event": kind, "timestamp": now - 500 + n, "item_id": "c1", "domain": "education"}
        for n, kind in enumerate(("enrol", "complete"))
    ]
    assert system.profiling.post_events(TENANT, rows).accepted == 2
    answer = system.recommending.recommend(TENANT, "ann", n=5)
    assert ids(answer)[0] == "c2"
    assert answer.ads[0].reasons[0].code == "next_step"
    assert "c1" not in ids(answer)
    assert "c1" in ids(system.recommending.recommend(TENANT, "bob", n=5))


def test_a_refusal_takes_the_inferred_away_and_a_new_consent_brings_it_back(system: FakeSystem) -> None:
    for user in ("ann", "bob"):
        act(system, user, "purchase", "watch of steel")
        system.profiling.profile(TENANT, user)
    watch = "adproduct:1067"
    assert system.stores.people.interest_holders(TENANT, watch) == 2
    system.profiling.set_consent(TENANT, "ann", Consent(False, False, "banner", system.clock.now))
    assert system.stores.people.interest_holders(TENANT, watch) == 1
    assert system.profiling.profile(TENANT, "bob")[0].segments == ()
    system.profiling.set_consent(TENANT, "ann", Consent(True, False, "banner", system.clock.now + 1))
    assert [i.id for i in system.profiling.profile(TENANT, "ann")[0].interests if i.term == "long"] == [watch]
    assert system.stores.people.interest_holders(TENANT, watch) == 2
