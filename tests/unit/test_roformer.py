"""Rotary encoders: the layer, the graph and its int8 form beside transformers' RoFormer, on small random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from torch import nn
from transformers import RoFormerConfig, RoFormerModel

from infra.training.frozen import Body, encode
from infra.training.graph import encoder_graph
from infra.training.layers import Layer, attention_bias, rotated
from infra.training.quantise import channel_maxima, quantise, smooth
from infra.training.source import Source, bert_tokenizer
from shared.errors import ArtifactError
from shared.models.encoder import Tokens, run_in_batches
from shared.models.sessions import open_session

pytestmark = pytest.mark.slow

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"手机买好看的运动鞋abcdefgh", "##b", "##c", "red", "shoe", "##s"]
TEXTS = ["手机", "买好看的运动鞋", "red shoes", "abc 手机 red red red shoe 买", "h", "的" * 30]


@pytest.fixture(scope="module")
def source() -> Source:
    """A RoFormer of two random layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = RoFormerConfig(
            vocab_size=len(PIECES),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=40,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        model = RoFormerModel(config).eval()
        for name, value in model.named_parameters():  # biases of zero would hide a mistake
            if "embed_positions" not in name:
                nn.init.normal_(value, mean=float(name.endswith("LayerNorm.weight")), std=0.3)
    return Source(model, bert_tokenizer(PIECES), "tiny", "0", "none", prefix="")


# The layer ----------------------------------------------------------------------------------------------------------


def test_the_rotary_layer_is_roformers(source: Source) -> None:
    theirs = source.model.encoder.layer[0]
    hidden = torch.randn(3, 7, 32)
    mask = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    positions = source.model.encoder.embed_positions(hidden.shape[:-1])[None, None]
    expected = theirs(hidden, mask_of(mask), positions)[0]
    ours = Layer.of(theirs, rotary=True)(hidden, attention_bias(mask))
    torch.testing.assert_close(ours[mask], expected[mask], atol=1e-5, rtol=1e-4)
    still = Layer.of(theirs)(hidden, attention_bias(mask))
    assert float((still[mask] - expected[mask]).abs().max().detach()) > 0.01, "positions matter"


def mask_of(mask: torch.Tensor) -> torch.Tensor:
    """The mask as transformers' layers take it."""
    return torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))[:, None, None, :]


def test_its_weights_go_back_under_roformers_names(source: Source) -> None:
    theirs = source.model.encoder.layer[1]
    weights, state = Layer.of(theirs, rotary=True).weights(), theirs.state_dict()
    assert set(weights) == set(state)
    assert all(np.array_equal(weights[name], state[name].numpy()) for name in state)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), gap=st.integers(0, 30), moved=st.integers(0, 300), half=st.integers(1, 16))
def test_a_score_depends_on_the_distance_alone(seed: int, gap: int, moved: int, half: int) -> None:
    """Su et al. 2021, equation 16; and turning keeps lengths."""
    query, key = torch.randn(2, 2 * half, generator=torch.Generator().manual_seed(seed))
    tokens = gap + moved + 1

    def at(vector: torch.Tensor, position: int) -> torch.Tensor:
        return rotated(vector.expand(1, 1, tokens, -1))[0, 0, position]

    near, far = at(query, 0) @ at(key, gap), at(query, moved) @ at(key, moved + gap)
    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(at(query, tokens - 1).norm(), query.norm(), atol=1e-5, rtol=1e-5)


def test_it_learns_in_bfloat16_as_well(source: Source) -> None:
    layer = Layer.of(source.model.encoder.layer[0], rotary=True)
    hidden, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool)
    exact = layer(hidden, attention_bias(mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(hidden, attention_bias(mask))
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, atol=0.1, rtol=0.1)
    mixed.sum().backward()
    assert layer.qkv.weight.grad is not None and float(layer.qkv.weight.grad[:64].abs().max()) > 0


def test_the_body_is_the_model(source: Source) -> None:
    ids = [encoding.ids for encoding in source.cut(1).encode_batch(TEXTS)]
    body = Body(source.model, 0, torch.device("cpu"), bfloat16=False)
    np.testing.assert_allclose(encode(body, ids), source.encode(TEXTS), atol=1e-5)


# The graph ----------------------------------------------------------------------------------------------------------


def test_the_graph_is_the_model_and_int8_is_near(source: Source, tmp_path: Path) -> None:
    source.cut(1).save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens(tmp_path / "tokenizer.json")
    expected = source.encode(TEXTS)

    def run(name: str) -> np.ndarray:
        return run_in_batches(open_session(tmp_path / name, 1), tokens, TEXTS)

    graph = encoder_graph(source.weights(), source.model.config.to_dict(), quantised_embeddings=False)
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    np.testing.assert_allclose(run("model.onnx"), expected, atol=1e-4)

    smoothed = smooth(graph, channel_maxima(graph, tokens, TEXTS))
    (tmp_path / "smoothed.onnx").write_bytes(smoothed.SerializeToString())
    np.testing.assert_allclose(run("smoothed.onnx"), expected, atol=1e-4)

    quantise(smoothed, tmp_path / "int8.onnx")
    assert (run("int8.onnx") * expected).sum(axis=1).min() > 0.99
    products = [node.op_type for node in graph.graph.node].count("MatMul")
    assert products == 8, "two layers of four matrices, query, key and value in one"


# Tokenizers ---------------------------------------------------------------------------------------------------------


def test_berts_tokenizer(source: Source) -> None:
    assert source.tokenizer.encode("RED shoes, 买手机").tokens == [
        *("[CLS]", "red", "shoe", "##s", "[UNK]", "买", "手", "机", "[SEP]")
    ]


def test_a_wordpiece_vocabulary_stays_whole(source: Source) -> None:
    tokenizer = Tokenizer.from_str(source.tokenizer.to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=20)
    given = Source(source.model, tokenizer, "tiny", "0", "none", prefix="")
    cut = given.cut(2)
    assert cut.get_vocab() == tokenizer.get_vocab()
    assert len(cut.encode("的" * 30).ids) == 32 and len(cut.encode("的").ids) == 3
    np.testing.assert_allclose(given.encode(TEXTS), source.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize("pad", ["[PAD]", "<pad>"])
def test_batches_are_padded_with_the_tokenizers_own_token(tmp_path: Path, pad: str) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(words([pad])).save(str(path))
    assert Tokens(path).padded([[0], [0, 1]])["input_ids"].tolist() == [[0, 5], [0, 1]]


def test_a_tokenizer_without_a_padding_token_is_refused(tmp_path: Path) -> None:
    Tokenizer(words([])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ArtifactError, match=r"<pad>, \[PAD\]"):
        Tokens(tmp_path / "tokenizer.json")


def words(more: list[str]) -> Any:
    return models.WordLevel({word: place for place, word in enumerate(["[UNK]", *"abcd", *more])}, unk_token="[UNK]")
