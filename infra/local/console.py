"""The console on this machine: its files, and the sample's people to have somebody to begin with.

Everything lies under ``/console/``, outside the API's frame (no quota, no idempotency), for a caller on this machine
alone. What else the page needs it asks of the public API, here as on AWS; only ``/console/people.json`` is there where
the sample is.
"""

from __future__ import annotations

from fastapi.requests import Request
from fastapi.responses import RedirectResponse, Response
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.console_site import FILES, policy
from infra.local import sample
from shared.entry import JSON

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-cache",
}


def with_console(api: ASGIApp, endpoint_url: str, *, with_sample: bool) -> ASGIApp:
    """The API, and beside it the console; ``/`` leads there. endpoint_url: of the local AWS services, which the page
    sends uploads to."""
    console = _Headers(_app(with_sample), endpoint_url)

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        here = scope["type"] == "http" and (path in ("/", "/console") or path.startswith("/console/"))
        await (console if here else api)(scope, receive, send)

    return both


def _app(with_sample: bool) -> Starlette:
    async def index(_: Request) -> Response:
        return RedirectResponse("/console/")

    async def people(_: Request) -> Response:
        """``[{"user_id", "about", "language", "domains"}]``; empty without the sample."""
        found = sample.people() if with_sample else []
        names = ("user_id", "about", "language", "domains")
        return JSON([{name: one.get(name) for name in names} for one in found])

    routes = [
        Route("/", index),
        Route("/console", index),
        Route("/console/people.json", people),
        Mount("/console", StaticFiles(directory=FILES, html=True)),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused})


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
    return JSON(body, status_code=error.status_code)


class _Headers:
    """Adds what keeps a page that shows other people's text from running any of it."""

    def __init__(self, app: ASGIApp, uploads: str) -> None:
        """uploads: URL of what takes them."""
        self._app = app
        self._headers = _HEADERS | {b"content-security-policy": policy([uploads]).encode()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in self._headers.items() if h[0] not in names)]
            await send(message)

        await self._app(scope, receive, sending)
