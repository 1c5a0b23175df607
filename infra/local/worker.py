"""Calls the real Lambda handlers for what AWS would: uploads to S3, messages in the queues, the schedules of the
decision log and of the rankers' training; and does the training.

A process of its own, so that ingest takes no time from the API. One thread a queue; a message is deleted when its
handler succeeded, stays invisible while the handler works, and comes back after a failure until the queue's redrive
policy moves it to the dead-letter queue.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local import resources
from infra.local.training import Trainer
from shared.telemetry import raised
from shared.wiring import system

Handler = Callable[[dict[str, Any], Any], Any]

_WAIT_SECONDS = 10  # long poll
_RETRY_SECONDS = 5  # a failed message comes back after this
_LAMBDA_SECONDS = 900.0
LOG_SECONDS = 60.0
RANKER_SECONDS = 300.0  # a job starts only where a log has clicks enough, all of them older than a day


@dataclass(frozen=True, slots=True)
class Context:
    """What of Lambda's context object the handlers use."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    memory_limit_in_mb: int = 1024
    function_version: str = "$LATEST"
    deadline: float = field(default_factory=lambda: time.monotonic() + _LAMBDA_SECONDS)

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class Consumer:
    """Polls one queue and calls one function with what it receives.

    unwrap: messages are S3 notifications, and the function gets each notification as S3 itself would send it. Otherwise
    it gets a batch of SQS records and may answer with ``batchItemFailures``.
    """

    def __init__(
        self,
        sqs: Any,
        queue: str,
        url: str,
        function: str,
        handler: Handler,
        *,
        batch: int = 1,
        unwrap: bool = False,
        retry_seconds: int = _RETRY_SECONDS,
    ) -> None:
        self._sqs = sqs
        self.queue = queue
        self._url = url
        self._function = function
        self._handler = handler
        self._batch = batch
        self._unwrap = unwrap
        self._retry_seconds = retry_seconds

    def run(self, stop: threading.Event) -> None:
        """Polls until `stop` is set."""
        while not stop.is_set():
            try:
                self.poll(_WAIT_SECONDS)
            except (BotoCoreError, ClientError) as error:
                if not stop.is_set():
                    print(f"{self.queue}: {error}", file=sys.stderr, flush=True)
                    stop.wait(1)

    def poll(self, wait_seconds: int = 0) -> int:
        """Receives once and handles what came; returns how many messages were done."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._batch,
            WaitTimeSeconds=wait_seconds,
            AttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return 0
        with self._invisible(messages):
            failed = self._handle(messages)
        for message in messages:
            receipt = {"QueueUrl": self._url, "ReceiptHandle": message["ReceiptHandle"]}
            if message["MessageId"] in failed:
                self._sqs.change_message_visibility(**receipt, VisibilityTimeout=self._retry_seconds)
            else:
                self._sqs.delete_message(**receipt)
        return len(messages) - len(failed)

    def _handle(self, messages: Sequence[Mapping[str, Any]]) -> set[str]:
        """Calls the handler; returns the ids of the messages that failed."""
        ids = {message["MessageId"] for message in messages}
        try:
            if self._unwrap:
                for message in messages:
                    event = json.loads(message["Body"])
                    if event.get("Records"):  # else S3's test event
                        self._handler(event, Context(self._function))
                return set()
            event = {"Records": [sqs_record(message, self.queue) for message in messages]}
            answer = self._handler(event, Context(self._function))
        except Exception as error:  # as in Lambda, whatever a handler raises fails its batch
            print(f"{self.queue}: {self._function} failed\n{raised(error)}", file=sys.stderr, flush=True)
            return ids
        failures = answer.get("batchItemFailures") or [] if isinstance(answer, dict) else []
        named = {failure.get("itemIdentifier") for failure in failures}
        return named if named <= ids else ids  # Lambda: an unknown or empty id fails the whole batch

    @contextmanager
    def _invisible(self, messages: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """Keeps the messages from other consumers for as long as the block runs."""
        done = threading.Event()

        def extend() -> None:
            while not done.wait(resources.VISIBILITY_SECONDS / 3):
                for message in messages:
                    self._sqs.change_message_visibility(
                        QueueUrl=self._url,
                        ReceiptHandle=message["ReceiptHandle"],
                        VisibilityTimeout=resources.VISIBILITY_SECONDS,
                    )

        thread = threading.Thread(target=extend, name=f"{self.queue}-visibility", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def sqs_record(message: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """A received message as Lambda's event source hands it on."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{resources.NAME}-{queue}",
        "awsRegion": "us-east-1",
    }


def consumers(endpoint_url: str) -> list[Consumer]:
    """A consumer for every queue, with the handlers of functions/."""
    urls = resources.create(endpoint_url).queues
    handler: dict[str, Handler] = {
        function: importlib.import_module(f"functions.{function}.handler").lambda_handler
        for function in ("profile", "classify", "generate")
    }

    handler["training"] = Trainer(
        system().stores.objects,
        Path(os.environ["TRAINING_FOLDER"]),
        lambda call: handler["classify"](call, Context("classify")),
    )

    def consumer(queue: str, function: str, **options: Any) -> Consumer:
        sqs = resources.client("sqs", endpoint_url, read_timeout=_WAIT_SECONDS + 20)
        return Consumer(sqs, queue, urls[queue], function, handler[function], **options)

    return [
        consumer("uploads-events", "profile", unwrap=True),
        consumer("uploads-ads", "classify", unwrap=True),
        consumer("uploads-labels", "classify", unwrap=True),
        consumer("events", "profile"),
        consumer("ads", "classify"),
        consumer("catalogue", "classify", batch=10),
        consumer("copy", "generate"),
        consumer("training", "training"),
    ]


def scheduled(stop: threading.Event, seconds: float, function: str, call: dict[str, Any]) -> None:
    """Calls a function again and again, as AWS's schedules do."""
    handler = importlib.import_module(f"functions.{function}.handler").lambda_handler
    while not stop.wait(seconds):
        try:
            handler(call | {"asynchronous": True}, Context(function))
        except Exception as error:  # as in Lambda, which calls again
            print(f"{call['action']}: failed\n{raised(error)}", file=sys.stderr, flush=True)


def main() -> None:
    """Runs until SIGTERM; writes its process id to the file ``WORKER_READY`` when it is polling."""
    stop = threading.Event()

    def finish(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, finish)
    threads = [
        threading.Thread(target=consumer.run, args=(stop,), name=consumer.queue)
        for consumer in consumers(os.environ["AWS_ENDPOINT_URL"])
    ]
    # Of the log's last minutes too: here nobody waits for it.
    log = (LOG_SECONDS, "recommend", {"action": "export_log", "latest": True})
    ranker = (RANKER_SECONDS, "classify", {"action": "train_ranker", "started_by": "schedule"})
    threads += [threading.Thread(target=scheduled, args=(stop, *timed), name="schedule") for timed in (log, ranker)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    Path(os.environ["WORKER_READY"]).write_text(str(os.getpid()))
    stop.wait()
    for thread in threads:
        thread.join(timeout=0.2)
    # A handler that is in the middle of an upload is cut off as a Lambda is: its message comes back.
    os._exit(0)


if __name__ == "__main__":
    main()
