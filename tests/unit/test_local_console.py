"""The console's files and local routes: what they answer, and what keeps them shut."""

from __future__ import annotations

import re

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from infra.local.console import FOLDER, with_console
from shared.domain import Copy, Decision, RankedAd
from shared.settings import Settings
from shared.stores import Stores
from shared.stores.copies import ANYONE
from shared.stores.delivery import Terms, new_decision_id
from shared.wiring import System
from tests.conftest import TENANT, Aws, stores_on
from tests.fakes.system import Clock, FakeSystem

pytestmark = pytest.mark.slow

AD = {
    "ad_id": "kettle/1",
    "title": "A quiet kettle",
    "landing_url": "https://example.com/kettle",
    "language": "en",
    "domain": "ecommerce",
    "campaign_id": "kitchen",
    "bid_cpm": 10.0,
    "daily_budget": 24.0,
}


async def api(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the API")(scope, receive, send)


@pytest.fixture
def stores(aws: Aws) -> Stores:
    return stores_on(aws)


@pytest.fixture
def browser(stores: Stores) -> TestClient:
    clock = Clock()
    FakeSystem(stores, clock=clock).classifying.put_ads(TENANT, [AD])
    system = System(Settings(tenant=TENANT), stores, clock)
    return TestClient(with_console(api, system, "http://127.0.0.1:1", with_sample=False))


def test_the_console_stands_beside_the_api(browser: TestClient) -> None:
    assert browser.get("/v1/users/u/profile").text == "the API"
    assert browser.get("/", follow_redirects=False).headers["location"] == "/console/"
    page = browser.get("/console/")
    assert page.headers["content-type"].startswith("text/html")
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in ("js/app.js", "vendor/uplot/LICENSE", "css/console.css"):
        assert browser.get(f"/console/{path}").status_code == 200
    assert browser.get("/console/%2e%2e/local/console.py").status_code == 404


def test_nothing_is_fetched_from_elsewhere_and_no_data_becomes_markup() -> None:
    own = [*FOLDER.glob("*.html"), *FOLDER.glob("js/*.js"), *FOLDER.glob("css/*.css")]
    assert len(own) > 10
    for file in own:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )
        addresses = set(re.findall(r"https?://[\w.-]+", text)) - {"https://example.com", "http://www.w3.org"}
        assert not addresses, file


def test_every_word_of_the_page_is_there_in_both_languages() -> None:
    words = (FOLDER / "js" / "i18n.js").read_text(encoding="utf-8")
    table = words[: words.index("let current")]
    keys = set(re.findall(r'^  "([\w.]+)": \[', table, re.MULTILINE))
    used = set()
    for file in set(FOLDER.glob("js/*.js")) - {FOLDER / "js" / "i18n.js"}:
        used |= set(re.findall(r'\bt\("([\w.]+)"', file.read_text(encoding="utf-8")))
    assert used
    assert sorted(used - keys) == []


def test_people_are_the_sample_s_and_none_without_it(stores: Stores) -> None:
    system = System(Settings(tenant=TENANT), stores, Clock())
    for with_sample in (True, False):
        client = TestClient(with_console(api, system, "http://127.0.0.1:1", with_sample=with_sample))
        people = client.get("/console/people.json").json()
        assert bool(people) is with_sample
        assert all(set(one) == {"user_id", "about", "language", "domains"} for one in people)


def test_a_campaign_s_figures_are_the_stores(browser: TestClient, stores: Stores) -> None:
    [before] = browser.get("/console/campaigns.json").json()["ads"]
    assert (before["spent"], before["impressions"], before["daily_budget"]) == (0.0, 0, 24.0)
    assert 0 < before["allowed"] <= 24.0
    now = Clock().now
    shown = RankedAd("kettle/1", "A quiet kettle", 0.1, (), copy_served_by="advertiser", variant="v", propensity=1.0)
    decision = Decision(new_decision_id(now), None, now, (shown,), False, {})
    terms = {"kettle/1": Terms(cost=0.01, daily_limit=24.0)}
    assert not stores.delivery.put_decision(TENANT, decision, terms, (), now)
    stores.delivery.record(TENANT, decision, "kettle/1", "click", now)
    [after] = browser.get("/console/campaigns.json").json()["ads"]
    assert (after["impressions"], after["clicks"], after["conversions"]) == (1, 1, 0)
    assert after["campaign_id"] == "kitchen"


def test_variants_have_chances_and_what_was_approved_competes_alone(browser: TestClient, stores: Stores) -> None:
    texts = ("Quiet at 52 dB", "A kettle for mornings", "Boils in silence")
    copies = [Copy(text, "en", "llm", provenance={"generator": "llm"}) for text in texts]
    stores.copies.bank_put(TENANT, "kettle/1", ANYONE, "en", copies)
    [rung] = browser.get("/console/variants/kettle%2F1").json()["rungs"]
    assert [one["text"] for one in rung["copies"]] == list(texts)
    assert sum(one["chance"] for one in rung["copies"]) == pytest.approx(1, abs=1e-3)
    copies[1] = Copy(texts[1], "en", "llm", provenance={"generator": "llm", "human_review": "approved"})
    stores.copies.bank_put(TENANT, "kettle/1", ANYONE, "en", copies)
    [rung] = browser.get("/console/variants/kettle%2F1").json()["rungs"]
    assert [one["chance"] for one in rung["copies"]] == [0, 1, 0]
    assert browser.get("/console/variants/nothing").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("labels/a.jsonl", 404),  # a folder that the page does not report on
        ("rejected/a.jsonl", 404),
        ("events/.hidden", 422),
        ("events/" + "a" * 300, 422),
        ("events/a%0Ab", 422),
        ("events/..%2F..%2Fx", 405),  # no route but that of the page's files
    ],
)
def test_an_upload_goes_nowhere_else(browser: TestClient, path: str, status: int) -> None:
    assert browser.put(f"/console/uploads/{path}", content=b"{}").status_code == status


def test_an_empty_file_is_refused_and_an_unknown_one_is_not_done(browser: TestClient) -> None:
    assert browser.put("/console/uploads/events/a.jsonl", content=b"").status_code == 422
    assert browser.get("/console/uploads/events/a.jsonl").json()["done"] is False
    assert browser.post("/console/uploads/events/a.jsonl", content=b"{}").status_code == 405


@pytest.mark.parametrize("query", ["seconds=-1", "seconds=1e12", "seconds=nan", "seconds=x", "n=0", "n=99"])
def test_the_clock_moves_forward_and_within_bounds(browser: TestClient, query: str) -> None:
    assert browser.get(f"/console/ahead/u?{query}").status_code == 422
