"""What is asked for and what is answered, in plain data that a job row can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from shared.domain import Ad, Copy, FrequencyCap, Interest, Language, RejectedCopy
from shared.generating.costs import NO_COST, Cost
from shared.generating.prompts import Tone

CopyState = Literal["queued", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """Copy for one ad: for one person (`user_id`), for a segment, or for anyone (neither).

    Either `ad_id` (an ad of the catalogue) or `ad` (one that is only asked about). `language`: the ad's own if None.
    `fresh`: ask the model even where the bank could answer. `adapter`: a voice that the endpoint serves.
    """

    ad_id: str | None = None
    ad: Ad | None = None
    user_id: str | None = None
    segment: str | None = None
    channel: str = "feed"
    language: Language | None = None
    n: int = 3
    queued: bool = False
    fresh: bool = False
    tone: Tone | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Brief:
    """A request with everything personal already resolved to what may be used: it is what a job row keeps.

    audience: names of general interests. `segments` are tried in this order in the bank. `bank`: the segment under
    which the result is kept, None for copy that must not be (one person's, or for an ad that is not in the catalogue).
    """

    ad: Ad
    language: Language
    channel: str
    n: int
    audience: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    bank: str | None = None
    ad_vector: str = ""  # hexadecimal float16, (384,); empty where the ad is not in the catalogue
    tone: Tone | None = None
    adapter: str | None = None
    for_person: bool = False
    notice: str | None = None

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Brief:
        ad = dict(row["ad"])
        if ad.get("frequency_cap"):
            ad["frequency_cap"] = FrequencyCap(**ad["frequency_cap"])
        ad["exclusion_labels"] = tuple(ad.get("exclusion_labels", ()))
        lists = {name: tuple(row[name]) for name in ("audience", "segments")}
        known = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        return cls(**known | lists | {"ad": Ad(**ad)})


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The copies, best first, and what the gate refused. `generated`: candidates that the model wrote. `price`: of the
    endpoint, USD an hour; 0: unknown. `ranked_by`: predicted clicks where a click model of texts has been trained, else
    how well the copies match the ad and the interests."""

    copies: tuple[Copy, ...]
    rejected: tuple[RejectedCopy, ...]
    versions: dict[str, str]
    generated: int = 0
    notice: str | None = None
    cost: Cost = NO_COST
    price: float = 0.0
    ranked_by: Literal["match", "predicted_clicks"] = "match"

    @property
    def served_by(self) -> str:
        """The lowest rung that had to answer."""
        rungs = ("llm", "bank", "segment", "template", "advertiser")
        return max((copy.served_by for copy in self.copies), key=rungs.index, default="none")

    def body(self) -> dict[str, Any]:
        """The answer of ``POST /v1/copy``."""
        body: dict[str, Any] = {
            "copies": [
                {
                    "text": copy.text,
                    "language": copy.language,
                    "claims": [
                        {"span": list(claim.span), "text": claim.text, "kind": claim.kind, "support": claim.support}
                        for claim in copy.claims
                    ],
                    "served_by": copy.served_by,
                    "label": copy.label,
                    "provenance": copy.provenance,
                }
                for copy in self.copies
            ],
            "rejected": [{"text": one.text, "reasons": list(one.reasons)} for one in self.rejected],
            "ranked_by": self.ranked_by,
            "served_by": self.served_by,
            "versions": self.versions,
        }
        if self.cost.candidates:
            body["cost"] = self.cost.body(self.price)
        if self.notice:
            body["notice"] = self.notice
        return body


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as its owner sees it. `progress` lies between 0 and 1; `adapter` is that which it asks for; `counts` and
    `cost` are a catalogue pass's."""

    job_id: str
    state: CopyState
    progress: float
    adapter: str | None
    result: dict[str, Any] | None = None
    error: str | None = None
    counts: dict[str, int] | None = None
    cost: dict[str, Any] | None = None


def nameable(interests: tuple[Interest, ...], holders: Mapping[str, int], k_floor: int) -> list[Interest]:
    """Interests whose names copy may use: enabled, not sensitive, and held by at least `k_floor` people."""
    return [i for i in interests if i.enabled and not i.sensitive and holders.get(i.id, 0) >= k_floor]
