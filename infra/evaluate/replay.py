"""Replays headline tests: what would a policy have been clicked that shifts the traffic while the test runs?

An arm's reward is drawn from its empirical click rate in the test. The j-th impression of an arm has the same outcome
under every policy (a stack of rewards for each arm: common random numbers), so that policies differ by what they show
and not by luck. The traffic comes in batches, and what a batch was clicked is known only once the next one has been
shown, as counters that are written in batches lag behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from infra.training.headline_tests import Headlines, Values
from shared import bandit

BATCHES = 50
DELAY = 1  # batches that are shown before the clicks of one are known
LEAST_TRAFFIC = 10  # impressions of a test, whatever the share

# Chances (rows, k) from impressions and clicks (rows, k) and multipliers (1, k).
Policy = Callable[[Values, Values, Values], Values]


@dataclass(frozen=True)
class Setting:
    """A policy's constants: see `shared.bandit`. prior_clicks: what an arm's prior is worth beside its siblings."""

    rule: bandit.Rule
    prior_clicks: float
    caution: float


@dataclass(frozen=True)
class Replayed:
    """Clicks of each test and repetition, (tests, repetitions), and what always showing the best arm would get."""

    clicks: Values
    best: Values

    @property
    def total(self) -> float:
        """Clicks of all tests, the mean of the repetitions."""
        return float(self.clicks.sum(0).mean())

    @property
    def regret(self) -> float:
        """Clicks missed, as a share of those of always showing the best arm (expected)."""
        return 1 - self.total / float(self.best.sum())


def policy(setting: Setting, usual_rate: float) -> Policy:
    """The policy as it serves: level and prior from `bandit.priors`, chances with the floor."""

    def decide(shown: Values, clicked: Values, multipliers: Values) -> Values:
        prior = bandit.priors(shown, clicked, multipliers, usual_rate)
        hits, misses = bandit.posterior(shown, clicked, prior, setting.prior_clicks / prior)
        return bandit.chances(hits, misses, rule=setting.rule, caution=setting.caution)

    return decide


def ab_test(shown: Values, clicked: Values, multipliers: Values) -> Values:
    """Every arm as often as any other, to the end."""
    return np.full(shown.shape, 1 / shown.shape[-1])


def replay(
    headlines: Headlines,
    policies: Mapping[str, tuple[Policy, Values]],
    *,
    traffic: float,
    seed: int,
    repetitions: int = 10,
) -> dict[str, Replayed]:
    """Every policy on every test of at least two arms, with `traffic` of the test's impressions.

    policies: each with its multipliers (arms,), predicted click rates beside the siblings'.
    """
    numbers = np.flatnonzero(np.bincount(headlines.tests) > 1)
    rate = headlines.clicks / np.maximum(headlines.impressions, 1)
    clicks: dict[str, list[Values]] = {name: [] for name in policies}
    best: list[float] = []
    for number in numbers.tolist():
        arms = np.flatnonzero(headlines.tests == number)
        people = max(round(traffic * float(headlines.impressions[arms].sum())), LEAST_TRAFFIC)
        stack = _stack(rate[arms], people, repetitions, np.random.default_rng([seed, number]))
        best.append(people * float(rate[arms].max()))
        for name, (decide, multipliers) in policies.items():
            drawing = np.random.default_rng([seed, number, 1])
            clicks[name].append(_run(partial(decide, multipliers=multipliers[arms][None]), stack, people, drawing))
    return {name: Replayed(np.stack(rows), np.array(best)) for name, rows in clicks.items()}


def _stack(rate: Values, people: int, repetitions: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Clicks of an arm's first j impressions, (repetitions, arms, people + 1)."""
    clicked = generator.random((repetitions, len(rate), people), np.float32) < rate[None, :, None]
    sums = np.zeros((repetitions, len(rate), people + 1), np.int32)
    np.cumsum(clicked, axis=-1, dtype=np.int32, out=sums[..., 1:])
    return sums


def _run(
    decide: Callable[[Values, Values], Values], stack: NDArray[np.int32], people: int, generator: np.random.Generator
) -> Values:
    """Clicks of each repetition."""
    repetitions, arms, _ = stack.shape
    shown = np.zeros((repetitions, arms), np.int64)
    row, column = np.ogrid[:repetitions, :arms]
    known = [np.zeros((repetitions, arms), np.int64)] * (DELAY + 1)
    ends = np.unique(np.linspace(0, people, BATCHES + 1).astype(np.int64))
    for size in np.diff(ends).tolist():
        seen = known[-DELAY - 1]
        clicked = stack[row, column, seen]
        shares = decide(seen.astype(np.float64), clicked.astype(np.float64))
        shown = shown + generator.multinomial(size, shares / shares.sum(-1, keepdims=True))
        known = [*known[1:], shown]
    return stack[row, column, shown].sum(-1).astype(np.float64)


def lift_interval(ours: Replayed, theirs: Replayed, seed: int, draws: int = 1000) -> tuple[float, float]:
    """The 95 % interval of the clicks won over another policy, as a share of its clicks: bootstrap over tests."""
    mine, other = ours.clicks.mean(1), theirs.clicks.mean(1)
    chosen = np.random.default_rng(seed).integers(len(mine), size=(draws, len(mine)))
    lifts = mine[chosen].sum(1) / other[chosen].sum(1) - 1
    low, high = np.percentile(lifts, [2.5, 97.5])
    return float(low), float(high)


def tune(
    headlines: Headlines,
    multipliers: Values,
    usual_rate: float,
    choices: list[Setting],
    *,
    traffic: tuple[float, ...],
    seed: int,
    repetitions: int = 3,
) -> Setting:
    """The setting whose lift over an A/B test, averaged over the shares of traffic, is the highest on these tests."""
    lifts = np.zeros(len(choices))
    for share in traffic:
        policies = {str(place): (policy(one, usual_rate), multipliers) for place, one in enumerate(choices)}
        found = replay(
            headlines,
            policies | {"ab_test": (ab_test, multipliers)},
            traffic=share,
            seed=seed,
            repetitions=repetitions,
        )
        lifts += [found[str(place)].total / found["ab_test"].total for place in range(len(choices))]
    return choices[int(lifts.argmax())]
