"""One or more encoders, each an ONNX graph from tokens to outputs with its own tokenizer, whose outputs are summed.

Heads and the click model of texts are made of them. The metadata of their manifest hold `prefix` (what the encoder was
trained to read before each text) and `max_tokens` of a single graph, in ``model.onnx`` and ``tokenizer.json``; where
there are several, `members`: for each ``{"model", "tokenizer", "prefix", "max_tokens"}``, the first two file names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.models.artifacts import Manifest
from shared.models.encoder import Tokens, run_in_batches
from shared.models.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True, slots=True)
class Member:
    """One graph, its tokenizer and its prefix."""

    session: onnxruntime.InferenceSession
    tokens: Tokens
    prefix: str

    @property
    def width(self) -> int:
        """Outputs of a text."""
        return int(self.session.get_outputs()[0].shape[-1])


def load_members(folder: Path, manifest: Manifest, threads: int, **absent: Any) -> list[Member]:
    """The graphs of a verified artefact. absent: `prefix` and `max_tokens` where a single graph's are not told.

    Raises:
        KeyError, TypeError, ValueError: the metadata do not describe them, or name a file that was not verified.
        ArtifactError: a graph or a tokenizer cannot be loaded.
    """
    single = absent | manifest.metadata | {"model": "model.onnx", "tokenizer": "tokenizer.json"}
    found = []
    for entry in manifest.metadata.get("members") or [single]:
        model, tokenizer = str(entry["model"]), str(entry["tokenizer"])
        if not {model, tokenizer} <= set(manifest.files):
            raise ValueError(f"{model} or {tokenizer} is not among the manifest's files")
        tokens = Tokens(folder / tokenizer, int(entry["max_tokens"]))
        found.append(Member(open_session(folder / model, threads), tokens, str(entry["prefix"])))
    return found


def summed(members: Sequence[Member], texts: Sequence[str]) -> NDArray[np.float32]:
    """The sum of the members' outputs, (n, width), for one text or more."""
    parts = (run_in_batches(one.session, one.tokens, [one.prefix + text for text in texts]) for one in members)
    return np.asarray(sum(parts), np.float32)
