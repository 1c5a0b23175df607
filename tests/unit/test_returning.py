"""What people take again: classes of age, what they are worth, and what is moved by them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from infra.training.returning import again, by_age, had
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
    score = np.zeros((2, 6), np.float32)
    again(score, had([np.array([4, 2, 4, 4]), np.array([0])]), [1.0, -0.5, *[9.0] * (AGE_CLASSES - 2)])
    np.testing.assert_array_equal(score, [[0, 0, -0.5, 0, 1, 0], [1, 0, 0, 0, 0, 0]])


def people(count: int, truth: np.ndarray, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Histories of twelve things, what each takes again by the `truth` of its age, and scores that are told as well."""
    generator = np.random.default_rng(seed)
    users = [generator.permutation(30)[:12] for _ in range(count)]
    held = had(users)
    scores = generator.normal(size=len(held.items))
    logits = (scores + truth[held.ages]).reshape(count, 12) + generator.gumbel(size=(count, 12))
    return users, held.items.reshape(count, 12)[np.arange(count), logits.argmax(axis=1)], scores


def test_what_age_is_worth_is_found_beside_what_the_scores_say() -> None:
    truth = np.array([-2.0, 0.5, 1.0, 0.0, 0, 0, 0])
    users, targets, scores = people(4000, truth)
    found = by_age(scores, had(users), targets)
    np.testing.assert_allclose(found[:4] - found[3], truth[:4], atol=0.3)


def test_who_took_nothing_again_says_nothing_of_it() -> None:
    users, targets, scores = people(300, np.array([0.0, 2.0, 0, 0, 0, 0, 0]))
    others = [np.array([1, 2, 3])] * 50
    held = had([*users[:100], *others, *users[100:]])
    mixed = np.insert(scores, [1200] * 150, 5.0)
    wanted = np.concatenate([targets[:100], np.full(50, 99), targets[100:]])
    np.testing.assert_allclose(
        by_age(mixed, held, wanted) - by_age(mixed, held, wanted)[0],
        by_age(scores, had(users), targets) - by_age(scores, had(users), targets)[0],
        atol=1e-3,
    )
    assert not by_age(np.full(150, 5.0), had(others), np.full(50, 99)).any()


def test_few_people_move_little() -> None:
    users, targets, scores = people(3, np.array([0.0, 8.0, 0, 0, 0, 0, 0]))
    assert np.ptp(by_age(scores, had(users), targets)) < 2


@given(arrays(np.float64, (3, 12), elements=st.floats(-500, 500)), st.floats(-300, 300))
def test_scores_of_any_size_give_finite_weights_that_no_shift_changes(scores: np.ndarray, shift: float) -> None:
    users, targets, _ = people(3, np.zeros(AGE_CLASSES))
    found = by_age(scores.ravel(), had(users), targets)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(by_age((scores + shift).ravel(), had(users), targets), found, atol=1e-2)
