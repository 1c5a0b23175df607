"""Training with the words that occur: rows of embedding and output layer that no text needs are put aside.

A model of 262,000 words spends most of a training step on its output layer. An adapter touches neither embedding nor
output layer, so what is learnt with the short ones is valid for the whole model. Besides the words of the data a sample
of the others stays: they are what the model must learn not to write.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from infra.training.copywriter_base import Row

SAMPLE = 8192  # words beside those of the data


def choose(rows: Sequence[Row], size: int, special: Sequence[int], seed: int, sample: int = SAMPLE) -> list[int]:
    """Ids to keep, ascending: those of the rows, the `special` ones, and a sample of the rest of `size`."""
    kept = set(special).union(*(row.ids for row in rows))
    others = [word for word in range(size) if word not in kept]
    kept.update(random.Random(seed).sample(others, min(sample, len(others))))
    return sorted(kept)


def renumbered(rows: Sequence[Row], kept: Sequence[int]) -> list[Row]:
    """The rows in the ids of the short vocabulary."""
    place = {word: index for index, word in enumerate(kept)}
    return [replace(row, ids=[place[word] for word in row.ids]) for row in rows]


@contextmanager
def shortened(model: Any, kept: Sequence[int]) -> Iterator[None]:
    """The model with nothing but the words `kept`, in their order; the whole one again afterwards."""
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    whole = [
        (layer, name, getattr(layer, name))
        for layer in layers
        for name in ("weight", "bias")
        if isinstance(getattr(layer, name, None), nn.Parameter)
    ]
    short: dict[int, nn.Parameter] = {}  # tied layers stay tied
    padding = layers[0].padding_idx
    for layer, name, values in whole:
        if id(values) not in short:
            short[id(values)] = nn.Parameter(values.detach()[list(kept)].clone(), requires_grad=False)
        setattr(layer, name, short[id(values)])
    layers[0].padding_idx = None  # says which row has no gradient, and none has
    try:
        yield
    finally:
        for layer, name, values in whole:
            setattr(layer, name, values)
        layers[0].padding_idx = padding
