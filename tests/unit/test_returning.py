"""What people take again: classes of age, what they are worth, and what is moved by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from infra.training.returning import again, had, joined, learned
from shared.models.next_item import AGE_CLASSES, age_classes


def test_ages_are_classed_by_powers_of_two() -> None:
    assert age_classes(16).tolist() == [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert age_classes(1000).max() == AGE_CLASSES - 1
    assert age_classes(0).tolist() == []


def test_each_item_is_had_once_as_old_as_its_last_time() -> None:
    held = had([np.array([5, 1, 5, 2]), np.array([7]), np.array([3, 3, 4])])
    assert list(zip(held.rows.tolist(), held.items.tolist(), held.ages.tolist(), strict=True)) == [
        (0, 2, 0),
        (0, 5, 1),
        (0, 1, 1),
        (1, 7, 0),
        (2, 4, 0),
        (2, 3, 1),
    ]


def test_what_was_had_is_moved_once_however_often() -> None:
    held, repeat = had([np.array([4, 2, 4, 4]), np.array([0])]), [1.0, -0.5, *[9.0] * (AGE_CLASSES - 2)]
    score = np.zeros((2, 6), np.float32)
    again(score, held, repeat, 0.0)
    np.testing.assert_array_equal(score, [[0, 0, -0.5, 0, 1, 0], [1, 0, 0, 0, 0, 0]])
    again(score, held, repeat, 2.0)  # and more for what was had thrice
    np.testing.assert_allclose(score, [[0, 0, -1, 0, 2 + 2 * np.log(3), 0], [2, 0, 0, 0, 0, 0]], rtol=1e-6)


def test_batches_are_put_together() -> None:
    users = [np.array([1, 2, 1]), np.array([3]), np.array([4, 5])]
    whole, parts = had(users), joined([had(users[:2]), had(users[2:])], 2)
    for name in ("rows", "items", "ages", "times"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def people(count: int, truth: np.ndarray, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Histories of twelve things, what each takes again by the `truth` of its age, and scores that are told as well."""
    generator = np.random.default_rng(seed)
    users = [generator.permutation(30)[:12] for _ in range(count)]
    held = had(users)
    scores = generator.normal(size=len(held.items))
    logits = (scores + truth[held.ages]).reshape(count, 12) + generator.gumbel(size=(count, 12))
    return users, held.items.reshape(count, 12)[np.arange(count), logits.argmax(axis=1)], scores


@pytest.mark.slow
def test_what_age_is_worth_is_found_beside_what_the_scores_say() -> None:
    truth = np.array([-2.0, 0.5, 1.0, 0.0, 0, 0, 0])
    users, targets, scores = people(4000, truth)
    found = learned(scores, had(users), targets)[0]
    np.testing.assert_allclose(found[:4] - found[3], truth[:4], atol=0.3)


@pytest.mark.slow
def test_what_often_is_worth_is_found_too() -> None:
    generator = np.random.default_rng(1)
    users = [generator.choice(12, 30) for _ in range(3000)]
    held = had(users)
    logits = 1.5 * held.times + generator.gumbel(size=len(held.items))
    targets = np.array([held.items[own][logits[own].argmax()] for own in (held.rows == row for row in range(3000))])
    lift, often = learned(np.zeros(len(held.items)), held, targets)
    assert 1.3 < often < 1.7
    assert np.ptp(lift[:4]) < 0.4  # age says nothing beside it
    assert abs(lift[held.ages].mean()) < 1e-6


def test_who_took_nothing_again_says_nothing_of_it() -> None:
    users, targets, scores = people(300, np.array([0.0, 2.0, 0, 0, 0, 0, 0]))
    others = [np.array([1, 2, 3])] * 50
    held = had([*users[:100], *others, *users[100:]])
    mixed = np.insert(scores, [1200] * 150, 5.0)
    wanted = np.concatenate([targets[:100], np.full(50, 99), targets[100:]])
    np.testing.assert_allclose(
        learned(mixed, held, wanted)[0] - learned(mixed, held, wanted)[0][0],
        learned(scores, had(users), targets)[0] - learned(scores, had(users), targets)[0][0],
        atol=1e-3,
    )
    assert not learned(np.full(150, 5.0), had(others), np.full(50, 99))[0].any()


def test_few_people_move_little() -> None:
    users, targets, scores = people(3, np.array([0.0, 8.0, 0, 0, 0, 0, 0]))
    assert np.ptp(learned(scores, had(users), targets)[0]) < 2


@given(arrays(np.float64, (3, 12), elements=st.floats(-500, 500)), st.floats(-300, 300))
def test_scores_of_any_size_give_finite_weights_that_no_shift_changes(scores: np.ndarray, shift: float) -> None:
    users, targets, _ = people(3, np.zeros(AGE_CLASSES))
    found = learned(scores.ravel(), had(users), targets)[0]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(learned((scores + shift).ravel(), had(users), targets)[0], found, atol=1e-2)
