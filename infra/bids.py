"""What ``POST /openrtb2/auction`` answers, as types: for the published contract (`infra.answers`)."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

_WHOLE = ConfigDict(extra="forbid")


class Bid(TypedDict):
    """OpenRTB 2.6, section 4.2.3, as far as it is used. Of a test there are no notices."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    id: str
    impid: str
    price: Annotated[float, Field(gt=0)]
    nurl: NotRequired[str]
    burl: NotRequired[str]
    lurl: NotRequired[str]
    adm: Annotated[str, Field(min_length=1)]
    adid: str
    adomain: Annotated[list[str], Field(min_length=1)]
    iurl: NotRequired[str]
    cid: str
    crid: str
    dealid: NotRequired[str]
    cattax: NotRequired[Literal[1, 8]]
    cat: NotRequired[Annotated[list[str], Field(min_length=1)]]
    attr: NotRequired[list[int]]
    language: Literal["zh", "en"]
    mtype: Literal[1, 4]
    w: NotRequired[int]
    h: NotRequired[int]
    exp: int


class SeatBid(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    seat: str
    group: Literal[0]
    bid: Annotated[list[Bid], Field(min_length=1)]


class WhyNot(TypedDict):
    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    reason: str


class BidResponse(TypedDict):
    """OpenRTB 2.6, section 4.2.1. `nbr`, and `ext` in words: why there is no bid on a test."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    id: str
    seatbid: list[SeatBid]
    bidid: NotRequired[str]
    cur: NotRequired[str]
    nbr: NotRequired[Annotated[int, Field(ge=0)]]
    ext: NotRequired[WhyNot]
