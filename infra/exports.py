"""What the API answers about a person's export, as types (see `infra.answers`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field
from typing_extensions import TypedDict

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Ref = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
Purpose = Literal["personalisation", "sensitive"]
_WHOLE = ConfigDict(extra="forbid")


class ExportedId(TypedDict):
    """An id of the person; `asked`: the one that was asked for."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ref: Ref
    platform: str | None
    asked: bool


class ExportedConsent(TypedDict):
    """What is in force."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    personalisation: bool
    sensitive: bool
    purposes: list[Purpose]
    minor: bool
    source: str
    version: str | None
    basis: Literal["given", "asserted", "none"]
    tcf: str | None
    at: AwareDatetime | None


class ExportedStatement(TypedDict):
    """What was said of consent; `minor` is null where it says nothing of age."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ref: Ref
    personalisation: bool
    sensitive: bool
    purposes: list[Purpose]
    source: str
    version: str | None
    tcf: str | None
    minor: bool | None
    at: AwareDatetime
    recorded_at: AwareDatetime


class ExportedInterest(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    id: str
    name: dict[Literal["zh", "en"], str]
    categories: dict[Literal["adproduct", "content"], str | None]
    weight: Annotated[float, Field(gt=0, le=1)]
    strength: Amount
    term: Literal["session", "long"]
    sensitive: bool
    enabled: bool
    evidence: list[str]
    against: list[str]


class ExportedItem(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    item_id: str
    at: AwareDatetime
    interest_id: str | None


class ExportedProfile(TypedDict):
    """`acquired`: what they lately bought, enrolled in or completed."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    interests: list[ExportedInterest]
    segments: list[str]
    acquired: list[str]
    recent: list[ExportedItem]
    events: Count
    updated_at: AwareDatetime


class ExportedImpressions(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ref: Ref
    ad_id: str
    at: list[AwareDatetime]


class ExportedEvent(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ref: Ref
    event_id: str
    event: str
    timestamp: AwareDatetime
    item_id: str | None
    platform: str | None
    domain: Literal["ecommerce", "social", "education", "health"] | None
    text: str | None
    tags: list[str]
    value: float | None


class ExportedReason(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    code: str
    text: str
    interest_id: str | None


class ExportedAd(TypedDict):
    """An ad that was shown; of older decisions copy and reasons are not known any more."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    slot: Annotated[int, Field(ge=1)]
    ad_id: str
    copy: str | None
    copy_served_by: Literal["llm", "bank", "segment", "template", "advertiser"]
    score: float
    propensity: Share
    reasons: list[ExportedReason]


class ExportedContext(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    domain: str | None
    language: str | None
    platform: str | None
    placement: str | None


class ExportedHistoryItem(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    item_id: str
    age_days: float


class ExportedFeedback(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    type: Literal["impression", "click", "conversion", "dismiss"]
    ad_id: str
    at: AwareDatetime


class ExportedDecision(TypedDict):
    """`segments` and `history` are what the decision went by."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ref: Ref
    decision_id: str
    at: AwareDatetime
    personalised: bool
    context: ExportedContext
    segments: list[str]
    history: list[ExportedHistoryItem]
    ads: list[ExportedAd]
    feedback: list[ExportedFeedback]
    versions: dict[str, str]


class LogRead(TypedDict):
    """Whether the decision log could be read to its beginning in time, and the day up to which it was."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    whole: bool
    read_back_to: str | None


class ExportAnswer(TypedDict):
    """All that is kept of a person, by the references of their ids. `older_decisions` are from the decision log."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    user_id: str
    exported_at: AwareDatetime
    complete: Literal[True]
    ids: Annotated[list[ExportedId], Field(min_length=1, max_length=20)]
    consent: ExportedConsent
    statements: list[ExportedStatement]
    profile: ExportedProfile
    disabled_interests: list[str]
    impressions: list[ExportedImpressions]
    events: list[ExportedEvent]
    decisions: list[ExportedDecision]
    older_decisions: list[ExportedDecision]
    decision_log: LogRead
    not_included: dict[str, str]
    versions: dict[str, str]


class ExportElsewhere(TypedDict):
    """An export that is too large for an answer: gzipped at `url` until `expires_at`; `size` bytes unpacked."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    user_id: str
    complete: Literal[False]
    url: str
    expires_at: AwareDatetime
    size: Count
    versions: dict[str, str]


Export = ExportAnswer | ExportElsewhere
