"""SQS: the queue of copy jobs and the queue of catalogue tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable

QueueName = Literal["copy", "catalogue"]


class Queues:
    """Sends to the named queues; receiving is the Lambda event source's business."""

    def __init__(self, client: Any, urls: Mapping[str, str]) -> None:
        self._client = client
        self._urls = urls

    def send(self, queue: QueueName, body: Mapping[str, Any], *, delay_seconds: int = 0) -> None:
        """Queues `body` as JSON.

        Raises:
            Unavailable: no such queue is configured, or SQS cannot be reached.
        """
        url = self._urls.get(queue)
        if not url:
            raise Unavailable(f"no {queue} queue is configured")
        try:
            self._client.send_message(QueueUrl=url, MessageBody=orjson.dumps(body).decode(), DelaySeconds=delay_seconds)
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"the {queue} queue cannot be reached", retry_after=2) from error
