"""Writes the API's contract to ``infra/openapi.json``: ``python -m infra.openapi``.

A test compares it with the code, so that no change of the API goes unseen. What a request may hold is read off the
routes; what the answers hold, errors included, comes from `infra.answers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from infra.answers import ANSWERS, schemas
from shared.idempotency import LONGEST_KEY, kept
from shared.policy.editorial import channels

CONTRACT = Path(__file__).with_name("openapi.json")
PROBLEM = "application/problem+json"

_ERRORS = {
    400: "The body is not JSON, or a value cannot be read; the problem names the field.",
    401: "Nobody is authenticated.",
    403: "The caller's token names no tenant that may do this, or consent is missing for it.",
    404: "What the request names does not exist.",
    409: "Others write the same, or the request with this key is still under way: send it again later.",
    413: "The body, a list or a text is over its limit; the problem names the limit.",
    422: "The request does not fit its schema, or its values cannot be used; the problem names the field.",
    429: "The tenant has used up one of its limits; the problem names it, and Retry-After says when it is new.",
    503: "A part that this needs is down or overloaded: send it again later.",
}
_ALWAYS = (401, 403, 422, 429, 503)
_WITH_BODY = (400, 409, 413)
_LOOKS_UP = {  # something that may not exist, or a path that no route takes (an id with a line break)
    "GET /v1/users/{user_id}/profile",
    "PATCH /v1/users/{user_id}/interests",
    "PUT /v1/users/{user_id}/consent",
    "PUT /v1/users/{user_id}/identities",
    "DELETE /v1/users/{user_id}",
    "GET /v1/users/{user_id}/export",
    "GET /v1/erasures/{erasure_id}",
    "GET /v1/users/{user_id}/ahead",
    "GET /v1/uploads/{kind}/{name}",
    "POST /v1/classify",
    "GET /v1/ads/{ad_id}",
    "GET /v1/ads/{ad_id}/variants",
    "GET /v1/heads/{name}",
    "POST /v1/copy",
    "GET /v1/copy/{job_id}",
    "POST /v1/recommendations",
    "GET /openrtb2/win",
    "GET /openrtb2/billing",
    "GET /openrtb2/loss",
    "GET /openrtb2/click",
    "GET /openrtb2/visit",
    "POST /openrtb2/win",
    "POST /openrtb2/billing",
    "POST /openrtb2/loss",
    "POST /openrtb2/click",
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}, "required": False}
}
_LOCATION = {"Location": {"description": "Where to ask for the job.", "schema": {"type": "string"}, "required": True}}
_LANDING = {"Location": {"description": "The ad's own page.", "schema": {"type": "string"}, "required": True}}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request with the same key has the first one's answer, for an hour.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
_REPLAYED = {
    "Idempotency-Replayed": {
        "description": "The answer is that of an earlier request with this key.",
        "schema": {"type": "string", "enum": ["true"]},
        "required": False,
    }
}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "POST /v1/events": {
        "events": [
            {"user_id": "ann", "event": "view", "timestamp": "2026-11-20T10:00:00Z", "item_id": "p1", "text": "a phone"}
        ]
    },
    "PUT /v1/ads": {
        "ads": [
            {
                "ad_id": "p1",
                "title": "A phone for the road",
                "landing_url": "https://example.com/p1",
                "language": "en",
                "domain": "ecommerce",
            }
        ]
    },
    "POST /openrtb2/auction": {
        "id": "80ce30c5",
        "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.03}],
        "site": {"domain": "news.example.com"},
        "tmax": 200,
    },
    "POST /v1/uploads": {"kind": "events", "name": "november.csv"},
    "POST /v1/classify": {"texts": ["商品A：最新款智能手机，限时优惠！"]},
    "POST /v1/copy": {"ad": {"title": "A phone for the road", "description": "6.7 inch screen, 256 GB"}, "n": 2},
}


def contract() -> dict[str, Any]:
    """The OpenAPI document of the four functions together."""
    from infra.local.api import build

    return build().openapi()


def describe(app: FastAPI) -> None:
    """Makes `app` publish what it answers besides what it takes."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _describe(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation with its route, such as ``POST /v1/events``."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _more(route: str) -> tuple[int, ...]:
    """Errors of a route besides: an erasure may meet others who write about the person."""
    return (409,) if route.startswith("DELETE ") else ()


def _describe(document: dict[str, Any]) -> None:
    answers, problem, definitions = schemas()
    for route, operation in operations(document):
        body = "requestBody" in operation
        once = body and kept(route.partition(" ")[2])
        statuses = [*_ALWAYS, *(_WITH_BODY if body else ()), *_more(route), *([404] if route in _LOOKS_UP else [])]
        operation["responses"] = {
            **{str(status): _answer(status, answers.get((route, status)), once=once) for status in ANSWERS[route]},
            **{str(status): _error(status, problem) for status in sorted(statuses)},
        }
        if once:
            operation.setdefault("parameters", []).append(_KEY)
        if route in _EXAMPLES:
            operation["requestBody"]["content"]["application/json"]["example"] = _EXAMPLES[route]
    named = document["components"]["schemas"]
    named["CopyCall"]["properties"]["channel"]["enum"] = sorted(channels())
    for unused in ("HTTPValidationError", "ValidationError"):
        named.pop(unused, None)
    twice = named.keys() & definitions.keys()
    if twice:
        raise ValueError(f"two schemas of one name: {', '.join(sorted(twice))}")
    named |= definitions


def _answer(status: int, schema: dict[str, Any] | None, *, once: bool) -> dict[str, Any]:
    queued, led = status == HTTPStatus.ACCEPTED, status == HTTPStatus.FOUND
    headers = (_LOCATION if queued else _LANDING if led else {}) | (_REPLAYED if once else {})
    if schema is None:
        described = "Leads on." if led else "Nothing to say."
        return {"description": described, **({"headers": headers} if headers else {})}
    return {
        "description": "Queued: ask for the job." if queued else "Successful Response",
        "content": {"application/json": {"schema": schema}},
        **({"headers": headers} if headers else {}),
    }


def _error(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": _ERRORS[status],
        "content": {PROBLEM: {"schema": schema}},
        **({"headers": _RETRY_AFTER} if status in (409, 429, 503) else {}),
    }


def render(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    CONTRACT.write_text(render(contract()), encoding="utf-8")
    print(f"wrote {CONTRACT.name}: {len(contract()['paths'])} paths")
