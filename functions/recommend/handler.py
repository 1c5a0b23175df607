"""Front door of choosing: which ads to show a person, and what happened to them. API and direct call."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from fastapi.requests import Request
from pydantic import BaseModel, Field

from shared.bodies import ExternalId, Moment, Switch, Whole
from shared.comparing import Compared
from shared.decision_log import export
from shared.domain import Decision, RankedAd
from shared.eligibility import Context
from shared.entry import create_app, lambda_entry, tenant_of
from shared.feedback import FeedbackItem
from shared.restore import prepare
from shared.wiring import TAXONOMIES, system

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
    lines = export(system().stores, now=system().clock(), seconds=EXPORT_SECONDS, tenants=tenants, latest=body.latest)
    return {"lines": lines}


app = create_app("recommend", router)


def warm() -> None:
    """Loads what choosing needs: taxonomies name interests, and their space is the catalogue's."""
    for taxonomy in TAXONOMIES:
        system().classifiers[taxonomy]


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(event, context, app=app, on_direct={"recommend": direct_recommend, "export_log": export_log})


prepare(app, "/v1/recommendations", warm)
