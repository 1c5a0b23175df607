"""A process whose children take uploads in and are killed with SIGKILL, each at a random moment (for test_kill.py).

``python -m tests.integration.killing KILLS SEED KEY …`` forks a child for each kill, so that none has to import
anything again; every child takes up what its predecessors left, as a new invocation does. It goes on to the next upload
until enough of them were killed, and prints how many were and which uploads are in: a fast machine needs more of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import Any

import boto3
import botocore.exceptions

from functions.profile import handler
from shared import ingest
from shared.wiring import system
from tests.fakes.delivery import sqs_event

BUSY_SECONDS = 0.7  # a child that lives longer than this has as a rule done something


def reported(key: str) -> bool:
    return system().stores.catalogue.upload(key.split("/")[1], key) is not None


def take_in(key: str) -> None:
    """What Lambda does about an upload: its event, then the queue's messages until the report is there."""
    record = {"eventSource": "aws:s3", "s3": {"object": {"key": key, "eTag": ""}}}
    handler.lambda_handler({"Records": [record]}, None)
    sqs, url = boto3.client("sqs"), os.environ["EVENT_QUEUE_URL"]
    while not reported(key):
        # Soon visible again: the child may be gone a moment later.
        answer = sqs.receive_message(QueueUrl=url, VisibilityTimeout=1, WaitTimeSeconds=1)
        for message in answer.get("Messages", ()):
            if not handler.lambda_handler(sqs_event(message), None)["batchItemFailures"]:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def in_a_child(key: str, seconds: float | None) -> bool:
    """Takes the upload in, in a child that is killed after `seconds` (None: never); whether it was killed at work."""
    pid = os.fork()
    if pid == 0:
        try:
            take_in(key)
        except botocore.exceptions.BotoCoreError:
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def main(kills: int, seed: int, keys: list[str]) -> dict[str, Any]:
    ingest.CHUNK_ROWS = 50
    source = random.Random(seed)
    killed = 0
    taken: list[str] = []
    for key in keys:
        if killed >= kills:
            break
        done = False
        while not done:
            if killed < kills:
                killed += in_a_child(key, source.uniform(0.05, BUSY_SECONDS))
            else:
                in_a_child(key, None)
            asked = os.fork()  # asked by a child as well: this process opens no connection that forks would share
            if asked == 0:
                os._exit(0 if reported(key) else 1)
            done = os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1]) == 0
        taken.append(key)
    return {"killed": killed, "taken": taken}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
