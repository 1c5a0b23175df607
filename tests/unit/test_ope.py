"""Off-policy estimates: identities that always hold, and simulated logs whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from infra.ope.estimators import Evidence, choose_clip, clipping_at, differences, effective, estimates
from infra.ope.intervals import bca, by_person, mean_of, normal, studentised, wilson
from infra.ope.policies import chances_of, spread
from infra.ope.reward_model import RewardModel
from infra.ope.simulation import World, make_world, study
from infra.ope.slates import CLICK_MODELS, ClickModelName, Rewards, SlateLog, cross_fit, evidence, unsupported
from shared.exploration import Ration, Traits

pytestmark = pytest.mark.slow

SMALL = st.integers(1, 6)


@st.composite
def logs(draw: st.DrawFn) -> tuple[SlateLog, Rewards, np.random.Generator]:
    """Any log of independent slots, with any reward model."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    decisions, slots, width = draw(st.integers(2, 30)), draw(st.integers(1, 4)), draw(SMALL)
    candidates = slots * width
    own = np.repeat(np.arange(slots), width)
    rotation = draw(st.sampled_from([0.0, 0.05, 0.5]))
    chances = np.zeros((decisions, candidates, slots))
    shown = np.zeros((decisions, slots), dtype=np.int64)
    for row in range(decisions):
        each = rng.dirichlet(np.ones(width), size=slots).ravel()
        chances[row] = spread(own, each, slots, rotation)
        shown[row] = [slot * width + rng.choice(width, p=each.reshape(slots, width)[slot]) for slot in range(slots)]
    clicks = (rng.random((decisions, slots)) < 0.3).astype(np.float64)
    examination = np.concatenate([[1.0], rng.uniform(0.1, 1, slots - 1)])
    return SlateLog(chances, shown, clicks), Rewards(rng.uniform(0, 1, chances.shape), examination), rng


@pytest.mark.parametrize("click_model", CLICK_MODELS)
@given(case=logs())
@settings(max_examples=40, deadline=None)
def test_the_logged_policy_itself_is_its_mean(case: tuple[SlateLog, Rewards, Any], click_model: ClickModelName) -> None:
    log, rewards, _ = case
    own = evidence(log, log.chances, rewards, click_model)
    assert own.weights == pytest.approx(1)
    clip = choose_clip(own)
    found = estimates(own, clip)
    mean = log.clicks.sum(axis=1).mean()
    assert found["ips"].estimate == pytest.approx(mean)
    assert found["ips"].effective_clicks == pytest.approx(log.clicks.sum())
    if click_model == "item-position":
        assert found["snips"].estimate == pytest.approx(mean)
        assert found["snips"].effective_sample_size == pytest.approx(len(log))
    assert unsupported(log, log.chances, click_model) == 0
    between = differences(own, own, (clip, clip))
    assert all((one.estimate, one.low, one.high) == (0, 0, 0) for one in between.values())


@given(case=logs())
@settings(max_examples=25, deadline=None)
def test_weights_are_one_in_expectation(case: tuple[SlateLog, Rewards, np.random.Generator]) -> None:
    """Exactly: the sum over everything that may be shown of its chance and its weight is the target's own mass."""
    log, rewards, rng = case
    decisions, _, slots = log.chances.shape
    target = rng.dirichlet(np.ones(log.chances.shape[1]), size=(decisions, slots)).transpose(0, 2, 1)
    for click_model in CLICK_MODELS:
        total = np.zeros(decisions)
        for place in range(log.chances.shape[1]):
            for slot in range(slots):
                shown = np.full((decisions, slots), -1)
                shown[:, slot] = place
                part = evidence(SlateLog(log.chances, shown, log.clicks), target, rewards, click_model)
                total += log.chances[:, place, slot] * part.weights * part.shares
        # What the log has no chance of is missing: the positions' model needs the ad anywhere, the other in the slot.
        possible = log.chances.sum(axis=2, keepdims=True) > 0 if click_model == "position-based" else log.chances > 0
        examined = rewards.examination if click_model == "position-based" else np.ones(slots)
        wanted = (target * possible) @ examined
        assert total == pytest.approx(wanted.sum(axis=1) / (target @ examined).sum(axis=1))


def test_doubly_robust_needs_only_one_of_both_to_be_right() -> None:
    world = make_world(60, ads=20, slots=2, rate=0.2, seed=1)
    log, which, _ = world.draw(30_000, np.random.default_rng(0))
    exact = Rewards(world.clicks[which], np.ones(2))
    nonsense = Rewards(np.full(world.clicks[which].shape, 0.5), np.ones(2))
    truth = world.truth
    assert estimates(evidence(log, world.target[which], nonsense, "item-position"))["dr"].estimate == pytest.approx(
        truth, rel=0.1
    )
    wrong = SlateLog(np.minimum(log.chances * 3, 1), log.shown, log.clicks)  # propensities that are not
    found = estimates(evidence(wrong, world.target[which], exact, "item-position"))
    assert found["dr"].estimate == pytest.approx(truth, rel=0.06)
    assert found["ips"].estimate < 0.6 * truth


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(300, ads=30, slots=3, seed=3)


def test_twenty_thousand_decisions_give_the_true_mean_back(world: World) -> None:
    log, which, _ = world.draw(20_000, np.random.default_rng(7))
    rewards = cross_fit(log, [one[which] for one in world.signals])
    other = evidence(log, world.target[which], rewards, "position-based")
    own = evidence(log, log.chances, rewards, "position-based")
    found = estimates(other)
    for one in found.values():
        assert one.low <= world.truth <= one.high
        assert one.estimate == pytest.approx(world.truth, rel=0.1)
    gain = differences(other, own, (choose_clip(other), choose_clip(own)))["dr"]
    assert 0 < gain.low <= world.truth - world.logged_truth <= gain.high
    assert rewards.examination == pytest.approx(1 / np.log2(np.arange(3) + 2), abs=0.1)
    assert found["dr"].width < found["ips"].width  # the reward model takes noise away
    assert unsupported(log, world.target[which], "position-based") == 0


@pytest.mark.slow
def test_estimates_are_within_two_percent_and_intervals_cover(world: World) -> None:
    """300 logs. Of 95 % intervals 285 should cover; 274 are the least that chance allows (p > .01)."""
    found = study(world, 300, 3000, "position-based", {"studentised": studentised})["studentised"]
    for name in ("snips", "dr", "difference snips", "difference dr"):
        assert abs(found[name].bias) < 0.02, name
        assert found[name].covers * 300 >= 274, name


def test_wilson_is_the_textbook_interval() -> None:
    for successes, trials in ((0, 20), (46, 10_000), (69, 10_000), (20, 20)):
        expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        found = wilson(successes, trials)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


def test_the_bootstraps_agree_with_theory_where_it_is_easy() -> None:
    values = np.random.default_rng(0).normal(3, 2, 5000)
    expected = normal(mean_of(values))
    for bounds in (studentised, bca):
        found = bounds(mean_of(values))
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)
        assert bounds(mean_of(values)) == found  # the same seed, the same interval
    clicks = np.zeros(10_000)
    clicks[:46] = 1
    textbook, boot = wilson(46, 10_000), studentised(mean_of(clicks))
    assert (boot.low, boot.high) == pytest.approx((textbook.low, textbook.high), abs=2e-4)


@given(arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([0.0, 1.0, 7.0])))
@settings(max_examples=40, deadline=None)
def test_no_sample_breaks_an_interval(values: np.ndarray) -> None:
    for bounds in (studentised, bca, normal):
        found = bounds(mean_of(values))
        assert found.estimate == pytest.approx(values.mean())
        assert not np.isnan(found.low) and not np.isnan(found.high)


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1e6)))
def test_the_effective_sample_size_is_between_one_and_all(weights: np.ndarray) -> None:
    if np.square(weights).sum() > 0:
        assert 1 - 1e-6 <= effective(weights) <= len(weights) + 1e-6
    assert effective(np.ones(7)) == pytest.approx(7)


def test_clipping_lets_moderate_weights_be_and_cuts_monsters() -> None:
    count = 4000

    def shown(weights: np.ndarray) -> Evidence:
        ones = np.ones(count)
        return Evidence(np.arange(count), 0 * ones, weights, ones, 0.005 * ones, 0.005 * ones)

    moderate = np.where(np.arange(count) % 20 == 0, 10.0, 10 / 19)
    assert choose_clip(shown(moderate)).rows == 0
    monster = np.ones(count)
    monster[0] = 20_000.0
    found = choose_clip(shown(monster))
    assert found.limit < 100 and found.rows == 1 and found.mass > 0.8
    assert choose_clip(shown(np.ones(count))) == clipping_at(shown(np.ones(count)), 1.0)
    # What is cut off is the bias, where the reward model is right.
    cut = clipping_at(shown(moderate), 4.0)
    assert cut.bias_bound == pytest.approx(6.0 / 20 * 0.005) and cut.rows == count // 20


def test_what_the_log_could_not_have_shown_is_counted() -> None:
    chances = np.zeros((1, 3, 2))
    chances[0, 0] = [0.5, 0.5]
    chances[0, 1] = [0.5, 0.5]
    log = SlateLog(chances, np.array([[0, 1]]), np.zeros((1, 2)))
    target = np.zeros((1, 3, 2))
    target[0, 2, 0], target[0, 0, 1] = 1, 1
    for click_model in CLICK_MODELS:
        assert unsupported(log, target, click_model) == 0.5


def test_the_reward_model_finds_the_positions_factors() -> None:
    rng = np.random.default_rng(0)
    count, factors = 60_000, np.array([1.0, 0.6, 0.3])
    signal = np.log(rng.uniform(0.05, 0.5, count))
    slots = rng.integers(3, size=count)
    clicks = (rng.random(count) < np.exp(signal) * factors[slots]).astype(np.float64)
    fitted = RewardModel.fit(signal[:, None], slots, clicks, 3)
    assert fitted.examination == pytest.approx(factors, rel=0.1)
    assert fitted.weights == pytest.approx([1.0], abs=0.05)
    predicted = fitted.predict(signal[:, None])
    assert predicted.shape == (count, 3)
    assert predicted[np.arange(count), slots].sum() == pytest.approx(clicks.sum(), rel=1e-3)
    nothing = RewardModel.fit(signal[:100, None], slots[:100], np.zeros(100), 3)
    assert np.isfinite(nothing.predict(signal[:100, None])).all()


def test_a_rebuilt_slate_keeps_to_the_rules_and_to_one_ad_a_slot() -> None:
    scores = np.array([0.1, 0.5, 0.4, 0.3, 0.2, 0.05])
    chances = chances_of(scores, [Traits({})] * 6, 2, 0.2, 0.1)
    assert chances.sum(axis=0) == pytest.approx([1, 1])
    assert chances[1].sum() == pytest.approx(0.8) and chances[1, 0] == pytest.approx(0.8 * 0.95)
    assert (chances.sum(axis=1) > 0).all()  # every candidate keeps a chance
    one_campaign = [Traits({"c:x": Ration(1, strict=True)}, campaign="x")] * 5 + [Traits({})]
    apart = chances_of(scores, one_campaign, 2, 0.2, 0.1)
    assert apart[[1, 5]].sum(axis=1).min() > 0.1 and apart.sum(axis=0) == pytest.approx([1, 1])


def test_cross_fitting_never_shows_a_click_to_its_own_expectation() -> None:
    world = make_world(40, ads=20, slots=2, seed=5)
    log, which, _ = world.draw(200, np.random.default_rng(0))
    signals = [one[which] for one in world.signals]
    before = cross_fit(log, signals, folds=200, seed=0).modelled[17]
    flipped = SlateLog(log.chances, log.shown, log.clicks.copy())
    flipped.clicks[17] = 1 - flipped.clicks[17]
    assert cross_fit(flipped, signals, folds=200, seed=0).modelled[17] == pytest.approx(before)


def test_of_people_who_decide_once_the_interval_is_that_of_decisions() -> None:
    values = np.random.default_rng(0).binomial(1, 0.1, 400).astype(np.float64)
    alone = by_person(mean_of(values), np.random.default_rng(1).permutation(400))
    assert alone.estimate == pytest.approx(values.mean())
    once, known = studentised(alone), studentised(mean_of(values))
    assert (once.low, once.high) == pytest.approx((known.low, known.high))


def test_whoever_decides_twice_alike_tells_as_much_as_once() -> None:
    values = np.random.default_rng(0).binomial(1, 0.1, 400).astype(np.float64)
    twice, people = np.repeat(values, 2), np.repeat(np.arange(400), 2)
    known, fooled, found = normal(mean_of(values)), normal(mean_of(twice)), normal(by_person(mean_of(twice), people))
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert fooled.high - fooled.low < 0.72 * (found.high - found.low)


def test_intervals_over_people_cover_where_those_over_decisions_do_not() -> None:
    """Logs of people who decide 15 times each on average: the truth is known."""
    world = make_world(600, ads=30, slots=3, rate=0.1, temper=1.5, seed=3)
    found = study(world, 60, 1000, "position-based", {"over decisions": studentised}, per_person=15, seed=3)
    old, new = found["over decisions"], found["over decisions, by person"]
    for estimator in ("snips", "dr"):
        assert new[estimator].covers >= 0.88 and old[estimator].covers <= 0.82, (old, new)
