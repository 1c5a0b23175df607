"""Lambda's init phase, where a process is made ahead of its first event, and what a snapshot of it must not carry.

Under SnapStart the snapshot holds everything that is slow to load, and every process made of it starts from there:
with fresh random numbers, connections and credentials, or all of them would share one process's. With provisioned
concurrency nobody waits for the init phase. On demand nothing is warmed: there the init phase and the first event are
one wait, and an event needs only a part.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

from shared import wiring

AHEAD = ("snap-start", "provisioned-concurrency")


def prepare(app: Any, path: str, warm: Callable[[], object]) -> None:
    """What a handler module ends with. `app` is its API (ASGI), `path` one that takes a POST with a body; `warm` loads
    what its events need.

    Raises what `warm` raises: a version that cannot load its models is never published.
    """
    kind = wiring.initialization()
    if kind not in AHEAD:
        return
    warm()
    rehearse(app, path)
    wiring.system().parse()
    if kind == "snap-start":
        _register()


def rehearse(app: Any, path: str) -> int:
    """Sends one request through the whole API that no store sees, and returns its status, 422: middleware, routes and
    the schemas of bodies are put together at the first one."""
    from mangum import Mangum

    claims = {wiring.system().settings.tenant_claim: "-"}
    http = {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": ""}
    event = {
        "version": "2.0",
        "routeKey": f"POST {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": http, "authorizer": {"jwt": {"claims": claims}}, "stage": "$default"},
        "body": "{}",
        "isBase64Encoded": False,
    }
    return int(Mangum(app, lifespan="off")(event, None)["statusCode"])


def let_go() -> None:
    """Before the snapshot: no connection, credential or secret goes into it."""
    wiring.system().renew()


def renew() -> None:
    """After a restore: random numbers are this process's own, as are clients and what they are told.

    `secrets` and `uuid` ask the system each time, and need nothing.
    """
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    wiring.system().renew()


def _register() -> None:
    # Part of Lambda's Python runtime and of awslambdaric; nothing else takes snapshots, so nothing else needs it.
    from snapshot_restore_py import register_after_restore, register_before_snapshot  # type: ignore[import-untyped]

    register_before_snapshot(let_go)
    register_after_restore(renew)
