"""``Idempotency-Key`` of a request that changes something: the second copy gets the first one's answer.

The header of the IETF draft (draft-ietf-httpapi-idempotency-key-header): a key with another body is 422, one whose
first copy is still under way 409. AWS Lambda Powertools keeps the records; this is the ASGI frame around it.

No answer about one person (``/v1/users/…``) is kept, whatever key it came with: it would outlive their refusal. Those
requests set what they say, so that a second copy changes nothing either way. Of a body that names somebody a record has
no more than an HMAC under the client's own key, which itself is kept as its hash alone.

What is answered to a request for one person (``user_id`` in its body) lies with the person (`shared.stores.answers`),
who may be erased; the record says only that there is an answer. Feedback, whose answers name the decisions of many, is
left alone too: each of its items is known again by itself; and so are auctions, which nobody repeats, and addresses to
upload to, which are signed and would be kept for longer than they hold. And of events no answer is kept that quotes
from them. Of a request that says ``minor``, or whose body does not say whom it is for,
nothing is kept at all: its second copy is answered anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import AdTailorError, BadInput, Conflict, Unavailable, Unprocessable

if TYPE_CHECKING:
    from shared.stores.answers import Answers

HEADER = b"idempotency-key"
LONGEST_KEY = 255
KEPT_SECONDS = 3600  # answers may hold a person's interests: as long as a client tries again, no longer
LARGEST_ANSWER = 300_000  # bytes, packed: DynamoDB's row holds 400 KB
_METHODS = ("POST", "PUT", "PATCH")
_LEFT_ALONE = ("/v1/users/", "/v1/feedback", "/openrtb2/", "/v1/uploads")
_FOR_ONE_PERSON = ("/v1/recommendations", "/v1/copy")
_EVENTS = "/v1/events"
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
    persistence layer. answers: where those for one person lie. clock: epoch seconds. named: raises where the caller
    of the scope may not ask for anything about a person.
    """

    def __init__(
        self,
        app: App,
        problem: Callable[[AdTailorError], App],
        tenant: Callable[[Any], str],
        records: Callable[[], Any],
        answers: Callable[[], Answers],
        clock: Callable[[], float],
        named: Callable[[Any], None] = lambda scope: None,
    ) -> None:
        self.app = app
        self._named = named
        self._problem = problem
        self._tenant = tenant
        self._records = records
        self._answers = answers
        self._clock = clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        keys = [value for name, value in scope.get("headers", ()) if name == HEADER]
        if scope["type"] != "http" or scope["method"] not in _METHODS or not keys:
            await self.app(scope, receive, send)
            return
        if not kept(scope["path"]):
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
            "body": hmac.digest(key.encode(), scope.get("query_string", b"") + b"\n" + body, "sha256").hex(),
        }
        person, unkept = _person(scope["path"], body)
        if person is not None:
            self._named(scope)
        if unkept:
            return await self._answer(scope, body), False
        name = hashlib.sha256(asked["key"].encode()).hexdigest()
        made: _Answer | None = None

        def answer(*, data: dict[str, Any]) -> dict[str, Any]:
            nonlocal made
            made = found = from_thread.run(self._answer, scope, body)
            packed = found.packed()
            quotes = scope["path"] == _EVENTS and rb"\"" in found.body
            if found.status >= 400 or len(packed["body"]) > LARGEST_ANSWER or quotes:
                raise _NotKeptError(found)
            if person is not None:
                try:
                    apart = self._keep(tenant, person, name, packed["body"])
                except AdTailorError:
                    raise _NotKeptError(found) from None
                packed |= {"body": None} if apart else {}
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
            kept: dict[str, Any] = await to_thread.run_sync(lambda: once(data=asked), limiter=CapacityLimiter(1))
            if made is not None:
                return made, False
            if kept["body"] is None:
                apart = await to_thread.run_sync(self._find, tenant, person or "", name, limiter=CapacityLimiter(1))
                if apart is None:  # they were erased, or refused since: this is about whoever has the id now
                    return await self._answer(scope, body), False
                kept |= {"body": apart}
            return _Answer.unpacked(kept), True
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

    def _keep(self, tenant: str, person: str, name: str, packed: str) -> bool:
        return self._answers().keep(tenant, person, name, packed.encode(), now=self._clock(), seconds=KEPT_SECONDS)

    def _find(self, tenant: str, person: str, name: str) -> str | None:
        found = self._answers().find(tenant, person, name, now=self._clock())
        return found.decode() if found is not None else None

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


def kept(path: str) -> bool:
    """Whether a second copy of a request to this path gets the first one's answer."""
    return not path.startswith(_LEFT_ALONE)


def _person(path: str, body: bytes) -> tuple[str | None, bool]:
    """The external id that the request is for, where it is for one, and whether nothing may be kept of it: it says that
    they are under age, or not whom it is for. Read as the application does: what other parsers refuse (a mark of the
    byte order, NaN) it takes."""
    if path not in _FOR_ONE_PERSON:
        return None, False
    try:
        named = json.loads(body)
    except (ValueError, RecursionError):
        return None, True
    if not isinstance(named, dict):
        return None, True
    user_id = named.get("user_id")
    if user_id is None:
        return None, False
    if not isinstance(user_id, str) or not user_id.strip():
        return None, True
    return user_id, named.get("minor") is True


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
