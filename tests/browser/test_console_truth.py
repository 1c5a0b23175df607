"""What the console says of people, and what becomes of what its users type: nothing untrue, nothing lost, no ad
replaced unasked."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Locator, Page, Request, Route, expect

from tests.browser.conftest import TRUE
from tests.browser.console_page import Console, shoot
from tests.integration.conftest import LocalSystem

pytestmark = [pytest.mark.slow, pytest.mark.emulator]

FRYER = "ec-en-airfryer-a"
BOOTS = "ec-en-boots-a"


def headline(page: Page) -> Locator:
    return page.locator(".detail header.headline")


def asked_for_copy(page: Page, write: str = "Write") -> dict[str, Any]:
    """What is sent when somebody presses the studio's button."""
    with page.expect_request("**/v1/copy") as sent:
        page.get_by_role("button", name=write, exact=True).click()
    body: dict[str, Any] = json.loads(sent.value.post_data or "")
    return body


def test_what_may_not_be_used_is_not_called_unknown(console: Console, local: LocalSystem) -> None:
    person = "console-refused"
    event = {"user_id": person, "event": "view", "timestamp": time.time() - 3600, "text": "running shoes"}
    local.http.post("/v1/events", json={"events": [event]}).raise_for_status()
    page = console.open(f"people/{person}")
    expect(page.locator(".side-a .ad").first).to_be_visible()
    page.get_by_role("checkbox", name="Personalisation").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Personalisation is off: the same as for a stranger")).to_be_visible()
    expect(headline(page)).to_contain_text("Events: 1")
    expect(headline(page)).to_contain_text("None of them used")
    expect(page.get_by_text("No interests that may be used.")).to_be_visible()
    expect(page.locator(".timeline").get_by_text("running shoes")).to_be_visible()
    expect(page.get_by_text("Nothing is known", exact=False)).to_have_count(0)

    page.goto(f"{console.url}/console/#people/u-health-no")
    expect(page.get_by_text("Nothing that is known may be used: the same as for a stranger")).to_be_visible()
    expect(headline(page)).to_contain_text("Events: 15")
    for untrue in ("Nothing is known yet", "What is known was used", "Nothing is known of this person"):
        expect(page.get_by_text(untrue, exact=False)).to_have_count(0)
    shoot(page, "truth-unusable")


def test_nobody_has_agreed_to_anything_and_nothing_fails(console: Console, local: LocalSystem) -> None:
    page = console.open("people/console-stranger")
    expect(page.get_by_text("Nothing is known of this person yet.")).to_be_visible()
    expect(page.get_by_text("Nothing is known yet: the same as for a stranger")).to_be_visible()
    expect(page.get_by_text("No basis")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Personalisation")).not_to_be_checked()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Said by the person", exact=False)).to_be_visible()
    consent = local.http.get("/v1/users/console-stranger/profile").json()["consent"]
    assert (consent["personalisation"], consent["sensitive"]) == (False, False)


def test_what_is_there_to_be_tried_is_not_called_personalisation(console: Console) -> None:
    def tried(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        [own, *_] = body["twin"]["difference"]["only_personalised"]
        for one in body["twin"]["difference"]["explained"]:
            if one["ad_id"] == own:
                one |= {"code": "exploring", "text": {"zh": "尝试", "en": "There to be tried, whoever asks"}}
        route.fulfill(response=answer, json=body)

    page = console.open("studio")
    page.route("**/v1/users/*/ahead?*", tried)
    page.goto(f"{console.url}/console/#people/u-new")
    expect(page.get_by_text("2 there by personalisation, 1 there to be tried", exact=False)).to_be_visible()
    expect(page.locator(".side-a .ad").get_by_text("To be tried", exact=True)).to_have_count(1)
    expect(page.get_by_text("whoever asks", exact=False)).to_have_count(0)


def test_an_interest_of_two_terms_stands_once(console: Console) -> None:
    page = console.open("people/u-multi")
    one = page.locator(".interests > li").filter(has=page.get_by_role("switch", name="Language Learning"))
    expect(one).to_have_count(1)
    expect(one.locator(".figure")).to_have_count(2)
    expect(one).to_contain_text("long-term")
    expect(one).to_contain_text("this session")


def test_enter_opens_somebody_who_was_meant(console: Console) -> None:
    page = console.open("people")
    search = page.get_by_label("Find a person")
    search.fill("U-NEW")
    search.press("Enter")
    expect(page.get_by_role("heading", level=1, name="u-new")).to_be_visible()
    search.fill("shopper")
    search.press("Enter")  # several: they are there to choose from
    expect(page.locator(".pick a").first).to_be_focused()
    assert page.url.endswith("#people/u-new")
    expect(page.get_by_role("link", name="Open the id “shopper”")).to_have_attribute("href", "#people/shopper")
    search.fill("airport")
    expect(page.get_by_role("link", name="Nobody matches", exact=False)).to_be_visible()


def test_approving_never_replaces_an_ad_that_is_there(console: Console, local: LocalSystem) -> None:
    before = local.http.get(f"/v1/ads/{FRYER}").json()
    page = console.open("studio")
    page.get_by_label("Product or title").fill("Aster 4 trail shoe")
    page.get_by_label("Description and facts").fill("A trail running shoe that weighs 285 g.")
    page.get_by_role("button", name="Write", exact=True).click()
    copy = page.locator(".copies > li").filter(has_text=TRUE)
    copy.get_by_role("button", name="Approve").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Ad id").fill(FRYER)
    dialog.get_by_role("button", name="Approve").click()
    expect(dialog.get_by_role("alert")).to_contain_text("5-litre air fryer")
    shoot(page, "truth-taken")
    assert local.http.get(f"/v1/ads/{FRYER}").json() == before
    dialog.get_by_label("Ad id").fill("studio-new-aster")
    dialog.get_by_role("button", name="Approve").click()
    expect(copy.get_by_text("Approved", exact=False)).to_be_visible()
    assert local.http.get("/v1/ads/studio-new-aster").json()["title"] == "Aster 4 trail shoe"

    # The form and the copies are the user's work: another language or another view does not take them away.
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_label("产品名称或标题")).to_have_value("Aster 4 trail shoe")
    expect(page.locator(".copies > li").filter(has_text=TRUE)).to_contain_text("已批准")
    page.get_by_role("tab", name="人群").click()
    page.get_by_label("内容文字").fill("half typed")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value("half typed")
    page.get_by_role("tab", name="Studio").click()
    expect(page.get_by_label("Product or title")).to_have_value("Aster 4 trail shoe")


def test_copy_is_judged_on_the_facts_that_stand_in_the_form(console: Console) -> None:
    page = console.open(f"studio/{FRYER}")
    expect(page.get_by_label("Price", exact=True)).to_have_value("109")
    assert asked_for_copy(page)["ad_id"] == FRYER
    page.get_by_label("Price", exact=True).fill("49,90")
    sent = asked_for_copy(page)
    assert "ad_id" not in sent
    assert sent["ad"]["attributes"] | {"price": 49.9} == sent["ad"]["attributes"]
    assert sent["ad"]["attributes"]["capacity_L"] == 5  # what the form does not show goes along
    page.get_by_label("Price", exact=True).fill("109")
    page.get_by_label("Brand").fill("Otherbrand")
    sent = asked_for_copy(page)["ad"]
    assert (sent["brand"], sent["attributes"]["price"]) == ("Otherbrand", 109)
    assert not {"ad_id", "campaign_id", "bid_cpm", "category"} & set(sent)


def test_the_studio_says_what_it_cannot_send(console: Console) -> None:
    page = console.open("studio")
    sent: list[Request] = []
    page.on("request", lambda one: sent.append(one) if one.url.endswith("/v1/copy") else None)
    write = page.get_by_role("button", name="Write", exact=True)
    said = page.locator("form").get_by_role("alert")
    page.get_by_label("Product or title").fill("Aster 4 trail shoe")
    page.get_by_label("Price", exact=True).fill("about 12")
    write.click()
    expect(said).to_contain_text("Write the price as a number")
    expect(page.get_by_label("Price", exact=True)).to_be_focused()
    page.get_by_label("Price", exact=True).fill("")
    page.get_by_label("Audience", exact=True).select_option("One person")
    write.click()
    expect(said).to_contain_text("Give the person's id")
    page.get_by_label("Audience", exact=True).select_option("A segment")
    write.click()
    expect(said).to_contain_text("Give the category's id")
    page.get_by_label("Audience", exact=True).select_option("Anyone")
    page.get_by_label("Start from an ad").fill("no-such-ad")
    page.get_by_label("Start from an ad").press("Tab")
    expect(said).to_contain_text("There is no ad with the id no-such-ad")
    write.click()
    expect(said).to_contain_text("There is no ad with the id no-such-ad")
    assert sent == []


def test_no_copy_is_said_in_the_language_of_the_page(console: Console) -> None:
    reason = "policy cn.absolute: 最好 (《广告法》第九条 (三) (absolute terms (in context)))"
    rejected = [{"text": "最好 (的) 跑鞋", "reasons": [reason, "repeats copy approved for another ad"]}]
    answer = {"copies": [], "rejected": rejected, "served_by": "none", "versions": {}}
    answer["notice"] = "in this domain nothing is generated freely"
    page = console.open("studio", language="zh")
    page.route("**/v1/copy", lambda route: route.fulfill(json=answer))
    page.get_by_label("产品名称或标题").fill("跑鞋")
    page.get_by_role("button", name="撰写", exact=True).click()
    expect(page.get_by_text("没有候选通过检查", exact=False)).to_be_visible()
    expect(page.get_by_text("没有文案", exact=True)).to_be_visible()
    expect(page.get_by_text("此领域不自由生成文案", exact=False)).to_be_visible()
    refused = page.locator(".refused li")
    expect(refused).to_contain_text("政策规则 cn.absolute：最好（《广告法》第九条 (三) (absolute terms (in context))）")
    expect(refused).to_contain_text("重复了另一条广告已批准的文案")


def test_two_who_edit_one_ad_keep_what_each_wrote(console: Console, local: LocalSystem) -> None:
    first, second = console.open(f"ads/{BOOTS}"), console.open(f"ads/{BOOTS}")

    def write(page: Page, which: int, text: str) -> None:
        if not page.get_by_label("Title", exact=True).is_visible():
            page.get_by_text("Edit the text").click()
        page.get_by_label(("Title", "Description")[which], exact=True).fill(text)
        page.get_by_role("button", name="Save to the catalogue").click()

    expect(second.get_by_text("Edit the text")).to_be_visible()
    write(first, 0, "Title by the first")
    expect(first.get_by_role("heading", level=1, name="Title by the first")).to_be_visible()
    write(second, 1, "Description by the second")
    expect(second.get_by_role("heading", level=1, name="Title by the first")).to_be_visible()
    saved = local.http.get(f"/v1/ads/{BOOTS}").json()
    assert (saved["title"], saved["description"]) == ("Title by the first", "Description by the second")

    write(first, 1, "Description by the first")  # where both wrote, the second is asked
    expect(first.get_by_role("alert")).to_contain_text("Description by the second")
    assert local.http.get(f"/v1/ads/{BOOTS}").json()["description"] == "Description by the second"
    first.get_by_role("tab", name="Campaigns").click()  # what is not saved is there when they come back
    first.goto(f"{console.url}/console/#ads/{BOOTS}")
    expect(first.get_by_text("There are unsaved changes")).to_be_visible()
    expect(first.get_by_label("Description", exact=True)).to_have_value("Description by the first")
    first.get_by_role("button", name="Save to the catalogue").click()
    expect(first.get_by_text("There are unsaved changes")).to_have_count(0)
    assert local.http.get(f"/v1/ads/{BOOTS}").json()["description"] == "Description by the first"


def test_a_file_that_cannot_be_read_is_not_done(console: Console) -> None:
    page = console.open("uploads")
    buffers = {"false.csv.gz": b"\x1f\x8b no gzip at all", "wide.csv": "user_id,event\n".encode("utf-16")}
    page.get_by_label("Choose files").set_input_files(
        [FilePayload(name=name, mimeType="text/csv", buffer=body) for name, body in buffers.items()]
    )
    wide = page.locator("section.upload").filter(has=page.get_by_role("heading", name="wide.csv"))
    expect(wide.get_by_role("alert")).to_contain_text("UTF-16")
    false = page.locator("section.upload").filter(has=page.get_by_role("heading", name="false.csv.gz"))
    expect(false.get_by_role("status")).to_have_text("Failed", timeout=60_000)
    expect(false.locator(".alert")).to_have_count(1)
    expect(false.get_by_text("Rejected lines")).to_have_count(0)
    shoot(page, "truth-unreadable")


def test_a_head_of_too_few_texts_says_how_many_it_needs(console: Console) -> None:
    reason = (
        "no label has enough different texts to hold any out: 4 are needed of one at least, and 2 is the most there"
    )
    head = {"name": "few", "state": "failed", "reason": f"{reason} is; add some", "version": None, "waiting": False}
    head |= {"started_by": "upload", "updated_at": "2026-11-26T08:00:00Z"}
    page = console.open("studio")
    page.route("**/v1/heads", lambda route: route.fulfill(json={"heads": [head], "versions": {}}))
    page.get_by_role("tab", name="Models").click()
    told = page.get_by_role("article", name="few").locator(".alert")
    expect(told).to_contain_text("one label at least needs 4 different ones")
    expect(told).to_contain_text("the most that any has is 2")


def test_a_host_that_answers_anything_is_no_api(console: Console) -> None:
    page = console.open("campaigns")
    expect(page.get_by_role("heading", name="Spend against pacing")).to_be_visible()
    page.route("**/v1/**", lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Hello</h1>"))
    for view in ("People", "Ads"):
        page.get_by_role("tab", name=view).click()
        expect(page.get_by_role("alert")).to_contain_text("did not answer with JSON")
        expect(page.get_by_text("Nothing is known", exact=False)).to_have_count(0)


def test_an_unknown_campaign_is_said_to_be_none_and_a_long_id_widens_nothing(
    console: Console, local: LocalSystem
) -> None:
    long = {"ad_id": "0" * 64, "title": "A long id", "landing_url": "https://example.com/", "language": "en"}
    local.http.put("/v1/ads", json={"ads": [long | {"domain": "ecommerce"}]}).raise_for_status()
    page = console.open("campaigns/no-such-campaign")
    expect(page.get_by_text("There is no campaign no-such-campaign.")).to_be_visible()
    page.goto(f"{console.url}/console/#ads/{FRYER}")
    page.get_by_label("Find an ad").fill("000000")
    expect(page.locator(".pick a")).to_have_count(1)
    assert page.locator(".pick").evaluate("one => one.scrollWidth <= one.clientWidth")
