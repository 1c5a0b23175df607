"""Inner products of a few queries with very many vectors, on an int8 copy of them: a quarter of float32's memory to
read, and an error that is known, so that whoever needs exact answers scores in full only what that error leaves open.

The product runs in ONNX Runtime, whose kernels keep the copy packed for the processor at hand. Vectors have one scale
each and 8 bits a component; queries have 13 bits in two limbs of 7. Seven, because older kernels (AVX2) add two
products of 8 bits each in 16 bits, and would saturate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.models.sessions import runtime, session_options

if TYPE_CHECKING:
    import onnxruntime

Vectors = NDArray[np.float32]
_LIMB = 6  # bits by which the high limb of a query stands above the low one
_LARGEST_QUERY = 63 << _LIMB
_ZERO = 64  # what stands for 0 in a limb
_LARGEST = 127  # of a vector's component
_BLOCK = 4096  # vectors that are packed at a time
_INT8, _UINT8, _INT32 = 3, 2, 6  # as onnx.proto numbers them
_ROUNDING = 1e-5  # of float32 sums, on either side of a comparison


class QuantizedVectors:
    """An int8 copy of vectors (n, width)."""

    def __init__(self, vectors: Vectors, threads: int = 1) -> None:
        n, width = vectors.shape
        packed = np.empty((width, n), np.int8)
        self._scales = np.empty(n, np.float32)
        self._length = 0.0  # of the longest vector
        self._residuals = np.empty(n, np.float32)  # lengths of the differences between the vectors and their copies
        for start in range(0, n, _BLOCK):
            block = vectors[start : start + _BLOCK]
            largest = np.abs(block).max(axis=1, keepdims=True)
            scales = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
            values = np.rint(block / scales)
            packed[:, start : start + _BLOCK] = values.T
            self._scales[start : start + _BLOCK] = scales[:, 0]
            self._length = max(self._length, float(np.linalg.norm(block, axis=1).max()))
            self._residuals[start : start + _BLOCK] = np.linalg.norm(block - values * scales, axis=1)
        self._session = _open(packed, threads)

    def maxima(self, groups: Sequence[Vectors]) -> tuple[list[Vectors], Vectors]:
        """For each group of queries (m, width) every vector's largest product with one of them, (n,); and how far from
        the exact ones a vector's may be, (n,). Groups are not empty.
        """
        queries = np.concatenate(groups)
        scale = float(np.abs(queries).max()) / _LARGEST_QUERY or 1.0
        values = np.rint(queries / scale).astype(np.int32)
        high = (values + (1 << _LIMB >> 1)) >> _LIMB
        limbs = np.concatenate([high, values - (high << _LIMB)]) + _ZERO
        products = self._session.run(None, {"queries": limbs.astype(np.uint8)})[0]  # int32 (2 m, n)
        sums = products[: len(queries)] << _LIMB
        sums += products[len(queries) :]
        result = []
        start = 0
        for group in groups:
            result.append(sums[start : start + len(group)].max(axis=0) * (self._scales * np.float32(scale)))
            start += len(group)
        copies = values * scale
        # |v q - v' q'| <= |v - v'| |q'| + |v| |q - q'|, by Cauchy and Schwarz.
        error = self._residuals * np.linalg.norm(copies, axis=1).max().astype(np.float32)
        error += np.float32(self._length * np.linalg.norm(queries - copies, axis=1).max() + _ROUNDING)
        return result, error


def _open(packed: NDArray[np.int8], threads: int) -> onnxruntime.InferenceSession:
    """A session of ``products = MatMulInteger(queries, vectors, 64)``. The vectors are a constant of its model, since
    only these are kept packed, and an external one, since a model's own bytes are held beside them.

    The model is written out field by field as onnx.proto numbers them: the `onnx` package is larger than this layer.
    """
    width, n = packed.shape
    inputs = _bytes(1, b"queries") + _bytes(1, b"vectors") + _bytes(1, b"zero")
    node = inputs + _bytes(2, b"products") + _bytes(4, b"MatMulInteger")
    vectors = _number(1, width) + _number(1, n) + _number(2, _INT8) + _bytes(8, b"vectors")
    vectors += _bytes(13, _bytes(1, b"location") + _bytes(2, b"memory")) + _number(14, 1)
    zero = _number(2, _UINT8) + _bytes(8, b"zero") + _bytes(9, bytes([_ZERO]))
    graph = _bytes(1, node) + _bytes(2, b"products") + _bytes(5, vectors) + _bytes(5, zero)
    graph += _bytes(11, _value(b"queries", _UINT8, width)) + _bytes(12, _value(b"products", _INT32, n))
    model = _number(1, 8) + _bytes(8, _bytes(1, b"") + _number(2, 13)) + _bytes(7, graph)

    options = session_options(threads)
    options.add_external_initializers(["vectors"], [runtime().OrtValue.ortvalue_from_numpy(packed)])
    return runtime().InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _value(name: bytes, kind: int, columns: int) -> bytes:
    """A ValueInfoProto of shape (m, columns)."""
    shape = _bytes(1, _bytes(2, b"m")) + _bytes(1, _number(1, columns))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    result.append(value)
    return bytes(result)
