"""Counters of quotas on both adapters; and at the same moment, on the emulator, they give out no more than there is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shared.quotas import QuotaExceeded, Quotas
from shared.stores import Stores
from shared.stores.quotas import Taken
from shared.tenants import Limits


def test_what_does_not_fit_is_not_taken_and_what_would_is_said(stores: Stores) -> None:
    taken = Taken(stores.table)
    options: dict[str, Any] = {"allowed": 10, "expires": 2e9}
    assert taken.take("a", "x", 1, 11, **options) == 10
    assert taken.take("a", "x", 1, 7, **options) is None
    assert taken.take("a", "x", 1, 4, **options) == 3
    assert taken.take("a", "x", 1, 3, **options) is None
    assert taken.take("a", "x", 1, 1, **options) == 0
    for tenant, limit, window in (("b", "x", 1), ("a", "y", 1), ("a", "x", 2)):
        assert taken.take(tenant, limit, window, 10, **options) is None


def test_a_piece_is_taken_once_and_stays_taken(stores: Stores) -> None:
    taken = Taken(stores.table)
    options: dict[str, Any] = {"allowed": 10, "expires": 2e9}
    assert taken.take_piece("a", "x", 1, 7, source="r/0", **options) == (7, 7)
    assert taken.take_piece("a", "x", 1, 7, source="r/0", **options) == (7, 0)
    assert taken.take_piece("a", "x", 1, 4, source="r/1", whole=True, **options) == (0, 0)
    assert taken.take_piece("a", "x", 1, 4, source="r/1", **options) == (3, 3)
    assert taken.take_piece("a", "x", 1, 11, source="r/2", **options) == (0, 0)
    assert taken.take_piece("a", "x", 2, 7, source="r/0", **options) == (7, 0)  # it was counted the day before
    assert taken.take_piece("a", "x", 2, 4, source="r/1", whole=True, **options) == (4, 1)
    assert taken.take("a", "x", 2, 9, **options) is None
    taken.hand_back("a", "x", 2, 6)
    taken.hand_back("a", "x", 2, 6)  # more than is taken: it was handed back before
    assert taken.take("a", "x", 2, 7, **options) == 6


def test_requests_at_once_take_no_more_than_there_is(emulated: Stores) -> None:
    terms = Limits(requests_per_minute=150)
    processes = [
        Quotas(lambda: Taken(emulated.table), lambda tenant: terms, clock=lambda: 1_790_000_000.0) for _ in range(3)
    ]
    barrier = threading.Barrier(6)

    def flood(quotas: Quotas) -> int:
        barrier.wait()
        admitted = 0
        for _ in range(100):
            try:
                quotas.request("a")
            except QuotaExceeded:
                continue
            admitted += 1
        return admitted

    with ThreadPoolExecutor(6) as pool:
        n = sum(pool.map(flood, processes * 2))
    assert 120 <= n <= 150
