"""The catalogue as it is served: an immutable, versioned snapshot of the active ads with their vectors.

Objects ``catalogue/{tenant}/{version}/ads.json`` and ``…/vectors.f16`` are written once; the pointer in the table is
swapped afterwards, so a reader never meets half a snapshot. The version carries a hash of both: where they are not what
the builder wrote (lost, cut, changed), the reader keeps what it has, and has the next build publish anew.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from shared.domain import DOMAINS, LANGUAGES, Ad, FrequencyCap
from shared.errors import NotFound, Unavailable
from shared.models.quantized import QuantizedVectors
from shared.stores import Stores
from shared.stores.catalogue import Pointer
from shared.stores.table import ConditionFailed
from shared.telemetry import logger

POINTER_SECONDS = 2.0  # how long a reader trusts the pointer it has
HELD_TENANTS = 8  # snapshots that a process keeps, the latest loaded: one of 100,000 ads has 200 MB of vectors
QUANTIZED_FROM = 4096  # ads from which an int8 copy of the vectors pays, and the import of ONNX Runtime with it
LEASE_SECONDS = 120.0
REFUSED_SECONDS = 10.0  # before a snapshot that cannot be read is looked at again


Step = tuple[str, str, float]  # language, series, level


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Ads with what retrieval and filters need, row by row; `places` gives an ad's row by its id.

    vectors: float32 (n, 384), unit length, in the topic space of `shared.models.classifier`, where cosines tell topics
    apart and languages do not.
    category: the label's id of each ad as a place in `categories` ("" where the classifier abstained), int (n,);
    language and domain likewise, as places in `LANGUAGES` and `DOMAINS`. prior: smoothed click rate (n,).
    quantized: an int8 copy of the vectors, a quarter of their size; None where there are few.
    capped, budgeted: whether the ad has a frequency cap, a daily budget, bool (n,).
    targeting: by name (``platforms``) the rows of the ads that name any, and by value the rows of those that want it.
    sequels: rows of the ads that come right after a step (`step`) of their series.
    """

    version: str
    ads: tuple[Ad, ...]
    places: dict[str, int]
    vectors: np.ndarray
    categories: tuple[str, ...]
    category: np.ndarray
    prior: np.ndarray
    language: np.ndarray
    domain: np.ndarray
    start: np.ndarray
    end: np.ndarray
    quantized: QuantizedVectors | None
    capped: np.ndarray
    budgeted: np.ndarray
    targeting: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]
    sequels: dict[Step, np.ndarray]


DIMENSIONS = 384
PRIOR_IMPRESSIONS = 200.0  # weight of the catalogue's mean click rate in an ad's own
DEFAULT_CLICK_RATE = 0.01


def build(stores: Stores, tenant: str, *, clock: Callable[[], float]) -> Pointer | None:
    """Builds and publishes until the published snapshot holds every ad write; None where another builder is at it.

    A writer queues a task after each write, and the builder looks once more after it lets go of the lease, so a write
    that comes during a build is published by one or the other. Where that builder has died, so has its word: whoever
    meets its lease queues the task once more, for when the lease is over.
    """
    catalogue = stores.catalogue
    owner = secrets.token_hex(8)
    pointer: Pointer | None = catalogue.pointer(tenant)
    while catalogue.head(tenant) > (pointer.head if pointer else 0):
        if not catalogue.take_lease(tenant, owner, clock(), LEASE_SECONDS):
            _queue(stores, tenant, delay_seconds=int(LEASE_SECONDS) + 1)
            return None
        try:
            pointer = _publish(stores, tenant, catalogue.head(tenant))
        finally:
            catalogue.drop_lease(tenant, owner)
    return pointer


def _publish(stores: Stores, tenant: str, head: int) -> Pointer:
    stats = stores.delivery.stats(tenant)
    clicks = sum(row["clicks"] for row in stats.values())
    shown = sum(row["impressions"] for row in stats.values())
    mean = (clicks + DEFAULT_CLICK_RATE * PRIOR_IMPRESSIONS) / (shown + PRIOR_IMPRESSIONS)
    rows: list[dict[str, Any]] = []
    vectors: list[bytes] = []
    # An ad that is written while the pages are read comes twice: its last state counts.
    latest = {stored.ad.ad_id: stored for stored in stores.catalogue.iter_ads(tenant)}
    for stored in latest.values():
        if not stored.active or not stored.vector:
            continue
        if not _sound(stored.vector):  # it would spoil the whole snapshot
            logger.error("ad left out: its vector cannot be used", extra={"tenant": tenant, "ad_id": stored.ad.ad_id})
            continue
        seen = stats.get(stored.ad.ad_id, {"clicks": 0, "impressions": 0})
        label = stored.category.labels[0] if stored.category.labels and not stored.category.abstained else None
        rows.append(
            {
                "ad": {name: value for name, value in asdict(stored.ad).items() if value not in (None, {}, "")},
                "category": label.id if label else "",
                "prior": (seen["clicks"] + mean * PRIOR_IMPRESSIONS) / (seen["impressions"] + PRIOR_IMPRESSIONS),
            }
        )
        vectors.append(stored.vector)
    body, packed = orjson.dumps(rows), b"".join(vectors)
    version = f"{head:08d}-{_digest(body, packed)}"
    key = f"catalogue/{tenant}/{version}"
    stores.objects.put(f"{key}/vectors.f16", packed)
    stores.objects.put(f"{key}/ads.json", body, "application/json")
    pointer = Pointer(version, key, head)
    stores.catalogue.publish(tenant, pointer)
    return pointer


def _digest(body: bytes, packed: bytes) -> str:
    digest = hashlib.sha256(body)
    digest.update(packed)
    return digest.hexdigest()[:12]


def _sound(packed: bytes) -> bool:
    """Whether a stored vector can be compared with others: float16, (384,), every number finite."""
    return len(packed) == 2 * DIMENSIONS and bool(np.isfinite(np.frombuffer(packed, dtype=np.float16)).all())


def _queue(stores: Stores, tenant: str, *, delay_seconds: int = 0) -> None:
    stores.queues.send("catalogue", {"tenant": tenant, "action": "publish"}, delay_seconds=delay_seconds)


Project = Callable[[np.ndarray], np.ndarray]


class Unreadable(Exception):
    """A published snapshot cannot be served. `damaged`: its objects are gone, or not what the builder wrote."""

    def __init__(self, reason: str, *, damaged: bool) -> None:
        super().__init__(reason)
        self.damaged = damaged


def load(stores: Stores, pointer: Pointer, project: Project) -> Snapshot:
    """Reads a published snapshot. Raises `Unreadable`, or `Unavailable` where the objects cannot be reached."""
    try:
        body = stores.objects.get(f"{pointer.key}/ads.json")
        packed = stores.objects.get(f"{pointer.key}/vectors.f16")
    except NotFound as error:
        raise Unreadable(error.detail, damaged=True) from error
    if _digest(body, packed) != pointer.version.rpartition("-")[2]:
        raise Unreadable("its content is not that of its version", damaged=True)
    try:
        rows = orjson.loads(body)
        vectors = np.frombuffer(packed, dtype=np.float16).reshape(len(rows), DIMENSIONS).astype(np.float32)
        vectors = project(vectors) if len(rows) else vectors
        if not np.isfinite(vectors.sum()):
            raise ValueError("a vector is not finite")
        return assemble(pointer.version, rows, vectors)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # As it was written, but not by this version of the code, so that publishing it again would not help.
        raise Unreadable(f"{type(error).__name__}: {error}", damaged=False) from error


def assemble(version: str, rows: list[dict[str, Any]], vectors: np.ndarray) -> Snapshot:
    """A snapshot of rows as `_publish` writes them and their vectors in the topic space."""
    ads = []
    for row in rows:
        ad = row["ad"]
        if "frequency_cap" in ad:
            ad["frequency_cap"] = FrequencyCap(**ad["frequency_cap"])
        ads.append(Ad(**ad))
    infinity = float("inf")
    categories, category = np.unique(np.array([row["category"] for row in rows], dtype=str), return_inverse=True)
    return Snapshot(
        version=version,
        ads=tuple(ads),
        places={ad.ad_id: place for place, ad in enumerate(ads)},
        vectors=vectors,
        categories=tuple(categories.tolist()),
        category=category,
        prior=np.array([row["prior"] for row in rows], dtype=np.float32),
        language=np.array([LANGUAGES.index(ad.language) for ad in ads], dtype=np.int8),
        domain=np.array([DOMAINS.index(ad.domain) for ad in ads], dtype=np.int8),
        start=np.array([ad.start if ad.start is not None else -infinity for ad in ads]),
        end=np.array([ad.end if ad.end is not None else infinity for ad in ads]),
        quantized=QuantizedVectors(vectors) if len(ads) >= QUANTIZED_FROM else None,
        capped=np.array([ad.frequency_cap is not None for ad in ads], dtype=bool),
        budgeted=np.array([ad.daily_budget is not None for ad in ads], dtype=bool),
        targeting=_targeting(ads),
        sequels=_sequels(ads),
    )


def step(ad: Ad) -> Step | None:
    """Where the ad stands in a series (attributes ``series``, ``level``); None where in none."""
    series, level = ad.attributes.get("series"), ad.attributes.get("level")
    if not isinstance(series, str) or not isinstance(level, int | float):
        return None
    return ad.language, series, float(level)


def _sequels(ads: Sequence[Ad]) -> dict[Step, np.ndarray]:
    found: dict[Step, list[int]] = {}
    for place, ad in enumerate(ads):
        if ad.attributes and (own := step(ad)) is not None:
            language, series, level = own
            found.setdefault((language, series, level - 1), []).append(place)
    return {before: np.array(places) for before, places in found.items()}


def _targeting(ads: Sequence[Ad]) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    named: dict[str, list[int]] = {}
    wanting: dict[str, dict[str, list[int]]] = {}
    for place, ad in enumerate(ads):
        for name, values in ad.targeting.items():
            named.setdefault(name, []).append(place)
            for value in values:
                wanting.setdefault(name, {}).setdefault(value, []).append(place)
    return {
        name: (np.array(places), {value: np.array(rows) for value, rows in wanting.get(name, {}).items()})
        for name, places in named.items()
    }


@dataclass(frozen=True, slots=True)
class _Refused:
    version: str
    at: float


class Snapshots:
    """The latest snapshot of each tenant, loaded once a version and looked for again every `POINTER_SECONDS`.

    Where the published one cannot be read, the one that is held stays in service, and `refused` says so.
    """

    def __init__(self, stores: Stores, *, project: Project, clock: Callable[[], float]) -> None:
        self._stores = stores
        self._project = project
        self._clock = clock
        self._held: dict[str, tuple[float, Snapshot]] = {}
        self._refused: dict[str, _Refused] = {}

    def latest(self, tenant: str) -> Snapshot:
        """
        Raises:
            NotFound: the tenant has published nothing yet. Unavailable: what it has published cannot be read, and
                nothing older is held.
        """
        now = self._clock()
        held = self._held.get(tenant)
        if held is not None and _within(now - held[0], POINTER_SECONDS):
            return held[1]
        pointer = self._stores.catalogue.pointer(tenant)
        if pointer is None:
            raise NotFound("no catalogue has been published yet: send ads first (PUT /v1/ads)")
        if held is not None and held[1].version == pointer.version:
            snapshot = held[1]
            self._refused.pop(tenant, None)
        else:
            try:
                snapshot = self._load(tenant, pointer, now)
            except Unavailable:
                if held is None:
                    raise
                snapshot = held[1]
        self._held.pop(tenant, None)
        self._held[tenant] = (now, snapshot)
        for other in list(self._held)[:-HELD_TENANTS]:
            self._held.pop(other, None)
        return snapshot

    def refused(self, tenant: str) -> str | None:
        """The version that is published but cannot be read, where there is one."""
        refused = self._refused.get(tenant)
        return refused.version if refused is not None else None

    def _load(self, tenant: str, pointer: Pointer, now: float) -> Snapshot:
        known = self._refused.get(tenant)
        problem = f"the catalogue's snapshot {pointer.version} cannot be read"
        if known is not None and known.version == pointer.version and _within(now - known.at, REFUSED_SECONDS):
            raise Unavailable(problem, retry_after=int(REFUSED_SECONDS))
        where = {"tenant": tenant, "snapshot": pointer.version}
        try:
            snapshot = load(self._stores, pointer, self._project)
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
        pk, _ = self._stores.catalogue.ad_key(tenant, "-")
        try:
            self._stores.table.update(
                (pk, "meta"),
                "SET head = :next",
                {":next": pointer.head + 1, ":built": pointer.head},
                condition="head = :built",
            )
            _queue(self._stores, tenant)
        except ConditionFailed:
            return  # a task is queued already
        except Unavailable as error:  # this function has no queue to send to: the next write of an ad does it
            logger.warning("no build queued", extra={"tenant": tenant, "reason": error.detail})


def _within(age: float, seconds: float) -> bool:
    """Whether something is so young; what seems to come from the future is not, for clocks are set back."""
    return 0 <= age < seconds
