"""Choosing among 10,000 and 100,000 ads: budget p50 5 ms and 15 ms, one thread, in process, tables and network aside.

The baseline in the same run is one pass of the same arithmetic in plain Python over a thousandth of the ads.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from shared import recommending
from shared.domain import Consent, Interest, Profile
from shared.models.ranker import Ranker
from shared.recommending import Context
from shared.snapshot import Snapshot, assemble
from shared.stores.people import pack_vector, unpack_vectors

NOW = 1_790_000_000.0


def catalogue(n: int) -> Snapshot:
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(n, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        {
            "ad": {
                "ad_id": f"ad-{place}",
                "title": f"Ad {place}",
                "landing_url": "https://example.com",
                "language": "en" if place % 2 else "zh",
                "domain": ("ecommerce", "social", "education", "health")[place % 4],
                "campaign_id": f"c{place % 500}",
            }
            | ({"targeting": {"platforms": ["web"]}} if place % 50 == 0 else {}),
            "category": f"adproduct:{place % 300}",
            "prior": 0.01,
        }
        for place in range(n)
    ]
    return assemble("bench", rows, vectors)


def choose(snapshot: Snapshot, profile: Profile, consent: Consent) -> list[int]:
    context = Context(language="en", platform="web")
    interests = [i for i in profile.interests if i.enabled]
    allowed = recommending._allowed(snapshot, profile, consent, context, NOW)
    sequels = recommending._sequels(snapshot, profile.acquired)
    queries = unpack_vectors([i.vector for i in interests])
    scores = Ranker().predict(recommending._features(snapshot, interests, queries, context, sequels))
    order = recommending._top(scores, allowed, recommending.CANDIDATES)
    chosen = recommending._diverse(snapshot, scores, order, 5)
    recommending._matches(snapshot, interests, queries, chosen)
    return chosen


def milliseconds(call: Callable[[], object], times: int) -> np.ndarray:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return np.array(taken)


def plain_python(snapshot: Snapshot, profile: Profile, ads: int) -> list[float]:
    queries = [np.frombuffer(i.vector, np.float16).astype(float).tolist() for i in profile.interests]
    rows = snapshot.vectors[:ads].tolist()
    return [max(sum(a * b for a, b in zip(row, query, strict=True)) for query in queries) for row in rows]


@pytest.mark.parametrize(("n", "budget"), [(10_000, 5.0), (100_000, 15.0)])
def test_choosing(n: int, budget: float, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = catalogue(n)
    interests = tuple(
        Interest(
            f"adproduct:{place}", {"en": "a", "zh": "b"}, 1 / 8, "long", (), vector=pack_vector(snapshot.vectors[place])
        )
        for place in range(8)
    )
    profile = Profile("u", interests, (), NOW)
    consent = Consent(True, False, "x", NOW)
    assert len(choose(snapshot, profile, consent)) == 5
    taken = milliseconds(lambda: choose(snapshot, profile, consent), 100)
    baseline = milliseconds(lambda: plain_python(snapshot, profile, n // 1000), 3)
    with capsys.disabled():
        print(
            f"\nchoose 5 of {n:>7,} ads: p50 {np.percentile(taken, 50):6.2f} ms, p99 {np.percentile(taken, 99):6.2f} ms"
            f" (budget p50 {budget} ms); plain Python: {np.median(baseline) * 1000:,.0f} ms"
            f" (scaled up from {n // 1000} ads)"
        )
