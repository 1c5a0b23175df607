"""Texts to vectors: a multilingual sentence encoder as an int8 ONNX graph (built by infra/training/build_encoder.py).

The graph pools and normalises, so that this module only tokenises, batches and restores the order. `onnxruntime` and
`tokenizers` are imported when an encoder is loaded, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import ArtifactError
from shared.models.artifacts import verify
from shared.models.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

DIMENSIONS = 384
MAX_TOKENS = 256
BATCH = 32
PADS = ("<pad>", "[PAD]")  # XLM-RoBERTa's and BERT's
KIND = "encoder"
Kind = Literal["query", "passage"]
# A text without content is embedded as this one: a defined vector, of unit length like any other.
EMPTY = "-"


class Tokens:
    """A tokenizer with a length limit that gives padded int64 batches."""

    def __init__(self, path: Path, limit: int = MAX_TOKENS) -> None:
        from tokenizers import Tokenizer

        tokenizer: tokenizers.Tokenizer = Tokenizer.from_file(str(path))
        tokenizer.enable_truncation(limit)
        pads = (tokenizer.token_to_id(token) for token in PADS)
        pad = next((found for found in pads if found is not None), None)
        if pad is None:
            raise ArtifactError(f"{path} has none of the tokens {', '.join(PADS)}")
        self._tokenizer = tokenizer
        self._pad = pad

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, from the first to the last special token."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def padded(self, rows: Sequence[list[int]]) -> dict[str, NDArray[np.int64]]:
        """The graph's inputs, (n, longest)."""
        width = max(map(len, rows))
        ids = np.full((len(rows), width), self._pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def run_in_batches(
    session: onnxruntime.InferenceSession, tokens: Tokens, texts: Sequence[str], batch: int = BATCH
) -> NDArray[np.float32]:
    """The graph's output for every text, (n, width), in the order of `texts`; texts of like length share a batch."""
    rows = tokens.ids(texts)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    result: NDArray[np.float32] | None = None
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        output = session.run(None, tokens.padded([rows[index] for index in members]))[0]
        if result is None:
            result = np.empty((len(rows), output.shape[1]), np.float32)
        result[members] = output
    if result is None:
        raise ValueError("no texts")
    return result


class Encoder:
    """Sentence vectors of 384 dimensions and unit length."""

    def __init__(self, session: onnxruntime.InferenceSession, tokens: Tokens, version: str) -> None:
        self._session = session
        self._tokens = tokens
        self.version = version
        self.dimensions = DIMENSIONS

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> Encoder:
        """Loads the artefact in `folder` after verifying it.

        Raises:
            ArtifactError: it is absent, changed, of another kind or of another preprocessing version.
        """
        manifest = verify(folder, KIND)
        session = open_session(folder / "model.onnx", threads)
        return cls(session, Tokens(folder / "tokenizer.json"), manifest.version)

    def encode(self, texts: Sequence[str], kind: Kind = "query") -> NDArray[np.float32]:
        """Vectors (n, 384), float32, of unit length, in the order of `texts`.

        Texts longer than 256 tokens are cut. A text of white space alone has one defined vector. The same text gives
        the same vector up to the rounding of its batch (cosine above 0.99): activations are quantised batch by batch.
        """
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        return run_in_batches(
            self._session, self._tokens, [f"{kind}: {text if text.strip() else EMPTY}" for text in texts]
        )
