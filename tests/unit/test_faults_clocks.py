"""Functions whose clocks do not agree, and acts that come twice, late, early or in any order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.feedback import FeedbackItem
from shared.interests import Evidence, fold, interests_of, load_state
from shared.stores import Stores
from shared.stores.delivery import RESERVATION_SECONDS
from tests.conftest import TENANT
from tests.fakes.system import Clock, FakeSystem
from tests.unit.test_api import AD

pytestmark = pytest.mark.slow

SKEW = 600.0


def at(stores: Stores, seconds: float, base: float = Clock().now) -> FakeSystem:
    """A function whose clock is `seconds` fast."""
    return FakeSystem(stores, clock=Clock(base + seconds))


def with_ads(stores: Stores, *ads: dict[str, Any]) -> None:
    fake = at(stores, 0)
    fake.classifying.put_ads(
        TENANT, [AD | {"landing_url": f"https://example.com/{n}"} | ad for n, ad in enumerate(ads or ({},))]
    )
    fake.classifying.publish(TENANT)


def view(timestamp: float, **fields: Any) -> dict[str, Any]:
    return {"user_id": "ann", "event": "view", "timestamp": timestamp, "text": "a phone"} | fields


@pytest.mark.parametrize("skew", [SKEW, -SKEW])
def test_a_budget_holds_whoever_decides(stores: Stores, skew: float) -> None:
    with_ads(stores, {"bid_cpm": 10.0, "daily_budget": 0.025})
    shown = [
        len(one.recommending.recommend(TENANT, f"u{n}").ads)
        for n, one in enumerate(itertools.islice(itertools.cycle([at(stores, skew), at(stores, 0)]), 4))
    ]
    assert shown == [1, 1, 0, 0]
    # What nobody saw is free again when the last of the clocks says so, and not much later.
    later = RESERVATION_SECONDS + SKEW + 601
    assert len(at(stores, later).recommending.recommend(TENANT, "late").ads) == 1


@pytest.mark.parametrize("skew", [SKEW, -SKEW])
def test_a_cap_holds_and_nothing_is_charged_twice_under_other_clocks(stores: Stores, skew: float) -> None:
    with_ads(stores, {"bid_cpm": 10.0, "daily_budget": 1.0, "frequency_cap": {"count": 1, "hours": 1}})
    other, own = at(stores, skew), at(stores, 0)
    own.profiling.post_events(TENANT, [view(own.clock())])
    decision = other.recommending.recommend(TENANT, "ann")
    seen = FeedbackItem(decision.decision_id, "p1", "impression", max(own.clock(), other.clock()))
    answers = [one.recommending.feedback(TENANT, [seen])[0]["result"] for one in (other, own, other)]
    # Ten minutes of difference are no browser's lag: who cannot tell refuses it, and nothing is counted for it.
    assert answers == (["counted", "refused", "repeated"] if skew > 0 else ["refused", "counted", "refused"])
    assert stores.delivery.stats(TENANT)["p1"]["impressions"] == 1
    assert stores.delivery.spent(TENANT, ["p1"], own.clock()) == {"p1": pytest.approx(0.01)}
    assert not other.recommending.recommend(TENANT, "ann").ads
    assert not own.recommending.recommend(TENANT, "ann").ads


def test_an_impression_that_comes_late_leaves_no_row_for_ever(stores: Stores) -> None:
    """The row of a day's spending expires after three days, an impression may come after seven."""
    with_ads(stores, {"bid_cpm": 10.0, "daily_budget": 1.0})
    fake = at(stores, 0)
    decision = fake.recommending.recommend(TENANT, "ann")
    day = f"t/{TENANT}/spend"
    (row,) = stores.table.query(day)
    stores.table.client.delete_item(
        TableName=stores.table.name, Key={"pk": {"S": day}, "sk": {"S": row["sk"]}}
    )  # as DynamoDB does
    fake.clock.now += 5 * 86400
    seen = FeedbackItem(decision.decision_id, "p1", "impression", fake.clock())
    assert fake.recommending.feedback(TENANT, [seen])[0]["result"] == "counted"
    (row,) = stores.table.query(day)
    assert row["expires_at"] > fake.clock()


@pytest.mark.parametrize("early", [1.0, 301.0, SKEW])
def test_feedback_before_its_decision_is_refused_or_counted_once(stores: Stores, early: float) -> None:
    with_ads(stores)
    fake = at(stores, 0)
    decision = fake.recommending.recommend(TENANT, "ann")
    item = FeedbackItem(decision.decision_id, "p1", "click", fake.clock() - early)
    first, second = (fake.recommending.feedback(TENANT, [item])[0]["result"] for _ in range(2))
    counts = stores.delivery.stats(TENANT).get("p1", {"clicks": 0})
    assert (first, second, counts["clicks"]) == (
        ("counted", "repeated", 1) if early <= 300 else ("refused", "refused", 0)
    )


def test_an_event_of_the_future_is_refused_or_kept_without_growing(stores: Stores) -> None:
    fake = at(stores, 0)
    report = fake.profiling.post_events(
        TENANT, [view(fake.clock() + 86_399, event_id="soon"), view(fake.clock() + 86_401, event_id="later")]
    )
    assert report.accepted == 1
    assert [(one.index, one.field) for one in report.rejected] == [(1, "timestamp")]
    uid = stores.people.uid(TENANT, "ann") or ""
    fake.profiling.profile(TENANT, "ann")
    state, _ = load_state(stores.people.state(TENANT, uid))
    (evidence,) = state.values()
    now = fake.clock()
    weights = [evidence.at(now + step)[0] for step in (-1e9, -86_400, 0, 86_399, 172_800)]
    assert weights[:4] == [evidence.long] * 4  # never more than it was worth when it happened
    assert weights[4] < evidence.long


@pytest.mark.parametrize("steps", [(SKEW, -SKEW), (-SKEW, SKEW), (0.0, -80_000.0, 0.0)])
def test_a_profile_under_clocks_that_jump_stays_the_same(stores: Stores, steps: tuple[float, ...]) -> None:
    base = Clock().now
    for number, step in enumerate(steps):
        fake = at(stores, step)
        fake.profiling.post_events(TENANT, [view(base - 60, event_id=f"e{number}"), view(base - 60, event_id="same")])
        profile, _ = fake.profiling.profile(TENANT, "ann")
        assert profile.events == number + 2
        assert [(i.id, i.weight) for i in profile.interests if i.term == "long"] == [("adproduct:1118", 1.0)]


def test_a_profile_of_a_clock_far_ahead_is_read_off_anew(stores: Stores) -> None:
    """Else its session would last for as long as the clock was ahead."""
    ahead, own = at(stores, 30 * 86_400), at(stores, 0)
    own.profiling.post_events(TENANT, [view(own.clock())])
    assert ahead.profiling.profile(TENANT, "ann")[0].updated_at == ahead.clock()
    profile, _ = own.profiling.profile(TENANT, "ann")
    assert profile.updated_at == own.clock()
    assert {i.term for i in profile.interests} == {"long", "session"}


@pytest.mark.parametrize("skew", [SKEW, -SKEW])
def test_builders_of_other_clocks_publish_the_same(stores: Stores, skew: float) -> None:
    other, own = at(stores, skew), at(stores, 0)
    for number, one in enumerate((other, own, other, own)):
        one.classifying.put_ads(TENANT, [AD | {"ad_id": f"a{number}", "landing_url": f"https://example.com/{number}"}])
        published = one.classifying.publish(TENANT)
        assert published is not None
        pointer = stores.catalogue.pointer(TENANT)
        assert pointer is not None and pointer.version == published
    assert len(other.recommending.recommend(TENANT, "x").ads) == len(own.recommending.recommend(TENANT, "x").ads) == 4


# Any order, any repetition ------------------------------------------------------------------------------------------


EVENTS = [
    view(Clock().now - age, event=kind, text=text, event_id=f"e{number}")
    for number, (age, kind, text) in enumerate(
        [(9e5, "view", "a phone"), (5e5, "cart", "a watch"), (9e4, "purchase", "a phone"), (60, "view", "a shoe")]
    )
]
sendings = st.lists(st.lists(st.integers(0, len(EVENTS) - 1), min_size=1, max_size=4), min_size=1, max_size=6)
_tenants = itertools.count()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=sendings, reads=st.sets(st.integers(0, 5)))
def test_events_in_any_order_and_number_give_one_profile(
    stores: Stores, sent: Sequence[Sequence[int]], reads: set[int]
) -> None:
    """Requests overlap and repeat; profiles are folded between them; at last everything has come once."""
    tenant = f"any{next(_tenants)}"
    fake = at(stores, 0)
    accepted = 0
    whole = [*sent, range(len(EVENTS))]
    for number, request in enumerate(whole):
        accepted += fake.profiling.post_events(tenant, [EVENTS[place] for place in request]).accepted
        if number in reads:
            fake.profiling.profile(tenant, "ann")
    profile, _ = fake.profiling.profile(tenant, "ann")
    straight = f"{tenant}-straight"
    fake.profiling.post_events(straight, EVENTS)
    expected, _ = fake.profiling.profile(straight, "ann")
    assert accepted == profile.events == len(EVENTS)
    assert _told(profile) == _told(expected)


def _told(profile: Any) -> list[tuple[Any, ...]]:
    return sorted((i.term, i.id, round(i.weight, 3), tuple(sorted(i.evidence))) for i in profile.interests)


acts = st.lists(
    st.tuples(st.sampled_from(["impression", "click", "conversion", "dismiss"]), st.integers(0, 1)), max_size=6
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=acts)
def test_feedback_in_any_order_and_number_counts_each_act_once(stores: Stores, sent: Sequence[tuple[str, int]]) -> None:
    tenant = f"acts{next(_tenants)}"
    fakes = [at(stores, 0), at(stores, 60)]
    fakes[0].classifying.put_ads(tenant, [AD | {"bid_cpm": 10.0, "daily_budget": 1.0}])
    fakes[0].classifying.publish(tenant)
    fakes[0].profiling.post_events(tenant, [view(fakes[0].clock())])
    decision = fakes[0].recommending.recommend(tenant, "ann")
    for kind, who in sent:
        fakes[who].recommending.feedback(
            tenant, [FeedbackItem(decision.decision_id, "p1", kind, fakes[0].clock() + who)]
        )
    kinds = {kind for kind, _ in sent}
    names = {"impression": "impressions", "click": "clicks", "conversion": "conversions", "dismiss": "dismissals"}
    counted = stores.delivery.stats(tenant).get("p1", dict.fromkeys(names.values(), 0))
    kinds |= {"impression"} if kinds else set()  # whatever comes first implies it
    assert counted == {name: int(kind in kinds) for kind, name in names.items()}
    assert stores.delivery.spent(tenant, ["p1"], fakes[0].clock()) == {"p1": pytest.approx(0.01)}
    profile, _ = fakes[0].profiling.profile(tenant, "ann")
    assert profile.events == 1 + len(kinds - {"impression"})


def test_evidence_is_the_same_whoever_is_first() -> None:
    early = Evidence("i/a", "ecommerce", 1.0, 1.0, 1_790_000_000.0, ((1_790_000_000.0, "x"),))
    late = early._replace(last=1_790_086_400.0, events=((1_790_086_400.0, "y"),))
    assert early.merged(late) == late.merged(early)
    assert fold({}, [])[0] == {} and interests_of({}, {}, {}, now=0.0, sensitive_allowed=False) == ()
