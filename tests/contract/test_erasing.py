"""Erasure on both adapters: nothing is left of the erased, everything of the others, and every count is exact."""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from shared.domain import Consent, Decision, RankedAd
from shared.erasing import receipt
from shared.feedback import FeedbackItem
from shared.profiling import ERASED, NamedId
from shared.stores import Stores
from shared.stores.delivery import Act, Terms, new_decision_id
from tests.conftest import TENANT
from tests.fakes.planted import KINDS, Person, World, attempt
from tests.fakes.system import FakeSystem
from tests.fakes.traces import kept_holders, recounted_holders, table_rows, traces

pytestmark = pytest.mark.slow

COUNTERS = {"impression": "impressions", "click": "clicks", "conversion": "conversions", "dismiss": "dismissals"}


@pytest.fixture
def world(stores: Stores) -> World:
    return World(FakeSystem(stores))


def raw(stores: Stores) -> list[dict[str, Any]]:
    return table_rows(stores.table.client, stores.table.name)


def found(stores: Stores, people: list[Person]) -> Counter[tuple[str, str]]:
    needles = {needle for person in people for needle in person.needles}
    objects = stores.objects
    return traces(stores.table.client, stores.table.name, objects._client, objects.bucket, needles)


def marks(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """By ad and counter, what the decisions that are there say was fed back."""
    counted: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for mark in row.get("fb", {}).get("M", {}):
            kind, _, ad_id = mark.partition("/")
            counted[ad_id, COUNTERS[kind]] += 1
    return counted


def stats(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """By ad and counter, what is counted."""
    return Counter(
        {
            (row["sk"]["S"], name): int(row[name]["N"])
            for row in rows
            if row["pk"]["S"] == f"t/{TENANT}/stats"
            for name in COUNTERS.values()
            if name in row and int(row[name]["N"])
        }
    )


def of_others(rows: list[dict[str, Any]], people: list[Person]) -> list[dict[str, Any]]:
    """Rows about these people: their ids, partitions, groups and decisions."""
    uids = {uid for person in people for uid in person.uids}
    groups = {row["gid"]["S"] for row in rows if row["pk"]["S"].rpartition("/")[2] in uids and "gid" in row}
    ours = uids | groups | {decision for person in people for decision in person.decisions}
    mine = [
        row
        for row in rows
        if row["pk"]["S"].rpartition("/")[2] in ours
        or row["sk"]["S"].partition("/")[0] in ours
        or row.get("uid", {}).get("S") in uids
    ]
    return sorted(mine, key=lambda row: (row["pk"]["S"], row["sk"]["S"]))


@pytest.mark.slow
def test_nothing_is_left_of_the_erased_and_everything_of_the_others(world: World, stores: Stores) -> None:
    erased = [Person(f"planted{n}x", n) for n in range(3)]
    others = [Person(f"other{n}x", n) for n in range(3)]
    for person in (*erased, *others):
        world.live(person, linked=person.number != 1)
    for name in ("day.jsonl", "day.csv.gz"):
        world.upload([erased[0], others[0], erased[1], others[1]], name)
    world.export_log()
    before = of_others(raw(stores), others)
    assert len(before) > 50 and set(found(stores, erased)) and marks(raw(stores)) == stats(raw(stores))
    for person in erased:
        begun = world.erasing.erase(TENANT, person.ids[0])
        assert receipt(begun)["state"] == "running" and world.erasing.erase(TENANT, person.ids[0]) == begun
        if person.number == 1:  # two who are not linked
            world.finish(world.erasing.erase(TENANT, person.ids[1]).erasure_id)
        told = world.finish(begun.erasure_id)
        assert (told["state"], told["left"], told["second_scan"]["found"]) == ("done", [], {})
        removed = told["removed"]["table"]
        assert removed["decisions"] == (1 if person.number == 1 else 2) and removed["feedback"] > 0
        assert removed["identities"] == (1 if person.number == 1 else 2)
    rows = raw(stores)
    assert found(stores, erased) == {}
    assert of_others(rows, others) == before
    assert marks(rows) == stats(rows) and sum(stats(rows).values()) > 0
    assert kept_holders(rows, TENANT) == recounted_holders(rows, TENANT) != {}
    for person in others:
        assert any(place == "events" for place, _ in found(stores, [person])) == (person.number < 2)


def test_the_receipt_counts_every_row(world: World, stores: Stores) -> None:
    person = Person("planted0x", 0)
    world.live(person, decisions=3)
    rows = of_others(raw(stores), [person])
    kinds = Counter(row["sk"]["S"][:2] for row in rows if row["pk"]["S"].startswith(f"t/{TENANT}/p/"))
    fed_back = sum(marks(rows).values())
    told = receipt(world.erasing.erase(TENANT, person.ids[1]))
    assert told["removed"]["table"] == {
        "identities": 2,
        "people": 2,
        "links": 2,
        "events": kinds["e/"],
        "impressions": kinds["f/"],
        "consents": 2,
        "decisions": 3,
        "feedback": fed_back,
        "interest_counts": len(recounted_holders(rows, TENANT)),
        "profiles": kinds["pr"] + kinds["st"],
    }
    assert fed_back > 0 and kinds["e/"] > 3  # feedback teaches


@pytest.mark.slow
def test_history_does_not_come_back_and_what_follows_is_a_new_person(world: World, stores: Stores) -> None:
    person = Person("planted0x", 0)
    world.live(person)
    rows = person.events(world.system.clock.now, "api")
    decision = person.decisions[0]
    begun = world.erasing.erase(TENANT, person.ids[0])
    for at in ("running", "done"):
        report = world.system.profiling.post_events(TENANT, rows)
        assert [(r.index, r.field, r.reason) for r in report.rejected] == [(n, "user_id", ERASED) for n in range(3)], at
        assert world.system.profiles.read(TENANT, "", person.uids[0])[2] is None
        shown = world.system.recommending.recommend(TENANT, person.ids[0], n=1)
        assert shown.uid is None and not shown.personalised
        item = FeedbackItem(decision, "phone-0", "click", world.system.clock.now)
        assert world.system.recommending.feedback(TENANT, [item])[0]["result"] == "refused"
        assert stores.people.append_events(TENANT, {person.uids[0]: []}) == {}
        world.finish(begun.erasure_id)
    now = world.system.clock.now
    late = [row | {"timestamp": now - n, "event_id": f"new-{n}"} for n, row in enumerate(rows)]
    report = world.system.profiling.post_events(TENANT, [*rows, *late])
    assert (report.accepted, report.rejected_count) == (3, 3)
    again = stores.people.known_uids(TENANT, person.ids)
    assert len(again) == 2 and not set(again.values()) & set(person.uids)
    # They are known again; what came before is still refused, and they can be erased once more.
    assert world.system.profiling.post_events(TENANT, rows).rejected_count == 3
    told = world.finish(world.erasing.erase(TENANT, person.ids[0]).erasure_id)
    assert told["removed"]["table"]["events"] == 2 and told["erasure_id"] != begun.erasure_id


@pytest.mark.slow
def test_an_id_that_nobody_knows_has_a_receipt_too(world: World, stores: Stores) -> None:
    rows = [row | {"user_id": "nobody@web"} for row in Person("nobody", 0).events(world.system.clock.now, "file")]
    body = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    stores.objects.put(f"events/{TENANT}/late.jsonl", body)
    told = world.finish(world.erasing.erase(TENANT, "nobody@web").erasure_id)
    assert (told["removed"]["table"], told["state"]) == ({}, "done")
    assert stores.objects.get(f"events/{TENANT}/late.jsonl").split() == []
    assert world.system.profiling.post_events(TENANT, rows).rejected_count == 3
    once_more = world.finish(world.erasing.erase(TENANT, "nobody@web").erasure_id)
    assert once_more["removed"] == {"table": {}, "objects": {}}


@pytest.mark.slow
def test_what_a_decision_added_is_taken_off_in_pieces_and_never_below_nothing(stores: Stores) -> None:
    at = 1_790_000_000.0
    uid = stores.people.uid(TENANT, "ann", create=True)
    ads = tuple(RankedAd(f"ad{n}", "Copy", 0.5, (), variant=f"v{n}") for n in range(40))
    made = []
    for _ in range(2):
        decision = Decision(new_decision_id(at), uid, at, ads, True, {}, log=b"log")
        assert not stores.delivery.put_decision(TENANT, decision, {ads[0].ad_id: Terms(0.01, 9.0)}, [uid or ""], at)
        acts = [Act(decision.decision_id, ad.ad_id, kind, at) for ad in ads for kind in KINDS]
        assert all(one.counted for one in stores.delivery.record_many(TENANT, acts, at))
        made.append(decision.decision_id)
    spent = stores.delivery.spent(TENANT, ["ad0"], at)
    told: list[dict[str, int]] = []

    def counted(gone: Mapping[str, int]) -> list[dict[str, Any]]:
        told.append(dict(gone))
        return []

    stores.delivery.erase_decision(TENANT, uid or "", made[0], counted)
    assert sum(one["feedback"] for one in told) == 160 and [one["decisions"] for one in told] == [0, 1]
    one_each = dict.fromkeys(COUNTERS.values(), 1)
    assert stores.delivery.stats(TENANT) == {ad.ad_id: one_each for ad in ads}
    variants = [(ad.ad_id, ad.variant or "") for ad in ads]
    assert set(stores.delivery.variant_stats(TENANT, variants, at).values()) == {(1.0, 1.0)}
    assert stores.delivery.spent(TENANT, ["ad0"], at) == spent
    stores.table.transact([stores.table.delete_action((f"t/{TENANT}/stats", "ad7"))])
    stores.delivery.erase_decision(TENANT, uid or "", made[1], lambda gone: [])
    left = stores.delivery.stats(TENANT)
    assert set(left) == {ad.ad_id for ad in ads} - {"ad7"}
    assert {tuple(one.values()) for one in left.values()} == {(0, 0, 0, 0)}
    assert stores.delivery.rows_of_decisions(TENANT, made) == 0
    assert list(stores.table.query(f"t/{TENANT}/p/{uid}", prefix="d/")) == []


@pytest.mark.slow
def test_who_withdraws_keeps_what_they_said_and_nothing_else(stores: Stores) -> None:
    system = FakeSystem(stores, consent_basis="required")
    world = World(system)
    system.profiling._on_withdrawal = world.erasing.withdraw
    person, other = Person("planted0x", 0), Person("other0x", 0)
    for one in (person, other):
        world.live(one)
    world.upload([person, other], "day.jsonl")
    world.export_log()
    before = of_others(raw(stores), [other])
    refusal = Consent(False, False, f"{person.name}-banner", system.clock.now)
    system.profiling.set_consent(TENANT, person.ids[0], refusal)
    assert system.profiling.post_events(TENANT, person.events(system.clock.now, "later")).accepted == 0
    rows = {row["sk"]["S"][:2] for row in of_others(raw(stores), [person]) if row["pk"]["S"].startswith("t/demo/p/")}
    assert rows == {"me", "c/", "pr"}
    running = [row["sk"]["S"] for row in raw(stores) if row["pk"]["S"] == f"t/{TENANT}/erasures" and "step" in row]
    assert len(running) == 2  # one for each id
    for erasure_id in running:
        told = world.finish(erasure_id)
        assert (told["kind"], told["second_scan"]["found"]) == ("withdrawal", {})
    left = found(stores, [person])
    said = {(place, needle) for place, needle in left if place not in ("t/p:c/", "t/p:me", "t/p:pr", "t/g:me")}
    assert {needle for _, needle in said} <= set(person.uids), said  # the group that they are linked by
    assert of_others(raw(stores), [other]) == before
    assert marks(raw(stores)) == stats(raw(stores))
    assert kept_holders(raw(stores), TENANT) == recounted_holders(raw(stores), TENANT)
    # Saying it again begins nothing; who consents again is known by what comes then.
    system.profiling.set_consent(TENANT, person.ids[0], refusal)
    count = sum(row["pk"]["S"] == f"t/{TENANT}/erasures" for row in raw(stores))
    assert count == 2
    yes = Consent(True, False, f"{person.name}-banner", system.clock.now + 1)
    system.profiling.set_consent(TENANT, person.ids[0], yes)
    fresh = [row | {"event_id": f"fresh{n}"} for n, row in enumerate(person.events(system.clock.now, "again"))]
    assert system.profiling.post_events(TENANT, fresh).accepted == 3
    assert system.profiling.profile(TENANT, person.ids[0])[0].events == 3


class Stopped:
    """Threads that work until they are told to stop."""

    def __init__(self, count: int, work: Any) -> None:
        self.over = threading.Event()
        self.done: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(count)
        self._futures = [self._pool.submit(self._run, number, work) for number in range(count)]

    def _run(self, number: int, work: Any) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            self.done.update([work(number, turn)])

    def stop(self) -> Iterator[None]:
        self.over.set()
        for future in self._futures:
            yield future.result()
        self._pool.shutdown()


@pytest.mark.slow
def test_erasing_while_everybody_writes_leaves_no_row(emulated: Stores) -> None:
    """16 threads write events, link, say, edit, decide and feed back for one person who is erased again and again."""
    world = World(FakeSystem(emulated))
    system = world.system
    person, other = Person("planted0x", 0), Person("other0x", 0)
    for one in (person, other):
        world.live(one)
    before = of_others(raw(emulated), [other])
    seen: set[str] = set(person.uids)
    shown: set[str] = set(person.decisions)

    def work(number: int, turn: int) -> str:
        kind = ("events", "link", "consent", "edit", "decide", "feedback", "unlink", "read")[number % 8]
        now, (web, app) = system.clock.now, person.ids
        seen.update(emulated.people.known_uids(TENANT, person.ids).values())
        if kind == "events":  # of before the erasure and of after it
            rows = person.events(now + (turn % 3), f"{number}-{turn}")
            attempt(system.profiling.post_events, TENANT, rows)
        elif kind == "link":
            attempt(system.profiling.identities, TENANT, web, link=[NamedId(app)])
        elif kind == "unlink":
            attempt(system.profiling.identities, TENANT, web, unlink=[NamedId(app)])
        elif kind == "consent":
            said = Consent(turn % 4 > 0, False, f"{person.name}-{turn}", now + turn / 1000)
            attempt(system.profiling.set_consent, TENANT, web, said)
        elif kind == "edit":
            attempt(system.profiling.edit_interests, TENANT, web, disable=["adproduct:1118"], enable=[])
        elif kind == "read":
            attempt(system.profiling.profile, TENANT, web)
        else:
            decision = attempt(system.recommending.recommend, TENANT, (web, app)[turn % 2], n=3)
            if decision is not None:
                shown.add(decision.decision_id)
                items = [FeedbackItem(decision.decision_id, ad.ad_id, k, now) for ad in decision.ads for k in KINDS]
                if kind == "feedback":
                    attempt(system.recommending.feedback, TENANT, items)
        return kind

    threads = Stopped(16, work)
    erasures: list[str] = []
    for _ in range(6):
        threading.Event().wait(0.7)
        system.clock.now += 1
        erasures += [world.erasing.erase(TENANT, user_id).erasure_id for user_id in person.ids]
    list(threads.stop())
    assert len(threads.done) == 8 and min(threads.done.values()) > 3, threads.done
    # What they wrote of after the last erasure is of a new person, who goes as well.
    seen.update(emulated.people.known_uids(TENANT, person.ids).values())
    erasures += [world.erasing.erase(TENANT, user_id).erasure_id for user_id in person.ids]
    receipts = [world.finish(erasure_id) for erasure_id in dict.fromkeys(erasures)]
    assert {one["state"] for one in receipts} == {"done"}
    assert sum(one["removed"]["table"].get("events", 0) for one in receipts) > 30
    person.uids, person.decisions = sorted(seen), sorted(shown - _of_nobody(emulated, shown))
    assert len(person.uids) >= 4 and len(person.decisions) > 10
    rows = raw(emulated)
    assert found(emulated, [person]) == {}
    assert of_others(rows, [other]) == before
    assert marks(rows) == stats(rows)
    assert kept_holders(rows, TENANT) == recounted_holders(rows, TENANT)


def _of_nobody(stores: Stores, decisions: set[str]) -> set[str]:
    """Those that are kept, and made for somebody unknown."""
    kept = (row for row in raw(stores) if row["sk"]["S"] in decisions)
    return {row["sk"]["S"] for row in kept if orjson.loads(zlib.decompress(bytes(row["doc"]["B"])))["uid"] is None}


STEPS = [(name, after) for name in ("look_up", "make", "consents", "append_events", "load") for after in (False, True)]
STEPS += [("save_profile", False), ("uids", False), ("uids", True)]


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_who_looked_before_an_erasure_writes_nothing_after_it(
    world: World, stores: Stores, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure comes between any two steps of taking events in, of linking and of reading a profile."""
    for number, (name, after) in enumerate(STEPS):
        person = Person(f"planted{number}x", 8)
        if known:
            world.live(person, decisions=1, linked=False)
        with monkeypatch.context() as patch:
            report, erasure_id = _write_while_erased(world, person, name, after, patch)
        if not (name == "append_events" and after) and name not in ("load", "save_profile", "uids"):
            assert (report.accepted, report.rejected_count) == (0, 3), (name, after)
        if uid := stores.people.uid(TENANT, person.ids[0]):  # linked after it: a new person without a past
            assert list(stores.people.events(TENANT, uid, "")) == [] and uid not in person.uids, (name, after)
        for begun in (erasure_id, *(world.erasing.erase(TENANT, user_id).erasure_id for user_id in person.ids)):
            world.finish(begun)
        assert found(stores, [person]) == {}, (name, after)
    rows = raw(stores)
    assert kept_holders(rows, TENANT) == recounted_holders(rows, TENANT)


def _write_while_erased(
    world: World, person: Person, name: str, after: bool, patch: pytest.MonkeyPatch
) -> tuple[Any, str]:
    """Writes about the person, who is erased before or after the first call of the store's method `name`; the report of
    the events, and the erasure."""
    people, profiling, web = type(world.system.stores.people), world.system.profiling, person.ids[0]
    real = getattr(people, name)
    begun: list[str] = []

    def erase() -> None:
        if not begun:
            begun.append("")
            begun[0] = world.erasing.erase(TENANT, web).erasure_id

    def called(*given: Any, **named: Any) -> Any:
        if not after:
            erase()
        answer = real(*given, **named)
        erase()
        return answer

    rows = [row | {"user_id": web} for row in person.events(world.system.clock.now, "flight")]
    patch.setattr(people, name, called)
    report = attempt(profiling.post_events, TENANT, rows)
    if name != "save_profile":  # the first profile that an id of its own has
        attempt(profiling.identities, TENANT, web, link=[NamedId(person.ids[1])])
    attempt(profiling.profile, TENANT, web)
    assert begun and begun[0], (name, after)
    return report, begun[0]
