"""A candidate ranker against the current one, on the decisions of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra.ope.decisions import Decided
from infra.ope.estimators import Clipping, Estimate, choose_clip, differences, estimates
from infra.ope.intervals import Interval, mean_of, studentised
from infra.ope.policies import chances_of, spread
from infra.ope.scorers import Scorer, probabilities
from infra.ope.slates import CLICK_MODELS, ClickModelName, SlateLog, cross_fit, evidence, unsupported
from shared.exploration import Ration, Traits
from shared.recommending import SAME_CAMPAIGN

_LEAST = 1e-9  # probability below which a logarithm says no more


@dataclass(frozen=True, slots=True)
class Judged:
    """What one click model makes of the log: by estimator both rankers' clicks per decision and their difference.

    unsupported: share of the candidate's chances that the log could not have shown. control: mean of the candidate's
    weights by decision, 1 where the logged propensities are right; control_z: its distance from 1 in standard errors.
    """

    candidate: dict[str, Estimate]
    current: dict[str, Estimate]
    difference: dict[str, Interval]
    clipping: tuple[Clipping, Clipping]
    unsupported: float
    control: float
    control_z: float


@dataclass(frozen=True, slots=True)
class Compared:
    """By click model what was judged. logged: what the log itself earned per decision. examination: by slot, of the
    first one's. moved: share of decisions for which the rankers' slates differ."""

    decisions: int
    shown: int
    clicks: int
    logged: Interval
    examination: tuple[float, ...]
    moved: float
    judged: dict[ClickModelName, Judged]


def slate_log(decided: Sequence[Decided]) -> SlateLog:
    """The decisions as arrays."""
    width = max(len(one.candidates) for one in decided)
    slots = max(len(one.shown) for one in decided)
    chances = np.zeros((len(decided), width, slots))
    shown = np.full((len(decided), slots), -1, dtype=np.int64)
    clicks = np.zeros((len(decided), slots))
    for row, one in enumerate(decided):
        count, filled = len(one.candidates), len(one.shown)
        own = np.array([candidate.slot for candidate in one.candidates])
        chance = np.array([candidate.chance for candidate in one.candidates])
        chances[row, :count, :filled] = spread(own, chance, filled, one.rotation)
        places = {candidate.ad_id: place for place, candidate in enumerate(one.candidates)}
        for slot in one.shown:
            shown[row, slot.slot] = places[slot.ad_id]
            clicks[row, slot.slot] = slot.reward
    return SlateLog(chances, shown, clicks)


def slates_of(decided: Sequence[Decided], scorer: Scorer, log: SlateLog) -> tuple[np.ndarray, np.ndarray]:
    """A ranker's chances (D, C, S) as in the log, and the log of what it gives as click probabilities (D, C)."""
    target = np.zeros(log.chances.shape)
    signal = np.full(log.chances.shape[:2], np.log(_LEAST))
    for row, one in enumerate(decided):
        scores = probabilities(scorer.log_odds(one))
        filled = len(one.shown)
        made = chances_of(scores, [_traits(one, place) for place in range(len(scores))], filled, *_exploration(one))
        target[row, : len(scores), :filled] = made
        signal[row, : len(scores)] = np.log(np.maximum(scores, _LEAST))
    return target, signal


def compare(decided: Sequence[Decided], candidate: Scorer, current: Scorer, *, seed: int = 0) -> Compared:
    """Both rankers' clicks per decision, estimated on the same decisions; at least one is needed.

    Both slates are rebuilt by the same rules over what the log has of each decision's candidates, so that what is not
    in the log (the diversity of vectors, brands, the rest of the catalogue) is left away for both alike.
    """
    log = slate_log(decided)
    target, signal = slates_of(decided, candidate, log)
    own, own_signal = slates_of(decided, current, log)
    rewards = cross_fit(log, [own_signal, signal], seed=seed)
    judged: dict[ClickModelName, Judged] = {}
    for name in CLICK_MODELS:
        other, now = evidence(log, target, rewards, name), evidence(log, own, rewards, name)
        clips = choose_clip(other), choose_clip(now)
        control = other.summed(other.weights * other.shares)
        spread_of = float(control.std(ddof=1)) / np.sqrt(len(control)) if len(control) > 1 else 0.0
        judged[name] = Judged(
            candidate=estimates(other, clips[0], seed=seed),
            current=estimates(now, clips[1], seed=seed),
            difference=differences(other, now, clips, seed=seed),
            clipping=clips,
            unsupported=unsupported(log, target, name),
            control=float(control.mean()),
            control_z=(float(control.mean()) - 1) / spread_of if spread_of else 0.0,
        )
    return Compared(
        decisions=len(log),
        shown=int((log.shown >= 0).sum()),
        clicks=int(log.clicks.sum()),
        logged=studentised(mean_of(log.clicks.sum(axis=1)), seed),
        examination=tuple(float(one) for one in rewards.examination),
        moved=float(np.any(np.abs(target - own) > 1e-9, axis=(1, 2)).mean()),
        judged=judged,
    )


def _exploration(one: Decided) -> tuple[float, float]:
    return one.epsilon, one.rotation


def _traits(one: Decided, place: int) -> Traits:
    candidate = one.candidates[place]
    campaign = candidate.campaign_id
    counted = {} if campaign is None else {f"c:{campaign}": Ration(SAME_CAMPAIGN)}
    return Traits(counted, candidate.labels, campaign)
