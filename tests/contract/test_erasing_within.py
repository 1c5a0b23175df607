"""A walk that is cut off within an object: its people ask again, others join, and nobody's rows or counts are lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

import orjson
import pytest

from shared import erasing
from shared.erasing import DELAY_SECONDS, receipt
from shared.stores import Stores
from shared.stores.erasures import TOGETHER, Erasure
from shared.stores.objects import Objects
from shared.stores.queues import Queues
from shared.stores.walks import Walks
from shared.sweeping import Erased, Swept, sweep
from tests.conftest import TENANT
from tests.contract.test_erasing_cut import Killed, killed_at
from tests.contract.test_erasing_together import Messages
from tests.fakes.planted import World
from tests.fakes.system import FakeSystem

pytestmark = pytest.mark.slow

KEY = f"events/{TENANT}/big.jsonl"


@pytest.fixture
def world(emulated: Stores) -> World:
    return World(FakeSystem(emulated), delay=DELAY_SECONDS)


@pytest.fixture
def messages(world: World, monkeypatch: pytest.MonkeyPatch) -> Messages:
    made = Messages(world)
    monkeypatch.setattr(Queues, "send", lambda self, queue, body, **options: made.send(queue, body, **options))
    return made


@dataclass
class Walked:
    """Every call's way through the objects: whether it wrote, whose it was, where it began."""

    calls: list[tuple[bool, frozenset[str], Any]] = field(default_factory=list)
    left_at: dict[str, Any] = field(default_factory=dict)

    def sweep(self, objects: Objects, tenant: str, erased: list[Erased], **options: Any) -> Swept:
        cursor, names = options["cursor"], frozenset(one.name for one in erased)
        self.calls.append((options["write"], names, cursor))
        if cursor is not None:  # nobody is taken along from where they have not been
            plain = orjson.loads(orjson.dumps(cursor))
            assert all(self.left_at[name] == (options["write"], plain) for name in names)
        told = sweep(objects, tenant, erased, **options)
        for name in names:
            self.left_at[name] = options["write"], orjson.loads(orjson.dumps(told.cursor))
        return told

    def whole(self, erasure_id: str) -> list[bool]:
        """The walks that were begun at the beginning with somebody: whether they wrote."""
        return [write for write, names, cursor in self.calls if erasure_id in names and cursor is None]


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Walked:
    made = Walked()
    monkeypatch.setattr(erasing, "sweep", made.sweep)
    return made


def row(user_id: str, at: float, n: int, text: str = "a phone") -> bytes:
    said = {"user_id": user_id, "event": "view", "timestamp": at, "event_id": f"{user_id}-{n}", "text": text}
    return orjson.dumps(said) + b"\n"


def put(world: World, people: list[str], ago: float = 100.0, rows: int = 2) -> None:
    """An object of 20 MB with rows of theirs at its beginning and at its end. ago: seconds since what they tell."""
    at = world.system.clock.now - ago
    theirs = b"".join(row(one, at, n) for one in people for n in range(rows))
    others = b"".join(row(f"o{n}", at, n, "z" * 9000) for n in range(2200))
    ends = b"".join(row(one, at, rows + n) for one in people for n in range(rows))
    world.system.stores.objects.put(KEY, theirs + others + ends)


def cut_off(
    world: World, messages: Messages, monkeypatch: pytest.MonkeyPatch, until: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Has the queue delivered to invocations that are cut off soon, until one has left such a state of the object."""
    with monkeypatch.context() as patch:
        whole = world.erasing.go_on

        def short(tenant: str, erasure_id: str, *, remaining: Any) -> None:
            left = iter([inf] * 3)  # up to the first place within an object
            whole(tenant, erasure_id, remaining=lambda: next(left, 0.0))

        patch.setattr(world.erasing, "go_on", short)
        for _ in range(300):
            messages.deliver(most=messages.delivered + 1)
            for one in erasures(world):
                within = (one.cursor or {}).get("within")
                if within is not None and until(within):
                    found: dict[str, Any] = within
                    return found
    raise AssertionError("never cut off so")


def erasures(world: World) -> list[Erasure]:
    rows = world.system.stores.table.query(f"t/{TENANT}/erasures")
    return [world.erasing.get(TENANT, one["sk"]) for one in rows if "step" in one]


def lines_of(world: World, people: list[str]) -> int:
    body = world.system.stores.objects.get(KEY)
    return sum(body.count(f'"{one}"'.encode()) for one in people)


def told(world: World, erasure_ids: list[str]) -> list[tuple[str, dict[str, int], dict[str, int]]]:
    """State, what has gone of objects, what the second scan found."""
    found = [receipt(world.erasing.get(TENANT, one)) for one in erasure_ids]
    return [(one["state"], one["removed"]["objects"], one["second_scan"]["found"]) for one in found]


@pytest.mark.parametrize("who", [0, 1], ids=["the first", "the last"])
def test_who_asks_again_while_an_object_is_written_begins_anew_and_the_others_go_on(
    world: World, messages: Messages, walked: Walked, monkeypatch: pytest.MonkeyPatch, who: int
) -> None:
    people = ["ann", "bob", "cid"]
    put(world, people)
    ids = [world.erasing.erase(TENANT, one).erasure_id for one in people]
    within = cut_off(world, messages, monkeypatch, lambda within: within["writing"] and within["found"])
    assert {name for name, *_ in within["found"]} == set(ids)
    before = len(walked.calls)
    world.erasing.erase(TENANT, people[who])
    messages.deliver(most=messages.delivered + 200)
    assert told(world, ids) == [("done", {"uploads": 4}, {})] * 3  # rows of the renewed one that had gone count, once
    assert lines_of(world, people) == 0
    write, names, cursor = walked.calls[before]
    assert write and names == set(ids) - {ids[who]} and cursor["within"]["upload"]
    assert walked.whole(ids[who]) == [True, True, False]
    assert world.erasing.get(TENANT, ids[who]).looked_at["uploads"] == 1


@pytest.mark.parametrize("who", [0, 1], ids=["the first", "the last"])
def test_who_asks_again_within_a_second_scan_is_scanned_anew(
    world: World, messages: Messages, walked: Walked, monkeypatch: pytest.MonkeyPatch, who: int
) -> None:
    people = ["ann", "bob"]
    ids = [world.erasing.erase(TENANT, one).erasure_id for one in people]
    while {one.step for one in erasures(world)} != {"scan"}:
        messages.deliver(most=messages.delivered + 1)
    put(world, people, 10_000.0)  # whoever was under way brings it after the objects were looked through
    cut_off(world, messages, monkeypatch, lambda within: not within["writing"] and within["found"])
    world.erasing.erase(TENANT, people[who])
    messages.deliver(most=messages.delivered + 200)
    assert told(world, ids) == [("done", {"uploads": 4}, {})] * 2
    assert lines_of(world, people) == 0
    assert walked.whole(ids[who])[-2:] == [True, False]


@pytest.mark.parametrize("writing", [True, False])
def test_who_joins_while_a_walk_is_cut_off_within_an_object_has_one_of_their_own(
    world: World, messages: Messages, walked: Walked, monkeypatch: pytest.MonkeyPatch, writing: bool
) -> None:
    people = ["ann", "bob"]
    put(world, people)
    ids = [world.erasing.erase(TENANT, "ann").erasure_id]
    cut_off(world, messages, monkeypatch, lambda within: within["writing"] is writing and within["place"])
    ids.append(world.erasing.erase(TENANT, "bob").erasure_id)
    messages.deliver(most=messages.delivered + 200)
    assert told(world, ids) == [("done", {"uploads": 4}, {})] * 2
    assert lines_of(world, people) == 0 and walked.whole(ids[1]) == [True, False]


def test_a_state_that_does_not_say_whose_begins_its_object_anew(
    world: World, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a walk that an earlier release had left under way."""
    put(world, ["ann"])
    erasure_id = world.erasing.erase(TENANT, "ann").erasure_id
    cut_off(world, messages, monkeypatch, lambda within: within["writing"] and within["found"])
    cursor: Any = world.erasing.get(TENANT, erasure_id).cursor
    cursor["within"]["found"] = {"rows": 2}
    table = world.system.stores.table
    old = {":cursor": orjson.dumps(cursor)}
    table.update((f"t/{TENANT}/erasures", erasure_id), "SET #cursor = :cursor", old, names={"#cursor": "cursor"})
    messages.deliver(most=messages.delivered + 200)
    assert told(world, [erasure_id]) == [("done", {"uploads": 4}, {})] and lines_of(world, ["ann"]) == 0
    objects = world.system.stores.objects
    assert not objects._client.list_multipart_uploads(Bucket=objects.bucket).get(
        "Uploads"
    )  # what was begun is given up


def test_more_than_go_together_go_one_group_after_another(world: World, messages: Messages, walked: Walked) -> None:
    people = [f"p{n:03}" for n in range(TOGETHER + 15)]
    at = world.system.clock.now - 100
    world.system.stores.objects.put(KEY, b"".join(row(one, at, 0) for one in [*people, "other"]))
    ids = [world.erasing.erase(TENANT, one).erasure_id for one in people]
    messages.deliver(most=messages.delivered + 2000)
    assert told(world, ids) == [("done", {"uploads": 1}, {})] * len(ids)
    assert lines_of(world, people) == 0 and lines_of(world, ["other"]) == 1
    assert max(len(names) for _, names, _ in walked.calls) == TOGETHER
    assert (
        world.system.stores.table.query(f"t/{TENANT}/walks") is not None
        and Walks(world.system.stores.table).entered(TENANT) == []
    )


@pytest.mark.parametrize("opened", [1, 2])
def test_two_leaders_at_once_remove_once_and_count_once(
    world: World, messages: Messages, monkeypatch: pytest.MonkeyPatch, opened: int
) -> None:
    """The second finds the lead free: the first was taken for dead. opened: at which reading of the first's."""
    put(world, ["ann", "bob"])
    ids = [world.erasing.erase(TENANT, one).erasure_id for one in ("ann", "bob")]
    while {one.step for one in erasures(world)} != {"objects"}:
        messages.deliver(most=messages.delivered + 1)
    opening, calls = Objects.open, itertools.count(1)

    def interrupted(self: Objects, *args: Any, **options: Any) -> Any:
        found = opening(self, *args, **options)
        if next(calls) == opened:
            world.erasing.go_on(TENANT, ids[1])
        return found

    world.system.clock.now += DELAY_SECONDS
    with monkeypatch.context() as patch:
        patch.setattr(Walks, "lead", lambda *_: True)
        patch.setattr(Objects, "open", interrupted)
        world.erasing.go_on(TENANT, ids[0])
    assert next(calls) > 3
    messages.deliver(most=messages.delivered + 200)
    assert told(world, ids) == [("done", {"uploads": 4}, {})] * 2 and lines_of(world, ["ann", "bob"]) == 0


def test_what_went_of_somebody_who_asked_again_meanwhile_counts(
    world: World, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one invocation: its move comes too late, what it removed has gone."""
    at = world.system.clock.now - 100
    world.system.stores.objects.put(KEY, row("ann", at, 0) + row("bob", at, 0))
    ids = [world.erasing.erase(TENANT, one).erasure_id for one in ("ann", "bob")]
    asked: Iterator[int] = itertools.count()
    walking = sweep

    def late(*args: Any, **options: Any) -> Swept:
        found = walking(*args, **options)
        if next(asked) == 0:
            world.erasing.erase(TENANT, "bob")
        return found

    monkeypatch.setattr(erasing, "sweep", late)
    messages.deliver(most=messages.delivered + 200)
    assert told(world, ids) == [("done", {"uploads": 1}, {})] * 2 and lines_of(world, ["ann", "bob"]) == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_leader_killed_at_any_call_is_followed_by_another(world: World, messages: Messages, after: bool) -> None:
    """Of two who walk together. A count that was not kept yet goes with the leader; rows never stay."""
    counted = 0
    for call in itertools.count(1):
        people = [f"a{call}", f"b{call}"]
        at = world.system.clock.now - 100
        world.system.stores.objects.put(KEY, b"".join(row(one, at, 0) for one in [*people, "other"]))
        ids = [world.erasing.erase(TENANT, one).erasure_id for one in people]
        with killed_at(call, after) as made, suppress(Killed):
            messages.deliver()
        for _ in range(4):  # the messages of those that were killed come again
            for one in ids:
                world.erasing.go_on(TENANT, one)
            messages.deliver()
            world.system.clock.now += DELAY_SECONDS
        found = told(world, ids)
        assert {(state, str(left)) for state, _, left in found} == {("done", "{}")}, call
        gone = [removed.get("uploads", 0) for _, removed, _ in found]
        assert set(gone) <= {0, 1} and lines_of(world, people) == 0 and lines_of(world, ["other"]) == 1
        counted += sum(gone)
        if made[0] < call:
            break
    assert call > 30 and counted >= 2 * (call - 8)  # between the writing of the object and the count of it
