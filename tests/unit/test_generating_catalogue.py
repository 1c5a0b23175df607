"""Passes over the catalogue: nothing is lost and nothing counts twice, whatever happens to messages and workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Unavailable, Unprocessable
from shared.generating import CopyRequest, PassRequest, catalogue
from shared.generating.jobs import ATTEMPTS, QUEUED_SECONDS, WAITS
from shared.stores import Stores
from shared.stores.copies import ANYONE
from tests.conftest import TENANT, Aws
from tests.fakes.generation import PHONE, World, make_world
from tests.fakes.models import TOPICS

pytestmark = pytest.mark.slow

NUMBER = 7  # ads, p1 among them
Message = dict[str, Any]


def phone(number: int, **fields: Any) -> dict[str, Any]:
    own = {"ad_id": f"p{number}", "landing_url": f"https://example.com/p{number}"}
    return PHONE | own | {"title": f"Larkspur phone no. {number} with a bright screen"} | fields


@pytest.fixture
def world(stores: Stores) -> World:
    world = make_world(stores)
    world.system.classifying.put_ads(TENANT, [phone(number) for number in range(2, NUMBER + 1)])
    world.generating = world.build(price_per_hour=1.2)
    return world


def received(aws: Aws) -> list[Message]:
    """What is in the queue, taken out of it."""
    found: list[Message] = []
    while True:
        answer = aws.sqs.receive_message(QueueUrl=aws.copy_queue_url, MaxNumberOfMessages=10)
        messages = answer.get("Messages", ())
        if not messages:
            return found
        for message in messages:
            aws.sqs.delete_message(QueueUrl=aws.copy_queue_url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))


def work_off(world: World, aws: Aws, *, times: int = 1) -> None:
    """Handles messages until there are none, each `times` times."""
    while messages := received(aws):
        for message in messages:
            for _ in range(times):
                world.generating.handle_job(**message)


def start(world: World, **request: Any) -> str:
    return world.generating.start_pass(TENANT, PassRequest(**{"n": 2} | request))


def banked(stores: Stores, segment: str = ANYONE) -> list[str]:
    ids = [f"p{number}" for number in range(1, NUMBER + 1)]
    return [ad_id for ad_id in ids if stores.copies.bank_get(TENANT, ad_id, segment, "en")]


@pytest.mark.parametrize("page", [90, 2, 3], ids=["one page", "odd pages", "pages of three"])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "each message twice"])
def test_every_ad_gets_its_copy_once(
    world: World, aws: Aws, stores: Stores, monkeypatch: pytest.MonkeyPatch, page: int, times: int
) -> None:
    monkeypatch.setattr(catalogue, "PAGE", page)
    received(aws)
    job_id = start(world)
    view = world.generating.job(TENANT, job_id)
    assert (view.state, view.progress) == ("queued", 0.0)
    work_off(world, aws, times=times)
    view = world.generating.job(TENANT, job_id)
    assert (view.state, view.progress) == ("done", 1.0)
    assert view.counts == {"total": NUMBER, "done": NUMBER, "failed": 0, "skipped": 0, "lower_rung": 0}
    assert len(banked(stores)) == NUMBER
    assert len(world.generator.asked) == NUMBER
    assert view.cost and view.cost["actual"]["candidates"] == 8 * NUMBER
    thousand = view.cost["actual"]["per_thousand_copies"]
    assert thousand["currency"] == "USD" and "estimate" in thousand["basis"]


def test_a_page_is_listed_whole_by_whoever_comes_after_a_crash(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "PAGE", 3)
    job_id = start(world)
    (message,) = [one for one in received(aws) if "job_id" in one]
    send = world.stores.queues.send
    sent: list[Any] = []

    def dies_after_one(*args: Any, **options: Any) -> None:
        if sent:
            raise Unavailable("the queue is gone")
        sent.append(args)
        send(*args, **options)

    monkeypatch.setattr(type(world.stores.queues), "send", lambda _, *args, **options: dies_after_one(*args, **options))
    with pytest.raises(Unavailable):
        world.generating.handle_job(**message)
    monkeypatch.undo()
    world.generating.handle_job(**message)  # the message comes back
    work_off(world, aws)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.counts == {
        "total": NUMBER,
        "done": NUMBER,
        "failed": 0,
        "skipped": 0,
        "lower_rung": 0,
    }


def test_what_the_bank_has_is_left_out(world: World, aws: Aws) -> None:
    world.copy(n=2)
    received(aws)
    view = run(world, aws)
    assert view.counts == {"total": NUMBER - 1, "done": NUMBER - 1, "failed": 0, "skipped": 1, "lower_rung": 0}
    again = run(world, aws)
    assert again.counts == {"total": 0, "done": 0, "failed": 0, "skipped": NUMBER, "lower_rung": 0}
    assert (again.state, again.progress) == ("done", 1.0)
    asked = len(world.generator.asked)
    assert run(world, aws, missing_only=False).counts == {
        "total": NUMBER,
        "done": NUMBER,
        "failed": 0,
        "skipped": 0,
        "lower_rung": 0,
    }
    assert len(world.generator.asked) == asked + NUMBER


def run(world: World, aws: Aws, **request: Any) -> Any:
    job_id = start(world, **request)
    work_off(world, aws)
    return world.generating.job(TENANT, job_id)


def test_a_filter_takes_what_fits_it(world: World, aws: Aws) -> None:
    health = phone(20, domain="health", title="A phone for check-ups")
    world.system.classifying.put_ads(TENANT, [phone(21, campaign_id="spring"), health])
    received(aws)
    assert run(world, aws, campaign_id="spring").counts["total"] == 1
    assert run(world, aws, ad_ids=("p2", "p3", "nope", "p2")).counts["total"] == 2
    assert run(world, aws, language="zh").counts["total"] == 0
    assert run(world, aws, domain="social").counts["total"] == 0
    assert run(world, aws, ad_ids=("p20",)).counts["total"] == 0  # nothing is generated in health


def test_segments_need_enough_people(world: World, aws: Aws, stores: Stores) -> None:
    world.interested("ann", "bob")
    world.interested("cid", topic="watch")
    received(aws)
    with pytest.raises(Unprocessable, match="too few people"):
        start(world, segments=(TOPICS["phone"], TOPICS["watch"]))
    for wrong in ("vips", TOPICS["prayer"]):
        with pytest.raises(Unprocessable, match="segment"):
            start(world, segments=(wrong,))
    view = run(world, aws, segments=(TOPICS["phone"],))
    assert view.counts["total"] == NUMBER and len(banked(stores, TOPICS["phone"])) == NUMBER
    assert banked(stores) == []


def test_an_ad_that_has_gone_fails_alone(world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    received(aws)
    job_id = start(world, ad_ids=("p1", "p2"))
    (page,) = received(aws)
    world.generating.handle_job(**page)
    get_ad = type(world.stores.catalogue).get_ad
    monkeypatch.setattr(
        type(world.stores.catalogue),
        "get_ad",
        lambda self, tenant, ad_id: None if ad_id == "p2" else get_ad(self, tenant, ad_id),
    )
    work_off(world, aws)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.counts == {"total": 2, "done": 1, "failed": 1, "skipped": 0, "lower_rung": 0}


def test_a_child_that_keeps_failing_is_given_up_and_counted(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    received(aws)
    job_id = start(world, ad_ids=("p1",))
    (page,) = received(aws)
    world.generating.handle_job(**page)
    (child,) = received(aws)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(world.generator, "complete", broken)
    for _ in range(ATTEMPTS):
        with pytest.raises(RuntimeError):
            world.generating.handle_job(**child)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.counts == {"total": 1, "done": 0, "failed": 1, "skipped": 0, "lower_rung": 0}
    monkeypatch.undo()
    world.generating.handle_job(**child)  # over: nothing changes
    assert world.generating.job(TENANT, job_id) == view


def test_a_model_that_is_down_for_a_while_does_not_end_a_pass(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    received(aws)
    job_id = start(world)
    delays: list[int] = []
    world.generator.down = True
    send = type(world.stores.queues).send

    def at_once(self: Any, queue: Any, body: Any, *, delay_seconds: int = 0) -> None:
        delays.append(delay_seconds)
        send(self, queue, body)

    monkeypatch.setattr(type(world.stores.queues), "send", at_once)
    (page,) = received(aws)
    world.generating.handle_job(**page)
    for message in received(aws):
        world.generating.handle_job(**message)
    view = world.generating.job(TENANT, job_id)
    assert (view.state, view.progress) == ("running", 0.0) and delays[-NUMBER:] == [WAITS[0]] * NUMBER
    world.generator.down = False
    first, *others = received(aws)
    world.generating.handle_job(**first)
    world.generator.down = True
    for message in others:
        world.generating.handle_job(**message)
    assert delays[1 - NUMBER :] == [WAITS[1]] * (NUMBER - 1)
    work_off(world, aws)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done"
    assert view.counts == {"total": NUMBER, "done": NUMBER, "failed": 0, "skipped": 0, "lower_rung": NUMBER - 1}
    world.generator.down = False
    assert run(world, aws).counts["total"] == NUMBER - 1  # what is missing can be made later


def test_a_pass_whose_messages_are_lost_says_so_and_another_does_the_rest(world: World, aws: Aws) -> None:
    received(aws)
    job_id = start(world)
    (page,) = received(aws)
    world.generating.handle_job(**page)
    first, *_ = received(aws)
    world.generating.handle_job(**first)
    world.system.clock.now += QUEUED_SECONDS + 1
    view = world.generating.job(TENANT, job_id)
    assert view.state == "failed" and view.error and f"{NUMBER - 1} of {NUMBER}" in view.error
    assert run(world, aws).counts == {
        "total": NUMBER - 1,
        "done": NUMBER - 1,
        "failed": 0,
        "skipped": 1,
        "lower_rung": 0,
    }


def test_the_cost_is_estimated_before_the_first_copy(world: World, aws: Aws) -> None:
    received(aws)
    job_id = start(world)
    first = world.generating.job(TENANT, job_id).cost  # nothing has been listed yet
    assert first and first["expected"]["copies"] == 0 and first["expected"]["per_thousand_copies"]["amount"] > 0
    (page,) = received(aws)
    world.generating.handle_job(**page)
    cost = world.generating.job(TENANT, job_id).cost
    assert cost and cost["actual"]["per_thousand_copies"] is None
    assert cost["expected"]["candidates"] == 8 * NUMBER and cost["expected"]["per_thousand_copies"]["amount"] > 0


def test_calls_at_the_same_time_cost_no_more_than_the_pass_took(world: World, aws: Aws) -> None:
    received(aws)
    job_id = start(world)
    world.system.clock.now += 2.0  # seven calls of half a second, as the generator says
    work_off(world, aws)
    views = [world.generating.job(TENANT, job_id)]
    world.system.clock.now += 3600.0  # whoever asks later is told the same
    views.append(world.generating.job(TENANT, job_id))
    for view in views:
        assert view.state == "done" and view.cost and view.cost["actual"]["seconds"] == 2.0
        assert view.cost["expected"] == view.cost["actual"]


def test_a_single_answer_says_what_it_cost_and_the_bank_costs_nothing(world: World) -> None:
    cost = world.copy(n=2).body()["cost"]
    assert cost["copies"] == 3 and cost["candidates"] == 8 and cost["tokens_in"] > 0
    assert "cost" not in world.copy(n=2).body()
    world.generating = world.build()
    free = world.copy(n=2, fresh=True).body()["cost"]["per_thousand_copies"]
    assert "amount" not in free and "LLM_PRICE_PER_HOUR" in free["basis"]


def test_a_pass_that_cannot_be_queued_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.stores.queues, "_urls", {})
    with pytest.raises(Unavailable):
        start(world)


def test_wrong_passes_say_what_is_wrong(world: World) -> None:
    with pytest.raises(Unprocessable, match="channel"):
        start(world, channel="telegram")
    with pytest.raises(Unprocessable, match="adapter"):
        start(world, adapter="theirs")
    assert CopyRequest(ad_id="x").n == 3
