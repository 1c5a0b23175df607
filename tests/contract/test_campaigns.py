"""Budgets and caps of whole decisions, with many clients of several workers at the same ads, on the emulator."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.domain import Decision
from shared.errors import Conflict
from shared.feedback import FeedbackItem
from shared.recommending import Exploring
from shared.stores import Stores
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem
from tests.unit.test_recommending import ad, catalogue

WORKERS, CLIENTS, ROUNDS = 4, 16, 6
COST = 0.01
pytestmark = pytest.mark.slow


@pytest.fixture
def workers(emulated: Stores) -> list[FakeSystem]:
    """Processes of their own, as far as what they keep in memory goes."""
    return [FakeSystem(emulated, exploring=Exploring(0.3, 0.3)) for _ in range(WORKERS)]


def decide(workers: list[FakeSystem], people: list[str], n: int) -> list[Decision]:
    """A decision for each of the people, `CLIENTS` at a time; one that met too many others is asked for again."""
    turn = itertools.count()

    def one(user: str) -> Decision:
        while True:
            try:
                return workers[next(turn) % WORKERS].recommending.recommend(TENANT, user, n=n)
            except Conflict:
                continue

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, people))


def test_no_budget_is_overspent_and_none_is_left(workers: list[FakeSystem]) -> None:
    budgets = {"b1": 12, "b2": 30}
    catalogue(
        workers[0],
        *(ad(name, "phone", bid_cpm=COST * 1000, daily_budget=COST * shown) for name, shown in budgets.items()),
        ad("free", "watch"),
    )
    for one in workers[1:]:
        one.clock.now = workers[0].clock.now
    decisions = decide(workers, [f"u{n}" for n in range(CLIENTS * ROUNDS)], n=2)
    reserved = {name: sum(name in [one.ad_id for one in made.ads] for made in decisions) for name in budgets}
    assert reserved == budgets
    items = [FeedbackItem(made.decision_id, one.ad_id, "impression", made.at) for made in decisions for one in made.ads]
    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = list(pool.map(lambda item: workers[0].recommending.feedback(TENANT, [item])[0], items))
    assert all(answer["result"] == "counted" and "charged" not in answer for answer in taken)
    spent = workers[0].stores.delivery.spent(TENANT, budgets, workers[0].clock.now + 3)
    assert spent == {name: pytest.approx(COST * shown) for name, shown in budgets.items()}


def test_a_person_who_asks_from_everywhere_at_once_is_shown_an_ad_no_more_than_its_cap(
    workers: list[FakeSystem],
) -> None:
    catalogue(workers[0], ad("c", "phone", frequency_cap={"count": 3, "hours": 24}), ad("free", "watch"))
    for one in workers[1:]:
        one.clock.now = workers[0].clock.now
    row = {"user_id": "ann", "event": "view", "timestamp": workers[0].clock.now - 60, "text": "a phone"}
    assert workers[0].profiling.post_events(TENANT, [row]).accepted == 1
    decisions = decide(workers, ["ann"] * CLIENTS * 2, n=1)
    assert sum(made.ads[0].ad_id == "c" for made in decisions) == 3
