"""Erasure and withdrawal at the edges: clocks that are wrong, repeats, links, objects that are closed, a restore."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from shared.domain import Consent, IngestReport
from shared.erasing import receipt
from shared.feedback import FeedbackItem
from shared.profiling import ERASED, NamedId
from shared.stores import Stores
from shared.stores.delivery import Act
from tests.conftest import TENANT, Aws
from tests.fakes.delivery import receive
from tests.fakes.planted import World
from tests.fakes.system import FakeSystem
from tests.fakes.traces import table_rows, traces

pytestmark = pytest.mark.slow

UPLOAD = f"events/{TENANT}/day.jsonl"


@pytest.fixture
def world(stores: Stores) -> World:
    made = World(FakeSystem(stores))
    made.system.clock.now = time.time()  # as the bucket's
    return made


@pytest.fixture
def required(stores: Stores) -> World:
    made = World(FakeSystem(stores, consent_basis="required"))
    made.system.clock.now = time.time()
    made.system.profiling._on_withdrawal = made.erasing.withdraw
    return made


def event(user_id: str = "victim", **fields: Any) -> dict[str, Any]:
    return {"user_id": user_id, "event": "view", "item_id": "i1", "text": "PLANTED phone"} | fields


def send(world: World, *rows: dict[str, Any]) -> tuple[int, list[str]]:
    """How many are accepted, and why the others are not."""
    report = world.system.profiling.post_events(TENANT, rows)
    return report.accepted, [one.reason for one in report.rejected]


def found(aws: Aws, *needles: str) -> dict[Any, int]:
    return dict(traces(aws.dynamodb, aws.table, aws.s3, aws.bucket, needles))


def withdrawals(aws: Aws) -> list[str]:
    rows = table_rows(aws.dynamodb, aws.table)
    return [r["sk"]["S"] for r in rows if r["pk"]["S"].endswith("/erasures") and "step" in r]


def consent(world: World, user_id: str, given: bool) -> None:
    world.system.profiling.set_consent(TENANT, user_id, Consent(given, False, "banner", world.system.clock.now))


def test_an_upload_of_before_is_of_before_whatever_its_stamps_say(world: World, aws: Aws) -> None:
    system = world.system
    ahead = system.clock.now + 8 * 3600  # local time without its offset
    rows = [
        event(timestamp=ahead),
        event(timestamp=ahead, event="PLANTED quits"),
        event("bob", timestamp=1_789_000_000),
    ]
    body = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    system.stores.objects.put(UPLOAD, body)
    system.clock.now += 5
    begun = world.erasing.erase(TENANT, "victim")
    report = system.profiling.ingest(TENANT, UPLOAD, fingerprint="")
    assert isinstance(report, IngestReport)
    assert (report.accepted, [one.reason for one in report.rejected]) == (1, [ERASED, ERASED])
    world.finish(begun.erasure_id)
    assert system.stores.people.known_uids(TENANT, ["victim"]) == {}
    assert not found(aws, "victim", "quits")


def test_asked_for_once_more_it_erases_what_came_between(world: World, aws: Aws) -> None:
    clock = world.system.clock
    send(world, event(timestamp=clock.now - 100))
    first = world.erasing.erase(TENANT, "victim")
    clock.now += 61
    world.erasing.go_on(TENANT, first.erasure_id)
    between = event(timestamp=clock.now - 10, event_id="between")
    second = world.erasing.erase(TENANT, "victim")
    assert (second.erasure_id, second.requested_at, second.step) == (first.erasure_id, clock.now, "table")
    assert send(world, between) == (0, [ERASED])
    assert world.erasing.erase(TENANT, "victim") == second  # at the same moment
    told = world.finish(first.erasure_id)
    assert told["second_scan"]["found"] == {} and told["requested_at"] == second.requested_at
    assert not found(aws, "victim", "PLANTED", "between")
    assert send(world, between) == (0, [ERASED])
    assert send(world, event(timestamp=clock.now - 1))[0] == 1


def test_an_erasure_whose_messages_were_lost_goes_on_when_the_next_begins(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = world.system.clock
    send(world, event(timestamp=clock.now - 100))
    with monkeypatch.context() as patch:
        patch.setattr(world.erasing, "_inline", lambda tenant, erasure, remaining: erasure)
        first = world.erasing.erase(TENANT, "victim")
    aws.sqs.purge_queue(QueueUrl=aws.event_queue_url)
    clock.now += 100
    send(world, event(timestamp=clock.now - 5, event_id="new"))
    second = world.erasing.erase(TENANT, "victim")
    waiting = {orjson.loads(one["Body"])["erasure"] for one in receive(aws.sqs, aws.event_queue_url)}
    assert waiting == {first.erasure_id} != {second.erasure_id}  # that of the second waits a while
    world.finish(first.erasure_id)
    world.finish(second.erasure_id)
    assert not found(aws, "victim", "PLANTED")


def test_an_object_closed_to_us_is_told_and_holds_nobody_up(world: World, aws: Aws) -> None:
    cold = f"events/{TENANT}/cold.jsonl"
    aws.s3.put_object(Bucket=aws.bucket, Key=cold, Body=b"{}", StorageClass="GLACIER")
    told = world.finish(world.erasing.erase(TENANT, "victim").erasure_id)
    assert (told["state"], told["could_not_be_read"], told["second_scan"]["found"]) == ("done", 1, {})
    assert "could_not_be_read" not in told["second_scan"]["looked_at"]


def test_a_refusal_through_one_id_takes_all_of_the_linked_ones(
    required: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = required.system
    for one in ("A", "B"):
        consent(required, one, True)
    send(required, event("B", timestamp=system.clock.now))
    system.profiling.identities(TENANT, "A", link=[NamedId("B")])
    shown = system.recommending.recommend(TENANT, "B", n=1)
    system.clock.now += 1
    with monkeypatch.context() as patch:
        patch.setattr(required.erasing, "_inline", lambda tenant, erasure, remaining: erasure)
        consent(required, "A", False)
    system.clock.now += 1  # what was under way when the refusal came
    act = Act(shown.decision_id, shown.ads[0].ad_id, "impression", system.clock.now)
    assert system.stores.delivery.record_many(TENANT, [act], system.clock.now)[0].counted
    for one in withdrawals(aws):
        required.finish(one)
    uid = system.stores.people.uid(TENANT, "B")
    left = {r["sk"]["S"][:2] for r in table_rows(aws.dynamodb, aws.table) if r["pk"]["S"] == f"t/{TENANT}/p/{uid}"}
    assert left == {"me", "c/", "pr"}


def test_impressions_of_before_a_withdrawal_go_and_those_of_after_stay(
    required: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was cut off behind its beginning, and consent was given again at once."""
    system, clock = required.system, required.system.clock

    def see() -> float:
        shown = system.recommending.recommend(TENANT, "A", n=12)
        clock.now += 1
        ahead = clock.now + 200  # another clock
        item = FeedbackItem(shown.decision_id, "phone-0", "impression", ahead)
        assert system.recommending.feedback(TENANT, [item])[0]["result"] == "counted"
        return float(clock.now)

    consent(required, "A", True)
    send(required, event("A", timestamp=clock.now))
    see()
    clock.now += 1
    with monkeypatch.context() as patch:
        patch.setattr(required.erasing, "_inline", lambda tenant, erasure, remaining: erasure)
        consent(required, "A", False)
    clock.now += 1
    consent(required, "A", True)
    later = see()
    (erasure_id,) = withdrawals(aws)
    told = required.finish(erasure_id)
    assert told["removed"]["table"]["impressions"] > 0 and told["second_scan"]["found"] == {}
    uid = system.stores.people.uid(TENANT, "A")
    assert system.stores.delivery.impressions(TENANT, str(uid)) == {"phone-0": [later]}


def test_a_table_that_was_restored_forgets_them_again(world: World, aws: Aws) -> None:
    system = world.system
    send(world, *(event(user, timestamp=system.clock.now - 100) for user in ("victim", "linked", "bob", "back")))
    system.profiling.identities(TENANT, "victim", link=[NamedId("linked")])
    backup = table_rows(aws.dynamodb, aws.table)
    system.clock.now += 60
    begun = [world.erasing.erase(TENANT, one) for one in ("victim", "back")]
    for one in begun:
        world.finish(one.erasure_id)
    assert world.erasing.erase_again(TENANT) == {"begun": 0, "gone_on": 0, "left": 0}
    for row in table_rows(aws.dynamodb, aws.table):
        aws.dynamodb.delete_item(TableName=aws.table, Key={name: row[name] for name in ("pk", "sk")})
    for row in backup:
        aws.dynamodb.put_item(TableName=aws.table, Item=row)
    assert set(system.stores.people.known_uids(TENANT, ["victim", "linked", "bob", "back"])) >= {"victim", "back"}
    assert world.erasing.erase_again(TENANT, remaining=lambda: 0.0)["left"] == 2
    assert world.erasing.erase_again(TENANT)["begun"] >= 2
    for erasure_id in withdrawals(aws):
        assert receipt(world.erasing.get(TENANT, erasure_id))["kind"] == "erasure"
        world.finish(erasure_id)
    assert set(system.stores.people.known_uids(TENANT, ["victim", "linked", "bob", "back"])) == {"bob"}
    assert world.erasing.erase_again(TENANT)["begun"] == 0
