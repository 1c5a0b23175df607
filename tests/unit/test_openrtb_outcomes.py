"""What becomes of bids, as exchanges and browsers tell it: over the real API, in any order, again, late and forged."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from functions.recommend import handler
from shared.domain import Copy
from shared.errors import AdTailorError, Unavailable
from shared.openrtb.bidding import Bidding, Pace
from shared.openrtb.bids import Writing
from shared.openrtb.notices import Notice, address
from shared.recommending import Recommending
from shared.stores.copies import ANYONE, gate_stamp, text_key
from shared.stores.delivery import BUCKET_SECONDS, DECISION_DAYS, RESERVATION_SECONDS
from shared.wiring import System
from tests.conftest import TENANT
from tests.unit.test_openrtb import bids, get, link, publish, request, send, stats
from tests.unit.test_recommending import ad

pytestmark = pytest.mark.slow

ONE = {"impressions": 1, "clicks": 0, "conversions": 0, "dismissals": 0}


@pytest.fixture
def shop(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """One ad whose budget pays for one impression a day."""
    publish(built, ad("p", "phone", bid_cpm=1000.0, daily_budget=1.0, landing_url="https://shop.example/p?a=1&b=手"))
    monkeypatch.setattr(handler, "_pace", Pace())
    return built


def one_bid(*imps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    (bid,) = bids(request(*imps, **fields))
    return bid


def reserved(system: System) -> float:
    return system.stores.delivery.spent(TENANT, ["p"], system.clock())["p"]


# Wins, billings and losses ---------------------------------------------------------------------------------------


def test_a_notice_may_be_posted_with_or_without_a_body(shop: System) -> None:
    bid = one_bid()
    bodies: list[dict[str, Any]] = [
        {},
        {"json": {"price": 1}},
        {"content": b"no json", "headers": {"content-type": "application/json"}},
        {"content": b"a=1", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"content": b"", "headers": {"content-type": "text/plain", "idempotency-key": "k"}},
    ]
    for body in bodies:
        for name in ("nurl", "burl"):
            answer = get(bid[name], "POST", **body)
            assert (answer.status_code, answer.content) == (204, b""), body
    assert stats(shop) == {"p": ONE}
    for body in bodies:
        assert get(f"http://x/openrtb2/billing?d={bid['id']}&a=p&s=0", "POST", **body).status_code == 404


def test_prices_may_be_encrypted_or_not_there(shop: System) -> None:
    bid = one_bid()
    for price in ("${AUCTION_PRICE}", "", "WEp8xQAAAABXeyHz-wP9Hg==", "%00", "1e999", "'; --"):
        told = bid["burl"].replace("${AUCTION_PRICE}", price)
        assert get(told).status_code == 204, price
    assert get(bid["burl"].partition("&price")[0]).status_code == 204
    assert stats(shop) == {"p": ONE}


def test_an_ad_that_is_rendered_for_an_audit_counts_as_nothing(shop: System) -> None:
    bid = one_bid()
    for name in ("nurl", "burl"):
        assert get(bid[name].replace("${AUCTION_PRICE}", "AUDIT")).status_code == 204
    assert stats(shop) == {}


def test_a_loss_frees_the_budget_at_once_and_only_its_own(shop: System) -> None:
    lost = one_bid()
    assert bids(request({})) == [] and reserved(shop) == 1.0
    assert get(lost["lurl"].replace("${AUCTION_LOSS}", "102")).status_code == 204
    assert reserved(shop) == 0.0
    other = one_bid()
    for reason in ("102", "1", "${AUCTION_LOSS}", "", "x" * 300):
        told = lost["lurl"].replace("${AUCTION_LOSS}", reason)
        assert get(told, "POST").status_code == get(told).status_code == 204
    assert reserved(shop) == 1.0 and bids(request({})) == []
    assert get(other["burl"]).status_code == 204
    assert get(other["lurl"]).status_code == 204  # what was billed stays
    assert stats(shop) == {"p": ONE} and reserved(shop) == 1.0


def test_a_loss_whose_reason_is_that_it_won_is_none(shop: System) -> None:
    bid = one_bid()
    assert get(bid["lurl"].replace("${AUCTION_LOSS}", "0")).status_code == 204
    assert reserved(shop) == 1.0


def test_a_loss_may_follow_a_win_and_a_billing_a_loss(shop: System, caplog: pytest.LogCaptureFixture) -> None:
    first = one_bid()
    assert get(first["nurl"]).status_code == 204 and reserved(shop) == 1.0
    assert get(first["lurl"]).status_code == 204 and reserved(shop) == 0.0
    second = one_bid()
    for _ in range(2):  # it was shown all the same: that counts, and the money is the second's
        assert get(first["burl"]).status_code == 204
    assert stats(shop) == {"p": ONE}
    assert shop.stores.delivery.spent(TENANT, ["p"], shop.clock()) == {"p": 1.0}
    assert "no room" in caplog.text
    assert get(second["burl"]).status_code == 204
    assert stats(shop)["p"]["impressions"] == 2
    assert shop.stores.delivery.spent(TENANT, ["p"], shop.clock()) == {"p": 1.0}


def later(system: System, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = system.clock() + seconds
    for part, name in ((system, "clock"), (system.recommending._feedback, "_clock")):
        monkeypatch.setattr(part, name, lambda: now)


def test_a_billing_after_its_reservation_lapsed_is_charged_where_there_is_room(
    shop: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = one_bid()
    later(shop, monkeypatch, RESERVATION_SECONDS + BUCKET_SECONDS)
    assert get(late["burl"]).status_code == 204
    assert stats(shop) == {"p": ONE}
    assert get(late["lurl"]).status_code == 204
    (row,) = shop.stores.table.query(f"t/{TENANT}/spend")
    assert row["charged"] > 0 and row["committed"] == row["charged"] + sum(row[one] for one in row if one[0] == "r")


def test_what_comes_when_the_decision_is_over_is_answered_and_not_counted(
    shop: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = one_bid()
    later(shop, monkeypatch, DECISION_DAYS * 86400 + 1)
    assert get(late["burl"]).status_code == get(late["lurl"]).status_code == 204
    assert get(link(late["adm"])).status_code == 302  # whoever kept the page is led on
    assert stats(shop) == {} and "not counted" in caplog.text


# Bids that do not go out ----------------------------------------------------------------------------------------------


@pytest.fixture
def two(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """Two ads whose budgets pay for one impression each."""
    publish(built, *(ad(one, "phone", bid_cpm=1000.0, daily_budget=1.0) for one in ("p", "q")))
    monkeypatch.setattr(handler, "_pace", Pace())
    return built


def spent(system: System) -> dict[str, float]:
    return system.stores.delivery.spent(TENANT, ["p", "q"], system.clock())


FREE = {"p": 0.0, "q": 0.0}


def test_an_answer_that_comes_too_late_reserves_nothing(two: System, monkeypatch: pytest.MonkeyPatch) -> None:
    real, late = Bidding._choose, [0.0]

    def slow(*args: Any) -> Any:
        found = real(*args)
        late[0] += 5.0
        return found

    def bidding() -> Bidding:
        made = plain()
        monkeypatch.setattr(made, "_monotonic", lambda: time.monotonic() + late[0])
        return made

    plain = handler.bidding
    with monkeypatch.context() as patch:
        patch.setattr(handler, "bidding", bidding)
        patch.setattr(Bidding, "_choose", slow)
        assert send(request({}, tmax=4000)).status_code == 204 and late[0] == 5.0
    assert spent(two) == FREE
    assert len(bids(request({}, {}, tmax=60_000))) == 2


def test_an_auction_that_breaks_off_reserves_nothing(two: System, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Recommending.decide

    def flaky(fault: Exception, *, kept: bool) -> Any:
        made: list[Any] = []

        def decide(*args: Any) -> Any:
            made.append(real(*args) if kept or not made else None)
            if len(made) == 2:
                raise fault
            return made[-1]

        return decide

    # The second decision may have been written although nobody was told.
    for fault, tmax, status in (
        (Unavailable("DynamoDB"), 5000, 204),
        (Unavailable("DynamoDB"), None, 503),
        (AdTailorError("a fault"), None, 500),
    ):
        for kept in (False, True):
            with monkeypatch.context() as patch:
                patch.setattr(Recommending, "decide", flaky(fault, kept=kept))
                body = request({}, {}, **({"tmax": tmax} if tmax else {}))
                assert send(body).status_code == status, fault
            assert spent(two) == FREE, (fault, tmax, kept)
    assert len(bids(request({}, {}))) == 2


def test_what_cannot_be_given_back_is_told(
    two: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise Unavailable("DynamoDB cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "bids", down)
        patch.setattr(two.stores.delivery, "lose", down)
        assert send(request({}, tmax=5000)).status_code == 204
    assert "did not go out" in caplog.text and sum(spent(two).values()) == 1.0


# What is learnt -------------------------------------------------------------------------------------------------------


def test_only_copy_that_was_shown_is_learnt_from(free: System) -> None:
    own = free.stores.catalogue.get_ads(TENANT, ["p"])["p"].ad
    texts = [f"A phone for {one} that takes pictures in the dark." for one in ("travellers", "grandparents")]
    banked = [Copy(one, "en", "bank", provenance={"gate": gate_stamp(own), "generator": "llm"}) for one in texts]
    free.stores.copies.bank_put(TENANT, "p", ANYONE, "en", banked)
    keys = {text_key(one) for one in texts}

    def counted() -> float:
        found = free.stores.delivery.variant_stats(TENANT, [("p", one) for one in keys], free.clock())
        return sum(impressions + clicks for impressions, clicks in found.values())

    description = {"id": 2, "required": 1, "data": {"type": 2}}
    title = {"id": 1, "required": 1, "title": {"len": 90}}
    for assets, shown in (
        ([title], False),
        ([title, {"id": 2, "required": 1, "data": {"type": 2, "len": 35}}], False),
        ([title, description], True),
    ):
        bid = one_bid({"banner": None, "native": {"request": json.dumps({"assets": assets})}})
        decision = free.stores.delivery.get_decision(TENANT, bid["id"])
        assert decision is not None
        assert (decision.ads[0].variant in keys) is (bid["crid"].partition(":")[2] in keys) is shown, assets
        assert any(one in bid["adm"] for one in texts) is shown
        assert (decision.ads[0].copy in texts) is (decision.ads[0].copy_served_by == "bank") is shown
        before = counted()
        get(bid["burl"])
        get(json.loads(bid["adm"])["link"]["clicktrackers"][0])
        assert (counted() > before) is shown
    bid = one_bid()
    assert bid["crid"].partition(":")[2] in keys and any(one in bid["adm"] for one in texts)


# Impressions without a billing notice ---------------------------------------------------------------------------


ASSETS: tuple[dict[str, Any], ...] = ({"title": {"len": 90}},)


def markup(slot: dict[str, Any]) -> dict[str, Any]:
    adm = json.loads(one_bid(slot, secure=1)["adm"])
    found: dict[str, Any] = adm.get("native", adm)
    return found


def asking(*trackers: dict[str, Any], **request_: Any) -> dict[str, Any]:
    asked = {"ver": "1.2", "assets": [{"id": 1, "required": 1} | ASSETS[0]], "eventtrackers": list(trackers)} | request_
    return {"banner": None, "native": {"request": json.dumps(asked)}}


@pytest.fixture
def free(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """One ad that may be shown as often as one likes."""
    publish(built, ad("p", "phone", bid_cpm=3.0))
    monkeypatch.setattr(handler, "_pace", Pace())
    return built


def test_a_native_ad_tells_its_impression_as_it_is_asked_to(free: System) -> None:
    (tracker,) = markup(asking({"event": 1, "methods": [1, 2]}))["eventtrackers"]
    assert (tracker["event"], tracker["method"]) == (1, 1)
    assert tracker["url"].startswith("http://testserver/openrtb2/billing?") and "${" not in tracker["url"]
    assert get(tracker["url"]).status_code == 204
    assert stats(free) == {"p": ONE}
    for trackers in ([], [{"event": 1, "methods": [2]}], [{"event": 2, "methods": [1]}], [{"event": 1}], [5]):
        assert not {"eventtrackers", "imptrackers"} & markup(asking(*trackers)).keys(), trackers


def test_before_native_1_2_the_impression_is_told_by_imptrackers(free: System) -> None:
    old = markup(asking(ver="1.1"))
    assert old["ver"] == "1.1" and "eventtrackers" not in old
    sent: dict[str, Any] = {"native": {"assets": [{"id": 1, "required": 1} | ASSETS[0]]}}
    oldest = markup({"banner": None, "native": {"ver": "1.2", "request": json.dumps(sent)}})
    assert oldest["ver"] == "1.0"
    sent["native"]["ver"] = "1.1"
    assert markup({"banner": None, "native": {"request": json.dumps(sent)}})["ver"] == "1.1"
    for one in (old, oldest):
        (url,) = one["imptrackers"]
        assert get(url).status_code == 204
    assert stats(free)["p"]["impressions"] == 2


def test_tracker_and_billing_count_together_once(free: System) -> None:
    bid = one_bid(asking({"event": 1, "methods": [1]}))
    (tracker,) = json.loads(bid["adm"])["eventtrackers"]
    for url in (bid["burl"], tracker["url"], bid["burl"], tracker["url"]):
        assert get(url).status_code == 204
    assert stats(free) == {"p": ONE}


def test_a_banner_has_an_image_only_where_the_deployment_asks_for_it(free: System) -> None:
    assert "<img" not in one_bid()["adm"]
    free.settings = replace(free.settings, open_rtb_pixel=True)
    bid = one_bid()
    start = bid["adm"].index('<img src="') + len('<img src="')
    pixel = bid["adm"][start : bid["adm"].index('"', start)].replace("&amp;", "&")
    assert pixel.startswith("http://testserver/openrtb2/billing?")
    for url in (pixel, bid["burl"], pixel):
        assert get(url).status_code == 204
    assert stats(free) == {"p": ONE}
    assert "<img" not in one_bid(test=1)["adm"]


def test_a_secure_page_loads_nothing_of_ours_over_http(free: System) -> None:
    free.settings = replace(free.settings, open_rtb_pixel=True)
    secure = one_bid({"secure": 1})["adm"]
    assert "testserver" not in secure and 'href="https://example.com/p"' in secure
    asked = asking({"event": 1, "methods": [1]}) | {"secure": 1}
    assert json.loads(one_bid(asked)["adm"])["link"] == {"url": "https://example.com/p"}


# Clicks ---------------------------------------------------------------------------------------------------------------


def test_a_click_on_a_native_ad_counts_once(free: System) -> None:
    made = markup(asking())["link"]
    (tracker,) = made["clicktrackers"]
    assert made["url"] == "https://example.com/p"
    for method in ("GET", "POST", "GET"):
        answer = get(tracker, method)
        assert (answer.status_code, answer.headers["cache-control"]) == (204, "no-store")
    assert stats(free) == {"p": ONE | {"clicks": 1}}


def test_a_click_on_a_banner_leads_to_the_ads_page_and_counts_once(shop: System) -> None:
    bid = one_bid()
    visit = link(bid["adm"])
    for _ in range(2):
        answer = get(visit)
        assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
        assert answer.headers["location"] == "https://shop.example/p?a=1&b=%E6%89%8B"
    assert stats(shop) == {"p": ONE | {"clicks": 1}}
    assert reserved(shop) == 1.0


def test_a_click_teaches_of_whoever_is_known(free: System) -> None:
    row = {"user_id": "ann", "event": "view", "timestamp": free.clock() - 60, "text": "a phone"}
    assert free.profiling.post_events(TENANT, [row]).accepted == 1
    assert get(link(one_bid(user={"id": "ann"})["adm"])).status_code == 302
    uid = free.stores.people.look_up(TENANT, ["ann"])["ann"].uid
    assert uid is not None
    events = [one.event.event for one in free.stores.people.events(TENANT, uid, "ann")]
    assert sorted(events) == ["click", "view"]


def test_looking_ahead_is_no_click(free: System) -> None:
    visit = link(one_bid()["adm"])
    for headers in ({"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}, {"x-moz": "prefetch"}):
        assert get(visit, headers=headers).status_code == 302
    assert get(visit, "HEAD").status_code == 405
    assert stats(free) == {}


def test_nobody_is_led_anywhere_but_to_the_ads_page(shop: System) -> None:
    bid = one_bid()
    visit = link(bid["adm"])
    other = address(shop.stores.people, "http://testserver/openrtb2", Notice("visit", TENANT, bid["id"], "gone"))
    for forged in (
        visit.replace("a=p", "a=q"),
        visit.replace("s=", "s=0"),
        f"{visit}&s=0",
        visit.replace("/visit?", "/click?"),
        bid["burl"].replace("/billing?", "/visit?"),
        other,  # ours, of an ad that is not there
        "http://testserver/openrtb2/visit?d=x&a=https://evil.example&s=y",
    ):
        answer = get(forged)
        assert answer.status_code == 404 and "location" not in answer.headers, forged
    shop.settings = replace(shop.settings, tenant="acme")
    assert get(visit).status_code == 404
    shop.settings = replace(shop.settings, tenant=TENANT)
    assert stats(shop) == {}
    for more in ("&url=https://evil.example", "&a=https://evil.example", "&to=//evil.example"):
        assert "evil" not in get(f"{visit}{more}").headers.get("location", ""), more


def test_whoever_clicks_gets_there_even_where_it_cannot_be_counted(
    shop: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    visit = link(one_bid()["adm"])

    def down(*_: Any, **__: Any) -> Any:
        raise Unavailable("DynamoDB cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(shop.stores.delivery, "get_decisions", down)
        assert get(visit).status_code == 302
    assert "a click is not counted" in caplog.text
    assert stats(shop) == {}
    with monkeypatch.context() as patch:
        patch.setattr(shop.stores.catalogue, "get_ads", down)
        assert get(visit).status_code == 503


def test_of_a_test_nothing_is_tracked(shop: System) -> None:
    answer = send(request({}, test=1))
    assert "openrtb2" not in answer.text
