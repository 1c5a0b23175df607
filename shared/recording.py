"""What is known when an answer is made, what fills its slots, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared import decision_log
from shared.categories import tells
from shared.domain import Decision, Interest, RankedAd, Reason
from shared.eligibility import Context
from shared.exploration import Slate
from shared.models.features import History
from shared.preprocess.contact import mask
from shared.scoring import Scoring
from shared.snapshot import Snapshot
from shared.variants import Chosen

# What of a copy's provenance goes out with it: where it comes from, not who looked at it.
_TOLD = (
    "generator",
    "model",
    "adapter",
    "prompt_version",
    "generated_at",
    "human_review",
    "digital_source_type",
    "content_id",
    "aigc",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with what is known of who asks. uids: ids that caps follow; none of somebody unknown. allowed: mask
    (n,) of the ads that may be shown; excluded: how many each rule kept out."""

    tenant: str
    n: int
    context: Context
    now: float
    snapshot: Snapshot
    uid: str | None
    uids: tuple[str, ...]
    interests: Sequence[Interest]
    queries: np.ndarray
    segments: tuple[str, ...]
    history: History
    versions: dict[str, str]
    allowed: np.ndarray
    excluded: dict[str, int]


def slot_of(ad_id: str, score: float, reason: Reason, chosen: Chosen, propensity: float) -> RankedAd:
    """One slot of a decision."""
    copy = chosen.copy
    return RankedAd(
        ad_id=ad_id,
        copy=copy.text,
        score=round(score, 6),
        reasons=(reason,),
        copy_served_by=copy.served_by,
        propensity=propensity,
        copy_label=copy.label,
        copy_provenance={name: copy.provenance[name] for name in _TOLD if name in copy.provenance},
        variant=chosen.variant,
        variant_propensity=chosen.chance,
    )


def record_of(
    asked: Asked,
    scoring: Scoring,
    decision: Decision,
    plan: Slate,
    rows: np.ndarray,
    scores: np.ndarray,
    redraws: int,
    epsilon: float,
    excluded: Mapping[str, int],
) -> decision_log.Record:
    """What the log keeps of a decision besides what it showed. rows, scores: of the ranking that `plan` was made of.
    epsilon: the share that explores. excluded: by rule how many ads it kept out."""
    snapshot, context, chances = asked.snapshot, asked.context, plan.places()
    known = rows[[place for place, _ in chances]]
    columns = scoring.columns(known) if len(known) else np.zeros((0, 0), dtype=np.float32)
    candidates = [
        decision_log.Candidate(
            ad_id=snapshot.ads[row].ad_id,
            campaign_id=snapshot.ads[row].campaign_id,
            category=snapshot.categories[snapshot.category[row]] or None,
            labels=sorted(snapshot.labels[row]),
            score=round(float(scores[place]), 6),
            slot=slot,
            propensity=plan.chances[slot][place],
            base=place == plan.base[slot],
            features=features,
        )
        for (place, slot), row, features in zip(chances, known.tolist(), columns.tolist(), strict=True)
    ]
    return decision_log.Record(
        domain=context.domain,
        language=context.language,
        platform=mask(context.platform) if context.platform else context.platform,
        placement=mask(context.placement) if context.placement else context.placement,
        n=asked.n,
        epsilon=epsilon,
        rotation=plan.rotation,
        redraws=redraws,
        segments=asked.segments,
        history=asked.history.ids,
        history_ages=asked.history.ages.tolist(),
        candidates=candidates,
        excluded=excluded,
        nobody=_sensitive(asked, decision),
        uids=asked.uids,
    )


def _sensitive(asked: Asked, decision: Decision) -> bool:
    """Whether the log must not say whose decision it was: a sensitive interest had a part in it, it stood on a page
    about health, or it shows what tells something of whoever clicks on it."""
    if asked.context.domain == "health" or any(interest.sensitive for interest in asked.interests):
        return True
    snapshot = asked.snapshot
    rows = [snapshot.places[ad.ad_id] for ad in decision.ads]
    rows += [snapshot.places[item] for item in asked.history.ids if item in snapshot.places]
    return any(tells(snapshot.ads[row], snapshot.categories[snapshot.category[row]]) for row in rows)
