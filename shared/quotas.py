"""What one tenant may take of what all share, so that none uses up another's.

Limits are `shared.tenants.Limits`. A process takes a piece of a limit in one write (a lease) and hands it out by
itself: a request costs a write only where its process has nothing left. A process's first lease of a window is what it
needs, and each later one twice the last, up to a twentieth of a limit: many processes with a request each take no more
than that, and what a process took and did not use, which is lost for that window, is no more than it used. Windows are
fixed, so about a limit's worth may come on either side of the turn of a minute.

What comes to nothing counts for nothing: whoever fails after it took something hands it back.

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
    """Of a window: what is left of what was taken; the least amount that there was no room for, and until when that is
    believed, since others may hand something back."""

    window: int
    left: int = 0
    refused: int | None = None
    until: float = 0.0  # epoch seconds
    size: int = 0  # of the last one of this window


@dataclass(frozen=True, slots=True)
class Held:
    """What was taken of a day's limit. Within it (``with``) an error that is nobody's but ours hands all of it back."""

    amount: int
    _give: Callable[[int], None] = lambda n: None

    def hand_back(self, amount: int | None = None) -> None:
        """Gives back what came to nothing (all of it where `amount` is None)."""
        amount = self.amount if amount is None else min(amount, self.amount)
        if amount > 0:
            self._give(amount)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and (not isinstance(error, AdTailorError) or error.status >= 500):
            self.hand_back()


@dataclass(frozen=True, slots=True)
class Admitted:
    """How many rows of a piece go in, the first ones, of a limit of `allowed` a day. settle: says how many of them
    changed anything; what was taken for the others this time is handed back."""

    rows: int
    allowed: int | None = None
    settle: Callable[[int], None] = lambda n: None


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

    def events(self, tenant: str, rows: int) -> Held:
        """Rows of behaviour in a request."""
        return self._of_day(tenant, "events_per_day", rows)

    def uploaded_events(self, tenant: str, rows: int, source: str) -> Admitted:
        """Rows of a piece of an upload, of which as many are admitted as there is room for. `source` names its content:
        what of it was counted before, on whichever day, is free."""
        allowed = self._limits(tenant).events_per_day
        if allowed is None or not rows:
            return Admitted(rows)
        window = int(self._clock() // DAY)
        counted, new = self._taken().take_piece(
            tenant, "events_per_day", window, rows, allowed=allowed, expires=(window + 1) * DAY, source=source
        )

        def settle(changed: int) -> None:
            if new > changed:
                self._taken().hand_back(tenant, "events_per_day", window, new - changed)

        return Admitted(counted, allowed, settle)

    def copies(self, tenant: str, n: int) -> Held:
        """Texts that the copywriter is asked for."""
        return self._of_day(tenant, "copies_per_day", n)

    def copies_of(self, tenant: str, n: int, source: str) -> None:
        """Texts that a piece of work asks for, which counts once, whenever it comes again."""
        allowed = self._limits(tenant).copies_per_day
        if allowed is None or not n:
            return
        window = int(self._clock() // DAY)
        ends = (window + 1) * DAY
        counted, _ = self._taken().take_piece(
            tenant, "copies_per_day", window, n, allowed=allowed, expires=ends, source=source, whole=True
        )
        if counted < n:
            raise self._refusal(tenant, "copies_per_day", allowed, ends)

    def trainings(self, tenant: str) -> Held:
        """A training job."""
        return self._of_day(tenant, "trainings_per_day", 1)

    def ads(self, tenant: str) -> int | None:
        """The most ads that the tenant's catalogue may hold; None: no limit."""
        return self._limits(tenant).ads

    def _of_day(self, tenant: str, limit: str, amount: int) -> Held:
        allowed: int | None = getattr(self._limits(tenant), limit)
        if allowed is None or not amount:
            return Held(amount)
        lease = self._take(tenant, limit, amount, allowed, DAY, DAY_LEASES)

        def give(n: int) -> None:
            try:
                self._taken().hand_back(tenant, limit, lease.window, n)
            except AdTailorError:  # this process hands it out again
                with self._lock:
                    lease.left += n
            else:
                lease.refused = None

        return Held(amount, give)

    def _take(self, tenant: str, limit: str, amount: int, allowed: int, seconds: int, leases: int) -> _Lease:
        """Takes of this process's lease, and what it lacks of the window."""
        window = int(self._clock() // seconds)
        ends = (window + 1) * seconds
        lease = self._lease(tenant, limit, window)
        with self._lock:
            own = min(lease.left, amount)
            missing = amount - own
            known = lease.refused is not None and self._clock() < lease.until
            if missing and known and missing >= (lease.refused or 0):
                raise self._refusal(tenant, limit, allowed, ends)
            lease.left -= own
            more = max(missing, min(2 * lease.size, allowed // leases, LARGEST_LEASE))
        if not missing:
            return lease
        try:
            taken = self._taken()
            room = taken.take(tenant, limit, window, more, allowed=allowed, expires=ends)
            if room is not None and room >= missing:  # less than a whole lease is left
                more = room
                room = taken.take(tenant, limit, window, more, allowed=allowed, expires=ends)
        except Unavailable as error:
            logger.warning("quota not counted", extra={"tenant": tenant, "limit": limit, "reason": error.detail})
            return lease
        with self._lock:
            if room is None:
                lease.left += more - missing
                lease.size = more
                return lease
            first = lease.refused is None
            lease.refused = min(lease.refused or missing, missing) if known else missing
            lease.until = self._clock() + MINUTE
            lease.left += own
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
