"""The nouns of AdTailor. Frozen dataclasses without any framework; every room speaks in these.

Times are epoch seconds (UTC, float). Texts are cleaned (`shared.preprocess`). Taxonomy ids carry their taxonomy as a
prefix: ``adproduct:1551`` (IAB Ad Product Taxonomy 2.0), ``content:52`` (IAB Content Taxonomy 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Domain = Literal["ecommerce", "social", "education", "health"]
Language = Literal["zh", "en"]
Term = Literal["session", "long"]
# What a model's copy may consist of beside words that state nothing: the ad's phrases as they stand there
# (`shared.policy.quoting`), the ad's words (`shared.policy.literal`), or what ledger and readers believe.
Wording = Literal["quoted", "literal", "free", "judged"]

DOMAINS: tuple[Domain, ...] = ("ecommerce", "social", "education", "health")
LANGUAGES: tuple[Language, ...] = ("zh", "en")
EVENT_TYPES: tuple[str, ...] = (
    "view",
    "click",
    "favourite",
    "cart",
    "purchase",
    "like",
    "comment",
    "share",
    "enrol",
    "complete",
    "consult",
    "dismiss",
)
FEEDBACK_TYPES: tuple[str, ...] = ("impression", "click", "conversion", "dismiss")


@dataclass(frozen=True, slots=True)
class Event:
    """One act of one person. `event_id` is unique within the person; it is derived where the sender gave none."""

    user_id: str
    event: str
    timestamp: float
    event_id: str
    item_id: str | None = None
    platform: str | None = None
    domain: Domain | None = None
    text: str | None = None
    tags: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `count` impressions of the ad to one person in any `hours` hours."""

    count: int
    hours: float


@dataclass(frozen=True, slots=True)
class Ad:
    """An advertisement of the catalogue: the facts that copy may use and the terms on which it may be shown.

    `bid_cpm` and `daily_budget` are in the advertiser's currency (per thousand impressions; per UTC day).
    `targeting` may hold ``platforms``, ``languages``, ``segments``, ``interests`` (taxonomy ids): lists, any of which
    must match where present; an interest, as a segment, is matched by those who hold it for long, and where at least k
    people do. Its ``deals`` are ids of private deals at exchanges: the ad is shown in these alone, and where ``open``
    is among them outside of deals too. `attributes` are flat facts (name to string or number). `exclusion_labels`: two
    ads of different campaigns that share one are never in the same answer (competitive separation).
    """

    ad_id: str
    title: str
    landing_url: str
    language: Language
    domain: Domain
    campaign_id: str | None = None
    description: str = ""
    brand: str | None = None
    attributes: dict[str, str | float] = field(default_factory=dict)
    image_url: str | None = None
    bid_cpm: float = 0.0
    daily_budget: float | None = None
    frequency_cap: FrequencyCap | None = None
    start: float | None = None
    end: float | None = None
    targeting: dict[str, list[str]] = field(default_factory=dict)
    exclusion_labels: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text that stands for the ad when it is embedded or classified."""
        return f"{self.title}. {self.description}".strip(". ") if self.description else self.title


@dataclass(frozen=True, slots=True)
class Label:
    """A category with its calibrated probability."""

    id: str
    name: dict[str, str]
    probability: float


@dataclass(frozen=True, slots=True)
class Classification:
    """Labels in falling probability. Where `abstained`, no label is good enough to act on."""

    labels: tuple[Label, ...]
    abstained: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What a policy rule says about a span ``[start, end)`` of a text."""

    start: int
    end: int
    rule: str
    severity: Literal["block", "warn"]
    reason: str
    citation: str = ""
    rewrite: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogueAd:
    """An ad as the catalogue keeps it: with its category, its findings and whether it may be shown."""

    ad: Ad
    category: Classification
    active: bool
    inactive_reason: str | None = None
    findings: tuple[Finding, ...] = ()
    vector: bytes = b""  # float16, (384,), unit length


@dataclass(frozen=True, slots=True)
class Interest:
    """Something a person cares about. `weight` is its share of the term's evidence, in (0, 1].

    strength: the evidence itself as of the reading, in units of one view; it depends on no other interest's, so without
        the events in `evidence` it is less or the interest is gone.
    evidence, against: ids of the latest events for it, and of the dismissals that lowered it; latest first.
    categories: where it lies in each taxonomy, ``{"adproduct": id, "content": id}``; None where in none of its
        categories. `id` is the one of the domain's own taxonomy.
    """

    id: str
    name: dict[str, str]
    weight: float
    term: Term
    evidence: tuple[str, ...]
    enabled: bool = True
    sensitive: bool = False
    vector: bytes = b""  # float16, (384,), unit length
    strength: float = 0.0
    against: tuple[str, ...] = ()
    categories: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecentItem:
    """An item that a person turned to at epoch second `at`, and the interest it belongs to ("": to none)."""

    item_id: str
    at: float
    interest_id: str = ""


def turns(recent: Iterable[RecentItem]) -> tuple[RecentItem, ...]:
    """Each time that a person turned to an item from another one: of neighbours that are one item the first. Whoever
    leaves items out of a list of turns asks for it again, or what was left out would show between two equal ones."""
    found: list[RecentItem] = []
    for one in recent:
        if not found or found[-1].item_id != one.item_id:
            found.append(one)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Profile:
    """The versioned fold of a person's events. `acquired`: what they lately bought, enrolled in or completed. `recent`:
    the items they last turned to, the latest first, each time they came back to one; none that a sensitive interest was
    read off without consent.
    """

    user_id: str
    interests: tuple[Interest, ...]
    segments: tuple[str, ...]
    updated_at: float
    events: int = 0
    version: int = 0
    acquired: tuple[str, ...] = ()
    recent: tuple[RecentItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person allows, with its source and time. `basis` says whether it was given or asserted by the tenant.

    version: of the notice or vendor list that they agreed to. minor: said to be under age, who gets contextual ads
    alone, whatever else was said.
    """

    personalisation: bool
    sensitive: bool
    source: str
    at: float
    basis: Literal["given", "asserted", "none"] = "given"
    tcf: str | None = None
    version: str | None = None
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkable statement in a copy and the field or span of the ad that supports it (None: unsupported)."""

    span: tuple[int, int]
    text: str
    kind: str
    support: str | None


@dataclass(frozen=True, slots=True)
class Copy:
    """A gated text that may be shown for an ad. `served_by` is the rung of the ladder that wrote it."""

    text: str
    language: Language
    served_by: Literal["llm", "bank", "segment", "template", "advertiser"]
    claims: tuple[Claim, ...] = ()
    label: dict[str, str] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RejectedCopy:
    """A candidate that the gate refused, with every reason."""

    text: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an ad is shown, in words a person understands. Never carries a sensitive interest."""

    code: str
    text: str
    interest_id: str | None = None


@dataclass(frozen=True, slots=True)
class RankedAd:
    """One slot of a decision; `propensity` is the chance that the policy in force showed this ad in this slot.

    variant: which of the ad's copies is shown (`shared.stores.copies.text_key`), and `variant_propensity` the chance
    that it was, given the ad.
    `copy_label`: what people are to be shown of where the text comes from, by language; None where no model wrote it.
    `copy_provenance`: the same for machines.
    """

    ad_id: str
    copy: str
    score: float
    reasons: tuple[Reason, ...]
    copy_served_by: str = "advertiser"
    propensity: float = 1.0
    copy_label: dict[str, str] | None = None
    copy_provenance: dict[str, Any] = field(default_factory=dict)
    variant: str | None = None
    variant_propensity: float = 1.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was shown to whom, and why: the unit of feedback and of learning. The place of an ad in `ads` is its slot.

    log: what else is remembered of it, for estimating other policies, packed by `shared.decision_log`.
    """

    decision_id: str
    uid: str | None
    at: float
    ads: tuple[RankedAd, ...]
    personalised: bool
    versions: dict[str, str]
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not accepted. `index` is its place in the request, or its 1-based line in an upload."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of what was sent: ``sent == accepted + duplicates + len(rejected)`` unless `rejected` was cut short;
    `rejected_count` is always whole."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    rejected_count: int = 0
    problem: str | None = None  # what ended the stream early (truncated gzip, broken CSV), the rows before it are in

    @property
    def sent(self) -> int:
        return self.accepted + self.duplicates + self.rejected_count
