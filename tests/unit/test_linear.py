"""The linear model of what people have together: its closed form, its limits, and where it is worth something."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from infra.training import linear
from infra.training.transitions import CHOICES, Setting, Transitions, search

HISTORIES = [np.array(one) for one in ([0, 1, 2], [1, 0], [2, 3, 0, 1], [3, 4], [4, 2, 2])]


def held(histories: list[np.ndarray], items: int) -> np.ndarray:
    table = np.zeros((len(histories), items))
    for row, history in enumerate(histories):
        table[row, history] = 1
    return table


def test_the_weights_are_those_of_the_ridge_regression_without_oneself() -> None:
    sets = held(HISTORIES, 5)
    found = linear.weights(HISTORIES, 5, 2.0).toarray()

    def loss(flat: np.ndarray) -> float:
        table = flat.reshape(5, 5) * (1 - np.eye(5))
        return float(((sets - sets @ table) ** 2).sum() + 2.0 * (table**2).sum())

    best = minimize(loss, np.zeros(25), tol=1e-10).x.reshape(5, 5) * (1 - np.eye(5))
    np.testing.assert_allclose(found, best, atol=1e-4)
    assert not found.diagonal().any()


def test_only_the_commonest_items_have_weights() -> None:
    found = linear.weights(HISTORIES, 6, 2.0, most=3).toarray()
    assert {int(place) for place in np.flatnonzero(found.any(axis=0))} == {0, 1, 2}
    np.testing.assert_allclose(
        found[:3, :3], linear.weights([one[one < 3] for one in HISTORIES], 3, 2.0).toarray(), rtol=1e-5
    )
    assert not linear.weights(HISTORIES, 6, 2.0, most=0).nnz


def test_the_largest_weights_are_kept_of_either_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = linear.weights(HISTORIES, 5, 0.1).toarray()
    monkeypatch.setattr(linear, "KEPT", 2)
    found = linear.weights(HISTORIES, 5, 0.1).toarray()
    assert (np.count_nonzero(found, axis=1) == 2).all()
    assert (
        np.abs(found).min(axis=1, where=found != 0, initial=9) >= np.sort(np.abs(whole), axis=1)[:, -2] - 1e-6
    ).all()
    assert (found < 0).any()


def test_what_was_had_long_ago_counts_less_where_memory_is_short() -> None:
    table = linear.weights(HISTORIES, 5, 2.0)
    dense = table.toarray()
    (found,) = linear.scores(table, [np.array([3, 0, 1]), np.array([4])], 0.5)
    np.testing.assert_allclose(found, [dense[1] + 0.5 * dense[0] + 0.25 * dense[3], dense[4]], rtol=1e-5)
    (short,) = linear.scores(table, [np.array([3, 0, 1])], 0.5, length=2)
    np.testing.assert_allclose(short[0], dense[1] + 0.5 * dense[0], rtol=1e-5)


def test_as_many_items_as_there_is_time_for() -> None:
    assert linear.affordable(-1) == linear.affordable(0) == 0
    assert linear.affordable(20) == pytest.approx(10_000, abs=1)
    assert linear.affordable(1e9) == linear.MOST_ITEMS


def tastes(people: int, items: int, length: int) -> list[np.ndarray]:
    """Histories by taste and popularity alone, in no order."""
    generator = np.random.default_rng(0)
    things, popular = generator.normal(size=(items, 12)) / 12**0.5, generator.normal(size=items)
    liking = 3 * generator.normal(size=(people, 12)) @ things.T + popular + generator.gumbel(size=(people, items))
    return [generator.permutation(row[:length]) for row in np.argsort(-liking, axis=1)]


@pytest.mark.slow
def test_where_order_says_nothing_it_finds_what_transitions_do_not() -> None:
    histories = tastes(600, 250, 20)
    users, targets = [one[1:] for one in histories], np.array([one[0] for one in histories])

    def recall(blocks: list[np.ndarray]) -> float:
        scores = np.concatenate(blocks)
        for row, history in enumerate(users):
            scores[row, history] = -np.inf
        top = np.argsort(-scores, axis=1)[:, :10]
        return float((top == targets[:, None]).any(axis=1).mean())

    model = Transitions(users, 250)
    _, best = search(Setting(), CHOICES, lambda one: recall(list(model.scores(users, one))), float("inf"))
    assert recall(list(linear.scores(linear.weights(users, 250, 100.0), users, 1.0))) > 1.3 * best
