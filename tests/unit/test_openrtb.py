"""OpenRTB over the real API: what is bid on what, what is blocked, and what notices count."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from functions.recommend import handler
from shared.openrtb.bidding import AWAY_SECONDS, Pace
from shared.openrtb.bids import EXPIRES
from shared.wiring import System
from tests.conftest import TENANT
from tests.data import ROOT
from tests.fakes import models
from tests.fakes.models import TOPICS
from tests.unit.test_recommending import ad

pytestmark = pytest.mark.slow

PICTURE = "https://cdn.example.com/p.png"


@pytest.fixture
def shop(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """A catalogue with real categories: a phone (Consumer Electronics), a wine, a car, and a watch in Chinese."""
    real = {"phone": "adproduct:1097", "course": "adproduct:1007", "shoe": "adproduct:1551", "watch": "adproduct:1494"}
    monkeypatch.setattr(models, "TOPICS", TOPICS | real)
    publish(
        built,
        ad("phone", "phone", landing_url="https://www.phones.example.com/p", brand="Larkspur", bid_cpm=4.5),
        ad("wine", "course", landing_url="https://shop.wine.example/w", image_url=PICTURE, bid_cpm=3.0),
        ad("car", "shoe", landing_url="https://cars.ford.example/c", description="A car.", bid_cpm=2.0),
        ad("watch", "watch", title="watch 手表 一块", language="zh", landing_url="https://watch.example/", bid_cpm=1.0),
    )
    monkeypatch.setattr(handler, "_pace", Pace())
    return built


def publish(system: System, *ads: dict[str, Any]) -> None:
    outcomes = system.classifying.put_ads(TENANT, ads)
    assert all(getattr(outcome, "active", False) for outcome in outcomes), outcomes
    assert system.classifying.publish(TENANT)


def request(*imps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    slots = [{"id": str(place), "banner": {"w": 300, "h": 250}} | imp for place, imp in enumerate(imps or ({},))]
    return {"id": "r1", "imp": slots, "site": {"domain": "news.example"}} | fields


def send(body: Any, **headers: str) -> Any:
    with TestClient(handler.app, raise_server_exceptions=False) as client:
        if isinstance(body, dict):
            return client.post("/openrtb2/auction", json=body, headers=headers)
        return client.post("/openrtb2/auction", content=body, headers={"content-type": "text/plain"} | headers)


def bids(body: Any) -> list[dict[str, Any]]:
    answer = send(body)
    if answer.status_code == 204:
        assert answer.content == b""
        return []
    assert answer.status_code == 200, answer.text
    (seat,) = answer.json()["seatbid"]
    return list(seat["bid"])


def shown(body: Any) -> set[str]:
    return {bid["adid"] for bid in bids(body)}


def offered(**fields: Any) -> set[str]:
    """All ads that may be bid with on a request of these fields, by as many impressions as there can be bids for."""
    return shown(request(*({} for _ in range(6)), **fields))


def get(url: str, method: str = "GET", **more: Any) -> Any:
    parts = urlsplit(url)
    with TestClient(handler.app, raise_server_exceptions=False, follow_redirects=False) as client:
        return client.request(method, f"{parts.path}?{parts.query}", **more)


def link(html: str) -> str:
    """Where a banner leads."""
    (found,) = re.findall(r'href="([^"]+)"', html)
    return unescape(found)


def stats(system: System) -> dict[str, dict[str, int]]:
    return {ad_id: one for ad_id, one in system.stores.delivery.stats(TENANT).items() if any(one.values())}


# What is bid ----------------------------------------------------------------------------------------------------------


def test_a_bid_says_what_it_is(shop: System) -> None:
    spaced = send(request({"id": " 7 "}) | {"id": " a b "}).json()
    assert (spaced["id"], spaced["seatbid"][0]["bid"][0]["impid"]) == (" a b ", " 7 ")  # echoed as they came
    answer = send(request({"bidfloor": 4, "tagid": "top"}, at=1, cur=["EUR", "USD"], cattax=8))
    assert answer.headers["x-openrtb-version"] == "2.6"
    document = answer.json()
    assert (document["id"], document["cur"]) == ("r1", "USD")
    (seat,) = document["seatbid"]
    (bid,) = seat["bid"]
    assert seat["seat"] == "adtailor" and document["bidid"] == bid["id"]
    decision = shop.stores.delivery.get_decision(TENANT, bid["id"])
    assert decision is not None and [one.ad_id for one in decision.ads] == ["phone"]
    assert {name: bid[name] for name in ("impid", "price", "adid", "cid", "adomain", "language", "exp")} == {
        "impid": "0",
        "price": 4.5,
        "adid": "phone",
        "cid": "phone",
        "adomain": ["phones.example.com"],
        "language": "en",
        "exp": EXPIRES,
    }
    assert (bid["w"], bid["h"], bid["mtype"], bid["attr"]) == (300, 250, 1, [12])
    assert (bid["cattax"], bid["cat"]) == (8, ["1097"])
    assert bid["crid"].startswith("phone:")
    for name, kind in (("nurl", "win"), ("burl", "billing"), ("lurl", "loss")):
        assert bid[name].startswith(f"http://testserver/openrtb2/{kind}?")
    assert "${AUCTION_PRICE}" in bid["nurl"] and "${AUCTION_LOSS}" in bid["lurl"]


def test_both_taxonomies_are_spoken(shop: System) -> None:
    for taxonomy, said in ((None, (1, ["IAB19"])), (1, (1, ["IAB19"])), (8, (8, ["1097"])), (7, (8, ["1097"]))):
        (bid,) = bids(request({"bidfloor": 4}, **({"cattax": taxonomy} if taxonomy else {})))
        assert (bid["cattax"], bid["cat"]) == said


BLOCKED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"phone", "wine", "car", "watch"}),
    ({"bcat": ["1002"], "cattax": 8}, {"phone", "car", "watch"}),  # Alcohol, above Wine
    ({"bcat": ["1007", "1097"], "cattax": 8}, {"car", "watch"}),
    ({"bcat": ["IAB8-18"]}, {"phone", "car", "watch"}),  # Wine, of the old taxonomy, which is the default
    ({"bcat": ["IAB8"], "cattax": 1}, {"phone", "car", "watch"}),
    ({"bcat": ["IAB8-5"]}, {"phone", "wine", "car", "watch"}),  # Cocktails and beer
    ({"acat": ["IAB2"]}, {"car"}),
    ({"bcat": ["52"], "cattax": 7}, set()),  # no ad's category can be said in that taxonomy
    ({"badv": ["ford.example"]}, {"phone", "wine", "watch"}),
    ({"badv": ["FORD.example", "www.watch.example", "example.com"]}, {"wine"}),
    ({"badv": ["rd.example"]}, {"phone", "wine", "car", "watch"}),
    ({"wlang": ["zh"]}, {"watch"}),
    ({"wlangb": ["en-GB", "fr"]}, {"phone", "wine", "car"}),
    ({"wlangb": ["fr-CA"]}, set()),
    ({"cur": ["EUR"]}, set()),
    ({"wseat": ["somebody"]}, set()),
    ({"bseat": ["adtailor"]}, set()),
    ({"wseat": ["adtailor"]}, {"phone", "wine", "car", "watch"}),
]


def test_what_the_request_blocks_is_not_bid(shop: System) -> None:
    for fields, left in BLOCKED:
        assert offered(**fields) == left, fields


EXCLUDED: list[tuple[dict[str, Any], set[str]]] = [
    ({"bidfloor": 3}, {"phone", "wine"}),
    ({"bidfloor": 3, "bidfloorcur": "EUR"}, set()),
    ({"bidfloor": 99}, set()),
    ({"pmp": {"private_auction": 1, "deals": [{"id": "d"}]}}, set()),
    ({"pmp": {"private_auction": 0, "deals": [{"id": "d"}]}, "bidfloor": 4}, {"phone"}),
    ({"pmp": {"deals": [{"id": "d", "bidfloor": 99}]}, "bidfloor": 4}, {"phone"}),  # no ad is in that deal
    ({"banner": {"w": 300, "h": 250, "battr": [12]}}, {"wine"}),  # text only is blocked, and one has a picture
    ({"banner": {"w": 300, "h": 250, "btype": [1]}}, {"wine"}),
    ({"banner": {"w": 300, "h": 250, "btype": [1, 2]}}, set()),
    ({"banner": {"w": 300, "h": 250, "btype": [3, 4], "battr": [1, 3, 6, 13]}}, {"phone", "wine", "car", "watch"}),
    ({"banner": {"w": 1, "h": 1}}, set()),
    ({"banner": {}}, set()),
    ({"banner": None, "video": {"mimes": ["video/mp4"]}}, set()),
]


def test_what_the_impression_excludes_is_not_bid(shop: System) -> None:
    for imp, left in EXCLUDED:
        assert shown(request(*(imp for _ in range(6)))) == left, imp


def test_of_two_impressions_with_one_id_the_first_is_bid_on(shop: System) -> None:
    (first, other) = bids(request({"id": "x", "bidfloor": 4}, {"id": "y"}, {"id": "x", "banner": {"w": 50, "h": 50}}))
    assert (first["impid"], first["w"], other["impid"]) == ("x", 300, "y")


def test_sizes_are_taken_in_the_order_they_are_offered(shop: System) -> None:
    (bid,) = bids(request({"banner": {"format": [{"w": 1, "h": 1}, {"w": 728, "h": 90}], "w": 300, "h": 250}}))
    assert (bid["w"], bid["h"]) == (728, 90)


def test_impressions_of_one_request_get_different_ads(shop: System) -> None:
    found = bids(request({}, {}, {}, {}, {}))
    assert [bid["impid"] for bid in found] == ["0", "1", "2", "3"]
    assert len({bid["adid"] for bid in found}) == len({bid["id"] for bid in found}) == 4


def test_an_impression_that_nothing_fits_does_not_keep_the_others_from_a_bid(shop: System) -> None:
    found = bids(request({"bidfloor": 99}, {"video": {}, "banner": None}, {"bidfloor": 4}))
    assert [(bid["impid"], bid["adid"]) for bid in found] == [("2", "phone")]


def test_a_page_gets_copy_that_cannot_do_anything(built: System) -> None:
    publish(
        built,
        ad(
            "x",
            "phone",
            title='phone "<script>alert(1)</script>" & ${AUCTION_PRICE}',
            description="</div><img src=x onerror=alert(1)>",
            brand="A&B <b>",
            landing_url="https://example.com/?a=1&b=2",
        ),
    )
    (bid,) = bids(request({}))
    html = bid["adm"]
    assert "<script" not in html and "<b>" not in html and "onerror" not in html.replace("onerror=alert", "")
    assert "${" not in html and "&#36;{AUCTION_PRICE}" in html
    assert 'rel="noopener noreferrer sponsored"' in html
    assert get(link(html)).headers["location"] == "https://example.com/?a=1&b=2"
    (bid,) = bids(request({}, test=1))  # of which nothing is counted
    assert 'href="https://example.com/?a=1&amp;b=2"' in bid["adm"]
    slot = {"assets": [{"id": 1, "required": 1, "title": {"len": 90}}]}
    (bid,) = bids(request({"banner": None, "native": {"request": json.dumps(slot)}}))
    assert "${" not in bid["adm"]
    assert json.loads(bid["adm"])["assets"][0]["title"]["text"].endswith("${AUCTION_PRICE}")


# Native ---------------------------------------------------------------------------------------------------------------


def native(*assets: dict[str, Any], wrapped: bool = False, **imp: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"ver": "1.2", "assets": [{"id": n, "required": 1} | one for n, one in enumerate(assets)]}
    text = json.dumps({"native": asked} if wrapped else asked)
    return {"banner": None, "native": {"request": text, "ver": "1.2"}} | imp


def test_a_native_slot_gets_its_assets(shop: System) -> None:
    slot = native(
        {"title": {"len": 90}},
        {"data": {"type": 1}},
        {"data": {"type": 2, "len": 200}},
        {"data": {"type": 12}},
        {"img": {"type": 3, "wmin": 100}, "required": 0},
        {"video": {}, "required": 0},
        bidfloor=4,
    )
    (bid,) = bids(request(slot))
    assert bid["mtype"] == 4 and "w" not in bid
    markup = json.loads(bid["adm"])
    assert markup["ver"] == "1.2" and markup["link"]["url"] == "https://www.phones.example.com/p"
    values = {one["id"]: one.get("title", one.get("data")) for one in markup["assets"]}
    assert values[0]["text"] == "phone offer number phone for you"
    assert values[1]["value"] == "Larkspur" and values[3]["value"] == "Learn more"
    assert set(values) == {0, 1, 2, 3}
    (wrapped,) = bids(request(native({"title": {"len": 90}}, wrapped=True)))
    assert set(json.loads(wrapped["adm"])) == {"native"}


REQUIRED: list[tuple[list[dict[str, Any]], set[str]]] = [
    ([{"title": {"len": 5}}], set()),  # nothing is cut short
    ([{"title": {"len": 12}}], {"watch"}),
    ([{"img": {"type": 3}}], {"wine"}),
    ([{"img": {"type": 1}}], set()),
    ([{"data": {"type": 10}}], {"car"}),  # a description of its own
    ([{"data": {"type": 3}}], set()),  # a rating, which no ad has
    ([{"video": {"mimes": ["video/mp4"]}}], set()),
    ([], set()),
]


def test_what_is_required_decides_who_may_bid(shop: System) -> None:
    for assets, left in REQUIRED:
        assert shown(request(*(native(*assets) for _ in range(5)))) == left, assets
    for text in ("", "{", "[]", "7", "null", '{"assets": 5}', "[" * 90_000):
        assert bids(request({"banner": None, "native": {"request": text}})) == [], text[:20]


def test_a_secure_page_loads_no_picture_over_http(built: System) -> None:
    publish(built, ad("p", "phone", image_url="http://cdn.example.com/p.png"))
    (plain,), (secure,) = bids(request({})), bids(request({"secure": 1}))
    assert "<img" in plain["adm"] and plain["attr"] == []
    assert "<img" not in secure["adm"] and secure["attr"] == [12]
    assert bids(request(native({"img": {"type": 3}}, secure=1))) == []
    assert bids(request(native({"img": {"type": 3}})))


# What is no bid request -----------------------------------------------------------------------------------------------


NONE = [
    b"",
    b"{",
    b"\xff",
    b"[]",
    b"5",
    b"null",
    b"{}",
    b'{"id": "x"}',
    b'{"id": "x", "imp": []}',
    b'{"id": "x", "imp": {}}',
    b'{"id": "x", "imp": [{}]}',
    b'{"imp": [{"id": "1"}]}',
    b'{"id": " ", "imp": [{"id": "1"}]}',
    b'{"id": "x", "imp": [{"id": 1}]}',
]


def test_what_is_no_bid_request_is_a_400(shop: System) -> None:
    for body in NONE:
        for kind in ("application/json", "text/plain"):
            answer = send(body, **{"content-type": kind})
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), body


def test_fields_of_another_type_count_as_absent(shop: System) -> None:
    odd = request(
        {"bidfloor": "x", "pmp": 5, "secure": "1", "native": [], "tagid": {}},
        site=[],
        app=3,
        user="ann",
        regs=[1],
        device=None,
        bcat="IAB1",
        badv=[1, None],
        wlang=5,
        cur={},
        tmax="fast",
        cattax=[],
        test="1",
    )
    assert len(bids(odd)) == 1


def test_without_a_catalogue_there_is_no_bid(built: System) -> None:
    assert bids(request({})) == []


# Notices --------------------------------------------------------------------------------------------------------------


def test_a_billing_counts_the_impression_once_and_a_win_none(shop: System) -> None:
    (bid,) = bids(request({"bidfloor": 4}))
    won = bid["nurl"].replace("${AUCTION_PRICE}", "4.31").replace("${AUCTION_CURRENCY}", "USD")
    assert get(won).status_code == 204 and get(bid["lurl"]).status_code == 204
    assert stats(shop) == {}
    for _ in range(3):
        answer = get(bid["burl"])
        assert (answer.status_code, answer.headers["cache-control"]) == (204, "no-store")
    assert stats(shop)["phone"]["impressions"] == 1


def test_a_bid_reserves_the_budget_and_a_billing_charges_it(built: System) -> None:
    publish(built, ad("p", "phone", bid_cpm=1000.0, daily_budget=2.0))
    first, second = bids(request({})), bids(request({}))
    assert first and second and bids(request({})) == []
    spent = built.stores.delivery.spent(TENANT, ["p"], built.clock())
    assert spent == {"p": 2.0}
    assert get(first[0]["burl"]).status_code == 204
    assert stats(built)["p"]["impressions"] == 1


def test_a_forged_notice_changes_nothing(shop: System) -> None:
    one, other = bids(request({"bidfloor": 4}, {"bidfloor": 3}))
    for forged in (
        one["burl"].replace(one["id"], other["id"]),
        one["burl"].replace("a=phone", "a=wine"),
        one["burl"].replace("s=", "s=0"),
        one["nurl"].replace("/win?", "/billing?"),
        f"http://testserver/openrtb2/billing?d={one['id']}&a=phone&s=é",
    ):
        assert get(forged).status_code == 404, forged
    shop.settings = replace(shop.settings, tenant="acme")
    assert get(one["burl"]).status_code == 404  # another tenant's
    assert stats(shop) == {}


def test_a_notice_without_its_parts_is_no_notice(shop: System) -> None:
    for path in ("win", "billing", "loss", "click", "visit"):
        assert get(f"http://x/openrtb2/{path}?price=1").status_code == 422


# Tests, time ----------------------------------------------------------------------------------------------------------


def test_a_test_reserves_nothing_and_says_why_there_is_no_bid(built: System) -> None:
    publish(built, ad("p", "phone", bid_cpm=1000.0, daily_budget=1.0))
    for _ in range(3):
        (bid,) = bids(request({}, test=1))
        assert not {"nurl", "burl", "lurl"} & bid.keys()
        assert built.stores.delivery.get_decision(TENANT, bid["id"]) is None
    assert built.stores.delivery.spent(TENANT, ["p"], built.clock()) == {"p": 0.0}
    refused = send(request({}, test=1, cur=["EUR"])).json()
    assert refused == {"id": "r1", "seatbid": [], "nbr": 0, "ext": {"reason": "bids are in USD"}}


def test_what_cannot_be_done_in_time_is_not_begun(shop: System, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shop.stores.table.client.scan(TableName=shop.settings.table_name, Select="COUNT")["Count"]
    for tmax in (1, AWAY_SECONDS * 1000, 0.5):
        assert bids(request({}, tmax=tmax)) == []
    monkeypatch.setattr(handler, "_pace", Pace(5.0))
    assert bids(request({}, tmax=1000)) == []
    assert shop.stores.table.client.scan(TableName=shop.settings.table_name, Select="COUNT")["Count"] == before
    assert bids(request({}, tmax=60_000)) and bids(request({}, tmax=-5))


def test_the_pace_follows_at_once_and_forgets_by_and_by() -> None:
    pace = Pace(0.01)
    assert pace.allows(0.02)
    pace.took(1.0)
    refusals = [pace.allows(0.05) for _ in range(60)]
    assert not refusals[0] and refusals[-1]  # one slow answer is not a silence for good
    for _ in range(255):
        pace.took(0.02)
    pace.took(1.0)  # one in 256 does not count; three do
    assert pace.allows(0.03)
    pace.took(1.0)
    pace.took(1.0)
    assert not pace.allows(0.9)


def test_time_already_spent_before_the_function_counts(shop: System) -> None:
    import time

    def event(late: float) -> dict[str, Any]:
        return {
            "version": "2.0",
            "rawPath": "/openrtb2/auction",
            "rawQueryString": "",
            "headers": {"content-type": "application/json", "host": "ads.example"},
            "requestContext": {
                "http": {"method": "POST", "path": "/openrtb2/auction", "sourceIp": "1.1.1.1"},
                "timeEpoch": int((time.time() - late) * 1000),
                "stage": "$default",
            },
            "body": json.dumps(request({}, tmax=2000)),
            "isBase64Encoded": False,
        }

    assert handler.lambda_handler(event(0.0), None)["statusCode"] == 200
    assert handler.lambda_handler(event(3.0), None)["statusCode"] == 204


# People ---------------------------------------------------------------------------------------------------------------


def decided(system: System, **fields: Any) -> Any:
    (bid,) = bids(request({}, **fields))
    return system.stores.delivery.get_decision(TENANT, bid["id"])


@pytest.fixture
def known(shop: System) -> System:
    row = {"user_id": "ann", "event": "purchase", "timestamp": shop.clock() - 60, "text": "a phone"}
    assert shop.profiling.post_events(TENANT, [row]).accepted == 1
    return shop


ANN = {"user": {"buyeruid": "ann", "id": "exchange-7"}}


def test_who_is_known_here_is_known_by_their_id(known: System) -> None:
    assert decided(known, **ANN).personalised and decided(known, **ANN).uid
    assert decided(known, user={"id": "ann"}).uid
    assert decided(known, user={"id": "somebody"}).uid is None
    eids = [{"source": "shop.example", "uids": [{"id": "ann"}]}]
    assert decided(known, user={"eids": eids}).uid is None  # no source is named
    known.settings = replace(known.settings, open_rtb_eid_source="shop.example")
    for user in ({"eids": eids}, {"ext": {"eids": eids}}, {"eids": eids, "buyeruid": "bob"}):
        assert decided(known, user=user).uid, user


FORBIDDING: list[dict[str, Any]] = [
    {"regs": {"gdpr": 1}},
    {"regs": {"ext": {"gdpr": 1}}},
    {"regs": {"gdpr": 1}, "user": ANN["user"] | {"consent": "garbage"}},
    {"regs": {"us_privacy": "1YYN"}},
    {"regs": {"us_privacy": "what"}},
    {"regs": {"gpp": "DBABTA~1YYN", "gpp_sid": [6]}},
    {"regs": {"gpp": "DBABLA~BVVVVVVVVWA.AA", "gpp_sid": [7]}},
    {"regs": {"gpp": "DBABLA~BVVqAAAAAAA", "gpp_sid": [8]}},
    {"regs": {"coppa": 1}},
    {"device": {"lmt": 1}},
    {"device": {"dnt": 1}},
]
ALLOWING: list[dict[str, Any]] = [
    {"regs": {"gdpr": 0}},
    {"regs": {"us_privacy": "1YNN"}},
    {"regs": {"us_privacy": "1---"}},
    {"regs": {"gpp": "DBABTA~1YNN", "gpp_sid": [6]}},
    {"regs": {"gpp": "whatever", "gpp_sid": [-1]}},
    {"device": {"lmt": 0}},
]


def test_what_the_request_forbids_makes_a_stranger_of_them_and_nothing_else_does(known: System) -> None:
    for fields in FORBIDDING:
        decision = decided(known, **(ANN | fields))
        assert decision.uid is None and not decision.personalised, fields
    for fields in ALLOWING:
        assert decided(known, **(ANN | fields)).uid, fields


def test_a_browsers_global_privacy_control_is_kept_to(known: System) -> None:
    def decision(**headers: str) -> Any:
        (bid,) = send(request({}, **ANN), **headers).json()["seatbid"][0]["bid"]
        return known.stores.delivery.get_decision(TENANT, bid["id"])

    assert decision(**{"sec-gpc": "1"}).uid is None
    assert decision(**{"sec-gpc": "0"}).uid and decision().uid
    assert decided(known, **ANN, regs={"ext": {"gpc": 1}}).uid is None


def test_a_consent_string_opens_what_gdpr_closes(known: System) -> None:
    vectors = json.loads((ROOT / "tests/unit/tcf_vectors.json").read_text(encoding="utf-8"))["vectors"]
    allowing = next(one["tcf"] for one in vectors if {1, 3, 4} <= set(one["purposes"]) and one["service_specific"])
    forbidding = next(one["tcf"] for one in vectors if not {1, 3, 4} & set(one["purposes"]))
    assert decided(known, user=ANN["user"] | {"consent": allowing}, regs={"gdpr": 1}).uid
    assert decided(known, user=ANN["user"] | {"ext": {"consent": allowing}}, regs={"ext": {"gdpr": 1}}).uid
    assert decided(known, user=ANN["user"] | {"consent": forbidding}, regs={"gdpr": 1}).uid is None


def test_a_minor_gets_nothing_that_minors_may_not_see(known: System) -> None:
    assert offered(regs={"coppa": 1}) == {"phone", "car", "watch"}


def test_the_publishers_own_data_counts_where_it_may(shop: System) -> None:
    data = [{"ext": {"segtax": 8}, "segment": [{"id": "1551"}]}]

    def first(**fields: Any) -> str:
        (bid,) = bids(request({}, **fields))
        return str(bid["adid"])

    usual = first()
    assert usual != "car"
    assert first(user={"data": data}) == "car" and first(user={"id": "zoe", "data": data}) == "car"
    assert first(user={"data": data}, regs={"gdpr": 1}) == usual
    assert first(user={"data": data}, regs={"coppa": 1}) == usual
    assert first(user={"data": [{"ext": {"segtax": 4}, "segment": [{"id": "1551"}]}]}) == usual
    assert first(user={"data": [{"segment": [{"id": "1551"}, {"id": 5}, 7]}]}) == usual


# Pages of other origins -----------------------------------------------------------------------------------------------


def test_only_pages_of_named_origins_may_read_the_answer(shop: System) -> None:
    page = "https://news.example"
    assert "access-control-allow-origin" not in send(request({}), origin=page).headers
    shop.settings = replace(shop.settings, open_rtb_origins=f"{page},https://other.example")
    answer = send(json.dumps(request({})).encode(), origin=page)
    assert answer.headers["access-control-allow-origin"] == page
    assert answer.headers["access-control-allow-credentials"] == "true" and answer.headers["vary"] == "origin"
    assert send(request({}, cur=["EUR"]), origin=page).headers["access-control-allow-origin"] == page
    for other in ("https://news.example.evil", "http://news.example", "null", "*"):
        assert "access-control-allow-origin" not in send(request({}), origin=other).headers
