"""The whole training of a head on an encoder so small that it takes a second.

``python -m tests.integration.tiny_training FOLDER``, or several of it by torchrun. Everything is as in
`train_classifier` but the encoder, which has random weights and a vocabulary of single characters.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import BertConfig, BertModel

from infra.training import checkpoints, distributed, loop, material, members, recipe, train_head
from infra.training.labels import Rows
from infra.training.recipe import Recipe
from infra.training.source import Source, xlmr_tokenizer
from infra.training.vocabulary import META, SPECIAL
from shared.models.classifier import Head

COMMON = [chr(0x4E00 + place) for place in range(120)]
LABELS = ("one", "two", "three")
OWN = {label: [chr(0x5E00 + 20 * place + one) for one in range(20)] for place, label in enumerate(LABELS)}
# Everything that a step can do is on.
RECIPE = Recipe(
    layers=2,
    length=16,
    epochs=3,
    batch=16,
    rate=4e-3,
    checks=12,
    patience=100,
    attention_dropout=0.1,
    ema=0.9,
    adversarial=0.02,
    rdrop=0.5,
)


def rows(count: int, seed: int) -> Rows:
    """Texts of ten characters or so; two of them tell the label."""
    generator = random.Random(seed)
    texts, labels = [], []
    for place in range(count):
        label = LABELS[place % len(LABELS)]
        characters = generator.sample(OWN[label], 2) + generator.sample(COMMON, generator.randrange(3, 11))
        generator.shuffle(characters)
        texts.append("".join(characters))
        labels.append(label)
    return Rows(texts, labels)


def source() -> Source:
    """The small encoder, the same every time."""
    own = [character for characters in OWN.values() for character in characters]
    pieces = [*SPECIAL, META, *sorted(set("query:")), *COMMON, *own]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(pieces),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            pad_token_id=1,
        )
        model = BertModel(config, add_pooling_layer=False).eval()
    return Source(model, xlmr_tokenizer([(piece, -5.0) for piece in pieces]), "tiny", "0", "none")


@contextmanager
def tiny(**changes: Any) -> Iterator[None]:
    """`train_head` on the small encoder with `RECIPE`; `changes` to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "candidates", lambda _: [members.Encoder(members.MULTILINGUAL, source)])
        patch.setattr(material, "PIECES", 0)
        patch.setattr(recipe, "choose", lambda *_: replace(RECIPE, **changes))
        patch.setattr(checkpoints, "EVERY_SECONDS", 0.02)
        yield


def die_at(step: int) -> None:
    """Kills this process, as nothing can be done about, before it takes that step for the first time."""
    takes = loop._Training._step

    def step_or_die(self: Any, share: float) -> None:
        if self.course.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        takes(self, share)

    loop._Training._step = step_or_die  # type: ignore[method-assign]


def train(folder: Path, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Trains into ``folder/head`` with its checkpoints in ``folder/state``. Curve, plan, and labels of fresh texts.

    options: of `train_head.train`; with ``epochs=None`` its `budget_seconds` counts, else the epochs are fixed.
    """
    trained = train_head.train(
        rows(300, 1),
        rows(60, 2),
        folder / "head",
        "head",
        console=Console(stderr=True, quiet=not distributed.is_first()),
        seed=seed,
        bfloat16=False,
        checkpoints=folder / "state",
        **{"epochs": RECIPE.epochs} | options,
    )
    answers = Head.load(folder / "head", threads=1).classify(rows(60, 3).texts) if distributed.is_first() else []
    return {
        "curve": [asdict(one) for one in next(iter(trained.curves.values()))],
        "plan": trained.plan,
        "agreement": trained.manifest.metadata["agreement"],
        "labels": [answer.labels[0].id for answer in answers],
    }


def weights(folder: Path, stage: str) -> np.ndarray[Any, Any]:
    """All weights at the end of a stage, in one row."""
    state = torch.load(max((folder / "state" / stage).glob("step-*.pt")), weights_only=True)
    return np.concatenate([value.numpy().ravel() for value in state["module"].values()])


def main() -> int:
    """The command; prints what `train` gives as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--dying", type=int, default=0, help="the process that dies")
    parser.add_argument("--changes", type=json.loads, default={})
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        with distributed.joined(), tiny(**given.changes):
            if given.die_at is not None and distributed.rank() == given.dying:
                die_at(given.die_at)
            result = train(given.folder)
            if distributed.is_first():
                print(json.dumps(result))
    except distributed.LostError as error:
        print(f"not trained: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
