"""Training a claim reader and building what is served, with a tiny random encoder in the place of a wheel's."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn
from transformers import RoFormerConfig, RoFormerModel

from infra.training import build_reader, loop, reader_source, train_policy_reader, train_reader
from infra.training.build_reader import Refused, build, recipe
from infra.training.frozen import Body
from infra.training.loop import Batch
from infra.training.reader_lines import Ids, encode, read_labelled
from infra.training.reader_net import ReaderNet, adapted, collate
from infra.training.recipe import Recipe
from infra.training.source import Source, bert_tokenizer
from infra.training.train_policy_reader import Line, PolicyNet, judged, longer_texts
from infra.training.train_reader import GIVEN_UP, MISSED, ReaderTask, careful, weigh
from shared.domain import Claim
from shared.errors import ArtifactError
from shared.models.artifacts import load_manifest
from shared.models.policy_reader import ALONE, PolicyReader
from shared.models.reader import ClaimReader
from shared.policy.reading import SIGNS, doubt
from shared.policy.rules import check

pytestmark = pytest.mark.slow

COLOURS, THINGS, MATERIALS = "红蓝绿黄", "鞋帽伞灯", "棉木"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *COLOURS, *THINGS, *MATERIALS, *"一把来看的送"]
RECIPE = Recipe(layers=2, length=0, epochs=30, batch=4, rate=1e-2, checks=3, dropout=0.0, label_smoothing=0.0)
CPU = torch.device("cpu")


def source() -> Source:
    """An encoder of two random layers, the same at each call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = RoFormerConfig(
            vocab_size=len(PIECES),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=64,
        )
        model = RoFormerModel(config).eval()
        for name, value in model.named_parameters():
            if "embed_positions" not in name:
                nn.init.normal_(value, mean=float(name.endswith("LayerNorm.weight")), std=0.2)
    return Source(model, bert_tokenizer(PIECES), "tiny", "0", "none", prefix="")


def open_source(_: str) -> tuple[Source, Any]:
    opened = source()
    return opened, opened.cut(1)


def rows(gift: str = "") -> Iterator[dict[str, Any]]:
    """Ads of a colour and a material, and lines that say the right colour, or another; or, easier to learn, a gift."""
    for place, (colour, thing, material) in enumerate(product(COLOURS, THINGS, MATERIALS)):
        other = COLOURS[(COLOURS.index(colour) + 1 + place % 3) % len(COLOURS)]
        wrong = [f"来看{other}的", f"一把{other}{thing}"]
        if gift:
            other, wrong = gift, [f"来看{gift}", f"{gift}{colour}{thing}"]
        ad = {"title": f"{colour}{thing}", "description": f"{material}的", "domain": "ecommerce", "language": "zh"}
        yield {
            "ad": ad,
            "true": [f"来看{colour}的", f"一把{colour}{thing}"],
            "planted": [{"text": text, "span": other} for text in wrong],
        }


def law_lines() -> Iterator[dict[str, Any]]:
    """Lines that break a rule where they give something away, to readers who know of nothing else."""
    for colour, thing, material in product(COLOURS, THINGS, MATERIALS):
        for text in (f"送{colour}{thing}", f"{material}的{thing}，送{colour}"):
            yield {
                "text": text,
                "jurisdiction": "CN",
                "domain": "ecommerce",
                "violation": True,
                "rule": "cn.gift-terms",
            }
        for text in (f"看{colour}{thing}", f"{material}的{thing}，来看{colour}"):
            yield {"text": text, "jurisdiction": "CN", "domain": "ecommerce", "violation": False, "rule": "cn.minors"}


def write(path: Path, some: Iterator[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in some), encoding="utf-8")
    return path


# The task -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def task(tmp_path: Path) -> ReaderTask:
    """On eight ads, which it is measured on too."""
    path = write(tmp_path / "lines.jsonl", islice(rows(), 8))
    opened, tokenizer = open_source("zh")
    ids = [encode(one, tokenizer) for one in read_labelled(path)]
    torch.manual_seed(0)
    body = Body(opened.model, opened.model.config.pad_token_id, CPU, bfloat16=False)
    return ReaderTask(adapted(ReaderNet(body), 8), body, ids, ids, RECIPE, 0)


def test_it_learns_the_lines_of_a_few_ads(task: ReaderTask) -> None:
    words = task.body.model.embeddings.word_embeddings.weight.clone()
    before = task.measure()
    planned = loop.planned_batches([len(one.ad) for one in task.train], RECIPE, 0)
    outcome = loop.train(task, planned, RECIPE)
    after = task.measure()
    assert outcome.stopped == "planned" and outcome.reached > 0
    assert before.loss > 0.5 and after.loss < 0.3 * before.loss
    assert outcome.curve[-1].loss < 0.5 * outcome.curve[1].loss
    assert after.macro_f1 > 0.95 and after.accuracy > 0.9
    planted = np.concatenate([one.planted for one in task.train])
    assert roc_auc_score(planted, task.predict(task.train)) == after.macro_f1
    assert torch.equal(task.body.model.embeddings.word_embeddings.weight, words)

    lines = collate(task.train, task.body.pad, CPU)
    with torch.inference_mode():
        doubted = task.module(lines)[1][lines.of_text]
    assert roc_auc_score(lines.doubtful[lines.of_text], doubted) > 0.9, "it points at the words"


def test_the_shares_of_a_batch_add_up_to_its_loss(task: ReaderTask) -> None:
    task.recipe = replace(RECIPE, dropout=0.1)  # whose masks are the same in one process and in several
    task.train = [*task.train[:2], _first_line(task.train[2])]
    members = [2, 0, 1]
    whole = task.loss(Batch(members, 0, 3, 5)).item()
    # Three processes, the second of which has nothing to do.
    parts = [task.loss(Batch(members, low, high, 5)) for low, high in ((0, 1), (1, 1), (1, 3))]
    assert sum(part.item() for part in parts) == pytest.approx(whole, rel=1e-5) and whole > 0
    parts[1].backward()


def _first_line(ids: Ids) -> Ids:
    return Ids(ids.ad, ids.lines[:1], ids.doubtful[:1], ids.planted[:1])


def test_every_learned_weight_is_in_one_group_and_only_matrices_decay(task: ReaderTask) -> None:
    matrices, vectors = task.groups()
    held = [*matrices["params"], *vectors["params"]]
    learned = [value for value in task.module.parameters() if value.requires_grad]
    assert {id(value) for value in held} == {id(value) for value in learned} and len(held) == len(learned)
    assert matrices["weight_decay"] == RECIPE.weight_decay and vectors["weight_decay"] == 0.0
    assert all(value.dim() > 1 for value in matrices["params"]) and all(value.dim() == 1 for value in vectors["params"])


# What reader and rules are worth ------------------------------------------------------------------------------------


def refused(logits: np.ndarray, claims: list[list[Claim]], weights: dict[str, float]) -> np.ndarray:
    odds = [doubt(logit, one, weights) for logit, one in zip(logits, claims, strict=True)]
    return np.array(odds) > weights["threshold"]


def cost(wrong: np.ndarray, planted: np.ndarray) -> float:
    return float(MISSED * (~wrong[planted > 0]).mean() + wrong[planted == 0].mean())


def test_what_can_be_told_apart_is() -> None:
    logits = np.concatenate([np.linspace(-6, -1, 20), np.linspace(1, 6, 20)])
    planted = (logits > 0).astype(float)
    claims: list[list[Claim]] = [[] for _ in logits]
    weights = weigh(logits, claims, planted)
    assert set(weights) == {*SIGNS, "bias", "threshold"}
    assert weights["logit"] > 0
    assert (refused(logits, claims, weights) == (planted > 0)).all()


def test_rules_that_are_right_count_where_the_reader_knows_nothing() -> None:
    planted = np.tile([0.0, 1.0], 30)
    found, fine = Claim((0, 1), "5", "number", None), Claim((0, 1), "5", "number", "title")
    claims = [[found] if label else [fine] for label in planted]
    weights = weigh(np.random.default_rng(0).normal(size=60), claims, planted)
    assert weights["any"] + weights["figure"] > 1
    assert cost(refused(np.zeros(60), claims, weights), planted) == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), apart=st.floats(0.5, 3))
def test_no_other_threshold_costs_less(seed: int, apart: float) -> None:
    generator = np.random.default_rng(seed)
    planted = np.tile([0.0, 1.0, 0.0], 40)
    logits = generator.normal(apart * (2 * planted - 1), 2.0)
    claims: list[list[Claim]] = [[] for _ in planted]
    weights = weigh(logits, claims, planted)
    assert weights["logit"] > 0
    least = cost(refused(logits, claims, weights), planted)
    for level in np.linspace(-2, 2, 81):
        assert cost(refused(logits, claims, weights | {"threshold": float(level)}), planted) >= least - 1e-9


def test_a_model_keeps_most_of_what_is_true() -> None:
    weights = dict.fromkeys(SIGNS, 0.0) | {"logit": 1.0, "bias": 0.5, "threshold": 2.0}
    assert careful(np.arange(-10.0, 1.0), [[]] * 11, weights) == pytest.approx(-2.5)
    assert careful(np.arange(-10.0, 11.0), [[]] * 21, weights) == pytest.approx(4.5)
    assert careful(np.zeros(0), [], weights) == 2.0, "as with people"


# The lines ----------------------------------------------------------------------------------------------------------


def test_the_lines_of_a_language_are_split_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = list(rows())
    pairs = [
        {
            "ads": [left["ad"] | {"title": f"{left['ad']['title']}{place}"}, right["ad"]],
            "lines": [{"text": f"来看{left['ad']['title'][0]}的", "unsupported": ["", left["ad"]["title"][0]]}],
        }
        for place, (left, right) in enumerate(zip(some[:16], some[16:], strict=True))
    ]
    english = {"ad": some[0]["ad"] | {"language": "en"}, "true": ["来看"], "planted": []}
    write(tmp_path / "lines.jsonl", iter([*some, english]))
    write(tmp_path / "twins.jsonl", iter(pairs))
    write(tmp_path / "dev.jsonl", iter(some[:1]))
    monkeypatch.setattr(train_reader, "LEDGER", tmp_path)
    monkeypatch.setattr(train_reader, "HELD_OUT", 3)
    _, tokenizer = open_source("zh")
    files = [tmp_path / f"{name}.jsonl" for name in ("lines", "twins", "dev")]
    learned, held = train_reader.split(train_reader.read(files, "zh", tokenizer))
    assert len(learned.labelled) + len(held.labelled) == 32 + 32 + 1
    groups = [{one.group for one in part.labelled} for part in (learned, held)]
    assert all(groups) and not groups[0] & groups[1]
    for part in (learned, held):
        assert len(part.labelled) == len(part.ids)
        for one, ids in zip(part.labelled, part.ids, strict=True):
            assert len(ids.lines) == len(one.lines)
    assert len(train_reader.read(files, "en", tokenizer).ids) == 1


# From the lines to what is served -----------------------------------------------------------------------------------


def small(patch: pytest.MonkeyPatch, ledger: Path) -> None:
    """Has the trainer learn that encoder from that ledger."""
    patch.setattr(train_reader, "open_source", open_source)
    patch.setattr(train_reader, "LEDGER", ledger)
    patch.setattr(train_reader, "LEARNED", ("relations.zh.jsonl",))
    patch.setattr(train_reader, "WEIGHED", ("weights.zh.jsonl",))
    patch.setattr(train_reader, "SPOKEN", ("weights-model.zh.jsonl",))
    patch.setattr(train_reader, "DEVELOPMENT", ())
    patch.setattr(train_reader, "HELD_OUT", 4)


def small_law(patch: pytest.MonkeyPatch, ledger: Path) -> None:
    """Has the trainer of the law learn that encoder from lines beside that ledger."""
    patch.setattr(train_policy_reader, "open_source", open_source)
    patch.setattr(train_policy_reader, "LEDGER", ledger)
    patch.setattr(train_policy_reader, "LINES", ledger / "law.jsonl")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a trained adapter."""
    ledger = tmp_path_factory.mktemp("ledger")
    write(ledger / "relations.zh.jsonl", rows("送"))
    write(ledger / "weights.zh.jsonl", islice(rows("送"), 12))
    write(ledger / "weights-model.zh.jsonl", islice(rows("送"), 6, 18))
    with pytest.MonkeyPatch.context() as patch:
        small(patch, ledger)
        train_reader.main("zh", epochs=20.0, rate=4e-3, rank=8)
        write(ledger / "law.jsonl", law_lines())
        small_law(patch, ledger)
        train_policy_reader.main("zh", out=ledger / "law" / "reader-zh", epochs=10.0, rate=1e-2, rank=4)
    return ledger


@pytest.fixture
def tiny(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The builder on that encoder and ledger; the ledger is the test's own."""
    monkeypatch.setattr(reader_source, "open_source", open_source)
    monkeypatch.setattr(build_reader, "LEDGER", trained)
    monkeypatch.setattr(build_reader, "SHOWN", 12)
    monkeypatch.setattr(train_policy_reader, "LINES", trained / "law.jsonl")
    return Path(shutil.copytree(trained, tmp_path / "ledger"))


def test_what_training_writes(trained: Path) -> None:
    folder = trained / "reader-zh"
    assert {path.name for path in folder.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "reader.json")
    }
    card = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    assert card["language"] == "zh" and card["encoder"] == "tiny" and card["processes"] == 1
    assert 0 < card["ads"] < 32 and card["lines"] == 4 * card["ads"] and not card["longer"]
    assert set(card["weights"]) == {*SIGNS, "bias", "threshold", "strict"}
    assert card["model"]["strict"]["false_rejections"] <= GIVEN_UP
    unknown = card["unknown_writers"]
    assert unknown["lines"] == 48
    assert set(unknown["rules"]) == set(unknown["together"]) == {"recall", "false_rejections"}
    assert unknown["area_under_curve"] > 0.9


def test_a_reader_that_is_kept_is_weighed_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, tiny)
    folder = tiny / "reader-zh"
    adapter = (folder / "adapter_model.safetensors").read_bytes()
    card = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    (folder / "reader.json").write_text(json.dumps(card | {"weights": {}}), encoding="utf-8")
    train_reader.main("zh", measure=True)
    assert json.loads((folder / "reader.json").read_text(encoding="utf-8"))["weights"] == {}
    train_reader.main("zh", keep=True)
    again = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    assert (folder / "adapter_model.safetensors").read_bytes() == adapter
    assert again["weights"] == pytest.approx(card["weights"], abs=0.05), "but for the rounding to 16 bits"
    assert {name: again[name] for name in ("ads", "epochs", "seconds")} == {
        name: card[name] for name in ("ads", "epochs", "seconds")
    }


def test_an_adapter_is_learned_on(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, tiny)
    cards = []
    for go_on in (False, True):
        train_reader.main("zh", go_on=go_on, longer=go_on, epochs=1.0 + 3 * go_on, rate=4e-3, rank=8)
        cards.append(json.loads((tiny / "reader-zh" / "reader.json").read_text(encoding="utf-8")))
    assert "after" not in cards[0]
    assert cards[1]["lines"] > cards[0]["lines"] and not cards[1]["after"]["longer"], "longer texts besides"
    assert (cards[1]["epochs"], cards[1]["after"]["epochs"]) == (4.0, 1.0)
    first, second = (card["unknown_writers"]["area_under_curve"] for card in cards)
    assert second > max(first, 0.8), "it begins with what it knew, and learns more"


def test_lines_of_another_language_are_refused(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_reader, "open_source", open_source)
    ad = {"title": "Oak stool", "domain": "ecommerce", "language": "en"}
    english = write(tmp_path / "english.jsonl", iter([{"ad": ad, "true": ["Sit down"], "planted": []}]))
    with pytest.raises(typer.BadParameter, match=r"english\.jsonl has no lines"):
        train_reader.main("zh", more=[english])


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="zh or en"):
        train_reader.main("fr")


def test_the_recipe_is_the_adapter_the_code_and_the_libraries(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = tiny / "reader-zh"
    first = recipe(adapter)
    assert recipe(adapter) == first and len(first) == 16
    card = adapter / "reader.json"
    text = card.read_text(encoding="utf-8")
    card.write_text(text + " ", encoding="utf-8")
    assert recipe(adapter) != first
    card.write_text(text, encoding="utf-8")
    assert recipe(adapter) == first
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    changed = recipe(adapter)
    assert changed != first
    weights.rename(adapter / "other.safetensors")
    assert recipe(adapter) not in (first, changed)
    (adapter / "other.safetensors").rename(weights)
    assert recipe(adapter) == changed
    monkeypatch.setattr(build_reader, "CODE", build_reader.CODE[:-1])
    other = recipe(adapter)
    assert other != changed
    monkeypatch.setattr(build_reader, "installed", lambda _: "0")
    assert recipe(adapter) not in (changed, other)


def test_a_reader_is_built_once_and_tells_lines_apart(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_reader, "LEAST_AGREEMENT", 0.9)
    out = tmp_path / "out"
    build("zh", out, tiny, tiny / "law")
    manifest = load_manifest(out / "reader-zh")
    assert set(manifest.files) == {"model.onnx.gz", "tokenizer.json.gz", "policy.npz"}
    assert manifest.metadata["recipe"] == recipe(tiny / "reader-zh", tiny / "law" / "reader-zh")
    agreement = manifest.metadata["agreement"]
    assert agreement["lines"] == 12 * 4 and agreement["logit_apart"] < 1
    assert agreement["policy_lines"] > 5 and agreement["same_policy"] > 0.9

    read = ClaimReader.load(out / "reader-zh", threads=1)
    found, planted = [], []
    for one in read_labelled(tiny / "relations.zh.jsonl"):
        doubts = read.read(one.ad, one.lines)
        found += [answer.logit for answer in doubts if answer is not None]
        planted += [span is not None for span in one.spans]
    assert roc_auc_score(planted, found) > 0.9

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    build("zh", out, tiny, tiny / "law")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (tiny / "reader-zh" / "reader.json").write_text(
        json.dumps(manifest.metadata | {"seed": 1}, ensure_ascii=False), encoding="utf-8"
    )
    build("zh", out, tiny, tiny / "law")
    assert load_manifest(out / "reader-zh").metadata["seed"] == 1


def _opposite(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    return _agreement(ours, -theirs)


_agreement: Callable[..., dict[str, float]] = build_reader._agreement


# The law ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def law_folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The readers as they are built."""
    out = tmp_path_factory.mktemp("artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_source, "open_source", open_source)
        patch.setattr(build_reader, "LEDGER", trained)
        patch.setattr(build_reader, "SHOWN", 12)
        patch.setattr(build_reader, "LEAST_AGREEMENT", 0.9)
        patch.setattr(train_policy_reader, "LINES", trained / "law.jsonl")
        build("zh", out, trained, trained / "law")
    return out / "reader-zh"


@pytest.fixture(scope="module")
def law(law_folder: Path) -> PolicyReader:
    return PolicyReader(ClaimReader.load(law_folder, threads=1), law_folder)


def test_what_training_for_the_law_writes(trained: Path) -> None:
    folder = trained / "law" / "reader-zh"
    assert {path.name for path in folder.iterdir()} == {"policy.npz", "reader.json"}
    card = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    assert 100 < card["lines"] < 128 and card["lines"] + card["held_out"]["lines"] == 128
    assert card["held_out"]["area_under_curve"] > 0.95
    assert card["lifted"] <= card["threshold"]
    assert {"cn.gift-terms", "cn.minors"} <= set(card["rules"])
    assert card["lifts"] == ["cn.gift-terms"], "no line breaks the other"


def test_a_line_is_stopped_for_what_it_says_and_the_clause_is_named(law: PolicyReader) -> None:
    rules = {"cn.gift-terms", "cn.minors"}
    (found,) = law.alike("棉的鞋，送红", "ecommerce", "CN", rules, 0.0)
    assert (found.start, found.end, found.rule) == (4, 6, "cn.gift-terms")
    assert not list(law.alike("棉的鞋，来看红", "ecommerce", "CN", rules, 0.0))
    assert list(law.alike("棉的鞋，来看红", "ecommerce", "CN", rules, 99.0)), "a margin that nothing passes"
    assert not list(law.alike("棉的鞋，送红", "ecommerce", "CN", set(), 0.0)), "no rule of this place can be broken"
    (other,) = law.alike("棉的鞋，送红", "ecommerce", "CN", {"cn.minors"}, 0.0)
    assert other.rule == "cn.minors", "the likeliest of those in force"


def test_a_text_that_is_surely_lawful_is_told_and_a_long_one_never(law: PolicyReader, law_folder: Path) -> None:
    assert not law.lifts("棉的鞋，来看红", 0, "ecommerce", "CN"), "the rules were right of all lines held out"
    claims = ClaimReader.load(law_folder, threads=1)
    claims.metadata["policy"]["lifted"] = claims.metadata["policy"]["threshold"]
    bold = PolicyReader(claims, law_folder)
    assert "cn.gift-terms" in bold.lifts("棉的鞋，来看红", 0, "ecommerce", "CN")
    assert not bold.lifts("棉的鞋，送红", 0, "ecommerce", "CN")
    assert not bold.lifts("看红鞋。" * 60, 0, "ecommerce", "CN")


def test_of_a_long_text_each_part_is_judged(law: PolicyReader) -> None:
    lawful = "看红鞋。" * 48
    found = list(law.alike(lawful + "送红鞋。" * 24, "ecommerce", "CN", {"cn.gift-terms"}, 0.0))
    assert found and all(one.start >= len(lawful) for one in found)
    assert not list(law.alike(lawful, "ecommerce", "CN", {"cn.gift-terms"}, 0.0))


def test_a_reader_that_says_nothing_of_the_law_is_not_loaded(law_folder: Path) -> None:
    claims = ClaimReader.load(law_folder, threads=1)
    del claims.metadata["policy"]
    with pytest.raises(ArtifactError, match=r"reader-zh says nothing of its policy\.npz"):
        PolicyReader(claims, law_folder)


def test_an_adapter_comes_back_as_it_was_written(trained: Path) -> None:
    opened, _ = open_source("zh")
    card = json.loads((trained / "law" / "reader-zh" / "reader.json").read_text(encoding="utf-8"))
    with np.load(trained / "law" / "reader-zh" / "policy.npz") as arrays:
        body = Body(opened.model, opened.model.config.pad_token_id, CPU, bfloat16=False)
        net = PolicyNet(ReaderNet(body), card["rank"], len(card["rules"])).load(arrays)
        again = net.arrays()
        assert set(again) == set(arrays.files)
        for name in arrays.files:
            assert np.array_equal(again[name], arrays[name]), name


def test_an_adapter_for_the_law_is_learned_on_with_longer_texts(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_law(monkeypatch, tiny)
    folder = tiny / "law" / "reader-zh"
    before = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    train_policy_reader.main("zh", out=folder, go_on=True, epochs=1.0, rate=1e-3)
    after = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    assert after["after"]["lines"] == before["lines"] < after["lines"], "texts of several lines besides"
    assert (after["rank"], after["rules"]) == (before["rank"], before["rules"])
    assert after["held_out"]["area_under_curve"] > 0.9, "it begins with what it knew"


def test_texts_of_several_lines_hold_one_violation_or_none() -> None:
    lawful = [Line(f"第{place}次见面", "CN", "social", False, "") for place in range(9)]
    unlawful = [Line(f"违规{place}", "CN", "social", True, "cn.morals") for place in range(3)]
    others = [Line("A walk", "EU", "social", False, ""), Line("A cure", "EU", "social", True, "en.cure")]
    texts = longer_texts([*lawful, *unlawful, *others], 0)
    assert texts == longer_texts([*lawful, *unlawful, *others], 0) and len({one.text for one in texts}) > 1
    for one in texts:
        if one.jurisdiction == "EU":
            assert one.text in ("A walk. A cure", "A cure. A walk") and one.violation
            continue
        parts = one.text.split("。")
        assert 2 <= len(parts) <= 3 and set(parts) <= {line.text for line in (*lawful, *unlawful)}
        assert sum(part.startswith("违规") for part in parts) == one.violation
        assert one.rule == ("cn.morals" if one.violation else "")
    assert {one.violation for one in texts} == {True, False}


def test_a_law_adapter_of_another_claims_adapter_is_refused(tiny: Path, tmp_path: Path) -> None:
    weights = tiny / "reader-zh" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(Refused, match="trained on another one for claims"):
        build("zh", tmp_path / "out", tiny, tiny / "law")


@pytest.mark.parametrize("text", ["", "!!!", "\u200b", "……", "🎉"])
def test_what_says_nothing_breaks_nothing(law: PolicyReader, text: str) -> None:
    assert not list(law.alike(text, "ecommerce", "CN", {"cn.gift-terms"}, 99.0))
    assert check(text, "ecommerce", "CN", reader=law) == []


def test_what_is_no_number_is_a_doubt(law_folder: Path) -> None:
    law = PolicyReader(ClaimReader.load(law_folder, threads=1), law_folder)
    law.judged = lambda *_: (math.nan, (0,))  # type: ignore[assignment]
    rules = {json.loads((law_folder / "manifest.json").read_text())["metadata"]["policy"]["rules"][0]}
    assert list(law.alike("看红鞋", "ecommerce", "CN", rules, 0.0))
    assert not law.lifts("看红鞋", 0, "ecommerce", "CN")


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_of_several_sentences_the_worst_decides_and_what_is_no_number_comes_first(law_folder: Path, bad: int) -> None:
    law = PolicyReader(ClaimReader.load(law_folder, threads=1), law_folder)
    sentences = ["看红鞋。", "看蓝帽。", "看绿伞。"]
    rules = {json.loads((law_folder / "manifest.json").read_text())["metadata"]["policy"]["rules"][0]}
    for odds, stopped in ((math.nan, True), (ALONE + 0.5, True), (ALONE - 0.5, False)):
        judged = dict.fromkeys(sentences, -9.0) | {sentences[bad]: odds}
        law.judged = lambda text, *_, judged=judged: (judged.get(text, -9.0), (0,))  # type: ignore[assignment]
        found = list(law.alike("".join(sentences), "ecommerce", "CN", rules, 0.0))
        assert [(one.start, one.end) for one in found] == [(4 * bad, 4 * bad + 4)] * stopped


def test_a_clause_does_not_end_within_a_number(law: PolicyReader) -> None:
    text = "棉1,499.50的鞋 12:30 送红"
    (found,) = law.alike(text, "ecommerce", "CN", {"cn.gift-terms"}, 99.0)
    assert (found.start, found.end) == (0, len(text))


def test_levels_are_those_of_fewest_mistakes_and_a_finding_is_lifted_by_a_sure_reader() -> None:
    lawful, unlawful = "本店最后一天营业", "全网最好的锅"
    lines = [Line(lawful, "CN", "ecommerce", False, ""), Line(unlawful, "CN", "ecommerce", True, "")] * 3
    lines += [Line("最好的锅，没有之一", "CN", "ecommerce", False, "")]  # as if the rules were wrong
    figures = judged(np.array([-3.0, 2.0] * 3 + [-5.0]), lines)
    assert -5.0 < figures["lifted"] <= figures["threshold"] < 2.0
    assert figures["together"] == {"recall": 1.0, "precision": 1.0}
    assert figures["rules_alone"]["precision"] < 1.0


def test_a_reader_that_does_not_agree_is_not_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_reader, "_agreement", _opposite)
    with pytest.raises(Refused, match=r"reader-zh gives torch's verdict on \d+\.\d% of the lines only"):
        build("zh", tmp_path / "out", tiny, tiny / "law")
    assert not (tmp_path / "out").exists()
    with pytest.raises(typer.Exit):
        build_reader.main(tmp_path / "out", tiny, tiny / "law")
    assert "not built: reader-zh gives" in capsys.readouterr().err


def test_an_older_reader_stays_where_a_new_one_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_reader, "LEAST_AGREEMENT", 0.0)
    build("zh", tmp_path / "out", tiny, tiny / "law")
    version = load_manifest(tmp_path / "out" / "reader-zh").version
    (tiny / "reader-zh" / "more.txt").write_text("another recipe")
    monkeypatch.setattr(build_reader, "LEAST_AGREEMENT", 1.01)
    with pytest.raises(Refused):
        build("zh", tmp_path / "out", tiny, tiny / "law")
    assert load_manifest(tmp_path / "out" / "reader-zh").version == version


def test_a_language_without_an_adapter_is_not_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        build_reader.main(tmp_path / "out", tmp_path, tmp_path)
    assert "reader-zh" in capsys.readouterr().err.replace("\n", "")
    with pytest.raises(ArtifactError):
        ClaimReader.load(tmp_path / "out" / "reader-zh")


def test_agreement_counts_verdicts() -> None:
    found = _agreement(np.array([1.0, -1.0, 0.5, -0.5]), np.array([2.0, -1.0, -0.5, -0.5]))
    assert found == {"lines": 4.0, "same_verdict": 0.75, "logit_apart": 0.5}
