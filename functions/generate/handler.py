"""Front door of generation: API, queue of copy jobs, notifications of the asynchronous endpoint, direct call."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.bodies import ExternalId, Switch, Whole
from shared.domain import Ad, Rejection
from shared.entry import Remaining, create_app, lambda_entry, may_name_people, tenant_of
from shared.errors import Unprocessable
from shared.generating import (
    MAX_AD_IDS,
    MAX_COPIES,
    MAX_REVIEWS,
    MAX_SEGMENTS,
    MAX_TEXT,
    CopyRequest,
    CopyResult,
    PassRequest,
    Review,
    Tone,
)
from shared.generating import warm as warm_gate
from shared.preprocess import parse_ad
from shared.restore import prepare
from shared.wiring import system

router = APIRouter(prefix="/v1", tags=["generate"])
Tenant = Annotated[str, Depends(tenant_of)]


class Filter(BaseModel):
    """Which ads of the catalogue a pass writes for: those that fit all that is given.

    `missing_only`: leave out what the bank has enough copy for.
    """

    model_config = ConfigDict(extra="forbid")

    ad_ids: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=MAX_AD_IDS
    )
    domain: Literal["ecommerce", "social", "education"] | None = None
    language: Literal["zh", "en"] | None = None
    campaign_id: str | None = Field(default=None, min_length=1, max_length=200)
    missing_only: Switch = True


class CopyCall(BaseModel):
    """Copy for an ad of the catalogue (`ad_id`), for one that is only asked about (`ad`: at least a title), or for many
    of the catalogue (`filter`, which makes a job).

    It is for one person (`user_id`, for which a token with scopes needs ``adtailor/people`` or ``adtailor/serve``
    besides), a segment, or anyone. `async` queues it; so do more than 8 copies. What is for a
    segment or for anyone comes from the bank where it holds enough; `fresh` asks the model anyway. `segment` and
    `segments` are taxonomy categories (``adproduct:1118``) that enough people are interested in; a single one with too
    few is served as anyone, and the answer says so. `minor`: the person is under age, so that the copy is for anyone,
    and nothing is looked up of them. `adapter` is one of the brand voices that the endpoint serves.
    `language`: the ad's own where it is not given; Chinese and English can be written.
    """

    ad_id: str | None = Field(default=None, min_length=1, max_length=200)
    ad: dict[str, Any] | None = None
    filter: Filter | None = None
    user_id: ExternalId | None = None
    minor: Switch = False
    segment: str | None = Field(default=None, min_length=1, max_length=100)
    segments: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list, max_length=MAX_SEGMENTS
    )
    channel: str = Field(default="feed", max_length=40)
    language: Literal["zh", "en"] | None = None
    tone: Tone | None = None
    adapter: str | None = Field(default=None, min_length=1, max_length=64)
    n: Annotated[int, Field(ge=1, le=MAX_COPIES), Whole] = 3
    fresh: Switch = False
    queued: Switch = Field(default=False, alias="async")

    @model_validator(mode="after")
    def _one_of_each(self) -> CopyCall:
        if [self.ad_id, self.ad, self.filter].count(None) != 2:
            raise ValueError("give ad_id, ad or filter: one of them")
        if self.user_id is not None and self.segment is not None:
            raise ValueError("give user_id or segment, not both")
        if self.filter is not None and (self.user_id is not None or self.segment is not None):
            raise ValueError("a filter goes with segments, not with user_id or segment")
        if self.filter is None and self.segments:
            raise ValueError("segments go with a filter; for one ad give segment")
        return self


class ReviewItem(BaseModel):
    """A person's word on a text. `language`: the ad's own where it is not given."""

    ad_id: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=MAX_TEXT)
    state: Literal["approved", "rejected"]
    language: Literal["zh", "en"] | None = None
    segment: str | None = Field(default=None, min_length=1, max_length=100)
    reviewer: str | None = Field(default=None, min_length=1, max_length=100)


class ReviewCall(BaseModel):
    """At most 100 reviews."""

    reviews: list[ReviewItem] = Field(min_length=1, max_length=MAX_REVIEWS)


@router.post("/copy", responses={202: {"description": "Queued: ask for the job."}})
def write(body: CopyCall, tenant: Tenant, request: Request, response: Response) -> dict[str, Any]:
    """Gated copies and what the gate refused; or the id of the job that writes them, for a `filter` with what it is
    expected to cost.

    The best come first (`ranked_by`): by `predicted_clicks` where a click model of texts has been trained for the
    caller, else by `match`, how well they match ad and interests.

    Every copy names the rung that it comes from (`served_by`: llm, bank, segment, template, advertiser; `none` where
    nothing may be shown), what each of its claims rests on, its label where a model wrote it (show it in the copy's
    language), and its provenance. A slow or dead model is no error: a lower rung answers, and `notice` says why. Facts
    of an ad are data: an instruction hidden in a description does not reach the model, and long descriptions are read
    to a limit.
    """
    if body.user_id is not None:
        may_name_people(request)
    context = request.scope.get("aws.context")
    remaining = context.get_remaining_time_in_millis() / 1000 if context is not None else None
    answer = ask(tenant, body, remaining)
    if isinstance(answer, CopyResult):
        return answer.body()
    response.status_code = 202
    response.headers["Location"] = f"/v1/copy/{answer}"
    return queued(tenant, body, answer)


@router.post("/copy/reviews")
def review(body: ReviewCall, tenant: Tenant) -> dict[str, Any]:
    """What became of each review.

    An approved text must pass the gate, becomes an example for later prompts, and is marked in the bank. A rejected one
    leaves the bank and is never shown for that ad again, whoever writes it.
    """
    reviews = [Review(**item.model_dump()) for item in body.reviews]
    return {"results": system().generating.review(tenant, reviews), "versions": system().generating.versions()}


@router.get("/copy/{job_id}")
def job(job_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")], tenant: Tenant) -> dict[str, Any]:
    """A job's state, progress, and its result once it is done; of a pass over the catalogue also its counts and what it
    costs (an estimate).

    `counts`: of `total` ads (times segments) `done` and `failed`; `skipped` had enough copy before; for `lower_rung` of
    those that are done the model wrote nothing that may be shown, or was down for long.
    """
    view = system().generating.job(tenant, job_id)
    answer = {
        "job_id": view.job_id,
        "state": view.state,
        "progress": view.progress,
        "result": view.result,
        "error": view.error,
        "versions": system().generating.versions(view.adapter),
    }
    if view.counts is not None:
        answer |= {"counts": view.counts, "cost": view.cost}
    return answer


def ask(tenant: str, call: CopyCall, remaining: float | None = None) -> CopyResult | str:
    """The answer to the call, or the id of its job."""
    generating = system().generating
    if call.filter is not None:
        return generating.start_pass(tenant, pass_of(call, call.filter))
    return generating.copy(tenant, request_of(call), remaining=remaining)


def queued(tenant: str, call: CopyCall, job_id: str) -> dict[str, Any]:
    """The answer to a call that made a job."""
    versions = system().generating.versions(call.adapter)
    answer: dict[str, Any] = {"job_id": job_id, "state": "queued", "versions": versions}
    if call.filter is not None:
        answer["cost"] = system().generating.job(tenant, job_id).cost
    return answer


def pass_of(call: CopyCall, wanted: Filter) -> PassRequest:
    return PassRequest(
        ad_ids=tuple(wanted.ad_ids) if wanted.ad_ids is not None else None,
        domain=wanted.domain,
        language=wanted.language,
        campaign_id=wanted.campaign_id,
        missing_only=wanted.missing_only and not call.fresh,
        segments=tuple(dict.fromkeys(call.segments)),
        n=call.n,
        channel=call.channel,
        copy_language=call.language,
        tone=call.tone,
        adapter=call.adapter,
    )


def request_of(call: CopyCall) -> CopyRequest:
    return CopyRequest(
        ad_id=call.ad_id,
        ad=_ad(call.ad, call.language) if call.ad is not None else None,
        user_id=None if call.minor else call.user_id,
        segment=call.segment,
        channel=call.channel,
        language=call.language,
        n=call.n,
        queued=call.queued,
        fresh=call.fresh,
        tone=call.tone,
        adapter=call.adapter,
    )


def _ad(row: dict[str, Any], language: str | None) -> Ad:
    """An ad that is only asked about may leave out what copy does not need."""
    title = str(row.get("title", ""))
    chinese = any("\u4e00" <= char <= "\u9fff" for char in title)
    assumed = {
        "ad_id": "-",
        "landing_url": "https://example.com/",
        "domain": "ecommerce",
        "language": language or ("zh" if chinese else "en"),
    }
    ad = parse_ad(assumed | row, index=0)
    if isinstance(ad, Rejection):
        raise Unprocessable(ad.reason, field=f"ad.{ad.field}")
    return ad


app = create_app("generate", router)


def warm() -> None:
    """Loads what writing needs: the encoder, the categories of ads, the ledger with the readers, and rule packs."""
    system().classifiers["adproduct"].classify_vectors(system().encoder.encode(["warm"]))
    system().readers.warm()
    warm_gate()


def on_message(message: dict[str, Any], remaining: Remaining) -> None:
    """A job of the queue, a page of a pass, or a notice of the asynchronous endpoint (SNS: success or error)."""
    notice = json.loads(message["Message"]) if "Message" in message else message
    if "invocationStatus" in notice:
        # s3://bucket/jobs/{tenant}/{job_id}/input.json
        tenant, job_id = notice["requestParameters"]["inputLocation"].split("/")[-3:-1]
        system().generating.collect(tenant, job_id)
        return
    named = notice["tenant"], notice["job_id"]
    system().generating.handle_job(*named, cursor=notice.get("cursor"), remaining=remaining)


def direct_copy(call: dict[str, Any]) -> dict[str, Any]:
    body = CopyCall.model_validate({key: value for key, value in call.items() if key not in ("action", "tenant")})
    answer = ask(call["tenant"], body)
    return answer.body() if isinstance(answer, CopyResult) else queued(call["tenant"], body, answer)


def direct_reviews(call: dict[str, Any]) -> dict[str, Any]:
    tenant = call["tenant"]
    body = ReviewCall.model_validate({"reviews": call["reviews"]})
    return {"results": system().generating.review(tenant, [Review(**one.model_dump()) for one in body.reviews])}


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    direct = {"copy": direct_copy, "copy_reviews": direct_reviews}
    return lambda_entry(event, context, app=app, on_message=on_message, on_direct=direct)


prepare(app, "/v1/copy", warm)
