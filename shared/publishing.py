"""Building a tenant's snapshot of its active ads, and putting it where readers find it.

Objects ``catalogue/{tenant}/{version}/ads.json`` and ``…/vectors.f16`` are written once; the pointer in the table is
swapped afterwards, so a reader never meets half a snapshot. The version carries a hash of both.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson

from shared.stores import Stores
from shared.stores.catalogue import Pointer
from shared.stores.table import ConditionFailed
from shared.telemetry import logger

LEASE_SECONDS = 120.0
DIMENSIONS = 384
PRIOR_IMPRESSIONS = 200.0  # weight of a campaign's click rate in its ad's own, and of the catalogue's in the campaign's
DEFAULT_CLICK_RATE = 0.01
BETWEEN = b",\n"  # two rows of ads.json; no JSON string holds a line feed
_NOT_SHOWN = {"clicks": 0, "impressions": 0}


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
            queue_build(stores, tenant, delay_seconds=int(LEASE_SECONDS) + 1)
            return None
        try:
            pointer = _publish(stores, tenant, catalogue.head(tenant))
        finally:
            catalogue.drop_lease(tenant, owner)
    return pointer


def renew(stores: Stores, tenant: str, pointer: Pointer) -> bool:
    """Has the catalogue built anew though no ad was written: its objects are damaged, or its click rates are old.
    False where ads have been written since `pointer`, whose build is queued already."""
    pk, _ = stores.catalogue.ad_key(tenant, "-")
    try:
        stores.table.update(
            (pk, "meta"),
            "SET head = :next",
            {":next": pointer.head + 1, ":built": pointer.head},
            condition="head = :built",
        )
    except ConditionFailed:
        return False
    queue_build(stores, tenant)
    return True


def _publish(stores: Stores, tenant: str, head: int) -> Pointer:
    stats = stores.delivery.stats(tenant)
    rows: list[dict[str, Any]] = []
    vectors: list[bytes] = []
    # An ad that is written while the pages are read comes twice: its last state counts.
    latest = {stored.ad.ad_id: stored for stored in stores.catalogue.iter_ads(tenant)}
    mean, campaigns = _click_rates(stats, {ad_id: stored.ad.campaign_id or "" for ad_id, stored in latest.items()})
    for stored in latest.values():
        if not stored.active or not stored.vector:
            continue
        if not _sound(stored.vector):  # it would spoil the whole snapshot
            logger.error("ad left out: its vector cannot be used", extra={"tenant": tenant, "ad_id": stored.ad.ad_id})
            continue
        seen = stats.get(stored.ad.ad_id, _NOT_SHOWN)
        expected = campaigns.get(stored.ad.campaign_id or "", mean)
        label = stored.category.labels[0] if stored.category.labels and not stored.category.abstained else None
        rows.append(
            {
                "ad": {name: value for name, value in asdict(stored.ad).items() if value not in (None, {}, "")},
                "category": label.id if label else "",
                "prior": _smoothed(seen["clicks"], seen["impressions"], expected),
                "campaign_prior": expected,
            }
        )
        vectors.append(stored.vector)
    body, packed = b"[" + BETWEEN.join(map(orjson.dumps, rows)) + b"]", b"".join(vectors)
    version = f"{head:08d}-{digest(body, packed)}"
    key = f"catalogue/{tenant}/{version}"
    stores.objects.put(f"{key}/vectors.f16", packed)
    stores.objects.put(f"{key}/ads.json", body, "application/json")
    pointer = Pointer(version, key, head)
    stores.catalogue.publish(tenant, pointer)
    return pointer


def _click_rates(
    stats: Mapping[str, Mapping[str, int]], campaign_of: Mapping[str, str]
) -> tuple[float, dict[str, float]]:
    """The catalogue's click rate, and each campaign's, smoothed towards it. Ads that are no longer shown count."""
    clicks = sum(row["clicks"] for row in stats.values())
    shown = sum(row["impressions"] for row in stats.values())
    mean = _smoothed(clicks, shown, DEFAULT_CLICK_RATE)
    sums: dict[str, tuple[int, int]] = {}
    for ad_id, row in stats.items():
        campaign = campaign_of.get(ad_id)
        if campaign:
            clicks, shown = sums.get(campaign, (0, 0))
            sums[campaign] = clicks + row["clicks"], shown + row["impressions"]
    return mean, {campaign: _smoothed(*counts, mean) for campaign, counts in sums.items()}


def _smoothed(clicks: float, shown: float, expected: float) -> float:
    return (clicks + expected * PRIOR_IMPRESSIONS) / (shown + PRIOR_IMPRESSIONS)


def digest(body: bytes, packed: bytes) -> str:
    digest = hashlib.sha256(body)
    digest.update(packed)
    return digest.hexdigest()[:12]


def _sound(packed: bytes) -> bool:
    """Whether a stored vector can be compared with others: float16, (384,), every number finite."""
    return len(packed) == 2 * DIMENSIONS and bool(np.isfinite(np.frombuffer(packed, dtype=np.float16)).all())


def queue_build(stores: Stores, tenant: str, *, delay_seconds: int = 0) -> None:
    stores.queues.send("catalogue", {"tenant": tenant, "action": "publish"}, delay_seconds=delay_seconds)
