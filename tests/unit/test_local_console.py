"""The console's files: what is there, and what keeps them shut."""

from __future__ import annotations

import re

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from infra.console_site import FILES
from infra.local.console import with_console

pytestmark = pytest.mark.slow


async def api(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the API")(scope, receive, send)


@pytest.fixture
def browser() -> TestClient:
    return TestClient(with_console(api, "http://127.0.0.1:1", with_sample=False))


def test_the_console_stands_beside_the_api(browser: TestClient) -> None:
    assert browser.get("/v1/users/u/profile").text == "the API"
    assert browser.get("/", follow_redirects=False).headers["location"] == "/console/"
    page = browser.get("/console/")
    assert page.headers["content-type"].startswith("text/html")
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert "connect-src 'self' http://127.0.0.1:1;" in page.headers["content-security-policy"]  # where uploads go
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in ("js/app.js", "vendor/uplot/LICENSE", "css/console.css"):
        assert browser.get(f"/console/{path}").status_code == 200
    assert browser.get("/console/%2e%2e/local/console.py").status_code == 404


def test_nothing_is_fetched_from_elsewhere_and_no_data_becomes_markup() -> None:
    own = [*FILES.glob("*.html"), *FILES.glob("js/*.js"), *FILES.glob("css/*.css")]
    assert len(own) > 10
    for file in own:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )
        addresses = set(re.findall(r"https?://[\w.-]+", text)) - {"https://example.com", "http://www.w3.org"}
        assert not addresses, file


def test_people_are_the_sample_s_and_none_without_it() -> None:
    for with_sample in (True, False):
        client = TestClient(with_console(api, "http://127.0.0.1:1", with_sample=with_sample))
        people = client.get("/console/people.json").json()
        assert bool(people) is with_sample
        assert all(set(one) == {"user_id", "about", "language", "domains"} for one in people)
