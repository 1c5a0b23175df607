"""Delivery where other writers are in the way, at edges that need no emulator, and its ids and units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import Decision, FrequencyCap, RankedAd
from shared.errors import Conflict
from shared.stores import Stores, feedback
from shared.stores import delivery as delivery_module
from shared.stores.decisions import decision_key
from shared.stores.delivery import BUCKET_SECONDS, SHARDS, Act, Recorded, Terms, bucket_of, new_decision_id
from shared.stores.spend import units
from shared.stores.table import ConditionFailed, unmarshal
from tests.conftest import TENANT

pytestmark = pytest.mark.slow

NOW = 1_790_000_000.0
TERMS = {"a": Terms(0.01, 1.0, FrequencyCap(3, 1.0))}


def decision() -> Decision:
    return Decision(new_decision_id(NOW), "u1", NOW, (RankedAd("a", "Copy", 0.5, ()),), True, {})


@given(st.floats(0, 4e9))
def test_an_id_says_when_and_where(at: float) -> None:
    decision_id = new_decision_id(at)
    key = decision_key("t1", decision_id)
    assert key is not None
    bucket, shard = key[0].removeprefix("t/t1/d/")[:-1], key[0][-1]
    assert (bucket, key[1]) == (bucket_of(at), decision_id)
    assert shard in SHARDS
    assert int(bucket, 36) == at // BUCKET_SECONDS


def test_ids_fall_on_all_shards_and_none_twice() -> None:
    ids = {new_decision_id(NOW) for _ in range(2000)}
    assert len(ids) == 2000
    assert {one[5] for one in ids} == set(SHARDS)
    assert bucket_of(-5.0) == bucket_of(0.0) == "00000"


WRONG = (
    "",
    "none",
    "x" * 64,
    "../../etc",
    "1RXYZ" + "0" * 19,
    "1rxyzg" + "0" * 18,
    "１" * 24,
    "0" * 24 + "/log",
    "0" * 24 + "\n",
)


def test_what_is_no_id_finds_nothing(stores: Stores) -> None:
    assert stores.delivery.get_decisions(TENANT, WRONG, NOW) == {}
    for wrong in WRONG:
        assert stores.delivery.get_decision(TENANT, wrong) is None
        with pytest.raises(ValueError, match="no decision's id"):
            stores.delivery.put_decision(TENANT, replace(decision(), decision_id=wrong), {}, (), NOW)
    acts = [Act(wrong, "a", "click", NOW) for wrong in WRONG]
    assert stores.delivery.record_many(TENANT, acts, NOW) == [Recorded(False, known=False)] * len(acts)


@given(st.integers(-(10**30), 10**30))
def test_whole_numbers_of_any_size_come_back_whole(number: int) -> None:
    assert unmarshal({"N": str(number)}) == number


@given(st.decimals(0, 10**6, places=9))
def test_money_is_exact_to_a_billionth(amount: Any) -> None:
    assert units(float(amount)) == int(amount * 10**9)


def in_the_way(stores: Stores, monkeypatch: pytest.MonkeyPatch, times: int, failed: Sequence[int] = ()) -> list[int]:
    """Others are at the same rows at the first so many transactions. Returns what is counted of them."""
    made: list[int] = []
    real: Callable[..., None] = stores.table.transact

    def transact(actions: Sequence[dict[str, Any]]) -> None:
        made.append(len(actions))
        if len(made) <= times:
            raise ConditionFailed(failed)
        real(actions)

    monkeypatch.setattr(stores.table, "transact", transact)
    monkeypatch.setattr(delivery_module, "give_way", lambda _: None)
    monkeypatch.setattr(feedback, "give_way", lambda _: None)
    return made


@pytest.mark.parametrize("failed", [(), (2,), (3,), (2, 3)], ids=["conflict", "budget", "cap", "both"])
def test_a_decision_waits_for_others_at_the_same_rows(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, failed: tuple[int, ...]
) -> None:
    made = in_the_way(stores, monkeypatch, 3, failed)
    shown = decision()
    assert stores.delivery.put_decision(TENANT, shown, TERMS, ("u1",), NOW) == frozenset()
    assert made == [4] * 4  # the decision, its pointer, the budget, the cap
    assert stores.delivery.get_decision(TENANT, shown.decision_id) == shown
    assert stores.delivery.spent(TENANT, ["a"], NOW) == {"a": 0.01}


def test_who_waits_for_ever_is_told_to_come_back(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = decision()
    stores.delivery.put_decision(TENANT, shown, TERMS, ("u1",), NOW)
    in_the_way(stores, monkeypatch, 1000)
    with pytest.raises(Conflict):
        stores.delivery.put_decision(TENANT, decision(), TERMS, ("u1",), NOW)
    with pytest.raises(Conflict):
        stores.delivery.record(TENANT, shown, "a", "click", NOW)


def test_feedback_waits_for_others_at_the_same_rows(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = decision()
    stores.delivery.put_decision(TENANT, shown, TERMS, ("u1",), NOW)
    made = in_the_way(stores, monkeypatch, 2)
    act = Act(shown.decision_id, "a", "impression", NOW + 1)
    assert stores.delivery.record_many(TENANT, [act], NOW + 1) == [Recorded(True, charged=True)]
    assert len(made) == 3


def test_feedback_that_another_counts_meanwhile_is_a_repeat(stores: Stores) -> None:
    shown = decision()
    stores.delivery.put_decision(TENANT, shown, TERMS, ("u1",), NOW)
    read = stores.delivery.get_decisions(TENANT, [shown.decision_id], NOW)
    acts = [Act(shown.decision_id, "a", kind, NOW + 1) for kind in ("impression", "click")]
    assert stores.delivery.record_many(TENANT, acts[:1], NOW + 1) == [Recorded(True, charged=True)]
    # What was read before knows nothing of it: the write tells.
    assert stores.delivery.record_many(TENANT, acts, NOW + 1, decisions=read) == [Recorded(False), Recorded(True)]
    assert stores.delivery.stats(TENANT)["a"]["impressions"] == 1
    assert stores.delivery.impressions(TENANT, "u1") == {"a": [NOW + 1]}


def test_a_budget_in_use_that_is_cut_takes_no_more(stores: Stores) -> None:
    shown = decision()
    stores.delivery.put_decision(TENANT, shown, TERMS, ("u1",), NOW)
    cut = {"a": Terms(0.01, 0.005)}
    assert stores.delivery.put_decision(TENANT, decision(), cut, ("u1",), NOW) == {"a"}
    assert stores.delivery.record(TENANT, shown, "a", "impression", NOW) == Recorded(True, charged=True)
