"""Front door of classification and the catalogue: API, S3 upload of ads, queue of catalogue tasks, direct call."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from shared.bodies import Whole
from shared.classifying import TextResult
from shared.domain import CatalogueAd, Classification, Finding, Rejection
from shared.entry import Remaining, create_app, lambda_entry, rfc3339, tenant_of
from shared.ingest import run_body, tenant_of_key
from shared.policy.rules import check
from shared.restore import prepare
from shared.stores.runs import Run
from shared.wiring import system

router = APIRouter(prefix="/v1", tags=["classify"])
Tenant = Annotated[str, Depends(tenant_of)]


class Texts(BaseModel):
    """Up to 256 texts. `head` is a taxonomy (adproduct, content) or a trained head's name."""

    texts: list[str] = Field(min_length=1)
    head: str | None = Field(default=None, max_length=64)
    top: Annotated[int, Field(ge=1, le=20), Whole] = 3


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
    kept = system().classifying.put_ads(tenant, body.ads)
    return {"ads": [ad_body(ad) for ad in kept], "versions": system().versions}


@router.get("/ads/{ad_id:path}")
def get_ad(ad_id: Annotated[str, Path(min_length=1, max_length=200)], tenant: Tenant) -> dict[str, Any]:
    """An ad as the catalogue keeps it."""
    stored = system().classifying.get_ad(tenant, ad_id)
    facts = {name: value for name, value in asdict(stored.ad).items() if value not in (None, {}, "")}
    facts |= {name: rfc3339(facts[name]) for name in ("start", "end") if name in facts}
    return facts | ad_body(stored) | {"versions": system().versions}


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


def ad_body(outcome: CatalogueAd | Rejection) -> dict[str, Any]:
    if isinstance(outcome, Rejection):
        rejected = {"index": outcome.index, "field": outcome.field, "reason": outcome.reason}
        return {"accepted": False, "active": False, "rejected": rejected}
    return {
        "accepted": True,
        "ad_id": outcome.ad.ad_id,
        "category": category_body(outcome.category),
        "findings": [finding_body(finding) for finding in outcome.findings],
        "active": outcome.active,
        "inactive_reason": outcome.inactive_reason,
    }


app = create_app("classify", router)


def warm() -> None:
    """Loads what classifying needs."""
    vectors = system().encoder.encode(["warm"])
    for classifier in system().classifiers.values():
        classifier.classify_vectors(vectors)
    check("warm", None)


def on_upload(key: str, fingerprint: str, version: str | None, remaining: Remaining) -> dict[str, Any]:
    tenant = tenant_of_key(key, "ads")
    report = system().classifying.ingest(tenant, key, fingerprint=fingerprint, version=version, remaining=remaining)
    if isinstance(report, Run):
        return {"key": key} | run_body(report)
    return {
        "key": key,
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "rejected_count": report.rejected_count,
        "rejected": [{"index": r.index, "field": r.field, "reason": r.reason} for r in report.rejected[:100]],
        "problem": report.problem,
    }


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


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(
        event,
        context,
        app=app,
        on_upload=on_upload,
        on_message=on_message,
        on_direct={"classify": direct_classify, "publish": publish},
    )


prepare(app, "/v1/classify", warm)
