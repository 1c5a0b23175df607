"""What a head is trained from: rows as token ids and classes, the encoder, and the linear models on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.linear_model import LogisticRegression

from infra.training import distributed, fewshot, ngrams
from infra.training.build_encoder import PIECES
from infra.training.frozen import Body, Frozen, device, encode, freeze, full_logits, linear_head
from infra.training.labels import Rows
from infra.training.regression import full_weights
from infra.training.source import Source

MAX_TOKENS = 512
FROZEN_TOKENS = 192
FROZEN_SHARE = 0.15  # of the time, at most, for the untouched encoder's vectors
# Unlabelled texts: at most so many, on so many tokens, in at most this share of the time.
MOST_UNLABELLED, UNLABELLED_TOKENS, UNLABELLED_SHARE = 50_000, 64, 0.3

Classes = NDArray[np.int64]
Ids = list[list[int]]


@dataclass
class Material:
    """Rows as one encoder's token ids and classes, the encoder, and the linear models without back-propagation."""

    source: Source
    tokenizer: Any
    body: Body
    labels: list[str]
    ids: Ids
    dev_ids: Ids
    classes: Classes
    dev_classes: Classes
    frozen: Frozen
    linear: LogisticRegression
    names: NDArray[np.float32] | None = None  # vectors of the labels' names, where there are few rows a label
    more: NDArray[np.float32] | None = None  # vectors of unlabelled texts
    start: tuple[NDArray[np.float32], NDArray[np.float32]] = field(init=False)  # of fine-tuning: weight and bias
    few: fewshot.FewShot | None = None  # the head it begins with, where there are few rows a label

    def begin(self, *, with_dev: bool) -> None:
        """Fits the linear head that fine-tuning starts from, on the training rows or on those of development too."""
        if self.names is None:
            self.start = full_weights(self.linear, len(self.labels))
            return
        data, truth = self.frozen.standard(self.frozen.vectors), self.classes[self.frozen.places]
        if with_dev:
            data = np.concatenate([data, self.frozen.standard(self.frozen.dev_vectors)])
            truth = np.concatenate([truth, self.dev_classes])
        names = (self.names - self.names.mean(axis=0)) / self.frozen.spread
        found = distributed.on_first(lambda: fewshot.fit(data, truth, names))
        if self.more is not None:
            more = self.frozen.standard(self.more)
            first = found
            found = distributed.on_first(lambda: fewshot.with_unlabelled(first, data, truth, names, more))
        self.start, self.few = (found.weight, found.bias), found

    def tokens(self, texts: Sequence[str]) -> Ids:
        """Token ids as the served head sees them."""
        return _tokens(self.source, self.tokenizer, texts)

    def linear_logits(self) -> NDArray[np.float32]:
        """What the regression on the untouched encoder's vectors says of the development rows, (n, labels)."""
        return full_logits(self.linear, self.frozen.standard(self.frozen.dev_vectors), len(self.labels))

    def ngrams(self) -> ngrams.NgramModel:
        """The linear model of the training rows' n-grams; the same in every process."""
        return distributed.on_first(lambda: ngrams.fit(self.ids, self.classes, len(self.labels)))


def _tokens(source: Source, tokenizer: Any, texts: Sequence[str]) -> Ids:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast([source.prefix + text for text in texts])]


def progress_bar(console: Console) -> Progress:
    share = TextColumn("{task.percentage:3.0f} %")
    columns = (TextColumn("{task.description:<36}"), BarColumn(), share, TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def prepare(
    source: Source,
    rows: Rows,
    dev: Rows,
    labels: list[str],
    seed: int,
    seconds: float,
    console: Console,
    bfloat16: bool | None = None,
    unlabelled: Sequence[str] = (),
) -> Material:
    """The encoder's vectors of the rows, and what is linear on them.

    source: its vocabulary is cut in place. seconds: the time left for everything. bfloat16: see `Body`.
    """
    with console.status("cutting the encoder's vocabulary"):
        tokenizer = source.cut(PIECES)
        body = Body(source.model, source.model.config.pad_token_id, device(), bfloat16)
        tokenizer.enable_truncation(MAX_TOKENS)
    ids, dev_ids = _tokens(source, tokenizer, rows.texts), _tokens(source, tokenizer, dev.texts)
    classes, dev_classes = rows.classes(labels), dev.classes(labels)
    with progress_bar(console) as bar:
        task = bar.add_task("vectors of the untouched encoder", total=len(ids) + len(dev_ids))
        short, dev_short = ([row[:FROZEN_TOKENS] for row in part] for part in (ids, dev_ids))
        frozen = freeze(
            body, short, dev_short, seed, seconds * FROZEN_SHARE, lambda count: bar.advance(task, count), classes
        )
    with console.status("a logistic regression on them"):
        linear = distributed.on_first(lambda: linear_head(frozen, classes[frozen.places], dev_classes, len(labels)))
    material = Material(source, tokenizer, body, labels, ids, dev_ids, classes, dev_classes, frozen, linear)
    if fewshot.suits(len(rows), len(labels)):
        material.names = encode(body, material.tokens(fewshot.spoken(labels)))
        with console.status("vectors of unlabelled texts"):
            affordable = seconds * UNLABELLED_SHARE / (frozen.seconds_per_token_layer * body.depth)
            read = [row[:UNLABELLED_TOKENS] for row in material.tokens(unlabelled[:MOST_UNLABELLED])]
            read = read[: int(np.searchsorted(np.cumsum([len(row) for row in read]), affordable))]
            if read:
                material.more = encode(body, read)
    elif unlabelled:
        console.print("unlabelled texts are left aside: there are enough labelled ones", highlight=False)
    material.begin(with_dev=False)
    return material
