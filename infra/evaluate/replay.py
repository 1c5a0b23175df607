"""Replays headline tests: what would a policy have been clicked that shifts the traffic while the test runs?

An arm's reward is drawn from its empirical click rate in the test. The j-th impression of an arm has the same outcome
under every policy (a stack of rewards for each arm: common random numbers), so that policies differ by what they show
and not by luck. The traffic comes in batches, and what a batch was clicked is known only once the next one has been
shown, as counters that are written in batches lag behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.training.headline_tests import Headlines, Values
from shared import bandit

BATCHES = 50
DELAY = 1  # batches that are shown before the clicks of one are known
LEAST_TRAFFIC = 10  # impressions of a test, whatever the share

MOST_OUTCOMES = 30_000_000  # in memory at a time

Counts = NDArray[np.unsignedinteger[Any]]
# Chances (rows, k) from impressions, clicks and multipliers (rows, k).
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
    rate = headlines.clicks / np.maximum(headlines.impressions, 1)
    shown = np.bincount(headlines.tests, headlines.impressions, len(headlines.names))
    people = np.maximum(np.rint(traffic * shown), LEAST_TRAFFIC).astype(np.int64)
    clicks: dict[str, list[Values]] = {name: [] for name in policies}
    best: list[Values] = []
    for tests, arms in _chunks(headlines, people, repetitions):
        stack = _stack(rate[arms], people[tests], repetitions, seed, tests)
        best.append(people[tests] * rate[arms].max(axis=1))
        size = np.repeat(people[tests], repetitions)
        for name, (decide, multipliers) in policies.items():
            drawing = np.random.default_rng([seed, int(tests[0])])
            known = np.repeat(multipliers[arms], repetitions, axis=0)
            won = _run(decide, known, stack, size, drawing)
            clicks[name].append(won.reshape(len(tests), repetitions))
    return {name: Replayed(np.concatenate(rows), np.concatenate(best)) for name, rows in clicks.items()}


def _chunks(
    headlines: Headlines, people: NDArray[np.int64], repetitions: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Tests with one number of arms and about as many people, and their arms (tests, k)."""
    counts = np.bincount(headlines.tests, minlength=len(headlines.names))
    first = np.cumsum(counts) - counts
    for k in np.unique(counts[counts > 1]).tolist():
        tests = np.flatnonzero(counts == k)
        tests = tests[np.argsort(-people[tests], kind="stable")]
        while len(tests):
            size = max(1, MOST_OUTCOMES // (int(people[tests[0]]) * k * repetitions))
            yield tests[:size], first[tests[:size], None] + np.arange(k)
            tests = tests[size:]


def _stack(rate: Values, people: NDArray[np.int64], repetitions: int, seed: int, tests: NDArray[np.int64]) -> Counts:
    """Clicks of an arm's first j impressions, (tests * repetitions, k, most people + 1)."""
    most, k = int(people.max()), rate.shape[1]
    kind: type[np.uint16] | type[np.uint32] = np.uint16 if most <= np.iinfo(np.uint16).max else np.uint32
    sums: Counts = np.zeros((len(tests) * repetitions, k, most + 1), kind)
    for place, test in enumerate(tests.tolist()):
        drawn = np.random.default_rng([seed, test]).random((repetitions, k, int(people[place])), np.float32)
        rows = sums[place * repetitions : (place + 1) * repetitions, :, 1 : int(people[place]) + 1]
        np.cumsum(drawn < rate[place, :, None], axis=-1, dtype=kind, out=rows)
    return sums


def _run(
    decide: Policy,
    multipliers: Values,
    stack: Counts,
    people: NDArray[np.int64],
    generator: np.random.Generator,
) -> Values:
    """Clicks of each row, (rows,); people: of each row."""
    rows, k, _ = stack.shape
    row, column = np.ogrid[:rows, :k]
    known = [np.zeros((rows, k), np.int64)] * (DELAY + 1)
    before = np.zeros(rows, np.int64)
    for batch in range(1, BATCHES + 1):
        seen, until = known[-DELAY - 1], people * batch // BATCHES
        shares = decide(seen.astype(np.float64), stack[row, column, seen].astype(np.float64), multipliers)
        drawn = generator.multinomial(until - before, shares / shares.sum(-1, keepdims=True))
        known = [*known[1:], known[-1] + drawn]
        before = until
    return stack[row, column, known[-1]].sum(-1, dtype=np.float64)


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
