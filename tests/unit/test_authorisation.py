"""Who may ask for what: every route of every function without a caller, with the wrong one, and with too few scopes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from fastapi.routing import APIRoute

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.entry import tenant_of
from shared.errors import Forbidden
from shared.scopes import PEOPLE, READ, SCOPES, SERVE, WRITE, authorise, granted, scopes_of
from shared.wiring import System
from tests import cloudformation
from tests.conftest import Aws
from tests.data import ROOT
from tests.fakes.generation import PHONE
from tests.unit.test_api import event

pytestmark = pytest.mark.slow

FRONTS = {"profile": profile, "classify": classify, "generate": generate, "recommend": recommend}
OPEN = {"/healthz"}  # says that the function is up, and to API Gateway's callers alone
# What FastAPI brings along: no route of the template leads there, and they hold no more than the published contract.
DOCUMENTS = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
BODIES: dict[str, Any] = {
    "POST /v1/events": {"events": [event()]},
    "PATCH /v1/users/{user_id}/interests": {"disable": []},
    "PUT /v1/users/{user_id}/consent": {"personalisation": False, "source": "x", "at": "2026-11-20T10:00:00Z"},
    "PUT /v1/users/{user_id}/identities": {"link": [{"id": "bob"}]},
    "POST /v1/uploads": {"kind": "events", "name": "a.csv"},
    "POST /v1/classify": {"texts": ["a phone"]},
    "PUT /v1/ads": {"ads": [PHONE]},
    "POST /v1/copy": {"ad": {"title": "A phone"}},
    "POST /v1/copy/reviews": {"reviews": [{"ad_id": "a", "text": "x", "state": "approved"}]},
    "POST /v1/recommendations": {"user_id": "ann"},
    "POST /openrtb2/auction": {"id": "1", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}]},
    "POST /v1/feedback": {
        "feedback": [{"decision_id": "d", "ad_id": "a", "type": "click", "timestamp": "2026-11-20T10:00:00Z"}]
    },
}


def routes() -> Iterator[tuple[str, str, str]]:
    """(function, method, path) of all that the four functions serve."""
    for name, front in FRONTS.items():
        for route in front.router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                yield name, method, route.path_format


ROUTES = sorted(routes())
GUARDED = [one for one in ROUTES if one[2] not in OPEN]


def call(name: str, method: str, path: str, authorizer: Any = None, **headers: str) -> dict[str, Any]:
    """A function's answer to a Lambda event as an HTTP API sends it, with the authorizer's context."""
    concrete = (
        path.replace("{user_id}", "ann")
        .replace("{job_id}", "0" * 32)
        .replace("{ad_id}", "p1")
        .replace("{kind}", "events")
        .replace("{", "")
        .replace("}", "")
    )
    body = BODIES.get(f"{method} {path}")
    context: dict[str, Any] = {"http": {"method": method, "path": concrete, "sourceIp": "1.1.1.1"}, "stage": "$default"}
    if authorizer is not None:
        context["authorizer"] = authorizer
    answer: dict[str, Any] = FRONTS[name].lambda_handler(
        {
            "version": "2.0",
            "rawPath": concrete,
            "rawQueryString": "tenant=demo",
            "headers": {"content-type": "application/json", "x-tenant": "demo", "authorization": "Bearer demo"}
            | headers,
            "requestContext": context,
            "body": json.dumps(body) if body is not None else None,
            "isBase64Encoded": False,
        },
        None,
    )
    return answer


@pytest.fixture
def deployed(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setattr(built, "settings", replace(built.settings, stage="prod"))
    return built


def rows(aws: Aws) -> int:
    return int(aws.dynamodb.scan(TableName=aws.table, Select="COUNT")["Count"])


def jwt(**claims: Any) -> dict[str, Any]:
    return {"jwt": {"claims": claims, "scopes": None}}


# Without a caller, or with a wrong one --------------------------------------------------------------------------------

NOBODY: dict[str, Any] = {
    "none": None,
    "empty": {},
    "empty-jwt": {"jwt": {}},
    "empty-claims": {"jwt": {"claims": {}}},
    "null": {"jwt": None, "iam": None},
    "empty-iam": {"iam": {}},
    "lambda": {"lambda": {"tenant": "demo"}},
    "flat": {"tenant": "demo", "claims": {"tenant": "demo"}},
    "principal": {"principalId": "demo"},
}
WRONG: dict[str, Any] = {
    "no-tenant": jwt(sub="x"),
    "empty-tenant": jwt(tenant=""),
    "path": jwt(tenant="../demo"),
    "slash": jwt(tenant="demo/x"),
    "hash": jwt(tenant="demo#x"),
    "blank": jwt(tenant=" demo"),
    "line": jwt(tenant="demo\n"),
    "nul": jwt(tenant="demo\x00"),
    "long": jwt(tenant="d" * 65),
    "other-script": jwt(tenant="dеmо"),
    "list": jwt(tenant=["demo"]),
    "list-as-text": jwt(tenant="[demo]"),
    "two": jwt(tenant="demo,acme"),
    "object": jwt(tenant={"name": "demo"}),
    "number": jwt(tenant=5),
}  # fmt: skip


def test_without_a_caller_nothing_is_answered_or_written(deployed: System, aws: Aws) -> None:
    for (name, method, path), (kind, authorizer) in product(GUARDED, NOBODY.items()):
        for headers in ({}, {"idempotency-key": kind}):
            answer = call(name, method, path, authorizer, **headers)
            assert answer["statusCode"] == 401, (path, kind, answer)
            problem = json.loads(answer["body"])
            assert (problem["status"], problem["title"]) == (401, "Not authenticated")
    assert rows(aws) == 0


def test_a_caller_of_no_tenant_is_refused(deployed: System, aws: Aws) -> None:
    for (name, method, path), (kind, authorizer) in product(GUARDED, WRONG.items()):
        for headers in ({}, {"idempotency-key": kind}):
            answer = call(name, method, path, authorizer, **headers)
            assert answer["statusCode"] == 403, (path, kind, answer)
            assert "demo" not in json.loads(answer["body"])["detail"]
    assert rows(aws) == 0


def test_a_caller_of_a_tenant_gets_past_the_door(deployed: System) -> None:
    for route in GUARDED:
        for authorizer in (jwt(tenant="acme"), jwt(tenant="acme", scope=" ".join(SCOPES))):
            assert call(*route, authorizer)["statusCode"] not in (401, 403), route


def test_every_route_asks_for_the_tenant(deployed: System) -> None:
    """So that the table of scopes and the rule of tenants hold for a route that is written tomorrow."""

    def asks(dependant: Any) -> bool:
        return dependant.call is tenant_of or any(map(asks, dependant.dependencies))

    for front in FRONTS.values():
        served = [route for route in front.app.routes if isinstance(route, APIRoute)] or list(front.router.routes)
        for route in served:
            assert isinstance(route, APIRoute)
            assert asks(route.dependant) or route.path in OPEN, route.path
        others = {getattr(route, "path", None) for route in front.app.routes if not isinstance(route, APIRoute)}
        assert {path for path in others if path is not None} <= DOCUMENTS


# Scopes ---------------------------------------------------------------------------------------------------------------


def test_a_token_with_scopes_needs_the_one_of_the_route(deployed: System, aws: Aws) -> None:
    allowed = []
    for route in GUARDED:
        _, method, path = route
        enough = scopes_of(method, path.replace("{kind}", "events").replace("{", "").replace("}", ""))
        assert enough and set(enough) <= set(SCOPES), "a new route needs a rule in shared/scopes.py"
        allowed += [(route, one) for one in enough]
        others = " ".join(one for one in SCOPES if one not in enough)
        for claims in (
            {"scope": others},
            {"scp": f"[{others}]"},
            {"permissions": others.split()},
            {"scope": ""},
            {"scope": "openid profile email"},
            {"scope": " ".join(f"{needed}s x{needed} {needed.upper()}" for needed in enough)},
        ):
            for headers in ({}, {"idempotency-key": "k"}):
                answer = call(*route, jwt(tenant="acme", **claims), **headers)
                assert answer["statusCode"] == 403, (route, claims, answer)
                assert f"needs the scope {' or '.join(enough)};" in json.loads(answer["body"])["detail"]
    assert rows(aws) == 0
    for route, needed in allowed:
        assert call(*route, jwt(tenant="acme", scope=f"openid {needed}"))["statusCode"] not in (401, 403), route


def test_copy_for_a_person_needs_a_scope_that_deals_with_people(deployed: System) -> None:
    asked = dict(BODIES)
    try:
        BODIES["POST /v1/copy"] = {"ad": {"title": "A phone"}, "user_id": "ann"}
        for scope, may in (
            (WRITE, False),
            (f"{WRITE} {READ}", False),
            (f"{WRITE} {SERVE}", True),
            (f"{WRITE} {PEOPLE}", True),
        ):
            for headers in ({}, {"idempotency-key": "same"}):  # what another token was answered is not told either
                answer = call("generate", "POST", "/v1/copy", jwt(tenant="acme", scope=scope), **headers)
                assert (answer["statusCode"] == 200) is may, (scope, answer)
                if not may:
                    assert f"{PEOPLE} or {SERVE}; the token has: " in json.loads(answer["body"])["detail"]
        BODIES["POST /v1/copy"] |= {"user_id": "ann"}
        again = call("generate", "POST", "/v1/copy", jwt(tenant="acme", scope=WRITE), **{"idempotency-key": "same"})
        assert again["statusCode"] == 403
        assert call("generate", "POST", "/v1/copy", jwt(tenant="acme"))["statusCode"] == 200
    finally:
        BODIES.update(asked)


def test_the_claim_of_the_tenant_is_the_deployments_choice(deployed: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployed, "settings", replace(deployed.settings, tenant_claim="custom:tenant"))
    route = ("classify", "GET", "/v1/ads/{ad_id}")
    assert call(*route, jwt(**{"custom:tenant": "acme"}))["statusCode"] == 404
    answer = call(*route, jwt(tenant="acme"))
    assert answer["statusCode"] == 403 and "'custom:tenant'" in json.loads(answer["body"])["detail"]


def test_who_only_shows_ads_cannot_see_or_erase_anybody() -> None:
    page = {"scope": SERVE}
    for method, path in (("POST", "/v1/recommendations"), ("POST", "/v1/feedback"), ("POST", "/v1/events")):
        authorise(page, method, path)
    for method, path in (("POST", "/openrtb2/auction"), ("GET", "/openrtb2/win"), ("GET", "/openrtb2/billing")):
        authorise(page, method, path)
    for method, path in (("POST", "/openrtb2/loss"), ("POST", "/openrtb2/click"), ("GET", "/openrtb2/visit")):
        authorise(page, method, path)
    for method, path in (
        ("DELETE", "/v1/users/ann"),
        ("GET", "/v1/users/ann/export"),
        ("GET", "/v1/users/ann/ahead"),
        ("POST", "/v1/uploads"),
        ("GET", "/v1/uploads/events/a.csv"),
        ("GET", "/v1/campaigns"),
        ("GET", "/v1/ads"),
        ("GET", "/v1/ads/a/variants"),
        ("GET", "/v1/users/a/b/../recommendations/profile"),
        ("PUT", "/v1/users/ann/consent"),
        ("GET", "/v1/erasures/x"),
        ("PUT", "/v1/ads"),
        ("GET", "/v1/ads/a"),
        ("POST", "/v1/copy"),
        ("GET", "/v1/recommendations"),
        ("GET", "/openrtb2/auction"),
        ("POST", "/openrtb2/visit"),
        ("PUT", "/openrtb2/billing"),
        ("GET", "/openrtb2/winner"),
        ("POST", "/v1/recommendations/"),
        ("POST", "/v1/recommendations\n"),
        ("DELETE", "/v1/events"),
        ("POST", "/V1/events"),
        ("POST", "/v1/tomorrow"),
    ):
        with pytest.raises(Forbidden):
            authorise(page, method, path)


def test_scopes_come_as_issuers_write_them() -> None:
    assert granted({"sub": "x"}) is None and granted({}) is None
    for claims in (
        {"scope": f"{READ} {WRITE}"},
        {"scp": [READ, WRITE]},
        {"permissions": f"[{READ} {WRITE}]"},
        {"scope": f"{READ},{WRITE}"},
    ):
        assert granted(claims) == frozenset({READ, WRITE})
    empty: dict[str, Any]
    for empty in ({"scope": ""}, {"permissions": []}, {"permissions": "[]"}, {"scope": 5}):
        assert granted(empty) == frozenset()
    assert granted({"scope": PEOPLE, "permissions": f"[{READ}]"}) == frozenset({PEOPLE, READ})


# The frame ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "post", ""])
@pytest.mark.parametrize("name", FRONTS)
def test_other_methods_are_problems_and_change_nothing(deployed: System, aws: Aws, name: str, method: str) -> None:
    for path in sorted({path for front, _, path in ROUTES if front == name} - OPEN):
        answer = call(name, method, path, jwt(tenant="acme"))
        assert answer["statusCode"] == 405, (path, answer)
        if method != "HEAD":
            assert json.loads(answer["body"])["status"] == 405
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert not any(header.startswith("access-control") for header in answer["headers"])  # API Gateway's own
    assert rows(aws) == 0


@pytest.mark.parametrize("name", FRONTS)
def test_unknown_paths_are_problems_without_a_trace_of_the_code(deployed: System, name: str) -> None:
    for path in (
        "/",
        "/v1",
        "/v2/events",
        "/v1/events/",
        "/v1//events",
        "/..;/v1/events",
        "/v1/%2e%2e/x",
        "/admin",
        "/.env",
        "/v1/\x00",
        "/\r\nx",
    ):
        for authorizer in (None, jwt(tenant="acme")):
            answer = call(name, "POST", path, authorizer)
            assert answer["statusCode"] in (404, 405), (path, answer)
            assert answer["headers"]["content-type"] == "application/problem+json"
            assert "Traceback" not in answer["body"] and ".py" not in answer["body"]


def test_an_error_of_ours_shows_nothing_of_the_code(deployed: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("password=hunter2 at /var/task/shared/secret.py")

    monkeypatch.setattr(deployed.recommending, "recommend", broken)
    from fastapi.testclient import TestClient

    monkeypatch.setattr(deployed, "settings", replace(deployed.settings, stage="local"))
    with TestClient(recommend.app, raise_server_exceptions=False) as client:
        answer = client.post("/v1/recommendations", json={"user_id": "ann"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "hunter2" not in answer.text and "shared" not in answer.text


# The template ---------------------------------------------------------------------------------------------------------


def test_no_route_of_the_template_is_open_and_none_leads_past_the_table() -> None:
    template = cloudformation.load(ROOT / "template.yaml")
    of_gateway = [
        one["Properties"] for one in template["Resources"].values() if one["Type"] == "AWS::ApiGatewayV2::Route"
    ]
    assert {route["RouteKey"] for route in of_gateway} == {f"{method} {path}" for _, method, path in ROUTES}
    for route in of_gateway:
        kind = route["AuthorizationType"]
        if "/openrtb2/" in route["RouteKey"]:
            kind = kind["If"][2]  # as long as no parameter opens it (tests/unit/test_openrtb_open.py)
        assert kind == {"If": ["UseJwt", "JWT", "AWS_IAM"]}, route
        method, path = route["RouteKey"].split(" ")
        assert scopes_of(method, path.replace("{", "").replace("}", "")), route
    urls = [
        one
        for one in template["Resources"].values()
        if one["Type"] in ("AWS::Lambda::Url",) or "FunctionUrlConfig" in one.get("Properties", {})
    ]
    assert urls == []  # a second door would have no authorizer


def test_other_origins_are_let_in_by_name_alone() -> None:
    template = cloudformation.load(ROOT / "template.yaml")
    assert template["Parameters"]["CorsOrigin"]["Default"] == ""
    (api,) = [one["Properties"] for one in template["Resources"].values() if one["Type"] == "AWS::ApiGatewayV2::Api"]
    condition, cors, nothing = api["CorsConfiguration"]["If"]
    assert (condition, nothing) == ("HasCors", {"Ref": "AWS::NoValue"})
    assert cors["AllowOrigins"]["If"][0] == "OpensAuction" and cors["AllowOrigins"]["If"][2] == [{"Ref": "CorsOrigin"}]
    assert cors["AllowCredentials"] == {"If": ["OpensAuction", True, {"Ref": "AWS::NoValue"}]}
    assert "*" not in cors["AllowMethods"] and "*" not in cors["AllowHeaders"]
