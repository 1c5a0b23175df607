"""int8 for an encoder's graph: smoothing by calibration, then dynamic quantisation with one weight scale a column.

Activations are quantised at run time with one scale a tensor, so that a few large channels cost all others their
precision. Smoothing (Xiao et al. 2023, SmoothQuant) divides each input channel by a factor found on calibration texts
and multiplies the weights by it: the product is the same, both sides quantise better. It costs one small multiplication
a matrix, and halves the distance to full precision.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from shared.models.encoder import Tokens
from shared.models.sessions import open_session

Batch = tuple[Mapping[str, NDArray[Any]], NDArray[np.bool_]]  # a graph's inputs; which tokens are real, (n, tokens)
MATRICES = ("MatMul", "Attention")
# 0 leaves all to the weights, 1 all to the activations. .65 gave the best neighbour agreement of .5, .65 and .8.
ALPHA = 0.65


def _matrix_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Those with weights of their own: an adapter's are an input."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in MATRICES and node.input[1] in constants]


def channel_maxima(model: onnx.ModelProto, tokens: Tokens, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The largest absolute value of each channel of each matrix's input over the tokens of `texts`."""
    rows = sorted(tokens.ids(texts), key=len)
    batches = (tokens.padded(rows[start : start + 16]) for start in range(0, len(rows), 16))
    return maxima_over(model, ((inputs, inputs["attention_mask"].astype(bool)) for inputs in batches))


def maxima_over(model: onnx.ModelProto, batches: Iterable[Batch]) -> dict[str, NDArray[np.float32]]:
    """The largest absolute value of each channel of each matrix's input over the real tokens of `batches`."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    width = {node.input[0] for node in _matrix_nodes(model)}
    # A head multiplies one vector a text, which has no token axis and needs no smoothing.
    names = sorted(name for name in width if name != "vector")
    probed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    maxima: dict[str, NDArray[np.float32]] = {}
    with TemporaryDirectory() as scratch:
        onnx.save(probed, f"{scratch}/probed.onnx")
        # One thread: sums in another order would make another artefact of the same recipe.
        session = open_session(Path(scratch) / "probed.onnx", 1)
        for inputs, real in batches:
            for name, value in zip(names, session.run(names, inputs), strict=True):
                largest = np.abs(value[real]).max(axis=0)
                maxima[name] = np.maximum(maxima[name], largest) if name in maxima else largest
    return maxima


def smooth(model: onnx.ModelProto, maxima: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """The same function with the inputs' large channels moved into the weights."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in result.graph.node:
        if node.op_type in MATRICES and node.input[0] in maxima and node.input[1] in constants:
            weight = numpy_helper.to_array(constants[node.input[1]])
            rows = np.maximum(np.abs(weight).max(axis=1), 1e-5)
            factor = np.maximum(maxima[node.input[0]], 1e-5) ** ALPHA / rows ** (1 - ALPHA)
            factor = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
            constants[node.input[1]].CopyFrom(
                numpy_helper.from_array((weight * factor[:, None]).astype(np.float32), node.input[1])
            )
            divisor, smoothed = f"{node.name}.smoothing", f"{node.name}.smoothed"
            result.graph.initializer.append(numpy_helper.from_array(1 / factor, divisor))
            nodes.append(helper.make_node("Mul", [node.input[0], divisor], [smoothed], name=smoothed))
            node.input[0] = smoothed
        nodes.append(node)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def quantise(model: onnx.ModelProto, path: Path) -> None:
    """Writes `model` to `path` with its matrices in int8.

    Weights keep to 7 bits: processors without VNNI add two products in 16 bits, which 8-bit weights overflow.
    """
    extra: dict[str, Any] = {"DefaultTensorType": TensorProto.FLOAT}
    logger = logging.getLogger()
    # The quantiser advises shape inference, which has nothing to add to a graph of the runtime's own operators.
    logger.addFilter(_no_advice)
    try:
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=list(MATRICES),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options=extra,
        )
    finally:
        logger.removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
