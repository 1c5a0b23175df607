"""The measuring command's figures and its contract: exit codes, and one JSON object as the last line of stdout."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss
from typer.testing import CliRunner

from infra.evaluate import classify
from infra.evaluate.__main__ import app
from infra.training import calibrate
from infra.training.baselines import majority, tfidf, tfidf_model
from infra.training.labels import Rows
from infra.training.next_item_figures import measure

pytestmark = pytest.mark.slow

CLASSES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(CLASSES)
def test_accuracy_and_f1_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, guess = (np.array(side) for side in zip(*pairs, strict=True))
    assert calibrate.accuracy(truth, guess) == pytest.approx(accuracy_score(truth, guess))
    assert calibrate.macro_f1(truth, guess) == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))


def test_log_loss_is_scikit_learns_and_leaves_unknown_labels_out() -> None:
    generator = np.random.default_rng(0)
    logits, truth = generator.normal(size=(50, 4)), generator.integers(0, 4, 50)
    expected = log_loss(truth, calibrate.softmax(logits), labels=range(4))
    assert calibrate.log_loss(logits, truth) == pytest.approx(expected, abs=1e-5)
    more, unknown = np.concatenate([logits, logits]), np.concatenate([truth, np.full(50, -1)])
    assert calibrate.log_loss(more, unknown) == pytest.approx(expected, abs=1e-5)


def test_ece_is_zero_when_confidence_is_accuracy_and_the_gap_otherwise() -> None:
    truth = np.array([0, 0, 0, 1] * 25)
    sure = np.tile(np.array([[0.75, 0.25]], np.float32), (100, 1))
    assert calibrate.expected_calibration_error(sure, truth) == pytest.approx(0.0, abs=1e-6)
    surer = np.tile(np.array([[0.99, 0.01]], np.float32), (100, 1))
    assert calibrate.expected_calibration_error(surer, truth) == pytest.approx(0.24, abs=1e-6)


@pytest.mark.parametrize("n", [100, 800, 20_000])
def test_what_few_rows_show_of_a_calibrated_head_is_not_zero(n: int) -> None:
    generator = np.random.default_rng(n)
    probabilities = generator.dirichlet(np.ones(4), n)
    draws = [(probabilities.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1) for _ in range(20)]
    seen = [calibrate.expected_calibration_error(probabilities, truth) for truth in draws]
    expected = calibrate.error_by_chance(probabilities.max(axis=1))
    assert expected == pytest.approx(np.mean(seen), rel=0.2)
    assert expected < 1.2 / np.sqrt(n)


@pytest.mark.parametrize("heat", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(heat: float) -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(20_000, 5)) * 2
    truth = np.array([generator.choice(5, p=row) for row in calibrate.softmax(logits)])
    assert calibrate.temperature(logits * heat, truth) == pytest.approx(heat, rel=0.05)


def test_the_threshold_leaves_out_what_is_mostly_wrong() -> None:
    confidence = np.linspace(0.51, 0.99, 100, dtype=np.float32)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    truth = np.where(np.arange(100) < 40, 1, 0)  # the forty least sure are wrong
    assert calibrate.threshold(probabilities, truth) == pytest.approx((confidence[39] + confidence[40]) / 2, abs=1e-3)
    assert calibrate.threshold(probabilities, np.zeros(100, np.int64)) == 0.0


def test_a_useless_model_gets_no_weight_in_the_blend() -> None:
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 3, 600)
    good = np.eye(3)[truth] * 2 + generator.normal(size=(600, 3))
    assert calibrate.blend(good, generator.normal(size=(600, 3)), truth)[0] <= 0.2
    assert calibrate.blend(good, np.eye(3)[truth] * 2 + generator.normal(size=(600, 3)), truth)[0] >= 0.5


def test_tfidf_reads_chinese_by_characters_and_english_by_words() -> None:
    train = Rows(["买新手机", "手机降价", "足球比赛", "比赛赢球"] * 3, ["tech", "tech", "sport", "sport"] * 3)
    assert tfidf(train, Rows(["旧手机", "看比赛"], [])).tolist() == ["tech", "sport"]
    train = Rows(["a new phone", "cheap phones", "a football match", "match won"] * 3, ["t", "t", "s", "s"] * 3)
    assert tfidf(train, Rows(["phone", "the match"], [])).tolist() == ["t", "s"]


def test_tfidf_falls_back_to_characters_and_knows_how_sure_it_is() -> None:
    train = Rows(["a b", "b a", "c d", "d c"], ["x", "x", "y", "y"])  # no word of two letters
    found = tfidf_model(train, Rows(["a", "d"], []))
    assert (found.names, found.labels.tolist()) == (["x", "y"], ["x", "y"])
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0)


def test_the_most_frequent_label() -> None:
    assert majority(Rows(["1", "2", "3", "4"], ["b", "a", "b", "a"])) == ("a", 0.5)
    label, share = majority(Rows(["1", "2", "3"], ["b", "a", "b"]))
    assert label == "b" and share == pytest.approx(2 / 3)


# Measuring a head ---------------------------------------------------------------------------------------------------


class _Head:
    """Says the label whose name stands in the text, the first where none does."""

    name, version, threshold = "measured", "v1", 0.5

    def probabilities(self, texts: list[str]) -> np.ndarray:
        places = [1 if "y" in text else 0 for text in texts]
        return (np.eye(2)[places] * 0.8 + 0.1).astype(np.float32)


@dataclass
class _Point:
    share: float


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands for the training, which needs torch; what it was given comes back."""
    asked: list[dict[str, Any]] = []

    def train(rows: Rows, dev: Rows, folder: Path, name: str, **options: Any) -> SimpleNamespace:
        asked.append(options | {"rows": rows, "dev": dev})
        manifest = SimpleNamespace(metadata={"temperature": 1.0, "agreement": {"cosine": 0.999}})
        frozen = np.zeros(len(options["asked"]), np.int64)
        return SimpleNamespace(
            folder=folder,
            labels=["x", "y"],
            seconds=1.0,
            dev={},
            plan={},
            curves={"multilingual": [], "english": [_Point(0.5)]},
            manifest=manifest,
            frozen_test=frozen,
        )

    module: Any = ModuleType("infra.training.train_head")
    module.train = train
    export: Any = ModuleType("infra.training.export")
    export.Refused = type("Refused", (Exception,), {})
    monkeypatch.setitem(sys.modules, "infra.training.train_head", module)
    monkeypatch.setitem(sys.modules, "infra.training.export", export)
    monkeypatch.setattr("shared.models.classifier.Head.load", lambda folder, threads: _Head())
    return asked


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def test_classify_measures_what_is_served_beside_its_baselines(tmp_path: Path, trainer: list[dict[str, Any]]) -> None:
    rows = [(f"{label} text {place}", label) for place in range(20) for label in "xy"]
    train = write_rows(tmp_path / "train.jsonl", [*rows, rows[0]])
    test = write_rows(tmp_path / "test.jsonl", [("x new", "x"), ("y new", "y"), ("y odd", "x"), ("z", "z"), rows[0]])
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "unlabelled"}\n')
    found = classify.measure(train, test, unlabelled=more, budget_seconds=600)
    figures = found.figures
    assert figures["accuracy"] == pytest.approx(3 / 5) and figures["n"] == 5
    assert figures["interval95"] == [0.2307, 0.8824]
    assert (figures["test_texts_in_train"], figures["test_labels_not_in_train"]) == (1, 1)
    assert figures["int8"] == {"cosine": 0.999}
    assert figures["notes"] == ["train.jsonl: 1 row repeat a text and its label; each counts."]
    assert set(figures["baselines"]) == {"tfidf", "frozen_head", "majority"}
    assert figures["baselines"]["tfidf"]["ece"] >= 0 and figures["baselines"]["majority"]["accuracy"] == 3 / 5
    assert found.truth.tolist() == [0, 1, 0, -1, 0] and found.predicted.tolist() == [0, 1, 1, 0, 0]
    given = trainer[0]
    assert given["unlabelled"] == ["unlabelled"] and len(given["rows"]) + len(given["dev"]) == 41
    assert not set(given["rows"].texts) & {"x new", "y new"}  # nothing is fitted on the test rows
    assert json.loads(json.dumps(figures)) == figures
    assert found.curves["multilingual"] == [] and [row["share"] for row in found.curves["english"]] == [0.5]


# The command --------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_measured_on(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n')
    result = CliRunner().invoke(app, ["classify", "--train", str(file), "--test", str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "rows.jsonl, line 1: no label" in result.stderr.replace("\n", " ")
    assert CliRunner().invoke(app, ["classify", "--train", str(tmp_path / "none"), "--test", str(file)]).exit_code == 2


# Ranking ------------------------------------------------------------------------------------------------------------


def write_shop(folder: Path, users: int = 120) -> tuple[Path, Path]:
    """A shop of 60 items where i is followed by i + 1 and by others at random."""
    generator = np.random.default_rng(0)
    items, events = folder / "items.jsonl", folder / "events.jsonl"
    items.write_text(
        "".join(json.dumps({"item_id": f"i{n}", "title": f"item {n}", "categories": ["c"]}) + "\n" for n in range(60))
    )
    lines = []
    for user in range(users):
        start = int(generator.integers(0, 60))
        for position in range(6):
            item = (start + position) % 60
            lines.append({"user_id": f"u{user}", "item_id": f"i{item}", "event": "purchase", "position": position})
    generator.shuffle(lines)
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return items, events


def random_vectors(texts: list[str]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(texts), 16)).astype(np.float32)


def test_rank_finds_the_order_that_is_there(tmp_path: Path) -> None:
    # Both import torch, which quick tests do without.
    from infra.evaluate import rank
    from infra.training.sequence import Plan

    plan = Plan(width=16, content=16, layers=1, epochs=6, rate=1e-2)
    result = rank.run(*write_shop(tmp_path), random_vectors, k=5, budget_seconds=300, plan=plan)
    assert result["users"] == 120
    assert result["excluded_seen"]
    assert result["recall"] > 0.9
    assert result["baselines"]["popularity"]["recall"] < 0.4
    assert set(result["baselines"]) == {"popularity", "co_occurrence", "transitions", "content"}


def test_rank_measures_recall_and_ndcg_by_place() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.3], [0.9, 0.8, 0.1, 0.2], [0.4, 0.1, 0.2, 0.3]], np.float32)
    seen = [np.array([1]), np.array([3]), np.array([0])]
    found = measure(iter([scores]), seen, np.array([2, 1, 0]), 2, True, 4)
    assert found.recall == pytest.approx(2 / 3)  # the third target is one that the person had: it cannot be shown
    assert found.ndcg == pytest.approx((1 + 1 / np.log2(3)) / 3)
