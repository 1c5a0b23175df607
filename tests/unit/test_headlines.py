"""Headline tests: what is read of them, which pairs count, what they teach, and what a replay makes of predictions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from infra.evaluate import replay as replaying
from infra.evaluate.headlines import interval, multipliers
from infra.evaluate.replay import Setting, ab_test, lift_interval, policy, replay, tune
from infra.training import headline_linear, headline_stack
from infra.training.headline_scorer import Lessons
from infra.training.headline_targets import log_rates, soft_targets
from infra.training.headline_tests import (
    UNKNOWN,
    Headlines,
    HeadlinesError,
    pairs,
    pairwise_accuracy,
    read_headlines,
    significant,
    winners,
)
from tests.data import shared_data

pytestmark = pytest.mark.slow


def row(test: str, text: str, shown: float = 1000, clicked: float = 10, image: Any = "i") -> dict[str, Any]:
    return {"test_id": test, "text": text, "image_id": image, "impressions": shown, "clicks": clicked}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def simulated(seed: int, tests: int = 150, arms: int = 4, spread: float = 0.3) -> tuple[Headlines, np.ndarray]:
    """Tests whose log click rates scatter by `spread` about their test's, and the true ones."""
    generator = np.random.default_rng(seed)
    number = np.repeat(np.arange(tests), arms)
    truth = generator.normal(0, spread, len(number))
    rate = np.exp(np.log(0.02) + generator.normal(0, 0.5, tests)[number] + truth)
    shown = generator.integers(2000, 5000, len(number)).astype(float)
    clicked = generator.poisson(shown * rate).astype(float)
    texts = [f"text {place}" for place in range(len(number))]
    names = [str(test) for test in range(tests)]
    return Headlines(texts, number, np.zeros(len(number), np.int64), shown, clicked, names), truth


# Reading ------------------------------------------------------------------------------------------------------------


def test_rows_of_one_arm_are_added_up_and_tests_stand_together(tmp_path: Path) -> None:
    rows = [
        row("a", "one"),
        row("b", "x"),
        row("a", "two", 500, 5),
        row("a", "one ", 2000, 30),
        row("a", "one", image="j"),
    ]
    found = read_headlines(write(tmp_path / "f.jsonl", rows))
    assert found.names == ["a", "b"] and found.tests.tolist() == [0, 0, 0, 1]
    assert found.texts == ["one", "two", "one", "x"] and found.images.tolist() == [0, 0, 1, 0]
    assert found.impressions.tolist() == [3000, 500, 1000, 1000] and found.clicks[0] == 40


def test_an_image_that_is_not_known_makes_no_pair(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    lines = [json.dumps(row("a", text, image=image)) for text, image in [("x", float("nan")), ("y", None), ("z", "i")]]
    assert "NaN" in lines[0]  # as data frames write it
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = read_headlines(path)
    assert found.images.tolist() == [UNKNOWN, UNKNOWN, 0]
    assert len(pairs(found)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": " "}, "the text is empty"),
        ({"text": 3}, "must be strings"),
        ({"test_id": None}, "must be strings"),
        ({"clicks": 2000}, "more clicks than impressions"),
        ({"clicks": -1}, "`clicks` must be a count"),
        ({"impressions": "many"}, "`impressions` must be a count"),
        ({"impressions": float("nan")}, "`impressions` must be a count"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "f.jsonl", [row("a", "one"), row("a", "two") | change])
    with pytest.raises(HeadlinesError, match="line 2") as caught:
        read_headlines(path)
    assert message in str(caught.value)


def test_a_file_of_nothing_or_of_half_a_gzip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeadlinesError, match="no rows"):
        read_headlines(write(tmp_path / "f.jsonl", []))
    broken = tmp_path / "f.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"test_id": 1}\n' * 1000)[:-20])
    with pytest.raises(HeadlinesError):
        read_headlines(broken)


def test_tests_are_taken_whole_and_numbered_anew() -> None:
    headlines, _ = simulated(0, tests=5)
    part = headlines.take([3, 1])
    assert part.names == ["1", "3"] and part.tests.tolist() == [0] * 4 + [1] * 4
    assert part.texts[4] == headlines.texts[12]


# Pairs --------------------------------------------------------------------------------------------------------------


def test_pairs_are_of_one_test_and_image_and_of_two_texts() -> None:
    texts, images = ["a", "b", "a", "c"], np.array([0, 0, 1, 1])
    headlines = Headlines(texts, np.zeros(4, np.int64), images, np.full(4, 1000.0), np.full(4, 10.0), ["t"])
    found = pairs(headlines)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 1), (2, 3)]


def test_significance_is_the_two_proportion_test() -> None:
    counts = [(3000.0, 45.0), (3000.0, 70.0), (3000.0, 60.0), (0.0, 0.0)]
    shown, clicked = np.array(counts).T
    headlines = Headlines(list("abcd"), np.zeros(4, np.int64), np.zeros(4, np.int64), shown, clicked, ["t"])
    among = pairs(headlines)
    differs = dict(
        zip(zip(among.first.tolist(), among.second.tolist(), strict=True), significant(headlines, among), strict=True)
    )
    for (one, other), found in differs.items():
        if shown[one] and shown[other]:
            pooled = (clicked[one] + clicked[other]) / (shown[one] + shown[other])
            error = np.sqrt(pooled * (1 - pooled) * (1 / shown[one] + 1 / shown[other]))
            z = (clicked[one] / shown[one] - clicked[other] / shown[other]) / error
            assert found == (2 * norm.sf(abs(z)) < 0.05)
    assert differs[0, 1] and not differs[0, 2] and not differs[0, 3]


def test_accuracy_counts_winners_and_halves_ties() -> None:
    headlines, _ = simulated(1, tests=30)
    among = pairs(headlines)
    won = winners(headlines, among)
    rate = headlines.clicks / headlines.impressions
    assert pairwise_accuracy(rate, among, won) == 1.0
    assert pairwise_accuracy(-rate, among, won) == pytest.approx(0.0, abs=0.02)  # equal rates are nobody's win
    assert pairwise_accuracy(np.zeros(len(rate)), among, won) == 0.5
    low, high = interval(rate + np.random.default_rng(0).normal(0, 0.004, len(rate)), headlines, among, seed=0)
    assert 0.5 < low < high < 1


# What is learnt -----------------------------------------------------------------------------------------------------


def test_the_spread_within_tests_is_found_again_and_rates_are_shrunk() -> None:
    headlines, truth = simulated(2, tests=800)
    rates = log_rates(headlines)
    assert rates.spread == pytest.approx(0.09, rel=0.15)
    mean = np.bincount(headlines.tests, truth)[headlines.tests] / 4
    centre = np.bincount(headlines.tests, rates.mean)[headlines.tests] / 4
    seen = rates.seen - np.bincount(headlines.tests, rates.seen)[headlines.tests] / 4
    off = [float(np.mean((guess - (truth - mean)) ** 2)) for guess in (rates.mean - centre, seen)]
    assert off[0] < off[1]


def test_soft_targets_are_calibrated_and_little_known_pairs_weigh_little() -> None:
    headlines, truth = simulated(3, tests=1500)
    among = pairs(headlines)
    target, weight = soft_targets(headlines, among, log_rates(headlines))
    first = truth[among.first] > truth[among.second]
    for low in (0.1, 0.3, 0.6, 0.8):
        chosen = (target > low) & (target < low + 0.1)
        assert first[chosen].mean() == pytest.approx(target[chosen].mean(), abs=0.05)
    few = Headlines(["a", "b"], np.zeros(2, np.int64), np.zeros(2, np.int64), np.full(2, 10.0), np.full(2, 1.0), ["t"])
    _, little = soft_targets(few, pairs(few), log_rates(few, spread=0.09))
    assert little[0] < weight.mean() / 2


def test_lessons_keep_their_pairs_when_tests_are_taken() -> None:
    headlines, _ = simulated(4, tests=20, arms=3)
    lessons = Lessons.of(headlines)
    assert len(lessons) == 20 and len(lessons.arms) == 60 and len(lessons.first) == 60
    some = [5, 2, 11]
    part, rows = lessons.take(some), lessons.rows_of(some)
    assert len(part) == 3 and part.arms.tolist() == lessons.arms[rows].tolist()
    texts = [headlines.texts[arm] for arm in part.arms]
    assert [texts[place] for place in part.first[:3]] == [headlines.texts[arm] for arm in (15, 15, 16)]
    whole, among, sides = lessons.part([7])
    assert whole == [21, 22, 23] and among.tolist() == [21, 22, 23]
    assert sides.tolist() == [[0, 0, 1], [1, 2, 2]]


def test_a_text_under_two_images_is_one_row() -> None:
    texts, images = ["a", "b", "a", "b"], np.array([0, 0, 1, 1])
    headlines = Headlines(texts, np.zeros(4, np.int64), images, np.full(4, 1e4), np.array([10.0, 90, 20, 95]), ["t"])
    lessons = Lessons.of(headlines)
    assert len(lessons.arms) == 2 and lessons.first.tolist() == [0, 0] and lessons.second.tolist() == [1, 1]
    assert (lessons.target < 0.1).all()


def test_linear_models_learn_which_word_wins() -> None:
    headlines, truth = simulated(5, tests=120)
    texts = [f"{'wow' if value > 0 else 'meh'} thing number {place % 7}" for place, value in enumerate(truth)]
    worded = Headlines(
        [f"{text} {place}" for place, text in enumerate(texts)],
        headlines.tests,
        headlines.images,
        headlines.impressions,
        headlines.clicks,
        headlines.names,
    )
    lessons = Lessons.of(worded)
    asked = ["wow a thing", "meh a thing"]
    plain = headline_linear.tfidf_scores([worded.texts[arm] for arm in lessons.arms], lessons, asked)
    assert plain[0] > plain[1]
    number = {"wow": 4, "meh": 5, "thing": 6}
    ids = [[0, number[text.split()[0]], 6, 20 + place % 7, 2] for place, text in enumerate(texts)]
    model = headline_linear.fit_ngrams([ids[arm] for arm in lessons.arms], lessons)
    wow, meh = model.logits([[0, 4, 6, 2], [0, 5, 6, 2]])[:, 0]
    assert wow > meh


def test_the_stack_gives_log_click_rates_and_what_is_left_open() -> None:
    headlines, truth = simulated(6, tests=1500)
    noise = np.random.default_rng(1).normal(0, 1, len(truth))
    found = headline_stack.fit(np.stack([truth / 2, noise], axis=1), headlines)
    assert found.weights[0] == pytest.approx(2.0, rel=0.1) and found.weights[1] < 0.05
    half = headline_stack.fit(noise[:, None], headlines)
    assert half.left == pytest.approx(0.09, rel=0.2) and found.left < 0.02
    assert found.prior_clicks > 4 * half.prior_clicks


def test_two_scores_that_tell_the_same_share_the_weight() -> None:
    headlines, truth = simulated(11, tests=100)
    generator = np.random.default_rng(2)
    both = truth[:, None] + generator.normal(0, 0.3, (len(truth), 2))
    found = headline_stack.fit(both, headlines)
    alone, _ = np.linalg.lstsq(both, truth, rcond=None)[:2]
    assert abs(found.weights[0] - found.weights[1]) < 0.15
    assert found.weights.sum() == pytest.approx(alone.sum(), rel=0.3)


def test_the_weights_do_not_depend_on_the_order_of_the_scores() -> None:
    headlines, truth = simulated(11, tests=60)
    generator = np.random.default_rng(2)
    scores = truth[:, None] + generator.normal(0, [0.2, 0.5, 0.8], (len(truth), 3))
    found = headline_stack.fit(scores, headlines).weights
    turned = headline_stack.fit(scores[:, [2, 0, 1]], headlines).weights
    np.testing.assert_allclose(turned, found[[2, 0, 1]], rtol=1e-6)
    assert found[0] > found[2] > 0


# The replay ---------------------------------------------------------------------------------------------------------


def test_a_good_prediction_pays_most_where_traffic_is_scarce() -> None:
    headlines, truth = simulated(7, tests=60)
    nothing = np.ones(len(truth))
    known = multipliers(headlines, truth)
    assert known[:4].prod() == pytest.approx(1.0, abs=1e-5)
    setting = Setting("ucb", 20.0, 1.0)
    lifts = []
    for traffic in (0.03, 1.0):
        found = replay(
            headlines,
            {
                "ours": (policy(setting, 0.02), known),
                "ucb": (policy(setting, 0.02), nothing),
                "ab_test": (ab_test, nothing),
            },
            traffic=traffic,
            seed=0,
            repetitions=3,
        )
        assert found["ours"].total > found["ucb"].total > found["ab_test"].total
        assert 0 < found["ours"].regret < found["ab_test"].regret < 1
        low, high = lift_interval(found["ours"], found["ab_test"], seed=0)
        assert low < found["ours"].total / found["ab_test"].total - 1 < high
        lifts.append(found["ours"].total / found["ucb"].total)
    assert lifts[0] > lifts[1]


def test_the_same_policy_is_clicked_the_same_under_two_names_and_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headlines, _ = simulated(8, tests=12, arms=3)
    one = (ab_test, np.ones(len(headlines)))
    found = replay(headlines, {"a": one, "b": one}, traffic=0.1, seed=3, repetitions=2)
    np.testing.assert_array_equal(found["a"].clicks, found["b"].clicks)
    expected = headlines.clicks.sum() * 0.1
    assert found["a"].total == pytest.approx(expected, rel=0.15)
    monkeypatch.setattr(replaying, "MOST_OUTCOMES", 1)
    single = replay(headlines, {"a": one}, traffic=0.1, seed=3, repetitions=2)
    assert single["a"].clicks.shape == found["a"].clicks.shape
    np.testing.assert_allclose(single["a"].best, found["a"].best)


def test_a_policy_knows_nothing_of_the_batch_before() -> None:
    """What a batch was clicked is known only when the next one has been shown."""
    headlines, _ = simulated(9, tests=1, arms=2)
    seen: list[float] = []

    def watch(shown: np.ndarray, clicked: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        seen.append(float(shown[0].sum()))
        return ab_test(shown, clicked, multipliers)

    replay(headlines, {"a": (watch, np.ones(2))}, traffic=1.0, seed=0, repetitions=1)
    assert seen[:2] == [0.0, 0.0] and 0 < seen[2] < seen[3]
    people = headlines.impressions.sum()
    assert seen[2] == pytest.approx(people / replaying.BATCHES, rel=0.01)


def test_tuning_takes_what_does_best() -> None:
    headlines, truth = simulated(10, tests=40)
    known = multipliers(headlines, truth)
    trusting, doubting = Setting("ucb", 100.0, 0.0), Setting("ucb", 0.5, 5.0)
    assert tune(headlines, known, 0.02, [doubting, trusting], traffic=(0.03,), seed=0) == trusting


# The data pack ------------------------------------------------------------------------------------------------------


def test_the_packs_file_has_the_pairs_that_were_counted() -> None:
    headlines = read_headlines(shared_data("headlines/upworthy/train.jsonl.gz"))
    among = pairs(headlines)
    assert len(headlines.names) == 3778 and len(among) == 15538
    assert int(significant(headlines, among).sum()) == 4414
