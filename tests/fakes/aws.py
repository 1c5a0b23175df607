"""AWS in this process at next to no cost, for measuring what our own code costs: boto3's methods and wire forms, of one
table, one bucket and queues, as far as taking uploads in needs them. What is right is tried on moto and the emulator.
"""

from __future__ import annotations

import base64
import json
import operator
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

Wire = dict[str, Any]
Condition = Callable[[Wire, Wire, Wire], bool]
_NOT_ANSWERED = frozenset({"TableName", "ConsistentRead", "ClientRequestToken"})  # there is one table, and one caller
_TERM = re.compile(r"(attribute_not_exists|attribute_exists)\((#?\w+)\)|(#?\w+) (=|<>|<=|>=|<|>) (:\w+)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class FakeTable:
    """DynamoDB client of a table with the keys ``pk`` and ``sk``. keep: whether a row of this ``sk`` is kept, so that
    memory can be measured apart from what the table holds."""

    def __init__(self, keep: Callable[[str], bool] = lambda sk: True) -> None:
        self.rows: dict[tuple[str, str], Wire] = {}
        self.calls = 0
        self.written = 0
        self._keep = keep

    def get_item(self, *, Key: Wire, **_: Any) -> Wire:  # noqa: N803
        self.calls += 1
        row = self.rows.get(_key(Key))
        return {} if row is None else {"Item": row}

    def batch_get_item(self, *, RequestItems: Wire) -> Wire:  # noqa: N803
        self.calls += 1
        ((name, request),) = RequestItems.items()
        names = request.get("ExpressionAttributeNames")
        rows = self.rows
        found = [rows[key] for key in map(_key, request["Keys"]) if key in rows]
        if names is not None:
            wanted = names.values()
            found = [{name: row[name] for name in wanted if name in row} for row in found]
        return {"Responses": {name: found}, "UnprocessedKeys": {}}

    def put_item(self, **action: Any) -> Wire:
        self.calls += 1
        if not self._holds(action, _key(action["Item"])):
            raise _refusal("ConditionalCheckFailedException")
        self._put(action)
        return {}

    def update_item(self, *, ReturnValues: str = "NONE", **action: Any) -> Wire:  # noqa: N803
        self.calls += 1
        if not self._holds(action, _key(action["Key"])):
            raise _refusal("ConditionalCheckFailedException")
        row = self._update(action)
        return {"Attributes": row} if ReturnValues == "ALL_NEW" else {}

    def transact_write_items(self, *, TransactItems: list[Wire]) -> Wire:  # noqa: N803
        self.calls += 1
        parts = [next(iter(item.items())) for item in TransactItems]
        held = [self._holds(part, _key(part["Item"] if kind == "Put" else part["Key"])) for kind, part in parts]
        if not all(held):
            reasons = [{"Code": "None" if one else "ConditionalCheckFailed"} for one in held]
            raise _refusal("TransactionCanceledException", reasons)
        for kind, part in parts:
            if kind == "Put":
                self._put(part)
            elif kind == "Update":
                self._update(part)
        return {}

    def batch_write_item(self, *, RequestItems: Wire) -> Wire:  # noqa: N803
        self.calls += 1
        for requests in RequestItems.values():
            for request in requests:
                self._put(request["PutRequest"])
        return {"UnprocessedItems": {}}

    def query(self, *, ExpressionAttributeValues: Wire, IndexName: str = "", **_: Any) -> Wire:  # noqa: N803
        self.calls += 1
        values = ExpressionAttributeValues
        pk, prefix = values[":pk"]["S"], values.get(":prefix", {"S": ""})["S"]
        rows = [
            self.rows[key] for key in sorted(key for key in self.rows if key[0] == pk and key[1].startswith(prefix))
        ]
        if IndexName:
            after = int(values[":seq"]["N"])
            rows = [row for row in rows if "seq" in row and int(row["seq"]["N"]) > after]
            rows.sort(key=lambda row: int(row["seq"]["N"]))
        return {"Items": rows}

    def _holds(self, action: Wire, key: tuple[str, str]) -> bool:
        condition = action.get("ConditionExpression")
        if condition is None:
            return True
        values, names = action.get("ExpressionAttributeValues", {}), action.get("ExpressionAttributeNames", {})
        return _condition(condition)(self.rows.get(key, {}), values, names)

    def _put(self, action: Wire) -> None:
        item = action["Item"]
        self.written += 1
        key = _key(item)
        if self._keep(key[1]):
            self.rows[key] = item

    def _update(self, action: Wire) -> Wire:
        row = self.rows.setdefault(_key(action["Key"]), dict(action["Key"]))
        values, names = action["ExpressionAttributeValues"], action.get("ExpressionAttributeNames", {})
        for verb, name, value in _assignments(action["UpdateExpression"]):
            attribute = names.get(name, name)
            if verb == "ADD" and attribute in row:
                total = float(row[attribute]["N"]) + float(values[value]["N"])
                row[attribute] = {"N": f"{total:g}"}
            else:
                row[attribute] = values[value]
        return row


@cache
def _condition(expression: str) -> Condition:
    """Terms joined by OR and AND, in brackets where they have to be."""
    terms = [term.groups() for term in _TERM.finditer(expression)]
    joined = _TERM.sub("{}", expression)
    rest = re.sub(r"AND|OR|[(){} ]", "", joined)
    assert not rest, f"not understood: {expression}"
    form = joined.replace("AND", "and").replace("OR", "or")

    def holds(row: Wire, values: Wire, names: Wire) -> bool:
        return bool(eval(form.format(*(_term(part, row, values, names) for part in terms))))  # of True, False, and, or

    return holds


def _term(part: tuple[str | Any, ...], row: Wire, values: Wire, names: Wire) -> bool:
    function, tested, left, sign, right = part
    if function:
        return bool((names.get(tested, tested) in row) == (function == "attribute_exists"))
    name = names.get(left, left)
    if name not in row:
        return False
    held, value = row[name], values[right]
    if "N" in held and "N" in value:
        return _SIGNS[sign](float(held["N"]), float(value["N"]))
    return _SIGNS[sign](held, value)


@cache
def _assignments(expression: str) -> list[tuple[str, str, str]]:
    """(SET or ADD, name, value) of ``SET a = :a, b = :b ADD c :c``."""
    found = []
    for verb, body in re.findall(r"(SET|ADD) (.*?)(?= ADD | SET |$)", expression):
        for part in body.split(", "):
            name, value = part.split(" = ") if verb == "SET" else part.split(" ")
            found.append((verb, name, value))
    return found


def _key(wire: Wire) -> tuple[str, str]:
    return wire["pk"]["S"], wire["sk"]["S"]


def _refusal(code: str, reasons: list[Wire] | None = None) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(answer | ({"CancellationReasons": reasons} if reasons else {}), "TransactWriteItems")


class FakeBucket:
    """S3 client of objects that are files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        return self._folder / key.replace("/", "|")

    def get_object(self, *, Key: str, **arguments: Any) -> Wire:  # noqa: N803
        if not self.path(Key).exists():
            raise _refusal("NoSuchKey")
        start = int(arguments.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return {
            "Body": _Body(self.path(Key), start),
            "ETag": f'"{Key}"',
            "LastModified": datetime(2026, 9, 1, tzinfo=UTC),
        }

    def put_object(self, *, Key: str, Body: Any, **_: Any) -> Wire:  # noqa: N803
        self.path(Key).write_bytes(Body if isinstance(Body, bytes) else Body.read())
        return {}

    def delete_objects(self, *, Delete: Wire, **_: Any) -> Wire:  # noqa: N803
        for entry in Delete["Objects"]:
            self.path(entry["Key"]).unlink(missing_ok=True)
        return {}


class _Body:
    """A file from `start` on, closed once it is read whole."""

    def __init__(self, path: Path, start: int) -> None:
        self._file = path.open("rb")
        self._file.seek(start)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if size < 0:
            self.close()
        return data

    def close(self) -> None:
        self._file.close()


class FakeQueues:
    """SQS client: the bodies of the messages, in the order in which they were sent."""

    def __init__(self) -> None:
        self.bodies: deque[str] = deque()

    def send_message(self, *, MessageBody: str, **_: Any) -> Wire:  # noqa: N803
        self.bodies.append(MessageBody)
        return {}

    def drain(self) -> Iterator[Wire]:
        while self.bodies:
            yield json.loads(self.bodies.popleft())


class WiredTable:
    """Answers a real boto3 client from a `FakeTable` within the process: what is left is all that boto3 does for a call
    but for the socket. `answering` is the CPU time (s) of the answers, which is no cost of the client's."""

    def __init__(self, client: Any, table: FakeTable) -> None:
        self.table = table
        self.answering = 0.0
        client.meta.events.register("before-send.dynamodb", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        began = time.process_time()
        operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        arguments = json.loads(request.body, object_hook=_bytes_of)
        arguments = {key: value for key, value in arguments.items() if key not in _NOT_ANSWERED}
        status = 200
        try:
            answer = getattr(self.table, name)(**arguments)
        except ClientError as error:
            answer, status = {"__type": error.response["Error"]["Code"], **error.response}, 400
        body = json.dumps(answer, default=lambda value: base64.b64encode(value).decode()).encode()
        self.answering += time.process_time() - began
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, _Raw(body))


def _bytes_of(value: Wire) -> Wire:
    return {"B": base64.b64decode(value["B"])} if value.keys() == {"B"} and isinstance(value["B"], str) else value


class _Raw:
    """The part of a urllib3 response that botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body
