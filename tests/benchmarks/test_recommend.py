"""Choosing among 10,000 and 100,000 ads: budget p50 5 ms and 15 ms, one thread, in process, tables and network aside.

Once for a request whose language and consent leave a quarter of the ads, once for one that may be shown them all. The
baseline in the same run scores every ad in full with numpy (what serving did before it had bounds); plain Python, over
a thousandth of the ads, is there for scale.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from shared import recommending
from shared.domain import Consent, Interest, Profile
from shared.eligibility import Context, allowed, sequels
from shared.exploration import slate
from shared.models.features import History
from shared.models.ranker import Ranker
from shared.retrieval import Request
from shared.scoring import Models, Scoring
from shared.snapshot import Snapshot, assemble
from shared.stores.people import pack_vector, unpack_vectors
from tests.benchmarks.table import Figures

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


def person(snapshot: Snapshot, interests: int) -> Profile:
    held = tuple(
        Interest(
            f"adproduct:{place}", {"en": "a", "zh": "b"}, 1 / 8, "long", (), vector=pack_vector(snapshot.vectors[place])
        )
        for place in range(interests)
    )
    return Profile("u", held, (), NOW)


def choose(snapshot: Snapshot, profile: Profile, consent: Consent, context: Context) -> list[int]:
    interests = [i for i in profile.interests if i.enabled]
    mask, _ = allowed(snapshot, profile, consent, context, NOW)
    queries = unpack_vectors([i.vector for i in interests])
    following = sequels(snapshot, profile.acquired)
    request = Request(interests, queries, mask, following, language=context.language, domain=context.domain)
    scoring = Scoring(snapshot, Models(Ranker()), request, History(), NOW)
    rows, scores = (best[: recommending.SHORTLIST] for best in scoring.best(recommending.CANDIDATES))
    plan = slate(
        scores,
        [recommending._traits(snapshot, row, context) for row in rows.tolist()],
        5,
        epsilon=0.05,
        rotation=0.05,
        vectors=snapshot.vectors[rows],
        diversity=recommending.DIVERSITY,
    )
    chosen: list[int] = rows[list(plan.base)].tolist()
    scoring.columns(rows[list(plan.base)])
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


CASES = {
    "a quarter allowed": (Context(language="en", platform="web"), Consent(True, False, "x", NOW)),
    "all allowed": (Context(platform="web"), Consent(True, True, "x", NOW)),
}


@pytest.mark.parametrize(("n", "budget", "worst"), [(10_000, 5.0, 15.0), (100_000, 15.0, None)])
def test_choosing(n: int, budget: float, worst: float | None, figures: Figures) -> None:
    snapshot = catalogue(n)
    in_full = replace(snapshot, quantized=None)
    profile = person(snapshot, 8)
    plain = np.median(milliseconds(lambda: plain_python(snapshot, profile, n // 1000), 3)) * 1000
    for name, (context, consent) in CASES.items():
        assert choose(snapshot, profile, consent, context) == choose(in_full, profile, consent, context)
        taken = milliseconds(partial(choose, snapshot, profile, consent, context), 200)
        full = milliseconds(partial(choose, in_full, profile, consent, context), 30)
        p50, p99 = np.percentile(taken, [50, 99])
        title = f"choose 5 of {n:,} ads, {name}"
        figures.add(f"{title}, p50", p50, "ms", budget, np.median(full), "every ad in full")
        figures.add(f"{title}, p99", p99, "ms", worst, plain, "plain Python")
