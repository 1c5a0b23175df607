"""Messages of a queue handed to a Lambda handler as the event source does: again where it failed, until it is empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Handler = Callable[[dict[str, Any], Any], Any]


def sqs_event(message: dict[str, Any], receives: int = 1) -> dict[str, Any]:
    """A received message as the event that Lambda makes of it."""
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:queue",
        "awsRegion": "eu-central-1",
    }
    return {"Records": [record]}


def receive(sqs: Any, queue_url: str) -> list[dict[str, Any]]:
    """Everything that the queue holds, taken off it."""
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        found += messages
    return found


def drain(sqs: Any, queue_url: str, handler: Handler, *, newest_first: bool = False, attempts: int = 5) -> int:
    """Delivers until the queue is empty; returns how many deliveries it took.

    Raises:
        AssertionError: a message fails `attempts` times.
    """
    deliveries = 0
    while messages := receive(sqs, queue_url):
        for message in reversed(messages) if newest_first else messages:
            for attempt in range(attempts):
                deliveries += 1
                if handler(sqs_event(message, attempt + 1), None) == {"batchItemFailures": []}:
                    break
            else:
                raise AssertionError(f"the message fails for good: {message['Body']}")
    return deliveries
