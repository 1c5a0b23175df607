"""Records of idempotent requests (AWS Lambda Powertools) in the one table, under ``idem/{hash of the key}``.

A partition of its own for each record, where Powertools' composite key would put all of them into one.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer


class IdempotencyRecords(DynamoDBPersistenceLayer):
    """Powertools' store of records, on the table's keys and its time to live."""

    def __init__(self, client: Any, table_name: str) -> None:
        super().__init__(table_name=table_name, boto3_client=client, key_attr="pk", expiry_attr="expires_at")

    def _get_key(self, idempotency_key: str) -> dict[str, Any]:
        return {"pk": {"S": f"idem/{idempotency_key}"}, "sk": {"S": "idem"}}
