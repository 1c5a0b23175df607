"""The console on this machine: its files, and what the page needs beside the public API.

Everything lies under ``/console/`` and outside the API's frame (no quota, no body limit of a request), for a caller on
this machine alone:

    GET /console/people.json            the sample's people, to have somebody to begin with
    GET /console/ads.json               the catalogue in short
    GET /console/campaigns.json         what each ad has spent of its day's budget, and what was counted of it
    GET /console/variants/{ad_id}       the variant bank of an ad, with counts and chances
    GET /console/ahead/{user_id}        profile and answer as they will be some ``seconds`` from now; nothing is kept
    PUT /console/uploads/{kind}/{name}  puts the body into the bucket, as an upload to S3 is
    GET /console/uploads/{kind}/{name}  what became of it, with the first rejected lines

A `PUT` of another site's page fails at its preflight, since nothing here allows another origin.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.requests import Request
from fastapi.responses import RedirectResponse, Response
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.profile.handler import profile_body
from functions.recommend.handler import decision_body, twin_body
from infra.local import resources, sample
from infra.local.foresight import ahead
from shared.bandit import arms, chances, posterior
from shared.domain import CatalogueAd
from shared.eligibility import Context
from shared.entry import JSON
from shared.errors import AdTailorError, NotFound
from shared.ingest import rejected_key
from shared.pacing import allowance
from shared.stores.copies import text_key
from shared.wiring import System

FOLDER = Path(__file__).resolve().parents[1] / "console"
KINDS = ("events", "ads")
SHOWN_REJECTIONS = 200
USUAL_RATE = 0.01  # click rate of an ad that nothing is known of
MOST_AHEAD = 400 * 86400
MOST_ADS = 20
_LONGEST_NAME = 200
_IN_MEMORY = 8_000_000
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-cache",
}


def with_console(api: ASGIApp, system: System, endpoint_url: str, *, with_sample: bool) -> ASGIApp:
    """The API, and beside it the console; ``/`` leads there. endpoint_url: of the local AWS services."""
    console = _Headers(_app(Extras(system, endpoint_url, with_sample)))

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        here = scope["type"] == "http" and (path in ("/", "/console") or path.startswith("/console/"))
        await (console if here else api)(scope, receive, send)

    return both


def _app(extras: Extras) -> Starlette:
    async def index(_: Request) -> Response:
        return RedirectResponse("/console/")

    routes = [
        Route("/", index),
        Route("/console", index),
        Route("/console/people.json", extras.people),
        Route("/console/ads.json", extras.ads),
        Route("/console/campaigns.json", extras.campaigns),
        Route("/console/variants/{ad_id:path}", extras.variants),
        Route("/console/ahead/{user_id:path}", extras.ahead),
        Route("/console/uploads/{kind}/{name}", extras.put_upload, methods=["PUT"]),
        Route("/console/uploads/{kind}/{name}", extras.get_upload, methods=["GET"]),
        Mount("/console", StaticFiles(directory=FOLDER, html=True)),
    ]
    return Starlette(routes=routes, exception_handlers={AdTailorError: _problem, HTTPException: _refused})


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, AdTailorError):
        raise error
    return JSON(error.problem(), status_code=error.status)


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
    return JSON(body, status_code=error.status_code)


class _Headers:
    """Adds what keeps a page that shows other people's text from running any of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in _HEADERS.items() if h[0] not in names)]
            await send(message)

        await self._app(scope, receive, sending)


class Extras:
    """The routes beside the public API. They read; only an upload writes, and into the bucket alone."""

    def __init__(self, system: System, endpoint_url: str, with_sample: bool) -> None:
        self._system = system
        self._endpoint_url = endpoint_url
        self._tenant = system.settings.tenant
        self._with_sample = with_sample

    async def people(self, _: Request) -> Response:
        """``[{"user_id", "about", "language", "domains"}]``; empty without the sample."""
        found = sample.people() if self._with_sample else []
        names = ("user_id", "about", "language", "domains")
        return JSON([{name: one.get(name) for name in names} for one in found])

    async def ads(self, _: Request) -> Response:
        return JSON(await run_in_threadpool(self._ads))

    def _ads(self) -> list[dict[str, Any]]:
        """Every ad in short, by id."""
        found = [
            {
                "ad_id": one.ad.ad_id,
                "title": one.ad.title,
                "language": one.ad.language,
                "domain": one.ad.domain,
                "campaign_id": one.ad.campaign_id,
                "active": one.active,
                "findings": len(one.findings),
                "category": _category(one),
            }
            for one in self._system.stores.catalogue.iter_ads(self._tenant)
        ]
        return sorted(found, key=lambda one: str(one["ad_id"]))

    async def campaigns(self, _: Request) -> Response:
        return JSON(await run_in_threadpool(self._campaigns))

    def _campaigns(self) -> dict[str, Any]:
        """Money is in the advertiser's currency; `spent` is charged plus reserved today (UTC), `allowed` what pacing
        lets the ad have spent by now; both null without a daily budget. Counts are since the beginning."""
        now, stores = self._system.clock(), self._system.stores
        ads = list(stores.catalogue.iter_ads(self._tenant))
        counts = stores.delivery.stats(self._tenant)
        paced = [one.ad.ad_id for one in ads if one.ad.daily_budget is not None]
        spent = stores.delivery.spent(self._tenant, paced, now)
        rows = []
        for one in ads:
            ad = one.ad
            row: dict[str, Any] = {
                "ad_id": ad.ad_id,
                "title": ad.title,
                "language": ad.language,
                "campaign_id": ad.campaign_id,
                "active": one.active,
                "inactive_reason": one.inactive_reason,
                "bid_cpm": ad.bid_cpm,
                "daily_budget": ad.daily_budget,
                "spent": spent.get(ad.ad_id),
                "allowed": None,
                "cap": {"count": ad.frequency_cap.count, "hours": ad.frequency_cap.hours} if ad.frequency_cap else None,
            }
            if ad.daily_budget is not None:
                row["allowed"] = allowance(ad.daily_budget, now, start=ad.start, end=ad.end)
            zeros = dict.fromkeys(("impressions", "clicks", "conversions", "dismissals"), 0)
            rows.append(row | zeros | counts.get(ad.ad_id, {}))
        return {"at": now, "ads": rows}

    async def variants(self, request: Request) -> Response:
        return JSON(await run_in_threadpool(self._variants, request.path_params["ad_id"]))

    def _variants(self, ad_id: str) -> dict[str, Any]:
        """The ad's banked texts by segment and language. `impressions` and `clicks` count less the older they are;
        `chance`: how often the text is shown when the ad is, by these counts alone (a click model may move it)."""
        now, stores = self._system.clock(), self._system.stores
        if stores.catalogue.get_ad(self._tenant, ad_id) is None:
            raise NotFound("no such ad", field="ad_id")
        rungs = []
        for segment, language in stores.copies.bank_places(self._tenant, ad_id):
            copies = stores.copies.bank_get(self._tenant, ad_id, segment, language)
            if not copies:
                continue
            keys = [text_key(copy.text) for copy in copies]
            counted = stores.delivery.variant_stats(self._tenant, [(ad_id, key) for key in keys], now)
            counts = [counted[ad_id, key] for key in keys]
            approved = [copy.provenance.get("human_review") == "approved" for copy in copies]
            # Where somebody has looked at them, what was approved is what competes.
            competing = [place for place, yes in enumerate(approved) if yes or not any(approved)]
            made = arms([counts[place] for place in competing], [1.0] * len(competing), USUAL_RATE)
            numbers = np.array([(arm.impressions, arm.clicks, arm.prior, arm.strength) for arm in made], np.float64).T
            share = dict(zip(competing, chances(*posterior(*numbers)).tolist(), strict=True))
            rungs.append(
                {
                    "segment": segment,
                    "language": language,
                    "copies": [
                        {
                            "text": copy.text,
                            "served_by": copy.served_by,
                            "label": copy.label,
                            "review": copy.provenance.get("human_review"),
                            "claims": [
                                {"span": list(c.span), "text": c.text, "kind": c.kind, "support": c.support}
                                for c in copy.claims
                            ],
                            "impressions": round(counts[place][0], 2),
                            "clicks": round(counts[place][1], 2),
                            "chance": round(share.get(place, 0.0), 4),
                        }
                        for place, copy in enumerate(copies)
                    ],
                }
            )
        return {"ad_id": ad_id, "rungs": rungs}

    async def ahead(self, request: Request) -> Response:
        asked = request.query_params
        try:
            seconds, n = float(asked.get("seconds", "0")), int(asked.get("n", "3"))
        except ValueError:
            seconds, n = -1.0, 0
        domain, language = asked.get("domain") or None, asked.get("language") or None
        if not (0 <= seconds <= MOST_AHEAD and 1 <= n <= MOST_ADS):
            raise HTTPException(422, f"seconds: 0 to {MOST_AHEAD}, n: 1 to {MOST_ADS}")
        context = Context(domain=domain, language=language)
        return JSON(await run_in_threadpool(self._ahead, request.path_params["user_id"], seconds, n, context))

    def _ahead(self, user_id: str, seconds: float, n: int, context: Context) -> dict[str, Any]:
        """An answer with its twin, and the ``profile`` that it rests on (null of somebody unknown)."""
        later = ahead(self._system, seconds)
        found = later.recommending.compare(self._tenant, user_id, n=n, context=context)
        try:
            profile = profile_body(*later.profiling.profile(self._tenant, user_id))
        except NotFound:
            profile = None
        return decision_body(found.decision) | {"twin": twin_body(found), "profile": profile}

    async def put_upload(self, request: Request) -> Response:
        """Puts the body into the bucket and answers its key: 202 ``{"key"}``."""
        key = self._key(request)
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            async for piece in request.stream():
                await run_in_threadpool(body.write, piece)
            if body.tell() == 0:
                raise HTTPException(422, "The file is empty")
            body.seek(0)
            s3 = resources.client("s3", self._endpoint_url)
            await run_in_threadpool(s3.upload_fileobj, body, self._system.settings.bucket_name, key)
        return JSON({"key": key}, status_code=202)

    async def get_upload(self, request: Request) -> Response:
        key = self._key(request)
        return JSON(await run_in_threadpool(self._report, key))

    def _report(self, key: str) -> dict[str, Any]:
        """``{"key", "done": false}`` until it is taken in; then with counts and the first rejected lines."""
        row = self._system.stores.catalogue.upload(self._tenant, key)
        if row is None:
            return {"key": key, "done": False}
        lines = []
        problem = row.get("problem")
        if row["rejected"] or problem:
            try:
                body = self._system.stores.objects.get(rejected_key(key))
            except NotFound:
                body = b""
            lines = [json.loads(line) for line in body.splitlines()[:SHOWN_REJECTIONS] if line.strip()]
        counts = {name: row[name] for name in ("accepted", "duplicates", "rejected")}
        return {"key": key, "done": True, **counts, "problem": problem, "lines": lines}

    def _key(self, request: Request) -> str:
        kind, name = request.path_params["kind"], request.path_params["name"]
        if kind not in KINDS:
            raise HTTPException(404, f"A folder is one of {', '.join(KINDS)}")
        if not name or len(name) > _LONGEST_NAME or name.startswith(".") or not name.isprintable():
            raise HTTPException(422, "This file name cannot be used")
        return f"{kind}/{self._tenant}/{name}"


def _category(ad: CatalogueAd) -> dict[str, Any] | None:
    label = ad.category.labels[0] if ad.category.labels else None
    return {"id": label.id, "name": label.name} if label else None
