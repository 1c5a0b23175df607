"""What the API answers, as types: for the published contract and for checking it, never for serving.

A response model would cost each request a second walk through its answer, and each function a part of its start; the
fuzzer (`infra.load.fuzz`) holds every answer of the running system against these instead.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from infra.bids import BidResponse
from infra.exports import Export
from infra.receipts import ErasureReceipt
from infra.reports import AdsListed, CampaignsAnswer, UploadAddress, UploadAnswer, VariantsAnswer
from infra.twins import DecisionAnswer
from shared.generating.requests import CopyState

Name = dict[Literal["zh", "en"], str]
Versions = dict[str, str]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
ServedBy = Literal["llm", "bank", "segment", "template", "advertiser"]
_WHOLE = ConfigDict(extra="forbid")


class FieldProblem(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    field: str
    reason: str


class Problem(TypedDict):
    """A problem document (RFC 9457). `field`: what of the request to mend; `errors`: all that do not fit the schema."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: NotRequired[str]
    field: NotRequired[str]
    errors: NotRequired[list[FieldProblem]]


class Rejected(TypedDict):
    """A row that was not taken in; `index` is its place in the request."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    index: Count
    field: str
    reason: str


class EventsTaken(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    accepted: Count
    duplicates: Count
    rejected: list[Rejected]
    versions: Versions


class InterestHeld(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    id: str
    name: Name
    categories: dict[Literal["adproduct", "content"], str | None]
    weight: Annotated[float, Field(gt=0, le=1)]
    strength: Amount
    term: Literal["session", "long"]
    evidence: list[str]
    against: list[str]
    enabled: bool


class TcfSignals(TypedDict):
    """What the TC string says for us. `vendor`: whether we may rely on it; null where no vendor id is configured."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    policy_version: int
    vendor_list_version: int
    purposes: list[int]
    vendor: bool | None
    allows: bool


class ConsentInForce(TypedDict):
    """`purposes`: those granted. `version`: of the notice, or policy and vendor list of the TC string."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    personalisation: bool
    sensitive: bool
    purposes: list[Literal["personalisation", "sensitive"]]
    minor: bool
    source: str
    version: str | None
    basis: Literal["given", "asserted", "none"]
    at: AwareDatetime | None
    tcf: NotRequired[TcfSignals]


class ConsentAnswer(ConsentInForce):
    """`superseded`: a later statement through this id was there already, and still holds."""

    user_id: str
    superseded: NotRequired[Literal[True]]


class ProfileAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    user_id: str
    interests: list[InterestHeld]
    segments: list[str]
    events: Count
    updated_at: AwareDatetime
    consent: ConsentInForce
    versions: Versions


class IdLinked(TypedDict):
    """`ref` names the external id without saying it; `id` is there where the request named it."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    platform: str | None
    ref: str
    id: NotRequired[str]


class LinkChanged(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    platform: str | None
    id: str
    result: Literal["linked", "already_linked", "same", "unlinked", "not_linked"]


class IdentitiesAnswer(TypedDict):
    """`linked`: the person's other ids; `count`: how many ids they have in all; `changes`: of what was asked."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    user_id: str
    ref: str
    linked: list[IdLinked]
    count: Annotated[int, Field(ge=1, le=20)]
    changes: list[LinkChanged]
    versions: Versions


class LabelGiven(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    id: str
    name: dict[str, str]
    probability: Share


class FindingMade(TypedDict):
    """What advertising law says of ``text[span[0]:span[1]]``."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    span: Annotated[list[Count], Field(min_length=2, max_length=2)]
    rule: str
    severity: Literal["block", "warn"]
    reason: str
    citation: str
    rewrite: str | None


class Category(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    labels: list[LabelGiven]
    abstained: bool


class TextClassified(Category):
    findings: list[FindingMade]


class ClassifyAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    results: list[TextClassified]
    versions: Versions


class AdTaken(TypedDict):
    """`category`: in the Ad Product Taxonomy; `content_category`: in the Content Taxonomy, null where it is absent."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    accepted: Literal[True]
    ad_id: str
    category: Category
    content_category: Category | None
    findings: list[FindingMade]
    active: bool
    inactive_reason: str | None


class AdRefused(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    accepted: Literal[False]
    active: Literal[False]
    rejected: Rejected


class AdsTaken(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ads: list[AdTaken | AdRefused]
    versions: Versions


class Cap(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    count: Annotated[int, Field(ge=1)]
    hours: Annotated[float, Field(gt=0)]


class AdKept(AdTaken):
    """An ad as the catalogue keeps it; what it does not have is left out."""

    title: str
    landing_url: str
    language: Literal["zh", "en"]
    domain: Literal["ecommerce", "social", "education", "health"]
    campaign_id: NotRequired[str]
    description: NotRequired[str]
    brand: NotRequired[str]
    attributes: NotRequired[dict[str, str | float]]
    image_url: NotRequired[str]
    bid_cpm: Amount
    daily_budget: NotRequired[Amount]
    frequency_cap: NotRequired[Cap]
    start: NotRequired[AwareDatetime]
    end: NotRequired[AwareDatetime]
    targeting: NotRequired[dict[str, list[str]]]
    exclusion_labels: NotRequired[list[str]]
    versions: Versions


class HeadKept(TypedDict):
    """A trained head. `version`: that serves, and its `metrics`. Only one that labels were uploaded for has a `job`, an
    `upload` and its `rows`; `waiting`: newer labels are trained on once the job has ended."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    name: str
    state: Literal["training", "served", "failed"]
    reason: str | None
    version: str | None
    metrics: HeadFigures | None
    started_by: Literal["upload", "schedule", "call"] | None
    updated_at: AwareDatetime | None
    job: NotRequired[str | None]
    upload: NotRequired[str]
    rows: NotRequired[Count]
    rejected: NotRequired[Count]
    waiting: NotRequired[bool]


class HeadsAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    heads: list[HeadKept]
    versions: Versions


class RankerFigures(TypedDict):
    """The gate's figures: clicks per decision of the trained ranker (`candidate`) and of the one that served, and their
    `difference` with its 95 % interval, estimated from `decisions` of the log."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    verdict: Literal["promote", "hold", "refuse"]
    decisions: NotRequired[Count]
    clicks: NotRequired[Count]
    estimator: NotRequired[str]
    click_model: NotRequired[str]
    candidate: NotRequired[float]
    current: NotRequired[float]
    difference: NotRequired[float]
    low: NotRequired[float]
    high: NotRequired[float]


class RankerAnswer(TypedDict):
    """`version`: of the trained ranker that serves; null: the untrained one does. `candidate`: what the last job
    trained; `held` and `refused`: the gate did not let it out. `clicks`: of the log that it was trained on."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    version: str | None
    state: Literal["untrained", "training", "served", "held", "refused", "failed"]
    reason: str | None
    started_by: Literal["schedule", "call"] | None
    updated_at: AwareDatetime | None
    job: NotRequired[str]
    clicks: NotRequired[Count]
    candidate: NotRequired[str | None]
    verdict: NotRequired[RankerFigures | None]
    versions: Versions


class BaselineFigures(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    accuracy: NotRequired[Share]
    macro_f1: NotRequired[Share]


class HeadFigures(BaselineFigures):
    """On the rows held out for choosing; `ece`: expected calibration error; `warning`: why it should not be trusted."""

    ece: NotRequired[Share]
    warning: NotRequired[str]
    baselines: dict[str, BaselineFigures]


class HeadAnswer(HeadKept):
    """`labels`: of the version that serves. `encoders`: those it was fine-tuned from; an older version tells none."""

    labels: list[str]
    encoders: list[str]
    versions: Versions


class ClaimMade(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    span: Annotated[list[Count], Field(min_length=2, max_length=2)]
    text: str
    kind: str
    support: str | None


class CopyWritten(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    text: Annotated[str, Field(min_length=1)]
    language: Literal["zh", "en"]
    claims: list[ClaimMade]
    served_by: ServedBy
    label: Name | None
    provenance: dict[str, Any]


class CopyRefused(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    text: str
    reasons: Annotated[list[str], Field(min_length=1)]


class Thousand(TypedDict):
    """What a thousand copies cost; `amount` where the endpoint's price is known."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    seconds: Amount
    tokens_in: Count
    tokens_out: Count
    amount: NotRequired[Amount]
    currency: NotRequired[str]
    basis: str


class CostTold(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    copies: Count
    candidates: Count
    seconds: Amount
    tokens_in: Count
    tokens_out: Count
    per_thousand_copies: Thousand | None


class CopyAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    copies: list[CopyWritten]
    rejected: list[CopyRefused]
    ranked_by: Literal["match", "predicted_clicks"]
    served_by: ServedBy | Literal["none"]
    cost: NotRequired[CostTold]
    notice: NotRequired[str]
    versions: Versions


class PassCost(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    actual: CostTold
    expected: CostTold


class JobQueued(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    job_id: str
    state: Literal["queued"]
    cost: NotRequired[PassCost]
    versions: Versions


class JobAnswer(TypedDict):
    """`counts` and `cost` are those of a pass over the catalogue."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    job_id: str
    state: CopyState
    progress: Share
    result: CopyAnswer | None
    error: str | None
    counts: NotRequired[dict[Literal["total", "done", "failed", "skipped", "lower_rung"], Count]]
    cost: NotRequired[PassCost]
    versions: Versions


class ReviewTaken(TypedDict):
    """`banked`: whether the bank held the text; `reasons`: why the review was refused."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    index: Count
    ad_id: str
    result: Literal["approved", "rejected", "refused"]
    banked: NotRequired[bool]
    reasons: NotRequired[list[str]]


class ReviewsAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    results: list[ReviewTaken]
    versions: Versions


class FeedbackTaken(TypedDict):
    """`reason`: why the item was refused."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    index: Count
    decision_id: str
    ad_id: str
    result: Literal["counted", "repeated", "refused"]
    reason: NotRequired[str]
    implied_impression: NotRequired[bool]
    charged: NotRequired[bool]


class FeedbackAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    results: list[FeedbackTaken]
    versions: Versions


class AheadAnswer(DecisionAnswer):
    """`profile`: that it would rest on; null of somebody unknown. It has its `twin`."""

    profile: ProfileAnswer | None


# By route, what each status that is no error answers; None: nothing.
ANSWERS: dict[str, dict[int, Any]] = {
    "POST /v1/events": {200: EventsTaken},
    "GET /v1/users/{user_id}/profile": {200: ProfileAnswer},
    "PATCH /v1/users/{user_id}/interests": {200: ProfileAnswer},
    "PUT /v1/users/{user_id}/consent": {200: ConsentAnswer},
    "PUT /v1/users/{user_id}/identities": {200: IdentitiesAnswer},
    "DELETE /v1/users/{user_id}": {202: ErasureReceipt},
    "GET /v1/users/{user_id}/export": {200: Export},
    "GET /v1/erasures/{erasure_id}": {200: ErasureReceipt},
    "GET /v1/users/{user_id}/ahead": {200: AheadAnswer},
    "POST /v1/uploads": {201: UploadAddress},
    "GET /v1/uploads/{kind}/{name}": {200: UploadAnswer},
    "POST /v1/classify": {200: ClassifyAnswer},
    "GET /v1/ads": {200: AdsListed},
    "GET /v1/ads/{ad_id}/variants": {200: VariantsAnswer},
    "GET /v1/campaigns": {200: CampaignsAnswer},
    "PUT /v1/ads": {200: AdsTaken},
    "GET /v1/ads/{ad_id}": {200: AdKept},
    "GET /v1/heads": {200: HeadsAnswer},
    "GET /v1/heads/{name}": {200: HeadAnswer},
    "GET /v1/ranker": {200: RankerAnswer},
    "POST /v1/copy": {200: CopyAnswer, 202: JobQueued},
    "POST /v1/copy/reviews": {200: ReviewsAnswer},
    "GET /v1/copy/{job_id}": {200: JobAnswer},
    "POST /v1/recommendations": {200: DecisionAnswer},
    "POST /v1/feedback": {200: FeedbackAnswer},
    "POST /openrtb2/auction": {200: BidResponse, 204: None},
    "GET /openrtb2/win": {204: None},
    "GET /openrtb2/billing": {204: None},
    "GET /openrtb2/loss": {204: None},
    "GET /openrtb2/click": {204: None},
    "GET /openrtb2/visit": {302: None},
    "POST /openrtb2/win": {204: None},
    "POST /openrtb2/billing": {204: None},
    "POST /openrtb2/loss": {204: None},
    "POST /openrtb2/click": {204: None},
}
_SCHEMA_PLACE = "#/components/schemas/{model}"


def schemas() -> tuple[dict[tuple[str, int], dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """The schema of each route's answer by status, that of a problem, and the definitions that they refer to."""
    wanted: list[tuple[Any, Literal["serialization"], TypeAdapter[Any]]] = [
        ((route, status), "serialization", TypeAdapter(answer))
        for route, statuses in ANSWERS.items()
        for status, answer in statuses.items()
        if answer is not None
    ]
    wanted.append((("problem", 0), "serialization", TypeAdapter(Problem)))
    by_key, whole = TypeAdapter.json_schemas(wanted, ref_template=_SCHEMA_PLACE)
    found = {key: schema for (key, _), schema in by_key.items()}
    problem = found.pop(("problem", 0))
    return found, problem, whole["$defs"]
