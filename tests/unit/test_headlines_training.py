"""Fine-tuning on pairs of headlines, the artefact that comes of it, and what serving refuses to load."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

from infra.evaluate.__main__ import app
from infra.evaluate.headlines import run
from infra.training import headline_fit, headline_scorer
from infra.training.finetune import Top
from infra.training.frozen import Body
from infra.training.headline_export import publish
from infra.training.headline_fit import average
from infra.training.headline_scorer import Lessons, PairTask
from infra.training.headline_tests import Headlines
from infra.training.loop import Batch
from infra.training.recipe import PASSES, Recipe
from shared.errors import ArtifactError
from shared.models.artifacts import MANIFEST, load_manifest, write_manifest
from shared.models.text_clicks import KIND, MOST_APART, TextClicks, relative

pytestmark = pytest.mark.slow

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "▁wow", "▁meh"]
RECIPE = Recipe(layers=1, length=16, epochs=6, batch=4, rate=2e-3, checks=1, patience=2, weight_decay=0.0)


# Fine-tuning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def body() -> Body:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    return Body(BertModel(config, add_pooling_layer=False), 1, torch.device("cpu"), bfloat16=False)


@pytest.fixture(scope="module")
def lessons() -> tuple[Lessons, list[list[int]]]:
    """Texts of which those with token 7 are clicked twice as often."""
    generator = np.random.default_rng(0)
    number = np.repeat(np.arange(30), 3)
    good = generator.random(90) < 0.5
    clicked = generator.poisson(np.where(good, 120, 60)).astype(float)
    texts = [str(place) for place in range(90)]
    names = [str(test) for test in range(30)]
    headlines = Headlines(texts, number, np.zeros(90, np.int64), np.full(90, 3000.0), clicked, names)
    ids = [[0, 7 if good[place] else 8, *generator.integers(10, 40, 2 + place % 4).tolist(), 2] for place in range(90)]
    return Lessons.of(headlines), ids


def start(body: Body) -> Top:
    vectors = np.random.default_rng(1).normal(size=(50, 32)).astype(np.float32)
    return headline_scorer.start(body, vectors, np.zeros(32, np.float32), RECIPE.layers)


def test_parts_of_a_batch_add_up_to_its_loss(body: Body, lessons: tuple[Lessons, list[list[int]]]) -> None:
    learnt, ids = lessons
    kept = headline_scorer.keep(body, ids, RECIPE)
    task = PairTask(start(body), kept, np.arange(len(ids)), learnt, RECIPE, seed=3)
    members = [4, 9, 1, 20, 7]
    whole, low, high = (float(task.loss(Batch(members, *part, step=2)).detach()) for part in ((0, 5), (0, 2), (2, 5)))
    assert low + high == pytest.approx(whole, rel=1e-5)
    # Weights of a batch's tests are about 1 in sum, and a scorer that knows nothing loses log 2.
    plain = PairTask(start(body), kept, np.arange(90), learnt, RECIPE, 0)
    untrained = float(plain.loss(Batch([*range(30)], 0, 30, 0)).detach())
    assert untrained == pytest.approx(np.log(2), rel=0.02)


def test_what_is_clicked_is_learnt_and_an_average_of_two_knows_it_too(
    body: Body, lessons: tuple[Lessons, list[list[int]]]
) -> None:
    learnt, ids = lessons
    rows = learnt.rows_of(range(20))
    kept = headline_scorer.keep(body, ids, RECIPE)
    tops = []
    for seed in (0, 1):
        top = start(body)
        headline_scorer.train(top, kept, rows, learnt.take(range(20)), RECIPE, seed=seed)
        tops.append(top)
    asked = learnt.rows_of(range(20, 30))
    good = np.array([ids[row][1] == 7 for row in asked])
    new = headline_scorer.keep(body, [ids[row] for row in asked], RECIPE, long=False)
    for top in (*tops, average(tops)):
        scores = headline_scorer.scores(top, new)
        assert scores[good].min() > scores[~good].max()


@pytest.mark.parametrize(
    ("texts", "english"),
    [
        (["You won't believe this about bees", "The moon and the sea, and what they did with your school"], True),
        (["Schuhe für Kinder, in 300 Farben", "Was ist das und wo gibt es das?", "Die besten Räder"], False),
        (["Løpesko for menn", "Vanntett jakke for damer", "Bukser for barn"], False),
        (["Café crème à emporter, façon maison", "The sea: une nuit"], False),
        (["国足今晚迎战日本，门票已售罄", "A股三大指数收涨"], False),
        ([""], False),
    ],
)
def test_english_texts_have_an_encoder_of_their_own_beside(texts: list[str], english: bool) -> None:
    names = [encoder.name for encoder in headline_fit.candidates(texts)]
    assert names == (["multilingual", "english"] if english else ["multilingual"])


def material(depth: int) -> Any:
    """An encoder of which a layer takes a second for all texts."""
    return SimpleNamespace(ids=[[0] * 10] * 10, seconds_per_token_layer=0.01, body=SimpleNamespace(depth=depth))


def test_there_are_two_encoders_where_there_is_time_for_two_members_of_each(
    lessons: tuple[Lessons, list[list[int]]],
) -> None:
    epoch = 6 * PASSES * (1 - headline_fit.FOLD)  # of six layers, in seconds
    two = 6 + 2 * 2 * 2 * epoch  # the lower layers of one; encoders, members and epochs

    def planned(left: float, epochs: float | None = None) -> tuple[int, int, float]:
        both = [material(12), material(6)]
        chosen, members = headline_fit._plan(both, lessons[0], left, epochs, 4)
        assert {one.recipe.layers for one in chosen} == {6} and {one.recipe.length for one in chosen} == {64}
        assert all(one.seconds_per_epoch == pytest.approx(epoch) for one in chosen)
        return len(chosen), members, chosen[0].recipe.epochs

    assert planned(two + 1) == (2, 2, 2.0)
    assert planned(two - 1) == (1, 3, 2.0)
    assert planned(1e6) == (2, 4, 2.0)
    assert planned(0.0) == (1, 1, headline_fit.LEAST_EPOCHS)
    assert planned(0.0, epochs=0.5) == (2, 4, 0.5)


# Serving ------------------------------------------------------------------------------------------------------------


def write_model(folder: Path, outputs: int = 1, **metadata: Any) -> Path:
    """A model whose log click rate is .2 for each "wow"."""
    folder.mkdir()
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in WORDS], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.zeros((len(WORDS), outputs), np.float32)
    table[WORDS.index("▁wow")] = 0.2
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["rows", "column"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "first"], ["output"], keepdims=0),
        ],
        "clicks",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", outputs])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "first"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    known = {"prefix": "", "max_tokens": 64, "metrics": {"pairwise_accuracy": 0.7}, "prior_clicks": 25.0}
    write_manifest(folder, KIND, KIND, metadata=known | metadata)
    return folder


def test_rates_are_about_the_siblings(tmp_path: Path) -> None:
    model = TextClicks.load(write_model(tmp_path / "m"), threads=1)
    rates = model.rates(["meh", "wow", "wow wow"])
    np.testing.assert_allclose(rates, np.exp([-0.2, 0.0, 0.2]), rtol=1e-5)
    assert rates.dtype == np.float32 and model.metrics["pairwise_accuracy"] == 0.7 and model.prior_clicks == 25.0
    assert model.rates(["wow"]).tolist() == [1.0] and model.rates([]).shape == (0,)


def test_no_prediction_is_believed_beyond_bounds() -> None:
    rates = relative(np.array([-50.0, 50.0], np.float32))
    np.testing.assert_allclose(rates, np.exp([-MOST_APART, MOST_APART]), rtol=1e-5)


@pytest.mark.parametrize("fault", ["outputs", "prefix", "kind", "bytes", "preprocess"])
def test_what_is_no_click_model_is_refused(tmp_path: Path, fault: str) -> None:
    folder = write_model(tmp_path / "m", outputs=2 if fault == "outputs" else 1)
    document = json.loads((folder / MANIFEST).read_text())
    if fault == "prefix":
        del document["metadata"]["prefix"]
    elif fault == "kind":
        document["kind"] = "head"
    elif fault == "preprocess":
        document["preprocess_version"] = "none"
    elif fault == "bytes":
        with (folder / "model.onnx").open("ab") as stream:
            stream.write(b"\0")
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ArtifactError):
        TextClicks.load(folder)


def test_publishing_writes_the_pointer_last(tmp_path: Path) -> None:
    calls: list[str] = []

    class Client:
        def upload_file(self, path: str, bucket: str, key: str) -> None:
            calls.append(key)

        def put_object(self, **arguments: Any) -> None:
            calls.append(f"{arguments['Key']}={arguments['Body'].decode()}")

    folder = write_model(tmp_path / "m")
    manifest = load_manifest(folder)
    prefix = publish(folder, manifest, Client(), "bucket", "acme")
    assert prefix == f"artifacts/acme/text-clicks/{manifest.version}"
    assert calls[-2:] == [f"{prefix}/manifest.json", f"artifacts/acme/text-clicks/latest={manifest.version}"]
    assert len(calls) == 4


# The command --------------------------------------------------------------------------------------------------------


def write_tests(path: Path, seed: int, tests: int) -> Path:
    generator = np.random.default_rng(seed)
    topics = ["bees", "the sea", "trains and you", "your school", "bread with salt", "the moon"]
    rows = []
    for test in range(tests):
        base = float(np.exp(generator.normal(-4, 0.4)))
        topic = topics[int(generator.integers(len(topics)))]
        for place, (form, lift) in enumerate(
            (("You won't believe this about {}", 1.7), ("A report on {}", 0.7), ("{} today", 1.0))
        ):
            shown = int(generator.integers(2000, 4000))
            clicked = int(generator.binomial(shown, min(base * lift, 0.5)))
            text = f"{form.format(topic)} {generator.integers(1000)}"
            rows.append(
                {
                    "test_id": f"{seed}-{test}",
                    "text": text,
                    "image_id": "i",
                    "impressions": shown,
                    "clicks": clicked,
                    "week": place,
                }
            )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_that_cannot_be_measured_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    result = CliRunner().invoke(app, ["headlines", "--train", str(path), "--test", str(path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "rows.jsonl, line 1" in result.stderr


@pytest.mark.slow
def test_the_command_trains_measures_and_replays(tmp_path: Path) -> None:
    train, test = write_tests(tmp_path / "train.jsonl", 1, 60), write_tests(tmp_path / "test.jsonl", 2, 20)
    with train.open("a") as file:  # a test of the other file, which must not be learnt from
        file.write(test.read_text().splitlines()[0] + "\n")
    figures = run(train, test, Console(stderr=True), epochs=0.5, members=2)
    assert figures["pairwise_accuracy"] > 0.8 and figures["pairs"] > 20
    assert set(figures["plan"]["encoders"]) == {"multilingual", "english"}
    assert {"multilingual_alone", "english_alone", "ngrams_alone"} < set(figures["held_out_in_training"])
    assert set(figures["baselines"]) == {"longer", "tfidf"}
    assert set(figures["replay"]) == {"ours", "thompson", "ucb", "ab_test"}
    assert set(figures["replay"]["ours"]) == {"clicks", "regret"}
    scarce = figures["replay_by_traffic"]["0.03"]
    assert scarce["ours"]["clicks"] > scarce["ucb"]["clicks"]
    assert figures["repeated_texts"] == 0
    assert json.loads(json.dumps(figures)) is not None
