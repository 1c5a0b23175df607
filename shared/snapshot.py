"""The catalogue as it is served: an immutable, versioned snapshot of the active ads with their vectors.

Where its objects are not what the builder (`shared.publishing`) wrote, lost, cut or changed, the reader keeps what it
has, and has the next build publish anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from shared.assembly import QUANTIZED_FROM, Snapshot, Step, assemble, index_of, step
from shared.errors import NotFound, Unavailable
from shared.index import INDEX_FROM, AdIndex
from shared.publishing import BETWEEN, DIMENSIONS, LEASE_SECONDS, build, digest, renew
from shared.refreshing import Reading
from shared.stores import Stores
from shared.stores.catalogue import Pointer
from shared.stores.faults import held_patience
from shared.telemetry import logger

__all__ = [
    "DIMENSIONS",
    "LEASE_SECONDS",
    "QUANTIZED_FROM",
    "Project",
    "Snapshot",
    "Snapshots",
    "Step",
    "Unreadable",
    "assemble",
    "build",
    "load",
    "step",
]

POINTER_SECONDS = 2.0  # how long a reader trusts the pointer it has
HELD_TENANTS = 8  # snapshots that a process keeps, the latest asked for
HELD_BYTES = 400_000_000  # of them: beside these a function's memory (1.8 GB) has room to read one of 100,000 ads
FAIR_BYTES = HELD_BYTES // HELD_TENANTS  # what a snapshot may take and never has to go for a larger one
STALE_SECONDS = 6.0  # for which a large snapshot may be served after it was last seen to be the published one
AD_BYTES = 2400  # of an ad without its vectors (tests/benchmarks/test_snapshot.py)
BEHIND_FROM = 5000  # ads from which a new version is read behind the requests: so many take a tenth of a second
_WAIT_SECONDS = 30.0  # for a reading, where no request's time is known; where it is,
_ANSWER_SECONDS = 1.0  # are left for the rest of the answer
REFUSED_SECONDS = 10.0  # before a snapshot that cannot be read is looked at again
_PIECE_BYTES = 1 << 16  # of JSON that are parsed, and
_PIECE_VECTORS = 4096  # vectors that are projected, in one go


Project = Callable[[np.ndarray], np.ndarray]


def _go_on() -> None:
    """Gives way to nobody."""


def _prepare_nothing(tenant: str, snapshot: Snapshot) -> None:
    """A snapshot needs nothing else."""


class Unreadable(Exception):
    """A published snapshot cannot be served. `damaged`: its objects are gone, or not what the builder wrote."""

    def __init__(self, reason: str, *, damaged: bool) -> None:
        super().__init__(reason)
        self.damaged = damaged


def load(stores: Stores, pointer: Pointer, project: Project, give_way: Callable[[], None] = _go_on) -> Snapshot:
    """Reads a published snapshot. give_way: called between pieces of the work.

    Raises `Unreadable`, or `Unavailable` where the objects cannot be reached.
    """
    try:
        body = stores.objects.get(f"{pointer.key}/ads.json")
        packed = stores.objects.get(f"{pointer.key}/vectors.f16")
    except NotFound as error:
        raise Unreadable(error.detail, damaged=True) from error
    if digest(body, packed) != pointer.version.rpartition("-")[2]:
        raise Unreadable("its content is not that of its version", damaged=True)
    try:
        vectors = _vectors(packed, project, give_way)
        del packed  # or it is held beside the ads
        return assemble(pointer.version, _rows(body, give_way), vectors)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # As it was written, but not by this version of the code, so that publishing it again would not help.
        raise Unreadable(f"{type(error).__name__}: {error}", damaged=False) from error


def _vectors(packed: bytes, project: Project, give_way: Callable[[], None]) -> np.ndarray:
    """The vectors in the topic space, float32 (n, 384)."""
    stored = np.frombuffer(packed, dtype=np.float16).reshape(-1, DIMENSIONS)
    vectors = np.empty(stored.shape, dtype=np.float32)
    for start in range(0, len(stored), _PIECE_VECTORS):
        piece = slice(start, start + _PIECE_VECTORS)
        vectors[piece] = project(stored[piece].astype(np.float32))
        if not np.isfinite(vectors[piece].sum()):
            raise ValueError("a vector is not finite")
        give_way()
    return vectors


def _rows(body: bytes, give_way: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """The rows of a JSON array, parsed some at a time where each stands on its own line, as `_publish` writes them."""
    if not (body.startswith(b"[") and body.endswith(b"]")):
        raise ValueError("no array of ads")
    start, stop = 1, len(body) - 1
    while start < stop:
        end = body.find(BETWEEN, start + _PIECE_BYTES)
        end = stop if end < 0 else end
        yield from orjson.loads(b"[" + body[start:end] + b"]")
        start = end + len(BETWEEN)
        give_way()


@dataclass(frozen=True, slots=True)
class _Refused:
    version: str
    at: float


@dataclass(frozen=True, slots=True)
class _Held:
    """A snapshot in service. head: that of its pointer. looked: when the pointer was last read. current: when it last
    named this snapshot."""

    snapshot: Snapshot
    head: int
    looked: float
    current: float

    @property
    def size(self) -> int:
        """Bytes, about: vectors as they are and quantised, and an ad as Python keeps it."""
        return self.snapshot.vectors.nbytes * 5 // 4 + len(self.snapshot.ads) * AD_BYTES


class Snapshots:
    """The latest snapshot of each tenant, loaded once a version and looked for again every `POINTER_SECONDS`.

    A large one is read behind the requests, which are served from the one that is held; never from one that was
    superseded more than `STALE_SECONDS` ago, where they wait instead. Where the published one cannot be read, the one
    that is held stays in service, and `refused` says so.

    prepare: what else is made of a tenant's snapshot before it serves, wherever it is read.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        project: Project,
        clock: Callable[[], float],
        prepare: Callable[[str, Snapshot], None] = _prepare_nothing,
    ) -> None:
        self._stores = stores
        self._project = project
        self._clock = clock
        self._prepare = prepare
        self._held: dict[str, _Held] = {}
        self._refused: dict[str, _Refused] = {}
        self._readings: dict[str, Reading] = {}  # under way: one a tenant
        self._indexing: Reading | None = None
        self._lock = threading.Lock()

    def latest(self, tenant: str) -> Snapshot:
        """
        Raises:
            NotFound: the tenant has published nothing yet. Unavailable: what it has published cannot be read, and
                nothing older is held.
        """
        now = self._clock()
        held = self._held.get(tenant)
        reading = self._readings.get(tenant)
        if reading is not None and (held is None or not self._may_serve(tenant, held, now)):
            patience = held_patience()
            over = reading.wait(max(patience.left() - _ANSWER_SECONDS, 0.0) if patience is not None else _WAIT_SECONDS)
            held = self._held.get(tenant)
            if held is not None and not over:
                return held.snapshot
        if held is not None and _within(now - held.looked, POINTER_SECONDS):
            return held.snapshot
        pointer = self._stores.catalogue.pointer(tenant)
        if pointer is None:
            raise NotFound("no catalogue has been published yet: send ads first (PUT /v1/ads)")
        if held is not None and held.snapshot.version == pointer.version:
            self._refused.pop(tenant, None)
            self._hold(tenant, replace(held, looked=now, current=now))
            return held.snapshot
        refused = self._refused.get(tenant)
        if refused is not None and refused.version != pointer.version:
            self._refused.pop(tenant, None)
        if held is None:
            snapshot = self._load(tenant, pointer, now)
            return self._take(tenant, snapshot, pointer, now)
        large = len(held.snapshot.ads) + pointer.head - held.head >= BEHIND_FROM  # each ad more is a write more
        if large and self._may_serve(tenant, held, now):
            self._look(tenant, held, now)
            self._read_behind(tenant, pointer, now)
            return held.snapshot
        try:
            snapshot = self._load(tenant, pointer, now)
        except Unavailable:
            self._look(tenant, held, now)
            return held.snapshot
        return self._take(tenant, snapshot, pointer, now)

    def _may_serve(self, tenant: str, held: _Held, now: float) -> bool:
        """Whether there is time to read a newer one: it is not old yet, or the newer one could not be read before."""
        return _within(now - held.current, STALE_SECONDS) or tenant in self._refused

    def _hold(self, tenant: str, held: _Held) -> None:
        with self._lock:
            self._held.pop(tenant, None)
            self._held[tenant] = held
            for other in list(self._held)[:-HELD_TENANTS]:
                self._held.pop(other, None)
            sizes = {other: one.size for other, one in self._held.items()}
            for other in sorted(sizes, key=lambda name: -sizes[name]):
                if sum(sizes.values()) <= HELD_BYTES or sizes[other] <= FAIR_BYTES:
                    break
                if other != tenant:
                    self._held.pop(other, None)
                    del sizes[other]

    def _take(self, tenant: str, snapshot: Snapshot, pointer: Pointer, now: float) -> Snapshot:
        """Puts a snapshot that was read into service, with the index of the one before where there is one."""
        before = self._held.get(tenant)
        if before is not None and before.head > pointer.head:  # another request has read a newer one
            return before.snapshot
        index = before.snapshot.index if before is not None else None
        if index is not None and len(snapshot.ads) >= INDEX_FROM:
            snapshot = replace(snapshot, index=index.carried(snapshot.places, snapshot.vectors))
        self._prepare(tenant, snapshot)
        self._hold(tenant, _Held(snapshot, pointer.head, now, now))
        if len(snapshot.ads) >= INDEX_FROM and snapshot.index is None:
            self._make_index(tenant, snapshot)
        return snapshot

    def _make_index(self, tenant: str, snapshot: Snapshot) -> None:
        """Behind the requests, which look at every ad until it is there; one a process."""

        def work() -> None:
            try:
                index = index_of(snapshot, reading.give_way)
                while (held := self._held.get(tenant)) is not None:
                    served = held.snapshot
                    made: AdIndex | None = index
                    if served is not snapshot:  # another version has come meanwhile
                        made = index.carried(served.places, served.vectors)
                    with self._lock:
                        held = self._held.get(tenant)
                        if held is not None and held.snapshot is served:
                            self._held[tenant] = replace(held, snapshot=replace(served, index=made))
                            return
            except Exception:
                logger.exception("no index of the ads", extra={"tenant": tenant, "snapshot": snapshot.version})
            finally:
                self._indexing = None

        with self._lock:
            if self._indexing is not None:
                return
            self._indexing = reading = Reading(work)
        if not self._start(reading, tenant):
            self._indexing = None

    def _start(self, reading: Reading, tenant: str) -> bool:
        try:
            reading.start()
        except RuntimeError as error:
            logger.warning("no thread to read a snapshot", extra={"tenant": tenant, "reason": str(error)})
            return False
        return True

    def _look(self, tenant: str, held: _Held, now: float) -> None:
        """Notes that the pointer was read, unless another one is held by now."""
        with self._lock:
            if self._held.get(tenant) is held:
                self._held[tenant] = replace(held, looked=now)

    def _read_behind(self, tenant: str, pointer: Pointer, now: float) -> None:
        def work() -> None:
            try:
                snapshot = self._load(tenant, pointer, now, reading.give_way)
                # As of when it was named: the next request looks whether there is a newer one.
                self._take(tenant, snapshot, pointer, now)
            except Unavailable:
                pass  # `_load` has said so
            except Exception:
                logger.exception("snapshot not read", extra={"tenant": tenant, "snapshot": pointer.version})
                self._refused[tenant] = _Refused(pointer.version, now)
            finally:
                self._readings.pop(tenant, None)

        if self._known_bad(tenant, pointer, now):
            return
        reading = Reading(work)
        if self._readings.setdefault(tenant, reading) is reading and not self._start(reading, tenant):
            self._readings.pop(tenant, None)

    def holds(self, tenant: str) -> bool:
        """Whether the tenant's snapshot is in this process: what else is made of it need not outlive it."""
        return tenant in self._held

    def refused(self, tenant: str) -> str | None:
        """The version that is published but cannot be read, where there is one."""
        refused = self._refused.get(tenant)
        return refused.version if refused is not None else None

    def _known_bad(self, tenant: str, pointer: Pointer, now: float) -> bool:
        known = self._refused.get(tenant)
        return known is not None and known.version == pointer.version and _within(now - known.at, REFUSED_SECONDS)

    def _load(self, tenant: str, pointer: Pointer, now: float, give_way: Callable[[], None] = _go_on) -> Snapshot:
        problem = f"the catalogue's snapshot {pointer.version} cannot be read"
        if self._known_bad(tenant, pointer, now):
            raise Unavailable(problem, retry_after=int(REFUSED_SECONDS))
        where = {"tenant": tenant, "snapshot": pointer.version}
        try:
            snapshot = load(self._stores, pointer, self._project, give_way)
        except Unreadable as error:
            logger.error("snapshot refused", extra=where | {"reason": str(error)})
            self._refused[tenant] = _Refused(pointer.version, now)
            if error.damaged:
                self._mend(tenant, pointer)
            raise Unavailable(problem, retry_after=int(REFUSED_SECONDS)) from error
        except Unavailable as error:
            logger.warning("snapshot out of reach", extra=where | {"reason": error.detail})
            self._refused[tenant] = _Refused(pointer.version, now)
            raise
        self._refused.pop(tenant, None)
        return snapshot

    def _mend(self, tenant: str, pointer: Pointer) -> None:
        """Has the next build publish anew, unless ads have been written since: the pointer only moves forward."""
        try:
            renew(self._stores, tenant, pointer)
        except Unavailable as error:  # this function has no queue to send to: the next write of an ad does it
            logger.warning("no build queued", extra={"tenant": tenant, "reason": error.detail})


def _within(age: float, seconds: float) -> bool:
    """Whether something is so young; what seems to come from the future is not, for clocks are set back."""
    return 0 <= age < seconds
