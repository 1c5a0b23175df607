"""The local stand-in for Lambda's event sources: what is deleted, what comes back, what the handler is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from infra.local.worker import Consumer, Handler
from tests.conftest import Aws

Make = Callable[..., Consumer]


@pytest.fixture
def consumer(aws: Aws) -> Make:
    """Makes a consumer of the copy queue; a failed message is visible again at once."""
    aws.sqs.set_queue_attributes(QueueUrl=aws.copy_queue_url, Attributes={"VisibilityTimeout": "60"})

    def make(handler: Handler, **options: Any) -> Consumer:
        return Consumer(aws.sqs, "copy", aws.copy_queue_url, "generate", handler, retry_seconds=0, **options)

    return make


def send(aws: Aws, *bodies: Any) -> None:
    for body in bodies:
        aws.sqs.send_message(QueueUrl=aws.copy_queue_url, MessageBody=json.dumps(body))


def left(aws: Aws) -> int:
    attributes = aws.sqs.get_queue_attributes(QueueUrl=aws.copy_queue_url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def test_a_record_looks_like_lambdas_and_is_deleted_after_success(aws: Aws, consumer: Make) -> None:
    seen: list[tuple[dict[str, Any], Any]] = []
    send(aws, {"job_id": "1"})
    assert consumer(lambda event, context: seen.append((event, context))).poll() == 1
    context, record = seen[0][1], seen[0][0]["Records"][0]
    assert json.loads(record["body"]) == {"job_id": "1"}
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"].endswith(":adtailor-copy")
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert 0 < context.get_remaining_time_in_millis() <= 900_000
    assert left(aws) == 0


def test_a_raise_brings_the_message_back(aws: Aws, consumer: Make) -> None:
    attempts: list[int] = []

    def handler(event: dict[str, Any], context: Any) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("the first time")

    send(aws, {})
    assert consumer(handler).poll() == 0
    assert left(aws) == 1
    assert consumer(handler).poll() == 1
    assert left(aws) == 0


def test_only_the_named_failures_come_back(aws: Aws, consumer: Make) -> None:
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        bad = [r["messageId"] for r in event["Records"] if json.loads(r["body"]) == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in bad]}

    send(aws, "good", "bad", "good")
    assert consumer(handler, batch=10).poll() == 2
    assert left(aws) == 1


def test_an_unknown_failure_brings_the_whole_batch_back(aws: Aws, consumer: Make) -> None:
    send(aws, 1, 2)
    answer = {"batchItemFailures": [{"itemIdentifier": "never seen"}]}
    assert consumer(lambda event, context: answer, batch=10).poll() == 0
    assert left(aws) == 2


def test_a_notification_of_s3_reaches_the_handler_as_s3_sends_it(aws: Aws, consumer: Make) -> None:
    seen: list[dict[str, Any]] = []
    record = {"eventSource": "aws:s3", "s3": {"object": {"key": "events/demo/a%20b.jsonl"}}}
    send(aws, {"Service": "Amazon S3", "Event": "s3:TestEvent"}, {"Records": [record]})
    polled = consumer(lambda event, context: seen.append(event), batch=10, unwrap=True)
    assert polled.poll() == 2
    assert seen == [{"Records": [record]}]
    assert left(aws) == 0
