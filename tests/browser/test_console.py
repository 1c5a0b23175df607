"""The console's journeys on the real local system, in Chromium."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import TRUE, UNTRUE
from tests.browser.console_page import Console, Language, Scheme, shoot
from tests.data import ROOT
from tests.integration.conftest import LocalSystem

pytestmark = [pytest.mark.slow, pytest.mark.emulator]

SAMPLE = ROOT / "infra" / "sample"
PRODUCT = {
    "title": "Aster 4 trail shoe",
    "description": "A trail running shoe that weighs 285 g. It has a 6 mm drop and is waterproof. It costs 89 euros.",
}
VIEWS = ["people/u-multi", "ads/ec-zh-demo-phone", "campaigns", "studio", "models", "uploads"]


def shown(page: Page) -> list[str]:
    """Ids of the ads in the personalised answer."""
    expect(page.locator(".side-a .ad").first).to_be_visible()
    return page.locator(".side-a .ad .foot a").all_inner_texts()


def within_seconds(holds: Callable[[], bool], seconds: float = 10) -> None:
    """The parts of a page are drawn as their answers come."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.1)


def barriers(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core calls serious or critical on the page as it stands: rule, and where."""
    found = Axe().run(page).response["violations"]
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_an_event_changes_the_next_answer_and_says_how(console: Console) -> None:
    page = console.open("people/u-shopper-en")
    before = shown(page)
    expect(page.get_by_role("heading", name="Why they differ")).to_be_visible()
    assert page.locator(".side-b .ad").count() == 3
    for text in ("watercolour painting course for beginners", "watercolour brushes and paper, art lessons"):
        page.get_by_label("What happened").select_option("purchase")
        page.get_by_label("Text", exact=True).fill(text)
        page.get_by_role("button", name="Add event").click()
        expect(page.locator(".timeline").get_by_text(text)).to_be_visible()
    expect(page.locator(".changed.yes")).to_contain_text("Since the last answer")
    expect(page.locator(".side-a .ad.moved").first).to_be_visible()
    assert shown(page) != before
    shoot(page, "journey-event")
    assert barriers(page) == []


def test_the_clock_can_be_moved_and_nothing_is_kept_of_it(console: Console, local: LocalSystem) -> None:
    page = console.open("people/u-shopper-en")
    shown(page)
    strength = page.locator(".interests .quiet").first
    expect(strength).to_contain_text("Strength")

    def told() -> float:
        return float(strength.inner_text().split()[1])

    now = told()
    page.get_by_label("Time", exact=True).select_option("In 30 days")
    expect(page.get_by_text("Preview: In 30 days", exact=False)).to_be_visible()
    within_seconds(lambda: told() < now)
    expect(page.locator(".side-a .foot button")).to_have_count(0)  # a preview takes no feedback
    kept = local.http.get("/v1/users/u-shopper-en/export").json()
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".changed")).to_be_visible()
    again = local.http.get("/v1/users/u-shopper-en/export").json()
    assert [one["decision_id"] for one in again["decisions"]] == [one["decision_id"] for one in kept["decisions"]]
    assert again["profile"]["updated_at"] == kept["profile"]["updated_at"]
    page.get_by_label("Time", exact=True).select_option("Now")
    expect(page.get_by_text("Preview:", exact=False)).to_have_count(0)
    within_seconds(lambda: told() == pytest.approx(now, rel=0.05))


def test_an_interest_that_is_switched_off_counts_no_more(console: Console) -> None:
    page = console.open("people/u-shopper-phone", language="zh")
    assert any("phone" in one for one in shown(page))
    expect(page.get_by_text("因为您对“手机及配件”感兴趣", exact=True).first).to_be_visible()
    page.get_by_role("switch", name="手机及配件").click()
    expect(page.get_by_role("switch", name="手机及配件")).to_have_attribute("aria-checked", "false")
    expect(page.get_by_text("因为您对“手机及配件”感兴趣", exact=True)).to_have_count(0)


def test_consent_links_export_and_erasure(console: Console, local: LocalSystem) -> None:
    person = "console-ann"
    event = {"user_id": person, "event": "view", "timestamp": time.time() - 3600, "text": "<img src=x onerror=1>"}
    local.http.post("/v1/events", json={"events": [event]}).raise_for_status()
    page = console.open("people")
    search = page.get_by_label("Find a person")
    search.fill(person)
    search.press("Enter")
    expect(page.get_by_role("heading", level=1, name=person)).to_be_visible()
    shown(page)
    assert page.locator("img").count() == 0

    page.get_by_role("checkbox", name="Personalisation").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Personalisation is off", exact=False)).to_be_visible()
    consent = local.http.get(f"/v1/users/{person}/profile").json()["consent"]
    assert (consent["personalisation"], consent["source"]) == (False, "console")
    page.get_by_role("checkbox", name="Personalisation").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Personalisation is off", exact=False)).to_have_count(0)

    page.get_by_label("Id on that platform").fill("wechat:o-ann")
    page.get_by_label("Platform", exact=True).fill("wechat")
    page.get_by_role("button", name="Link", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="wechat")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Export data").click()
    exported = json.loads(download.value.path().read_text())
    assert (exported["user_id"], len(exported["ids"])) == (person, 2)

    page.get_by_role("button", name="Erase", exact=True).click()
    dialog = page.get_by_role("dialog")
    sure = dialog.get_by_role("button", name="Erase for good")
    expect(sure).to_be_disabled()
    dialog.get_by_label("Type the id to confirm").fill(person)
    shoot(page, "journey-erase")
    assert barriers(page) == []
    sure.click()
    expect(dialog.get_by_role("heading", name="Erasure receipt")).to_be_visible()
    erasure = dialog.locator(".state code").inner_text()
    expect(dialog.get_by_text("Done: no trace found")).to_be_visible(timeout=180_000)
    assert local.http.get(f"/v1/erasures/{erasure}").json()["state"] == "done"
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_role("heading", level=1, name=person)).to_have_count(0)
    assert local.http.get(f"/v1/users/{person}/profile").status_code == 404


def test_a_finding_stands_on_the_text_and_its_rewrite_is_one_click(console: Console, local: LocalSystem) -> None:
    page = console.open("ads/ec-en-demo-vacuum")
    blocked = page.locator("mark.block")
    expect(blocked.first).to_be_visible()
    assert "No.1" in " ".join(blocked.all_inner_texts())
    expect(page.locator(".findings code").first).to_be_visible()
    shoot(page, "journey-findings")

    ad = {"ad_id": "console-best", "title": "The best trail shoe for wet ground", "brand": "Aster", "bid_cpm": 2}
    ad |= {"landing_url": "https://example.com/", "language": "en", "domain": "ecommerce"}
    local.http.put("/v1/ads", json={"ads": [ad]}).raise_for_status()
    page.goto(f"{console.url}/console/#ads/console-best")
    expect(page.get_by_text("Not shown", exact=False).first).to_be_visible()
    expect(page.locator(".findings li")).to_have_count(1)
    page.locator(".rewrite button").click()
    expect(page.locator(".findings li")).to_have_count(0)
    expect(page.get_by_text("There are unsaved changes")).to_be_visible()
    page.get_by_role("button", name="Save to the catalogue").click()
    expect(page.get_by_text("There are unsaved changes")).to_have_count(0)
    expect(page.get_by_text("Active", exact=True)).to_be_visible()
    saved = local.http.get("/v1/ads/console-best").json()
    assert "best" not in saved["title"]
    assert "shoe" in saved["title"]
    assert saved["brand"] == "Aster"  # what the page does not show stays


def test_feedback_appears_in_the_campaign_with_its_interval(console: Console, local: LocalSystem) -> None:
    page = console.open("people/u-reader-en")
    shown(page)
    kept = len(local.http.get("/v1/users/u-reader-en/export").json()["decisions"])
    assert page.locator(".side-a .foot button").count() == 0  # a mere look: no decision, nothing to be clicked
    page.get_by_role("button", name="Show for real").click()
    expect(page.get_by_text("A recorded decision")).to_be_visible()
    assert len(local.http.get("/v1/users/u-reader-en/export").json()["decisions"]) == kept + 1
    [first, *_] = shown(page)
    page.locator(".side-a .ad").first.get_by_role("button", name=re.compile("^Clicked")).click()
    expect(page.get_by_text("Counted", exact=True)).to_be_visible()
    campaign = local.http.get(f"/v1/ads/{first}").json()["campaign_id"]
    page.get_by_role("tab", name="Campaigns").click()
    row = page.locator("tr").filter(has=page.get_by_role("link", name=campaign, exact=True))
    expect(row).to_contain_text("100.0%")
    expect(row).to_contain_text("20.7% – 100.0%")  # Wilson's interval of 1 in 1
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name=f"Ads of {campaign}")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(2)
    shoot(page, "journey-campaigns")
    assert barriers(page) == []


def test_the_studio_shows_what_was_refused_and_approves_what_was_not(console: Console, local: LocalSystem) -> None:
    page = console.open("studio")
    page.get_by_label("Product or title").fill(PRODUCT["title"])
    page.get_by_label("Description and facts").fill(PRODUCT["description"])
    page.get_by_label("Channel").select_option("meta_primary")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.locator(".copies > li").filter(has_text=TRUE)).to_be_visible()
    texts = page.locator(".copies > li").all_inner_texts()
    copy = page.locator(".copies > li").nth(next(place for place, text in enumerate(texts) if TRUE in text))
    refused = page.locator(".refused li").filter(has_text=UNTRUE)
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("unsupported")
    expect(copy.locator("mark.claim").first).to_be_visible()

    copy.get_by_text("Edit", exact=True).click()
    text = copy.get_by_label("Text")
    text.fill("The best trail shoe in the world, 285 g")
    copy.get_by_role("button", name="Check again").click()
    expect(copy.locator("mark.block").first).to_be_visible()
    shoot(page, "journey-studio")
    assert barriers(page) == []
    text.fill(TRUE)
    copy.get_by_role("button", name="Check again").click()
    expect(copy.get_by_text("Nothing was found")).to_be_visible()
    copy.get_by_role("button", name="Approve").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Ad id").fill("studio-aster")
    dialog.get_by_role("button", name="Approve").click()
    expect(copy.get_by_text("Approved", exact=False)).to_be_visible()
    assert local.http.get("/v1/ads/studio-aster").json()["title"] == PRODUCT["title"]

    page.goto(f"{console.url}/console/#ads/studio-aster")
    page.get_by_role("button", name="Write copy").click()
    banked = page.locator("tr").filter(has_text=TRUE)
    expect(banked).to_contain_text("100%")  # the only one that was approved competes alone
    shoot(page, "journey-variants")
    banked.get_by_role("button", name=f"Reject: {TRUE}").click()
    expect(banked).to_have_count(0)


def upload_of(page: Page, name: str) -> Locator:
    return page.locator("section.upload").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_uploads_by_choice_and_by_drop_report_their_rejected_lines(console: Console) -> None:
    page = console.open("uploads")
    page.get_by_label("Choose files").set_input_files(SAMPLE / "events_dirty.jsonl")
    done = upload_of(page, "events_dirty.jsonl")
    expect(done.get_by_text("Rejected lines")).to_be_visible(timeout=60_000)
    expect(done.get_by_role("row").filter(has=page.get_by_role("cell", name="13", exact=True))).to_contain_text(
        "timestamp"
    )
    shoot(page, "journey-upload")
    assert barriers(page) == []
    with page.context.expect_page() as opened, page.expect_download() as whole:
        done.get_by_role("link", name="Download all").click()
    lines = whole.value.path().read_text().splitlines()
    assert {"line", "field", "reason"} <= set(json.loads(lines[0]))
    opened.value.close()
    line = json.dumps({"user_id": "dropped", "event": "view", "timestamp": time.time(), "text": "kettle"})
    dropped = page.evaluate_handle(
        """line => { const all = new DataTransfer();
            all.items.add(new File([line], 'dropped one.jsonl'));
            all.items.add(new File([new Uint8Array([137, 80, 78, 71, 0, 0])], 'picture.jsonl'));
            all.items.add(new File(['hello'], 'notes.txt'));
            return all; }""",
        line,
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
    expect(upload_of(page, "picture.jsonl").get_by_role("alert")).to_contain_text("binary")
    expect(upload_of(page, "notes.txt").get_by_role("alert")).to_contain_text("no .jsonl or .csv")
    one = upload_of(page, "dropped one.jsonl")
    expect(one.get_by_text("Done", exact=True)).to_be_visible(timeout=60_000)
    expect(one.locator(".figures div").filter(has_text="Accepted").locator("dd")).to_have_text("1")

    page.reload()  # what was sent in this session is still known
    expect(upload_of(page, "dropped one.jsonl").get_by_text("Done", exact=True)).to_be_visible()
    expect(upload_of(page, "picture.jsonl").get_by_text("Not uploaded")).to_be_visible()


def test_a_large_file_is_followed_by_chunks_and_the_page_stays_alive(console: Console, tmp_path: Path) -> None:
    """A second file is dropped meanwhile, and the view is left and come back to."""
    large = tmp_path / "large.jsonl"
    filler = "x" * 20_000
    with large.open("w") as out:
        for number in range(1_200):
            event = {"user_id": f"large-{number % 40}", "event": "view", "timestamp": 1.79e9 + number, "note": filler}
            out.write(json.dumps(event) + "\n")
    page = console.open("uploads")
    page.evaluate(
        """() => { window.longest = 0; let last = performance.now();
            const look = now => { longest = Math.max(longest, now - last); last = now; requestAnimationFrame(look); };
            requestAnimationFrame(look); }"""
    )
    page.get_by_label("Choose files").set_input_files(large)
    page.get_by_label("Choose files").set_input_files(SAMPLE / "events_dirty.jsonl")
    one = upload_of(page, "large.jsonl")
    expect(one.get_by_text(re.compile("chunks? taken in"))).to_be_visible(timeout=60_000)
    shoot(page, "journey-upload-large")
    page.get_by_role("tab", name="Campaigns").click()
    page.get_by_role("tab", name="Upload").click()
    expect(one.get_by_text("Done", exact=True)).to_be_visible(timeout=120_000)
    expect(upload_of(page, "events_dirty.jsonl").get_by_text("Done", exact=True)).to_be_visible(timeout=60_000)
    expect(one.locator(".figures div").filter(has_text="Accepted").locator("dd")).to_have_text("1,200")
    assert page.evaluate("longest") < 2_000  # ms without a frame: a page that is stuck stays so for many seconds


def test_labels_become_a_head_that_stands_beside_its_baselines(console: Console, tmp_path: Path) -> None:
    words = {"running": ("trail shoes", "marathon plan", "running socks"), "coffee": ("espresso", "beans", "filter")}
    rows = [{"text": f"{one} {n}", "label": label} for label, some in words.items() for one in some for n in range(60)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    page = console.open("models")
    expect(page.get_by_text("The stated formula", exact=False)).to_be_visible()
    choose = page.get_by_label("Choose files")
    choose.set_input_files(file)
    expect(page.get_by_role("alert")).to_contain_text("Name the head first")
    page.get_by_label("Name of the head").fill("console-topics")
    choose.set_input_files(file)
    head = page.get_by_role("article", name="console-topics")
    expect(head.get_by_text("Training", exact=True)).to_be_visible(timeout=60_000)
    expect(head.get_by_text("Serving", exact=True)).to_be_visible(timeout=180_000)
    expect(head.get_by_role("row", name=re.compile("Untouched encoder"))).to_be_visible()
    head.get_by_text("Labels", exact=True).click()
    expect(head.get_by_text("coffee", exact=True)).to_be_visible()
    shoot(page, "journey-models")
    assert barriers(page) == []


def test_a_verdict_of_the_gate_stands_with_its_interval(console: Console) -> None:
    page = console.open("studio")
    figures: dict[str, object] = {"verdict": "hold", "decisions": 700, "clicks": 90, "candidate": 0.51, "current": 0.44}
    figures |= {"difference": 0.07, "low": -0.02, "high": 0.16}
    row: dict[str, object] = {
        "version": None,
        "state": "held",
        "reason": "the interval holds 0",
        "started_by": "schedule",
        "clicks": 90,
    }
    row |= {"updated_at": "2026-11-26T08:00:00Z", "candidate": "r-1", "verdict": figures, "versions": {}}
    page.route("**/v1/ranker", lambda route: route.fulfill(json=row))
    page.get_by_role("tab", name="Models").click()
    expect(page.get_by_text("+0.070 (95 % interval -0.020 to +0.160, 700 decisions)", exact=False)).to_be_visible()
    expect(page.get_by_role("img", name="Difference in clicks", exact=False).locator("canvas")).to_be_visible()
    shoot(page, "journey-gate")
    assert barriers(page) == []


def test_keyboard_language_and_theme(console: Console) -> None:
    page = console.open("campaigns", language="en")
    expect(page.get_by_role("tab", name="Campaigns")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("tab", name="Campaigns").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Studio")).to_be_focused()
    expect(page.get_by_role("heading", name="Copy studio")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.get_by_role("button", name="切换到深色").click()
    page.reload()
    expect(page.get_by_role("heading", name="文案工作室")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_an_api_that_asks_for_a_token_is_given_one(console: Console) -> None:
    def guarded(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            document = {"type": "about:blank", "title": "Not signed in", "status": 401}
            route.fulfill(status=401, json=document, content_type="application/problem+json")

    page = console.open("studio")
    page.route("**/v1/**", guarded)
    page.get_by_role("tab", name="People").click()
    page.get_by_label("Token (JWT)").fill("secret")
    late = "{ cancelable: true, detail: { status: 401, message: 'another request' } }"
    page.evaluate(f"() => {{ dispatchEvent(new CustomEvent('refused', {late})) }}")
    expect(page.get_by_label("Token (JWT)")).to_have_value("secret")
    page.get_by_role("button", name="Use it").click()
    shown(page)
    assert all("401" in one for one in console.problems)
    console.problems.clear()


def settled(page: Page, view: str) -> None:
    """Waits until the view is there with all that it asks for."""
    name = view.partition("/")[0]
    panel = page.locator(f'[role="tabpanel"][aria-labelledby="tab-{name}"]')
    expect(panel.locator("h1")).to_be_visible()
    expect(page.locator("main .empty", has_text=re.compile("Loading|正在读取"))).to_have_count(0)
    page.wait_for_load_state("networkidle")
    if name == "people":
        expect(panel.locator(".side-a .ad").first).to_be_visible()
    if name == "ads":
        expect(panel.locator("section.card")).to_have_count(5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_axe_finds_nothing_serious(console: Console, language: Language, scheme: Scheme) -> None:
    page = console.open(language=language, scheme=scheme)
    serious = []
    for view in VIEWS:
        page.goto(f"{console.url}/console/#{view}")
        settled(page, view)
        shoot(page, f"{view.partition('/')[0]}-{language}-{scheme}")
        serious += [(view, *one) for one in barriers(page)]
    assert serious == []


def test_a_phone_shows_every_view_without_sideways_scrolling(console: Console) -> None:
    page = console.open(width=360, is_mobile=True, has_touch=True)
    for view in VIEWS:
        page.goto(f"{console.url}/console/#{view}")
        settled(page, view)
        shoot(page, f"{view.partition('/')[0]}-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
        for tab in page.get_by_role("tab").all():
            box = tab.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 361, (view, tab.inner_text())


def test_the_first_view_needs_nothing_from_elsewhere(
    console: Console, local: LocalSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    page = console.open("people/u-learner-en")
    settled(page, "people")
    shown(page)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    asked = page.evaluate("performance.getEntriesByType('resource').map(one => [one.name, one.responseEnd])")
    whole = max(end for _, end in asked)
    assert all(name.startswith(local.url) for name, _ in asked)
    with capsys.disabled():
        print(f"\nconsole: first paint {paint:.0f} ms, person and ads there {whole:.0f} ms, {len(asked)} requests")
    headers = httpx2.get(f"{local.url}/console/", trust_env=False).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert httpx2.get(f"{local.url}/", trust_env=False).headers["location"] == "/console/"
