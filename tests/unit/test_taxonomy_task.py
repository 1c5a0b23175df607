"""The labelled rows and the task that measures zero-shot classification on them."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.evaluate import taxonomy_task
from infra.training import calibrate_taxonomy, label_vectors, tuning
from infra.training.tuning import Row
from shared.domain import Classification, Label
from shared.models.taxonomy import Taxonomy, load_taxonomy

# sport (ball, swim), food: a tree of two roots
TREE = Taxonomy(
    "adproduct",
    "0",
    [
        ("s", "", "sport", "运动", "sport, match", "比赛"),
        ("b", "s", "ball", "球", "ball, racket", "球拍"),
        ("w", "s", "swim", "游泳", "swim, pool", "泳池"),
        ("f", "", "food", "食物", "food, meal", "饭菜"),
    ],
)
ABOVE = taxonomy_task._above(TREE)


def row(kind: Any, title: str, *accepted: str, domain: str = "social") -> Row:
    known = frozenset(f"adproduct:{bare}" for bare in accepted)
    return Row(kind, domain, title, title, {"adproduct": known, "content": frozenset()})


class Letters:
    """An encoder whose vectors count the letters of a text."""

    dimensions = 384
    version = "letters"

    def encode(self, texts: Any, kind: str = "query") -> np.ndarray:
        found = np.zeros((len(texts), 384), np.float32)
        for place, text in enumerate(texts):
            for letter in text:
                found[place, ord(letter) % 384] += 1
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9))


class Says:
    """A classifier that answers what it is told to: (bare id, probability), abstaining below one half."""

    version, threshold = "says", 0.5

    def __init__(self, *answers: tuple[str, float]) -> None:
        self._answers = answers

    def classify_vectors(self, vectors: np.ndarray, top: int = 3) -> list[Classification]:
        assert vectors.shape == (len(self._answers), 384) and top == 1
        return [
            Classification((Label(f"adproduct:{key}", {"zh": key, "en": key}, share),), share < 0.5)
            for key, share in self._answers
        ]


def measured(rows: list[Row], *answers: tuple[str, float], report: bool = False) -> tuple[dict[str, Any], str]:
    console = Console(record=True, width=160, file=io.StringIO())
    found = taxonomy_task.measure(rows, TREE, Says(*answers), Letters(), console, report=report)  # type: ignore[arg-type]
    return found, console.export_text()


def test_figures_count_what_they_say() -> None:
    rows = [
        row("ad", "racket", "b"),
        row("ad", "pool", "w", domain="health"),
        row("item", "match", "b"),
        row("item", "meal", "f"),
        row("none", "hello", domain="none"),
        row("none", "ok", domain="none"),
    ]
    found, shown = measured(rows, ("b", 1.0), ("b", 1.0), ("s", 0.6), ("f", 0.4), ("f", 0.2), ("f", 0.8), report=True)
    assert found["n"] == 4 and found["n_none"] == 2
    assert found["accuracy"] == 0.5  # racket and meal, the meal although it is not served
    assert found["accuracy_with_ancestors"] == 0.75
    assert found["tier1_accuracy"] == 1.0
    assert found["answered"] == 0.75 and found["accuracy_when_answered"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["none_abstained"] == 0.5
    assert found["ece"] == pytest.approx((0 + 1 + 0.6 + 0.8) / 4)
    assert found["domains"]["health"]["n"] == 1 and found["domains"]["health"]["accuracy"] == 0.0
    assert set(found["baselines"]) == {"name_cosine", "tfidf", "most_frequent"}
    assert found["baselines"]["tfidf"]["accuracy"] == pytest.approx(0.75)  # "match" is a word of the parent's
    assert found["baselines"]["most_frequent"]["accuracy"] == 0.5
    assert "pool" in shown and "hello" not in shown


def test_a_baseline_is_not_told_the_answer() -> None:
    rows = [row("ad", "swim", "w"), row("ad", "food", "f")]
    found, _ = measured(rows, ("w", 1.0), ("f", 1.0))
    assert found["baselines"]["name_cosine"]["accuracy"] == 1.0
    swapped, _ = measured([row("ad", "swim", "f"), row("ad", "food", "w")], ("w", 1.0), ("f", 1.0))
    assert swapped["baselines"]["name_cosine"]["accuracy"] == swapped["baselines"]["tfidf"]["accuracy"] == 0.0


def test_an_ad_is_asked_as_the_catalogue_keeps_it_and_an_item_by_its_text() -> None:
    ad = Row("ad", "social", "ab", "ab. cd", {})
    item = Row("item", "social", "ab", "ab. cd", {})
    vectors = tuning.query_vectors([ad, item], Letters().encode)
    title, text = Letters().encode(["ab", "ab. cd"])
    np.testing.assert_allclose(vectors[0], (title + text) / np.linalg.norm(title + text), atol=1e-6)
    np.testing.assert_allclose(vectors[1], text, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 15)), min_size=1, max_size=20))
def test_looser_measures_are_never_lower(draws: list[tuple[int, int]]) -> None:
    first = np.array([place for place, _ in draws])
    accepted = np.array([[bool(bits >> place & 1) for place in range(4)] for _, bits in draws])
    found = taxonomy_task.shares(first, accepted, ABOVE)
    exact, looser, root = (found[name] for name in taxonomy_task.MEASURES)
    assert exact is not None and looser is not None and root is not None
    assert 0 <= exact <= looser <= root <= 1


def test_no_rows_have_no_shares() -> None:
    nothing = taxonomy_task.shares(np.zeros(0, int), np.zeros((0, 4), bool), ABOVE)
    assert set(nothing.values()) == {None}
    assert taxonomy_task.calibration_error(np.zeros(0), np.zeros(0, bool)) is None


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "ad"',
        "[]",
        '{"kind": "ad", "domain": "social", "title": "a", "adproduct": []}',
        '{"kind": "advert", "domain": "social", "title": "a", "adproduct": [], "content": []}',
    ],
)
def test_a_row_of_another_shape_is_named(tmp_path: Path, line: str) -> None:
    good = json.dumps({"kind": "none", "domain": "none", "title": "hm", "adproduct": [], "content": []})
    (tmp_path / "rows.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2"):
        tuning.read_rows(tmp_path / "rows.jsonl")


def test_an_id_of_no_category_is_named() -> None:
    with pytest.raises(ValueError, match=r"'tea'.*adproduct:x"):
        tuning.of_taxonomy([row("ad", "tea", "x")], TREE)


def test_no_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="no rows"):
        taxonomy_task.run([tmp_path / "empty.jsonl"], tmp_path, Console(stderr=True))


def test_the_tuning_list_is_large_varied_and_of_known_categories() -> None:
    rows = tuning.read_rows()
    ads = tuning.of_taxonomy(rows, load_taxonomy("adproduct"))
    content = tuning.of_taxonomy(rows, load_taxonomy("content"))
    about = Counter(one.domain for one in ads if one.kind == "ad")
    assert sum(about.values()) >= 350 and min(about[d] for d in ("ecommerce", "social", "education", "health")) >= 80
    assert sum(one.kind == "item" for one in content) >= 300
    assert sum(one.kind == "none" for one in rows) >= 60
    texts = [one.text for one in rows]
    assert len(set(texts)) == len(texts)
    fit = np.mean([tuning.is_fit(one) for one in rows])
    assert 0.4 < fit < 0.6
    series = {tuning.is_fit(one) for one in rows if one.title.startswith("Python ")}
    assert len(series) == 1


def test_the_calibration_is_whole() -> None:
    for name in label_vectors.TAXONOMIES:
        weights = label_vectors.calibration(name)
        assert weights["temperature"] > 0 and 0 < weights["threshold"] < 1
        assert set(weights) == {
            "temperature",
            "none_score",
            "none_weight",
            "prior_weight",
            "label_weight",
            "threshold",
        }


def made(monkeypatch: pytest.MonkeyPatch) -> label_vectors.Embedded:
    """The tree with thirty rows that say which category they are of, and ten of other letters about nothing."""
    rows = [
        *(row("ad", f"{number:02} {word} {word}", key) for number in range(10) for key, word in
          (("b", "racket"), ("w", "pool"), ("f", "meal"))),
        *(row("none", f"{number:02} zzz", domain="none") for number in range(20)),
    ]  # fmt: skip
    monkeypatch.setattr(label_vectors, "load_taxonomy", lambda name: TREE)
    monkeypatch.setattr(tuning, "read_rows", lambda: rows)
    return label_vectors.embed_taxonomy("adproduct", Letters(), lambda texts, what: Letters().encode(texts))  # type: ignore[arg-type]


def test_a_calibration_tells_something_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = calibrate_taxonomy.Scored(made(monkeypatch))
    weights, found = calibrate_taxonomy.find(scored)
    assert scored.loss(found, scored.fit) < scored.loss(np.array([np.log(0.03), 0.1, 1.0, 0.0]), scored.fit)
    figures = calibrate_taxonomy.figures(scored, found, weights["threshold"], ~scored.fit)
    assert figures["accuracy"] == 1.0 and figures["none_abstained"] == 1.0
    assert figures["accuracy_when_answered"] == 1.0 and figures["answered"] > 0.8


def test_a_row_is_never_its_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = made(monkeypatch)
    seen: list[np.ndarray] = []
    places = label_vectors.Embedded.places

    def watched(self: label_vectors.Embedded, chosen: np.ndarray) -> Any:
        seen.append(chosen)
        return places(self, chosen)

    monkeypatch.setattr(label_vectors.Embedded, "places", watched)
    scored = calibrate_taxonomy.Scored(embedded)
    *folds, everything = seen
    assert (everything == scored.fit).all()
    held = sum((scored.fit & ~chosen).astype(int) for chosen in folds)
    assert (held == scored.fit).all()  # each fit row is left out exactly once, and no check row is ever an example
    assert not any((chosen & ~scored.fit).any() for chosen in folds)
