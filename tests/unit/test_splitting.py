"""Large work in chunks: whoever is cut off, wherever, nothing accepted is lost and nothing counts twice."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from functions.classify import handler as classify
from functions.profile import handler as profile
from shared import ingest, rebuilding, splitting
from shared.domain import Profile
from shared.errors import NotFound, Unavailable
from shared.stores.objects import Objects
from shared.stores.queues import Queues
from shared.stores.table import Table
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.fakes.delivery import drain, receive, sqs_event
from tests.unit.test_api import AD, AT, event, upload

KEY = f"events/{TENANT}/many.jsonl"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_chunks")]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
    monkeypatch.setattr(rebuilding, "CHUNK_PEOPLE", 3)


def lines(count: int) -> list[bytes]:
    """Events of three people: each sixth line is an event again, each fifth is broken."""
    rows = [
        event(user_id=f"u{n % 3}", event_id=f"e{n - n % 6}" if n % 6 == 5 else f"e{n}", item_id=f"i{n}")
        for n in range(count)
    ]
    return [b"{broken" if n % 5 == 4 else orjson.dumps(row) for n, row in enumerate(rows)]


def expected(body: list[bytes]) -> Counter[str]:
    """What an independent count of the file says: distinct events by person, and lines that are none."""
    good = {
        (row["user_id"], row["event_id"]) for row in map(orjson.loads, (line for line in body if line[-1:] == b"}"))
    }
    return Counter(accepted=len(good), rejected=sum(line[-1:] != b"}" for line in body))


def rows(aws: Aws, prefix: str) -> list[dict[str, Any]]:
    pages = aws.dynamodb.get_paginator("scan").paginate(TableName=aws.table)
    return [row for page in pages for row in page["Items"] if row["sk"]["S"].startswith(prefix)]


def heads(aws: Aws) -> int:
    return sum(int(row["head"]["N"]) for row in rows(aws, "meta") if "head" in row)


def chunks(aws: Aws) -> list[str]:
    return [one["Key"] for one in aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="chunks/").get("Contents", [])]


def report(built: System, key: str = KEY) -> dict[str, Any]:
    return built.stores.catalogue.upload(TENANT, key) or {}


@pytest.mark.parametrize("name", ["many.jsonl", "many.jsonl.gz"])
def test_a_large_upload_goes_in_by_chunks(built: System, aws: Aws, name: str) -> None:
    body, key = lines(30), f"events/{TENANT}/{name}"
    stored = gzip.compress(b"\n".join(body)) if name.endswith("gz") else b"\n".join(body)
    answer = upload(aws, key, stored)
    assert (answer["state"], answer["chunks"], answer["finished"]) == ("running", 8, 0)
    assert report(built, key) == {} and len(chunks(aws)) == 8
    assert profile.lambda_handler({"action": "run", "tenant": TENANT, "run": answer["run"]}, None) == {
        name: value for name, value in answer.items() if name != "key"
    }
    drain(aws.sqs, aws.event_queue_url, profile.lambda_handler, newest_first=True)
    sums, count = report(built, key), expected(body)
    assert (sums["accepted"], sums["rejected"]) == (count["accepted"], count["rejected"])
    assert sums["accepted"] + sums["duplicates"] + sums["rejected"] == 30
    assert len(rows(aws, "e/")) == heads(aws) == count["accepted"]
    rejected = built.stores.objects.get(f"rejected/{TENANT}/{name}.events.jsonl").splitlines()
    assert [orjson.loads(line)["line"] for line in rejected] == [n + 1 for n in range(30) if n % 5 == 4]
    assert chunks(aws) == []
    again = upload(aws, key, stored)
    assert again["duplicates"] == sums["accepted"] + sums["duplicates"]


def test_a_corrected_upload_leaves_no_old_rejections(built: System, aws: Aws) -> None:
    for body in (lines(30), [line for line in lines(30) if line[-1:] == b"}"], lines(3)):
        upload(aws, KEY, b"\n".join(body))
        drain(aws.sqs, aws.event_queue_url, profile.lambda_handler)
        assert built.stores.objects.exists(f"rejected/{TENANT}/many.jsonl.events.jsonl") == (len(body) == 30)


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


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 9], ids=["one chunk", "chunks"])
def test_killed_at_any_call_nothing_is_lost_or_counted_twice(
    built: System,
    aws: Aws,
    size: int,
    after: bool,
) -> None:
    """Splitter, chunks and last step of one upload after another, each cut off at another call."""
    people = Counter[str]()
    for call in itertools.count(1, 1 if size == 3 else 7):  # each seventh of many
        body = [line.replace(b':"e', b':"%d-e' % call) for line in lines(size)]
        key = f"events/{TENANT}/{call}.jsonl"
        aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=b"\n".join(body))
        record = {"eventSource": "aws:s3", "s3": {"object": {"key": key, "eTag": ""}}}
        with killed_at(call, after) as made:
            for _ in range(2):  # Lambda: the event, and again after a failure
                try:
                    profile.lambda_handler({"Records": [record]}, None)
                    break
                except Killed:
                    continue
            pending = receive(aws.sqs, aws.event_queue_url)
            while pending:
                message = pending.pop()
                try:
                    assert profile.lambda_handler(sqs_event(message), None) == {"batchItemFailures": []}
                except Killed:
                    pending.append(message)
                pending += receive(aws.sqs, aws.event_queue_url)
        sums, count = report(built, key), expected(body)
        assert (sums["accepted"], sums["rejected"]) == (count["accepted"], count["rejected"]), call
        assert sums["accepted"] + sums["duplicates"] + sums["rejected"] == size
        rejected = built.stores.objects.exists(f"rejected/{TENANT}/{call}.jsonl.events.jsonl")
        assert rejected == (count["rejected"] > 0)
        people["accepted"] += count["accepted"]
        if made[0] < call:
            break
    assert call > (6 if size == 3 else 40)
    assert len(rows(aws, "e/")) == heads(aws) == people["accepted"]
    assert [key for key in chunks(aws) if not key.endswith(".rejected.jsonl")] == []


def test_two_copies_of_one_notification_and_of_every_message_change_state_once(
    built: System,
    aws: Aws,
) -> None:
    body = lines(30)
    stored = b"\n".join(body)
    aws.s3.put_object(Bucket=aws.bucket, Key=KEY, Body=stored)
    for _ in range(2):
        record = {"eventSource": "aws:s3", "s3": {"object": {"key": KEY, "eTag": ""}}}
        assert profile.lambda_handler({"Records": [record]}, None)["uploads"][0]["chunks"] == 8
    messages = receive(aws.sqs, aws.event_queue_url)
    assert len(messages) == 8
    for message in messages + messages[::-1]:
        assert profile.lambda_handler(sqs_event(message), None) == {"batchItemFailures": []}
    sums = report(built)
    assert (sums["accepted"], sums["rejected"]) == (expected(body)["accepted"], expected(body)["rejected"])
    assert len(rows(aws, "e/")) == heads(aws) == sums["accepted"]


def test_of_two_splitters_one_gives_way(built: System, aws: Aws) -> None:
    answer = upload(aws, KEY, b"\n".join(lines(30)))
    run = built.stores.runs.get(TENANT, answer["run"])
    assert run is not None
    receive(aws.sqs, aws.event_queue_url)
    late = replace(run, cursor=None, emitted=0, whole=False)  # as the other one read it before
    uploads = built.profiling._uploads
    left = splitting.Splitter(built.stores, "events").split(late, uploads, lambda: 900.0)
    assert left == run
    assert len(receive(aws.sqs, aws.event_queue_url)) == 1  # a chunk that was queued before: it counts once


def test_of_two_that_write_the_result_the_late_one_finds_it_done(
    built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = upload(aws, KEY, b"\n".join(lines(30)))
    uploads = built.profiling._uploads
    finish = type(uploads).finish
    beaten: list[Any] = []

    def late(self: Any, run: Any) -> None:
        if not beaten:
            beaten.append(run)
            splitting.Splitter(built.stores, "events")._finish_if_complete(run, uploads)
        finish(self, run)

    monkeypatch.setattr(type(uploads), "finish", late)
    for chunk in range(answer["chunks"]):
        built.profiling.go_on(TENANT, answer["run"], chunk)
    assert beaten and report(built)["rejected"] == expected(lines(30))["rejected"]
    assert built.stores.objects.exists(f"rejected/{TENANT}/many.jsonl.events.jsonl") and chunks(aws) == []


def test_without_time_left_the_rest_is_split_later(
    built: System,
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return int(splitting.MARGIN_SECONDS * 1000) - 1

    body = lines(30)
    aws.s3.put_object(Bucket=aws.bucket, Key=KEY, Body=b"\n".join(body))
    record = {"eventSource": "aws:s3", "s3": {"object": {"key": KEY, "eTag": ""}}}
    (answer,) = profile.lambda_handler({"Records": [record]}, Context())["uploads"]
    assert (answer["state"], answer["chunks"]) == ("splitting", 1)
    deliveries = drain(aws.sqs, aws.event_queue_url, lambda event, _: profile.lambda_handler(event, Context()))
    assert deliveries == 8 + 8  # each split makes a chunk and a message to go on; the last chunk ends the file
    assert report(built)["accepted"] == expected(body)["accepted"]


def test_an_object_that_is_replaced_while_it_is_split_ends_there_and_says_so(
    built: System,
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = upload(aws, KEY, b"\n".join(lines(30)))
    run = built.stores.runs.get(TENANT, first["run"])
    assert run is not None and run.cursor is not None
    receive(aws.sqs, aws.event_queue_url)
    aws.s3.put_object(Bucket=aws.bucket, Key=KEY, Body=b"\n".join(lines(8)))
    (chunk,) = built.profiling._uploads.chunks(replace(run, whole=False))
    assert chunk.last and chunk.problem and "replaced" in chunk.problem


def test_a_chunk_that_is_gone_fails_and_names_its_message(
    built: System,
    aws: Aws,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upload(aws, KEY, b"\n".join(lines(30)))
    built.stores.objects.delete(chunks(aws))
    (message, *_) = receive(aws.sqs, aws.event_queue_url)
    failed = profile.lambda_handler(sqs_event(message, 3), None)
    assert failed == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}
    errors = [vars(record)["message_id"] for record in caplog.records if record.levelname == "ERROR"]
    assert errors == [message["MessageId"]]


def test_a_batch_reports_only_what_failed(built: System, aws: Aws) -> None:
    upload(aws, KEY, b"\n".join(lines(30)))
    messages = receive(aws.sqs, aws.event_queue_url)[:3]
    records = [record for message in messages for record in sqs_event(message)["Records"]]
    records[1]["body"] = "{torn"
    answer = profile.lambda_handler({"Records": records}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": messages[1]["MessageId"]}]}


# Rebuild ------------------------------------------------------------------------------------------------------------


def profiles(built: System, users: int) -> list[Profile]:
    return [replace(built.profiling.profile(TENANT, f"u{n}")[0], version=0, segments=()) for n in range(users)]


@pytest.mark.parametrize("stale_only", [False, True])
def test_every_profile_is_rebuilt_from_its_events(
    built: System,
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    stale_only: bool,
) -> None:
    monkeypatch.setattr(built, "clock", lambda: 1_795_200_000.0)
    users = 10
    body = [event(user_id=f"u{n % users}", event_id=f"e{n}", text="a phone", timestamp=AT) for n in range(40)]
    upload(aws, KEY, b"\n".join(map(orjson.dumps, body)))
    drain(aws.sqs, aws.event_queue_url, profile.lambda_handler)
    before = profiles(built, users)
    assert all(one.interests and one.events == 4 for one in before)
    for row in rows(aws, "profile") + rows(aws, "state"):  # as if an earlier version had made them wrongly
        key = {name: row[name] for name in ("pk", "sk")}
        if row["sk"]["S"] == "profile":
            values = {":none": {"B": b"[]"}, ":empty": {"B": b""}, ":zero": {"N": "0"}}
            change = "SET interests = :none, vectors = :empty" + (", folded = :zero" if stale_only else "")
            used = values if stale_only else {name: value for name, value in values.items() if name != ":zero"}
            aws.dynamodb.update_item(
                TableName=aws.table, Key=key, UpdateExpression=change, ExpressionAttributeValues=used
            )
        elif stale_only:
            aws.dynamodb.delete_item(TableName=aws.table, Key=key)
    call = {"action": "rebuild", "tenant": TENANT} | ({"stale_only": True} if stale_only else {})
    answer = profile.lambda_handler(call, None)
    assert (answer["kind"], answer["state"]) == ("profiles", "running")
    drain(aws.sqs, aws.event_queue_url, profile.lambda_handler)
    run = built.profiling.run(TENANT, answer["run"])
    assert run.done and run.accepted == users
    reads = type(built.profiles)._fold
    monkeypatch.setattr(type(built.profiles), "_fold", None)  # what is read now is what was stored
    assert profiles(built, users) == before
    assert reads is not None


def test_an_unknown_run_is_not_found(built: System) -> None:
    with pytest.raises(NotFound):
        built.profiling.go_on(TENANT, "none", 0)
    answer = profile.lambda_handler({"action": "run", "tenant": TENANT, "run": "none"}, None)
    assert answer["error"]["status"] == 404


# Ads ----------------------------------------------------------------------------------------------------------------


def ads(count: int, **fields: Any) -> bytes:
    return b"\n".join(orjson.dumps(AD | {"ad_id": f"a{n % 5}", "title": f"phone {n}"} | fields) for n in range(count))


def titles(built: System) -> dict[str, str]:
    return {stored.ad.ad_id: stored.ad.title for stored in built.stores.catalogue.iter_ads(TENANT)}


def test_the_last_line_about_an_ad_holds_whatever_chunk_comes_last(built: System, aws: Aws) -> None:
    upload(aws, f"ads/{TENANT}/many.jsonl", ads(18))
    drain(aws.sqs, aws.ad_queue_url, classify.lambda_handler, newest_first=True)
    assert titles(built) == {"a0": "phone 15", "a1": "phone 16", "a2": "phone 17", "a3": "phone 13", "a4": "phone 14"}
    sums = report(built, f"ads/{TENANT}/many.jsonl")
    assert sums["accepted"] + sums["duplicates"] == 18
    assert classify.lambda_handler({"action": "publish", "tenant": TENANT}, None)["snapshot"]


def test_an_older_upload_that_comes_late_does_not_win(built: System, aws: Aws) -> None:
    times = iter([1000.0, 2000.0, 3000.0])
    keys = [f"ads/{TENANT}/{name}.jsonl" for name in ("old", "new", "same")]
    opened = built.stores.objects.open
    contents = {keys[0]: ads(18), keys[1]: ads(18, brand="New"), keys[2]: ads(18, brand="New")}
    modified = {key: next(times) for key in keys}

    def at_its_time(key: str, *arguments: Any, **named: Any) -> Any:
        return replace(opened(key, *arguments, **named), modified=modified.get(key, 0.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built.stores.objects, "open", at_its_time)
        waiting = []
        for key in keys:
            upload(aws, key, contents[key])
            waiting.append(receive(aws.sqs, aws.ad_queue_url))
        for messages in (waiting[1], waiting[0]):
            for message in messages:
                assert classify.lambda_handler(sqs_event(message), None) == {"batchItemFailures": []}
        assert {stored.ad.brand for stored in built.stores.catalogue.iter_ads(TENANT)} == {"New"}
        head = built.stores.catalogue.head(TENANT)
        for message in waiting[2]:
            classify.lambda_handler(sqs_event(message), None)
        assert built.stores.catalogue.head(TENANT) > head  # within the file titles change, the last ones are the same
    request = {"ads": [AD | {"ad_id": "a0", "title": "phone by request"}]}
    built.classifying.put_ads(TENANT, request["ads"])
    assert titles(built)["a0"] == "phone by request"


def test_a_service_that_fails_once_is_asked_again(built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(aws, KEY, b"\n".join(lines(30)))
    (message, *_) = receive(aws.sqs, aws.event_queue_url)
    finish = type(built.stores.runs).finish_chunk

    def fails(*_: Any) -> bool:
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(type(built.stores.runs), "finish_chunk", fails)
    assert profile.lambda_handler(sqs_event(message), None)["batchItemFailures"]
    monkeypatch.setattr(type(built.stores.runs), "finish_chunk", finish)
    assert profile.lambda_handler(sqs_event(message), None) == {"batchItemFailures": []}
    (row,) = [r for r in rows(aws, "run") if r["sk"]["S"] == "run"]
    assert int(row["accepted"]["N"]) == len(rows(aws, "e/"))


def test_a_line_nested_too_deeply_is_rejected_and_the_rest_goes_in(built: System, aws: Aws) -> None:
    deep = b'{"user_id": "u0", "event": "view", "x": ' + b"[" * 300 + b"]" * 300 + b"}"
    answer = upload(aws, KEY, b"\n".join([*lines(2), deep]))
    assert (answer["accepted"], answer["rejected_count"]) == (2, 1)
    assert answer["rejected"][0] | {"reason": ""} == {"index": 3, "field": "row", "reason": ""}


def test_an_upload_that_was_replaced_while_its_chunks_waited_leaves_the_later_report(
    built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = built.stores.objects.open
    times = iter([1000.0, 2000.0])
    now = [next(times)]
    monkeypatch.setattr(built.stores.objects, "open", lambda *a, **n: replace(opened(*a, **n), modified=now[0]))
    upload(aws, KEY, b"\n".join(lines(30)))
    now[0] = next(times)
    corrected = upload(aws, KEY, b"\n".join(lines(3)))
    assert corrected["accepted"] == 3
    drain(aws.sqs, aws.event_queue_url, profile.lambda_handler)
    assert report(built)["accepted"] == 3
    assert not built.stores.objects.exists(f"rejected/{TENANT}/many.jsonl.events.jsonl")


def test_a_publish_that_cannot_be_queued_is_queued_by_the_repeat(
    built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"ads/{TENANT}/few.jsonl"
    urls = built.stores.queues._urls
    monkeypatch.setattr(built.stores.queues, "_urls", {})
    with pytest.raises(Unavailable):
        upload(aws, key, ads(2))
    monkeypatch.setattr(built.stores.queues, "_urls", urls)
    upload(aws, key, ads(2))
    (message,) = aws.sqs.receive_message(QueueUrl=aws.catalogue_queue_url, WaitTimeSeconds=3)["Messages"]
    assert orjson.loads(message["Body"])["action"] == "publish"


def test_a_rebuild_notes_how_far_it_got_where_nobody_is_found(
    built: System, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "CHUNK_PAGES", 1)
    monkeypatch.setattr(
        type(built.stores.people), "uid_pages", lambda *_: iter([([], ("a", "b")), ([], ("c", "d")), ([], None)])
    )
    run = built.profiling.rebuild(TENANT, remaining=lambda: 0.0)
    assert (run.cursor, run.emitted, run.whole) == ({"pk": "a", "sk": "b"}, 0, False)
    drain(aws.sqs, aws.event_queue_url, profile.lambda_handler)
    assert built.profiling.run(TENANT, run.run_id).done
