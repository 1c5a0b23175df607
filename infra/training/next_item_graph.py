"""Writes the sequence model as an ONNX graph, straight from its weights: history in, query out.

Input `history`: float32 (length, width), the representations of a person's items, oldest first. Output `query`:
(width,), of the length of the temperature. Operators are ONNX's own (opset 17); the numbers are those of
`infra.training.sequence.Net.queries` at the last place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from infra.training.sequence import Net

OPSET = 17


class _Graph:
    """Nodes and constants; a node's output is called as it is."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes))
        return output

    def norm(self, source: str, layer: torch.nn.LayerNorm, output: str) -> str:
        gamma, beta = self.constant(f"{output}.gamma", layer.weight), self.constant(f"{output}.beta", layer.bias)
        return self.add("LayerNormalization", [source, gamma, beta], output, axis=-1, epsilon=layer.eps)

    def dense(self, source: str, layer: torch.nn.Linear, output: str) -> str:
        weight = self.constant(f"{output}.weight", layer.weight.T)
        product = self.add("MatMul", [source, weight], f"{output}.product")
        return self.add("Add", [product, self.constant(f"{output}.bias", layer.bias)], output)


def graph(net: Net) -> onnx.ModelProto:
    """The graph of a trained net."""
    made, plan = _Graph(), net.plan
    width, size = plan.width, plan.width // plan.heads
    zero, two = made.constant("zero", np.zeros(2, np.int64)), made.constant("axes", np.array([1, 2], np.int64))
    length = made.add("Shape", ["history"], "length", start=0, end=1)
    square = made.add("Concat", [length, length], "square", axis=0)
    # (L, 3 * width) -> (L, 3, heads, size) -> three of (heads, L, size)
    split = made.constant("split", np.array([-1, 3, plan.heads, size], np.int64))
    joined = made.constant("joined", np.array([-1, width], np.int64))
    half, one = made.constant("half", np.float32(0.5)), made.constant("one", np.float32(1))
    root, scale = made.constant("root", np.float32(math.sqrt(2))), made.constant("scale", np.float32(size**-0.5))

    hidden = made.norm("history", net.start, "start")
    for number, layer in enumerate(net.layers):

        def name(part: str, number: int = number) -> str:
            return f"{number}.{part}"

        packed = made.dense(made.norm(hidden, layer.before, name("before")), layer.attention, name("attention"))
        packed = made.add("Reshape", [packed, split], name("split"))
        packed = made.add("Transpose", [packed], name("parts"), perm=[1, 2, 0, 3])
        query, key, value = (
            made.add("Gather", [packed, made.constant(name(f"part{part}"), np.int64(part))], name(f"q{part}"), axis=0)
            for part in range(3)
        )
        turned = made.add("Transpose", [key], name("turned"), perm=[0, 2, 1])
        logits = made.add("Mul", [made.add("MatMul", [query, turned], name("dot")), scale], name("scaled"))
        bias = made.constant(name("distances"), layer.bias(plan.length))
        bias = made.add("Slice", [bias, zero, square, two], name("bias"))
        weights = made.add("Softmax", [made.add("Add", [logits, bias], name("logits"))], name("weights"), axis=-1)
        mixed = made.add("MatMul", [weights, value], name("mixed"))
        mixed = made.add("Transpose", [mixed], name("rows"), perm=[1, 0, 2])
        mixed = made.dense(made.add("Reshape", [mixed, joined], name("joined")), layer.out, name("out"))
        hidden = made.add("Add", [hidden, mixed], name("attended"))
        wide = made.dense(made.norm(hidden, layer.between, name("between")), layer.wide, name("wide"))
        error = made.add("Erf", [made.add("Div", [wide, root], name("over"))], name("erf"))
        gate = made.add("Mul", [made.add("Add", [error, one], name("lifted")), half], name("gate"))
        narrow = made.dense(made.add("Mul", [wide, gate], name("gelu")), layer.narrow, name("narrow"))
        hidden = made.add("Add", [hidden, narrow], name("hidden"))

    last = made.add("Gather", [hidden, made.constant("minus", np.int64(-1))], "last", axis=0)
    ended = made.norm(last, net.end, "end")
    unit = made.add("LpNormalization", [ended], "unit", axis=0, p=2)
    made.add("Mul", [unit, made.constant("temperature", net.log_temperature.exp())], "query")
    return helper.make_model(
        helper.make_graph(
            made.nodes,
            "sequence",
            [helper.make_tensor_value_info("history", TensorProto.FLOAT, ["length", width])],
            [helper.make_tensor_value_info("query", TensorProto.FLOAT, [width])],
            made.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="adtailor",
        ir_version=8,
    )
