"""What one tenant may take of what all share, so that none uses up another's.

Limits are `shared.tenants.Limits`. A process takes a piece of a limit in one write (a lease) and hands it out by
itself: a request costs a write only where its process has nothing left. What a process took and did not use is lost
for that window, which is at most a twentieth of a limit for each process. Windows are fixed, so about a limit's worth
may come on either side of the turn of a minute.

Where the counters cannot be reached the request goes on: what it needs next says so itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.errors import AdTailorError, Unavailable
from shared.stores.quotas import Taken
from shared.telemetry import logger
from shared.tenants import Limits

MINUTE, DAY = 60, 86_400
LEASES = 20  # of a minute's limit
DAY_LEASES = 10_000  # of a day's limit: processes come and go, and each loses what it did not use
LARGEST_LEASE = 500
_HELD = 4096  # leases that a process keeps


class QuotaExceeded(AdTailorError):
    """429: a tenant has used up what it may take; carries the limit's name and retry_after."""

    status = 429
    title = "Over the quota"
    retryable = True

    def __init__(self, limit: str, allowed: int, *, retry_after: int | None = None) -> None:
        super().__init__(f"{limit} is {allowed} for this tenant, and used up", retry_after=retry_after)
        self.limit = limit
        self.allowed = allowed

    def problem(self) -> dict[str, object]:
        return super().problem() | {"limit": self.limit, "allowed": self.allowed}


@dataclass(slots=True)
class _Lease:
    """Of a window: what is left of what was taken, and the least amount that there was no room for."""

    window: int
    left: int = 0
    refused: int | None = None


class Quotas:
    """Admits what is within a tenant's limits; every refusal is a `QuotaExceeded`."""

    def __init__(
        self, taken: Callable[[], Taken], limits: Callable[[str], Limits], *, clock: Callable[[], float]
    ) -> None:
        """taken: the counters; not asked for before there is something to count."""
        self._taken = taken
        self._limits = limits
        self._clock = clock
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._lock = threading.Lock()

    def request(self, tenant: str) -> None:
        """One request of the API."""
        allowed = self._limits(tenant).requests_per_minute
        if allowed is not None:
            self._take(tenant, "requests_per_minute", 1, allowed, MINUTE, LEASES)

    def request_held(self, tenant: str) -> bool:
        """Admits one request where this process can say so without the table; else False, and nothing is taken."""
        allowed = self._limits(tenant).requests_per_minute
        if allowed is None:
            return True
        lease = self._lease(tenant, "requests_per_minute", int(self._clock() // MINUTE))
        with self._lock:
            if lease.left < 1:
                return False
            lease.left -= 1
        return True

    def events(self, tenant: str, rows: int) -> None:
        """Rows of behaviour in a request."""
        allowed = self._limits(tenant).events_per_day
        if allowed is not None and rows:
            self._take(tenant, "events_per_day", rows, allowed, DAY, DAY_LEASES)

    def uploaded_events(self, tenant: str, rows: int, source: str) -> None:
        """Rows of a piece of an upload, which counts once, whenever it comes again."""
        allowed = self._limits(tenant).events_per_day
        if allowed is None or not rows:
            return
        window = int(self._clock() // DAY)
        ends = (window + 1) * DAY
        counted = self._taken().take_once(
            tenant, "events_per_day", window, rows, allowed=allowed, expires=ends, source=source
        )
        if not counted:
            raise self._refusal(tenant, "events_per_day", allowed, ends)

    def copies(self, tenant: str, n: int) -> None:
        """Texts that the copywriter is asked for."""
        allowed = self._limits(tenant).copies_per_day
        if allowed is not None:
            self._take(tenant, "copies_per_day", n, allowed, DAY, DAY_LEASES)

    def trainings(self, tenant: str) -> None:
        """A training job."""
        allowed = self._limits(tenant).trainings_per_day
        if allowed is not None:
            self._take(tenant, "trainings_per_day", 1, allowed, DAY, DAY_LEASES)

    def ads(self, tenant: str) -> int | None:
        """The most ads that the tenant's catalogue may hold; None: no limit."""
        return self._limits(tenant).ads

    def _take(self, tenant: str, limit: str, amount: int, allowed: int, seconds: int, leases: int) -> None:
        window = int(self._clock() // seconds)
        ends = (window + 1) * seconds
        lease = self._lease(tenant, limit, window)
        with self._lock:
            if lease.left >= amount:
                lease.left -= amount
                return
            refused = lease.refused is not None and amount >= lease.refused
        if refused:
            raise self._refusal(tenant, limit, allowed, ends)
        more = max(amount, min(allowed // leases, LARGEST_LEASE))
        try:
            taken = self._taken()
            room = taken.take(tenant, limit, window, more, allowed=allowed, expires=ends)
            if room is not None and room >= amount:  # less than a whole lease is left
                more = room
                room = taken.take(tenant, limit, window, more, allowed=allowed, expires=ends)
        except Unavailable as error:
            logger.warning("quota not counted", extra={"tenant": tenant, "limit": limit, "reason": error.detail})
            return
        with self._lock:
            if room is None:
                lease.left += more - amount
                return
            first = lease.refused is None
            lease.refused = amount if lease.refused is None else min(lease.refused, amount)
        if first:  # once a window and process: a flood is not to fill the log
            logger.warning("tenant over its quota", extra={"tenant": tenant, "limit": limit, "allowed": allowed})
        raise self._refusal(tenant, limit, allowed, ends)

    def _lease(self, tenant: str, limit: str, window: int) -> _Lease:
        lease = self._leases.get((tenant, limit))
        if lease is None or lease.window != window:
            with self._lock:
                lease = self._leases.get((tenant, limit))
                if lease is None or lease.window != window:
                    if len(self._leases) >= _HELD:
                        self._leases.clear()
                    lease = self._leases[tenant, limit] = _Lease(window)
        return lease

    def _refusal(self, tenant: str, limit: str, allowed: int, ends: float) -> QuotaExceeded:
        return QuotaExceeded(limit, allowed, retry_after=max(1, round(ends - self._clock())))


def _no_counters() -> Taken:
    raise Unavailable("nothing is counted here")


UNLIMITED = Quotas(_no_counters, lambda tenant: Limits(), clock=time.time)

App = Callable[[Any, Any, Any], Awaitable[None]]


class Metered:
    """ASGI middleware: answers requests over the tenant's `requests_per_minute` with 429; a look at the health is none.

    problem: an error as ASGI application. tenant: of a request's scope. Who is nobody's tenant is left to the routes,
    which say so.
    """

    def __init__(
        self,
        app: App,
        problem: Callable[[AdTailorError], App],
        tenant: Callable[[Any], str],
        quotas: Callable[[], Quotas],
    ) -> None:
        self.app = app
        self._problem = problem
        self._tenant = tenant
        self._quotas = quotas

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refusal = await self._refusal(scope) if scope["type"] == "http" and scope["path"] != "/healthz" else None
        app = self.app if refusal is None else self._problem(refusal)
        await app(scope, receive, send)

    async def _refusal(self, scope: Any) -> AdTailorError | None:
        try:
            tenant = self._tenant(scope)
        except AdTailorError:
            return None
        quotas = self._quotas()
        if quotas.request_held(tenant):
            return None
        from anyio import to_thread

        try:
            await to_thread.run_sync(quotas.request, tenant)
        except QuotaExceeded as error:
            return error
        return None
