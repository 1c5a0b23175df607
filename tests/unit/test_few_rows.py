"""Heads of few rows that fine-tuning does not help."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from infra.training import few_rows, members, ngrams, train_head
from infra.training.calibrate import log_loss
from infra.training.choice import choose
from infra.training.members import Encoder
from infra.training.source import Source
from infra.training.train_head import Trained
from shared.models.classifier import Head
from tests.integration import tiny_training

pytestmark = pytest.mark.slow

LABELS, FEW = 3, object()
# So large a rate makes every state worse than the start.
SPOILT = {"rate": 30.0, "checks": 2, "adversarial": 0.0, "rdrop": 0.0}


def other() -> Source:
    return replace(tiny_training.source(), name="tiny, unprefixed", prefix="")


def trained(folder: Path, count: int = 90, dev: int = 60) -> Trained:
    return train_head.train(
        tiny_training.rows(count, 1),
        tiny_training.rows(dev, 2),
        folder / "head",
        "head",
        console=Console(quiet=True),
        bfloat16=False,
        epochs=1.0,
    )


def test_all_rows_are_learned_from_and_judge(tmp_path: Path) -> None:
    with tiny_training.tiny(**SPOILT):
        result = trained(tmp_path)
    assert result.plan["reached"] == 0 and result.plan["cross_validated"] and result.plan["refitted"]
    assert result.plan["ngram_weight"] > 0  # a random encoder knows little, single characters tell the label
    asked = tiny_training.rows(300, 3)
    truth = asked.classes(result.labels)
    probabilities = Head.load(result.folder, threads=1).probabilities(asked.texts)
    accuracy = float((probabilities.argmax(axis=1) == truth).mean())
    # Cross-validation says what the head does on texts that it has not seen.
    assert accuracy == pytest.approx(result.dev["accuracy"], abs=0.15) and accuracy > 0.6
    assert log_loss(np.log(np.maximum(probabilities, 1e-9)), truth) < np.log(LABELS)


def test_both_encoders_few_shot_heads_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_training.tiny(**SPOILT):
        encoders = [Encoder("multilingual", tiny_training.source), Encoder("chinese", other)]
        monkeypatch.setattr(members, "candidates", lambda _: encoders)
        monkeypatch.setattr(few_rows, "mixture", lambda held, _: [0.5] * len(held))
        result = trained(tmp_path)
    assert [one["encoder"] for one in (result.plan, *result.plan["beside"])] == ["multilingual", "chinese"]
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert [entry["prefix"] for entry in manifest["metadata"]["members"]] == ["query: ", ""]
    assert manifest["metadata"]["agreement"]["cosine"] > 0.99


def test_development_rows_with_labels_of_their_own_only_judge_nothing(tmp_path: Path) -> None:
    with tiny_training.tiny(**SPOILT):
        rows, dev = tiny_training.rows(90, 1), tiny_training.rows(60, 2)
        dev = replace(dev, labels=["unheard of", *dev.labels[1:]])
        result = train_head.train(
            rows, dev, tmp_path / "head", "head", console=Console(quiet=True), bfloat16=False, epochs=1.0
        )
    assert result.plan["cross_validated"] and not result.plan["refitted"]
    assert result.labels == sorted(set(rows.labels))


def test_a_training_has_to_be_surely_better_than_what_it_began_with() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, LABELS, 60)
    begun = (np.eye(LABELS)[truth] + random.normal(size=(60, LABELS))).astype(np.float32)

    def of(deep: np.ndarray, reached: float, few: object | None = FEW) -> Any:
        frozen = SimpleNamespace(dev_vectors=begun, standard=lambda vectors: vectors)
        start = np.eye(LABELS, dtype=np.float32), np.zeros(LABELS, np.float32)
        material = SimpleNamespace(few=few, frozen=frozen, start=start, dev_classes=truth)
        return SimpleNamespace(material=material, deep=deep, outcome=SimpleNamespace(reached=reached))

    def suits(member: Any, rows: int = 90) -> bool:
        return few_rows.suit([member], {"multilingual": member.material}, rows)

    by_chance = begun + random.normal(size=(60, LABELS)).astype(np.float32) * 0.1
    better = (np.eye(LABELS)[truth] * 4).astype(np.float32)
    assert suits(of(better, reached=0.0)) and suits(of(by_chance, reached=0.5))
    assert not suits(of(better, reached=0.5))
    assert not suits(of(begun, reached=0.0), rows=few_rows.MOST_ROWS + 1)
    assert not suits(of(begun, reached=0.0, few=None))


def test_ngrams_are_held_out_by_fold() -> None:
    random = np.random.default_rng(0)
    classes = np.arange(60) % LABELS
    ids = [[0, *(100 + 10 * one + random.integers(0, 10, 3)), *random.integers(10, 90, 4), 2] for one in classes]
    folds = np.arange(60) // LABELS % 5
    asked = np.arange(0, 60, 2)
    held = ngrams.held_out(ids, classes, LABELS, folds, asked)
    out = asked[folds[asked] == 3]
    model = ngrams.fit([ids[place] for place in np.flatnonzero(folds != 3)], classes[folds != 3], LABELS)
    np.testing.assert_allclose(held[np.isin(asked, out)], model.logits([ids[place] for place in out]), rtol=1e-5)
    # The labels of a fold's own rows have no say in what is said of them.
    changed = np.where(folds == 3, (classes + 1) % LABELS, classes)
    again = ngrams.held_out(ids, changed, LABELS, folds, asked)
    np.testing.assert_allclose(again[np.isin(asked, out)], held[np.isin(asked, out)], rtol=1e-5)


def test_what_is_left_of_one_label_alone_says_nothing() -> None:
    held = ngrams.held_out([[0, 5, 2], [0, 6, 2]], np.array([0, 1]), 2, np.array([0, 1]), np.array([0, 1]))
    assert not held.any()


def test_ngrams_count_where_they_help() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 20, 700)
    deep, wide = (
        (np.eye(20)[truth] * strength + random.normal(size=(700, 20))).astype(np.float32) for strength in (2.0, 1.8)
    )
    chosen = choose(deep, wide, truth)
    assert chosen.figures["ngrams_alone"] < chosen.figures["encoder_alone"] - 0.04
    assert chosen.ngram_weight > 0 and chosen.figures["accuracy"] > chosen.figures["encoder_alone"]
    noise = random.normal(size=(700, 20)).astype(np.float32)
    assert choose(deep, noise, truth).ngram_weight == 0
