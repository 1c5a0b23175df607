"""The claim reader in torch and as a graph: what a text's logit depends on, and that all forms of the net agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import BertConfig, BertModel, RoFormerConfig, RoFormerModel

from infra.training.frozen import Body
from infra.training.layers import Layer, attention_bias, rotated
from infra.training.quantise import maxima_over, quantise, smooth
from infra.training.reader_graph import reader_graph, unadapted
from infra.training.reader_lines import Ids
from infra.training.reader_net import ReaderNet, adapted, collate, merged
from infra.training.train_policy_reader import PolicyNet
from shared.models.reader import ADAPTER_PARTS, pack
from shared.models.sessions import open_session

pytestmark = pytest.mark.slow

PIECES, PAD, LONGEST = 40, 1, 30
KINDS = ("bert", "roformer")
CPU = torch.device("cpu")


def encoder(kind: str) -> Any:
    """An encoder of two random layers, the same at each call."""
    sizes = {
        "vocab_size": PIECES,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": LONGEST,
        "pad_token_id": PAD,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if kind == "bert":
        return BertModel(BertConfig(**sizes), add_pooling_layer=False)
    return RoFormerModel(RoFormerConfig(**sizes))


def reader(kind: str) -> ReaderNet:
    """A reader whose weights are all random, the same at each call: zeros would hide a mistake."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = encoder(kind)
        for name, value in model.named_parameters():
            if "embed_positions" not in name:
                nn.init.normal_(value, mean=float(name.endswith("LayerNorm.weight")), std=0.3)
        net: ReaderNet = ReaderNet(Body(model, PAD, CPU, bfloat16=False))
        for part in (net.kinds, net.text, net.token):
            for value in part.parameters():
                nn.init.normal_(value, std=0.3)
    net.eval()
    return net


def config(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = encoder(kind).config.to_dict()
    return found


def item(ad: int, *lines: int, seed: int = 0) -> Ids:
    """An ad and lines of so many random tokens."""
    generator = np.random.default_rng(seed)
    rows = [generator.integers(2, PIECES, size).tolist() for size in (ad, *lines)]
    return Ids(rows[0], rows[1:], [[0.0] * len(row) for row in rows[1:]], [0.0] * len(lines))


# Longer than the longest text by far, since every text's positions begin behind the ad.
SEVERAL = item(9, 6, 1, 12, 7, 7, 20, 3)


def of(one: Ids, *places: int) -> Ids:
    """The ad with some of its lines."""
    return Ids(
        one.ad,
        [one.lines[place] for place in places],
        [one.doubtful[place] for place in places],
        [one.planted[place] for place in places],
    )


def logits(net: Any, *items: Ids) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the texts, and of the tokens (n, tokens)."""
    with torch.inference_mode():
        texts, tokens = net(collate(items, PAD, CPU))
    return texts, tokens


def near(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, atol=1e-4, rtol=0)


# What a logit depends on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_reads_the_same_alone_as_beside_others(kind: str) -> None:
    net = reader(kind)
    together, tokens = logits(net, SEVERAL)
    assert float(together.std()) > 0.05, "the texts differ"
    start = len(SEVERAL.ad)
    for place, line in enumerate(SEVERAL.lines):
        alone, own = logits(net, of(SEVERAL, place))
        near(alone[0], together[place])
        near(own[0, len(SEVERAL.ad) :], tokens[0, start : start + len(line)])
        start += len(line)
    backwards, _ = logits(net, of(SEVERAL, *reversed(range(len(SEVERAL.lines)))))
    near(backwards.flip(0), together)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_the_ad_nor_another_text_sees_a_text(kind: str) -> None:
    net = reader(kind)
    texts, tokens = logits(net, SEVERAL)
    lines = [*SEVERAL.lines]
    lines[2] = [2 + (token - 1) % (PIECES - 2) for token in lines[2]]
    other, others = logits(net, Ids(SEVERAL.ad, lines, SEVERAL.doubtful, SEVERAL.planted))
    same = [place for place in range(len(lines)) if place != 2]
    near(other[same], texts[same])
    assert abs(float(other[2] - texts[2])) > 0.01
    near(others[0, : len(SEVERAL.ad)], tokens[0, : len(SEVERAL.ad)])
    start = len(SEVERAL.ad) + len(lines[0]) + len(lines[1])
    near(others[0, start + len(lines[2]) :], tokens[0, start + len(lines[2]) :])


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_sees_the_whole_ad_and_knows_its_place_behind_it(kind: str) -> None:
    net = reader(kind)
    texts, _ = logits(net, SEVERAL)
    for changed in (0, len(SEVERAL.ad) - 1):
        ad = [*SEVERAL.ad]
        ad[changed] = 2 + (ad[changed] - 1) % (PIECES - 2)
        other, _ = logits(net, Ids(ad, SEVERAL.lines, SEVERAL.doubtful, SEVERAL.planted))
        assert float((other - texts).abs().min()) > 1e-4
    turned = Ids([*reversed(SEVERAL.ad)], SEVERAL.lines, SEVERAL.doubtful, SEVERAL.planted)
    assert float((logits(net, turned)[0] - texts).abs().min()) > 1e-4, "the order of its words counts"


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    net = reader(kind)
    items = [SEVERAL, item(3, 4, seed=1), item(12, 2, 9, 1, seed=2)]
    together, tokens = logits(net, *items)
    assert len(together) == 11
    start = 0
    for place, one in enumerate(items):
        alone, own = logits(net, one)
        near(alone, together[start : start + len(alone)])
        near(own[0], tokens[place, : own.shape[1]])
        start += len(alone)


def test_labels_stand_beside_their_texts_and_tokens() -> None:
    first = Ids([2, 3], [[4, 5], [6]], [[0.0, 1.0], [0.0]], [1.0, 0.0])
    second = Ids([7], [[8]], [[1.0]], [1.0])
    rows = collate([first, second], PAD, CPU)
    assert rows.ids.tolist() == [[2, 3, 4, 5, 6], [7, 8, PAD, PAD, PAD]]
    assert rows.positions.tolist() == [[0, 1, 2, 3, 2], [0, 1, 0, 0, 0]]
    assert rows.kinds.tolist() == [[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]]
    assert rows.of_text.tolist() == [[False, False, True, True, True], [False, True, False, False, False]]
    assert rows.heads.tolist() == [[0, 2], [0, 4], [1, 1]]
    assert rows.planted.tolist() == [1.0, 0.0, 1.0]
    assert rows.doubtful.tolist() == [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]
    allowed = (rows.allowed[0, 0] == 0).tolist()
    assert allowed[0] == allowed[1] == [True, True, False, False, False]
    assert allowed[2] == allowed[3] == [True, True, True, True, False]
    assert allowed[4] == [True, True, False, False, True]


# Positions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotary", [False, True])
def test_positions_from_0_on_are_those_without(rotary: bool) -> None:
    torch.manual_seed(0)
    layer = Layer(32, 48, 2, 1e-12, rotary).eval()
    hidden, bias = torch.randn(3, 7, 32), attention_bias(torch.arange(7) < torch.tensor([7, 4, 1])[:, None])
    with torch.inference_mode():
        plain = layer(hidden, bias)
        near(layer(hidden, bias, positions=torch.arange(7).expand(3, 7)), plain)
        moved = layer(hidden, bias, positions=torch.arange(7).expand(3, 7) * 2)
    assert (float((moved - plain).abs().max()) > 1e-3) == rotary


def test_a_token_is_turned_by_its_own_position() -> None:
    values = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[0, 1, 2, 3, 2, 3, 4, 2, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
    found = rotated(values, positions)
    near(found[1], rotated(values)[1])
    for place, position in enumerate(positions[0].tolist()):
        expected = rotated(values[:1, :, place : place + 1].expand(1, 3, 9, 8))[0, :, position]
        near(found[0, :, place], expected)


# The adapter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_begins_as_nothing_and_is_all_that_is_learned(kind: str) -> None:
    plain, _ = logits(reader(kind), SEVERAL)
    net = adapted(reader(kind), 4)
    before = {name: value.clone() for name, value in net.named_parameters()}
    near(logits(net.eval(), SEVERAL)[0], plain)

    learned = {name for name, value in net.named_parameters() if value.requires_grad}
    optimiser = torch.optim.SGD([value for value in net.parameters() if value.requires_grad], lr=0.1)
    for _ in range(2):  # at first half of an adapter has no gradient
        texts, tokens = net(collate([SEVERAL], PAD, CPU))
        (texts.square().sum() + tokens.square().mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
    moved = {name for name, value in net.named_parameters() if not torch.equal(value, before[name])}
    assert moved == learned
    assert not any("embeddings.word_embeddings" in name for name in moved)
    for part in ("qkv", "projected", "wide", "narrow"):
        assert {f"{layer}.{part}.lora_{half}" for layer in (0, 1) for half in "AB"} <= {
            name.split("layers.")[1].removesuffix(".default.weight") for name in moved if f"{part}.lora_" in name
        }
    for part in ("attention_norm", "output_norm", "kinds", "text", "token"):
        assert any(f".{part}.modules_to_save." in name for name in moved), part


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_adapter_merges_into_the_same_net(kind: str, tmp_path: Path) -> None:
    net = adapted(reader(kind), 4)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for value in net.parameters():
            if value.requires_grad:
                value.data.add_(torch.randn(value.shape) * 0.2)
    expected, tokens = logits(net.eval(), SEVERAL)
    assert float((expected - logits(reader(kind), SEVERAL)[0]).abs().max()) > 0.05
    net.save_pretrained(str(tmp_path))
    whole = merged(reader(kind), tmp_path)
    assert type(whole) is ReaderNet
    found, found_tokens = logits(whole, SEVERAL)
    near(found, expected)
    near(found_tokens, tokens)
    assert not [name for name in whole.state_dict() if "lora" in name or "modules_to_save" in name]
    assert set(whole.weights()) == set(reader(kind).weights())

    graph = reader_graph(whole.weights(), config(kind), quantised_embeddings=False)
    near(torch.from_numpy(run(save(graph, tmp_path / "model.onnx"), SEVERAL)[0]), expected)


# The graph ----------------------------------------------------------------------------------------------------------


def save(graph: Any, path: Path) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def run(path: Path, one: Ids) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The logits of the texts and of the tokens, as ONNX Runtime gives them."""
    row = pack(one.ad, one.lines)
    inputs = row.inputs() | unadapted(onnx.load(str(path)))
    texts, tokens = open_session(path, 1).run(["text", "token"], inputs)
    return texts[0, list(row.starts)], tokens[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("quantised", "apart"), [(False, 1e-3), (True, 0.1)])
def test_the_graph_gives_torchs_logits(kind: str, quantised: bool, apart: float, tmp_path: Path) -> None:
    net = reader(kind)
    graph = reader_graph(net.weights(), config(kind), quantised_embeddings=quantised)
    path = save(graph, tmp_path / "model.onnx")
    for one in (SEVERAL, of(SEVERAL, 0), item(1, 1, seed=4), item(LONGEST - 5, 5, 2, seed=5)):
        texts, tokens = logits(net, one)
        found, found_tokens = run(path, one)
        np.testing.assert_allclose(found, texts.numpy(), atol=apart, rtol=0)
        np.testing.assert_allclose(found_tokens, tokens[0].numpy(), atol=apart, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_takes_several_ads_at_once(kind: str, tmp_path: Path) -> None:
    net = reader(kind)
    graph = reader_graph(net.weights(), config(kind), quantised_embeddings=False)
    path = save(graph, tmp_path / "model.onnx")
    rows = collate([SEVERAL, item(4, 3, 8, seed=6)], PAD, CPU)
    given = {"input_ids": rows.ids, "positions": rows.positions, "kinds": rows.kinds}
    inputs = {name: value.numpy() for name, value in given.items()}
    inputs["mask"] = (rows.allowed[:, 0] == 0).numpy().astype(np.int32)
    found = open_session(path, 1).run(["text"], inputs | unadapted(graph))[0]
    with torch.inference_mode():
        expected, _ = net(rows)
    np.testing.assert_allclose(found[tuple(rows.heads.T.numpy())], expected.numpy(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("int8", [False, True])
def test_an_adapter_given_to_the_graph_is_what_torch_adds(kind: str, int8: bool, tmp_path: Path) -> None:
    net = reader(kind)
    graph = reader_graph(net.weights(), config(kind), quantised_embeddings=False)
    path = tmp_path / "model.onnx"
    if int8:
        quantise(graph, path)
    else:
        save(graph, path)
    rows, row = collate([SEVERAL], PAD, CPU), pack(SEVERAL.ad, SEVERAL.lines).inputs()
    with torch.inference_mode():
        before = net.hidden(rows)[0].numpy()
    law = PolicyNet(net, 3, 2)
    torch.manual_seed(1)
    for name, value in law.net.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.2)
    with torch.inference_mode():
        after = law.net.hidden(rows)[0].numpy()
    given = {name: value.astype(np.float32) for name, value in law.arrays().items() if name.endswith(ADAPTER_PARTS)}
    session = open_session(path, 1)
    apart = 0.3 if int8 else 1e-2  # the adapter is in 16 bits
    assert np.abs(after - before).max() > 3 * apart
    np.testing.assert_allclose(session.run(["hidden"], row | given)[0][0], after, atol=apart, rtol=0)
    np.testing.assert_allclose(session.run(["hidden"], row | unadapted(graph))[0][0], before, atol=apart, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_smoothing_changes_nothing_and_int8_little(kind: str, tmp_path: Path) -> None:
    net = reader(kind)
    graph = reader_graph(net.weights(), config(kind), quantised_embeddings=False)
    packs = [pack(one.ad, one.lines) for one in (item(8, 5, 9, seed=seed) for seed in range(10, 20))]
    plain = unadapted(graph)
    maxima = maxima_over(graph, ((one.inputs() | plain, np.ones((1, len(one.ids)), bool)) for one in packs))
    # Of each layer the inputs of the packed matrices and of three more; of the heads three, two of them the same.
    assert len(maxima) == 2 * 4 + 2
    assert all(value.ndim == 1 and value.min() >= 0 for value in maxima.values())
    smoothed = smooth(graph, maxima)
    expected = logits(net, SEVERAL)[0].numpy()
    found, _ = run(save(smoothed, tmp_path / "smoothed.onnx"), SEVERAL)
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)
    quantise(smoothed, tmp_path / "int8.onnx")
    found, _ = run(tmp_path / "int8.onnx", SEVERAL)
    np.testing.assert_allclose(found, expected, atol=0.3, rtol=0)


def test_maxima_are_of_the_real_tokens_alone() -> None:
    graph = reader_graph(reader("bert").weights(), config("bert"), quantised_embeddings=False)
    row = pack(SEVERAL.ad, SEVERAL.lines).inputs() | unadapted(graph)
    real = np.ones(row["input_ids"].shape, bool)
    every = maxima_over(graph, [(row, real)])
    real[:, len(SEVERAL.ad) :] = False
    some = maxima_over(graph, [(row, real)])
    assert all((some[name] <= every[name]).all() for name in every)
    assert any((some[name] < every[name]).any() for name in every)
    again = maxima_over(graph, [(row, real), (row, ~real)])
    assert all(np.array_equal(again[name], every[name]) for name in every)
