"""The auction without a signature: a browser's call, and an exchange's notice, which no authorizer has seen.

Where the deployment names a tenant for them (`OPEN_RTB_TENANT`), an event that API Gateway let through without an
authorizer gets the context that one of this tenant with the scope to serve would have, on these paths alone; on every
other it is refused as ever. The auction besides only from the pages of exactly the origins that are named; a notice or
a click is let in by its signature (`shared.openrtb.notices`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shared.scopes import SERVE

AUCTION = "/openrtb2/auction"
VISIT = "/openrtb2/visit"
NOTICES = ("/openrtb2/win", "/openrtb2/billing", "/openrtb2/loss", "/openrtb2/click")


def opened(event: dict[str, Any], tenant: str, origins: Collection[str], *, claim: str = "tenant") -> dict[str, Any]:
    """The event with an authorizer's context, where this one may do without. claim: that names a token's tenant."""
    context = event.get("requestContext")
    if not tenant or not isinstance(context, dict) or context.get("authorizer"):
        return event
    http = context.get("http") or {}
    method, path = http.get("method"), http.get("path")
    notice = (method in ("GET", "POST") and path in NOTICES) or (method == "GET" and path == VISIT)
    if not notice and not (method == "POST" and path == AUCTION and origin_of(event.get("headers") or {}) in origins):
        return event
    claims = {claim: tenant, "scope": SERVE}
    return event | {"requestContext": context | {"authorizer": {"jwt": {"claims": claims}}}}


def origin_of(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == "origin"), None)


def shared_with(origin: str | None, origins: Collection[str]) -> dict[str, str]:
    """Headers (Fetch standard, "CORS protocol") that let a page of one of these origins read the answer; none for any
    other. With credentials, since Prebid.js sends its request with them."""
    if origin is None or origin not in origins:
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "vary": "origin",
    }
