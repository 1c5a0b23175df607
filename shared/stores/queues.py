"""SQS: copy jobs, catalogue tasks, the parts of large work on events and on ads, and the local run's training jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable
from shared.stores.faults import passing, watch

QueueName = Literal["copy", "catalogue", "events", "ads", "training"]


class Queues:
    """Sends to the named queues; receiving is the Lambda event source's business."""

    def __init__(self, client: Any, urls: Mapping[str, str]) -> None:
        self._client = client
        self._urls = urls
        watch(client, "the queue")

    def send(self, queue: QueueName, body: Mapping[str, Any], *, delay_seconds: int = 0) -> None:
        """Queues `body` as JSON.

        Raises:
            Unavailable: no such queue is configured, or SQS cannot be reached. What no repeat can mend (not allowed, no
                such queue any more) stays a ClientError.
        """
        url = self._urls.get(queue)
        if not url:
            raise Unavailable(f"no {queue} queue is configured")
        # A group makes a standard queue fair: one tenant's backlog does not keep the others' messages waiting.
        fair = {"MessageGroupId": body["tenant"]} if body.get("tenant") else {}
        text = orjson.dumps(body).decode()
        try:
            self._client.send_message(QueueUrl=url, MessageBody=text, DelaySeconds=delay_seconds, **fair)
        except (BotoCoreError, ClientError) as error:
            if unavailable := passing(error, f"the {queue} queue"):
                raise unavailable from error
            raise
