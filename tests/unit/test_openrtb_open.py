"""OpenRTB without a signature: who gets in where a parameter opens it, and that nobody does anywhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from functions.recommend import handler
from shared.wiring import System
from tests.conftest import TENANT, Aws
from tests.unit.test_authorisation import BODIES, jwt, rows
from tests.unit.test_openrtb import link, publish
from tests.unit.test_recommending import ad
from tests.unit.test_template_expanded import made, stack

pytestmark = pytest.mark.slow

PAGE = "https://news.example"
OPEN = {"OpenRtbTenant": "demo", "OpenRtbOrigins": f"{PAGE},https://other.example"}


@pytest.fixture
def opened(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    publish(built, ad("p", "phone"))
    settings = replace(built.settings, stage="prod", open_rtb_tenant=TENANT, open_rtb_origins=OPEN["OpenRtbOrigins"])
    monkeypatch.setattr(built, "settings", settings)
    return built


def call(method: str, path: str, query: str = "", authorizer: Any = None, **headers: str) -> dict[str, Any]:
    context: dict[str, Any] = {"http": {"method": method, "path": path, "sourceIp": "1.1.1.1"}, "stage": "$default"}
    body = BODIES.get(f"{method} {path}")
    answer: dict[str, Any] = handler.lambda_handler(
        {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {"content-type": "text/plain", "host": "ads.example"} | headers,
            "requestContext": context | ({"authorizer": authorizer} if authorizer is not None else {}),
            "body": json.dumps(body) if body is not None else None,
            "isBase64Encoded": False,
        },
        None,
    )
    return answer


def test_a_named_page_bids_and_its_notices_count_without_a_caller(opened: System) -> None:
    answer = call("POST", "/openrtb2/auction", origin=PAGE)
    assert answer["statusCode"] == 200, answer
    assert answer["headers"]["access-control-allow-origin"] == PAGE
    (bid,) = json.loads(answer["body"])["seatbid"][0]["bid"]
    assert bid["burl"].startswith("https://ads.example/openrtb2/billing?")
    assert call("GET", "/openrtb2/win", bid["nurl"].partition("?")[2])["statusCode"] == 204
    assert opened.stores.delivery.stats(TENANT).get("p", {}).get("impressions", 0) == 0
    assert call("GET", "/openrtb2/billing", bid["burl"].partition("?")[2])["statusCode"] == 204
    assert call("POST", "/openrtb2/loss", bid["lurl"].partition("?")[2])["statusCode"] == 204
    assert call("POST", "/openrtb2/billing", bid["burl"].partition("?")[2])["statusCode"] == 204
    page = call("GET", "/openrtb2/visit", link(bid["adm"]).partition("?")[2])
    assert (page["statusCode"], page["headers"]["location"]) == (302, "https://example.com/p")
    assert opened.stores.delivery.stats(TENANT)["p"] == {
        "impressions": 1,
        "clicks": 1,
        "conversions": 0,
        "dismissals": 0,
    }
    for wrong in ("", "d=x&a=y&s=z", bid["nurl"].partition("?")[2]):
        for method, path in (("GET", "billing"), ("POST", "billing"), ("POST", "click"), ("GET", "visit")):
            assert call(method, f"/openrtb2/{path}", wrong)["statusCode"] in (404, 422)
    assert opened.stores.delivery.stats(TENANT)["p"]["impressions"] == 1


def test_nobody_else_gets_in(opened: System, aws: Aws) -> None:
    before = rows(aws)
    for headers in (
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"{PAGE}.evil"},
        {"origin": f"{PAGE}/"},
        {"origin": PAGE.upper()},
        {"referer": PAGE},
    ):
        assert call("POST", "/openrtb2/auction", **headers)["statusCode"] == 401, headers
    for method, path in (
        ("POST", "/v1/recommendations"),
        ("POST", "/v1/feedback"),
        ("POST", "/openrtb2/visit"),
        ("PUT", "/openrtb2/win"),
        ("GET", "/openrtb2/auction"),
        ("POST", "/openrtb2/auction/"),
        ("POST", "/openrtb2/../v1/recommendations"),
        ("POST", "/openrtb2/auction/../../v1/recommendations"),
    ):
        assert call(method, path, origin=PAGE)["statusCode"] in (401, 404, 405), path
    # Who has a token is who it says, whatever page they come from.
    assert call("POST", "/openrtb2/auction", origin=PAGE, authorizer=jwt(tenant="../demo"))["statusCode"] == 403
    assert call("POST", "/openrtb2/auction", origin=PAGE, authorizer=jwt(tenant="acme"))["statusCode"] == 204
    assert rows(aws) == before


def test_closed_it_takes_no_unsigned_call_from_anywhere(opened: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "settings", replace(opened.settings, open_rtb_tenant=""))
    assert call("POST", "/openrtb2/auction", origin=PAGE)["statusCode"] == 401
    assert call("GET", "/openrtb2/billing", "d=x&a=y&s=z")["statusCode"] == 401
    monkeypatch.setattr(opened, "settings", replace(opened.settings, open_rtb_tenant=TENANT, open_rtb_origins=""))
    assert call("POST", "/openrtb2/auction", origin="")["statusCode"] == 401
    assert call("GET", "/openrtb2/billing", "d=x&a=y&s=z")["statusCode"] == 404  # an exchange's own way in


def test_an_ad_leads_through_here_only_where_browsers_get_in(opened: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def href(tenant: str) -> str:
        monkeypatch.setattr(opened, "settings", replace(opened.settings, open_rtb_tenant=tenant, open_rtb_origins=""))
        answer = call("POST", "/openrtb2/auction", authorizer=jwt(tenant=TENANT))
        return link(json.loads(answer["body"])["seatbid"][0]["bid"][0]["adm"])

    assert href(TENANT).startswith("https://ads.example/openrtb2/visit?")
    assert href("") == href("acme") == "https://example.com/p"


# The template ---------------------------------------------------------------------------------------------------------


def open_routes(**given: str) -> set[str]:
    routes = made("AWS::ApiGatewayV2::Route", stack(**given)).values()
    assert all(("AuthorizerId" in one) == (one["AuthorizationType"] == "JWT") for one in routes)
    return {one["RouteKey"] for one in routes if one["AuthorizationType"] == "NONE"}


def test_parameters_open_these_routes_alone() -> None:
    kinds = ("win", "billing", "loss", "click")
    notices = {f"{method} /openrtb2/{kind}" for method in ("GET", "POST") for kind in kinds} | {"GET /openrtb2/visit"}
    jwt_given = {"JwtIssuer": "https://id.example.com", "JwtAudience": "ads"}
    for more in ({}, jwt_given):
        assert open_routes(**more) == set()
        assert open_routes(**more, OpenRtbTenant="demo") == notices
        assert open_routes(**more, **OPEN) == notices | {"POST /openrtb2/auction"}


def test_an_open_auction_is_throttled_and_shared_with_its_pages() -> None:
    def settings(**given: str) -> Any:
        return made("AWS::ApiGatewayV2::Stage", stack(**given))["ApiStage"].get("RouteSettings")

    assert settings() is None and settings(OpenRtbTenant="demo") is None
    limits = settings(**OPEN, OpenRtbRate="7")["POST /openrtb2/auction"]
    assert {name: int(value) for name, value in limits.items()} == {
        "ThrottlingBurstLimit": 7,
        "ThrottlingRateLimit": 7,
    }
    assert "CorsConfiguration" not in made("AWS::ApiGatewayV2::Api", stack(**OPEN))["Api"]  # the function says it
    both = made("AWS::ApiGatewayV2::Api", stack(**OPEN, CorsOrigin="https://shop.example"))["Api"]["CorsConfiguration"]
    assert both["AllowOrigins"] == ["https://shop.example", PAGE, "https://other.example"]
    assert both["AllowCredentials"] is True


def test_origins_are_exact_and_somebodys() -> None:
    whole = stack(**OPEN)
    for given, problem in (
        ({"OpenRtbOrigins": PAGE}, "OpenRtbOrigins need OpenRtbTenant"),
        (OPEN | {"OpenRtbOrigins": "*"}, "OpenRtbOrigins"),
        (OPEN | {"OpenRtbOrigins": "https://*.example"}, "OpenRtbOrigins"),
        (OPEN | {"OpenRtbOrigins": f"{PAGE}/"}, "OpenRtbOrigins"),
        (OPEN | {"OpenRtbOrigins": "http://news.example"}, "OpenRtbOrigins"),
        (OPEN | {"OpenRtbOrigins": f"{PAGE}, https://other.example"}, "OpenRtbOrigins"),
        (OPEN | {"OpenRtbTenant": "de/mo"}, "OpenRtbTenant"),
        (OPEN | {"OpenRtbCurrency": "usd"}, "OpenRtbCurrency"),
    ):
        found = replace(whole, given=given).refused()
        assert len(found) == 1 and found[0].startswith(problem), (given, found)
