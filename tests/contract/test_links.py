"""Links between ids on both adapters, and what is left of them when everybody changes them at the same moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.domain import Consent
from shared.errors import Conflict
from shared.profiling import NamedId
from shared.stores import Stores
from shared.stores.people import group_key, held, person_key
from tests.conftest import TENANT
from tests.fakes.models import TOPICS
from tests.fakes.system import FakeSystem

pytestmark = pytest.mark.slow

WATCH, PHONE = TOPICS["watch"], TOPICS["phone"]


def send(system: FakeSystem, user: str, text: str, event_id: str) -> None:
    row = {
        "user_id": user,
        "event": "purchase",
        "timestamp": system.clock.now - 60,
        "text": text,
        "event_id": event_id,
    }
    assert system.profiling.post_events(TENANT, [row]).accepted == 1


def link(system: FakeSystem, user: str, *others: str) -> list[str]:
    links = system.profiling.identities(TENANT, user, link=[NamedId(one, "web") for one in others])
    return [result for _, result in links.changes]


def unlink(system: FakeSystem, user: str, *others: str) -> list[str]:
    links = system.profiling.identities(TENANT, user, unlink=[NamedId(one) for one in others])
    return [result for _, result in links.changes]


def groups(system: FakeSystem, users: Sequence[str]) -> set[frozenset[str]]:
    """Who is one person, off the rows; every row has to agree."""
    people, table = system.stores.people, system.stores.table
    names = {uid: user for user, uid in people.known_uids(TENANT, users).items()}
    found = set()
    for uid, name in names.items():
        meta = table.get(person_key(TENANT, uid), "meta") or {}
        closed = table.get(person_key(TENANT, uid), "profile") or {}
        assert ("gid" in meta) == ("uids" in meta) == ("gid" in closed), name
        if "gid" not in meta:
            found.add(frozenset([name]))
            continue
        rows = {row["sk"]: row for row in table.query(group_key(TENANT, meta["gid"]))}
        assert {"meta", "profile"} <= set(rows)
        assert sorted(rows["meta"]["members"]) == meta["uids"] and uid in meta["uids"]
        assert len(meta["uids"]) > 1
        found.add(frozenset(names[one] for one in meta["uids"]))
    assert sum(map(len, found)) == len(names)  # nobody is in two
    return found


def holders(system: FakeSystem, users: Sequence[str]) -> dict[str, int]:
    """What the counters must say: once for each person, of the profiles that are there."""
    people = system.stores.people
    seen = {}
    for user in users:
        person = people.load(TENANT, people.uid(TENANT, user) or "", user)
        seen[person.group or person.uid] = held(person.profile, person.disabled)
    return {one: sum(one in holding for holding in seen.values()) for one in TOPICS.values()}


def test_a_link_and_its_end(stores: Stores) -> None:
    system = FakeSystem(stores)
    for user, text in (("a", "watch"), ("b", "phone"), ("c", "watch")):
        send(system, user, text, "1")
        system.profiling.profile(TENANT, user)
    counters = stores.people.holders
    assert counters(TENANT, [WATCH, PHONE]) == {WATCH: 2, PHONE: 1}
    assert link(system, "a", "b", "c", "d") == ["linked"] * 3
    assert link(system, "c", "d") == ["already_linked"]
    assert groups(system, "abcd") == {frozenset("abcd")}
    assert counters(TENANT, [WATCH, PHONE]) == {WATCH: 1, PHONE: 1}
    assert {system.profiling.profile(TENANT, user)[0].events for user in "abcd"} == {3}
    stores.people.set_consent(TENANT, stores.people.uid(TENANT, "d") or "", Consent(False, False, "banner", 1.79e9))
    assert system.profiling.profile(TENANT, "a")[0].interests == ()
    assert counters(TENANT, [WATCH, PHONE]) == {WATCH: 0, PHONE: 0}
    assert unlink(system, "b", "d", "a", "x") == ["unlinked", "unlinked", "not_linked"]
    assert groups(system, "abcd") == {frozenset("a"), frozenset("bc"), frozenset("d")}
    assert counters(TENANT, [WATCH, PHONE]) == {WATCH: 2, PHONE: 1}
    assert unlink(system, "b", "c") == ["unlinked"]
    assert groups(system, "abcd") == set(map(frozenset, "abcd"))
    assert [system.profiling.profile(TENANT, user)[0].events for user in "abc"] == [1, 1, 1]


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each does, all beginning at the same moment; who finds too many writers tries again, as callers do."""
    barrier = threading.Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        barrier.wait()
        for _ in range(10):
            try:
                return work()
            except Conflict:
                continue
        raise AssertionError("writers never let it through")

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(one, work) for work in works]]


def test_links_from_all_sides_end_in_one_person(emulated: Stores) -> None:
    system = FakeSystem(emulated)
    for user in "abcd":
        send(system, user, "watch", "1")
    answers = at_once(
        lambda: link(system, "a", "b"),
        lambda: link(system, "b", "a"),
        lambda: link(system, "c", "d"),
        lambda: link(system, "d", "a"),
    )
    # Each of the pairs was linked by one of the two.
    assert sorted((answers[0], answers[1])) == [["already_linked"], ["linked"]]
    assert groups(system, "abcd") == {frozenset("abcd")}
    assert system.profiling.profile(TENANT, "c")[0].events == 4
    assert emulated.people.holders(TENANT, [WATCH]) == {WATCH: 1}


def test_a_link_and_its_end_at_once_are_one_after_the_other(emulated: Stores) -> None:
    system = FakeSystem(emulated)
    for user in "abc":
        send(system, user, "watch", "1")
    link(system, "a", "b")
    at_once(
        lambda: unlink(system, "b", "a"),
        lambda: link(system, "a", "c"),
        lambda: unlink(system, "a", "b"),
    )
    # b and a are apart, whichever came first; c is with a, or alone where a link was followed by the end of it.
    found = groups(system, "abc")
    assert found in ({frozenset("ac"), frozenset("b")}, {frozenset("bc"), frozenset("a")})
    for user in "abc":
        system.profiling.profile(TENANT, user)
    assert emulated.people.holders(TENANT, [WATCH]) == {WATCH: 2}


@pytest.mark.parametrize("seed", range(3))
def test_any_race_ends_in_one_consistent_state(emulated: Stores, seed: int) -> None:
    """Links, ends, events, edits and reads of four ids by four writers: rows agree, numbers and counters are exact."""
    system = FakeSystem(emulated)
    names = "abcd"
    for user in names:
        send(system, user, "watch", "first")

    def writer(number: int) -> Callable[[], None]:
        choose = random.Random(seed * 10 + number)

        def work() -> None:
            for step in range(6):
                user, other = choose.sample(names, 2)
                kind = choose.choice(["link", "link", "unlink", "event", "edit", "read"])
                if kind == "link":
                    link(system, user, other)
                elif kind == "unlink":
                    unlink(system, user, other)
                elif kind == "event":
                    send(system, user, choose.choice(["watch", "phone"]), f"{number}-{step}-{choose.random()}")
                elif kind == "edit":
                    ids = [WATCH, PHONE]
                    choose.shuffle(ids)
                    system.profiling.edit_interests(TENANT, user, disable=ids[:1], enable=ids[1:])
                else:
                    system.profiling.profile(TENANT, user)

        return work

    at_once(*(writer(number) for number in range(4)))
    for group in groups(system, names):
        profiles = {user: system.profiling.profile(TENANT, user)[0] for user in group}
        events = 0
        for user in group:
            uid = emulated.people.uid(TENANT, user) or ""
            seqs = [one.seq for one in emulated.people.events(TENANT, uid, user)]
            assert seqs == list(range(1, len(seqs) + 1))
            events += len(seqs)
        assert {profile.events for profile in profiles.values()} == {events}
        first, *others = (profile.interests for profile in profiles.values())
        assert all(one == first for one in others)
        assert {WATCH} <= {interest.id for profile in profiles.values() for interest in profile.interests}
    assert emulated.people.holders(TENANT, TOPICS.values()) == holders(system, names)
    for user in names:
        unlink(system, user, user)
    assert groups(system, names) == set(map(frozenset, names))
    counted = emulated.people.holders(TENANT, TOPICS.values())
    off = sum(
        WATCH in emulated.people.load(TENANT, emulated.people.uid(TENANT, one) or "", "").disabled for one in names
    )
    assert counted == holders(system, names) and counted[WATCH] == 4 - off
