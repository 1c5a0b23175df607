"""The catalogue as it is served: an immutable, versioned snapshot of the active ads with their vectors.

Objects ``catalogue/{tenant}/{version}/ads.json`` and ``…/vectors.f16`` are written once; the pointer in the table is
swapped afterwards, so a reader never meets half a snapshot.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from shared.domain import DOMAINS, LANGUAGES, Ad, FrequencyCap
from shared.errors import NotFound
from shared.stores import Stores
from shared.stores.catalogue import Pointer

POINTER_SECONDS = 2.0  # how long a reader trusts the pointer it has
HELD_TENANTS = 8  # snapshots that a process keeps, the latest loaded: one of 100,000 ads has 150 MB of vectors
LEASE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Ads with what retrieval and filters need, row by row; `places` gives an ad's row by its id.

    vectors: float32 (n, 384), unit length, in the topic space of `shared.models.classifier`, where cosines tell topics
    apart and languages do not.
    category: the label's id of each ad as a place in `categories` ("" where the classifier abstained), int (n,);
    language and domain likewise, as places in `LANGUAGES` and `DOMAINS`. prior: smoothed click rate (n,).
    targeted: rows of the ads that have targeting.
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
    targeted: np.ndarray


DIMENSIONS = 384
PRIOR_IMPRESSIONS = 200.0  # weight of the catalogue's mean click rate in an ad's own
DEFAULT_CLICK_RATE = 0.01


def build(stores: Stores, tenant: str, *, clock: Callable[[], float]) -> Pointer | None:
    """Builds and publishes until the published snapshot holds every ad write; None where another builder is at it.

    A writer queues a task after each write, and the builder looks once more after it lets go of the lease, so a write
    that comes during a build is published by one or the other.
    """
    catalogue = stores.catalogue
    owner = hashlib.sha256(f"{tenant}{time.monotonic_ns()}{id(stores)}".encode()).hexdigest()[:16]
    pointer: Pointer | None = catalogue.pointer(tenant)
    while catalogue.head(tenant) > (pointer.head if pointer else 0):
        if not catalogue.take_lease(tenant, owner, clock(), LEASE_SECONDS):
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
    body = orjson.dumps(rows)
    version = f"{head:08d}-{hashlib.sha256(body + b''.join(vectors)).hexdigest()[:12]}"
    key = f"catalogue/{tenant}/{version}"
    stores.objects.put(f"{key}/vectors.f16", b"".join(vectors))
    stores.objects.put(f"{key}/ads.json", body, "application/json")
    pointer = Pointer(version, key, head)
    stores.catalogue.publish(tenant, pointer)
    return pointer


Project = Callable[[np.ndarray], np.ndarray]


def load(stores: Stores, pointer: Pointer, project: Project) -> Snapshot:
    """Reads a published snapshot. Raises `NotFound` where its objects are gone."""
    rows = orjson.loads(stores.objects.get(f"{pointer.key}/ads.json"))
    packed = stores.objects.get(f"{pointer.key}/vectors.f16")
    width = -1 if rows else DIMENSIONS  # no ad is active: none to read it off
    vectors = np.frombuffer(packed, dtype=np.float16).reshape(len(rows), width).astype(np.float32)
    return assemble(pointer.version, rows, project(vectors) if len(rows) else vectors)


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
        targeted=np.array([place for place, ad in enumerate(ads) if ad.targeting], dtype=np.int64),
    )


class Snapshots:
    """The latest snapshot of each tenant, loaded once a version and looked for again every `POINTER_SECONDS`."""

    def __init__(self, stores: Stores, *, project: Project, clock: Callable[[], float]) -> None:
        self._stores = stores
        self._project = project
        self._clock = clock
        self._held: dict[str, tuple[float, Snapshot]] = {}

    def latest(self, tenant: str) -> Snapshot:
        """Raises `NotFound` where the tenant has published nothing yet."""
        now = self._clock()
        held = self._held.get(tenant)
        if held is not None and now - held[0] < POINTER_SECONDS:
            return held[1]
        pointer = self._stores.catalogue.pointer(tenant)
        if pointer is None:
            raise NotFound("no catalogue has been published yet: send ads first (PUT /v1/ads)")
        if held is not None and held[1].version == pointer.version:
            self._held[tenant] = (now, held[1])
            return held[1]
        snapshot = load(self._stores, pointer, self._project)
        self._held.pop(tenant, None)
        self._held[tenant] = (now, snapshot)
        for other in list(self._held)[:-HELD_TENANTS]:
            self._held.pop(other, None)
        return snapshot
