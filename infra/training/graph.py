"""Writes a BERT encoder as an ONNX graph, straight from its state dict.

Written by hand rather than traced: a graph of ONNX Runtime's fused operators (packed attention, skip connection with
layer norm, bias with GELU) loads faster, quantises well and does not change with the exporter's version. The model
built here takes int64 `input_ids` and `attention_mask`, both (n, tokens), and gives float32 `output`: (n, hidden) of
unit length (mean over the unmasked tokens), or (n, labels) logits where a head is passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
OUTPUT = "output"
FUSED = "com.microsoft"
Weights = Mapping[str, NDArray[np.float32]]


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", domain=domain, **attributes)
        )
        return output


def _quantise_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 rows and their scales, (rows, width) and (rows, 1)."""
    scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-8) / 127.0
    return np.rint(table / scale).astype(np.int8), scale.astype(np.float32)


def encoder_graph(
    weights: Weights,
    config: Mapping[str, Any],
    *,
    head: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    position_offset: int = 0,
    quantised_embeddings: bool = True,
) -> onnx.ModelProto:
    """The encoder's graph.

    Args:
        weights: transformers' names without a prefix (`embeddings.word_embeddings.weight`, …), float32.
        config: `num_hidden_layers`, `num_attention_heads`, `layer_norm_eps`.
        head: weight (labels, hidden) and bias (labels,) of a linear layer over the unit-length vector; the output
            is then its logits.
        position_offset: what the first token's position is (XLM-RoBERTa: padding id + 1).
        quantised_embeddings: keeps the word embeddings as int8 with one scale a row (a quarter of the size).
    """
    graph = _Graph()
    eps = float(config["layer_norm_eps"])
    ids = graph.add("Cast", ["input_ids"], "ids32", to=TensorProto.INT32)
    mask = graph.add("Cast", ["attention_mask"], "mask32", to=TensorProto.INT32)
    hidden = _embeddings(graph, weights, ids, eps, position_offset, quantised_embeddings)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(graph, weights, layer, hidden, mask, config["num_attention_heads"], eps)

    weight = graph.add("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
    last = graph.constant("axis_last", np.array([2], np.int64))
    first = graph.constant("axis_first", np.array([1], np.int64))
    weight = graph.add("Unsqueeze", [weight, last], "mask_column")
    masked = graph.add("Mul", [hidden, weight], "masked")
    total = graph.add("ReduceSum", [masked, first], "total", keepdims=0)
    tokens = graph.add("ReduceSum", [weight, first], "tokens", keepdims=0)
    mean = graph.add("Div", [total, tokens], "mean")
    vector = graph.add("LpNormalization", [mean], OUTPUT if head is None else "vector", axis=1, p=2)
    width: int = weights["embeddings.LayerNorm.weight"].shape[0]
    if head is not None:
        width = head[0].shape[0]
        matrix, bias = graph.constant("head.weight", head[0].T), graph.constant("head.bias", head[1])
        product = graph.add("MatMul", [vector, matrix], "head.product")
        graph.add("Add", [product, bias], OUTPUT)

    tokens_shape = ["n", "tokens"]
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, tokens_shape) for name in _INPUTS],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", width])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)],
        producer_name="adtailor",
        ir_version=8,
    )


_INPUTS = ("input_ids", "attention_mask")


def _embeddings(graph: _Graph, weights: Weights, ids: str, eps: float, position_offset: int, quantised: bool) -> str:
    table = weights["embeddings.word_embeddings.weight"]
    if quantised:
        rows, scales = _quantise_rows(table)
        row = graph.add("Gather", [graph.constant("word.rows", rows), ids], "word.row")
        scale = graph.add("Gather", [graph.constant("word.scales", scales), ids], "word.scale")
        wide = graph.add("Cast", [row], "word.wide", to=TensorProto.FLOAT)
        words = graph.add("Mul", [wide, scale], "word")
    else:
        words = graph.add("Gather", [graph.constant("word.table", table), ids], "word")
    # Position and type embeddings are added once here: every token is of type 0.
    positions = weights["embeddings.position_embeddings.weight"][position_offset:]
    positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    shape = graph.add("Shape", ["input_ids"], "shape", start=1, end=2)
    start = graph.constant("zero", np.array([0], np.int64))
    here = graph.add("Slice", [graph.constant("positions", positions), start, shape], "positions.here")
    summed = graph.add("Add", [words, here], "embedded")
    gamma = graph.constant("embeddings.gamma", weights["embeddings.LayerNorm.weight"])
    beta = graph.constant("embeddings.beta", weights["embeddings.LayerNorm.bias"])
    return graph.add("LayerNormalization", [summed, gamma, beta], "embedded.norm", axis=-1, epsilon=eps)


def _layer(graph: _Graph, weights: Weights, layer: int, hidden: str, mask: str, heads: int, eps: float) -> str:
    def get(name: str) -> NDArray[np.float32]:
        return weights[f"encoder.layer.{layer}.{name}"]

    def put(name: str, value: NDArray[np.float32]) -> str:
        return graph.constant(f"{layer}.{name}", value)

    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    packed = put("qkv.weight", np.concatenate([get(f"{part}.weight").T for part in parts], axis=1))
    packed_bias = put("qkv.bias", np.concatenate([get(f"{part}.bias") for part in parts]))
    attended = graph.add("Attention", [hidden, packed, packed_bias, mask], f"{layer}.attended", FUSED, num_heads=heads)

    def dense(name: str, source: str, output: str) -> str:
        return graph.add("MatMul", [source, put(f"{output}.weight", get(f"{name}.weight").T)], f"{layer}.{output}")

    def add_and_norm(name: str, source: str, skip: str, output: str) -> str:
        inputs = [source, skip, put(f"{output}.gamma", get(f"{name}.LayerNorm.weight"))]
        inputs += [
            put(f"{output}.beta", get(f"{name}.LayerNorm.bias")),
            put(f"{output}.bias", get(f"{name}.dense.bias")),
        ]
        return graph.add("SkipLayerNormalization", inputs, f"{layer}.{output}", FUSED, epsilon=eps)

    projected = dense("attention.output.dense", attended, "projected")
    hidden = add_and_norm("attention.output", projected, hidden, "attention.norm")
    wide = dense("intermediate.dense", hidden, "wide")
    wide = graph.add("BiasGelu", [wide, put("wide.bias", get("intermediate.dense.bias"))], f"{layer}.gelu", FUSED)
    narrow = dense("output.dense", wide, "narrow")
    return add_and_norm("output", narrow, hidden, "output.norm")
