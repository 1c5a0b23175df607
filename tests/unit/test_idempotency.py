"""Idempotency-Key: the second copy of a request gets the first one's answer, whatever happened in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.errors import Unavailable
from shared.idempotency import KEPT_SECONDS, _person, kept
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.generation import PHONE
from tests.unit.test_api import event

pytestmark = pytest.mark.slow

KEY = {"Idempotency-Key": "one"}
Post = Callable[..., Any]


@pytest.fixture
def post(built: System) -> Post:
    def send(events: list[Any], headers: dict[str, str] = KEY, path: str = "/v1/events") -> Any:
        with TestClient(profile.app, raise_server_exceptions=False) as client:
            return client.post(path, json={"events": events}, headers=headers)

    return send


def test_the_second_copy_gets_the_first_answer(post: Post, built: System, aws: Aws) -> None:
    events = [event(event_id="a"), {"event": "view"}]
    first, second, other = post(events), post(events), post(events, {"Idempotency-Key": "two"})
    assert first.json()["accepted"] == 1 and second.json() == first.json()
    assert "idempotency-replayed" not in first.headers and second.headers["idempotency-replayed"] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert other.json()["duplicates"] == 1
    rows = [row for row in aws.dynamodb.scan(TableName=aws.table)["Items"] if row["pk"]["S"].startswith("idem/")]
    assert len(rows) == 2 and {row["sk"]["S"] for row in rows} == {"idem"}
    assert len({row["pk"]["S"] for row in rows}) == 2  # each a partition of its own
    assert all(abs(int(row["expires_at"]["N"]) - built.clock() - KEPT_SECONDS) < 60 for row in rows)
    assert not any("one" in row["pk"]["S"] or TENANT in row["pk"]["S"] for row in rows)


def test_a_key_with_another_body_is_refused(post: Post) -> None:
    assert post([event(event_id="a")]).status_code == 200
    answer = post([event(event_id="b")])
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


def test_a_failure_is_not_kept(post: Post, built: System, monkeypatch: pytest.MonkeyPatch) -> None:
    append = type(built.stores.people).append_events
    monkeypatch.setattr(type(built.stores.people), "append_events", _raise)
    failed = post([event(event_id="a")])
    assert failed.status_code == 503 and failed.headers["retry-after"]
    monkeypatch.setattr(type(built.stores.people), "append_events", append)
    assert post([event(event_id="a")]).json()["accepted"] == 1
    assert post("no list", {"Idempotency-Key": "bad"}).status_code == 422
    assert post([event(event_id="b")], {"Idempotency-Key": "bad"}).json()["accepted"] == 1


def _raise(*_: Any, **__: Any) -> None:
    raise Unavailable("the table does not answer", retry_after=2)


def test_a_copy_that_comes_while_the_first_is_under_way_waits_its_turn(
    post: Post,
    built: System,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered, leave = threading.Event(), threading.Event()
    append = type(built.stores.people).append_events

    def slow(*arguments: Any, **named: Any) -> Any:
        entered.set()
        assert leave.wait(10)
        return append(*arguments, **named)

    monkeypatch.setattr(type(built.stores.people), "append_events", slow)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(post([event(event_id="a")])))
    thread.start()
    assert entered.wait(10)
    second = post([event(event_id="a")])
    leave.set()
    thread.join()
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert answers[0].json()["accepted"] == 1
    assert post([event(event_id="a")]).json()["accepted"] == 1  # the first answer once more


def test_one_that_was_left_behind_does_not_block_for_good(
    post: Post,
    built: System,
    aws: Aws,
) -> None:
    post([event(event_id="a")])
    (row,) = [r for r in aws.dynamodb.scan(TableName=aws.table)["Items"] if r["pk"]["S"].startswith("idem/")]
    left = row | {"status": {"S": "INPROGRESS"}, "in_progress_expiration": {"N": "1"}}
    aws.dynamodb.put_item(TableName=aws.table, Item={k: v for k, v in left.items() if k != "data"})
    assert post([event(event_id="a")]).json()["duplicates"] == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "tab\tbed"])
def test_a_key_must_be_one(post: Post, key: str) -> None:
    answer = post([event(event_id="a")], {"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")


def test_reading_and_callers_without_a_tenant_are_left_alone(
    built: System,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with TestClient(recommend.app) as client:
        assert client.get("/healthz", headers=KEY).status_code == 200
    from dataclasses import replace

    monkeypatch.setattr(built, "settings", replace(built.settings, stage="prod"))
    with TestClient(profile.app) as client:
        assert client.post("/v1/events", json={"events": []}, headers=KEY).status_code == 401


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_whoever_a_request_is_for_is_read_as_the_application_reads_it(built: System, aws: Aws, before: bytes) -> None:
    post_events = built.profiling.post_events(TENANT, [event(user_id="ann", event_id="a")])
    assert post_events.accepted == 1
    built.classifying.put_ads(TENANT, [PHONE])
    built.classifying.publish(TENANT)
    for place, body in enumerate((b'{"user_id": "ann", "n": 1}', b'{"user_id": "ann ", "n": 1, "x": NaN}')):
        headers = KEY | {"Idempotency-Key": f"one-{place}", "content-type": "application/json"}
        with TestClient(recommend.app) as client:
            assert client.post("/v1/recommendations", content=before + body, headers=headers).status_code == 200
            again = client.post("/v1/recommendations", content=before + body, headers=headers)
            assert again.headers["idempotency-replayed"] == "true"
    records = [one for one in aws.dynamodb.scan(TableName=aws.table)["Items"] if one["pk"]["S"].startswith("idem/")]
    assert len(records) == 2
    for one in records:  # the answers lie with the person
        assert orjson.loads(one["data"]["S"])["body"] is None


def test_of_a_request_for_nobody_knows_whom_nothing_is_kept() -> None:
    for body in (
        b"",
        b"[",
        b"[]",
        b'"ann"',
        b'{"user_id": 5}',
        b'{"user_id": " "}',
        b'{"user_id": "ann"',
    ):
        assert _person("/v1/recommendations", body) == (None, True)
    assert _person("/v1/copy", b'{"ad_id": "p1"}') == (None, False)
    assert _person("/v1/copy", b'\xef\xbb\xbf{"user_id": "ann", "x": NaN}') == ("ann", False)
    assert not kept("/openrtb2/auction")
