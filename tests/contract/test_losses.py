"""What a lost auction gives back: budget and cap at once, once, and nothing that was shown. On fake and emulator."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain import FrequencyCap
from shared.stores import Stores
from shared.stores.delivery import DECISION_DAYS, Act, Delivery, Recorded, Terms
from shared.stores.spend import units
from tests.conftest import TENANT
from tests.contract.test_delivery import LATER, NOW, decide, kept, put, spend_row
from tests.contract.test_delivery_races import CENT, workers

pytestmark = pytest.mark.slow

LAST = Terms(CENT, CENT, FrequencyCap(1, 24.0))  # one impression, once a day


def test_a_loss_frees_budget_and_cap_at_once_and_only_once(stores: Stores) -> None:
    lost = kept(stores, {"a": LAST})
    assert put(stores, decide("a"), {"a": LAST}) == {"a"}
    assert stores.delivery.lose(TENANT, lost.decision_id, "a", NOW + 1) == "given back"
    assert spend_row(stores, "a")["committed"] == 0
    assert stores.delivery.spent(TENANT, ["a"], NOW + 1) == {"a": 0}
    assert stores.delivery.exposures(TENANT, ["u1"], NOW + 1) == {}
    other = kept(stores, {"a": LAST})
    for _ in range(3):  # what is free now is the other's: a repeat must not take it away
        assert stores.delivery.lose(TENANT, lost.decision_id, "a", NOW + 2) == "repeated"
    assert spend_row(stores, "a")["committed"] == units(CENT)
    assert put(stores, decide("a"), {"a": LAST}) == {"a"}
    assert stores.delivery.record(TENANT, other, "a", "impression", NOW + 3) == Recorded(True, charged=True)


def test_a_loss_after_the_impression_changes_nothing(stores: Stores) -> None:
    shown = kept(stores, {"a": LAST})
    assert stores.delivery.record(TENANT, shown, "a", "impression", NOW + 1) == Recorded(True, charged=True)
    assert stores.delivery.lose(TENANT, shown.decision_id, "a", NOW + 2) == "shown"
    assert spend_row(stores, "a")["charged"] == units(CENT)
    assert stores.delivery.impressions(TENANT, "u1") == {"a": [NOW + 1]}


def test_an_impression_after_the_loss_is_charged_to_what_is_left_and_to_nobody_elses(stores: Stores) -> None:
    terms = {"a": Terms(CENT, 2 * CENT)}
    first, second = kept(stores, terms), kept(stores, terms)
    assert stores.delivery.lose(TENANT, first.decision_id, "a", NOW + 1) == "given back"
    assert stores.delivery.record(TENANT, first, "a", "impression", NOW + 2) == Recorded(True, charged=True)
    assert spend_row(stores, "a")["committed"] == 2 * units(CENT)  # the second's is untouched
    third = decide("a")
    assert put(stores, third, terms) == {"a"}
    assert stores.delivery.lose(TENANT, second.decision_id, "a", NOW + 3) == "given back"
    assert put(stores, third, terms) == frozenset()
    # The money is the third's now: the impression counts, and is not charged.
    assert stores.delivery.record(TENANT, second, "a", "impression", NOW + 4) == Recorded(True, charged=False)
    assert stores.delivery.stats(TENANT)["a"]["impressions"] == 2
    assert stores.delivery.record(TENANT, third, "a", "impression", NOW + 5) == Recorded(True, charged=True)


def test_what_has_lapsed_or_was_never_reserved_is_not_given_back(stores: Stores) -> None:
    late = kept(stores, {"a": Terms(CENT, CENT)})
    kept(stores, {"a": Terms(CENT, CENT)}, at=LATER)  # makes room for itself
    before = spend_row(stores, "a")
    assert stores.delivery.lose(TENANT, late.decision_id, "a", LATER + 1) == "nothing"
    assert spend_row(stores, "a") == before
    free = kept(stores, {"b": Terms(CENT)})
    assert stores.delivery.lose(TENANT, free.decision_id, "b", NOW + 1) == "nothing"
    for tenant, decision_id, ad_id, at in (
        ("other", free.decision_id, "b", NOW),
        (TENANT, free.decision_id, "a", NOW),
        (TENANT, "no decision", "b", NOW),
        (TENANT, free.decision_id, "b", NOW + DECISION_DAYS * 86400),
    ):
        assert stores.delivery.lose(tenant, decision_id, ad_id, at) == "unknown"


def test_losses_and_impressions_told_at_once_leave_every_cent_accounted_for(emulated: Stores) -> None:
    """Of each decision eight workers tell, all at the same moment, that it has lost and that it was shown."""
    decisions = [kept(emulated, {"a": Terms(CENT, 6 * CENT, FrequencyCap(9, 1.0))}) for _ in range(6)]

    def work(delivery: Delivery, number: int) -> list[Any]:
        told: list[Any] = []
        for decision in decisions:
            if number % 2:
                told.append(delivery.lose(TENANT, decision.decision_id, "a", NOW + 1))
            else:
                act = Act(decision.decision_id, "a", "impression", NOW + 1)
                told += delivery.record_many(TENANT, [act], NOW + 1)
        return told

    answers = workers(emulated, 8, work)
    counted = [one for answer in answers[0::2] for one in answer if one.counted]
    assert len(counted) == 6 and all(one.charged for one in counted)
    given_back = sum(one == "given back" for answer in answers[1::2] for one in answer)
    row = spend_row(emulated, "a")
    assert (row["committed"], row["charged"]) == (6 * units(CENT), 6 * units(CENT))
    assert given_back <= 6
    assert len(emulated.delivery.impressions(TENANT, "u1")["a"]) == 6
    assert len(emulated.delivery.exposures(TENANT, ["u1"], NOW + 1)["a"]) == 6


def test_a_loss_told_by_many_at_once_is_given_back_once(emulated: Stores) -> None:
    """Others decide about the same money meanwhile: never beyond the budget, and none of it is left over."""
    terms = {"a": Terms(CENT, 4 * CENT)}
    lost = [kept(emulated, terms) for _ in range(4)]

    def work(delivery: Delivery, number: int) -> list[Any]:
        if number % 2:
            return [delivery.lose(TENANT, one.decision_id, "a", NOW + 1) for one in lost]
        had = []
        for _ in range(8):
            made = decide("a")
            if not delivery.put_decision(TENANT, made, terms, (), made.at):
                had.append(made)
        return had

    answers = workers(emulated, 8, work)
    assert sum(one == "given back" for answer in answers[1::2] for one in answer) == 4
    had = sum(len(answer) for answer in answers[0::2])
    assert had <= 4
    assert spend_row(emulated, "a")["committed"] == had * units(CENT)


def test_of_several_bids_with_one_decision_the_last_loss_gives_back(stores: Stores) -> None:
    made = kept(stores, {"a": LAST})
    for number, said in ((2, "kept"), (2, "repeated"), (0, "kept")):
        assert stores.delivery.lose(TENANT, made.decision_id, "a", NOW + 1, place=(number, 3)) == said
    assert spend_row(stores, "a")["committed"] == units(CENT) and put(stores, decide("a"), {"a": LAST}) == {"a"}
    assert stores.delivery.lose(TENANT, made.decision_id, "a", NOW + 1, place=(1, 3)) == "given back"
    assert spend_row(stores, "a")["committed"] == 0
    kept(stores, {"a": LAST})
    for number in range(3):
        assert stores.delivery.lose(TENANT, made.decision_id, "a", NOW + 2, place=(number, 3)) == "repeated"
    assert spend_row(stores, "a")["committed"] == units(CENT)
    shown = kept(stores, {"b": LAST})
    assert stores.delivery.lose(TENANT, shown.decision_id, "b", NOW + 1, place=(0, 2)) == "kept"
    assert stores.delivery.record(TENANT, shown, "b", "impression", NOW + 1) == Recorded(True, charged=True)
    assert stores.delivery.lose(TENANT, shown.decision_id, "b", NOW + 1, place=(1, 2)) == "shown"
    assert stores.delivery.lose(TENANT, "no decision", "b", NOW + 1, place=(1, 2)) == "unknown"


def test_losses_of_several_bids_at_once_give_back_once(emulated: Stores) -> None:
    made = [kept(emulated, {"a": Terms(CENT, 8 * CENT)}) for _ in range(8)]

    def work(delivery: Delivery, number: int) -> list[Any]:
        return [delivery.lose(TENANT, one.decision_id, "a", NOW + 1, place=(number % 4, 4)) for one in made]

    told = [one for answer in workers(emulated, 8, work) for one in answer]
    assert told.count("given back") == 8 and told.count("kept") == 3 * 8 and told.count("repeated") == 4 * 8
    assert spend_row(emulated, "a")["committed"] == 0
