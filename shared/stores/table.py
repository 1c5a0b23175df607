"""The one DynamoDB table behind every store: plain Python values in and out, batches, transactions, paging.

Numbers come back as int or float. boto3's own TypeSerializer is not used: it refuses floats and costs more than the
rest of an ingest put together (infra/DECISIONS.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Conflict, Unavailable
from shared.stores.faults import CALL_SECONDS, give_way, held_patience, passing, patience, pause, watch

Row = dict[str, Any]
Key = tuple[str, str]

TRANSACTION_LIMIT = 100  # DynamoDB: actions in one TransactWriteItems
BATCH_GET_LIMIT = 100
BATCH_WRITE_LIMIT = 25
_BATCH_ATTEMPTS = 6
_TURNS = 30  # at rows that other writers are at
_CONFLICT_ATTEMPTS = 10
_THROTTLED_ATTEMPTS = 4  # at a transaction: botocore does not repeat one of which a part was throttled
_WHO = "the table"
_SMALLEST = 1e-120
_THROTTLED = {"None", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "ThrottlingError"}


def marshal(value: Any) -> dict[str, Any]:
    """One value in DynamoDB's wire form. Tuples become lists; None becomes NULL."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float):
        # DynamoDB refuses numbers nearer to zero than 1e-130.
        return {"N": repr(value) if value == 0 or abs(value) > _SMALLEST else "0.0"}
    if isinstance(value, bytes):
        return {"B": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, Mapping):
        return {"M": {name: marshal(item) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"L": [marshal(item) for item in value]}
    raise TypeError(f"{type(value).__name__} cannot be stored")


def unmarshal(wire: Mapping[str, Any]) -> Any:
    """The inverse of `marshal` (a tuple comes back as a list)."""
    ((kind, value),) = wire.items()
    if kind == "N":
        if value.removeprefix("-").isdigit():
            return int(value)  # exact, however many digits it has
        return float(value)
    if kind == "M":
        return {name: unmarshal(item) for name, item in value.items()}
    if kind == "L":
        return [unmarshal(item) for item in value]
    if kind == "NULL":
        return None
    if kind == "B":
        return bytes(value)
    return value


def marshal_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: marshal(value) for name, value in row.items() if value is not None}


def unmarshal_row(wire: Mapping[str, Any]) -> Row:
    return {name: unmarshal(value) for name, value in wire.items()}


class ConditionFailed(Exception):
    """A conditional write did not hold. `failed` are the places of the failed actions within the transaction."""

    def __init__(self, failed: Sequence[int] = ()) -> None:
        super().__init__(f"conditions failed at {list(failed)}")
        self.failed = tuple(failed)


class Table:
    """A DynamoDB table with string keys ``pk`` and ``sk`` and the local index ``by_seq`` (``pk``, number ``seq``).

    Every method raises `Unavailable` where AWS stays unreachable or throttled after botocore's retries, or beyond the
    patience in force (`shared.stores.faults`). What no repeat can mend (no such table, not allowed) stays ClientError.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name
        watch(client, _WHO)

    @property
    def client(self) -> Any:
        """For what brings its own way of storing."""
        return self._client

    def _call(self, operation: str, **arguments: Any) -> Any:
        if held_patience() is None:
            with patience(CALL_SECONDS):
                return self._call_patiently(operation, **arguments)
        return self._call_patiently(operation, **arguments)

    def _call_patiently(self, operation: str, **arguments: Any) -> Any:
        # A single write to a row that a transaction is at is refused; botocore does not repeat it.
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                return self._call_once(operation, **arguments)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionConflictException":
                    raise
            pause(attempt, _WHO)
        raise Unavailable("too many writers at the same row", retry_after=1)

    def _call_once(self, operation: str, **arguments: Any) -> Any:
        for attempt in range(_THROTTLED_ATTEMPTS):
            try:
                return getattr(self._client, operation)(**arguments)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    raise ConditionFailed((0,)) from error
                if code == "TransactionCanceledException":
                    reasons = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
                    failed = [place for place, reason in enumerate(reasons) if reason == "ConditionalCheckFailed"]
                    if failed or "TransactionConflict" in reasons:
                        raise ConditionFailed(failed) from error
                    if not set(reasons) <= _THROTTLED:
                        raise
                elif unavailable := passing(error, _WHO):
                    raise unavailable from error
                else:
                    raise
            except BotoCoreError as error:
                if unavailable := passing(error, _WHO):
                    raise unavailable from error
                raise
            if attempt + 1 < _THROTTLED_ATTEMPTS:
                pause(attempt, _WHO)
        raise Unavailable("the table is throttled", retry_after=2)

    def get(self, pk: str, sk: str, *, consistent: bool = True) -> Row | None:
        answer = self._call(
            "get_item", TableName=self.name, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=consistent
        )
        return unmarshal_row(answer["Item"]) if "Item" in answer else None

    def get_many(
        self, keys: Iterable[Key], *, attributes: Sequence[str] | None = None, consistent: bool = True
    ) -> dict[Key, Row]:
        """Rows by key, those that exist, in as many batches as it takes. `attributes` always include the key."""
        unique = list(dict.fromkeys(keys))
        found: dict[Key, Row] = {}
        names = (
            {f"#a{i}": name for i, name in enumerate(dict.fromkeys(["pk", "sk", *attributes]))} if attributes else {}
        )
        for start in range(0, len(unique), BATCH_GET_LIMIT):
            request: dict[str, Any] = {
                "Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in unique[start : start + BATCH_GET_LIMIT]],
                "ConsistentRead": consistent,
            }
            if names:
                request |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
            pending: dict[str, Any] = {self.name: request}
            for attempt in range(_BATCH_ATTEMPTS):
                answer = self._call("batch_get_item", RequestItems=pending)
                for wire in answer["Responses"].get(self.name, ()):
                    found[wire["pk"]["S"], wire["sk"]["S"]] = unmarshal_row(wire)
                pending = answer.get("UnprocessedKeys") or {}
                if not pending:
                    break
                pause(attempt, _WHO)
            else:
                raise Unavailable("the table is throttled", retry_after=2)
        return found

    def query(
        self, pk: str, *, prefix: str = "", after_seq: int | None = None, consistent: bool = True
    ) -> Iterator[Row]:
        """Rows of a partition in key order: those whose ``sk`` starts with `prefix`, or (by the local index, in
        ``seq`` order) those with ``seq > after_seq``."""
        arguments: dict[str, Any] = {"TableName": self.name, "ConsistentRead": consistent}
        if after_seq is not None:
            arguments |= {
                "IndexName": "by_seq",
                "KeyConditionExpression": "pk = :pk AND seq > :seq",
                "ExpressionAttributeValues": {":pk": {"S": pk}, ":seq": {"N": str(after_seq)}},
            }
        elif prefix:
            arguments |= {
                "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
                "ExpressionAttributeValues": {":pk": {"S": pk}, ":prefix": {"S": prefix}},
            }
        else:
            arguments |= {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": pk}}}
        while True:
            answer = self._call("query", **arguments)
            for wire in answer["Items"]:
                yield unmarshal_row(wire)
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def page(
        self, pk: str, prefix: str, after: str, limit: int, *, attributes: Sequence[str] | None = None
    ) -> list[Row]:
        """Up to `limit` rows of a partition whose ``sk`` is `prefix` and something greater than `after`, in the order
        of their bytes (consistent read). The prefix ends in a slash. `attributes`: without the key where it is not
        among them."""
        arguments: dict[str, Any] = {
            "TableName": self.name,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":pk": {"S": pk},
                # The least text behind `after`, and the least behind all that begins with the prefix.
                ":first": {"S": f"{prefix}{after}\0" if after else prefix},
                ":last": {"S": prefix[:-1] + chr(ord(prefix[-1]) + 1)},
            },
        }
        if attributes:
            names = {f"#a{i}": name for i, name in enumerate(attributes)}
            arguments |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
        rows: list[Row] = []
        while len(rows) < limit:
            answer = self._call("query", **arguments, Limit=limit - len(rows))
            rows += map(unmarshal_row, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return rows

    def scan(
        self, prefix: str, sk: str, *, start: Key | None = None, page: int = 500
    ) -> Iterator[tuple[list[str], Key | None]]:
        """Partition keys that begin with `prefix` and have a row `sk`, page by page over the whole table, each with the
        key to start behind next time; None behind the last page. A page reads `page` rows, whatever it finds."""
        arguments: dict[str, Any] = {
            "TableName": self.name,
            "FilterExpression": "begins_with(pk, :prefix) AND sk = :sk",
            "ExpressionAttributeValues": {":prefix": {"S": prefix}, ":sk": {"S": sk}},
            "ProjectionExpression": "pk",
            "Limit": page,
            "ConsistentRead": True,
        }
        while True:
            if start is not None:
                arguments["ExclusiveStartKey"] = {"pk": {"S": start[0]}, "sk": {"S": start[1]}}
            answer = self._call("scan", **arguments)
            last = answer.get("LastEvaluatedKey")
            start = (last["pk"]["S"], last["sk"]["S"]) if last else None
            yield [wire["pk"]["S"] for wire in answer["Items"]], start
            if start is None:
                return

    def put(self, row: Row, *, condition: str | None = None, values: Mapping[str, Any] | None = None) -> None:
        """Writes a row. Raises `ConditionFailed` where `condition` does not hold."""
        self._call("put_item", **self.put_action(row, condition=condition, values=values)["Put"])

    def put_action(
        self, row: Row, *, condition: str | None = None, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        action: dict[str, Any] = {"TableName": self.name, "Item": marshal_row(row)}
        if condition:
            action["ConditionExpression"] = condition
        if values:
            action["ExpressionAttributeValues"] = {name: marshal(value) for name, value in values.items()}
        return {"Put": action}

    def update_action(
        self,
        key: Key,
        expression: str,
        values: Mapping[str, Any],
        *,
        names: Mapping[str, str] | None = None,
        condition: str | None = None,
    ) -> dict[str, Any]:
        action: dict[str, Any] = {
            "TableName": self.name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            "UpdateExpression": expression,
        }
        if values:
            action["ExpressionAttributeValues"] = {name: marshal(value) for name, value in values.items()}
        if names:
            action["ExpressionAttributeNames"] = dict(names)
        if condition:
            action["ConditionExpression"] = condition
        return {"Update": action}

    def delete_action(
        self, key: Key, *, condition: str | None = None, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Part of a transaction: deletes a row, if there is one."""
        action = self.put_action({"pk": key[0], "sk": key[1]}, condition=condition, values=values)["Put"]
        action["Key"] = action.pop("Item")
        return {"Delete": action}

    def check_action(self, key: Key, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Part of a transaction that changes nothing itself."""
        action: dict[str, Any] = {
            "TableName": self.name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            "ConditionExpression": condition,
        }
        if values:
            action["ExpressionAttributeValues"] = {name: marshal(value) for name, value in values.items()}
        return {"ConditionCheck": action}

    def update(self, key: Key, expression: str, values: Mapping[str, Any], **options: Any) -> Row:
        """Updates a row and returns it whole as it is afterwards. Raises `ConditionFailed`."""
        action = self.update_action(key, expression, values, **options)["Update"]
        answer = self._call("update_item", ReturnValues="ALL_NEW", **action)
        return unmarshal_row(answer["Attributes"])

    def transact(self, actions: Sequence[dict[str, Any]]) -> None:
        """All or nothing. Raises `ConditionFailed` with the places that failed (none: another writer was at it)."""
        if len(actions) > TRANSACTION_LIMIT:
            raise ValueError(f"{len(actions)} actions in one transaction: at most {TRANSACTION_LIMIT}")
        if actions:
            self._call("transact_write_items", TransactItems=list(actions))

    def transact_in_turn(self, actions: Sequence[dict[str, Any]], what: str) -> bool:
        """All or nothing; False where a condition does not hold. Other writers at the same rows are waited for.

        Raises:
            Conflict: there were too many of them; `what` they were at.
        """
        for attempt in range(_TURNS):
            try:
                self.transact(actions)
                return True
            except ConditionFailed as error:
                if error.failed:
                    return False
                give_way(attempt)
        raise Conflict(f"too many writers at the same {what}", retry_after=1)

    def put_many(self, rows: Iterable[Row]) -> None:
        """Unconditional writes in batches; for rows whose content follows from their key."""
        rows = list(rows)
        for start in range(0, len(rows), BATCH_WRITE_LIMIT):
            pending: dict[str, Any] = {
                self.name: [
                    {"PutRequest": {"Item": marshal_row(row)}} for row in rows[start : start + BATCH_WRITE_LIMIT]
                ]
            }
            for attempt in range(_BATCH_ATTEMPTS):
                pending = self._call("batch_write_item", RequestItems=pending).get("UnprocessedItems") or {}
                if not pending:
                    break
                pause(attempt, _WHO)
            else:
                raise Unavailable("the table is throttled", retry_after=2)
