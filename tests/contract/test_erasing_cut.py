"""An erasure that is cut off at any of its calls goes on, and ends in the same state with the same receipt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.stores import Stores
from shared.stores.objects import Objects
from shared.stores.queues import Queues
from shared.stores.table import Table
from tests.conftest import TENANT
from tests.contract.test_erasing import found, marks, raw, stats
from tests.fakes.planted import Person, World
from tests.fakes.system import FakeSystem
from tests.fakes.traces import kept_holders, recounted_holders

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """The process is gone: nothing handles it."""


@contextmanager
def killed_at(call: int, after: bool) -> Iterator[list[int]]:
    """The `call`-th thing that is asked of a service kills the caller, before or after it was done."""
    made = [0]

    def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            made[0] += 1
            if made[0] == call and not after:
                raise Killed
            answer = method(*arguments, **named)
            if made[0] == call:
                raise Killed
            return answer

        return called

    with pytest.MonkeyPatch.context() as patch:
        for kind, name in ((Table, "_call"), (Objects, "_call"), (Queues, "send")):
            patch.setattr(kind, name, deadly(getattr(kind, name)))
        yield made


def until_done(work: Callable[[], Any]) -> Any:
    while True:
        try:
            return work()
        except Killed:
            continue


def unfinished(stores: Stores) -> list[str]:
    rows = (row for row in raw(stores) if row["pk"]["S"] == f"t/{TENANT}/erasures" and "step" in row)
    return [row["sk"]["S"] for row in rows if row["step"]["S"] != "done"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_cut_off_at_any_call_it_goes_on(emulated: Stores, after: bool) -> None:
    world = World(FakeSystem(emulated))
    other = Person("other0x", 0)
    world.live(other)
    expected: dict[str, int] = {}
    for call in itertools.count(0):  # at the first nothing happens: what it removes the others have to remove too
        person = Person(f"planted{call}x", 8)
        world.live(person, decisions=1)
        world.upload([person], "day.jsonl")
        with killed_at(call, after) as made:
            try:
                world.erasing.erase(TENANT, person.ids[0])
            except Killed:
                # Who asked may ask again, or be gone for good: then only a message is left, if it had begun.
                if call % 2 or not unfinished(emulated):
                    until_done(lambda: world.erasing.erase(TENANT, person.ids[0]))  # noqa: B023 - called here
            (erasure_id,) = unfinished(emulated)
            told = until_done(lambda: world.finish(erasure_id))  # noqa: B023
        assert unfinished(emulated) == []
        expected = expected or told["removed"]["table"]
        assert told["removed"]["table"] == expected, call
        assert set(found(emulated, [person])) == set(), call
        if made[0] < call:
            break
    print(f"\ncut off at each of {made[0]} calls")
    assert call > 30
    rows = raw(emulated)
    assert marks(rows) == stats(rows) and sum(stats(rows).values()) > 0
    assert kept_holders(rows, TENANT) == recounted_holders(rows, TENANT) != {}


def test_it_stops_where_time_is_over_and_the_queue_has_the_rest(emulated: Stores) -> None:
    world = World(FakeSystem(emulated))
    person = Person("planted0x", 0)
    world.live(person)
    erasure_id = world.erasing.erase(TENANT, person.ids[0], remaining=lambda: 0.0).erasure_id
    assert world.erasing.get(TENANT, erasure_id).table.get("events") is None  # nothing but the beginning
    world.system.clock.now += world.delay + 1
    turns = 0
    while not (erasure := world.erasing.get(TENANT, erasure_id)).done:
        left = iter([40.0, 40.0, 40.0, 1.0])
        world.erasing.go_on(TENANT, erasure_id, remaining=lambda left=left: next(left, 1.0))  # type: ignore[misc]
        world.system.clock.now += 31
        turns += 1
        assert turns < 60, erasure
    assert turns > 4 and found(emulated, [person]) == {}


def test_what_the_second_scan_finds_goes_and_is_scanned_again(
    emulated: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(FakeSystem(emulated))
    person = Person("planted0x", 0)
    world.live(person)
    erasure_id = world.erasing.erase(TENANT, person.ids[0]).erasure_id
    for _ in range(2):  # rows, then objects
        world.system.clock.now += world.delay + 1
        world.erasing.go_on(TENANT, erasure_id)
    late = {"pk": f"t/{TENANT}/p/{person.uids[0]}", "sk": "f/ad", "shown": [1.0]}
    emulated.table.put(late)
    for _ in range(2):
        world.system.clock.now += world.delay + 1
        world.erasing.go_on(TENANT, erasure_id)
    erasure = world.erasing.get(TENANT, erasure_id)
    assert (erasure.round, erasure.found, erasure.done) == (1, {"impressions": 1}, False)
    told = world.finish(erasure_id)
    assert told["second_scan"]["found"] == {} and found(emulated, [person]) == {}

    # One that does not end is a person's to look at: its message fails, and ends among the dead letters.
    again = world.erasing.erase(TENANT, person.ids[0]).erasure_id
    scan = world.erasing._scan_table
    monkeypatch.setattr(world.erasing, "_scan_table", lambda *given: ({"events": 1}, scan(*given)[1]))

    def lasting() -> None:
        for _ in range(40):
            world.system.clock.now += world.delay + 1
            world.erasing.go_on(TENANT, again)

    with pytest.raises(Unavailable, match="again and again"):
        lasting()
    monkeypatch.undo()
    assert world.finish(again)["state"] == "done"
