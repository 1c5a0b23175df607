"""Erasures that come together go through the objects together: the bucket is read as often as for one of them."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any

import pytest

from shared.erasing import DELAY_SECONDS, GATHERING, receipt
from shared.stores import Stores
from shared.stores.objects import Objects
from shared.stores.queues import Queues
from shared.stores.walks import Walks
from tests.conftest import TENANT
from tests.contract.test_erasing import found, marks, of_others, raw, stats
from tests.fakes.planted import Person, World
from tests.fakes.system import FakeSystem

pytestmark = pytest.mark.slow

READS = ("get_object", "head_object")


class Messages:
    """The queue, with a clock that moves to when the next message is due."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.delivered = 0
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, str]] = []

    def send(self, queue: str, body: Mapping[str, Any], *, delay_seconds: int = 0) -> None:
        if "erasure" in body:
            due = self.world.system.clock.now + delay_seconds
            heapq.heappush(self._waiting, (due, next(self._numbers), body["erasure"]))

    def deliver(self, most: float = inf, remaining: float = inf) -> None:
        """All, and what follows from them. remaining: seconds that each invocation has."""
        while self._waiting and self.delivered < most:
            due, _, erasure_id = heapq.heappop(self._waiting)
            clock = self.world.system.clock
            clock.now = max(clock.now, due)
            self.delivered += 1
            self.world.erasing.go_on(TENANT, erasure_id, remaining=lambda: remaining)


@pytest.fixture
def world(emulated: Stores) -> World:
    return World(FakeSystem(emulated), delay=DELAY_SECONDS)


@pytest.fixture
def messages(world: World, monkeypatch: pytest.MonkeyPatch) -> Messages:
    made = Messages(world)
    monkeypatch.setattr(Queues, "send", lambda self, queue, body, **options: made.send(queue, body, **options))
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each object is read."""
    counted: Counter[str] = Counter()
    calling = Objects._call

    def call(self: Objects, operation: str, **arguments: Any) -> Any:
        if operation in READS:
            counted[arguments["Key"]] += 1
        return calling(self, operation, **arguments)

    monkeypatch.setattr(Objects, "_call", call)
    return counted


def live(world: World, count: int) -> tuple[list[Person], Person]:
    erased = [Person(f"planted{n}x", n) for n in range(count)]
    other = Person("other0x", 0)
    for one in (*erased, other):
        world.live(one, decisions=1)
    for place in range(6):
        world.upload([*erased[place::3], other], f"day{place}.{('jsonl', 'csv.gz')[place % 2]}")
    world.export_log()
    return erased, other


def test_twenty_at_once_read_the_bucket_as_one_does(
    world: World, emulated: Stores, messages: Messages, reads: Counter[str]
) -> None:
    (*erased, alone), other = live(world, 21)
    before = of_others(raw(emulated), [other])
    reads.clear()
    world.erasing.erase(TENANT, alone.ids[0])
    messages.deliver()
    of_one = Counter(reads)
    assert len(of_one) == 7
    reads.clear()
    begun = []
    for person in erased:
        begun.append(world.erasing.erase(TENANT, person.ids[0]).erasure_id)
        world.system.clock.now += GATHERING * DELAY_SECONDS / 25  # as fast as somebody can ask
    messages.deliver()
    told = [receipt(world.erasing.get(TENANT, erasure_id)) for erasure_id in begun]
    assert {(one["state"], str(one["second_scan"]["found"])) for one in told} == {("done", "{}")}
    # Looked through once to write it anew, which reads it again, and once more by the second scan.
    assert set(reads) == {key for key in reads if key.startswith(("events/", "logs/"))} and max(reads.values()) <= 3
    assert reads.total() <= of_one.total() + 7, (reads, of_one)
    # Each of them has the receipt of their own.
    uploads = [3] * 3 + [6] * 17  # of one file or of two
    assert [one["removed"]["objects"] for one in told] == [{"uploads": n, "decision_log": 1} for n in uploads]
    assert found(emulated, [*erased, alone]) == {}
    assert of_others(raw(emulated), [other]) == before
    assert marks(raw(emulated)) == stats(raw(emulated))
    assert [row for row in raw(emulated) if row["pk"]["S"] == f"t/{TENANT}/walks"] == []


def test_a_walk_that_was_cut_off_is_ended_before_another_begins(
    world: World, emulated: Stores, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invocations that have the time for an object or two, and people who ask all the while."""
    erased, other = live(world, 8)
    before = of_others(raw(emulated), [other])
    begun = [world.erasing.erase(TENANT, person.ids[0]).erasure_id for person in erased[:4]]
    late = iter(erased[4:])
    cursors: list[set[str]] = []
    going_on = world.erasing.go_on

    def go_on(tenant: str, erasure_id: str, *, remaining: Any) -> None:
        left = iter([inf] * 5)
        going_on(tenant, erasure_id, remaining=lambda: next(left, 0.0))
        under_way = [world.erasing.get(TENANT, one) for one in begun]
        cursors.append({str(one.cursor) for one in under_way if one.cursor is not None})
        if len(cursors) % 9 == 0 and (person := next(late, None)):
            begun.append(world.erasing.erase(TENANT, person.ids[0]).erasure_id)

    monkeypatch.setattr(world.erasing, "go_on", go_on)
    messages.deliver(most=2000)
    assert [world.erasing.get(TENANT, one).step for one in begun] == ["done"] * 8
    assert max(map(len, cursors)) == 1  # all are at the same place of the one walk
    assert found(emulated, erased) == {}
    assert of_others(raw(emulated), [other]) == before


class Killed(BaseException):
    pass


def test_whoever_leads_may_be_killed_and_whoever_walks_begin_anew(
    world: World, emulated: Stores, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased, _ = live(world, 4)
    begun = [world.erasing.erase(TENANT, person.ids[0]).erasure_id for person in erased]
    opening = Objects.open
    left = 3

    def deadly(self: Objects, *args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            world.erasing.erase(TENANT, erased[1].ids[0])  # asked for once more
        if left == -4:
            raise Killed
        return opening(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "open", deadly)
        with pytest.raises(Killed):
            messages.deliver()
    walks, now = Walks(emulated.table), world.system.clock.now
    assert not walks.lead(TENANT, "me", now, now + 1)  # the lead is still the killed one's
    messages.deliver()
    for erasure_id in begun:  # its own message went with it, and comes again as SQS has it
        world.erasing.go_on(TENANT, erasure_id)
        messages.deliver()
    told = [receipt(world.erasing.get(TENANT, erasure_id)) for erasure_id in begun]
    assert [(one["state"], one["second_scan"]["found"]) for one in told] == [("done", {})] * 4
    assert found(emulated, erased) == {}


def test_the_lead_is_one_at_a_time_and_falls_to_the_next_when_its_time_is_over(stores: Stores) -> None:
    walks = Walks(stores.table)
    assert walks.lead("demo", "a", 10.0, 20.0) and walks.lead("demo", "a", 10.0, 20.0)
    assert not walks.lead("demo", "b", 19.0, 30.0) and walks.lead("other", "b", 19.0, 30.0)
    assert walks.lead("demo", "b", 20.0, 30.0)
    walks.release("demo", "a")  # too late
    assert not walks.lead("demo", "c", 21.0, 30.0)
    walks.release("demo", "b")
    assert walks.lead("demo", "c", 21.0, 30.0)
    walks.enter("demo", "e1", 1e10)
    walks.enter("demo", "e1", 1e10)
    assert walks.entered("demo") == ["e1"]
    walks.leave("demo", "e1")
    walks.leave("demo", "e1")
    assert walks.entered("demo") == []
