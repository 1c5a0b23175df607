"""Choosing among an ad's texts: chances that can be trusted as propensities, and what counts and predictions do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import bandit
from shared.bandit import Arm, choose

pytestmark = pytest.mark.slow

RULES: list[bandit.Rule] = ["ucb", "thompson"]
COUNTS = st.tuples(st.floats(0, 1e6), st.floats(0, 1), st.floats(1e-4, 0.3), st.floats(1, 1e5))
ARMS = st.lists(COUNTS, min_size=1, max_size=8).map(
    lambda rows: [Arm(shown, shown * share, prior, strength) for shown, share, prior, strength in rows]
)


def chances_of(arms: list[Arm], rule: bandit.Rule, **options: float) -> np.ndarray:
    return choose(arms, np.random.default_rng(0), rule=rule, **options)[1]


@pytest.mark.parametrize("rule", RULES)
@given(arms=ARMS, floor=st.floats(0, 0.5))
@settings(deadline=None, max_examples=60)
def test_chances_are_a_distribution_with_a_floor(rule: bandit.Rule, arms: list[Arm], floor: float) -> None:
    chances = chances_of(arms, rule, floor=floor)
    assert chances.sum() == pytest.approx(1.0, abs=1e-9)
    assert chances.min() >= min(floor, 1 / len(arms)) - 1e-12


@pytest.mark.parametrize("rule", RULES)
@given(arms=ARMS, more=st.floats(1, 1e4), place=st.integers(0, 7))
@settings(deadline=None, max_examples=60)
def test_more_clicks_never_lower_an_arms_chance(rule: bandit.Rule, arms: list[Arm], more: float, place: int) -> None:
    place %= len(arms)
    one = arms[place]
    clicked = min(one.clicks + more, max(one.impressions, one.clicks))
    better = [*arms[:place], Arm(one.impressions, clicked, one.prior, one.strength), *arms[place + 1 :]]
    # A bound's deviation shrinks where most impressions are clicked, and the integral is exact to a few thousandths.
    if clicked > 0.3 * (one.impressions + one.strength):
        return
    assert chances_of(better, rule)[place] >= chances_of(arms, rule)[place] - 5e-3


@pytest.mark.parametrize("rule", RULES)
@given(arms=ARMS, order=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_order_of_arms_does_not_matter(rule: bandit.Rule, arms: list[Arm], order: object) -> None:
    places = np.random.default_rng(len(arms)).permutation(len(arms)).tolist()
    np.testing.assert_allclose(
        chances_of([arms[place] for place in places], rule), chances_of(arms, rule)[places], atol=1e-9
    )


def test_equal_arms_are_shown_equally() -> None:
    arms = [Arm(1000, 20, 0.02, 300)] * 4
    for rule in RULES:
        np.testing.assert_allclose(chances_of(arms, rule), 0.25, atol=1e-9)


def test_thompsons_chances_are_how_often_an_arm_is_the_best() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        k = int(generator.integers(2, 7))
        shown = 10 ** generator.uniform(0, 6, k)
        rate = 0.02 * np.exp(generator.normal(0, 0.3, k))
        hits, misses = rate * shown + generator.uniform(0.3, 30, k), (1 - rate) * shown + 500
        drawn = generator.beta(hits, misses, (40_000, k)).argmax(axis=1)
        expected = np.bincount(drawn, minlength=k) / len(drawn)
        np.testing.assert_allclose(bandit.best_shares(hits, misses), expected, atol=0.012)


def test_the_same_seed_chooses_the_same_and_no_state_is_shared() -> None:
    arms = [Arm(500, 9, 0.02, 300), Arm(400, 9, 0.02, 300), Arm(0, 0, 0.03, 300)]

    def run(seed: int) -> list[int]:
        return [choose(arms, np.random.default_rng([seed, step]), rule="thompson")[0] for step in range(60)]

    first = run(1)
    np.random.default_rng(5).random(10)
    assert run(1) == first
    assert run(2) != first


def test_predictions_decide_at_first_and_counts_in_the_end() -> None:
    told = bandit.arms([(0, 0), (0, 0)], [1.3, 1.0], 0.02)
    assert chances_of(told, "ucb").argmax() == 0
    outweighed = bandit.arms([(4000, 80), (4000, 120)], [1.3, 1.0], 0.02)
    for rule in RULES:
        assert chances_of(outweighed, rule)[1] > 0.9


def test_the_level_of_an_ad_is_learnt_from_all_of_its_texts() -> None:
    """A text that was never shown is taken for one of its ad, not for one of the tenant."""
    arms = bandit.arms([(10_000, 800), (10_000, 800), (0, 0)], [1.0, 1.0, 1.1], 0.01)
    assert arms[2].prior == pytest.approx(0.088, rel=0.05)
    assert arms[0].prior == pytest.approx(0.08, rel=0.05)
    assert bandit.arms([(0, 0)], [1.0], 0.01)[0].prior == pytest.approx(0.01)


@pytest.mark.parametrize(
    "arm",
    [
        Arm(-1, 0, 0.1, 1),
        Arm(1, -1, 0.1, 1),
        Arm(1, 0, 0.0, 1),
        Arm(1, 0, 1.0, 1),
        Arm(1, 0, 0.1, 0),
        Arm(float("nan"), 0, 0.1, 1),
        Arm(float("inf"), 0, 0.1, 1),
    ],
)
def test_arms_out_of_bounds_are_refused(arm: Arm) -> None:
    with pytest.raises(ValueError, match="an arm has"):
        choose([arm, Arm(1, 0, 0.1, 1)], np.random.default_rng(0))


def test_no_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="no arm"):
        choose([], np.random.default_rng(0))


def test_a_click_that_is_counted_before_its_impression_is_one_too() -> None:
    hits, misses = bandit.posterior(*(np.array([value]) for value in (1.0, 3.0, 0.1, 10.0)))
    assert (hits[0], misses[0]) == (4.0, 9.0)


@pytest.mark.parametrize("rule", ["ucb", pytest.param("thompson", marks=pytest.mark.slow)])
def test_recorded_chances_recover_the_mean_of_another_policy(rule: bandit.Rule) -> None:
    """20,000 decisions of a bandit that learns in batches; the inverse of the recorded chances weighs their rewards."""
    rates, wanted = np.array([0.05, 0.08, 0.11]), np.array([0.5, 0.3, 0.2])
    later_shown, later_clicked = np.zeros(3), np.zeros(3)
    estimates = []
    for step in range(20_000):
        if step % 200 == 0:
            shown, clicked = later_shown.copy(), later_clicked.copy()
            arms = bandit.arms(list(zip(shown.tolist(), clicked.tolist(), strict=True)), [1.0, 1.1, 0.9], 0.05)
        generator = np.random.default_rng([11, step])
        place, chances = choose(arms, generator, rule=rule, floor=0.05)
        reward = float(generator.random() < rates[place])
        estimates.append(wanted[place] / chances[place] * reward)
        later_shown[place] += 1
        later_clicked[place] += reward
    error = 1.96 * np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - rates @ wanted) < error
    assert error < 0.01
    assert chances.argmax() == 2
