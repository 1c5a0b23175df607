"""Quotas in the use cases: what is over a tenant's limit is said, row by row, and what is within goes in."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from functions.profile import handler as profile
from shared.domain import CatalogueAd, Rejection
from shared.errors import AdTailorError
from shared.generating import CopyRequest, PassRequest
from shared.quotas import QuotaExceeded, Quotas
from shared.stores import Stores
from shared.stores.quotas import Taken
from shared.tenants import Limits
from shared.training import Training
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.generation import GOOD, World, make_world
from tests.fakes.system import Clock
from tests.fakes.training import GOOD as GOOD_LABELS
from tests.fakes.training import Service, queued_trainers

AT = "2026-09-20T10:00:00Z"


def limited(stores: Stores, **limits: int) -> Quotas:
    """Of the tests' tenant; another has none."""
    terms = {TENANT: Limits(**limits)}
    return Quotas(lambda: Taken(stores.table), lambda tenant: terms.get(tenant, Limits()), clock=Clock())


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
    for size, accepted in ((body, 0), (body.rsplit(b"\n", 1)[0], 5)):
        tag = aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=size)["ETag"].strip('"')
        record = {"eventSource": "aws:s3", "s3": {"object": {"key": key, "eTag": tag}}}
        told = profile.lambda_handler({"Records": [record]}, None)["uploads"][0]
        assert (told["accepted"], told["rejected_count"]) == (accepted, 0 if accepted else 6), told
    lines = built.stores.objects.keys(f"rejected/{TENANT}/")
    assert list(lines) == []  # the second upload under the key has none


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


def test_a_pass_over_the_days_limit_ends_and_says_why(world: World) -> None:
    generating = world.build(quotas=limited(world.system.stores, copies_per_day=1))
    job_id = generating.start_pass(TENANT, PassRequest(ad_ids=("p1",), n=3))
    generating.handle_job(TENANT, job_id, cursor=0)
    view = generating.job(TENANT, job_id)
    assert view.state == "failed" and "copies_per_day" in str(view.error)


def test_trainings_over_the_days_limit_are_not_started_and_say_why(aws: Aws, stores: Stores) -> None:
    service = Service(queued_trainers(stores, aws), Clock(time.time()))
    quotas = Quotas(lambda: Taken(stores.table), lambda tenant: Limits(trainings_per_day=2), clock=Clock())
    service.training = Training(
        service.trainers.stores, service.trainers.jobs, clock=service.clock, prefix="adtailor", quotas=quotas
    )
    taken = [service.upload(GOOD_LABELS, f"labels/{TENANT}/head{n}.jsonl") for n in range(4)]
    assert [one.started for one in taken] == [True, True, False, False]
    assert taken[3].row.state == "failed" and "trainings_per_day" in taken[3].row.reason
    assert service.trainers.started() == 2
