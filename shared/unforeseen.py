"""Errors that nobody foresaw: logged by kind and place, and handed on without what they say, which may name somebody.

Starlette and Lambda's runtime both write the message of an exception that reaches them into the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import AdTailorError
from shared.telemetry import logger


class Unforeseen(AdTailorError):
    """In place of another exception."""


@contextmanager
def nameless() -> Iterator[None]:
    """Within it, an exception that is not ours becomes `Unforeseen`."""
    try:
        yield
    except AdTailorError:
        raise
    except Exception as error:
        logger.exception("unforeseen error")
        raise Unforeseen(f"an unforeseen {type(error).__name__}; its log has where") from None


class Shielded:
    """ASGI middleware: answers an exception with a problem document, and does not hand it on to the server.

    problem: an error as ASGI application.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], problem: Callable[[AdTailorError], Any]) -> None:
        self.app = app
        self._problem = problem

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun = False

        async def sending(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            with nameless():
                await self.app(scope, receive, sending)
        except Unforeseen as error:
            if begun:
                raise  # the client has half an answer: the server cuts it off
            await self._problem(error)(scope, receive, send)
