"""A candidate ranker against the current one, on the decisions of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra.ope.decisions import Decided
from infra.ope.estimators import Clipping, Estimate, choose_clip, differences, effective, estimates
from infra.ope.intervals import Functional, Interval, by_person, mean_of, studentised
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
    """By click model what was judged. people: as many as decide as much as these do, each with as many decisions as
    the others (Kish's effective number). logged: what the log itself earned per decision. examination: by slot, of the
    first one's. moved: share of decisions for which the rankers' slates differ."""

    decisions: int
    people: float
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


def people_of(decided: Sequence[Decided]) -> np.ndarray:
    """Whose each decision is, (D,), numbered from 0; one of which the log does not say is of a person of its own."""
    numbers: dict[tuple[str | None, str], int] = {}
    keys = ((one.counts_as, "" if one.counts_as is not None else one.decision_id) for one in decided)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


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
    """Both rankers' clicks per decision, estimated on the same decisions; at least one is needed. Intervals are over
    people.

    Both slates are rebuilt by the same rules over what the log has of each decision's candidates, so that what is not
    in the log (the diversity of vectors, brands, the rest of the catalogue) is left away for both alike.
    """
    log = slate_log(decided)
    whose = people_of(decided)
    target, signal = slates_of(decided, candidate, log)
    own, own_signal = slates_of(decided, current, log)
    rewards = cross_fit(log, [own_signal, signal], people=whose, seed=seed)

    def bounds(functional: Functional, drawn: int) -> Interval:
        return studentised(by_person(functional, whose), drawn)

    judged: dict[ClickModelName, Judged] = {}
    for name in CLICK_MODELS:
        other, now = evidence(log, target, rewards, name), evidence(log, own, rewards, name)
        clips = choose_clip(other), choose_clip(now)
        control = other.summed(other.weights * other.shares)
        psi = by_person(mean_of(control), whose).influence()
        spread_of = float(psi.std(ddof=1)) / np.sqrt(len(psi)) if len(psi) > 1 else 0.0
        judged[name] = Judged(
            candidate=estimates(other, clips[0], seed=seed, bounds=bounds),
            current=estimates(now, clips[1], seed=seed, bounds=bounds),
            difference=differences(other, now, clips, seed=seed, bounds=bounds),
            clipping=clips,
            unsupported=unsupported(log, target, name),
            control=float(control.mean()),
            control_z=(float(control.mean()) - 1) / spread_of if spread_of else 0.0,
        )
    return Compared(
        decisions=len(log),
        people=effective(np.bincount(whose)),
        shown=int((log.shown >= 0).sum()),
        clicks=int(log.clicks.sum()),
        logged=bounds(mean_of(log.clicks.sum(axis=1)), seed),
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
