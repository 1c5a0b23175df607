"""Private deals (`imp.pmp`): which ads are bid with in which, on what floors, and what is left to the open market."""

from __future__ import annotations

from typing import Any

import pytest

from functions.recommend import handler
from shared.openrtb.bidding import MOST_BIDS, Pace
from shared.openrtb.requests import parse
from shared.wiring import System
from tests.conftest import TENANT
from tests.unit.test_openrtb import bids, publish, request, send
from tests.unit.test_recommending import ad

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """An ad of one deal, one of two deals and the open market, and one of no deal."""
    publish(
        built,
        ad("deal", "phone", bid_cpm=5.0, landing_url="https://a.example/", targeting={"deals": ["D-1"]}),
        ad("both", "phone", bid_cpm=4.0, landing_url="https://b.example/", targeting={"deals": ["D-1", "D-2", "open"]}),
        ad("free", "phone", bid_cpm=3.0, landing_url="https://www.c.example/"),
    )
    monkeypatch.setattr(handler, "_pace", Pace())
    return built


def told(*deals: dict[str, Any], private: int = 1, **imp: Any) -> set[tuple[str, str | None, float]]:
    """All bids that there are on these deals, by as many impressions: ad, deal and price."""
    slot = {"pmp": {"private_auction": private, "deals": list(deals)}} | imp
    return {(one["adid"], one.get("dealid"), one["price"]) for one in bids(request(*(slot for _ in range(4))))}


def test_a_private_auction_is_bid_on_in_deals_alone(shop: System) -> None:
    assert told({"id": "D-1"}) == {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}
    assert told({"id": "D-2"}) == {("both", "D-2", 4.0)}
    assert told({"id": "D-3"}) == told() == told({"id": "open"}) == told({"id": 5}) == set()
    answer = send(request({"pmp": {"private_auction": 1, "deals": [{"id": "D-3"}]}}, test=1)).json()
    assert "private_auction" in answer["ext"]["reason"]


def test_beside_a_deal_there_is_a_bid_on_the_open_market(shop: System) -> None:
    slot = {"pmp": {"private_auction": 0, "deals": [{"id": "D-1", "bidfloor": 4.5}, {"id": "D-2"}]}, "bidfloor": 1}
    found = bids(request(slot))
    assert [(one["impid"], one.get("dealid")) for one in found] == [("0", "D-1"), ("0", "D-2"), ("0", None)]
    assert [one["adid"] for one in found[:2]] == ["deal", "both"] and found[2]["adid"] in ("both", "free")
    assert len({one["id"] for one in found}) == 3
    decision = shop.stores.delivery.get_decision(TENANT, found[0]["id"])
    assert decision is not None and decision.ads[0].ad_id == "deal"


def test_an_ad_of_deals_alone_is_shown_nowhere_else(shop: System) -> None:
    open_market = {one["adid"] for one in bids(request({}, {}, {}))}
    assert open_market == {"both", "free"}
    asked = shop.recommending.recommend(TENANT, "ann", n=5)
    assert {one.ad_id for one in asked.ads} == {"both", "free"}


TERMS: list[tuple[dict[str, Any], set[tuple[str, str | None, float]]]] = [
    ({"bidfloor": 4.0}, {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}),
    ({"bidfloor": 4.00000001}, {("deal", "D-1", 5.0)}),  # finer than the catalogue's column
    ({"bidfloor": 5.01}, set()),
    ({"bidfloor": 1, "bidfloorcur": "EUR"}, set()),
    ({"bidfloor": 1, "bidfloorcur": "usd"}, {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}),
    ({"bidfloor": 2.5, "at": 3}, {("deal", "D-1", 2.5), ("both", "D-1", 2.5)}),  # the price that was agreed on
    ({"bidfloor": 4.5, "at": 3}, {("deal", "D-1", 4.5)}),
    ({"at": 3}, {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}),  # a price of nothing is none
    ({"wseat": ["Agency1"]}, set()),
    ({"wseat": ["Agency1", "adtailor"]}, {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}),
    ({"wadomain": ["a.example"]}, {("deal", "D-1", 5.0)}),
    ({"wadomain": ["WWW.B.example", "elsewhere.example"]}, {("both", "D-1", 4.0)}),
    ({"wadomain": ["elsewhere.example"]}, set()),
    ({"wadomain": [], "wseat": []}, {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}),
    ({"guar": 1}, {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}),
]


def test_a_deals_terms_hold(shop: System) -> None:
    for terms, left in TERMS:
        assert told({"id": "D-1"} | terms) == left, terms


def test_a_deal_without_a_floor_has_the_impressions(shop: System) -> None:
    assert told({"id": "D-1"}, bidfloor=4.5) == {("deal", "D-1", 5.0)}
    assert told({"id": "D-1", "bidfloor": 1}, bidfloor=99) == {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}
    assert told({"id": "D-1"}, bidfloor=1, bidfloorcur="EUR") == set()
    # A floor of the deal's own is in dollars, whatever the impression's is in.
    assert told({"id": "D-1", "bidfloor": 1}, bidfloorcur="EUR") == {("deal", "D-1", 5.0), ("both", "D-1", 4.0)}


def test_what_the_request_blocks_is_blocked_in_deals(shop: System) -> None:
    slot = {"pmp": {"private_auction": 1, "deals": [{"id": "D-1"}]}}
    assert {one["adid"] for one in bids(request(slot, slot, badv=["a.example"]))} == {"both"}
    assert bids(request(slot, wlang=["zh"])) == bids(request(slot, wseat=["Agency1"])) == []


def test_one_request_gets_only_so_many_bids(shop: System) -> None:
    deals = [{"id": "D-1"}, {"id": "D-2"}]
    slots = [{"pmp": {"deals": deals}} for _ in range(MOST_BIDS)]
    assert len(bids(request(*slots))) <= MOST_BIDS
    (slot,) = parse(request({"pmp": {"deals": [{"id": f"D-{n}"} for n in range(5000)] + deals}})).slots
    assert len(slot.offers) == 21


def test_a_deal_reserves_what_it_shows(built: System) -> None:
    publish(built, ad("p", "phone", bid_cpm=1000.0, daily_budget=1.0, targeting={"deals": ["D"]}))
    private = {"pmp": {"private_auction": 1, "deals": [{"id": "D", "bidfloor": 10.0, "at": 3}]}}
    (bid,) = bids(request(private))
    assert bid["price"] == 10.0
    assert built.stores.delivery.spent(TENANT, ["p"], built.clock()) == {"p": 1.0}
    assert bids(request(private)) == []
