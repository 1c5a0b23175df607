"""Front door of choosing: which ads to show a person, and what happened to them. API and direct call."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Depends, Path, Query
from fastapi.requests import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field, WithJsonSchema

from shared.bodies import ExternalId, Moment, Switch, Whole
from shared.comparing import Compared
from shared.decision_log import export
from shared.domain import Decision, Domain, Language, RankedAd
from shared.eligibility import Context
from shared.entry import JSON, create_app, lambda_entry, plain_query, rfc3339, tenant_of
from shared.errors import BadInput, NotFound
from shared.feedback import FeedbackItem
from shared.foresight import MOST_ADS, MOST_SECONDS, ahead
from shared.openrtb.bidding import Bidding, NoBid, Pace
from shared.openrtb.bids import Trade
from shared.openrtb.fields import LONGEST_NAME
from shared.openrtb.notices import Notice, place_of
from shared.openrtb.opening import opened, shared_with
from shared.openrtb.outcomes import Outcomes
from shared.openrtb.shelf import Shelves
from shared.profile_answers import profile_body
from shared.reporting import MAX_LISTED, CampaignAd, Reporting, Rung
from shared.restore import prepare
from shared.wiring import TAXONOMIES, system

VERSION = {"x-openrtb-version": "2.6"}
EXPORT_SECONDS = 15.0  # within the function's 29; what is left then is done by the next call

router = APIRouter(tags=["recommend"])
Tenant = Annotated[str, Depends(tenant_of)]


class Place(BaseModel):
    domain: Literal["ecommerce", "social", "education", "health"] | None = None
    language: Literal["zh", "en"] | None = None
    platform: str | None = Field(default=None, max_length=80)


class Wanted(BaseModel):
    """`floor_cpm`: ads that bid less are left out. `max_per_category`: ads of one category in one answer, which may
    make it shorter. `diversity`: what full likeness to an ad already chosen costs, in nats of click probability; 0
    ranks by score alone. `personalised`: false uses nothing of what is known of the person. `minor`: the person is
    under age, and gets ads that fit the page, none that minors must not be shown; nothing is looked up or kept about
    them. `compare`: also answers what would have been shown without anything known of the person, and why it differs.
    """

    user_id: ExternalId
    n: Annotated[int, Field(ge=1, le=50), Whole] = 5
    placement: str | None = Field(default=None, max_length=80)
    context: Place = Place()
    personalised: Switch = True
    minor: Switch = False
    compare: Switch = False
    floor_cpm: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)
    max_per_category: Annotated[int, Field(ge=1, le=50), Whole] | None = None
    diversity: float | None = Field(default=None, ge=0, le=10, allow_inf_nan=False)


class Happened(BaseModel):
    decision_id: str = Field(min_length=1, max_length=64)
    ad_id: str = Field(min_length=1, max_length=200)
    type: Literal["impression", "click", "conversion", "dismiss"]
    timestamp: Moment


class Feedback(BaseModel):
    feedback: list[Happened] = Field(min_length=1, max_length=100)


@router.post("/v1/recommendations")
def recommend(body: Wanted, tenant: Tenant) -> dict[str, Any]:
    """The ads that fit this person best now, each with its copy and a reason they would understand.

    `served_by` names where the copy comes from (segment, bank, advertiser); what a model wrote carries its `label`
    (show it in the copy's language) and its `provenance`. `propensity` is the probability that this ad stood in this
    slot, `variant_propensity` that the ad had this copy (`variant`): a little of every answer explores.

    With `compare`, `twin` has the ads that `personalised: false` would have brought at this moment, drawn by the same
    numbers, and the `difference`: `same` ads in the same slot, ads of one answer alone, ads that `moved`, and for each
    of them in words why. The twin takes nothing of budgets, and no feedback is taken on it.
    """
    context = Context(
        **body.context.model_dump(),
        placement=body.placement,
        floor_cpm=body.floor_cpm,
        max_per_category=body.max_per_category,
        diversity=body.diversity,
    )
    recommending = system().recommending
    choose = recommending.compare if body.compare else recommending.recommend
    found = choose(tenant, body.user_id, n=body.n, context=context, personalised=body.personalised, minor=body.minor)
    if isinstance(found, Compared):
        return decision_body(found.decision) | {"twin": twin_body(found)}
    return decision_body(found)


@router.post("/v1/feedback")
def feedback(body: Feedback, tenant: Tenant) -> dict[str, Any]:
    """Counts impressions, clicks, conversions and dismissals; sending one again changes nothing.

    What comes before its impression counts the impression with it (`implied_impression`). `charged` is false of an
    impression that came when its reservation had lapsed and the day's budget had no room any more.
    """
    items = [FeedbackItem(h.decision_id, h.ad_id, h.type, h.timestamp) for h in body.feedback]
    return {"results": system().recommending.feedback(tenant, items), "versions": system().versions}


@router.get("/v1/users/{user_id:path}/ahead", dependencies=[Depends(plain_query)])
def look_ahead(
    user_id: Annotated[ExternalId, Path()],
    tenant: Tenant,
    seconds: Annotated[float, Query(ge=0, le=MOST_SECONDS)] = 0.0,
    n: Annotated[int, Query(ge=1, le=MOST_ADS)] = 3,
    domain: Domain | None = None,
    language: Language | None = None,
) -> dict[str, Any]:
    """What this person would be answered `seconds` from now if nothing happened until then, with its `twin`, and the
    `profile` that it would rest on (null of somebody unknown). Nothing of it is kept: no decision, no reservation."""
    context = Context(domain=domain, language=language)
    found, known = ahead(system(), tenant, user_id, seconds, n=n, context=context)
    profile = profile_body(system(), *known) if known is not None else None
    return decision_body(found.decision) | {"twin": twin_body(found), "profile": profile}


def reporting() -> Reporting:
    own = system()
    return Reporting(own.stores, clock=own.clock)


@router.get("/v1/campaigns", dependencies=[Depends(plain_query)])
def list_campaigns(
    tenant: Tenant,
    after: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
) -> dict[str, Any]:
    """What each ad has spent of its day's budget and what was counted of it, by pages in the order of the ads' ids.

    Money is in the advertiser's currency: `spent` is charged plus reserved today (UTC), `allowed` what pacing lets the
    ad have spent by now; both are null without a daily budget. Counts are since the beginning.
    """
    now, rows, onward = reporting().campaigns(tenant, after=after, limit=limit)
    bodies = [campaign_body(row) for row in rows]
    return {"at": rfc3339(now), "ads": bodies, "next": onward, "versions": system().versions}


@router.get("/v1/ads/{ad_id:path}/variants")
def get_variants(ad_id: Annotated[str, Path(min_length=1, max_length=200)], tenant: Tenant) -> dict[str, Any]:
    """The ad's banked texts by segment and language (a segment ``-`` is anyone). `impressions` and `clicks` count less
    the older they are; `chance`: how often the text is shown when the ad is, by these counts alone."""
    rungs = reporting().variants(tenant, ad_id)
    return {"ad_id": ad_id, "rungs": [rung_body(rung) for rung in rungs], "versions": system().versions}


async def arrived_at(request: Request) -> float:
    """When the request came, on the monotonic clock: to API Gateway, where it came through it. Asked for before the
    request waits for a thread."""
    context = (request.scope.get("aws.event") or {}).get("requestContext") or {}
    since = context.get("timeEpoch")
    waited = min(max(time.time() - since / 1000, 0.0), 30.0) if isinstance(since, int) else 0.0
    return time.monotonic() - waited


_NAME = {"type": "string", "pattern": "[!-~]", "maxLength": LONGEST_NAME}
Arrived = Annotated[float, Depends(arrived_at)]
BidRequest = Annotated[
    Any,
    Body(),
    WithJsonSchema(
        {
            "type": "object",
            "title": "BidRequest",
            "description": "OpenRTB 2.6, section 3.2.1. What is not known or not of its type is passed over.",
            "required": ["id", "imp"],
            "properties": {
                "id": _NAME,
                "imp": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {"id": _NAME},
                    },
                },
            },
        }
    ),
]
_shelves, _pace = Shelves(), Pace()


def bidding() -> Bidding:
    own = system()
    settings = own.settings
    trade = Trade(
        settings.open_rtb_currency,
        settings.open_rtb_seat,
        settings.open_rtb_eid_source,
        settings.tcf_vendor_id,
        # Browsers get in where the stage is open, or by the signatures of this tenant's addresses.
        tracked=None if settings.stage == "local" else frozenset({settings.open_rtb_tenant} - {""}),
        pixel=settings.open_rtb_pixel,
    )
    return Bidding(own.recommending, own.snapshots, own.stores, trade, clock=own.clock, shelves=_shelves, pace=_pace)


def outcomes() -> Outcomes:
    own = system()
    return Outcomes(own.recommending, own.stores, clock=own.clock)


def _origins() -> frozenset[str]:
    return frozenset(one.strip() for one in system().settings.open_rtb_origins.split(",") if one.strip())


@router.post("/openrtb2/auction", openapi_extra={"requestBody": {"required": True}})
def auction(request: Request, arrived: Arrived, tenant: Tenant, body: BidRequest = None) -> Response:
    """Bids on the impressions of an OpenRTB 2.6 bid request, banners and native ads, within its `tmax`: on the open
    market, and in the private deals that ads name in their `targeting`.

    No bid is a 204; for a request with `test`, an answer without bids that says why. Nothing is reserved for those.
    """
    if isinstance(body, bytes):  # Prebid.js sends JSON as text, which needs no preflight
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadInput(f"the body is not JSON: {error}", field="body") from error
    base = f"{str(request.base_url).rstrip('/')}/openrtb2"
    gpc = request.headers.get("sec-gpc", "").strip() == "1"  # Global Privacy Control, which browsers send
    found = bidding().bid(tenant, body, base, arrived=arrived, gpc=gpc)
    headers = VERSION | shared_with(request.headers.get("origin"), _origins())
    if not isinstance(found, NoBid):
        return JSON(found, headers=headers)
    if isinstance(body, dict) and body.get("test") == 1:
        told = {"id": str(body["id"]), "seatbid": [], "nbr": found.code, "ext": {"reason": found.reason}}
        return JSON(told, headers=headers)
    return Response(status_code=204, headers=headers)


class Told(BaseModel):
    """What a notice's address carries: decision, ad and signature. The exchange adds more."""

    d: str = Field(max_length=64)
    a: str = Field(max_length=200)
    s: str = Field(max_length=64)


class ToldPrice(Told):
    """`price`: per thousand, where the exchange fills one in, plain or encrypted: it is told, not relied on."""

    price: str = ""


class ToldLoss(Told):
    """`reason`: of OpenRTB 3.0's loss reason codes, where the exchange fills one in. `o`: which bid of how many, where
    one decision was bid with more than once."""

    reason: str = ""
    o: str = Field(default="", max_length=8)


@router.get("/openrtb2/win", status_code=204)
@router.post("/openrtb2/win", status_code=204)
def win(told: Annotated[ToldPrice, Query()], tenant: Tenant) -> Response:
    """The exchange says that a bid has won (`nurl`). That alone charges nothing."""
    return _noticed("win", tenant, told, price=told.price)


@router.get("/openrtb2/billing", status_code=204)
@router.post("/openrtb2/billing", status_code=204)
def billing(told: Annotated[ToldPrice, Query()], tenant: Tenant) -> Response:
    """The exchange bills a bid (`burl`), or the ad's own image is loaded: its impression counts, once."""
    return _noticed("billing", tenant, told, price=told.price)


@router.get("/openrtb2/loss", status_code=204)
@router.post("/openrtb2/loss", status_code=204)
def loss(told: Annotated[ToldLoss, Query()], tenant: Tenant) -> Response:
    """The exchange says that a bid has lost (`lurl`): what was reserved for it is free at once, or when the last of an
    impression's bids has lost."""
    return _noticed("loss", tenant, told, reason=told.reason, place=place_of(told.o))


@router.get("/openrtb2/click", status_code=204)
@router.post("/openrtb2/click", status_code=204)
def click(told: Annotated[Told, Query()], tenant: Tenant) -> Response:
    """A native ad is clicked (`link.clicktrackers`): its click counts, once."""
    return _noticed("click", tenant, told)


@router.get("/openrtb2/visit", status_code=302, response_class=RedirectResponse)
def visit(request: Request, told: Annotated[Told, Query()], tenant: Tenant) -> Response:
    """A banner is clicked: its click counts, once, and leads on to the ad's own page, never anywhere else.

    A browser that only looks ahead is led there too, and counts as nothing.
    """
    ahead = any("prefetch" in request.headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz"))
    page = outcomes().visit(Notice("visit", tenant, told.d, told.a), told.s, seen=not ahead)
    if page is None:
        raise NotFound("no such link: its address was not made here, has been changed, or its ad is gone")
    return RedirectResponse(page, status_code=302, headers={"cache-control": "no-store"})


def _noticed(
    kind: str, tenant: str, told: Told, *, reason: str = "", price: str = "", place: tuple[int, int] | None = None
) -> Response:
    if not outcomes().take(Notice(kind, tenant, told.d, told.a, place), told.s, reason=reason, price=price):
        raise NotFound("no such notice: its address was not made here, or has been changed")
    return Response(status_code=204, headers={"cache-control": "no-store"})


@router.get("/healthz", include_in_schema=False)
def healthz(request: Request) -> dict[str, Any]:
    """200 where the table and the models answer."""
    system().stores.catalogue.pointer("healthz")
    return {"status": "ok", "versions": system().versions}


def decision_body(decision: Decision) -> dict[str, Any]:
    """A decision as the API answers it."""
    return {
        "decision_id": decision.decision_id,
        "personalised": decision.personalised,
        "ads": [
            {
                "ad_id": ad.ad_id,
                "copy": ad.copy,
                "served_by": ad.copy_served_by,
                "label": ad.copy_label,
                "provenance": ad.copy_provenance,
                "score": ad.score,
                "variant": ad.variant,
                "propensity": round(ad.propensity, 6),
                "variant_propensity": round(ad.variant_propensity, 6),
                "reasons": reasons_body(ad),
            }
            for ad in decision.ads
        ],
        "versions": decision.versions,
    }


def reasons_body(ad: RankedAd) -> list[dict[str, str]]:
    return [
        {"code": r.code, "text": r.text} | ({"interest_id": r.interest_id} if r.interest_id else {}) for r in ad.reasons
    ]


def twin_body(compared: Compared) -> dict[str, Any]:
    """The twin of a decision, and how they differ."""
    found = compared.difference
    return {
        "ads": [
            {
                "ad_id": ad.ad_id,
                "copy": ad.copy,
                "served_by": ad.copy_served_by,
                "label": ad.copy_label,
                "score": ad.score,
                "reasons": reasons_body(ad),
            }
            for ad in compared.twin
        ],
        "difference": {
            "same": found.same,
            "only_personalised": list(found.only_personalised),
            "only_twin": list(found.only_twin),
            "moved": [{"ad_id": one.ad_id, "from": one.before, "to": one.after} for one in found.moved],
            "explained": [{"ad_id": one.ad_id, "code": one.code, "text": one.text} for one in found.explained],
            "text": found.text,
        },
    }


def campaign_body(row: CampaignAd) -> dict[str, Any]:
    ad, cap = row.ad.ad, row.ad.ad.frequency_cap
    return {
        "ad_id": ad.ad_id,
        "title": ad.title,
        "language": ad.language,
        "campaign_id": ad.campaign_id,
        "active": row.ad.active,
        "inactive_reason": row.ad.inactive_reason,
        "bid_cpm": ad.bid_cpm,
        "daily_budget": ad.daily_budget,
        "spent": row.spent,
        "allowed": row.allowed,
        "cap": {"count": cap.count, "hours": cap.hours} if cap else None,
    } | row.counts


def rung_body(rung: Rung) -> dict[str, Any]:
    return {
        "segment": rung.segment,
        "language": rung.language,
        "copies": [
            {
                "text": one.copy.text,
                "served_by": one.copy.served_by,
                "label": one.copy.label,
                "review": one.copy.provenance.get("human_review"),
                "claims": [
                    {"span": list(c.span), "text": c.text, "kind": c.kind, "support": c.support}
                    for c in one.copy.claims
                ],
                "impressions": round(one.impressions, 2),
                "clicks": round(one.clicks, 2),
                "chance": round(one.chance, 4),
            }
            for one in rung.variants
        ],
    }


def direct_recommend(call: dict[str, Any]) -> dict[str, Any]:
    wanted = Wanted(**{name: value for name, value in call.items() if name in Wanted.model_fields})
    return recommend(wanted, call["tenant"])


class Exporting(BaseModel):
    """`tenant`: None: all. `latest`: also what the last minutes decided, in a file that will be written again."""

    tenant: str | None = None
    latest: bool = False


def export_log(call: dict[str, Any]) -> dict[str, Any]:
    """Writes the decision log's files that are due. Called by the schedule, or by a person."""
    body = Exporting.model_validate({name: value for name, value in call.items() if name in Exporting.model_fields})
    tenants = [body.tenant] if body.tenant else []
    own = system()
    lines = export(
        own.stores,
        now=own.clock(),
        seconds=EXPORT_SECONDS,
        consent_basis=own.tenants.consent_basis,
        tenants=tenants,
        latest=body.latest,
    )
    return {"lines": lines}


app = create_app("recommend", router)


def warm() -> None:
    """Loads what choosing needs: taxonomies name interests, and their space is the catalogue's."""
    for taxonomy in TAXONOMIES:
        system().classifiers[taxonomy]


def _opened(event: dict[str, Any]) -> dict[str, Any]:
    settings = system().settings
    return opened(event, settings.open_rtb_tenant, _origins(), claim=settings.tenant_claim)


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    direct = {"recommend": direct_recommend, "export_log": export_log}
    return lambda_entry(event, context, app=app, on_direct=direct, on_request=_opened)


prepare(app, "/v1/recommendations", warm)
