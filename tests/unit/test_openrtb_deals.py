"""Private deals (`imp.pmp`): which ads are bid with in which, on what floors, and what is left to the open market."""

from __future__ import annotations

from typing import Any

import pytest

from functions.recommend import handler
from shared.openrtb.bidding import MOST_BIDS, Pace
from shared.openrtb.requests import parse
from shared.wiring import System
from tests.conftest import TENANT
from tests.unit.test_openrtb import bids, get, publish, request, send, stats
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
    deals: list[dict[str, Any]] = [{"id": "D-1", "bidfloor": 4.5}, {"id": "D-2"}]
    slot = {"pmp": {"private_auction": 0, "deals": deals}, "bidfloor": 1}
    found = bids(request(slot))
    assert [(one["adid"], one.get("dealid")) for one in found] == [("deal", "D-1")]  # of that deal alone
    deals.reverse()
    found = bids(request(slot))
    assert [(one["adid"], one.get("dealid")) for one in found] == [("both", "D-2"), ("both", None)]
    deals[1]["bidfloor"] = 3.0
    found = bids(request(slot))
    assert [(one["impid"], one.get("dealid")) for one in found] == [("0", "D-2"), ("0", "D-1"), ("0", None)]
    assert {one["adid"] for one in found} == {"both"} and len({one["id"] for one in found}) == 3
    assert len({one["adm"] for one in found}) == len({one["burl"] for one in found}) == 1
    assert len({one["lurl"] for one in found}) == 3
    decision = shop.stores.delivery.get_decision(TENANT, found[0]["id"])
    assert decision is not None and decision.ads[0].ad_id == "both"
    assert all(one["id"].startswith(decision.decision_id) for one in found)
    slot["bidfloorcur"] = "EUR"  # which no bid on the open market is in; a deal's own floor is in dollars
    assert [one.get("dealid") for one in bids(request(slot))] == ["D-1"]


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


def test_every_impression_gets_a_bid_before_any_gets_further_ones(built: System) -> None:
    deals = [f"D-{n}" for n in range(12)]
    publish(built, *(ad(f"p{n}", "phone", targeting={"deals": [*deals, "open"]}) for n in range(6)))
    slot = {"pmp": {"deals": [{"id": one} for one in deals]}}
    found = [(one["impid"], one.get("dealid")) for one in bids(request(slot, {}, slot))]
    assert len(found) == len(set(found)) == MOST_BIDS
    of = {imp: [deal for own, deal in found if own == imp] for imp in ("0", "1", "2")}
    assert of["1"] == [None] and of["0"][0] == of["2"][0] == "D-0" and abs(len(of["0"]) - len(of["2"])) <= 1


@pytest.fixture
def shared_(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """An ad of five deals and the open market, whose budget pays for one impression, once a day for each person."""
    publish(
        built,
        ad(
            "p",
            "phone",
            bid_cpm=1000.0,
            daily_budget=1.0,
            frequency_cap={"count": 1, "hours": 24},
            targeting={"deals": [*DEALS, "open"]},
        ),
    )
    row = {"user_id": "ann", "event": "view", "timestamp": built.clock() - 60, "text": "a phone"}
    assert built.profiling.post_events(TENANT, [row]).accepted == 1
    monkeypatch.setattr(handler, "_pace", Pace())
    return built


DEALS = [f"D-{n}" for n in range(5)]
OFFERED = request({"pmp": {"deals": [{"id": one} for one in DEALS]}}, user={"id": "ann"})


def reserved(system: System) -> float:
    return system.stores.delivery.spent(TENANT, ["p"], system.clock())["p"]


def test_bids_on_further_terms_share_one_reservation_and_one_place_of_a_cap(shared_: System) -> None:
    found = bids(OFFERED)
    assert [one.get("dealid") for one in found] == [*DEALS, None]
    assert reserved(shared_) == 1.0 and bids(OFFERED) == []
    for one in found:  # whichever is billed, and should more than one be
        assert get(one["burl"]).status_code == 204
    assert stats(shared_)["p"]["impressions"] == 1 and reserved(shared_) == 1.0


def test_what_they_share_is_free_when_the_last_of_them_has_lost(shared_: System) -> None:
    found = bids(OFFERED)
    for one in (*found[1:], found[3], found[5]):
        assert get(one["lurl"]).status_code == 204
    assert reserved(shared_) == 1.0  # the first can still win
    assert get(found[0]["lurl"].replace("o=0.6", "o=1.6")).status_code == 404
    assert get(found[0]["lurl"].replace("&o=0.6", "")).status_code == 404
    assert reserved(shared_) == 1.0
    assert get(found[0]["lurl"]).status_code == 204 and reserved(shared_) == 0.0
    again = bids(OFFERED)
    assert len(again) == 6
    for one in found:
        assert get(one["lurl"]).status_code == 204
    assert reserved(shared_) == 1.0  # which is not theirs


def test_a_deal_reserves_what_it_shows(built: System) -> None:
    publish(built, ad("p", "phone", bid_cpm=1000.0, daily_budget=1.0, targeting={"deals": ["D"]}))
    private = {"pmp": {"private_auction": 1, "deals": [{"id": "D", "bidfloor": 10.0, "at": 3}]}}
    (bid,) = bids(request(private))
    assert bid["price"] == 10.0
    assert built.stores.delivery.spent(TENANT, ["p"], built.clock()) == {"p": 1.0}
    assert bids(request(private)) == []
