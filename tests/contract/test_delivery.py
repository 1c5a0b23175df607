"""What delivery promises: budgets and caps to the last impression, each act counted once. On fake and emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from shared.domain import Decision, FrequencyCap, RankedAd, Reason
from shared.stores import Stores
from shared.stores.delivery import (
    BUCKET_SECONDS,
    DECISION_DAYS,
    RESERVATION_SECONDS,
    SHARDS,
    Act,
    Recorded,
    Terms,
    bucket_of,
    new_decision_id,
)
from shared.stores.people import person_key
from shared.stores.spend import units
from tests.conftest import TENANT

pytestmark = pytest.mark.slow

NOW = 1_790_000_000.0
LATER = NOW + RESERVATION_SECONDS + BUCKET_SECONDS
CENT = Terms(0.01, 1.0)


def decide(
    *ad_ids: str, uid: str | None = "u1", at: float = NOW, variant: str | None = None, log: bytes = b"\x1f packed"
) -> Decision:
    reasons = (Reason("general", "A general choice"),)
    ads = tuple(RankedAd(ad_id, "Copy", 0.5, reasons, propensity=0.25, variant=variant) for ad_id in ad_ids)
    return Decision(new_decision_id(at), uid, at, ads, True, {"ranker": "x"}, log=log)


def put(stores: Stores, decision: Decision, terms: dict[str, Terms], *uids: str) -> frozenset[str]:
    return stores.delivery.put_decision(TENANT, decision, terms, uids, decision.at)


def kept(stores: Stores, terms: dict[str, Terms], **fields: Any) -> Decision:
    """A decision for these ads, kept."""
    made = decide(*terms, **fields)
    assert put(stores, made, terms) == frozenset()
    return made


def spend_row(stores: Stores, ad_id: str) -> dict[str, Any]:
    """What is kept of its spending, by the invariant that everything rests on."""
    rows = [row for row in stores.table.query(f"t/{TENANT}/spend") if row["sk"].endswith(f"/{ad_id}")]
    row = rows[0] if rows else {}
    buckets = sum(value for name, value in row.items() if name[0] == "r")
    assert row.get("committed", 0) == row.get("charged", 0) + buckets
    return row


@contextmanager
def calls(stores: Stores) -> Iterator[list[str]]:
    """DynamoDB operations within the block."""
    made: list[str] = []

    def count(model: Any, **_: Any) -> None:
        made.append(model.name)

    events = stores.table.client.meta.events
    events.register("before-call.dynamodb", count, unique_id="counting")
    try:
        yield made
    finally:
        events.unregister("before-call.dynamodb", unique_id="counting")


# Decisions ----------------------------------------------------------------------------------------------------------


def test_a_decision_is_found_by_its_id_alone_and_only_by_its_tenant(stores: Stores) -> None:
    made = kept(stores, {"a": Terms(), "b": CENT}, variant="v1")
    assert stores.delivery.get_decision(TENANT, made.decision_id) == made
    assert stores.delivery.get_decision("other", made.decision_id) is None
    assert stores.delivery.get_decision(TENANT, made.decision_id, made.at + DECISION_DAYS * 86400 - 1) == made
    assert stores.delivery.get_decision(TENANT, made.decision_id, made.at + DECISION_DAYS * 86400) is None
    pointers = [row["sk"] for row in stores.table.query(person_key(TENANT, "u1"), prefix="d/")]
    assert pointers == [f"d/{made.decision_id}"]


def test_all_decisions_of_ten_minutes_are_listed_without_an_index(stores: Stores) -> None:
    bucket = bucket_of(NOW)
    inside = [kept(stores, {"a": Terms()}, at=NOW + 10 * number, log=b"%d" % number) for number in range(1, 13)]
    bare = kept(stores, {"a": Terms()}, log=b"")
    kept(stores, {"a": Terms()}, at=NOW + BUCKET_SECONDS)
    stores.delivery.record_many(TENANT, [Act(inside[3].decision_id, "a", "impression", NOW + 40)], NOW + 40)
    found = [one for shard in SHARDS for one in stores.delivery.decisions_of(TENANT, bucket, shard)]
    assert sorted(one[:3] for one in found) == sorted((one.decision_id, one.at, one.log) for one in [*inside, bare])
    assert [one[3] for one in found if one[3]] == [{"impression/a": NOW + 40}]
    assert len({one.decision_id[5] for one in inside}) > 1
    assert not any(one for shard in SHARDS for one in stores.delivery.decisions_of("other", bucket, shard))


# Budgets ------------------------------------------------------------------------------------------------------------


def test_budget_is_reserved_charged_once_and_released_by_time(stores: Stores) -> None:
    delivery = stores.delivery
    shown = kept(stores, {"capped": Terms(0.02, 1.0), "free": Terms(0.01)})
    assert delivery.spent(TENANT, ["capped", "free"], NOW) == {"capped": 0.02, "free": 0}
    assert delivery.spent(TENANT, ["capped"], LATER) == {"capped": 0}
    assert delivery.record(TENANT, shown, "capped", "impression", NOW + 5) == Recorded(True, charged=True)
    assert delivery.record(TENANT, shown, "capped", "impression", NOW + 6) == Recorded(False)
    assert delivery.record(TENANT, shown, "capped", "click", NOW + 7) == Recorded(True)
    assert delivery.record(TENANT, shown, "free", "impression", NOW + 7) == Recorded(True)
    assert delivery.spent(TENANT, ["capped"], NOW + 10) == {"capped": 0.02}
    assert delivery.spent(TENANT, ["capped"], LATER) == {"capped": 0.02}
    assert delivery.impressions(TENANT, "u1") == {"capped": [NOW + 5], "free": [NOW + 7]}
    assert delivery.stats(TENANT)["capped"] == {"impressions": 1, "clicks": 1, "conversions": 0, "dismissals": 0}


def test_a_budget_pays_for_exactly_as_many_as_it_has_room_for(stores: Stores) -> None:
    for cost, limit, places in ((0.1, 0.3, 3), (0.0025, 0.01, 4), (0.07, 0.2, 2), (1e-6, 3e-6, 3), (0.5, 0.0, 0)):
        terms = {f"a{cost}": Terms(cost, limit)}
        answers = [put(stores, decide(*terms), terms) for _ in range(places + 2)]
        assert answers == [frozenset()] * places + [frozenset(terms)] * 2
        assert spend_row(stores, *terms).get("committed", 0) == places * units(cost)


def test_what_cannot_be_had_whole_is_not_kept_at_all(stores: Stores) -> None:
    terms = {"rich": CENT, "poor": Terms(0.01, 0.01), "capped": Terms(cap=FrequencyCap(5, 1.0))}
    assert put(stores, decide(*terms), terms) == frozenset()
    refused = decide(*terms)
    assert put(stores, refused, terms) == {"poor"}
    assert stores.delivery.get_decision(TENANT, refused.decision_id) is None
    assert stores.delivery.spent(TENANT, ["rich", "poor"], NOW) == {"rich": 0.01, "poor": 0.01}
    assert len(stores.delivery.exposures(TENANT, ["u1"], NOW)["capped"]) == 1
    free = {"poor": Terms(0.0, 0.01)}  # costs nothing, so there is nothing to be short of
    assert put(stores, decide("poor"), free) == frozenset()


def test_what_is_reserved_too_long_is_free_for_others_and_each_charge_still_fits(stores: Stores) -> None:
    terms = {"a": Terms(0.01, 0.02)}
    late = [kept(stores, terms) for _ in range(2)]
    assert put(stores, decide("a", at=NOW + RESERVATION_SECONDS - 1), terms) == {"a"}
    third = kept(stores, terms, at=LATER)
    assert spend_row(stores, "a")["committed"] == units(0.01)  # the old bucket is off
    seen = [stores.delivery.record(TENANT, one, "a", "impression", LATER + 5) for one in late]
    # The first of the late ones finds room. The other is counted, and nobody pays for it.
    assert seen == [Recorded(True, charged=True), Recorded(True, charged=False)]
    assert stores.delivery.record(TENANT, third, "a", "impression", LATER + 6) == Recorded(True, charged=True)
    assert spend_row(stores, "a")["charged"] == units(0.02)
    assert stores.delivery.stats(TENANT)["a"]["impressions"] == 3
    assert stores.delivery.spent(TENANT, ["a"], LATER + 7) == {"a": 0.02}


def test_a_late_impression_makes_its_own_room(stores: Stores) -> None:
    terms = {"a": Terms(0.01, 0.01)}
    first = kept(stores, terms)
    kept(stores, terms, at=LATER)  # released the first, and is never seen
    at = LATER + RESERVATION_SECONDS + BUCKET_SECONDS
    (seen,) = stores.delivery.record_many(TENANT, [Act(first.decision_id, "a", "impression", at)], at)
    assert seen == Recorded(True, charged=True)
    assert spend_row(stores, "a")["committed"] == units(0.01)


def test_spending_is_the_days_in_which_it_was_decided(stores: Stores) -> None:
    midnight = NOW - NOW % 86400 + 86400
    terms = {"a": Terms(0.01, 0.01)}
    shown = kept(stores, terms, at=midnight - 10)
    kept(stores, terms, at=midnight + 10)
    assert stores.delivery.record(TENANT, shown, "a", "impression", midnight + 20).charged
    assert stores.delivery.spent(TENANT, ["a"], midnight - 1) == {"a": 0.01}
    assert stores.delivery.spent(TENANT, ["a"], midnight + 20) == {"a": 0.01}


def test_spending_is_read_from_memory_for_a_moment_but_own_writes_are_seen(stores: Stores) -> None:
    terms = {"a": CENT}
    kept(stores, terms)
    stores.delivery.spent(TENANT, ["a", "b"], NOW)
    with calls(stores) as made:
        assert stores.delivery.spent(TENANT, ["b", "a"], NOW + 1) == {"b": 0.0, "a": 0.01}
    assert made == []
    kept(stores, terms, at=NOW + 1)
    assert stores.delivery.spent(TENANT, ["a"], NOW + 1) == {"a": 0.02}
    with calls(stores) as made:
        stores.delivery.spent(TENANT, ["a"], NOW + 4)
    assert made == ["BatchGetItem"]


def test_a_row_of_spending_does_not_grow_with_the_day(emulated: Stores) -> None:
    terms = {"a": Terms(0.01, 1000.0)}
    for number in range(40):
        at = NOW + number * BUCKET_SECONDS
        emulated.delivery.spent(TENANT, ["a"], at)
        kept(emulated, terms, at=at)
    assert sum(name[0] == "r" for name in spend_row(emulated, "a")) < 12


# Frequency ----------------------------------------------------------------------------------------------------------


def test_a_cap_counts_what_was_shown_and_what_may_yet_be(stores: Stores) -> None:
    terms = {"a": Terms(cap=FrequencyCap(2, 1.0))}
    shown = kept(stores, terms)
    stores.delivery.record(TENANT, shown, "a", "impression", NOW + 5)
    kept(stores, terms, at=NOW + 10)
    assert put(stores, decide("a", at=NOW + 20), terms) == {"a"}
    assert stores.delivery.exposures(TENANT, ["u1"], NOW + 20) == {"a": [NOW + 5, NOW + 10]}
    assert stores.delivery.impressions(TENANT, "u1") == {"a": [NOW + 5]}
    # What was never seen is forgotten, what was seen leaves the window.
    kept(stores, terms, at=NOW + 11 + RESERVATION_SECONDS)
    assert put(stores, decide("a", at=NOW + 12 + RESERVATION_SECONDS), terms) == {"a"}
    kept(stores, terms, at=NOW + 3606)
    (row,) = stores.table.query(person_key(TENANT, "u1"), prefix="f/")
    assert sum(name.startswith("p/") for name in row) <= 2
    assert row["expires_at"] > NOW + 366 * 86400


def test_a_cap_holds_over_all_ids_of_a_person(stores: Stores) -> None:
    terms = {"a": Terms(cap=FrequencyCap(2, 1.0)), "b": Terms()}
    shown = decide("a", "b", uid="u2")
    assert put(stores, shown, terms, "u1", "u2") == frozenset()
    stores.delivery.record(TENANT, shown, "a", "impression", NOW + 1)
    assert put(stores, decide("a", "b", uid="u1"), terms, "u1", "u2") == frozenset()
    assert put(stores, decide("a", "b", uid="u2"), terms, "u1", "u2") == {"a"}
    assert put(stores, decide("a", "b", uid="u2"), terms, "u2") == frozenset()  # by itself it has one place left
    assert stores.delivery.impressions(TENANT, "u1") == {}
    assert stores.delivery.impressions(TENANT, "u1", "u2") == {"a": [NOW + 1]}


def test_somebody_unknown_has_no_caps(stores: Stores) -> None:
    terms = {"a": Terms(cap=FrequencyCap(1, 1.0))}
    for _ in range(3):
        kept(stores, terms, uid=None)


def test_a_decision_of_more_than_a_transaction_holds_loses_its_last_ads(emulated: Stores) -> None:
    terms = {f"a{number:02d}": Terms(0.01, 1.0, FrequencyCap(3, 1.0)) for number in range(50)}
    lost = put(emulated, decide(*terms), terms)
    assert lost == {"a48", "a49"}
    fewer = {ad_id: own for ad_id, own in terms.items() if ad_id not in lost}
    made = kept(emulated, fewer)
    acts = [Act(made.decision_id, ad_id, kind, NOW + 1) for kind in ("impression", "click") for ad_id in fewer]
    assert all(one.counted for one in emulated.delivery.record_many(TENANT, acts, NOW + 2))
    assert set(emulated.delivery.spent(TENANT, fewer, NOW + 3).values()) == {0.01}


# Feedback -----------------------------------------------------------------------------------------------------------


def test_five_impressions_of_one_answer_are_one_read_and_one_transaction(stores: Stores) -> None:
    made = kept(stores, {f"a{number}": CENT for number in range(5)}, variant="v")
    acts = [Act(made.decision_id, f"a{number}", "impression", NOW + 1) for number in range(5)]
    with calls(stores) as counted:
        found = stores.delivery.record_many(TENANT, acts, NOW + 2)
    assert found == [Recorded(True, charged=True)] * 5
    assert counted == ["BatchGetItem", "TransactWriteItems"]
    with calls(stores) as counted:
        assert stores.delivery.record_many(TENANT, acts, NOW + 2) == [Recorded(False)] * 5
    assert counted == ["BatchGetItem"]


def test_an_act_before_its_impression_implies_it(stores: Stores) -> None:
    kinds = ("click", "conversion", "dismiss")
    made = kept(stores, dict.fromkeys(kinds, CENT), variant="v")
    for kind in kinds:
        acts = [Act(made.decision_id, kind, one, NOW + 9) for one in (kind, kind, "impression")]
        found = [stores.delivery.record_many(TENANT, [act], NOW + 9)[0] for act in acts]
        assert found == [Recorded(True, charged=True, implied_impression=True), Recorded(False), Recorded(False)]
        stats = stores.delivery.stats(TENANT)[kind]
        assert (stats["impressions"], sum(stats.values())) == (1, 2)
    assert stores.delivery.impressions(TENANT, "u1") == {kind: [NOW + 9] for kind in kinds}
    variants = stores.delivery.variant_stats(TENANT, [(kind, "v") for kind in kinds], NOW + 9)
    assert list(variants.values()) == [(1.0, 1.0), (1.0, 0.0), (1.0, 0.0)]


def test_in_one_request_order_and_repeats_do_not_matter(stores: Stores) -> None:
    one, other = kept(stores, {"a": CENT, "b": CENT}), kept(stores, {"a": CENT}, uid=None)
    acts = [
        Act(one.decision_id, "a", "click", NOW + 3),
        Act(other.decision_id, "a", "click", NOW + 3),
        Act(one.decision_id, "a", "impression", NOW + 2),
        Act(one.decision_id, "a", "click", NOW + 4),
        Act(one.decision_id, "b", "conversion", NOW + 4),
        Act(one.decision_id, "b", "dismiss", NOW + 5),
        Act(one.decision_id, "z", "click", NOW + 5),
        Act(new_decision_id(NOW), "a", "click", NOW + 5),
    ]
    implied = Recorded(True, charged=True, implied_impression=True)
    unknown = Recorded(False, known=False)
    told = [Recorded(True), implied, Recorded(True, charged=True), Recorded(False), implied, Recorded(True)]
    assert stores.delivery.record_many(TENANT, acts, NOW + 6) == [*told, unknown, unknown]
    assert stores.delivery.impressions(TENANT, "u1") == {"a": [NOW + 2], "b": [NOW + 4]}
    stats = stores.delivery.stats(TENANT)
    assert (stats["a"]["impressions"], stats["a"]["clicks"]) == (2, 2)
    assert stats["b"] == {"impressions": 1, "clicks": 0, "conversions": 1, "dismissals": 1}


def test_another_tenants_or_an_expired_decision_is_unknown_and_counts_nothing(stores: Stores) -> None:
    made = kept(stores, {"a": CENT})
    act = Act(made.decision_id, "a", "click", NOW + 1)
    assert stores.delivery.record_many("other", [act], NOW + 1) == [Recorded(False, known=False)]
    expired = NOW + DECISION_DAYS * 86400
    assert stores.delivery.record_many(TENANT, [act], expired) == [Recorded(False, known=False)]
    read = stores.delivery.get_decisions(TENANT, [made.decision_id], NOW + 1)
    key = {"pk": {"S": f"t/{TENANT}/d/{made.decision_id[:6]}"}, "sk": {"S": made.decision_id}}
    stores.table.client.delete_item(TableName=stores.table.name, Key=key)  # between the read and the write
    assert stores.delivery.record_many(TENANT, [act], NOW + 1, decisions=read) == [Recorded(False, known=False)]
    assert stores.delivery.stats(TENANT) == stores.delivery.stats("other") == {}


def test_for_who_has_refused_since_it_counts_for_nobody(stores: Stores) -> None:
    made = kept(stores, {"a": CENT})
    act = Act(made.decision_id, "a", "impression", NOW + 1)
    assert stores.delivery.record_many(TENANT, [act], NOW + 1, nobody={"u1"}) == [Recorded(True, charged=True)]
    assert stores.delivery.impressions(TENANT, "u1") == {}
    assert stores.delivery.stats(TENANT)["a"]["impressions"] == 1
    other = kept(stores, {"b": Terms()})
    assert stores.delivery.record(TENANT, replace(other, uid=None), "b", "impression", NOW + 1).counted
    assert stores.delivery.impressions(TENANT, "u1") == {}


def test_counts_of_variants_fade_by_the_week_of_their_decision(stores: Stores) -> None:
    week = 7 * 86400
    old, new = kept(stores, {"a": Terms()}, variant="v"), kept(stores, {"a": Terms()}, variant="v", at=NOW + 2 * week)
    for made in (old, new):
        acts = [Act(made.decision_id, "a", kind, made.at + 1) for kind in ("impression", "click")]
        stores.delivery.record_many(TENANT, acts, made.at + 1)
    asked = [("a", "v"), ("a", "w")]
    stats = stores.delivery.variant_stats
    assert stats(TENANT, asked, NOW) == {("a", "v"): (2.0, 2.0), ("a", "w"): (0.0, 0.0)}
    assert stats(TENANT, asked, NOW + 2 * week)["a", "v"] == (1.5, 1.5)
    assert stats(TENANT, asked, NOW + 2 * week, half_life_days=7)["a", "v"] == (1.25, 1.25)
    assert stats(TENANT, asked, NOW + 4 * week)["a", "v"] == (0.75, 0.75)
    assert stats(TENANT, asked, NOW + 60 * week)["a", "v"] == (0.0, 0.0)
    much_later = kept(stores, {"a": Terms()}, variant="v", at=NOW + 28 * week)
    stores.delivery.record(TENANT, much_later, "a", "impression", much_later.at)
    (row,) = stores.table.query(f"t/{TENANT}/variants")
    assert {name for name in row if name[0] in "ic"} == {f"i{int((NOW + n * week) // week)}" for n in (28,)} | {
        f"{kind}{int((NOW + 2 * week) // week)}" for kind in "ic"
    }
