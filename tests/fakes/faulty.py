"""AWS with faults: an HTTP proxy on 127.0.0.1 before the emulator that fails as DynamoDB, S3 and SQS do.

Rules are asked in their order, and the first that holds acts; what no rule wants is passed on. Every call is counted,
also those that never reach the emulator, so that a test can bound what retries cost.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "x-amz-crc32"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of HTTP."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of a client. `service`: dynamodb, s3 or sqs; `operation` as boto3's model names it."""

    service: str
    operation: str
    path: str
    body: bytes
    handler: BaseHTTPRequestHandler
    forward: Callable[[bytes], Answer]
    over: threading.Event  # set when the proxy stops

    def reply(self, answer: Answer, *, cut: int | None = None) -> None:
        """Sends the answer; `cut`: only so many bytes of the body that it announces."""
        self.handler.send_response(answer.status)
        for name, value in answer.headers:
            self.handler.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in answer.headers):
            self.handler.send_header("Content-Length", str(len(answer.body)))
        self.handler.end_headers()
        if self.handler.command != "HEAD":
            self.handler.wfile.write(answer.body if cut is None else answer.body[:cut])
        if cut is not None:
            self.handler.close_connection = True


Act = Callable[[Call], None]


@dataclass
class Rule:
    """What happens to which calls.

    operation: any where empty. skip: so many calls that it fits pass first; times: it acts on so many after them.
    probability: with which it acts on one. seconds: for so long after it was added. where: a text in path or body.
    """

    service: str
    act: Act
    operation: str = ""
    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    seconds: float | None = None
    where: str = ""
    fitted: int = 0
    acted: int = 0
    added: float = field(default_factory=time.monotonic)

    def holds(self, call: Call, chance: random.Random) -> bool:
        if self.service != call.service or self.operation not in ("", call.operation):
            return False
        if self.where and self.where.encode() not in call.body and self.where not in call.path:
            return False
        self.fitted += 1
        if self.fitted <= self.skip or (self.times is not None and self.acted >= self.times):
            return False
        if self.seconds is not None and time.monotonic() - self.added > self.seconds:
            return False
        if self.probability < 1.0 and chance.random() >= self.probability:
            return False
        self.acted += 1
        return True


@dataclass
class FaultyAws:
    """The running proxy. `calls`: how often each (service, operation) was tried."""

    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    lost: dict[str, Answer] = field(default_factory=dict)  # by a transaction's token, what its client never heard
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, service: str, act: Act, operation: str = "", **options: Any) -> Rule:
        """Adds a rule (see `Rule`) and forgets the counts."""
        rule = Rule(service, act, operation, **options)
        with self.lock:
            self.rules.append(rule)
            self.calls.clear()
        return rule

    def heal(self) -> None:
        """From now on everything passes; the counts begin anew."""
        with self.lock:
            self.rules.clear()
            self.calls.clear()

    def tried(self, service: str) -> int:
        """How many attempts reached a service's address since the last rule was added."""
        with self.lock:
            return sum(count for (name, _), count in self.calls.items() if name == service)

    def choose(self, call: Call) -> Act | None:
        with self.lock:
            self.calls[call.service, call.operation] += 1
            return next((rule.act for rule in self.rules if rule.holds(call, self.chance)), None)


@contextmanager
def faulty_aws(emulator: str) -> Iterator[FaultyAws]:
    """Serves before the emulator at that URL."""
    state = FaultyAws()
    place = urlsplit(emulator)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.upstream = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)

        def finish(self) -> None:
            self.upstream.close()
            super().finish()

        def handle_call(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            service, operation = _named(self)
            call = Call(service, operation, self.path, body, self, self.forward, over)
            act = state.choose(call)
            # The emulator rewrites a transaction's numbers in place, so it takes its repeat for another one.
            token = token_of(call)
            known = state.lost.get(token)
            try:
                if act is None:
                    call.reply(known or self.forward(body))
                elif act is answer_lost:
                    done = known or self.forward(body)
                    if token and done.status == 200:
                        state.lost[token] = done
                    broken_off(call)
                else:
                    act(call)
            except OSError:  # the client gave up
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_call  # noqa: N815

        def forward(self, body: bytes) -> Answer:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "expect"}}
            headers["Content-Length"] = str(len(body))
            try:
                self.upstream.request(self.command, self.path, body, headers)
                answer = self.upstream.getresponse()
            except (http.client.HTTPException, ConnectionError):  # kept alive for too long
                self.upstream.close()
                self.upstream.request(self.command, self.path, body, headers)
                answer = self.upstream.getresponse()
            content = answer.read()
            kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _HOP)
            if self.command == "HEAD":
                kept += tuple((n, v) for n, v in answer.getheaders() if n.lower() == "content-length")
            return Answer(answer.status, kept, content)

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), OSError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def token_of(call: Call) -> str:
    """What makes the repeats of one transaction known; of anything else, nothing does ("")."""
    if call.operation != "TransactWriteItems":
        return ""
    return str(json.loads(call.body)["ClientRequestToken"])


def _named(handler: BaseHTTPRequestHandler) -> tuple[str, str]:
    """Service and operation of a request."""
    target = handler.headers.get("X-Amz-Target", "")
    if target:
        service, _, operation = target.partition(".")
        return ("sqs" if service == "AmazonSQS" else "dynamodb"), operation
    parts = urlsplit(handler.path)
    query = parse_qs(parts.query, keep_blank_values=True)
    if "list-type" in query:
        return "s3", "ListObjectsV2"
    if "delete" in query:
        return "s3", "DeleteObjects"
    kind = "Object" if parts.path.strip("/").count("/") else "Bucket"
    verb = {"GET": "Get", "PUT": "Put", "HEAD": "Head", "DELETE": "Delete", "POST": "Post"}[handler.command]
    return "s3", f"{verb}{kind}"


# What may happen ----------------------------------------------------------------------------------------------------


def error(status: int, code: str, message: str = "as the test wants it", **more: Any) -> Act:
    """The service's own error document, without asking it."""

    def act(call: Call) -> None:
        if call.service == "s3":
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            call.reply(Answer(status, (("Content-Type", "application/xml"),), body))
            return
        space = "com.amazonaws.dynamodb.v20120810" if call.service == "dynamodb" else "com.amazonaws.sqs"
        document = {"__type": f"{space}#{code}", "message": message} | more
        kind = "application/x-amz-json-1.0"
        call.reply(Answer(status, (("Content-Type", kind),), json.dumps(document).encode()))

    return act


def throttled() -> Act:
    """Each service's "too many requests"."""
    own = {
        "dynamodb": error(400, "ThrottlingException"),
        "s3": error(503, "SlowDown"),
        "sqs": error(503, "ServiceUnavailable"),
    }
    return lambda call: own[call.service](call)


def cancelled(*reasons: str) -> Act:
    """A transaction that was cancelled for reasons of its parts; the last reason is that of all further parts."""

    def act(call: Call) -> None:
        parts = len(json.loads(call.body)["TransactItems"])
        named = [reasons[min(place, len(reasons) - 1)] for place in range(parts)]
        listed = [{"Code": name, "Message": "as the test wants it"} for name in named]
        error(400, "TransactionCanceledException", f"[{', '.join(named)}]", CancellationReasons=listed)(call)

    return act


def half_done(call: Call) -> None:
    """Of a batch only the first half is done (of one, nothing); the rest comes back as unprocessed."""
    request = json.loads(call.body)
    writes = call.operation == "BatchWriteItem"
    ((table, wanted),) = request["RequestItems"].items()
    keys = wanted if writes else wanted["Keys"]
    done, left = keys[: len(keys) // 2], keys[len(keys) // 2 :]

    def of(part: list[Any]) -> dict[str, Any]:
        return {table: part if writes else wanted | {"Keys": part}}

    document: dict[str, Any] = {} if writes else {"Responses": {table: []}}
    if done:
        document = json.loads(call.forward(json.dumps(request | {"RequestItems": of(done)}).encode()).body)
    document["UnprocessedItems" if writes else "UnprocessedKeys"] = of(left)
    call.reply(Answer(200, (("Content-Type", "application/x-amz-json-1.0"),), json.dumps(document).encode()))


def broken_off(call: Call) -> None:
    """The connection is reset before the service hears of it."""
    connection = call.handler.connection
    # Closing with a linger time of zero sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.handler.close_connection = True
    connection.close()


def answer_lost(call: Call) -> None:
    """The service does what it is asked, and the connection is reset before the answer (see `handle_call`)."""
    raise NotImplementedError(call.operation)


def cut_short(call: Call) -> None:
    """Half the body, and then the connection ends."""
    answer = call.forward(call.body)
    call.reply(answer, cut=len(answer.body) // 2)


def slow(seconds: float) -> Act:
    """The answer comes so much later."""

    def act(call: Call) -> None:
        call.over.wait(seconds)
        call.reply(call.forward(call.body))

    return act


def silent(call: Call) -> None:
    """Nothing ever comes."""
    call.over.wait(60)
    call.handler.close_connection = True
