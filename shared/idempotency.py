"""``Idempotency-Key`` of a request that changes something: the second copy gets the first one's answer.

The header of the IETF draft (draft-ietf-httpapi-idempotency-key-header): a key with another body is 422, one whose
first copy is still under way 409. AWS Lambda Powertools keeps the records; this is the ASGI frame around it.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import AdTailorError, BadInput, Conflict, Unavailable, Unprocessable

HEADER = b"idempotency-key"
LONGEST_KEY = 255
KEPT_SECONDS = 3600  # answers may hold a person's interests: as long as a client tries again, no longer
LARGEST_ANSWER = 300_000  # bytes, packed: DynamoDB's row holds 400 KB
_METHODS = ("POST", "PUT", "PATCH")
_UNBOUNDED_SECONDS = 30.0  # under way, where no Lambda context says how long it may last

Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send, *, replayed: bool) -> None:
        headers = [*self.headers, (b"idempotency-replayed", b"true")] if replayed else list(self.headers)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def packed(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers],
            "body": base64.b64encode(zlib.compress(self.body)).decode(),
        }

    @classmethod
    def unpacked(cls, kept: dict[str, Any]) -> _Answer:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
        return cls(kept["status"], headers, zlib.decompress(base64.b64decode(kept["body"])))


class _NotKeptError(Exception):
    """An answer that a second copy of the request should not get: it failed, or does not fit into a record."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Context:
    """What Powertools asks of a Lambda context: after this time a record that is under way was left behind."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def get_remaining_time_in_millis(self) -> int:
        if self._context is None:
            return int(_UNBOUNDED_SECONDS * 1000)
        return int(self._context.get_remaining_time_in_millis())


class Idempotent:
    """ASGI middleware.

    problem: an error as ASGI application. tenant: of a request's scope; each has its own keys. records: Powertools'
    persistence layer.
    """

    def __init__(
        self,
        app: App,
        problem: Callable[[AdTailorError], App],
        tenant: Callable[[Any], str],
        records: Callable[[], Any],
    ) -> None:
        self.app = app
        self._problem = problem
        self._tenant = tenant
        self._records = records

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        keys = [value for name, value in scope.get("headers", ()) if name == HEADER]
        if scope["type"] != "http" or scope["method"] not in _METHODS or not keys:
            await self.app(scope, receive, send)
            return
        try:
            tenant = self._tenant(scope)
            answer, replayed = await self._once(scope, tenant, _key(keys), await _body(receive))
        except AdTailorError as error:
            await self._problem(error)(scope, receive, send)
            return
        await answer.send(send, replayed=replayed)

    async def _once(self, scope: Any, tenant: str, key: str, body: bytes) -> tuple[_Answer, bool]:
        from anyio import CapacityLimiter, from_thread, to_thread
        from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, exceptions, idempotent_function

        asked = {
            "key": f"{tenant}\n{scope['method']}\n{scope['path']}\n{key}",
            "body": hashlib.sha256(scope.get("query_string", b"") + b"\n" + body).hexdigest(),
        }
        ran = False

        def answer(*, data: dict[str, Any]) -> dict[str, Any]:
            nonlocal ran
            ran = True
            found = from_thread.run(self._answer, scope, body)
            packed = found.packed()
            if found.status >= 400 or len(packed["body"]) > LARGEST_ANSWER:
                raise _NotKeptError(found)
            return packed

        config = IdempotencyConfig(
            event_key_jmespath="key",
            payload_validation_jmespath="body",
            expires_after_seconds=KEPT_SECONDS,
            hash_function="sha256",
            lambda_context=_Context(scope.get("aws.context")),  # type: ignore[arg-type]
        )
        once = idempotent_function(
            answer, data_keyword_argument="data", persistence_store=self._records(), config=config, key_prefix="request"
        )
        try:
            # Not of anyio's common threads: the endpoint needs one of these, and would wait for it for ever.
            kept = await to_thread.run_sync(lambda: once(data=asked), limiter=CapacityLimiter(1))
            return _Answer.unpacked(kept), not ran
        except _NotKeptError as failed:
            return failed.answer, False
        except exceptions.IdempotencyAlreadyInProgressError as error:
            raise Conflict("a request with this Idempotency-Key is still under way", retry_after=1) from error
        except exceptions.IdempotencyValidationError as error:
            raise Unprocessable(
                "this Idempotency-Key came before with another body", field="Idempotency-Key"
            ) from error
        except (exceptions.IdempotencyPersistenceLayerError, exceptions.IdempotencyInconsistentStateError) as error:
            raise Unavailable("what was asked before cannot be looked up", retry_after=2) from error

    async def _answer(self, scope: Any, body: bytes) -> _Answer:
        """What the application answers to the request."""
        started: dict[str, Any] = {}
        parts: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                parts.append(message.get("body", b""))

        await self.app(scope, receive, send)
        return _Answer(started["status"], started["headers"], b"".join(parts))


def _key(values: Sequence[bytes]) -> str:
    try:
        key = values[0].decode("ascii").strip()
    except UnicodeDecodeError:
        key = ""
    if len(values) > 1 or not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadInput(f"one key of 1 to {LONGEST_KEY} printable ASCII characters", field="Idempotency-Key")
    return key


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
