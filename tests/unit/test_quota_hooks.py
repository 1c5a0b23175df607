"""Quotas in the use cases: what is over a tenant's limit is said, row by row, and what is within goes in."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson
import pytest

from functions.profile import handler as profile
from shared import ingest
from shared.domain import Ad, CatalogueAd, Rejection
from shared.errors import AdTailorError, Unavailable
from shared.generating import CopyRequest, PassRequest
from shared.preprocess import parse_ad
from shared.quotas import DAY, QuotaExceeded, Quotas
from shared.stores import Stores
from shared.stores.quotas import Taken
from shared.tenants import Limits
from shared.training import Training
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.generation import GOOD, PHONE, World, make_world
from tests.fakes.system import Clock
from tests.fakes.training import GOOD as GOOD_LABELS
from tests.fakes.training import Service, queued_trainers

pytestmark = pytest.mark.slow

AT = "2026-09-20T10:00:00Z"


def limited(stores: Stores, clock: Clock | None = None, **limits: int) -> Quotas:
    """Of the tests' tenant; another has none."""
    terms = {TENANT: Limits(**limits)}
    return Quotas(lambda: Taken(stores.table), lambda tenant: terms.get(tenant, Limits()), clock=clock or Clock())


def events(n: int) -> list[dict[str, Any]]:
    row = {"event": "view", "timestamp": AT}
    return [row | {"user_id": f"u{i % 3}", "item_id": f"i{i % 5}", "event_id": f"e{i}"} for i in range(n)]


def ads(*numbers: int) -> list[dict[str, Any]]:
    row = {"language": "en", "domain": "ecommerce"}
    return [
        row | {"ad_id": f"a{n}", "title": f"A phone {n}", "landing_url": f"https://example.com/{n}"} for n in numbers
    ]


def test_events_over_the_days_limit_are_refused_whichever_way_they_come(built: System, aws: Aws) -> None:
    built.__dict__["quotas"] = limited(built.stores, events_per_day=20)
    assert built.profiling.post_events(TENANT, events(15)).accepted == 15
    with pytest.raises(QuotaExceeded) as caught:
        built.profiling.post_events(TENANT, events(6))
    assert caught.value.limit == "events_per_day" and (caught.value.retry_after or 0) > 0
    assert built.profiling.post_events("other", events(100)).accepted == 100
    key = f"events/{TENANT}/more.jsonl"
    body = b"\n".join(orjson.dumps(row | {"event_id": f"up-{row['event_id']}"}) for row in events(6))
    told = uploaded(aws, key, body)
    assert (told["accepted"], told["rejected_count"]) == (5, 1), told
    assert told["problem"] == "1 rows beyond today's limit: upload the file again tomorrow"
    (lines,) = built.stores.objects.keys(f"rejected/{TENANT}/")
    assert "Beyond the day's limit of 20 rows" in built.stores.objects.get(lines).decode()


def uploaded(aws: Aws, key: str, body: bytes) -> dict[str, Any]:
    """The answer to the notice of an upload, with what its chunks came to where it was split."""
    tag = aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=body)["ETag"].strip('"')
    record = {"eventSource": "aws:s3", "s3": {"object": {"key": key, "eTag": tag}}}
    told: dict[str, Any] = profile.lambda_handler({"Records": [record]}, None)["uploads"][0]
    while waiting := aws.sqs.receive_message(QueueUrl=aws.event_queue_url).get("Messages", []):
        for message in waiting:
            attributes = {"ApproximateReceiveCount": "1"}
            sqs = {"eventSource": "aws:sqs", "messageId": "m", "body": message["Body"], "attributes": attributes}
            assert profile.lambda_handler({"Records": [sqs]}, None) == {"batchItemFailures": []}
            aws.sqs.delete_message(QueueUrl=aws.event_queue_url, ReceiptHandle=message["ReceiptHandle"])
    return told | system_run(told)


def system_run(told: dict[str, Any]) -> dict[str, Any]:
    call = {"action": "run", "tenant": TENANT, "run": told.get("run")}
    return profile.lambda_handler(call, None) if "run" in told else {}


@pytest.mark.parametrize("chunk", [1000, pytest.param(4, marks=pytest.mark.slow)])
def test_a_file_larger_than_a_days_limit_gets_in_over_several_days(
    built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    clock = Clock(time.time())
    monkeypatch.setattr(ingest, "CHUNK_ROWS", chunk)
    built.__dict__["quotas"] = limited(built.stores, clock, events_per_day=5)
    body = b"\n".join(orjson.dumps(row | {"timestamp": clock.now - 60}) for row in events(12))
    opening = built.stores.objects.open
    # S3 has an upload's time in seconds, and here the days pass faster.
    monkeypatch.setattr(
        built.stores.objects, "open", lambda *a, **named: replace(opening(*a, **named), modified=clock.now)
    )
    key, found = f"events/{TENANT}/large.jsonl", []
    for day in range(4):
        told = uploaded(aws, key, body)
        found.append((told["accepted"], told["rejected_count"]))
        assert (told["problem"] is None) == (day >= 2), told
        if day < 2:  # the same day again: nothing new, and nothing is lost
            again = uploaded(aws, f"events/{TENANT}/copy-{day}.jsonl", body)
            assert (again["accepted"], again["rejected_count"]) == (0, told["rejected_count"])
        clock.now += DAY
    assert found[:3] == [(5, 7), (5, 2), (2, 0)]
    assert sum(row["sk"]["S"].startswith("e/") for row in aws.dynamodb.scan(TableName=aws.table)["Items"]) == 12
    more = b"\n".join(orjson.dumps(row | {"event_id": f"x{n}"}) for n, row in enumerate(events(5)))
    assert uploaded(aws, f"events/{TENANT}/more.jsonl", more)["accepted"] == 5  # repeats have used nothing up


def test_what_failed_is_not_counted(built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    built.__dict__["quotas"] = limited(built.stores, events_per_day=20)
    people = type(built.stores.people)
    append = people.append_events

    def down(*_: Any, **__: Any) -> None:
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(people, "append_events", down)
    for _ in range(4):
        with pytest.raises(Unavailable):
            built.profiling.post_events(TENANT, events(15))
    monkeypatch.setattr(people, "append_events", append)
    assert built.profiling.post_events(TENANT, events(15)).accepted == 15
    for _ in range(2):
        assert built.profiling.post_events(TENANT, events(5)).duplicates == 5
    assert built.profiling.post_events(TENANT, events(20)[15:]).accepted == 5  # the repeats have used nothing up


def test_a_full_catalogue_takes_changes_and_no_new_ads(built: System) -> None:
    built.__dict__["quotas"] = limited(built.stores, ads=5)
    classifying = built.classifying
    assert all(isinstance(one, CatalogueAd) for one in classifying.put_ads(TENANT, ads(0, 1, 2, 3)))
    outcomes = classifying.put_ads(TENANT, [*ads(4, 5, 6), *(ad | {"title": "A watch"} for ad in ads(0, 5))])
    assert [isinstance(one, Rejection) for one in outcomes] == [False, True, True, False, True]
    assert isinstance(outcomes[1], Rejection) and outcomes[1].field == "ad_id" and "5 ads" in outcomes[1].reason
    assert built.stores.catalogue.count(TENANT) == 5
    assert built.stores.catalogue.get_ad(TENANT, "a5") is None
    assert all(isinstance(one, CatalogueAd) for one in classifying.put_ads("other", ads(*range(9))))


def test_writers_at_the_same_time_share_the_room_of_a_catalogue(built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has looked at the count before any of them writes."""
    built.__dict__["quotas"] = limited(built.stores, ads=5)
    classifying = built.classifying
    within, left = classifying._within, [3]

    def looked(tenant: str, rows: Any) -> Any:
        found = within(tenant, rows)
        left[0] -= 1
        if left[0]:
            classifying.put_ads(tenant, ads(*range(10 * left[0], 10 * left[0] + 4)))
        return found

    monkeypatch.setattr(classifying, "_within", looked)
    outcomes = classifying.put_ads(TENANT, ads(0, 1, 2, 3))
    assert built.stores.catalogue.count(TENANT) == 5
    assert all(isinstance(one, Rejection) and one.index == place for place, one in enumerate(outcomes))


def test_ads_from_before_they_were_counted_count(built: System) -> None:
    built.classifying.put_ads(TENANT, ads(0, 1, 2))
    pk, _ = built.stores.catalogue.ad_key(TENANT, "-")
    built.stores.table.update((pk, "meta"), "SET head = :h REMOVE ads", {":h": 3})
    assert built.stores.catalogue.count(TENANT) == 3
    built.classifying.put_ads(TENANT, ads(2, 3))
    assert built.stores.catalogue.count(TENANT) == 4


@pytest.fixture
def world(stores: Stores) -> World:
    return make_world(stores)


def test_copy_over_the_days_limit_is_refused_and_the_bank_still_answers(world: World) -> None:
    world.generator.texts = GOOD
    generating = world.build(quotas=limited(world.system.stores, copies_per_day=4))
    assert not isinstance(generating.copy(TENANT, CopyRequest(ad_id="p1", n=3)), str)
    asked = len(world.generator.requests)
    with pytest.raises(QuotaExceeded):
        generating.copy(TENANT, CopyRequest(ad_id="p1", n=3, fresh=True))
    with pytest.raises(AdTailorError):
        generating.copy(TENANT, CopyRequest(ad_id="p1", n=3, queued=True))
    assert len(world.generator.requests) == asked
    banked = generating.copy(TENANT, CopyRequest(ad_id="p1", n=1))
    assert not isinstance(banked, str) and banked.copies[0].served_by in ("bank", "llm")


def test_copy_that_no_model_is_asked_for_counts_for_nothing(world: World) -> None:
    health = parse_ad(PHONE | {"ad_id": "h", "domain": "health"}, index=0)
    assert isinstance(health, Ad)
    quotas = limited(world.system.stores, copies_per_day=3)
    generating = world.build(quotas=quotas)
    for queued in (False, True, False):
        generating.copy(TENANT, CopyRequest(ad=health, n=3, queued=queued))  # nothing is generated in this domain
    world.generator.texts = GOOD
    assert not isinstance(generating.copy(TENANT, CopyRequest(ad_id="p1", n=3)), str)
    with pytest.raises(QuotaExceeded):
        generating.copy(TENANT, CopyRequest(ad_id="p1", n=1, fresh=True))
    without = world.build(generator=None, quotas=quotas)
    assert not isinstance(without.copy(TENANT, CopyRequest(ad_id="p1", n=3, fresh=True)), str)


def test_a_page_of_a_pass_that_comes_again_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    generating = world.build(quotas=limited(world.system.stores, copies_per_day=3))
    job_id = generating.start_pass(TENANT, PassRequest(ad_ids=("p1",), n=3))

    def down(*_: Any, **__: Any) -> None:
        raise Unavailable("the table does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(world.system.stores.jobs, "extend", down)
        for _ in range(3):
            with pytest.raises(Unavailable):
                generating.handle_job(TENANT, job_id, cursor=0)
    generating.handle_job(TENANT, job_id, cursor=0)
    assert generating.job(TENANT, job_id).state != "failed"


def test_a_pass_over_the_days_limit_ends_and_says_why(world: World) -> None:
    generating = world.build(quotas=limited(world.system.stores, copies_per_day=1))
    job_id = generating.start_pass(TENANT, PassRequest(ad_ids=("p1",), n=3))
    generating.handle_job(TENANT, job_id, cursor=0)
    view = generating.job(TENANT, job_id)
    assert view.state == "failed" and "copies_per_day" in str(view.error)


def test_trainings_over_the_days_limit_are_not_started_and_say_why(
    aws: Aws, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(queued_trainers(stores, aws), Clock(time.time()))
    quotas = Quotas(lambda: Taken(stores.table), lambda tenant: Limits(trainings_per_day=2), clock=Clock())
    service.training = Training(
        service.trainers.stores, service.trainers.jobs, clock=service.clock, prefix="adtailor", quotas=quotas
    )
    taken = [service.upload(GOOD_LABELS, f"labels/{TENANT}/head{n}.jsonl") for n in range(4)]
    assert [one.started for one in taken] == [True, True, False, False]
    assert taken[3].row.state == "failed" and "trainings_per_day" in taken[3].row.reason
    assert service.trainers.started() == 2
    monkeypatch.setattr(service.trainers.stores.heads, "save", lambda *_: None)
    quotas = Quotas(lambda: Taken(stores.table), lambda tenant: Limits(trainings_per_day=3), clock=Clock())
    service.training._quotas = quotas
    for _ in range(2):  # somebody else writes the head's row all the time: no job of ours
        with pytest.raises(AdTailorError):
            service.upload(GOOD_LABELS, f"labels/{TENANT}/head9.jsonl")
    assert quotas.trainings(TENANT).amount == 1
