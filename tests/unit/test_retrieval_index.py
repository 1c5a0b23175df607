"""Candidates of the index: no filter is broken and no answer is short, what is good without the index's help is found,
and the index outlives versions of the catalogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared import retrieval
from shared.assembly import index_of
from shared.domain import DOMAINS, LANGUAGES
from shared.index import MOST_BESIDE, ad_columns, query_columns
from shared.models.ranker import WEIGHTS, Ranker
from shared.retrieval import Request, Retrieval
from shared.snapshot import Snapshot
from tests.unit.test_retrieval import catalogue, request

pytestmark = pytest.mark.slow

ADS = 6000
BEST = 50
FROM = 500  # allowed ads from which the index is asked, here


@pytest.fixture(scope="module")
def indexed() -> Snapshot:
    snapshot = catalogue("topics", 4, ADS)
    generator = np.random.default_rng(4)
    # Around many centres, as a large catalogue's ads are.
    centres = generator.normal(size=(300, 384))
    vectors = centres[generator.integers(0, 300, ADS)] + generator.normal(size=(ADS, 384)) * 0.7
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prior = generator.beta(2, 150, ADS).astype(np.float32)
    snapshot = replace(snapshot, vectors=vectors.astype(np.float32), prior=prior, quantized=None)
    return replace(snapshot, index=index_of(snapshot, lambda: None))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "INDEX_FROM", FROM)
    monkeypatch.setattr(retrieval, "_INDEX_SHARE", 0.0)
    monkeypatch.setattr(retrieval, "_SHARE_LOOKED_AT", 1)


def wanted(snapshot: Snapshot, seed: int, share: float = 1.0) -> Request:
    """Without another model's word."""
    return replace(request(snapshot, seed, 4, 1, share), extra=None)


def with_columns(vectors: np.ndarray) -> np.ndarray:
    """Queries of somebody who is nowhere."""
    columns = query_columns(np.zeros(len(LANGUAGES)), np.zeros(len(DOMAINS)))
    return np.hstack((vectors, np.tile(columns, (len(vectors), 1))))


def exact(snapshot: Snapshot, asked: Request, limit: int) -> list[int]:
    rows: list[int] = Retrieval(replace(snapshot, index=None), Ranker(), asked).best(limit)[0].tolist()
    return rows


def test_the_best_are_nearly_all_found_and_scored_in_full(indexed: Snapshot) -> None:
    first, all_ = [], []
    for seed in range(12):
        asked = wanted(indexed, seed)
        found = Retrieval(indexed, Ranker(), asked)
        rows, scores = found.best(BEST)
        right = exact(indexed, asked, BEST)
        first.append(len(set(rows[:5].tolist()) & set(right[:5])) / 5)
        all_.append(len(set(rows.tolist()) & set(right)) / BEST)
        full = Ranker().predict(found._features(rows, *found._matches(rows)))
        assert scores == pytest.approx(full, abs=1e-6)
        assert (np.diff(scores) <= 0).all()
    assert np.mean(first) > 0.95
    assert np.mean(all_) > 0.85


def test_fewer_ads_are_scored_than_there_are(indexed: Snapshot) -> None:
    found = Retrieval(indexed, Ranker(), wanted(indexed, 3))
    assert indexed.index is not None
    rows = found._found(indexed.index, BEST)
    assert rows is not None and BEST <= len(rows) < ADS / 4


@pytest.mark.parametrize("share", [0.9, 0.3, 0.1])
def test_filters_hold_and_no_answer_is_short(indexed: Snapshot, share: float) -> None:
    for seed in range(4):
        asked = wanted(indexed, seed, share)
        rows, _ = Retrieval(indexed, Ranker(), asked).best(BEST)
        assert asked.allowed[rows].all()
        assert len(set(rows.tolist())) == BEST


def test_where_the_nearest_may_not_be_shown_others_are_looked_for(indexed: Snapshot) -> None:
    asked = wanted(indexed, 5)
    near = Retrieval(indexed, Ranker(), asked).best(1500)[0]
    allowed = np.ones(ADS, dtype=bool)
    allowed[near] = False
    rows, _ = Retrieval(indexed, Ranker(), replace(asked, allowed=allowed)).best(BEST)
    assert allowed[rows].all() and len(rows) == BEST


def test_too_few_allowed_ads_are_all_scored(indexed: Snapshot) -> None:
    asked = wanted(indexed, 6, share=0.05)
    assert asked.allowed.sum() < FROM
    assert Retrieval(indexed, Ranker(), asked).best(BEST)[0].tolist() == exact(indexed, asked, BEST)


def test_where_many_may_not_be_shown_all_others_are_scored(indexed: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that knows no filter finds too much that is thrown away."""
    monkeypatch.setattr(retrieval, "_INDEX_SHARE", 0.6)
    for seed, share in ((1, 0.5), (2, 0.3)):
        asked = wanted(indexed, seed, share)
        assert asked.allowed.sum() > FROM
        assert Retrieval(indexed, Ranker(), asked).best(BEST)[0].tolist() == exact(indexed, asked, BEST)


def test_what_another_model_or_a_series_speaks_for_is_a_candidate(indexed: Snapshot) -> None:
    asked = wanted(indexed, 7)
    plain = Retrieval(indexed, Ranker(), asked).best(ADS)[0]
    last, other = plain[-1], plain[-2]
    extra = np.zeros(ADS, dtype=np.float32)
    extra[last] = 20.0
    sequels = np.zeros(ADS, dtype=bool)
    sequels[other] = True
    rows, scores = Retrieval(indexed, Ranker(), replace(asked, extra=extra, sequels=sequels)).best(BEST)
    assert rows[0] == last
    assert scores[0] > 0.9999
    assert other in Retrieval(indexed, Ranker(), replace(asked, sequels=sequels))._found(indexed.index, BEST)  # type: ignore[arg-type, operator]


def test_the_index_goes_over_to_the_next_version(indexed: Snapshot) -> None:
    """Rows have moved, one ad is gone, one is new and one has another text."""
    assert indexed.index is not None
    order = np.random.default_rng(1).permutation(ADS)[1:]
    vectors = np.vstack((indexed.vectors[order], indexed.vectors[7:8]))
    vectors[10] = indexed.vectors[11]
    ads = [indexed.ads[place] for place in order] + [replace(indexed.ads[0], ad_id="new")]
    places = {ad.ad_id: place for place, ad in enumerate(ads)}
    carried = indexed.index.carried(places, vectors)
    assert carried is not None
    assert carried.beside.tolist() == [10, ADS - 1]
    queries = vectors[[20, 30]]
    rows = carried.near(with_columns(queries), 60)
    assert {20, 30, 10, ADS - 1} <= set(rows.tolist())
    assert (vectors[rows] @ queries.T).max(axis=1).min() < 1 - 1e-3  # others, too
    assert set(np.unique(rows)) == set(rows.tolist()) and rows.max() < ADS


@pytest.mark.parametrize("change", ["gone", "new"])
def test_an_index_of_too_many_others_is_given_up(indexed: Snapshot, change: str) -> None:
    assert indexed.index is not None
    some = int(ADS * (1 - 1.5 * MOST_BESIDE))
    ads = [ad.ad_id if place < some or change == "gone" else f"new-{place}" for place, ad in enumerate(indexed.ads)]
    ads = ads[:some] if change == "gone" else ads
    assert indexed.index.carried({ad: place for place, ad in enumerate(ads)}, indexed.vectors[: len(ads)]) is None
    assert indexed.index.carried(indexed.places, indexed.vectors) is not None


def test_one_query_and_more_than_there_is(indexed: Snapshot) -> None:
    assert indexed.index is not None
    assert len(indexed.index.near(with_columns(indexed.vectors[:1]), 10)) == 10
    assert len(indexed.index.near(with_columns(indexed.vectors[:2]), 2 * ADS)) <= ADS


def test_products_of_the_index_are_the_log_odds_it_stands_for(indexed: Snapshot) -> None:
    """Interests, click rate, language and domain, as the ranker weighs them; no category, session or series."""
    asked = replace(wanted(indexed, 3), sequels=np.zeros(ADS, dtype=bool))
    asked = replace(asked, interests=[replace(one, id="of none", term="long") for one in asked.interests])
    found = Retrieval(indexed, Ranker(), asked)
    rows = np.arange(ADS)
    ads = np.hstack((indexed.vectors, ad_columns(indexed.prior, indexed.language, indexed.domain)))
    context = query_columns(found._language, found._domain)
    queries = np.hstack((found._queries, np.tile(context, (len(found._queries), 1))))
    products = (ads @ queries.T).max(axis=1) * WEIGHTS["similarity"]
    odds = found._odds(rows, *found._matches(rows))
    assert odds - odds.mean() == pytest.approx(products - products.mean(), abs=1e-3)
