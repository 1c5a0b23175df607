"""The linear head for few rows a label."""

from __future__ import annotations

import numpy as np
import pytest

from infra.training import fewshot
from infra.training.calibrate import log_loss, temperature
from infra.training.regression import fit_logistic, full_weights

pytestmark = pytest.mark.slow

LABELS, WIDTH = 12, 64


def world(seed: int, a_label: int, noise: float = 1.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows around one centre a label, in a few directions noisier than in others; their classes; the centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(LABELS, WIDTH))
    spread = np.linspace(0.2, 3.0, WIDTH) * noise
    classes = np.repeat(np.arange(LABELS), a_label)
    rows = centres[classes] + random.normal(size=(len(classes), WIDTH)) * spread
    return rows.astype(np.float32), classes, centres.astype(np.float32)


def right(weight: np.ndarray, bias: np.ndarray, rows: np.ndarray, classes: np.ndarray) -> float:
    return float(((rows @ weight.T + bias).argmax(axis=1) == classes).mean())


def test_it_beats_a_regression_on_few_rows() -> None:
    rows, classes, _ = world(0, 6)
    asked, truth, _ = world(1, 100)
    found = fewshot.fit(rows, classes, np.zeros((LABELS, WIDTH), np.float32))
    plain = full_weights(fit_logistic(rows, classes, 0.01), LABELS)
    assert right(found.weight, found.bias, asked, truth) > right(*plain, asked, truth) + 0.03


def test_names_that_say_something_are_used_and_others_are_not() -> None:
    rows, classes, centres = world(0, 4, noise=3.0)
    asked, truth, _ = world(1, 100, noise=3.0)
    told = fewshot.fit(rows, classes, centres)
    untold = fewshot.fit(rows, classes, np.zeros_like(centres))
    assert told.name_weight > 0
    assert right(told.weight, told.bias, asked, truth) > right(untold.weight, untold.bias, asked, truth) + 0.05
    many, their, _ = world(2, 40, noise=1.0)
    misled = fewshot.fit(many, their, np.random.default_rng(5).permutation(centres))
    assert misled.name_weight == 0


def test_its_logits_are_calibrated_as_they_are() -> None:
    rows, classes, centres = world(0, 8)
    asked, truth, _ = world(1, 100)
    found = fewshot.fit(rows, classes, centres)
    logits = asked @ found.weight.T + found.bias
    assert log_loss(logits, truth) == pytest.approx(found.loss, abs=0.25)


def test_frequent_labels_count_for_more_where_that_helps() -> None:
    rows, classes, centres = world(0, 30, noise=4.0)
    kept = np.flatnonzero((classes < 2) | (np.arange(len(classes)) % 10 == 0))
    found = fewshot.fit(rows[kept], classes[kept], centres)
    assert found.prior_weight > 0


def test_a_label_without_rows_or_with_one_makes_no_trouble() -> None:
    rows, classes, centres = world(0, 5)
    kept = np.flatnonzero((classes != 3) & ((classes != 4) | (np.arange(len(classes)) == 20)))
    found = fewshot.fit(rows[kept], classes[kept], centres)
    assert np.isfinite(found.weight).all() and np.isfinite(found.bias).all()


def test_the_same_rows_and_seed_give_the_same_head() -> None:
    rows, classes, centres = world(0, 5)
    one, other = (fewshot.fit(rows, classes, centres, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.weight, other.weight)


def test_unlabelled_rows_help() -> None:
    rows, classes, centres = world(0, 3, noise=1.2)
    more, _, _ = world(7, 300, noise=1.2)
    asked, truth, _ = world(1, 100, noise=1.2)
    head = fewshot.fit(rows, classes, np.zeros_like(centres))
    found = fewshot.with_unlabelled(head, rows, classes, np.zeros_like(centres), more)
    assert found.unlabelled_weight > 0 and found.loss < head.loss
    assert right(found.weight, found.bias, asked, truth) > right(head.weight, head.bias, asked, truth) + 0.02


def test_logits_that_unlabelled_rows_helped_with_are_calibrated_as_they_are() -> None:
    rows, classes, centres = world(0, 6, noise=2.0)
    more, _, _ = world(7, 300, noise=2.0)
    asked, truth, _ = world(1, 100, noise=2.0)
    head = fewshot.fit(rows, classes, np.zeros_like(centres))
    found = fewshot.with_unlabelled(head, rows, classes, np.zeros_like(centres), more)
    assert found.unlabelled_weight > 0
    assert temperature(asked @ found.weight.T + found.bias, truth) == pytest.approx(1.0, abs=0.3)


def test_unlabelled_rows_of_something_else_are_left_aside() -> None:
    rows, classes, centres = world(0, 12, noise=1.0)
    other = np.random.default_rng(3).normal(size=(3000, WIDTH)).astype(np.float32) * 40
    head = fewshot.fit(rows, classes, np.zeros_like(centres))
    assert fewshot.with_unlabelled(head, rows, classes, np.zeros_like(centres), other) is head


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["news_sports", "news_world_affairs"], ["sports", "world affairs"]),
        (["体育", "财经"], ["体育", "财经"]),
        (["a-b", "a-b-c"], ["b", "b c"]),
        (["", "x"], ["", "x"]),
        (["only"], ["only"]),
    ],
)
def test_labels_are_read_as_words(labels: list[str], words: list[str]) -> None:
    assert fewshot.spoken(labels) == words
