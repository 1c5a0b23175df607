"""What a snapshot says of its ads: click rates smoothed ad to campaign to catalogue, campaigns, bids and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.publishing import DEFAULT_CLICK_RATE, PRIOR_IMPRESSIONS, _click_rates, _smoothed
from shared.snapshot import Snapshot, Snapshots, assemble
from shared.stores import Stores
from tests.conftest import TENANT
from tests.fakes.system import FakeSystem
from tests.unit.test_api import AD


def row(ad_id: str, category: str = "", **fields: Any) -> dict[str, Any]:
    ad = {"ad_id": ad_id, "title": "T", "landing_url": "https://example.com", "language": "en", "domain": "social"}
    return {"ad": ad | fields, "category": category, "prior": 0.02}


def assembled(*rows: dict[str, Any]) -> Snapshot:
    return assemble("v", rows, np.zeros((len(rows), 384), dtype=np.float32))


def test_columns_are_those_of_their_ads() -> None:
    snapshot = assembled(
        row("a", "z", campaign_id="k2", bid_cpm=2.5, exclusion_labels=["alcohol", "car"]),
        row("b", "m", daily_budget=3.0, start=5.0),
        row("c", "z", campaign_id="k1", frequency_cap={"count": 1, "hours": 2}, end=9.0, targeting={"platforms": ["x"]})
        | {"campaign_prior": 0.5},
        row("d", campaign_id="k2", attributes={"series": "s", "level": 2}),
    )
    assert [snapshot.campaigns[place] for place in snapshot.campaign] == ["k2", "", "k1", "k2"]
    assert [snapshot.categories[place] for place in snapshot.category] == ["z", "m", "z", ""]
    assert snapshot.campaigns == ("", "k1", "k2") and snapshot.categories == ("", "m", "z")
    assert snapshot.bid.tolist() == [2.5, 0, 0, 0]
    assert snapshot.labels == (frozenset({"alcohol", "car"}), frozenset(), frozenset(), frozenset())
    assert snapshot.ads[0].exclusion_labels == ("alcohol", "car")
    assert snapshot.campaign_prior == pytest.approx([0.02, 0.02, 0.5, 0.02])
    assert snapshot.start.tolist() == [-np.inf, 5, -np.inf, -np.inf]
    assert snapshot.end.tolist() == [np.inf, np.inf, 9, np.inf]
    assert snapshot.capped.tolist() == [False, False, True, False]
    assert snapshot.budgeted.tolist() == [False, True, False, False]
    named, wanting = snapshot.targeting["platforms"]
    assert named.tolist() == [2] and wanting["x"].tolist() == [2]
    assert snapshot.sequels["en", "s", 1.0].tolist() == [3]
    assert snapshot.places == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert snapshot.index is None


@pytest.mark.parametrize("vectors", [0, 1, 3])
def test_as_many_vectors_as_ads(vectors: int) -> None:
    with pytest.raises(ValueError, match="vectors"):
        assemble("v", [row("a"), row("b")], np.zeros((vectors, 384), dtype=np.float32))


def test_an_empty_catalogue_has_columns_too() -> None:
    snapshot = assembled()
    assert (snapshot.campaigns, len(snapshot.campaign), snapshot.ads) == ((), 0, ())


def test_rates_are_drawn_to_the_campaigns_and_these_to_the_catalogues() -> None:
    stats = {
        "seen": {"clicks": 300, "impressions": 3000},
        "rare": {"clicks": 0, "impressions": 2},
        "alone": {"clicks": 1, "impressions": 1000},
        "gone": {"clicks": 5, "impressions": 50},
    }
    mean, campaigns = _click_rates(stats, {"seen": "k", "rare": "k", "alone": "", "fresh": "new"})
    assert mean == pytest.approx((306 + DEFAULT_CLICK_RATE * PRIOR_IMPRESSIONS) / (4052 + PRIOR_IMPRESSIONS))
    assert campaigns == {"k": pytest.approx((300 + mean * PRIOR_IMPRESSIONS) / (3002 + PRIOR_IMPRESSIONS))}
    # An ad that was hardly shown is as good as its campaign; one that was often shown is what it was.
    assert _smoothed(0, 2, campaigns["k"]) == pytest.approx(campaigns["k"], rel=0.02)
    assert _smoothed(300, 3000, mean) == pytest.approx(0.1, rel=0.03)
    assert _click_rates({}, {"a": "k"}) == (DEFAULT_CLICK_RATE, {})


@pytest.mark.slow
def test_published_rates(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSystem(stores)
    counts = {"a": (40, 400), "b": (0, 0), "c": (0, 0)}
    stats = {ad_id: {"clicks": clicks, "impressions": shown} for ad_id, (clicks, shown) in counts.items()}
    monkeypatch.setattr(type(fake.stores.delivery), "stats", lambda *_: stats)
    ads = [AD | {"ad_id": ad_id, "landing_url": f"https://example.com/{ad_id}"} for ad_id in counts]
    fake.classifying.put_ads(TENANT, [ad | ({"campaign_id": "k"} if ad["ad_id"] != "c" else {}) for ad in ads])
    fake.classifying.publish(TENANT)
    snapshot = Snapshots(fake.stores, project=lambda vectors: vectors, clock=fake.clock).latest(TENANT)
    prior, campaign = (
        {ad: column[place] for ad, place in snapshot.places.items()}
        for column in (snapshot.prior, snapshot.campaign_prior)
    )
    assert campaign["a"] == campaign["b"] == prior["b"] > campaign["c"] == prior["c"] > DEFAULT_CLICK_RATE
    assert prior["a"] > prior["b"]
