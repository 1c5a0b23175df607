"""Whatever goes to AWS during a run of every route, what is deleted again included: rows and messages name nobody.

The same run as that of ``tests/integration/test_nothing_leaks.py``, which searches what a local system has written in
the end; here within the process, so that every call of boto3 is seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from fastapi.testclient import TestClient

from functions.profile import handler as profile
from infra.local.api import build
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.integration.test_nothing_leaks import (
    LATE,
    NOBODY_ELSE_S,
    UPLOADED,
    WORDS,
    Run,
    events,
    found_in,
    profiles,
    recommendations,
    values,
)

Call = tuple[str, dict[str, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Operations that were asked of AWS, with their arguments."""
    seen: list[Call] = []
    real = BaseClient._make_api_call

    def noted(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        seen.append((operation, arguments))
        return real(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return seen


class InProcess:
    """A running system as `Run` asks one, without a server."""

    def __init__(self, client: TestClient) -> None:
        self.http = client


def drain(aws: Aws, queue: str, take: Any) -> int:
    """Hands a queue's messages to a function until there are none."""
    handled = 0
    while messages := aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            attributes = {"ApproximateReceiveCount": "1"}
            record = {"messageId": message["MessageId"], "body": message["Body"], "eventSource": "aws:sqs"}
            answer = take({"Records": [record | {"attributes": attributes, "eventSourceARN": "arn:aws:sqs:::q"}]}, None)
            assert answer == {"batchItemFailures": []}
            aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            handled += 1
    return handled


def sent(calls: list[Call], *, but: tuple[str, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Every value of every call that leaves something behind, but for objects of these prefixes.

    A look-up asks for what the caller named, whatever that is."""
    for operation, arguments in calls:
        read = operation.startswith(("Get", "BatchGet"))
        if not read and not str(arguments.get("Key", "")).startswith(but):
            for value in values(arguments):
                yield operation, value


@pytest.mark.slow
def test_no_call_names_anybody(built: System, aws: Aws, calls: list[Call]) -> None:
    with TestClient(build()) as client:
        run = Run(InProcess(client))  # type: ignore[arg-type]
        ad = {"ad_id": "leak-ad", "title": "a phone", "landing_url": "https://shop.example.com/7", "language": "en"}
        run.ask("PUT", "/v1/ads", body={"ads": [ad | {"domain": "ecommerce", "bid_cpm": 20}]})
        built.classifying.publish(TENANT)
        profiles(run)
        key = f"events/{TENANT}/leak.jsonl"
        rows = [json.dumps(row, ensure_ascii=False) for row in events(UPLOADED, 9) + [{"user_id": LATE}] * 1100]
        aws.s3.put_object(Bucket=aws.bucket, Key=key, Body="\n".join(rows).encode())
        record = {"eventSource": "aws:s3", "s3": {"object": {"key": key, "eTag": ""}}}
        assert profile.lambda_handler({"Records": [record]}, None)["uploads"][0]["state"] != "done"
        assert drain(aws, aws.event_queue_url, profile.lambda_handler) >= 2
        recommendations(run)
    kinds = {operation for operation, _ in calls}
    assert {"SendMessage", "TransactWriteItems", "PutObject"} <= kinds
    raw = ("events/", "chunks/")  # what was uploaded, and the pieces of it that wait for their turn
    everything = list(sent(calls, but=raw))
    assert found_in(iter(everything), WORDS[:1])  # the search sees what is kept of a text
    assert found_in(iter(everything), NOBODY_ELSE_S) == []
