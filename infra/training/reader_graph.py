"""Writes the claim reader (shared/models/reader.py) as an ONNX graph, straight from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from infra.training.graph import (
    FUSED,
    OPSET,
    Graph,
    Masking,
    Weights,
    adapter_inputs,
    add_layer,
    add_rotary_tables,
    word_embeddings,
)
from shared.models.reader import ADAPTER_PARTS, ROW_TOKENS

TEXT, TOKEN, HIDDEN = "text", "token", "hidden"
INPUTS = ("input_ids", "positions", "kinds")


def reader_graph(weights: Weights, config: Mapping[str, Any], *, quantised_embeddings: bool = True) -> onnx.ModelProto:
    """The reader's graph.

    Args:
        weights: transformers' names of a BERT or RoFormer encoder, and of the heads `kinds` (2, hidden),
            `text.0.weight`, `text.2.weight`, `token.weight` and their biases.
        config: as `encoder_graph` takes it.
        quantised_embeddings: keeps the word embeddings as int8 with one scale a row, and positions in 16 bits.

    Inputs: int64 `input_ids`, `positions`, `kinds` (0: ad, 1: text), (n, tokens); int32 `mask` (n, tokens, tokens), 1
    where a token may attend to another; float32 an adapter (`adapter_inputs`). Outputs: `text` and `token`, (n,
    tokens), logits; a text's own is at its first token; and `hidden` (n, tokens, hidden), the last layer's output.
    """
    graph = Graph()
    eps = float(config["layer_norm_eps"])
    ids = graph.add("Cast", ["input_ids"], "ids32", to=TensorProto.INT32)
    words = word_embeddings(graph, weights, ids, quantised_embeddings)
    rotary = config.get("model_type") == "roformer"
    kind = weights["embeddings.token_type_embeddings.weight"][0]
    if rotary:
        summed = graph.add("Add", [words, graph.constant("type", kind)], "embedded")
        # The runtime refuses a row longer than the tables, whatever the positions in it.
        add_rotary_tables(graph, {**config, "max_position_embeddings": ROW_TOKENS})
        masking = Masking(bias=_bias(graph), positions="positions")
    else:
        table = weights["embeddings.position_embeddings.weight"] + kind
        table = table.astype(np.float16 if quantised_embeddings else np.float32)
        here = graph.add("Gather", [graph.constant("places", table), "positions"], "places.row")
        places = graph.add("Cast", [here], "places.here", to=TensorProto.FLOAT)
        summed = graph.add("Add", [words, places], "embedded")
        masking = Masking("mask")
    norm = [
        graph.constant(f"embeddings.{part}", weights[f"embeddings.LayerNorm.{part}"]) for part in ("weight", "bias")
    ]
    normal = graph.add("LayerNormalization", [summed, *norm], "embedded.norm", axis=-1, epsilon=eps)
    said_by = graph.add("Gather", [graph.constant("kinds.table", weights["kinds"]), "kinds"], "kinds.here")
    hidden = graph.add("Add", [normal, said_by], "embedded.kinds")
    for layer in range(config["num_hidden_layers"]):
        hidden = add_layer(graph, weights, layer, hidden, masking, config["num_attention_heads"], eps, rotary, True)
    graph.add("Identity", [hidden], HIDDEN)

    def dense(name: str, source: str, output: str) -> str:
        matrix = graph.constant(f"{name}.weight", weights[f"{name}.weight"].T)
        product = graph.add("MatMul", [source, matrix], f"{name}.product")
        return graph.add("Add", [product, graph.constant(f"{name}.bias", weights[f"{name}.bias"])], output)

    wide = graph.add("Tanh", [dense("text.0", hidden, "text.wide")], "text.tanh")
    last = graph.constant("axis_last", np.array([2], np.int64))
    graph.add("Squeeze", [dense("text.2", wide, "text.column"), last], TEXT)
    graph.add("Squeeze", [dense("token", hidden, "token.column"), last], TOKEN)
    shape = ["n", "tokens"]
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "reader",
            [
                *(helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS),
                helper.make_tensor_value_info("mask", TensorProto.INT32, ["n", "tokens", "tokens"]),
                *adapter_inputs(weights, config["num_hidden_layers"]),
            ],
            [
                *(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (TEXT, TOKEN)),
                helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, [*shape, config["hidden_size"]]),
            ],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)],
        producer_name="adtailor",
        ir_version=8,
    )


def unadapted(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """The inputs of a reader's graph that are an adapter, with rank 0."""
    return {
        one.name: np.zeros([size.dim_value for size in one.type.tensor_type.shape.dim], np.float32)
        for one in model.graph.input
        if one.name.endswith(ADAPTER_PARTS)
    }


def _bias(graph: Graph) -> str:
    """What is added to attention scores, (n, 1, tokens, tokens): nothing where `mask` has 1, a very low number else."""
    allowed = graph.add("Cast", ["mask"], "mask.float", to=TensorProto.FLOAT)
    shifted = graph.add("Sub", [allowed, graph.constant("one", np.array(1, np.float32))], "mask.shifted")
    scaled = graph.add("Mul", [shifted, graph.constant("far", np.array(1e4, np.float32))], "mask.scaled")
    return graph.add("Unsqueeze", [scaled, graph.constant("axis_second", np.array([1], np.int64))], "mask.bias")
