"""Rows of the tuning list, scored as if the hints of their categories had not known them."""

from __future__ import annotations

import numpy as np
import pytest

from infra.training.label_vectors import Embedded
from infra.training.tuning import Row
from infra.training.unaided import named_share, unaided, words
from shared.models.classifier import Space, unit
from shared.models.taxonomy import load_taxonomy

WEIGHT = 0.33
KETTLE = Row(
    "ad",
    "ecommerce",
    "钛合金水壶 750 毫升",
    "钛合金水壶 750 毫升. 轻",
    {"adproduct": frozenset(), "content": frozenset()},
)


def space_of(words_of: dict[int, list[str]], rows: list[Row], accepted: list[int], queries: np.ndarray) -> Embedded:
    """The taxonomy with no terms but the names and those of `words_of`, each in a direction of its own."""
    taxonomy = load_taxonomy("adproduct")
    distinct: list[str] = []
    category_of, term_of = [], []
    for index, category in enumerate(taxonomy.values()):
        for term in (*category.name.values(), *words_of.get(index, [])):
            if term not in distinct:
                distinct.append(term)
            category_of.append(index)
            term_of.append(distinct.index(term))
    vectors = unit(np.random.default_rng(0).normal(size=(len(distinct), 8)).astype(np.float32))
    table = np.zeros((len(rows), len(taxonomy)), bool)
    table[np.arange(len(rows)), accepted] = True
    zeros = np.zeros(8, np.float32)
    return Embedded(
        taxonomy,
        Space(zeros, zeros),
        unit(np.random.default_rng(1).normal(size=(len(taxonomy), 8)).astype(np.float32)),
        vectors,
        np.array(category_of, np.int32),
        np.array(term_of, np.int32),
        distinct,
        rows,
        queries,
        table,
        vectors[:3],
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [("钛水壶", {"钛水", "水壶"}), ("A titanium Kettle app", {"titanium", "kettle"}), ("9 元", set()), ("壶", set())],
)
def test_words_are_english_ones_and_pairs_of_chinese_characters(text: str, found: set[str]) -> None:
    assert words(text) == found


def test_a_hint_that_knew_the_row_is_taken_away_and_others_stay() -> None:
    query = unit(np.ones((1, 8), np.float32))
    one = np.ones(1, bool)
    for hint, kept in (("水壶", False), ("茶叶", True)):
        made = space_of({0: [hint]}, [KETTLE], [0], query)
        own = made.term_of[made.category_of == 0]
        made.terms[own[-1]] = query[0]  # the hint is the row itself
        scores = np.zeros(made.accepted.shape)
        scores[0, 0] = 0.9
        found = unaided(made, one, ~one, scores, WEIGHT)
        names = made.terms[own[:2]]
        without = WEIGHT * query[0] @ unit(names.mean(axis=0)) + (1 - WEIGHT) * (names @ query[0]).mean()
        assert found[0, 0] == pytest.approx(0.9 if kept else without, abs=1e-6)
        np.testing.assert_array_equal(found[0, 1:], scores[0, 1:])


def test_the_hints_of_wrong_categories_stay() -> None:
    made = space_of({1: ["水壶"]}, [KETTLE], [0], unit(np.ones((1, 8), np.float32)))
    scores = np.full(made.accepted.shape, 0.5)
    one = np.ones(1, bool)
    np.testing.assert_array_equal(unaided(made, one, ~one, scores, WEIGHT), scores)


def test_the_share_counts_rows_that_name_their_category() -> None:
    taxonomy = load_taxonomy("adproduct")
    name = next(iter(taxonomy.values())).name["zh"]
    named = Row("ad", "ecommerce", name, name, KETTLE.accepted)
    made = space_of({}, [KETTLE, named], [0, 0], np.ones((2, 8), np.float32))
    assert named_share(made) == 0.5
