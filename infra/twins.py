"""What the API answers about decisions and their twins, as types (see `infra.answers`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

Texts = dict[Literal["zh", "en"], str]
Versions = dict[str, str]
Count = Annotated[int, Field(ge=0)]
Slot = Annotated[int, Field(ge=1)]
ServedBy = Literal["llm", "bank", "segment", "template", "advertiser"]
_WHOLE = ConfigDict(extra="forbid")


class ReasonShown(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    code: str
    text: str
    interest_id: NotRequired[str]


class TwinAd(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ad_id: str
    copy: str
    served_by: ServedBy
    label: Texts | None
    score: float
    reasons: list[ReasonShown]


class AdShown(TwinAd):
    provenance: dict[str, Any]
    variant: str | None
    propensity: float
    variant_propensity: float


MovedAd = TypedDict("MovedAd", {"ad_id": str, "from": Slot, "to": Slot})


class ExplainedAd(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ad_id: str
    code: Literal["because", "targeted", "consent", "room", "had", "gave_way", "exploring", "rose", "shifted"]
    text: Texts


class TwinDifference(TypedDict):
    """`same`: ads in the same slot of both; each of the others is `explained` once. `from`: the slot in the twin."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    same: Count
    only_personalised: list[str]
    only_twin: list[str]
    moved: list[MovedAd]
    explained: list[ExplainedAd]
    text: Texts


class Twin(TypedDict):
    """What `personalised: false` would have answered."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    ads: list[TwinAd]
    difference: TwinDifference


class DecisionAnswer(TypedDict):
    """`twin`: where it was asked for (`compare`)."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    decision_id: str
    personalised: bool
    ads: list[AdShown]
    versions: Versions
    twin: NotRequired[Twin]
