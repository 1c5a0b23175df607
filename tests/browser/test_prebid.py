"""A publisher's page with a real Prebid.js, whose server-to-server module bids at the local system: in Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect

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
  pbjs.addAdUnits([{code: "top", mediaTypes: {banner: {sizes: [[300, 250]]}}, bids: bids}]);
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


def impressions(system: LocalSystem) -> int:
    stats = Delivery(Table(system.client("dynamodb"), resources.NAME)).stats(TENANT)
    return int(stats.get("trail", {}).get("impressions", 0))


def visit(page: Page, publisher: ThreadingHTTPServer, system: LocalSystem, blocked: str = "[]") -> list[Response]:
    """Opens the publisher's page and waits for its auction; every answer that came from the local system."""
    document = PAGE.replace("ENDPOINT", f"{system.url}/openrtb2/auction").replace("BLOCKED", blocked)
    publisher.pages["/"] = document  # type: ignore[attr-defined]
    seen: list[Response] = []
    page.on("response", lambda one: seen.append(one) if one.url.startswith(system.url) else None)
    page.goto(origin(publisher) + "/")
    page.wait_for_function("window.outcome !== undefined", timeout=60_000)
    return seen


def test_a_page_shows_an_ad_and_its_win_and_impression_are_told(
    publisher: ThreadingHTTPServer, system: LocalSystem
) -> None:
    before = impressions(system)
    with browser() as running:
        page = running.new_page()
        seen = visit(page, publisher, system)
        assert page.evaluate("window.outcome") == {"cpm": 7.5, "currency": "USD", "bidder": "adtailor"}
        ad = page.frame_locator("#slot").frame_locator("iframe").get_by_role("link")
        expect(ad).to_contain_text("Aster 4 trail shoe")
        expect(ad).to_have_attribute("href", "https://shop.example.com/aster-4")
        for kind in ("win", "billing"):
            for _ in range(100):
                if any(f"/openrtb2/{kind}?" in one.url for one in seen):
                    break
                page.wait_for_timeout(100)
        status = {one.url.split("?")[0].rsplit("/", 1)[1]: one.status for one in seen}
        assert status == {"auction": 200, "win": 204, "billing": 204}
        headers = next(one for one in seen if one.url.endswith("auction")).headers
        assert headers["access-control-allow-origin"] == origin(publisher)
        assert headers["access-control-allow-credentials"] == "true"
        won = next(one.url for one in seen if "/openrtb2/win?" in one.url)
        assert "&price=7.5&" in won  # Prebid.js has filled in the price
        page.close()
    assert impressions(system) == before + 1


def test_a_blocked_advertiser_is_not_shown(publisher: ThreadingHTTPServer, system: LocalSystem) -> None:
    before = impressions(system)
    with browser() as running:
        page = running.new_page()
        seen = visit(page, publisher, system, blocked='["example.com"]')
        assert page.evaluate("window.outcome") == "no bid"
        assert [one.status for one in seen] == [204]
        page.close()
    assert impressions(system) == before
