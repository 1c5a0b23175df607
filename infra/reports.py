"""What the API answers about the catalogue as a list, campaigns, variants and uploads, as types (see
`infra.answers`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field
from typing_extensions import TypedDict

Name = dict[Literal["zh", "en"], str]
Texts = dict[str, str]
Versions = dict[str, str]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["events", "ads", "labels"]
_WHOLE = ConfigDict(extra="forbid")


class CategoryNamed(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    id: str
    name: Texts


class AdListed(TypedDict):
    """`findings`: how many; `category`: the likeliest, null where the classifier abstained."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ad_id: str
    title: str
    language: Literal["zh", "en"]
    domain: Literal["ecommerce", "social", "education", "health"]
    campaign_id: str | None
    active: bool
    inactive_reason: str | None
    findings: Count
    category: CategoryNamed | None


class AdsListed(TypedDict):
    """A page; `next` goes into `after` of the next one, and is null behind the last."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ads: list[AdListed]
    next: str | None
    versions: Versions


class CapSet(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    count: Annotated[int, Field(ge=1)]
    hours: Annotated[float, Field(gt=0)]


class CampaignAd(TypedDict):
    """Money is in the advertiser's currency. `spent`: charged plus reserved today (UTC); `allowed`: what pacing lets
    the ad have spent by now; both null without a daily budget. Counts are since the beginning."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ad_id: str
    title: str
    language: Literal["zh", "en"]
    campaign_id: str | None
    active: bool
    inactive_reason: str | None
    bid_cpm: Amount
    daily_budget: Amount | None
    spent: float | None
    allowed: Amount | None
    cap: CapSet | None
    impressions: Count
    clicks: Count
    conversions: Count
    dismissals: Count


class CampaignsAnswer(TypedDict):
    """A page as that of the catalogue; `at`: the moment that it is of."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    at: AwareDatetime
    ads: list[CampaignAd]
    next: str | None
    versions: Versions


class ClaimBanked(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    span: Annotated[list[Count], Field(min_length=2, max_length=2)]
    text: str
    kind: str
    support: str | None


class VariantBanked(TypedDict):
    """`review`: a person's word on it, if there is one. `impressions`, `clicks`: the older the less they count.
    `chance`: how often the text is shown when the ad is, by these counts alone."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    text: str
    served_by: Literal["llm", "bank", "segment", "template", "advertiser"]
    label: Name | None
    review: str | None
    claims: list[ClaimBanked]
    impressions: Amount
    clicks: Amount
    chance: Share


class RungBanked(TypedDict):
    """What competes for a segment (``-``: anyone) in a language."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    segment: str
    language: Literal["zh", "en"]
    copies: list[VariantBanked]


class VariantsAnswer(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ad_id: str
    rungs: list[RungBanked]
    versions: Versions


class UploadAddress(TypedDict):
    """Where the file itself goes: a `method` request to `url` with these `headers`; of a POST also these `fields`, in
    a form whose last field is ``file``. `most_bytes`: what S3 takes there."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    kind: Kind
    name: str
    key: str
    method: Literal["PUT", "POST"]
    url: str
    headers: dict[str, str]
    fields: dict[str, str]
    expires_at: AwareDatetime
    most_bytes: Annotated[int, Field(gt=0)]
    versions: Versions


class ChunksDone(TypedDict):
    """`total`: null while the file is still being split."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    done: Count
    total: Count | None


class LineRejected(TypedDict):
    """`line`: null of what is wrong with the file as a whole."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    line: Count | None
    field: str | None
    reason: str


class UploadAnswer(TypedDict):
    """`chunks`: of a large file. Counts are null while there are none. `lines`: the first 200 rejected ones; all lie at
    `rejected_url`, for a quarter of an hour."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    key: str
    state: Literal["waiting", "reading", "done", "failed"]
    chunks: ChunksDone | None
    accepted: Count | None
    duplicates: Count | None
    rejected: Count | None
    problem: str | None
    lines: list[LineRejected]
    rejected_url: str | None
    versions: Versions
