"""Retrieval by bounds gives what scoring every allowed ad gives, whatever is filtered and however alike the ads are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import retrieval
from shared.domain import Interest, Term
from shared.models.features import FEATURES
from shared.models.quantized import QuantizedVectors
from shared.models.ranker import WEIGHTS, Features, Ranker
from shared.retrieval import Request, Retrieval
from shared.snapshot import QUANTIZED_FROM, Snapshot, assemble
from tests.unit.test_quantized import vectors_like

pytestmark = pytest.mark.slow


def catalogue(kind: str, seed: int, n: int) -> Snapshot:
    generator = np.random.default_rng(seed)
    rows = [
        {
            "ad": {
                "ad_id": f"ad-{place}",
                "title": "An ad",
                "landing_url": "https://example.com",
                "language": ("en", "zh")[place % 2],
                "domain": ("ecommerce", "social")[place % 3 % 2],
                "bid_cpm": place % 7 / 2,
            },
            "category": f"adproduct:{place % 11}",
            "prior": float(generator.choice([0.002, 0.01, 0.2])),
        }
        for place in range(n)
    ]
    return assemble("v", rows, vectors_like(kind, seed, n, 384))


def request(snapshot: Snapshot, seed: int, long: int, session: int, share: float) -> Request:
    generator = np.random.default_rng(seed)
    n = len(snapshot.ads)
    terms: list[Term] = ["long" if place < long else "session" for place in range(long + session)]
    interests = tuple(
        Interest(f"adproduct:{place}", {}, float(generator.uniform(0.02, 1)), term, ())
        for place, term in enumerate(terms)
    )
    near = snapshot.vectors[generator.integers(0, n, len(interests))]
    queries = near + generator.normal(size=near.shape).astype(np.float32) * 0.02
    return Request(
        interests,
        queries / np.linalg.norm(queries, axis=1, keepdims=True),
        allowed=generator.random(n) < share,
        sequels=generator.random(n) < 0.01,
        language="en",
        domain="social",
        extra=generator.normal(size=n).astype(np.float32) * 2 if seed % 2 else None,
    )


def plain(snapshot: Snapshot, wanted: Request) -> np.ndarray:
    """Every ad's score, one feature after another over the whole catalogue."""
    n = len(snapshot.ads)
    weights = np.array([i.weight for i in wanted.interests])
    cosines = snapshot.vectors.astype(np.float64) @ wanted.queries.T.astype(np.float64)
    weighed = cosines * np.sqrt(weights / weights.max()) if len(weights) else np.zeros((n, 1))
    now = [place for place, i in enumerate(wanted.interests) if i.term == "session"]
    held = {i.id: i.weight for i in wanted.interests}
    odds = Ranker().log_odds(
        Features(
            similarity=weighed.max(axis=1),
            category=np.array([held.get(snapshot.categories[code], 0.0) for code in snapshot.category]),
            session=np.clip(weighed[:, now].max(axis=1), 0, 1) if now else np.zeros(n),
            language=np.array([float(ad.language == wanted.language) for ad in snapshot.ads]),
            domain=np.array([float(ad.domain == wanted.domain) for ad in snapshot.ads]),
            sequel=wanted.sequels.astype(float),
            prior=snapshot.prior,
        )
    )
    extra = 0.0 if wanted.extra is None else wanted.extra
    return np.asarray(1 / (1 + np.exp(-(odds + extra))))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["even", "topics", "spiky", "flat"]),
    seed=st.integers(0, 10_000),
    interests=st.tuples(st.integers(0, 8), st.integers(0, 3)),
    share=st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]),
    limits=st.lists(st.integers(1, 500), min_size=1, max_size=3),
)
def test_the_best_by_bounds_are_the_best(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    seed: int,
    interests: tuple[int, int],
    share: float,
    limits: list[int],
) -> None:
    monkeypatch.setattr(retrieval, "QUANTIZED_FROM", 0)
    snapshot = catalogue(kind, seed, 400)
    snapshot = replace(snapshot, quantized=QuantizedVectors(snapshot.vectors))
    wanted = request(snapshot, seed, *interests, share)
    scores = plain(snapshot, wanted)
    found = Retrieval(snapshot, Ranker(), wanted)
    assert found.allowed == wanted.allowed.sum()
    for limit in limits:
        places, given_scores = found.best(limit)
        best = np.sort(scores[wanted.allowed])[::-1][:limit]
        assert wanted.allowed[places].all()
        assert len(set(places.tolist())) == len(places) == len(best)
        assert given_scores == pytest.approx(best, abs=1e-5)
        assert given_scores == pytest.approx(scores[places], abs=1e-5)


def test_ads_closer_together_than_the_error_are_told_apart() -> None:
    n = 3000
    generator = np.random.default_rng(2)
    vectors = generator.normal(size=384) / 384**0.5 + generator.normal(size=(n, 384)) * 0.002
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    snapshot = replace(
        catalogue("even", 1, n),
        vectors=vectors.astype(np.float32),
        quantized=QuantizedVectors(vectors.astype(np.float32)),
        prior=np.full(n, 0.01, dtype=np.float32),
    )
    wanted = replace(
        request(snapshot, 7, 1, 0, 1.0), language=None, domain=None, sequels=np.zeros(n, dtype=bool), extra=None
    )
    wanted = replace(wanted, interests=[replace(wanted.interests[0], id="of none")])
    scores = plain(snapshot, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "QUANTIZED_FROM", 0)
        places, _ = Retrieval(snapshot, Ranker(), wanted).best(200)
    assert scores[places] == pytest.approx(np.sort(scores)[::-1][:200], abs=1e-6)


def test_a_large_catalogue_is_searched_by_bounds_and_a_small_one_is_not() -> None:
    assert catalogue("even", 1, 10).quantized is None
    large = catalogue("topics", 1, QUANTIZED_FROM + 1)
    assert large.quantized is not None
    wanted = request(large, 5, 6, 2, 1.0)
    asked: list[int] = []

    class Counting(Ranker):
        def log_odds(self, features: Features) -> np.ndarray:
            asked.append(len(features.prior))
            return super().log_odds(features)

    places, scores = Retrieval(large, Counting(), wanted).best(50)
    assert scores == pytest.approx(np.sort(plain(large, wanted))[::-1][:50], abs=1e-5)
    assert asked[0] == len(large.ads)  # by bounds
    assert 50 <= asked[1] < len(large.ads)  # in full
    few = replace(wanted, allowed=np.arange(len(large.ads)) % 20 == 0)
    asked.clear()
    Retrieval(large, Counting(), few).best(50)
    assert asked == [few.allowed.sum()]  # quicker than a look at every ad
    everything, _ = Retrieval(replace(large, quantized=None), Counting(), wanted).best(50)
    assert (everything == places).all()


def test_equal_ads_keep_the_catalogues_order() -> None:
    snapshot = catalogue("topics", 3, 300)
    snapshot = replace(snapshot, prior=np.full(300, 0.01, dtype=np.float32))
    wanted = replace(request(snapshot, 1, 0, 0, 1.0), sequels=np.zeros(300, dtype=bool), language=None, domain=None)
    wanted = replace(wanted, extra=None)
    assert Retrieval(snapshot, Ranker(), wanted).best(300)[0].tolist() == list(range(300))


@pytest.mark.parametrize("seed", [3, 4])
def test_columns_tell_of_each_ad_what_its_score_is_made_of(seed: int) -> None:
    """Named as the click model's, for any rows in any order, those that may not be shown, too."""
    snapshot = catalogue("topics", seed, 200)
    wanted = request(snapshot, seed, 3, 2, 0.5)
    rows = np.random.default_rng(seed).permutation(200)[:70]
    columns = Retrieval(snapshot, Ranker(), wanted).columns(rows)
    assert set(columns) <= set(FEATURES)
    odds = columns["prior"] + sum(weight * columns[name] for name, weight in WEIGHTS.items()) + columns["next_item"]
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(plain(snapshot, wanted)[rows], abs=1e-5)
    assert columns["prior"] == pytest.approx(np.log(snapshot.prior[rows] / (1 - snapshot.prior[rows])), abs=1e-5)
    assert columns["campaign_prior"] == pytest.approx(columns["prior"])  # rows of `catalogue` name no campaigns' rates
    assert (columns["next_item"] == (0 if wanted.extra is None else wanted.extra[rows])).all()
    assert columns["bid"] == pytest.approx(np.log1p([snapshot.ads[row].bid_cpm for row in rows.tolist()]))
    assert {column.shape for column in columns.values()} == {(70,)}


def test_what_is_certain_is_a_probability_still() -> None:
    snapshot = catalogue("topics", 2, 20)
    wanted = request(snapshot, 2, 2, 0, 1.0)
    for extreme in (-200.0, 200.0):
        extra = np.full(20, extreme, dtype=np.float32)
        _, scores = Retrieval(snapshot, Ranker(), replace(wanted, extra=extra)).best(20)
        assert scores == pytest.approx(float(extreme > 0), abs=1e-6)


def test_probabilities_are_what_they_were() -> None:
    """Figures of the published weights: a change of them is a change of the ranker's version."""
    features = Features(
        similarity=np.array([0, 0.5, 0.9, -0.2], dtype=np.float32),
        category=np.array([0, 0.25, 1, 0], dtype=np.float32),
        session=np.array([0, 0, 0.6, 0], dtype=np.float32),
        language=np.array([0, 1, 1, 0], dtype=np.float32),
        domain=np.array([0, 1, 0, 1], dtype=np.float32),
        sequel=np.array([0, 0, 1, 0], dtype=np.float32),
        prior=np.array([0.01, 0.01, 0.002, 0.5], dtype=np.float32),
    )
    assert Ranker().predict(features) == pytest.approx([0.01, 0.4762379, 0.9795156, 0.450166], abs=1e-6)
