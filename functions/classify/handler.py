"""Front door of classification, the catalogue and training: API, S3 uploads, queues, direct calls."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from shared.bodies import Whole
from shared.classifying import MAX_LISTED, TextResult
from shared.domain import CatalogueAd, Classification, Domain, Finding, IngestReport, Rejection
from shared.entry import Remaining, create_app, lambda_entry, plain_query, rfc3339, tenant_of
from shared.ingest import run_body, tenant_of_key
from shared.labels import PREFIX as LABELS
from shared.policy.rules import check
from shared.restore import prepare
from shared.stores.runs import Run
from shared.training import Head, Taken
from shared.wiring import system

if TYPE_CHECKING:
    from shared.ranker_training import Standing

router = APIRouter(prefix="/v1", tags=["classify"])
Tenant = Annotated[str, Depends(tenant_of)]


class Texts(BaseModel):
    """Up to 256 texts, each of 10,000 characters, together of 200,000 bytes (UTF-8). `head` is a taxonomy (adproduct,
    content) or a trained head's name."""

    texts: list[str] = Field(min_length=1)
    head: str | None = Field(default=None, max_length=64)
    top: Annotated[int, Field(ge=1, le=20), Whole] = 3


class Retraining(BaseModel):
    """A call to train heads or rankers again: one tenant's or everybody's; those with labels, or a log, that no job has
    seen, or all."""

    tenant: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")] | None = None
    force: bool = False
    started_by: Literal["schedule", "call"] = "call"


class Ads(BaseModel):
    """Up to 100 ads, checked one by one: a bad one is reported and the rest goes in."""

    ads: list[Any] = Field(min_length=1)


@router.post("/classify")
def classify(body: Texts, tenant: Tenant) -> dict[str, Any]:
    """Categories of each text, or an abstention, and what advertising law says of it."""
    results, version = system().classifying.classify(tenant, body.texts, head=body.head, top=body.top)
    return {
        "results": [text_body(result) for result in results],
        "versions": system().versions | {"head": version},
    }


@router.put("/ads")
def put_ads(body: Ads, tenant: Tenant) -> dict[str, Any]:
    """Writes ads to the catalogue; they can be shown within 10 seconds."""
    outcomes = system().classifying.put_ads(tenant, body.ads)
    content = iter(system().classifying.content_of([one for one in outcomes if isinstance(one, CatalogueAd)]))
    bodies = [ad_body(one, next(content)) if isinstance(one, CatalogueAd) else rejected_body(one) for one in outcomes]
    return {"ads": bodies, "versions": system().versions}


@router.get("/ads", dependencies=[Depends(plain_query)])
def list_ads(
    tenant: Tenant,
    after: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
    campaign_id: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    domain: Domain | None = None,
) -> dict[str, Any]:
    """The catalogue in short, in the order of the ads' ids, by pages: `next` goes into `after` of the next one, and is
    null behind the last. An ad that is there all the while is on one page, whatever is written meanwhile. With a filter
    a page may be short, or empty, before the last."""
    ads, onward = system().classifying.list_ads(
        tenant, after=after, limit=limit, campaign_id=campaign_id, domain=domain
    )
    return {"ads": [listed_body(ad) for ad in ads], "next": onward, "versions": system().versions}


def listed_body(stored: CatalogueAd) -> dict[str, Any]:
    label = stored.category.labels[0] if stored.category.labels else None
    return {
        "ad_id": stored.ad.ad_id,
        "title": stored.ad.title,
        "language": stored.ad.language,
        "domain": stored.ad.domain,
        "campaign_id": stored.ad.campaign_id,
        "active": stored.active,
        "inactive_reason": stored.inactive_reason,
        "findings": len(stored.findings),
        "category": {"id": label.id, "name": label.name} if label else None,
    }


@router.get("/ads/{ad_id:path}")
def get_ad(ad_id: Annotated[str, Path(min_length=1, max_length=200)], tenant: Tenant) -> dict[str, Any]:
    """An ad as the catalogue keeps it."""
    stored = system().classifying.get_ad(tenant, ad_id)
    facts = {name: value for name, value in asdict(stored.ad).items() if value not in (None, {}, "", ())}
    facts |= {name: rfc3339(facts[name]) for name in ("start", "end") if name in facts}
    [content] = system().classifying.content_of([stored])
    return facts | ad_body(stored, content) | {"versions": system().versions}


@router.get("/heads")
def get_heads(tenant: Tenant) -> dict[str, Any]:
    """The heads that were trained on the caller's labels, or are being trained."""
    return {"heads": [head_body(one) for one in system().training.heads(tenant)], "versions": system().versions}


@router.get("/heads/{name}")
def get_head(name: Annotated[str, Path(min_length=1, max_length=64)], tenant: Tenant) -> dict[str, Any]:
    """A head: the state of its training, and the labels, figures and encoders of the version that serves."""
    head = system().training.head(tenant, name)
    told = {"labels": list(head.labels), "encoders": list(head.encoders)}
    return head_body(head) | told | {"versions": system().versions}


@router.get("/ranker")
def get_ranker(tenant: Tenant) -> dict[str, Any]:
    """The caller's ranker: the version that serves, and the last training with the gate's verdict on what it made."""
    return ranker_body(system().ranker_training.standing(tenant)) | {"versions": system().versions}


def ranker_body(ranker: Standing) -> dict[str, Any]:
    row, body = ranker.row, {"version": ranker.version}
    if row is None:  # promoted by hand, or not at all
        state = "untrained" if ranker.version is None else "served"
        return body | {"state": state, "reason": None, "started_by": None, "updated_at": None}
    return body | {
        "state": row.state,
        "reason": row.reason,
        "started_by": row.started_by,
        "updated_at": rfc3339(row.updated_at),
        "job": row.job,
        "clicks": row.clicks,
        "candidate": row.version,
        "verdict": dict(row.figures) or None,
    }


def head_body(head: Head) -> dict[str, Any]:
    row = head.row
    if row is None:  # published by hand
        body: dict[str, Any] = {"state": "served", "reason": None, "started_by": None, "updated_at": None}
    else:
        body = {
            "state": row.state,
            "reason": row.reason,
            "started_by": row.started_by,
            "updated_at": rfc3339(row.updated_at),
            "job": row.job,
            "upload": row.key,
            "rows": row.rows,
            "rejected": row.rejected,
            "waiting": row.waiting is not None,
        }
    return {"name": head.name, "version": head.version, "metrics": head.metrics} | body


def category_body(classification: Classification) -> dict[str, Any]:
    return {
        "labels": [{"id": x.id, "name": x.name, "probability": round(x.probability, 4)} for x in classification.labels],
        "abstained": classification.abstained,
    }


def text_body(result: TextResult) -> dict[str, Any]:
    return category_body(result.classification) | {"findings": [finding_body(f) for f in result.findings]}


def finding_body(finding: Finding) -> dict[str, Any]:
    return {
        "span": [finding.start, finding.end],
        "rule": finding.rule,
        "severity": finding.severity,
        "reason": finding.reason,
        "citation": finding.citation,
        "rewrite": finding.rewrite,
    }


def rejected_body(outcome: Rejection) -> dict[str, Any]:
    rejected = {"index": outcome.index, "field": outcome.field, "reason": outcome.reason}
    return {"accepted": False, "active": False, "rejected": rejected}


def ad_body(ad: CatalogueAd, content: Classification | None) -> dict[str, Any]:
    """`content`: the ad's place in the Content Taxonomy."""
    return {
        "accepted": True,
        "ad_id": ad.ad.ad_id,
        "category": category_body(ad.category),
        "content_category": category_body(content) if content else None,
        "findings": [finding_body(finding) for finding in ad.findings],
        "active": ad.active,
        "inactive_reason": ad.inactive_reason,
    }


app = create_app("classify", router)


def warm() -> None:
    """Loads what classifying needs."""
    vectors = system().encoder.encode(["warm"])
    for classifier in system().classifiers.values():
        classifier.classify_vectors(vectors)
    check("warm", None)


def on_upload(key: str, fingerprint: str, version: str | None, remaining: Remaining) -> dict[str, Any]:
    if key.startswith(LABELS):
        return labels_body(key, system().training.ingest(key, remaining=remaining))
    tenant = tenant_of_key(key, "ads")
    report = system().classifying.ingest(tenant, key, fingerprint=fingerprint, version=version, remaining=remaining)
    if isinstance(report, Run):
        return {"key": key} | run_body(report)
    return {"key": key} | report_body(report)


def report_body(report: IngestReport) -> dict[str, Any]:
    return {
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "rejected_count": report.rejected_count,
        "rejected": [{"index": r.index, "field": r.field, "reason": r.reason} for r in report.rejected[:100]],
        "problem": report.problem,
    }


def labels_body(key: str, taken: Taken) -> dict[str, Any]:
    """What an upload of labels led to. Nothing, for the rows that lie beside a head's: its next training reads them."""
    body: dict[str, Any] = {"key": key, "started": taken.started}
    if taken.row is not None:
        body |= {"head": taken.row.head, "state": taken.row.state, "reason": taken.row.reason, "job": taken.row.job}
    return body | (report_body(taken.report) if taken.report else {})


def on_message(message: dict[str, Any], remaining: Remaining) -> None:
    """A task of the catalogue, or a chunk of a large upload, or what is left to split of it."""
    if message["action"] == "publish":
        publish(message)
    else:
        system().classifying.go_on(message["tenant"], message["run"], message.get("chunk"), remaining=remaining)


def publish(call: dict[str, Any]) -> dict[str, Any]:
    return {"tenant": call["tenant"], "snapshot": system().classifying.publish(call["tenant"])}


def direct_classify(call: dict[str, Any]) -> dict[str, Any]:
    body = Texts.model_validate({name: value for name, value in call.items() if name in Texts.model_fields})
    results, version = system().classifying.classify(call["tenant"], body.texts, head=body.head, top=body.top)
    return {"results": [text_body(result) for result in results], "versions": system().versions | {"head": version}}


def retrain(call: dict[str, Any]) -> dict[str, Any]:
    """Called by a person, or by the schedule."""
    fields = {name: value for name, value in call.items() if name in Retraining.model_fields}
    body = Retraining.model_validate(fields)
    return system().training.retrain(body.tenant, force=body.force, started_by=body.started_by)


class Ended(BaseModel):
    """The job that has ended, and the head that it trained, if it was one."""

    job: str = Field(min_length=1, max_length=100)
    head: str | None = Field(default=None, max_length=64)


def trained(call: dict[str, Any]) -> dict[str, Any]:
    """A training job has ended: told by EventBridge, or by the worker of the local run."""
    body = Ended(job=call["job"], head=call["head"])
    row = system().training.ended(call["tenant"], str(body.head), body.job)
    return {"job": body.job, "state": row.state if row else None}


def train_ranker(call: dict[str, Any]) -> dict[str, Any]:
    """Called by a person, or by the schedule."""
    fields = {name: value for name, value in call.items() if name in Retraining.model_fields}
    body = Retraining.model_validate(fields)
    outcome = system().ranker_training.train(body.tenant, force=body.force, started_by=body.started_by)
    return outcome | ({"ranker": ranker_body(system().ranker_training.standing(body.tenant))} if body.tenant else {})


def ranker_trained(call: dict[str, Any]) -> dict[str, Any]:
    """A job of a ranker has ended: told as `trained` is."""
    body = Ended(job=call["job"])
    row = system().ranker_training.ended(call["tenant"], body.job)
    return {"job": body.job, "state": row.state if row else None}


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(
        event,
        context,
        app=app,
        on_upload=on_upload,
        on_message=on_message,
        on_direct={
            "classify": direct_classify,
            "publish": publish,
            "retrain": retrain,
            "trained": trained,
            "train_ranker": train_ranker,
            "ranker_trained": ranker_trained,
        },
    )


prepare(app, "/v1/classify", warm)
