"""Off-policy evidence from logged slates, under a click model of slots.

A policy is what it gives each candidate of a decision as its chance in each slot. Two click models join the log to
another policy's slates (Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and Wen, "Offline Evaluation of Ranking
Policies with Click Models", KDD 2018):

* item-position: a click depends on the ad and its slot. The weight of a shown ad is the policy's chance of it in this
  slot over the logged one. Assumes the least, and has the most variance.
* position-based: a click is examination (of the slot) times relevance (of the ad to the person). The weight is the
  policy's expected examination of the ad over the logged one, whichever slot it was shown in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from infra.ope.estimators import Evidence
from infra.ope.reward_model import RewardModel

ClickModelName = Literal["position-based", "item-position"]
CLICK_MODELS: tuple[ClickModelName, ...] = ("position-based", "item-position")


@dataclass(frozen=True, slots=True)
class SlateLog:
    """D decisions of at most C candidates and S slots, padded with candidates that have no chance.

    chances: (D, C, S), the logged policy's probability of each candidate in each slot. shown: (D, S), the place of the
    candidate that was shown; -1: the slot stayed empty. clicks: (D, S), 0 or 1.
    """

    chances: np.ndarray
    shown: np.ndarray
    clicks: np.ndarray

    def __len__(self) -> int:
        return len(self.chances)

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(decision, place, slot) of everything shown, each (n,)."""
        decision, slot = np.nonzero(self.shown >= 0)
        return decision, self.shown[decision, slot], slot

    def take(self, decisions: np.ndarray) -> SlateLog:
        """The log of these decisions alone, which may repeat."""
        return SlateLog(self.chances[decisions], self.shown[decisions], self.clicks[decisions])


@dataclass(frozen=True, slots=True)
class Rewards:
    """What a reward model expects, for decisions it was not fitted on.

    modelled: (D, C, S), clicks of each candidate in each slot. examination: (S,), of a slot by the first one's.
    """

    modelled: np.ndarray
    examination: np.ndarray


def cross_fit(
    log: SlateLog,
    signals: Sequence[np.ndarray],
    *,
    people: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Rewards:
    """A reward model for each part of the decisions, fitted on the others (Chernozhukov et al., "Double/debiased
    machine learning", 2018), so that no decision's click tells its own expectation.

    signals: what the clicks may follow, each (D, C): the log of what a model gives as an ad's probability of a click.
    people: (D,) whose each decision is, from 0, so that nobody's are on both sides; None: each is of its own.
    """
    inputs = np.stack(signals, axis=-1)
    decision, place, slot = log.rows()
    shown = inputs[decision, place]
    clicks = log.clicks[decision, slot]
    slots = log.shown.shape[1]
    whose = np.arange(len(log)) if people is None else people
    part = (np.random.default_rng(seed).permutation(int(whose.max(initial=-1)) + 1) % folds)[whose]
    modelled = np.zeros(log.chances.shape)
    for fold in range(folds):
        others = part[decision] != fold
        fitted = RewardModel.fit(shown[others], slot[others], clicks[others], slots)
        modelled[part == fold] = fitted.predict(inputs[part == fold])
    whole = RewardModel.fit(shown, slot, clicks, slots)
    return Rewards(modelled, whole.examination)


def evidence(log: SlateLog, target: np.ndarray, rewards: Rewards, click_model: ClickModelName) -> Evidence:
    """What the log says about the policy that gives each candidate these chances, (D, C, S) as in the log."""
    decision, place, slot = log.rows()
    at = (decision, place, slot)
    if click_model == "position-based":
        wanted, logged = target @ rewards.examination, log.chances @ rewards.examination
        weights = _over(wanted[decision, place], logged[decision, place])
        counted = rewards.examination[slot]
        whole = wanted.sum(axis=1)
    else:
        weights = _over(target[at], log.chances[at])
        counted = np.ones(len(slot))
        whole = target.sum(axis=(1, 2))
    return Evidence(
        decisions=decision,
        rewards=log.clicks[decision, slot],
        weights=weights,
        shares=_over(counted, whole[decision]),
        modelled=rewards.modelled[at],
        values=(target * rewards.modelled).sum(axis=(1, 2)),
    )


def unsupported(log: SlateLog, target: np.ndarray, click_model: ClickModelName) -> float:
    """Share of the policy's chances on what the log could not have shown: no estimate knows about these."""
    if click_model == "position-based":
        wanted, possible = target.sum(axis=2), log.chances.sum(axis=2) > 0
    else:
        wanted, possible = target, log.chances > 0
    total = float(wanted.sum())
    return float(wanted[~possible].sum()) / total if total else 0.0


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)
