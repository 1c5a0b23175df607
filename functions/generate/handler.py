"""Front door of generation: API, queue of copy jobs, notifications of the asynchronous endpoint, direct call."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field, model_validator

from shared.domain import Ad, Rejection
from shared.entry import create_app, lambda_entry, tenant_of
from shared.errors import Unprocessable
from shared.generating import MAX_COPIES, CopyRequest, CopyResult
from shared.preprocess import parse_ad
from shared.wiring import system

router = APIRouter(prefix="/v1", tags=["generate"])
Tenant = Annotated[str, Depends(tenant_of)]


class CopyCall(BaseModel):
    """Copy for an ad of the catalogue (`ad_id`) or one that is only asked about (`ad`: at least a title).

    It is for one person (`user_id`), a segment, or anyone. `async` queues it; so do more than 8 copies.
    """

    ad_id: str | None = Field(default=None, min_length=1, max_length=200)
    ad: dict[str, Any] | None = None
    user_id: str | None = Field(default=None, min_length=1, max_length=256)
    segment: str | None = Field(default=None, min_length=1, max_length=100)
    channel: str = Field(default="feed", max_length=40)
    language: Literal["zh", "en"] | None = None
    n: int = Field(default=3, ge=1, le=MAX_COPIES)
    queued: bool = Field(default=False, alias="async")

    @model_validator(mode="after")
    def _one_of_each(self) -> CopyCall:
        if (self.ad_id is None) == (self.ad is None):
            raise ValueError("give either ad_id or ad")
        if self.user_id is not None and self.segment is not None:
            raise ValueError("give user_id or segment, not both")
        return self


@router.post("/copy", responses={202: {"description": "Queued: ask for the job."}})
def write(body: CopyCall, tenant: Tenant, request: Request, response: Response) -> dict[str, Any]:
    """Gated copies, best match first, and what the gate refused; or the id of the job that writes them."""
    context = request.scope.get("aws.context")
    remaining = context.get_remaining_time_in_millis() / 1000 if context is not None else None
    answer = system().generating.copy(tenant, request_of(body), remaining=remaining)
    if isinstance(answer, CopyResult):
        return answer.body()
    response.status_code = 202
    response.headers["Location"] = f"/v1/copy/{answer}"
    return {"job_id": answer, "state": "queued", "versions": system().generating.versions()}


@router.get("/copy/{job_id}")
def job(job_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")], tenant: Tenant) -> dict[str, Any]:
    """A job's state, progress, and its result once it is done."""
    view = system().generating.job(tenant, job_id)
    return {
        "job_id": view.job_id,
        "state": view.state,
        "progress": view.progress,
        "result": view.result,
        "error": view.error,
        "versions": system().generating.versions(),
    }


def request_of(call: CopyCall) -> CopyRequest:
    return CopyRequest(
        ad_id=call.ad_id,
        ad=_ad(call.ad, call.language) if call.ad is not None else None,
        user_id=call.user_id,
        segment=call.segment,
        channel=call.channel,
        language=call.language,
        n=call.n,
        queued=call.queued,
    )


def _ad(row: dict[str, Any], language: str | None) -> Ad:
    """An ad that is only asked about may leave out what copy does not need."""
    title = str(row.get("title", ""))
    chinese = any("\u4e00" <= char <= "\u9fff" for char in title)
    assumed = {
        "ad_id": "-",
        "landing_url": "https://example.invalid/",
        "domain": "ecommerce",
        "language": language or ("zh" if chinese else "en"),
    }
    ad = parse_ad(assumed | row, index=0)
    if isinstance(ad, Rejection):
        raise Unprocessable(ad.reason, field=f"ad.{ad.field}")
    return ad


app = create_app("generate", router)


def on_message(message: dict[str, Any]) -> None:
    """A job of the queue, or a notification of the asynchronous endpoint (SNS: success or error)."""
    notice = json.loads(message["Message"]) if "Message" in message else message
    if "invocationStatus" in notice:
        # s3://bucket/jobs/{tenant}/{job_id}/input.json
        tenant, job_id = notice["requestParameters"]["inputLocation"].split("/")[-3:-1]
        system().generating.collect(tenant, job_id)
        return
    system().generating.handle_job(notice["tenant"], notice["job_id"])


def direct_copy(call: dict[str, Any]) -> dict[str, Any]:
    body = CopyCall.model_validate({key: value for key, value in call.items() if key not in ("action", "tenant")})
    answer = system().generating.copy(call["tenant"], request_of(body))
    return answer.body() if isinstance(answer, CopyResult) else {"job_id": answer, "state": "queued"}


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(event, context, app=app, on_message=on_message, on_direct={"copy": direct_copy})
