"""Writes a BERT or RoFormer encoder as an ONNX graph, straight from its state dict.

Written by hand rather than traced: a graph of ONNX Runtime's fused operators (packed attention, skip connection with
layer norm, bias with GELU) loads faster, quantises well and does not change with the exporter's version. The model
built here takes int64 `input_ids` and `attention_mask`, both (n, tokens), and gives float32 `output`: (n, hidden) of
unit length (mean over the unmasked tokens), or (n, labels) logits where a head is passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from infra.training.rotary import rotary_tables

OPSET = 17
OUTPUT = "output"
FUSED = "com.microsoft"
Weights = Mapping[str, NDArray[np.float32]]


class Graph:
    """Nodes and constants of a graph, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        return self.add_several(kind, inputs, [output], domain, **attributes)[0]

    def add_several(
        self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any
    ) -> list[str]:
        name = f"{outputs[0]}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs


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
        config: `num_hidden_layers`, `num_attention_heads`, `layer_norm_eps`; where `model_type` is `roformer`, also
            `hidden_size` and `max_position_embeddings`, the most tokens that the graph takes.
        head: weight (labels, hidden) and bias (labels,) of a linear layer over the unit-length vector; the output
            is then its logits.
        position_offset: what the first token's position is (XLM-RoBERTa: padding id + 1).
        quantised_embeddings: keeps the word embeddings as int8 with one scale a row (a quarter of the size).
    """
    graph = Graph()
    eps = float(config["layer_norm_eps"])
    ids = graph.add("Cast", ["input_ids"], "ids32", to=TensorProto.INT32)
    mask = graph.add("Cast", ["attention_mask"], "mask32", to=TensorProto.INT32)
    rotary = config.get("model_type") == "roformer"
    summed = word_embeddings(graph, weights, ids, quantised_embeddings)
    # Every token is of type 0.
    kind = weights["embeddings.token_type_embeddings.weight"][0]
    if rotary:
        summed = graph.add("Add", [summed, graph.constant("type", kind)], "embedded")
        add_rotary_tables(graph, config)
    else:
        positions = weights["embeddings.position_embeddings.weight"][position_offset:] + kind
        summed = _with_positions(graph, summed, positions)
    gamma = graph.constant("embeddings.gamma", weights["embeddings.LayerNorm.weight"])
    beta = graph.constant("embeddings.beta", weights["embeddings.LayerNorm.bias"])
    hidden = graph.add("LayerNormalization", [summed, gamma, beta], "embedded.norm", axis=-1, epsilon=eps)
    if rotary:
        # RoFormer's padding has values so large that int8 would have none left for the tokens beside it.
        hidden = graph.add("Mul", [hidden, _mask_column(graph)], "embedded.real")
    for layer in range(config["num_hidden_layers"]):
        hidden = add_layer(graph, weights, layer, hidden, Masking(mask), config["num_attention_heads"], eps, rotary)

    weight = _MASK_COLUMN if rotary else _mask_column(graph)
    first = graph.constant("axis_first", np.array([1], np.int64))
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
_TABLES = ("rotary.cosines", "rotary.sines")
_MASK_COLUMN = "mask_column"


@dataclass(frozen=True, slots=True)
class Masking:
    """Names of the tensors that say which tokens attend to which.

    mask: int32, 1 where a token may be attended to: (n, tokens), or (n, tokens, tokens) in a layer that is not rotary.
    Of a rotary one, bias: float32, added to the scores, (n, 1, tokens, tokens); positions: int64, (n, tokens), or (1,)
    for those that count from there.
    """

    mask: str = ""
    bias: str = ""
    positions: str = "zero"


def add_rotary_tables(graph: Graph, config: Mapping[str, Any]) -> None:
    """The constants that a rotary layer turns queries and keys by."""
    size = config["hidden_size"] // config["num_attention_heads"]
    for name, table in zip(_TABLES, rotary_tables(config["max_position_embeddings"], size), strict=True):
        graph.constant(name, table)
    graph.constant("zero", np.array([0], np.int64))


def _mask_column(graph: Graph) -> str:
    """1 for a token, 0 for padding, (n, tokens, 1)."""
    mask = graph.add("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
    last = graph.constant("axis_last", np.array([2], np.int64))
    return graph.add("Unsqueeze", [mask, last], _MASK_COLUMN)


def word_embeddings(graph: Graph, weights: Weights, ids: str, quantised: bool) -> str:
    """The word embeddings of `ids`, an int32 tensor of the graph."""
    table = weights["embeddings.word_embeddings.weight"]
    if quantised:
        rows, scales = _quantise_rows(table)
        row = graph.add("Gather", [graph.constant("word.rows", rows), ids], "word.row")
        scale = graph.add("Gather", [graph.constant("word.scales", scales), ids], "word.scale")
        wide = graph.add("Cast", [row], "word.wide", to=TensorProto.FLOAT)
        return graph.add("Mul", [wide, scale], "word")
    return graph.add("Gather", [graph.constant("word.table", table), ids], "word")


def _with_positions(graph: Graph, words: str, positions: NDArray[np.float32]) -> str:
    shape = graph.add("Shape", ["input_ids"], "shape", start=1, end=2)
    start = graph.constant("zero", np.array([0], np.int64))
    here = graph.add("Slice", [graph.constant("positions", positions), start, shape], "positions.here")
    return graph.add("Add", [words, here], "embedded")


def _rotary_attention(graph: Graph, layer: str, inputs: list[str], masking: Masking, heads: int) -> str:
    """Attention whose queries and keys are turned by their positions: the runtime's packed one cannot on a CPU.

    inputs: hidden states, packed weight and packed bias.
    """
    hidden, packed, bias = inputs
    product = graph.add("MatMul", [hidden, packed], f"{layer}.qkv.product")
    summed = graph.add("Add", [product, bias], f"{layer}.qkv")
    parts = [f"{layer}.{part}" for part in ("query", "key", "value")]
    query, key, value = graph.add_several("Split", [summed], parts, axis=-1)
    query, key = (
        graph.add("RotaryEmbedding", [part, masking.positions, *_TABLES], f"{part}.turned", FUSED, interleaved=1)
        for part in (query, key)
    )
    inputs = [query, key, value, "", masking.mask, masking.bias]
    return graph.add("MultiHeadAttention", inputs, f"{layer}.attended", FUSED, num_heads=heads)


ADAPTED = ("projected", "wide", "narrow")  # the runtime's packed attention takes no other product for query and key


def adapter_inputs(weights: Weights, layers: int) -> list[onnx.ValueInfoProto]:
    """An adapter's matrices, those of a kind of all layers in one: `KIND.down` (layers, in, rank) and `KIND.up`
    (layers, rank, out). With rank 0 the graph is the one without an adapter."""
    hidden = weights["embeddings.LayerNorm.weight"].shape[0]
    wide = weights["encoder.layer.0.intermediate.dense.bias"].shape[0]
    sizes = dict(zip(ADAPTED, ((hidden, hidden), (hidden, wide), (wide, hidden)), strict=True))
    return [
        helper.make_tensor_value_info(f"{kind}.{part}", TensorProto.FLOAT, [layers, *shape])
        for kind, (into, out) in sizes.items()
        for part, shape in (("down", [into, "rank"]), ("up", ["rank", out]))
    ]


def add_layer(
    graph: Graph,
    weights: Weights,
    layer: int,
    hidden: str,
    masking: Masking,
    heads: int,
    eps: float,
    rotary: bool,
    adapted: bool = False,
) -> str:
    """One layer over `hidden`. adapted: what `ADAPTED` matrices give has what a run's adapter makes of the same input
    added (Hu et al. 2021, LoRA): the graph then has the inputs of `adapter_inputs`."""

    def get(name: str) -> NDArray[np.float32]:
        return weights[f"encoder.layer.{layer}.{name}"]

    def put(name: str, value: NDArray[np.float32]) -> str:
        return graph.constant(f"{layer}.{name}", value)

    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    packed = put("qkv.weight", np.concatenate([get(f"{part}.weight").T for part in parts], axis=1))
    packed_bias = put("qkv.bias", np.concatenate([get(f"{part}.bias") for part in parts]))
    if rotary:
        attended = _rotary_attention(graph, f"{layer}", [hidden, packed, packed_bias], masking, heads)
    else:
        inputs = [hidden, packed, packed_bias, masking.mask]
        attended = graph.add("Attention", inputs, f"{layer}.attended", FUSED, num_heads=heads)

    def dense(name: str, source: str, output: str) -> str:
        weight = put(f"{output}.weight", get(f"{name}.weight").T)
        if not adapted:
            return graph.add("MatMul", [source, weight], f"{layer}.{output}")
        plain = graph.add("MatMul", [source, weight], f"{layer}.{output}.plain")
        number = graph.constant(f"number.{layer}", np.array(layer, np.int64))
        for part in ("down", "up"):
            matrix = graph.add("Gather", [f"{output}.{part}", number], f"{layer}.{output}.{part}")
            source = graph.add("MatMul", [source, matrix], f"{layer}.{output}.{part}.product")
        return graph.add("Add", [plain, source], f"{layer}.{output}")

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
