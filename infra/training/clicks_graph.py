"""The click model as an ONNX graph: what `ClickNet.forward` computes for one person, calibrated.

Inputs: vectors (n, 384), rows (n,), columns (n, F), and of the history, with its empty first slot, history (slots,
384), history_rows, ages, mask (slots,). Output: log_odds (n,).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from infra.training.clicks_net import COLUMNS, LARGEST, POSITION, ClickNet
from shared.models.click_model import DIMENSIONS
from shared.models.features import FEATURES, HISTORY_ITEMS

OPSET, IR_VERSION = 17, 9
SLOTS = HISTORY_ITEMS + 1


class _Graph:
    """Nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _values(net: ClickNet) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().cpu().numpy().astype(np.float32) for name, value in net.state_dict().items()}


def write(net: ClickNet, slope: float, bias: float, path: Path) -> None:
    """Writes the graph. slope, bias: the calibration, ``slope * log_odds + bias``."""
    weights, graph = _values(net), _Graph()
    add, constant = graph.add, graph.constant
    for name in ("content", "query", "key", "product", "score", "near", "wide"):
        constant(f"{name}.w", weights[f"{name}.weight"].T)
    # The row of unknown ids is zero: the fallback needs no branch.
    for name in ("ids", "own_rate"):
        table = weights[f"{name}.weight"].copy()
        table[0] = 0
        constant(name, table)
    for side, vectors, rows in (("own", "vectors", "rows"), ("past", "history", "history_rows")):
        add("MatMul", [vectors, "content.w"], f"{side}.content")
        add("Gather", ["ids", rows], f"{side}.id")
        add("Add", [f"{side}.content", f"{side}.id"], side)
    add("MatMul", ["own", "query.w"], "query.product")
    add("Add", ["query.product", constant("query.b", weights["query.bias"])], "query.flat")
    add("Unsqueeze", ["query.flat", constant("one", np.array([1], np.int64))], "query.out")
    add("MatMul", ["past", "key.w"], "key.out")
    add("Unsqueeze", ["own", "one"], "own.tall")
    add("Mul", ["own.tall", "past"], "pairs")
    add("MatMul", ["pairs", "product.w"], "pairs.out")
    add("Add", ["pairs.out", "query.out"], "joint.half")
    add("Add", ["joint.half", "key.out"], "joint")
    add("Relu", ["joint"], "joint.relu")
    add("MatMul", ["joint.relu", "score.w"], "score.tall")
    add("Squeeze", ["score.tall", constant("last", np.array([2], np.int64))], "score.raw")
    add("Add", ["ages", constant("unit", np.array(1, np.float32))], "ages.plus")
    add("Log", ["ages.plus"], "ages.log")
    add("Mul", ["ages.log", constant("age", weights["age"])], "ages.bias")
    add("Sub", ["mask", "unit"], "mask.minus")
    add("Mul", ["mask.minus", constant("far", np.array(1e9, np.float32))], "mask.bias")
    add("Add", ["ages.bias", "mask.bias"], "slots.bias")
    add("Transpose", ["history"], "history.across", perm=[1, 0])
    add("MatMul", ["vectors", "history.across"], "alike")
    add("Mul", ["alike", constant("cosine", weights["cosine"])], "alike.bias")
    add("Add", ["score.raw", "slots.bias"], "score.aged")
    add("Add", ["score.aged", "alike.bias"], "score.out")
    add("Softmax", ["score.out"], "attention", axis=1)
    add("MatMul", ["attention", "past"], "drawn")
    add("Mul", ["ages.log", constant("fading", weights["fading"])], "fading.bias")
    add("Add", ["fading.bias", "mask.bias"], "fading.out")
    add("Softmax", ["fading.out"], "faded", axis=0)
    for weight in ("attention", "faded"):
        add("Mul", ["alike", weight], f"{weight}.alike")
        add("ReduceSum", [f"{weight}.alike", "one"], f"{weight}.near", keepdims=1)
    add("Concat", ["attention.near", "faded.near"], "near", axis=1)
    add("Mul", ["own", "drawn"], "both")
    add("Gather", ["columns", constant("used", np.array(COLUMNS, np.int64))], "columns.used", axis=1)
    add("Sub", ["columns.used", constant("mean", weights["mean"])], "columns.centred")
    add("Mul", ["columns.centred", constant("scale", weights["scale"])], "columns.scaled")
    bounds = [constant(name, np.array(value, np.float32)) for name, value in (("least", -LARGEST), ("most", LARGEST))]
    add("Clip", ["columns.scaled", *bounds], "standard")
    add("Concat", ["standard", "near", "own", "drawn", "both"], "deep.in", axis=1)
    for place, source, output in ((0, "deep.in", "deep.hidden"), (2, "deep.relu", "deep.out")):
        constant(f"deep.{place}.w", weights[f"deep.{place}.weight"].T)
        add("MatMul", [source, f"deep.{place}.w"], f"deep.{place}.product")
        add("Add", [f"deep.{place}.product", constant(f"deep.{place}.b", weights[f"deep.{place}.bias"])], output)
        if place == 0:
            add("Relu", ["deep.hidden"], "deep.relu")
    add("MatMul", ["standard", "wide.w"], "wide.product")
    add("Add", ["wide.product", constant("wide.b", weights["wide.bias"])], "wide.out")
    add("MatMul", ["near", "near.w"], "near.out")
    add("Gather", ["own_rate", "rows"], "rate")
    add("Sum", ["wide.out", "near.out", "rate", "deep.out"], "parts")
    add("Squeeze", ["parts", "one"], "parts.flat")
    add("Gather", ["columns", constant("place", np.array(POSITION, np.int64))], "position", axis=1)
    add("Mul", ["position", constant("position.w", weights["position"])], "position.out")
    add("Add", ["parts.flat", "position.out"], "log_odds.raw")
    add("Mul", ["log_odds.raw", constant("slope", np.array(slope, np.float32))], "log_odds.slope")
    add("Add", ["log_odds.slope", constant("bias", np.array(bias, np.float32))], "log_odds")

    def info(name: str, kind: int, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    given = [
        info("vectors", TensorProto.FLOAT, ["n", DIMENSIONS]),
        info("rows", TensorProto.INT64, ["n"]),
        info("columns", TensorProto.FLOAT, ["n", len(FEATURES)]),
        info("history", TensorProto.FLOAT, [SLOTS, DIMENSIONS]),
        info("history_rows", TensorProto.INT64, [SLOTS]),
        info("ages", TensorProto.FLOAT, [SLOTS]),
        info("mask", TensorProto.FLOAT, [SLOTS]),
    ]
    made = helper.make_graph(
        graph.nodes, "clicks", given, [info("log_odds", TensorProto.FLOAT, ["n"])], graph.constants
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, path)
