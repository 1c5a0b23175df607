"""Training on a tiny encoder with random weights: the parts that `test_trained_head` then runs on the real one."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from infra.training import finetune, loop, ngrams, recipe
from infra.training.calibrate import log_loss, temperature
from infra.training.export import Refused, compare, publish
from infra.training.frozen import Body, freeze, full_logits, linear_head
from infra.training.regression import full_weights
from infra.training.train_classifier import sparkline
from shared.models.artifacts import write_manifest
from shared.models.sessions import open_session
from tests.conftest import Aws

pytestmark = pytest.mark.slow

CLASSES = 3


@pytest.fixture(scope="module")
def rows() -> tuple[list[list[int]], np.ndarray]:
    """Token ids of 150 texts; each class has ten tokens of its own among many common ones."""
    generator = random.Random(1)
    ids, classes = [], []
    for place in range(150):
        own = [100 + 10 * (place % CLASSES) + generator.randrange(10) for _ in range(2)]
        common = [generator.randrange(10, 90) for _ in range(generator.randrange(4, 12))]
        body = own + common
        generator.shuffle(body)
        ids.append([0, *body, 2])
        classes.append(place % CLASSES)
    return ids, np.array(classes)


@pytest.fixture(scope="module")
def body() -> Iterator[Body]:
    """On one thread: with more, so small a model mostly waits for the other cores."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, pad_token_id=1
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Body(BertModel(config, add_pooling_layer=False), 1, torch.device("cpu"))
    torch.set_num_threads(threads)


PLAN = recipe.Recipe(layers=2, length=16, epochs=10, batch=16, rate=2e-3)


def fit(body: Body, rows: tuple[list[list[int]], np.ndarray], seed: int) -> tuple[np.ndarray, list[loop.Progress]]:
    ids, classes = rows
    frozen = freeze(body, ids[:120], ids[120:], seed, math.inf)
    linear = linear_head(frozen, classes[:120], classes[120:], CLASSES)
    kept = finetune.Kept(body, ids[:120], 1)
    dev = finetune.Kept(body, ids[120:], 1)
    top = finetune.start_top(body, frozen, full_weights(linear, CLASSES), 2)
    curve: list[loop.Progress] = []
    finetune.train(
        top, kept, classes[:120], (dev, classes[120:]), PLAN, seed=seed, seconds=math.inf, report=curve.append
    )
    return finetune.predict(top, dev), curve


@pytest.fixture(scope="module")
def before(body: Body) -> dict[str, Any]:
    return {name: value.clone() for name, value in body.model.state_dict().items()}


@pytest.fixture(scope="module")
def fitted(
    before: dict[str, Any], body: Body, rows: tuple[list[list[int]], np.ndarray]
) -> tuple[np.ndarray, list[loop.Progress]]:
    return fit(body, rows, 0)


Fitted = tuple[np.ndarray, list[loop.Progress]]


def test_training_learns(body: Body, rows: tuple[list[list[int]], np.ndarray]) -> None:
    ids, classes = rows
    frozen = freeze(body, ids, ids[:30], 0, math.inf)
    linear = linear_head(frozen, classes, classes[:30], CLASSES)
    kept, top = finetune.Kept(body, ids, 1), finetune.start_top(body, frozen, full_weights(linear, CLASSES), 2)
    curve: list[loop.Progress] = []
    plan = dataclasses.replace(PLAN, epochs=30)
    start = (finetune.predict(top, kept).argmax(axis=1) == classes).mean()
    finetune.train(top, kept, classes, None, plan, seed=0, seconds=math.inf, report=curve.append)
    assert curve[-1].loss < 0.75 * curve[1].loss
    assert start < 0.95 < (finetune.predict(top, kept).argmax(axis=1) == classes).mean()


def test_the_best_state_is_kept(fitted: Fitted, rows: tuple[list[list[int]], np.ndarray]) -> None:
    logits, curve = fitted
    truth = rows[1][120:]
    loss = log_loss(logits / temperature(logits, truth), truth)
    assert loss == pytest.approx(min(one.dev_loss for one in curve), abs=1e-4)
    assert loss <= curve[0].dev_loss, "the start is one of the states to choose from"


def test_the_same_seed_gives_the_same_head(
    fitted: Fitted, body: Body, rows: tuple[list[list[int]], np.ndarray]
) -> None:
    again, _ = fit(body, rows, 0)
    assert np.array_equal(fitted[0], again)


def test_another_seed_trains_in_another_order() -> None:
    first, again, other = (loop.shuffled(list(range(2, 62)), 8, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert sorted(place for batch in other for place in batch) == list(range(60))


def test_training_leaves_the_shared_encoder_alone(before: dict[str, Any], fitted: Fitted, body: Body) -> None:
    assert all(bool((before[name] == value).all()) for name, value in body.model.state_dict().items())


def test_no_time_leaves_the_frozen_head(body: Body, rows: tuple[list[list[int]], np.ndarray]) -> None:
    ids, classes = rows
    frozen = freeze(body, ids[:120], ids[120:], 0, math.inf)
    linear = linear_head(frozen, classes[:120], classes[120:], CLASSES)
    kept, dev = finetune.Kept(body, ids[:120], 1), finetune.Kept(body, ids[120:], 1)
    top = finetune.start_top(body, frozen, full_weights(linear, CLASSES), 2)
    reached = finetune.train(
        top, kept, classes[:120], (dev, classes[120:]), PLAN, seed=0, seconds=1e-9, report=lambda _: None
    )
    expected = full_logits(linear, frozen.standard(frozen.dev_vectors), CLASSES)
    assert reached.reached == 0.0 and reached.stopped == "time"
    np.testing.assert_allclose(finetune.predict(top, dev), expected, atol=0.1)


def test_lower_layers_can_be_computed_again(
    body: Body, rows: tuple[list[list[int]], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = finetune.Kept(body, rows[0][:20], 1)
    monkeypatch.setattr(finetune, "MOST_KEPT_BYTES", 0)
    again = finetune.Kept(body, rows[0][:20], 1)
    assert again.states is None
    hidden, mask = kept[[3, 11, 4]]
    other, other_mask = again[[3, 11, 4]]
    assert bool((mask == other_mask).all())
    real = mask.unsqueeze(-1)
    np.testing.assert_allclose((hidden * real).numpy(), (other.float() * real).numpy(), atol=0.05)


@pytest.mark.parametrize(("seconds", "deeper"), [(20.0, False), (2000.0, True)])
def test_the_plan_follows_the_time(seconds: float, deeper: bool) -> None:
    lengths = np.full(5000, 40)
    plan = recipe.choose(lengths, 10, 12, 2e-5, seconds, None)
    assert 0 < plan.epochs <= 5
    assert (plan.layers == 12) == deeper


def test_few_rows_a_class_are_trained_gently() -> None:
    lengths = np.full(1000, 20)
    many, few = (recipe.choose(lengths, classes, 12, 1e-6, 1e4, None) for classes in (5, 100))
    assert few.layers < many.layers and few.rate < many.rate


def test_a_fixed_number_of_epochs_does_not_look_at_the_speed() -> None:
    lengths = np.random.default_rng(0).integers(5, 300, 500)
    slow, fast = (recipe.choose(lengths, 3, 12, speed, 60.0, 2.0) for speed in (1.0, 1e-9))
    assert (slow.layers, slow.length, slow.epochs, slow.batch) == (fast.layers, fast.length, fast.epochs, fast.batch)


# The n-gram half ----------------------------------------------------------------------------------------------------


def ngram_session(model: ngrams.NgramModel, weight: float, folder: Path) -> Any:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["deep_in", "one"], ["deep"])],
        "test",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["n", "t"]),
            helper.make_tensor_value_info("deep_in", TensorProto.FLOAT, ["n", CLASSES]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", CLASSES])],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.add_to(whole, "input_ids", "attention_mask", weight, "deep", "output")
    onnx.save(whole, folder / "ngrams.onnx")
    return open_session(folder / "ngrams.onnx", 1)


def test_the_graph_computes_what_was_fitted(tmp_path: Path, rows: tuple[list[list[int]], np.ndarray]) -> None:
    ids, classes = rows
    model = ngrams.fit(ids[:120], classes[:120], CLASSES)
    expected = model.logits(ids[120:])
    assert (expected.argmax(axis=1) == classes[120:]).mean() > 0.8
    width = max(map(len, ids[120:])) + 3  # padding changes nothing
    padded = np.array([row + [1] * (width - len(row)) for row in ids[120:]])
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids[120:]])
    deep = np.random.default_rng(0).normal(size=(30, CLASSES)).astype(np.float32)
    session = ngram_session(model, 0.5, tmp_path)
    given = session.run(None, {"input_ids": padded, "attention_mask": mask, "deep_in": deep})[0]
    np.testing.assert_allclose(given, deep + 0.5 * expected, atol=1e-4)


def test_texts_of_unknown_ngrams_get_the_prior(rows: tuple[list[list[int]], np.ndarray]) -> None:
    model = ngrams.fit(*rows, CLASSES)
    np.testing.assert_allclose(model.logits([[190, 191, 192]])[0], model.bias, atol=0.2)


# Export -------------------------------------------------------------------------------------------------------------


class _Answers:
    def __init__(self, classes: np.ndarray) -> None:
        self.classes = classes

    def probabilities(self, texts: list[str]) -> np.ndarray:
        return np.asarray(np.eye(CLASSES)[self.classes])


def test_a_head_that_disagrees_with_torch_is_refused() -> None:
    truth = np.arange(100) % CLASSES
    logits = np.eye(CLASSES, dtype=np.float32)[truth]
    texts = ["x"] * 100
    near = truth.copy()
    near[0] = (near[0] + 1) % CLASSES
    agreed: Any = _Answers(near)
    assert compare(agreed, texts, truth, logits)["same_label"] == 0.99
    shifted: Any = _Answers((truth + 1) % CLASSES)
    with pytest.raises(Refused, match=r"0\.0%"):
        compare(shifted, texts, truth, logits)


def test_publishing_names_the_latest_last(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")
    manifest = write_manifest(tmp_path, "head", "topics")
    prefix = publish(tmp_path, manifest, aws.s3, aws.bucket, "shop")
    keys = {one["Key"] for one in aws.s3.list_objects_v2(Bucket=aws.bucket)["Contents"]}
    assert keys == {f"{prefix}/model.onnx", f"{prefix}/manifest.json", "artifacts/shop/heads/topics/latest"}
    latest = aws.s3.get_object(Bucket=aws.bucket, Key="artifacts/shop/heads/topics/latest")["Body"].read().decode()
    assert prefix == f"artifacts/shop/heads/topics/{latest}" == f"artifacts/shop/heads/topics/{manifest.version}"


def test_sparkline_falls() -> None:
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([1.0, 1.0]) == "▁▁"
