"""Counts what calls of boto3 clients are billed for: DynamoDB's request units by item size, S3's and SQS's requests.

Units follow the developer guide's rules ("DynamoDB item sizes and formats", "DynamoDB throughput capacity", "Local
secondary indexes"): a read unit is 4 KB read consistently, a write unit 1 KB of the larger of the item before and
after; each key of a batch is rounded up on its own, the rows of a query together; a transaction counts twice; an item
with the index's key is written to the index too. Whether the index's share of a transaction counts twice is not said
there: here it does, which is the higher figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

ITEM_OVERHEAD = 100  # bytes that DynamoDB bills for each item and each index entry at rest
_READ_BYTES = 4096
_WRITE_BYTES = 1024
_MESSAGE_BYTES = 64 * 1024  # SQS bills a request for each
# S3 bills these at the higher of its two prices of a request; deletions are free.
_S3_WRITES = frozenset(
    {"PutObject", "CopyObject", "ListObjectsV2", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
)
_S3_FREE = frozenset({"DeleteObject", "DeleteObjects", "AbortMultipartUpload"})

Item = Mapping[str, Any]  # in DynamoDB's wire form


@dataclass
class Work:
    """What was asked of AWS.

    read_units, write_units: DynamoDB's request units. sqs: billed requests. stored: bytes more at rest in the table and
    its index. calls: requests by operation, one after another. partitions: [read, write] units by kind of key.
    """

    read_units: float = 0.0
    write_units: float = 0.0
    s3_writes: float = 0.0
    s3_reads: float = 0.0
    s3_bytes_read: float = 0.0
    sqs: float = 0.0
    stored: float = 0.0
    refused: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)
    partitions: dict[str, list[float]] = field(default_factory=dict)

    def __add__(self, other: Work) -> Work:
        both = Work(**{name: getattr(self, name) + getattr(other, name) for name in _NUMBERS})
        for one in (self, other):
            for name, count in one.calls.items():
                both.calls[name] = both.calls.get(name, 0) + count
            for name, (reads, writes) in one.partitions.items():
                before = both.partitions.get(name, [0.0, 0.0])
                both.partitions[name] = [before[0] + reads, before[1] + writes]
        return both

    def __mul__(self, times: float) -> Work:
        """So many of it, or a part of it."""
        product = Work(**{name: getattr(self, name) * times for name in _NUMBERS})
        product.calls = {name: count * times for name, count in self.calls.items()}
        product.partitions = {name: [units * times for units in both] for name, both in self.partitions.items()}
        return product

    def add_read(self, units: float, partition: str) -> None:
        self.read_units += units
        self.partitions.setdefault(partition, [0.0, 0.0])[0] += units

    def add_write(self, units: float, partition: str) -> None:
        self.write_units += units
        self.partitions.setdefault(partition, [0.0, 0.0])[1] += units


_NUMBERS = tuple(one.name for one in fields(Work) if one.type == "float")


def item_bytes(item: Item) -> int:
    """Size of an item as DynamoDB counts it."""
    return sum(len(name.encode()) + value_bytes(value) for name, value in item.items())


def value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(content)
    if kind == "N":
        return number_bytes(content)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + value_bytes(one) for name, one in content.items())
    if kind == "L":
        return 3 + sum(1 + value_bytes(one) for one in content)
    return sum(value_bytes({kind[0]: one}) for one in content)  # a set


def number_bytes(number: str) -> int:
    """One byte for two significant digits, one more, and one for a minus; at most 21."""
    mantissa = number.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0")
    return min(21, math.ceil(len(mantissa) / 2) + 1 + number.startswith("-"))


def read_units(size: int, *, consistent: bool = True) -> float:
    """Of one item of `size` bytes, or of a query's rows together; what is not there costs as much as the smallest."""
    return max(1, math.ceil(size / _READ_BYTES)) * (1.0 if consistent else 0.5)


def write_units(before: Item | None, after: Item | None, index_key: str = "seq") -> int:
    """Of one plain write, the index entry included."""
    sizes = [item_bytes(item) if item else 0 for item in (before, after)]
    return _kilobytes(max(sizes)) + index_units(before, after, index_key)


def index_units(before: Item | None, after: Item | None, index_key: str = "seq") -> int:
    """Of what the write changes in a local index that holds every attribute."""
    old = before if before and index_key in before else None
    new = after if after and index_key in after else None
    if old is not None and new is not None:
        if old == new:
            return 0
        if old[index_key] == new[index_key]:
            return _kilobytes(max(item_bytes(old), item_bytes(new)))
        return _kilobytes(item_bytes(old)) + _kilobytes(item_bytes(new))
    entry = old if old is not None else new
    return _kilobytes(item_bytes(entry)) if entry is not None else 0


def _kilobytes(size: int) -> int:
    return max(1, math.ceil(size / _WRITE_BYTES))


def partition_kind(pk: str) -> str:
    """A partition key without its ids: ``t/demo/p/ab12`` as ``t/{tenant}/p/…``."""
    first, *rest = pk.split("/")
    if first != "t":
        return f"{first}/…"
    return f"t/{{tenant}}/{rest[1]}" + ("/…" if len(rest) > 2 else "")


class Meter:
    """Counts what goes through boto3 clients into `work`, which may be exchanged between two operations.

    lookup: (table, key) to the whole item or None, uncounted: a projection saves no units, and a write costs by the
    item before and after it.
    """

    def __init__(self, lookup: Callable[[str, Item], Item | None], index_key: str = "seq") -> None:
        self.work = Work()
        self._lookup = lookup
        self._index_key = index_key

    def watch(self, *clients: Any) -> None:
        for client in clients:
            name = client.meta.service_model.service_id.hyphenize()
            client.meta.events.register(f"provide-client-params.{name}", self._asked)
            client.meta.events.register(f"after-call.{name}", self._answered)

    def take(self) -> Work:
        """What was counted since the last time."""
        done, self.work = self.work, Work()
        return done

    def _asked(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["metered"] = params
        if model.service_model.service_name == "dynamodb":
            context["before"] = [self._lookup(table, key) for table, key in _written(model.name, params)]

    def _answered(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        params = context["metered"]
        self.work.calls[model.name] = self.work.calls.get(model.name, 0) + 1
        service = model.service_model.service_name
        # An object that is not there is an answer: no ranker has been promoted yet.
        self.work.refused += "Error" in parsed and service != "s3"
        if service == "dynamodb":
            self._dynamodb(model.name, params, parsed, context["before"])
        elif service == "s3":
            self.work.s3_writes += model.name in _S3_WRITES
            self.work.s3_reads += model.name not in _S3_WRITES | _S3_FREE
            self.work.s3_bytes_read += parsed.get("ContentLength", 0) if model.name == "GetObject" else 0
        elif service == "sqs":
            self.work.sqs += max(1, math.ceil(len(params.get("MessageBody", "").encode()) / _MESSAGE_BYTES))

    def _dynamodb(self, name: str, params: dict[str, Any], parsed: dict[str, Any], before: list[Item | None]) -> None:
        consistent = params.get("ConsistentRead", False)
        if name == "GetItem":
            self._read(params["TableName"], [params["Key"]], consistent)
        elif name == "BatchGetItem":
            for table, request in params["RequestItems"].items():
                self._read(table, request["Keys"], request.get("ConsistentRead", False))
        elif name in ("Query", "Scan"):
            size = sum(item_bytes(item) for item in parsed.get("Items", ()))
            pk = params.get("ExpressionAttributeValues", {}).get(":pk", {}).get("S", "")
            self.work.add_read(read_units(size, consistent=consistent), partition_kind(pk))
        else:
            times = 2 if name == "TransactWriteItems" else 1
            for (table, key), old in zip(_written(name, params), before, strict=True):
                new = self._lookup(table, key)
                units = times * write_units(old, new, self._index_key)
                self.work.add_write(units, partition_kind(key["pk"]["S"]))
                self.work.stored += self._at_rest(new) - self._at_rest(old)

    def _read(self, table: str, keys: list[Item], consistent: bool) -> None:
        for key in keys:
            item = self._lookup(table, key)
            units = read_units(item_bytes(item) if item else 0, consistent=consistent)
            self.work.add_read(units, partition_kind(key["pk"]["S"]))

    def _at_rest(self, item: Item | None) -> int:
        if item is None:
            return 0
        return (item_bytes(item) + ITEM_OVERHEAD) * (2 if self._index_key in item else 1)


def _written(name: str, params: Mapping[str, Any]) -> list[tuple[str, Item]]:
    """(table, key) of each item that the call writes, in order."""
    if name == "PutItem":
        return [(params["TableName"], _key(params["Item"]))]
    if name in ("UpdateItem", "DeleteItem"):
        return [(params["TableName"], params["Key"])]
    if name == "TransactWriteItems":
        actions = [action for one in params["TransactItems"] for action in one.values()]
        return [(one["TableName"], one["Key"] if "Key" in one else _key(one["Item"])) for one in actions]
    if name == "BatchWriteItem":
        return [
            (table, _key(request["PutRequest"]["Item"]) if "PutRequest" in request else request["DeleteRequest"]["Key"])
            for table, requests in params["RequestItems"].items()
            for request in requests
        ]
    return []


def _key(item: Item) -> Item:
    return {name: item[name] for name in ("pk", "sk")}
