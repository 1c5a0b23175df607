"""Copy jobs: the queue, the asynchronous endpoint, and whatever may happen to a message or a worker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from functions.generate import handler
from shared.errors import NotFound, Unavailable
from shared.generating import CopyRequest, CopyResult
from shared.generating.jobs import (
    ASYNC_SECONDS,
    ATTEMPTS,
    GATE_SECONDS,
    LATE_SECONDS,
    LEASE_SECONDS,
    QUEUED_SECONDS,
    STALE_SECONDS,
)
from shared.generating.writing import Writer
from shared.models.generator import ChatRequest, Completions
from shared.models.sagemaker import SageMakerAsync
from shared.stores import Stores
from tests.conftest import TENANT, Aws
from tests.fakes.generation import BAD, GOOD, FakeSageMakerRuntime, World, make_world

pytestmark = pytest.mark.slow


@pytest.fixture
def world(stores: Stores) -> World:
    return make_world(stores)


def queued(world: World, aws: Aws) -> list[dict[str, Any]]:
    answer = aws.sqs.receive_message(QueueUrl=aws.copy_queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", ())]


def test_much_copy_goes_through_the_queue_and_a_repeat_changes_nothing(world: World, aws: Aws) -> None:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", n=12))
    assert isinstance(job_id, str)
    assert world.generating.job(TENANT, job_id).state == "queued"
    (message,) = queued(world, aws)
    assert message == {"tenant": TENANT, "job_id": job_id}
    world.generating.handle_job(**message)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.progress == 1.0 and view.result
    assert world.generator.wanted == [24]
    assert 8 < len(view.result["copies"]) <= 12
    world.generator.texts = []
    world.generating.handle_job(**message)
    assert world.generating.job(TENANT, job_id) == view
    assert len(world.generator.wanted) == 1


def test_a_job_without_a_model_is_done_by_the_ladder(world: World, aws: Aws) -> None:
    world.generator.down = True
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))
    assert isinstance(job_id, str)
    for _ in range(ATTEMPTS - 1):
        world.generating.handle_job(TENANT, job_id)  # it may be back a little later
        assert world.generating.job(TENANT, job_id).state == "queued"
    world.generating.handle_job(TENANT, job_id)
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.result and view.result["served_by"] == "template"


def test_a_job_of_a_deployment_without_a_model_is_done_at_once(world: World) -> None:
    world.generating = world.build(generator=None)
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))
    assert isinstance(job_id, str)
    world.generating.handle_job(TENANT, job_id)
    assert world.generating.job(TENANT, job_id).state == "done"


def test_a_job_that_cannot_be_queued_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.stores.queues, "_urls", {})
    with pytest.raises(Unavailable):
        world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))


def test_an_unknown_job_is_not_found_and_its_message_is_dropped(world: World) -> None:
    with pytest.raises(NotFound):
        world.generating.job(TENANT, "0" * 32)
    world.generating.handle_job(TENANT, "0" * 32)


def test_a_job_without_a_sign_of_life_counts_as_failed(world: World) -> None:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))
    assert isinstance(job_id, str)
    job = world.stores.jobs.get(TENANT, job_id)
    assert job
    world.system.clock.now = job.updated_at + STALE_SECONDS + 1
    assert world.generating.job(TENANT, job_id).state == "queued"  # others may be before it
    world.system.clock.now = job.updated_at + QUEUED_SECONDS + 1
    assert world.generating.job(TENANT, job_id).state == "failed"
    world.generating.handle_job(TENANT, job_id)  # too late: what was reported stands
    assert world.generating.job(TENANT, job_id).state == "failed"


@pytest.fixture
def runtime(world: World) -> FakeSageMakerRuntime:
    """An asynchronous endpoint is all there is."""
    runtime = FakeSageMakerRuntime({})

    def put(key: str, data: bytes) -> str:
        runtime.objects[f"s3://in/{key}"] = data
        return f"s3://in/{key}"

    endpoint = SageMakerAsync("copywriter", runtime, put=put, read=runtime.objects.get)
    world.generating = world.build(generator=None, asynchronous=endpoint)
    return runtime


def start(world: World) -> str:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1"))
    assert isinstance(job_id, str)
    world.generating.handle_job(TENANT, job_id)
    assert world.generating.job(TENANT, job_id).state == "running"
    return job_id


def test_the_asynchronous_endpoint_writes_and_its_notification_finishes_the_job(
    world: World, runtime: FakeSageMakerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = start(world)
    assert runtime.calls[0]["InferenceId"] == job_id
    runtime.answer([*GOOD, *BAD])

    class System:
        generating = world.generating

    monkeypatch.setattr(handler, "system", System)
    notice = {
        "invocationStatus": "Completed",
        "requestParameters": {"inputLocation": runtime.calls[0]["InputLocation"]},
        "inferenceId": job_id,
    }
    event = {
        "Records": [
            {"eventSource": "aws:sqs", "messageId": "good", "body": json.dumps({"Message": json.dumps(notice)})},
            {"eventSource": "aws:sqs", "messageId": "broken", "body": "{"},
        ]
    }
    assert handler.lambda_handler(event, None) == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    view = world.generating.job(TENANT, job_id)
    assert view.state == "done" and view.result
    assert set(GOOD) == {copy["text"] for copy in view.result["copies"]}
    assert isinstance(world.generating.copy(TENANT, CopyRequest(ad_id="p1")), CopyResult)  # from the bank now


def test_a_lost_notification_is_made_good_by_looking_again(
    world: World, runtime: FakeSageMakerRuntime, aws: Aws
) -> None:
    job_id = start(world)
    world.generating.handle_job(TENANT, job_id)  # the delayed message: nothing there yet
    runtime.answer(GOOD)
    assert world.generating.job(TENANT, job_id).state == "done"


def test_an_asynchronous_failure_and_a_silent_endpoint_end_in_the_ladder(
    world: World, runtime: FakeSageMakerRuntime
) -> None:
    failed, silent = start(world), start(world)
    runtime.objects[f"s3://out/{failed}-error.out"] = b"out of memory"
    world.system.clock.now += ASYNC_SECONDS - 1
    assert world.generating.job(TENANT, silent).state == "running"  # its GPU may still be starting
    assert {call["RequestTTLSeconds"] + call["InvocationTimeoutSeconds"] for call in runtime.calls} == {ASYNC_SECONDS}
    world.system.clock.now += 2
    for job_id in (failed, silent):
        view = world.generating.job(TENANT, job_id)
        assert view.state == "done" and view.result and view.result["served_by"] == "template"


# What may happen to a message or a worker -----------------------------------------------------------------------------


def taken(world: World, aws: Aws) -> dict[str, Any]:
    """A queued job's message."""
    world.generating.copy(TENANT, CopyRequest(ad_id="p1", queued=True))
    (message,) = queued(world, aws)
    return message


class Killed(BaseException):
    """The worker's process dies: nothing after it runs."""


def test_a_job_whose_worker_died_is_taken_again_after_the_lease(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = taken(world, aws)

    def dies(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(world.generator, "complete", dies)
    with pytest.raises(Killed):
        world.generating.handle_job(**message)
    monkeypatch.undo()
    assert world.generating.job(TENANT, message["job_id"]).state == "running"
    world.generating.handle_job(**message)  # it may still be alive: another message comes after its lease
    assert world.generating.job(TENANT, message["job_id"]).state == "running"
    counts = aws.sqs.get_queue_attributes(QueueUrl=aws.copy_queue_url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"
    world.system.clock.now += LEASE_SECONDS + 1
    world.generating.handle_job(**message)
    assert world.generating.job(TENANT, message["job_id"]).state == "done"


def test_a_job_whose_worker_died_and_whose_message_is_lost_is_reported(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = taken(world, aws)

    def dies(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(world.generator, "complete", dies)
    with pytest.raises(Killed):
        world.generating.handle_job(**message)
    world.system.clock.now += STALE_SECONDS + 1
    view = world.generating.job(TENANT, message["job_id"])
    assert view.state == "failed" and view.error == "gave no sign of life"


def test_a_job_that_fails_is_free_at_once_and_given_up_after_some_attempts(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = taken(world, aws)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(world.generator, "complete", broken)
    for _ in range(ATTEMPTS):
        with pytest.raises(RuntimeError):
            world.generating.handle_job(**message)
    view = world.generating.job(TENANT, message["job_id"])
    assert view.state == "failed" and view.error == f"failed {ATTEMPTS} times"
    world.generating.handle_job(**message)  # over: the message is done with


def test_a_worker_that_dies_every_time_is_given_up_too(world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    message = taken(world, aws)

    def dies(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(world.generator, "complete", dies)
    for _ in range(ATTEMPTS):
        with pytest.raises(Killed):
            world.generating.handle_job(**message)
        world.system.clock.now += LEASE_SECONDS + 1
    world.generating.handle_job(**message)
    view = world.generating.job(TENANT, message["job_id"])
    assert view.state == "failed" and view.error == f"given up after {ATTEMPTS} attempts"


def test_an_asynchronous_result_that_arrives_twice_counts_once(world: World, runtime: FakeSageMakerRuntime) -> None:
    job_id = start(world)
    runtime.answer(GOOD)
    world.generating.collect(TENANT, job_id)
    view = world.generating.job(TENANT, job_id)
    runtime.answer(["Something else about the phone, and later."])
    world.generating.collect(TENANT, job_id)
    world.generating.handle_job(TENANT, job_id)
    assert world.generating.job(TENANT, job_id) == view
    assert view.result and view.result["cost"]["candidates"] == 8


def test_an_endpoint_that_takes_no_call_is_asked_again(
    world: World, runtime: FakeSageMakerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.generating.copy(TENANT, CopyRequest(ad_id="p1"))
    assert isinstance(job_id, str)

    def gone(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://runtime.sagemaker.example")

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "invoke_endpoint_async", gone)
        world.generating.handle_job(TENANT, job_id)
        assert world.generating.job(TENANT, job_id).state == "queued"
    world.generating.handle_job(TENANT, job_id)
    runtime.answer(GOOD)
    assert world.generating.job(TENANT, job_id).state == "done"


def test_an_asynchronous_failure_is_named(world: World, runtime: FakeSageMakerRuntime) -> None:
    job_id = start(world)
    runtime.fail()
    world.generating.collect(TENANT, job_id)
    view = world.generating.job(TENANT, job_id)
    assert view.result and view.result["served_by"] == "template" and "failed" in view.result["notice"]


def test_one_bad_message_does_not_bring_the_others_back(
    world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [taken(world, aws) for _ in range(2)]

    class System:
        generating = world.generating

    monkeypatch.setattr(handler, "system", System)
    bodies = [*messages, {"tenant": TENANT}, messages[0]]
    records = [
        {"eventSource": "aws:sqs", "messageId": str(place), "body": json.dumps(body)}
        for place, body in enumerate(bodies)
    ]
    assert handler.lambda_handler({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    for message in messages:
        assert world.generating.job(TENANT, message["job_id"]).state == "done"


@pytest.mark.parametrize("where", ["reading", "judging"])
def test_an_answer_that_can_never_be_read_ends_its_job(
    world: World, runtime: FakeSageMakerRuntime, aws: Aws, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    job_id = start(world)
    runtime.answer(GOOD)

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("a defect")

    if where == "reading":
        monkeypatch.setattr(SageMakerAsync, "collect", broken)
    else:
        monkeypatch.setattr(Writer, "answer", broken)
    assert world.generating.job(TENANT, job_id).state == "running"  # whoever asks is answered
    with pytest.raises(ValueError, match="a defect"):  # SNS's notice comes again
        world.generating.collect(TENANT, job_id)
    world.generating.handle_job(TENANT, job_id)  # and the queue looks again
    assert world.generating.job(TENANT, job_id).state == "running"
    world.system.clock.now += ASYNC_SECONDS + LATE_SECONDS + 1
    view = world.generating.job(TENANT, job_id)
    assert view.state == "failed" and view.error and "could not be read" in view.error


def test_a_job_keeps_to_the_functions_time(world: World, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    complete = world.generator.complete

    def timed(request: ChatRequest, *, timeout: float) -> Completions:
        given.append(timeout)
        return complete(request, timeout=timeout)

    monkeypatch.setattr(world.generator, "complete", timed)
    world.generating.handle_job(**taken(world, aws), remaining=lambda: GATE_SECONDS + 4.0)
    assert given and max(given) <= 4.0
