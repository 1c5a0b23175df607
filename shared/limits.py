"""How large a request may be, before anything of ours reads it: its body, how deep that nests, address and headers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.errors import AdTailorError, BadInput, TooLarge

MAX_BODY = 5_000_000  # bytes; Lambda itself refuses above 6 MB
MAX_DEPTH = 32  # arrays and objects within each other; the contract needs 5
MAX_ADDRESS = 8_192  # bytes of path and query as they were sent; API Gateway takes less
MAX_HEADERS = 32_768  # bytes of all names and values
_BODILESS = ("GET", "HEAD", "OPTIONS", "DELETE")

_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")

App = Callable[[Any, Any, Any], Awaitable[None]]


class RequestLimits:
    """ASGI middleware. problem: an error as ASGI application.

    Refuses bodies over `MAX_BODY` (413), whether their length is declared or not, bodies that are not UTF-8 (400; RFC
    8259, section 8.1) and JSON deeper than `MAX_DEPTH` (400): parsers, validators and encoders descend by recursion,
    each to a depth of its own.
    """

    def __init__(self, app: App, problem: Callable[[AdTailorError], App]) -> None:
        self.app = app
        self._problem = problem

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            _frame(scope)
            if scope["method"] in _BODILESS:
                await self.app(scope, receive, send)
                return
            body = await _body(scope, receive)
            if not is_utf8(body):
                raise BadInput("the body is not UTF-8", field="body")
            if too_deep(body):
                raise BadInput(f"the body nests deeper than {MAX_DEPTH} levels", field="body")
        except (TooLarge, BadInput) as error:
            await self._problem(error)(scope, receive, send)
            return
        sent = False

        async def replay() -> Mapping[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


def is_utf8(body: bytes) -> bool:
    """Whether the bytes are text in UTF-8, as what looks at them before the application takes them for.

    The application would also read UTF-16 and UTF-32, which may be valid UTF-8 with zero bytes in between; JSON in
    UTF-8 holds no zero byte (RFC 8259, section 7)."""
    if b"\0" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def too_deep(body: bytes, most: int = MAX_DEPTH) -> bool:
    """Whether JSON holds more than `most` arrays and objects within each other.

    In time linear in the body and without recursion: texts go, all but brackets goes, then the innermost pairs level by
    level.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    brackets = _TEXT.sub(b"", body).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(most):
        brackets = brackets.replace(b"[]", b"")
    # What never closes is no JSON, but a parser would go down as far as it opens.
    return b"[]" in brackets or brackets.count(b"[") > most


def _frame(scope: Any) -> None:
    address = len(scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")) + len(scope["query_string"])
    if address > MAX_ADDRESS:
        raise TooLarge(f"the address has {address} bytes: at most {MAX_ADDRESS}", field="path")
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    if headers > MAX_HEADERS:
        raise TooLarge(f"the headers have {headers} bytes: at most {MAX_HEADERS}", field="headers")


async def _body(scope: Any, receive: Any) -> bytes:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > MAX_BODY:
        raise TooLarge(f"the body has {int(declared[:20])} bytes: at most {MAX_BODY}", field="body")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise TooLarge(f"the body has more than {MAX_BODY} bytes", field="body")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
