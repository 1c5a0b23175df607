"""Training a copywriter adapter on a tiny random model: real steps, real files, and the checks before the export."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.local import llm_server
from infra.training import copywriter_base, copywriter_export, copywriter_training, copywriter_vocabulary
from infra.training.copywriter_card import GEMMA_NOTICE
from infra.training.copywriter_checkpoint import Checkpoints, training_id
from infra.training.copywriter_fit import Plan, Step, adapted, batches, collate, copy_loss, fit
from infra.training.copywriter_measure import Candidate, distinct_2, memorised, overlap, quality
from infra.training.copywriter_pairs import Pair, counts, read_catalogue, read_pairs, split, teachable, varied
from infra.training.copywriter_training import Options, Refused, train
from infra.training.copywriter_writers import TorchWriter
from shared.domain import Ad, Wording
from shared.errors import ArtifactError
from shared.generating.prompts import build_prompt
from shared.models.artifacts import verify
from tests.data import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]

COLOURS = ("red", "green", "blue", "white", "black", "grey")
THINGS = ("kettle", "lamp", "rug", "scarf")
PLAN = Plan(rank=4, alpha=8, dropout=0.0, rate=1e-2, epochs=1.3, batch=8, warmup=0.1, measured=1)


def row(thing: str, colour: str) -> dict[str, Any]:
    return {
        "ad": {
            "title": f"{colour.title()} {thing}",
            "description": f"A {colour} {thing}, made of {colour} cotton.",
            "domain": "ecommerce",
            "language": "en",
        },
        "copies": [
            {"audience": [], "channel": "feed", "copy": f"A {thing} in {colour} cotton"},
            {"audience": ["camping"], "channel": "feed", "copy": f"A {colour} {thing} in {colour} cotton"},
        ],
    }


ROWS = [row(thing, colour) for thing in THINGS for colour in COLOURS]


KNOWN = ROWS[0]["copies"][0]["copy"]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """With more threads so small a model mostly waits for the other cores; the module's fixtures train as well."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", ROWS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma of two layers that writes one and the same copy for everything, and a tokenizer of bytes, as a hub would
    carry them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: place for place, word in enumerate(words)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        sliding_window=128,
    )
    model = Gemma3ForCausalLM(config)
    model.save_pretrained(folder)
    base = copywriter_base.load(str(folder))
    asked = read_pairs([write(folder / "pairs.jsonl", ROWS[::4])])
    batch = collate(copywriter_base.encode(base, [replace(pair, copy=KNOWN) for pair in asked]), 0, "cpu")
    optimizer = torch.optim.AdamW(base.model.parameters(), lr=3e-3)
    for _ in range(80):
        loss, tokens = copy_loss(base.model, batch)
        optimizer.zero_grad()
        (loss / tokens).backward()
        optimizer.step()
    base.model.save_pretrained(folder)
    return folder


def options(folder: Path, pairs: Path, **changes: Any) -> Options:
    made = Options("tiny", (pairs,), base=str(folder), plan=PLAN, precision="no", candidates=1, temperature=0.0)
    return replace(made, as_written=True, **changes)  # what the ledger says of these lines is another test's matter


def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def trained(folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[Step]]:
    """One training run that most tests look at: the written folder, its outcome and the curve."""
    out = tmp_path_factory.mktemp("out") / "tiny"
    curve: list[Step] = []
    made = options(folder, pairs_file, allow_memorised=True)
    outcome = train(made, out, quiet(), report=curve.append)
    assert outcome is not None
    return out, outcome, curve


def test_the_loss_falls_and_the_best_state_is_kept(trained: tuple[Path, Any, list[Step]]) -> None:
    _, outcome, curve = trained
    assert curve[-1].held_loss < curve[0].held_loss - 0.5
    losses = outcome.facts["held_out_loss"]
    assert losses["adapter"] == pytest.approx(min(step.held_loss for step in curve), abs=0.05)
    assert losses["base"] == pytest.approx(curve[0].held_loss, abs=0.05)


def test_the_folder_is_whole(trained: tuple[Path, Any, list[Step]], folder: Path) -> None:
    out, outcome, _ = trained
    manifest = verify(out, "copywriter")
    assert manifest.version == outcome.version
    assert manifest.metadata["prompt"]["style"] == "tuned"
    assert set(manifest.files) >= {"adapter.gguf", "adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert GEMMA_NOTICE in (out / "NOTICE").read_text(encoding="utf-8")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert GEMMA_NOTICE in card and "held-out ads" in card and "section 3.2" in card
    assert f"--base {folder} --rank 4 --rate 0.01 --epochs 1.3" in card and "--seed 0 --as-written" in card
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"]) == (4, 8)
    assert (
        manifest.metadata["rows"]["train"]["en"]["copies"] + manifest.metadata["rows"]["held_out"]["en"]["copies"] == 48
    )


def test_gguf_and_peft_hold_the_same_matrices(trained: tuple[Path, Any, list[Step]]) -> None:
    from safetensors.numpy import load_file

    out, _, _ = trained
    reader = gguf.GGUFReader(out / "adapter.gguf")
    read = {tensor.name: tensor.data for tensor in reader.tensors}
    assert reader.fields["general.type"].contents() == "adapter"
    assert reader.fields["general.architecture"].contents() == "gemma3"
    assert reader.fields["adapter.type"].contents() == "lora"
    assert reader.fields["adapter.lora.alpha"].contents() == 8.0
    written = load_file(out / "adapter_model.safetensors")
    assert len(read) == len(written) == 2 * 2 * 7
    places = {"q_proj": "attn_q", "o_proj": "attn_output", "down_proj": "ffn_down", "gate_proj": "ffn_gate"}
    for theirs, ours in places.items():
        room = "self_attn" if "attn" in ours else "mlp"
        for side in "AB":
            expected = written[f"base_model.model.model.layers.1.{room}.{theirs}.lora_{side}.weight"]
            found = read[f"blk.1.{ours}.weight.lora_{side.lower()}"]
            assert np.array_equal(found, expected) and found.any()


def test_the_written_adapter_writes_as_the_trained_one_and_off_changes_nothing(
    trained: tuple[Path, Any, list[Step]], folder: Path
) -> None:
    from peft import PeftModel

    out, _, _ = trained
    base = copywriter_base.load(str(folder))
    ad = read_pairs([write(out.parent / "one.jsonl", ROWS[:1])])[0].ad
    prompt = build_prompt(ad, "en", style="tuned")
    ids = torch.tensor([base.ids(base.render(prompt.messages))])
    with torch.inference_mode():
        before = base.model(ids).logits
        model = PeftModel.from_pretrained(base.model, out).eval()
        tuned = model(ids).logits
        with model.disable_adapter():
            after = model(ids).logits
    assert torch.equal(before, after)
    assert not torch.allclose(before, tuned, atol=0.1)
    writer = TorchWriter(base, model)
    asked: dict[str, Any] = {"n": 1, "temperature": 0.0, "seed": 0}
    [[on]] = writer([prompt], tuned=True, **asked)
    [[off]] = writer([prompt], tuned=False, **asked)
    assert off == KNOWN != on


def test_an_adapter_that_repeats_other_ads_is_refused(folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    """A fresh adapter changes nothing, so the base writes its one copy for every ad."""
    base = copywriter_base.load(str(folder))
    copywriter_export.write_peft(adapted(base.model, PLAN, "tiny"), tmp_path / "fresh")
    again = options(folder, pairs_file, trained=tmp_path / "fresh")
    with pytest.raises(Refused, match="repeat training copies") as refused:
        train(again, tmp_path / "tiny", quiet())
    found = refused.value.outcome.memorised
    assert found.repeats > 0.5 and len(found.examples) > 5
    assert not (tmp_path / "tiny" / "manifest.json").exists()
    outcome = train(replace(again, allow_memorised=True), tmp_path / "allowed", quiet())
    assert outcome is not None and verify(tmp_path / "allowed").metadata["memorised"]["repeats"] == found.repeats


def test_the_same_seed_gives_the_same_adapter(folder: Path, pairs_file: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        base = copywriter_base.load(str(folder))
        plan = replace(PLAN, seed=seed, epochs=0.5)
        model = adapted(base.model, plan, "tiny")
        rows = copywriter_base.encode(base, read_pairs([pairs_file]))
        fit(model, rows[:32], rows[32:40], 0, plan, Accelerator(cpu=True))
        return torch.cat([value.detach().flatten() for value in model.parameters() if value.requires_grad])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


class Killed(Exception):
    pass


def test_an_interrupted_training_goes_on_where_it_was(folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    """Ends at the same adapter as one that was not interrupted: optimizer, dropout and order of rows are taken up."""
    plan = replace(PLAN, epochs=1.0, measured=2, dropout=0.2)

    def weights(state: Path | None, *, killed_at: int | None = None, rate: float = plan.rate) -> torch.Tensor:
        base = copywriter_base.load(str(folder))
        asked = replace(plan, rate=rate)
        model = adapted(base.model, asked, "tiny")
        rows = copywriter_base.encode(base, read_pairs([pairs_file]))
        accelerator = Accelerator(cpu=True)
        kept = Checkpoints(state, training_id("tiny", asked, rows, [], accelerator)) if state else None

        def report(step: Step) -> None:
            seen.append(step.updates)
            if step.updates == killed_at:
                raise Killed

        fit(model, rows[:32], rows[32:40], 0, asked, accelerator, report=report, checkpoints=kept)
        return torch.cat([value.detach().flatten() for value in model.parameters() if value.requires_grad])

    seen: list[int] = []
    whole = weights(None)
    assert seen == [0, 2, 4]
    with pytest.raises(Killed):
        weights(tmp_path / "state", killed_at=4)
    assert sum(path.stat().st_size for path in (tmp_path / "state").iterdir()) < 1e6, "the base model is saved too"
    seen.clear()
    assert torch.equal(weights(tmp_path / "state"), whole)
    assert seen == [2, 4]
    seen.clear()
    weights(tmp_path / "state", rate=1e-3)  # another training
    assert seen == [0, 2, 4]


def test_what_is_learnt_with_few_words_is_the_gradient_of_the_whole_model(folder: Path, pairs_file: Path) -> None:
    """With every word kept, in another order, loss and hidden states are the same; and the whole model comes back."""
    base = copywriter_base.load(str(folder))
    rows = copywriter_base.encode(base, read_pairs([pairs_file]))[:4]
    whole = base.model.get_input_embeddings().weight
    kept = list(reversed(range(len(whole))))
    with torch.inference_mode():
        loss, tokens = copy_loss(base.model, collate(rows, 0, "cpu"))
        with copywriter_vocabulary.shortened(base.model, kept):
            renumbered = copywriter_vocabulary.renumbered(rows, kept)
            short, _ = copy_loss(base.model, collate(renumbered, kept.index(0), "cpu"))
            assert base.model.get_output_embeddings().weight is base.model.get_input_embeddings().weight
    assert short.item() == pytest.approx(loss.item(), rel=1e-5)
    assert tokens == sum(one.copy for one in rows)
    assert base.model.get_input_embeddings().weight is whole
    few = copywriter_vocabulary.choose(rows, len(whole), [0], seed=0, sample=10)
    assert {word for one in rows for word in one.ids} < set(few) and len(few) < len(whole)


def test_only_the_copy_is_learnt(folder: Path) -> None:
    base = copywriter_base.load(str(folder))
    pair = Pair(Ad("a", "Red kettle", "https://example.com/", "en", "ecommerce"), "Boil it")
    [encoded] = copywriter_base.encode(base, [pair])
    assert base.tokenizer.decode(encoded.ids[-encoded.copy :]) == "Boil it\n"
    assert base.tokenizer.decode(encoded.ids[: -encoded.copy]).endswith("Ad:\n")
    batch = collate([encoded, replace(encoded, ids=encoded.ids[5:], copy=3)], 0, "cpu")
    assert batch["learnt"].sum().item() == encoded.copy + 3
    assert batch["ids"][1, :5].tolist() == [0] * 5 and batch["positions"][1, 5].item() == 0


def test_rows_of_both_kinds_are_read(tmp_path: Path) -> None:
    ads = write(
        tmp_path / "ads.jsonl",
        [
            {
                "ad_id": "k1",
                "title": "红色水壶",
                "landing_url": "https://example.com/",
                "language": "zh",
                "domain": "ecommerce",
            }
        ],
    )
    flat = write(
        tmp_path / "flat.jsonl",
        [
            {"ad_id": "k1", "copy": "红色水壶，烧水吧", "audience": "烹饪"},
            {"ad_id": "k1", "copy": "红色水壶，烧水吧", "audience": "烹饪"},
            {"ad": ROWS[0]["ad"], "copy": "A red kettle", "channel": "push"},
        ],
    )
    pairs = read_pairs([flat], read_catalogue([ads]))
    assert [(pair.ad.title, pair.audience, pair.channel) for pair in pairs] == [
        ("红色水壶", ("烹饪",), "feed"),
        ("Red kettle", (), "push"),
    ]
    assert "烹饪" in pairs[0].messages()[0]["content"]
    assert counts(pairs) == {"en": {"ads": 1, "copies": 1}, "zh": {"ads": 1, "copies": 1}}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"ad_id": "nobody", "copy": "x"}, "needs ad, or the ad_id"),
        ({"ad": {"title": "x"}, "copy": "x"}, r"ad\.\w+"),
        ({"ad": ROWS[0]["ad"], "copy": " "}, "copy: needs a text"),
        ({"ad": ROWS[0]["ad"], "copies": []}, "copies"),
        ({"ad": ROWS[0]["ad"], "copy": "x", "channel": "smoke"}, "channel: 'smoke'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=rf"rows\.jsonl, row 2: .*{said}"):
        read_pairs([write(tmp_path / "rows.jsonl", [ROWS[0], bad])])


def test_copy_that_its_prompt_does_not_show_is_left_out() -> None:
    ad = Ad("a", "Red kettle", "https://example.com/", "en", "ecommerce", description="A red kettle of 2 litres.")
    long = replace(ad, description="A kettle " + "that is red and heats water " * 5 + "for 45 USD.")
    kept, left = teachable(
        [Pair(ad, "A red kettle of 2 litres"), Pair(ad, "A red kettle of 3 litres"), Pair(long, "A red kettle, 45 USD")]
    )
    assert [pair.copy for pair in kept] == ["A red kettle of 2 litres"]
    assert [reason.partition(":")[0] for _, reason in left] == ["not in the ad", "not in the prompt"]


def test_copy_is_learned_from_as_far_as_its_wording_may_be_shown() -> None:
    ad = Ad("a", "Red kettle", "https://example.com/", "en", "ecommerce", description="A red kettle, made in Leeds.")
    pairs = [
        Pair(ad, "Meet the red kettle, made in Leeds."),
        Pair(ad, "Leeds made a kettle that is red."),
        Pair(ad, "A kettle like a Leeds bus."),
    ]
    counts: dict[Wording, int] = {"quoted": 1, "literal": 2, "free": 3}
    for wording, count in counts.items():
        assert [pair.copy for pair in teachable(pairs, wording)[0]] == [pair.copy for pair in pairs[:count]], wording


def test_variants_keep_what_the_copy_mentions() -> None:
    facts: dict[str, str | float] = {
        "颜色": "雾灰、炭黑",
        "材质": "羊毛",
        "weight_g": 189,
        "产地": "甘肃",
        "style": "casual",
    }
    ad = Ad("a", "西裤", "https://example.com/", "zh", "ecommerce", attributes=facts)
    pair = Pair(ad, "雾灰西裤，189 克")
    made = varied([pair], 40, seed=0)
    assert len(made) == 40 and made[0] == pair and {one.copy for one in made} == {pair.copy}
    kept = [one.ad.attributes for one in made]
    assert all("颜色" in one and "weight_g" in one for one in kept)
    assert any("材质" not in one for one in kept) and len({tuple(one) for one in kept}) > 10


@given(seed=st.integers(0, 1000), share=st.floats(0.02, 0.5))
def test_no_ad_stands_on_both_sides(seed: int, share: float) -> None:
    pairs = [
        Pair(Ad(str(place), f"Ad {place // 2}", "https://example.com/", language, "social"), f"copy {place} {number}")
        for language in ("zh", "en")
        for place in range(12)
        for number in range(3)
    ]
    first, second = split(pairs, share, seed)
    assert sorted(map(repr, first + second)) == sorted(map(repr, pairs))
    assert not {(p.ad.language, p.ad.title) for p in first} & {(p.ad.language, p.ad.title) for p in second}
    assert {pair.ad.language for pair in second} == {"zh", "en"}


def test_every_row_stands_in_one_batch() -> None:
    import random

    rows = [copywriter_base.Row([1] * length, 1) for length in (9, 3, 5, 3, 8, 2, 7)]
    made = batches(rows, 3, random.Random(0))
    assert sorted(place for batch in made for place in batch) == list(range(7))


def test_memorisation_is_counted_against_other_ads_only() -> None:
    tent = Ad("tent", "双人帐篷", "https://example.com/", "zh", "ecommerce")
    lamp = Ad("lamp", "露营灯", "https://example.com/", "zh", "ecommerce")
    training = [Pair(tent, "周末去山里，把双人帐篷搭在溪边，听一夜水声"), Pair(lamp, "露营灯挂起来，营地就亮了")]
    found = memorised(
        [
            Candidate(lamp, "周末去山里，把双人帐篷搭在溪边，听一夜水声"),  # another ad's, word for word
            Candidate(lamp, "周末去山里，把露营灯搭在溪边，听一夜水声"),  # with one word changed
            Candidate(tent, "周末去山里，把双人帐篷搭在溪边，听一夜水声"),  # its own
            Candidate(lamp, "夜里的营地，有一盏灯为你亮着"),  # new
        ],
        training,
    )
    assert (found.repeats, found.verbatim, found.own_verbatim) == (0.5, 0.25, 0.25)
    assert found.examples[1] == ("周末去山里，把露营灯搭在溪边，听一夜水声", training[0].copy)


def test_quality_counts_what_may_be_shown() -> None:
    ad = Ad("a", "Red kettle", "https://example.com/", "en", "ecommerce", description="A red kettle of 2 litres.")
    texts = ["The red kettle of 2 litres", "A red kettle of 5 litres", "A red kettle of 2 litres", "and the"]
    found = quality([Candidate(ad, text) for text in texts])
    assert (found.candidates, found.true, found.language, found.lawful) == (4, 0.75, 1.0, 1.0)
    assert found.passed == 0.5
    assert found.usable < found.own < 1
    assert found.answered == (found.usable > 0)


def test_overlap_and_distinct_2() -> None:
    assert overlap("红色水壶", "一个红色的水壶") == 1.0
    assert overlap("", "x") == 0.0
    assert distinct_2(["a b c", "a b d"]) == 0.75
    assert distinct_2(["红水壶", "红水壶"]) == 0.5


def test_other_orders_of_matrices_have_no_gguf(trained: tuple[Path, Any, list[Step]]) -> None:
    from transformers import LlamaConfig

    with pytest.raises(copywriter_export.NoGGUF, match="llama"):
        copywriter_export.write_gguf(trained[0], LlamaConfig(), "base")


def test_precision() -> None:
    assert copywriter_training.precision_of("no") == "no"
    assert copywriter_training.precision_of("auto") in ("no", "bf16", "fp16")
    with pytest.raises(ValueError, match="fp8"):
        copywriter_training.precision_of("fp8")


@pytest.mark.slow
def test_two_processes_train_one_adapter(folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["infra.training.train_copywriter", "--pairs", str(pairs_file), "--name", "two", "--out", str(tmp_path)]
    command += ["--base", str(folder), "--epochs", "0.2", "--batch", "4", "--rank", "2", "--candidates", "1"]
    command += ["--precision", "no", "--temperature", "0", "--allow-memorised", "--wording", "free"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "two", "copywriter").metadata["processes"] == 2
    assert json.loads(done.stdout.splitlines()[-1])["version"]


def test_which_adapter_is_served(trained: tuple[Path, Any, list[Step]], tmp_path: Path) -> None:
    out, _, _ = trained
    assert llm_server.adapter_file("none", "gemma") is None
    assert llm_server.adapter_file("default", "smollm2") is None
    assert llm_server.adapter_file(str(out), "gemma") == out / "adapter.gguf"
    assert llm_server.adapter_file(str(out / "adapter.gguf"), "model.gguf") == out / "adapter.gguf"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        llm_server.adapter_file("nowhere", "gemma")
    other = shutil.copytree(out, tmp_path / "changed")
    (other / "adapter.gguf").write_bytes(b"GGUF")
    with pytest.raises(ArtifactError, match="sha256"):
        llm_server.adapter_file(str(other), "gemma")
