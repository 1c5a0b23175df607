"""Delivery under requests at the same moment, on the emulator: never over budget or cap, nothing counted twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.domain import Decision, FrequencyCap, RankedAd
from shared.stores import Stores
from shared.stores.delivery import BUCKET_SECONDS, RESERVATION_SECONDS, Act, Delivery, Recorded, Terms, new_decision_id
from shared.stores.people import person_key
from shared.stores.spend import units
from tests.conftest import TENANT

pytestmark = pytest.mark.slow

NOW = 1_790_000_000.0
CENT = 0.01


def workers(stores: Stores, count: int, work: Callable[[Delivery, int], Any]) -> list[Any]:
    """What `work` gives to each of the workers, which know nothing of each other and begin at the same moment."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        delivery = Delivery(stores.table)
        barrier.wait()
        return work(delivery, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def decide(delivery: Delivery, terms: dict[str, Terms], *uids: str, uid: str | None = None, at: float = NOW) -> Any:
    """The decision's id; None where it could not be had."""
    ads = tuple(RankedAd(ad_id, "Copy", 0.5, ()) for ad_id in terms)
    made = Decision(new_decision_id(at), uid, at, ads, True, {})
    return made.decision_id if not delivery.put_decision(TENANT, made, terms, uids, at) else None


def spend_row(stores: Stores, ad_id: str) -> dict[str, int]:
    (row,) = [row for row in stores.table.query(f"t/{TENANT}/spend") if row["sk"].endswith(f"/{ad_id}")]
    buckets = sum(value for name, value in row.items() if name[0] == "r")
    assert row["committed"] == row.get("charged", 0) + buckets
    return row


@pytest.mark.parametrize(("threads", "each", "places"), [(8, 8, 20), pytest.param(16, 50, 100, marks=pytest.mark.slow)])
def test_a_budget_is_used_up_to_the_last_impression_and_not_beyond(
    emulated: Stores, threads: int, each: int, places: int
) -> None:
    """Half of the workers report what was seen at once, while the others decide."""
    terms = {"a": Terms(CENT, places * CENT), "b": Terms(CENT, 1e6)}

    def work(delivery: Delivery, number: int) -> tuple[int, int]:
        rng = random.Random(number)
        had = charged = 0
        for _ in range(each):
            decision_id = decide(delivery, terms)
            had += decision_id is not None
            if decision_id is not None and number % 2 and rng.random() < 0.8:
                act = Act(decision_id, "a", "impression", NOW + 1)
                charged += bool(delivery.record_many(TENANT, [act], NOW + 1)[0].charged)
        return had, charged

    answers = workers(emulated, threads, work)
    assert sum(had for had, _ in answers) == places
    row = spend_row(emulated, "a")
    assert row["committed"] == places * units(CENT)
    assert row.get("charged", 0) == sum(charged for _, charged in answers) * units(CENT)
    # What could not be had whole has reserved nothing of its other ad's budget.
    assert spend_row(emulated, "b")["committed"] == places * units(CENT)


def test_what_is_released_while_it_is_charged_is_spent_once(emulated: Stores) -> None:
    """Reservations run out; then some of their impressions come after all, while others decide about the same money."""
    places = 12
    terms = {"a": Terms(CENT, places * CENT)}
    delivery = Delivery(emulated.table)
    late = [decide(delivery, terms) for _ in range(places)]
    assert all(late)
    later = NOW + RESERVATION_SECONDS + BUCKET_SECONDS

    def work(delivery: Delivery, number: int) -> list[Any]:
        if number % 2:
            mine = late[number // 2 :: 4]
            acts = [Act(decision_id, "a", "impression", later) for decision_id in mine]
            return [recorded.charged for recorded in delivery.record_many(TENANT, acts, later)]
        return [decide(delivery, terms, at=later) for _ in range(places // 2)]

    answers = workers(emulated, 8, work)
    charged = sum(told is True for answer in answers[1::2] for told in answer)
    uncharged = sum(told is False for answer in answers[1::2] for told in answer)
    had = sum(decision_id is not None for answer in answers[0::2] for decision_id in answer)
    row = spend_row(emulated, "a")
    assert charged + uncharged == places
    assert charged + had == places  # not one over, and none to spare: there was demand for all
    assert (row["committed"], row["charged"]) == (places * units(CENT), charged * units(CENT))
    assert delivery.stats(TENANT)["a"]["impressions"] == places


def test_a_cap_holds_under_requests_of_all_ids_of_a_person(emulated: Stores) -> None:
    terms = {"a": Terms(cap=FrequencyCap(5, 24.0)), "b": Terms(cap=FrequencyCap(1000, 1.0))}
    uids = ("u1", "u2", "u3")

    def work(delivery: Delivery, number: int) -> list[Any]:
        uid = uids[number % 3]
        had = []
        for _ in range(4):
            decision_id = decide(delivery, terms, *uids, uid=uid)
            had.append(decision_id)
            if decision_id is not None and number % 2:
                act = Act(decision_id, "a", "impression", NOW + number)
                assert delivery.record_many(TENANT, [act], NOW + number) == [Recorded(True)]
        return had

    answers = workers(emulated, 8, work)
    had = [decision_id for answer in answers for decision_id in answer if decision_id is not None]
    assert len(had) == 5
    delivery = emulated.delivery
    assert len(delivery.exposures(TENANT, uids, NOW)["a"]) == 5
    assert len(delivery.exposures(TENANT, uids, NOW)["b"]) == 5
    rows = [row for uid in uids for row in emulated.table.query(person_key(TENANT, uid), prefix="f/a")]
    reserved = sum(name.startswith("p/") for row in rows for name in row)
    assert reserved + len(delivery.impressions(TENANT, *uids).get("a", ())) == 5


def test_one_act_told_by_many_at_once_counts_once(emulated: Stores) -> None:
    terms = {f"a{number}": Terms(CENT, 1.0, FrequencyCap(9, 1.0)) for number in range(3)}
    decision_id = decide(emulated.delivery, terms, uid="u1")
    kinds = ("click", "impression", "conversion", "dismiss")

    def work(delivery: Delivery, number: int) -> list[Recorded]:
        acts = [Act(decision_id, ad_id, kinds[(number + n) % 4], NOW + 1) for ad_id in terms for n in range(4)]
        return delivery.record_many(TENANT, acts, NOW + 1)

    answers = workers(emulated, 8, work)
    assert sum(one.counted for answer in answers for one in answer) == 12
    assert sum(bool(one.charged) for answer in answers for one in answer) == 3
    ones = {"impressions": 1, "clicks": 1, "conversions": 1, "dismissals": 1}
    assert emulated.delivery.stats(TENANT) == dict.fromkeys(terms, ones)
    assert emulated.delivery.impressions(TENANT, "u1") == {ad_id: [NOW + 1] for ad_id in terms}
    assert set(emulated.delivery.spent(TENANT, terms, NOW + 2).values()) == {CENT}


def test_counts_of_a_variant_lose_nothing(emulated: Stores) -> None:
    ad = RankedAd("a", "Copy", 0.5, (), variant="v")

    def work(delivery: Delivery, number: int) -> None:
        for _ in range(5):
            made = Decision(new_decision_id(NOW), None, NOW, (ad,), False, {})
            assert delivery.put_decision(TENANT, made, {}, (), NOW) == frozenset()
            kinds = ("impression", "click") if number % 2 else ("impression",)
            delivery.record_many(TENANT, [Act(made.decision_id, "a", kind, NOW + 1) for kind in kinds], NOW + 1)

    workers(emulated, 8, work)
    assert emulated.delivery.variant_stats(TENANT, [("a", "v")], NOW) == {("a", "v"): (40.0, 20.0)}
