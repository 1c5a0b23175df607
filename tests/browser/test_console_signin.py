"""The console on another origin than the API, as on AWS: signing in with an issuer, and the journeys with its token."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.console_page import Console, shoot
from tests.browser.elsewhere import CLIENT, Elsewhere, elsewhere
from tests.integration.conftest import LocalSystem

pytestmark = [pytest.mark.slow, pytest.mark.emulator]


@pytest.fixture
def around(local: LocalSystem) -> Iterator[Elsewhere]:
    with elsewhere(local.url, local.aws) as found:
        yield found


@pytest.fixture
def console(around: Elsewhere, chromium_: Browser) -> Iterator[Console]:
    one = Console(chromium_, around.page, folder="/")
    yield one
    one.close()
    # A refused request stands in the browser's console, whatever the page makes of it.
    assert [said for said in one.problems if "status of 401" not in said and "status of 403" not in said] == []
    assert around.issuer.refused == []


def signed_in(console: Console, place: str) -> Page:
    """A page whose user went to the issuer and came back."""
    page = console.open(place)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Continue as Ann").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


def test_the_journeys_after_signing_in(console: Console, around: Elsewhere) -> None:
    page = console.open("ads")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    shoot(page, "signin")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{around.issuer.url}/authorize?**")
    page.get_by_role("button", name="Continue as Ann").click()

    expect(page.locator(".pick a").first).to_be_visible()
    assert page.url == f"{around.page}/#ads"  # where they were, and no code in the address
    expect(page.get_by_role("button", name="Sign out")).to_have_attribute("title", "Signed in as ann@example.com")
    assert around.issuer.grants == ["authorization_code"]

    page.get_by_role("tab", name="Upload").click()
    line = json.dumps({"user_id": "signed-ann", "event": "favourite", "timestamp": time.time(), "text": "trail shoes"})
    page.locator("input[type=file]").set_input_files(
        {"name": "ann.jsonl", "mimeType": "application/octet-stream", "buffer": f"{line}\n{{}}\n".encode()}
    )
    sent = page.locator("section.upload")
    expect(sent.get_by_text("Done")).to_be_visible(timeout=60_000)
    expect(sent.get_by_role("row").nth(1)).to_contain_text("user_id")

    page.get_by_role("tab", name="People").click()
    search = page.get_by_label("Find a person")
    search.fill("signed-ann")
    search.press("Enter")
    expect(page.locator(".side-a .ad").first).to_be_visible()
    expect(page.locator(".timeline").get_by_text("trail shoes")).to_be_visible()
    shoot(page, "signin-person")

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("JSON.stringify(sessionStorage)").count("access_token") == 0


def test_a_token_that_ends_is_renewed_without_asking(console: Console, around: Elsewhere) -> None:
    around.issuer.lasts = 30  # less than what is renewed early
    page = signed_in(console, "campaigns")
    expect(page.get_by_role("heading", name="Spend against pacing")).to_be_visible()
    page.get_by_role("tab", name="Ads").click()
    expect(page.locator(".pick a").first).to_be_visible()
    assert around.issuer.grants.count("authorization_code") == 1
    assert around.issuer.grants.count("refresh_token") >= 1


def test_a_reload_stays_signed_in(console: Console, around: Elsewhere) -> None:
    page = signed_in(console, "models")
    expect(page.get_by_role("heading", name="Ranker")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Ranker")).to_be_visible()
    assert around.issuer.grants == ["authorization_code"]


def test_a_scope_that_is_missing_is_named(console: Console, around: Elsewhere) -> None:
    around.issuer.scope = "openid adtailor/read"
    page = signed_in(console, "ads")
    expect(page.locator(".pick a").first).to_be_visible()
    page.goto(f"{around.page}/#people/somebody")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("adtailor/people")
    shoot(page, "signin-denied")


def test_a_refusal_of_the_issuer_is_said(console: Console, around: Elsewhere) -> None:
    page = console.open("campaigns")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="No, thanks").click()
    expect(page.get_by_text("Signing in did not succeed", exact=False)).to_be_visible()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.url == f"{around.page}/#campaigns"  # where they were
    assert around.issuer.grants == []


def test_an_answer_that_nobody_asked_for_signs_nobody_out(console: Console, around: Elsewhere) -> None:
    page = signed_in(console, "ads")
    page.goto(f"{around.page}/?code=forged&state=forged#ads")
    expect(page.get_by_text("Signing in did not succeed", exact=False)).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert "forged" not in page.url
    page.get_by_role("tab", name="Ads").click()
    expect(page.locator(".pick a").first).to_be_visible()


def test_an_issuer_that_is_down_is_named_and_ends_no_session(console: Console, around: Elsewhere) -> None:
    def down(route: Route) -> None:
        route.fulfill(status=503, headers={"access-control-allow-origin": "*"}, body="down")

    around.issuer.lasts = 30  # less than what is renewed early
    page = signed_in(console, "campaigns")
    page.route(f"{around.issuer.url}/token", down)
    page.get_by_role("tab", name="Ads").click()
    expect(page.locator(".pick a").first).to_be_visible()  # the token that is there does for the moment
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    renewed = around.issuer.grants.count("refresh_token")
    page.unroute(f"{around.issuer.url}/token")
    page.get_by_role("tab", name="Campaigns").click()
    expect(page.get_by_role("heading", name="Spend against pacing")).to_be_visible()
    assert around.issuer.grants.count("refresh_token") > renewed  # the refresh token was kept

    page = console.open("ads")
    page.route(f"{around.issuer.url}/**", down)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"The issuer {around.issuer.url} did not answer", exact=False)).to_be_visible()
    console.problems[:] = [said for said in console.problems if "status of 503" not in said]


def test_a_session_that_ends_during_an_action_shows_nothing_personal_any_more(
    console: Console, around: Elsewhere
) -> None:
    def refuse(route: Route) -> None:
        headers = {"access-control-allow-origin": around.page}
        if route.request.method == "OPTIONS":
            route.continue_()
        else:
            route.fulfill(status=401, headers=headers, json={"message": "Unauthorized"})

    page = signed_in(console, "people/u-reader-en")
    expect(page.get_by_role("heading", level=1, name="u-reader-en")).to_be_visible()
    page.route("**/v1/users/*/consent", refuse)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Unauthorized")
    expect(page.get_by_text("u-reader-en")).to_have_count(0)
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    assert page.evaluate("JSON.stringify(sessionStorage)").count("refresh_token") == 0
    shoot(page, "signin-ended")


def test_a_pasted_token_does_as_well(console: Console, around: Elsewhere) -> None:
    page = console.open("campaigns")
    page.get_by_text("Use an access token instead").click()
    claims = {"iss": around.issuer.url, "aud": "adtailor", "exp": time.time() + 600, "sub": "bo"}
    page.get_by_label("Token (JWT)").fill(around.issuer.signed(claims))
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("heading", name="Spend against pacing")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_stand_ins_refuse_what_the_real_ones_do(around: Elsewhere) -> None:
    with httpx2.Client(trust_env=False) as client:
        assert client.get(f"{around.api}/v1/ads").status_code == 401
        forged = around.issuer.signed({"aud": "adtailor", "exp": time.time() + 60})[:-4] + "AAAA"
        assert client.get(f"{around.api}/v1/ads", headers={"authorization": f"Bearer {forged}"}).status_code == 401
        other = {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}
        assert "access-control-allow-origin" not in client.options(f"{around.api}/v1/ads", headers=other).headers
        asked = {"client_id": CLIENT, "redirect_uri": f"{around.page}/", "response_type": "code", "state": "s"}
        asked |= {"code_challenge": "x" * 43, "code_challenge_method": "S256", "scope": "openid"}
        code = client.post(f"{around.issuer.url}/approve", data=asked).headers["location"].split("code=")[1]
        grant = {"grant_type": "authorization_code", "client_id": CLIENT, "code": code.split("&")[0]}
        refused = client.post(f"{around.issuer.url}/token", data=grant | {"code_verifier": "another"})
        assert refused.status_code == 400
    around.issuer.refused.clear()
