"""A publisher's page with a real Prebid.js, whose server-to-server module bids at the local system: in Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Response, Route, expect

from infra.local import resources
from shared.stores.delivery import Delivery
from shared.stores.table import Table
from tests.browser.console_page import browser
from tests.integration.conftest import TENANT, LocalSystem, _need_parts
from tests.npm import module

pytestmark = [pytest.mark.slow, pytest.mark.emulator]

AD = {
    "ad_id": "trail",
    "title": "Aster 4 trail shoe",
    "description": "A trail running shoe that weighs 285 g.",
    "landing_url": "https://shop.example.com/aster-4",
    "language": "en",
    "domain": "ecommerce",
    "brand": "Aster",
    "bid_cpm": 7.5,
    "daily_budget": 5,
}
BANNER = "{banner: {sizes: [[300, 250]]}}"
NATIVE = """{native: {
  adTemplate: '<div><a class="pb-click" href="##hb_native_linkurl##" target="_blank">##hb_native_asset_id_1##</a>' +
    '<small>##hb_native_asset_id_2##</small></div>',
  ortb: {
    ver: "1.2", context: 1, plcmttype: 1, eventtrackers: [{event: 1, methods: [1, 2]}],
    assets: [{id: 1, required: 1, title: {len: 90}}, {id: 2, required: 1, data: {type: 1}}]
  }
}}"""
# As publishers wrote it before Prebid.js took OpenRTB's own request.
NATIVE_PARAMS = """{native: {
  adTemplate: '<div><a class="pb-click" href="##hb_native_linkurl##" target="_blank">##hb_native_title##</a>' +
    '<small>##hb_native_brand##</small></div>',
  title: {required: true, len: 90}, sponsoredBy: {required: true}, clickUrl: {required: true}
}}"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>News</title>
<link rel="icon" href="data:,"><script src="/prebid.js"></script></head>
<body><h1>News</h1><iframe id="slot" width="300" height="250" title="Advertisement"></iframe><script>
var pbjs = window.pbjs || {}; pbjs.que = pbjs.que || [];
pbjs.que.push(function () {
  pbjs.setConfig({
    s2sConfig: {
      accountId: "news", bidders: ["adtailor"], adapter: "prebidServer", enabled: true, timeout: 20000,
      endpoint: {p1Consent: "ENDPOINT", noP1Consent: "ENDPOINT"}
    },
    ortb2: {site: {content: {language: "en"}}, badv: BLOCKED}
  });
  var bids = [{bidder: "adtailor", params: {}}];
  pbjs.addAdUnits([{code: "top", mediaTypes: MEDIA, bids: bids}]);
  pbjs.requestBids({timeout: 20000, bidsBackHandler: function () {
    var bid = pbjs.getHighestCpmBids("top")[0];
    window.outcome = bid ? {cpm: bid.cpm, currency: bid.currency, bidder: bid.bidder} : "no bid";
    if (bid) pbjs.renderAd(document.getElementById("slot").contentWindow.document, bid.adId);
  }});
});
</script></body></html>"""


@pytest.fixture(scope="module")
def publisher() -> Iterator[ThreadingHTTPServer]:
    """A site at an origin of its own; `pages` are its documents."""
    bundle = module("prebid.js/dist/not-for-prod/prebid.js").read_bytes()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script = self.path == "/prebid.js"
            body = bundle if script else self.server.pages.get(self.path, "").encode()  # type: ignore[attr-defined]
            self.send_response(200 if body else 404)
            self.send_header("content-type", "text/javascript" if script else "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: requests are the test's own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.pages = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def origin(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def system(publisher: ThreadingHTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """The local system with one ad, which the site's pages may bid at."""
    _need_parts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPEN_RTB_ORIGINS", origin(publisher))
        running = LocalSystem(tmp_path_factory.mktemp("prebid") / "state").start()
    answer = running.http.put("/v1/ads", json={"ads": [AD]}).raise_for_status().json()
    assert answer["ads"][0]["active"], answer
    for _ in range(100):
        if running.http.post("/v1/recommendations", json={"user_id": "nobody", "n": 1}).status_code == 200:
            break
        threading.Event().wait(0.2)
    yield running
    running.stop()


def counted(system: LocalSystem) -> tuple[int, int]:
    """Impressions and clicks of the ad."""
    stats = Delivery(Table(system.client("dynamodb"), resources.NAME)).stats(TENANT).get("trail", {})
    return stats.get("impressions", 0), stats.get("clicks", 0)


def visit(
    page: Page, publisher: ThreadingHTTPServer, system: LocalSystem, media: str = BANNER, blocked: str = "[]"
) -> list[Response]:
    """Opens the publisher's page and waits for its auction; every answer that came from the local system."""
    document = PAGE.replace("ENDPOINT", f"{system.url}/openrtb2/auction").replace("BLOCKED", blocked)
    publisher.pages["/"] = document.replace("MEDIA", media)  # type: ignore[attr-defined]
    seen: list[Response] = []
    page.on("response", lambda one: seen.append(one) if one.url.startswith(system.url) else None)
    page.goto(origin(publisher) + "/")
    page.wait_for_function("window.outcome !== undefined", timeout=60_000)
    return seen


def told(page: Page, seen: list[Response], *kinds: str) -> dict[str, int]:
    """Statuses by kind of what the local system was told, once it was told of these kinds."""
    for kind in kinds:
        for _ in range(100):
            if any(f"/openrtb2/{kind}?" in one.url for one in seen):
                break
            page.wait_for_timeout(100)
    return {one.url.split("?")[0].rsplit("/", 1)[1]: one.status for one in seen}


def shop_of(context: BrowserContext) -> list[str]:
    """Stands in for the advertiser's site; the addresses that are asked for there."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=200, content_type="text/html", body="<title>Aster 4</title>")

    context.route("https://shop.example.com/**", answer)
    return asked


def test_a_page_shows_an_ad_and_its_win_and_impression_are_told(
    publisher: ThreadingHTTPServer, system: LocalSystem
) -> None:
    impressions, clicks = counted(system)
    with browser() as running:
        page = running.new_page()
        asked = shop_of(page.context)
        seen = visit(page, publisher, system)
        assert page.evaluate("window.outcome") == {"cpm": 7.5, "currency": "USD", "bidder": "adtailor"}
        ad = page.frame_locator("#slot").frame_locator("iframe").get_by_role("link")
        expect(ad).to_contain_text("Aster 4 trail shoe")
        assert told(page, seen, "win", "billing") == {"auction": 200, "win": 204, "billing": 204}
        headers = next(one for one in seen if one.url.endswith("auction")).headers
        assert headers["access-control-allow-origin"] == origin(publisher)
        assert headers["access-control-allow-credentials"] == "true"
        won = next(one.url for one in seen if "/openrtb2/win?" in one.url)
        assert "&price=7.5&" in won  # Prebid.js has filled in the price
        assert counted(system) == (impressions + 1, clicks)
        for _ in range(2):  # who clicks again comes there again, and counts once
            with page.context.expect_page() as opened:
                ad.click()
            opened.value.wait_for_url("https://shop.example.com/aster-4")
            expect(opened.value).to_have_title("Aster 4")
            opened.value.close()
        assert asked == ["https://shop.example.com/aster-4"] * 2
        page.close()
    assert counted(system) == (impressions + 1, clicks + 1)


@pytest.mark.parametrize("media", [NATIVE, NATIVE_PARAMS], ids=["ortb", "nativeParams"])
def test_a_native_ad_is_shown_and_its_impression_and_click_are_told_once(
    publisher: ThreadingHTTPServer, system: LocalSystem, media: str
) -> None:
    impressions, clicks = counted(system)
    with browser() as running:
        page = running.new_page()
        asked = shop_of(page.context)
        seen = visit(page, publisher, system, media)
        assert page.evaluate("window.outcome") == {"cpm": 7.5, "currency": "USD", "bidder": "adtailor"}
        frame = page.frame_locator("#slot")
        ad = frame.get_by_role("link")
        expect(ad).to_have_text("Aster 4 trail shoe")
        expect(ad).to_have_attribute("href", "https://shop.example.com/aster-4")
        expect(frame.get_by_text("Aster", exact=True)).to_be_visible()
        # Prebid.js calls `nurl` from within banners alone.
        assert told(page, seen, "billing") == {"auction": 200, "billing": 204}
        for _ in range(50):
            if len(billings := [one.url for one in seen if "/openrtb2/billing?" in one.url]) == 2:
                break
            page.wait_for_timeout(100)
        # The billing notice has its price filled in; the tracker in the markup is called as it stands.
        assert sorted("price=" in url for url in billings) == [False, True]
        assert counted(system) == (impressions + 1, clicks)
        with page.context.expect_page() as opened:
            ad.click()
        opened.value.wait_for_url("https://shop.example.com/aster-4")
        assert told(page, seen, "click")["click"] == 204
        assert asked == ["https://shop.example.com/aster-4"]  # the tracker leads nowhere
        page.close()
    assert counted(system) == (impressions + 1, clicks + 1)


def test_a_blocked_advertiser_is_not_shown(publisher: ThreadingHTTPServer, system: LocalSystem) -> None:
    before = counted(system)
    with browser() as running:
        page = running.new_page()
        seen = visit(page, publisher, system, blocked='["example.com"]')
        assert page.evaluate("window.outcome") == "no bid"
        assert [one.status for one in seen] == [204]
        page.close()
    assert counted(system) == before
