"""Trains one head, from rows to the written artefact: what `train_classifier` and the measuring command both run.

With several processes all of them call `train`; the first alone fits what is linear, decides, prints and writes.

The steps: tokens and the untouched encoders' vectors (`prepare`); the linear models on them; fine-tuning each encoder
(`members.fine_tune`) and their sum (`members.mixture`); the weight of the n-grams, the temperature and the threshold on
the development rows (`choose`); the same training once more on all rows where time allows; the export
(`export.write_head`). Where few rows were not worth fine-tuning on, `few_rows.together` decides on all of them.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console

from infra.training import distributed, export, few_rows, fewshot, finetune, loop, members, ngrams, recipe
from infra.training.build_encoder import calibration_texts
from infra.training.calibrate import Figures, figures
from infra.training.checkpoints import Checkpoints, digest
from infra.training.choice import Decided, choose
from infra.training.frozen import encode, full_logits, refit_head
from infra.training.labels import Rows
from infra.training.material import FROZEN_TOKENS, MAX_TOKENS, Classes, Ids, Material, prepare
from infra.training.members import LEAST_ROWS, Member, costs, embedded, fine_tune, keyed, mixture, roomy, untouched_loss
from infra.training.ngrams import NgramModel
from infra.training.recipe import Recipe
from infra.training.verdict import useless
from shared.models.artifacts import Manifest
from shared.preprocess.text import PREPROCESS_VERSION

# The exported head is checked on at least so many development rows, and on as many more as make so many tokens.
CHECKED, CHECKED_TOKENS = 300, 40_000
CALIBRATION = 200  # texts that show how large the activations get
MANY_MORE = 1.3  # times as many rows with those of development
# Above this many rows a tenth more of them is not worth training again.
REFIT_ROWS = 12_000


@dataclass(frozen=True)
class Trained:
    """The artefact and what was measured on the development rows (`dev`: on all rows, in cross-validation, where the
    plan says ``cross_validated``). curves: of each encoder's training, by its name.
    frozen_test: what the frozen head predicts for the rows it was asked about."""

    folder: Path
    manifest: Manifest
    labels: list[str]
    dev: Figures
    frozen_dev: Figures
    seconds: float
    plan: dict[str, Any]
    curves: dict[str, list[loop.Progress]]
    frozen_test: Classes


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
    sources = members.read_all(members.candidates(rows.texts), console)
    saved = None
    if checkpoints is not None:
        settings = {"seed": seed, "epochs": epochs, "seconds": budget_seconds, "bfloat16": bfloat16}
        versions = [f"{source.name} {source.revision}" for source in sources.values()]
        saved = Checkpoints(checkpoints, _fingerprint(rows, dev, unlabelled or [], settings, versions), restart=restart)
        if (decided := saved.decided("bfloat16")) is not None:
            bfloat16 = decided
    deadline = began + budget_seconds - (saved.seconds_used if saved else 0.0)
    torch.manual_seed(seed)

    def left(share: float = 1.0) -> float:
        """Seconds that a step may take: a share of what is left, or whatever it takes where the epochs are fixed."""
        return distributed.agreed(share * max(deadline - time.monotonic(), 1.0) if epochs is None else math.inf)

    few = fewshot.suits(len(rows), len(labels))
    if unlabelled and not few:
        console.print("unlabelled texts are left aside: there are enough labelled ones", highlight=False)
    materials = {
        key: prepare(source, rows, dev, labels, seed, left(), console, bfloat16, unlabelled or () if few else ())
        for key, source in sources.items()
    }
    everything = rows + dev
    refittable = len(everything) <= REFIT_ROWS and set(everything.labels) == set(labels)
    ratio = len(everything) / len(rows)
    team, refit = _planned(materials, left, refittable, ratio, epochs, saved)
    first = team[0].material
    for one in team:
        console.print(
            f"{len(rows):,} rows, {len(dev):,} for choosing, {len(labels)} labels, {one.name} encoder: the top "
            f"{one.planned.layers} of {one.material.body.depth} layers, {one.planned.length} tokens, "
            f"{one.planned.epochs:.1f} epochs" + (", then again on all rows" if refit else ""),
            highlight=False,
        )
    options: dict[str, Any] = {"seed": seed, "console": console}
    # A training that is gone on with has what it was planned to have, as far as there is time.
    allowed = left(_share(ratio, refit)) + _share(ratio, refit) * (saved.seconds_used if saved else 0.0)
    for one, part in zip(team, costs([one.material for one in team]), strict=True):
        one.top, one.deep, one.outcome = fine_tune(
            one,
            one.planned,
            (one.material.ids, one.material.classes),
            choose_best=True,
            seconds=min(allowed * part, left(0.9)),
            report=report,
            stage=one.stage(saved, "choose"),
            **options,
        )
    first = team[0].material
    frozen_dev = figures(first.dev_classes, first.linear_logits().argmax(axis=1))
    cross_validated = distributed.on_first(lambda: few_rows.suit(team, materials, len(everything)))
    if cross_validated:
        with console.status("few-shot heads and n-grams in cross-validation"):
            decided = few_rows.together(team, materials, rows, dev if refittable else None)
    else:
        # A training that stopped early may leave time for a second one that was not planned.
        decided = _summed(team, rows, everything, refittable, left, saved, options)
    team, weights, wide, choice = decided.team, decided.weights, decided.wide, decided.choice
    first = team[0].material
    frozen_test = np.zeros(0, np.int64)
    if asked is not None:
        vectors = encode(first.body, [row[:FROZEN_TOKENS] for row in first.tokens(asked.texts)])
        frozen_test = full_logits(first.linear, first.frozen.standard(vectors), len(labels)).argmax(axis=1)

    described = [one.described(weight) for one, weight in zip(team, weights, strict=True)]
    plan = described[0] | {
        "ngram_weight": choice.ngram_weight,
        "refitted": decided.refitted,
        "cross_validated": cross_validated,
        "bfloat16": first.body.bfloat16,
        "processes": distributed.size(),
        "beside": described[1:],
    }
    if first.few is not None:
        plan["few_shot"] = first.few.described()
    usual = Counter(rows.labels).most_common(1)[0][0]
    metrics: dict[str, Any] = {"dev": choice.figures, "frozen_head": frozen_dev}
    share_of_usual = dev.labels.count(usual) / len(dev)
    doubt = useless(choice.figures["accuracy"], choice.rows, share_of_usual, answered=choice.figures["answered"])
    if doubt is not None:
        metrics["warning"] = doubt
    metadata = {
        "labels": labels,
        "temperature": choice.temperature,
        "threshold": choice.threshold,
        "seed": seed,
        "plan": plan,
        "metrics": metrics,
        "rows": {"train": len(rows), "dev": len(dev)},
        "source": " + ".join(one.material.source.name for one in team),
        "revision": " + ".join(one.material.source.revision for one in team),
    }
    with console.status("exporting to int8 and comparing with torch"):
        order = np.random.default_rng(seed).permutation(len(rows))[:CALIBRATION]
        calibration = rows.take(order).texts
        # Scales found on a few texts are too narrow for others.
        calibration += calibration_texts()[: CALIBRATION - len(calibration)]
        checked = _checked(team, weights, wide, dev, choice.ngram_weight)
        manifest, agreement = distributed.on_first(
            lambda: export.write_head(
                [
                    _parts(one, weight, wide, choice.ngram_weight if one is team[0] else 0.0)
                    for one, weight in zip(team, weights, strict=True)
                ],
                folder,
                name,
                metadata,
                calibration,
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
    curves = {one.name: one.outcome.curve for one in team}
    return Trained(folder, manifest, labels, choice.figures, frozen_dev, seconds, plan, curves, frozen_test)


def _summed(
    team: list[Member],
    rows: Rows,
    everything: Rows,
    refittable: bool,
    left: Callable[[float], float],
    saved: Checkpoints | None,
    options: dict[str, Any],
) -> Decided:
    """The head of trained members, chosen on the development rows; if `refittable`, and where there is time, trained
    once more on all rows."""
    truth, labels = team[0].material.dev_classes, team[0].material.labels
    found = distributed.on_first(lambda: mixture([one.deep for one in team], truth))
    kept = [(one, weight) for one, weight in zip(team, found, strict=True) if weight]
    team, weights = [one for one, _ in kept], [weight for _, weight in kept]
    deep = np.asarray(sum(weight * one.deep for one, weight in kept), np.float32)
    first = team[0].material  # whose tokens the n-grams are of
    with options["console"].status("a linear model of n-grams"):
        wide = first.ngrams()
    choice = distributed.on_first(lambda: choose(deep, wide.logits(first.dev_ids), truth))
    again = sum(one.outcome.seconds_to_best for one in team) * len(everything) / len(rows)
    refitted = distributed.agreed(refittable and left(0.85) > again)
    if saved is not None:
        # A training that was killed in its second half does not turn back.
        refitted = bool(saved.decided("refitted") or refitted)
        saved.decide("refitted", refitted)
    if refitted:
        refitted, wide = _refit(team, wide, len(rows), everything, labels, left, saved, options)
    return Decided(team, weights, wide, choice, refitted)


def _refit(
    team: list[Member],
    wide: NgramModel,
    rows: int,
    everything: Rows,
    labels: list[str],
    left: Callable[[float], float],
    saved: Checkpoints | None,
    options: dict[str, Any],
) -> tuple[bool, NgramModel]:
    """Trains each member in place once more on all rows, of which the first `rows` are the training rows.

    Whether all of them came to their end, and the n-grams of all rows; else everything is as it was: half-way through
    it is another model than the one that was measured.
    """
    before = [(one.top, one.material.linear, one.material.start, one.material.few) for one in team]
    classes = everything.classes(labels)
    parts = costs([one.material for one in team])
    for place, one in enumerate(team):
        material = one.material
        part = material.ids + material.dev_ids, classes
        material.linear = distributed.on_first(partial(refit_head, material.frozen, material.linear, classes, rows))
        material.begin(with_dev=True)
        seconds = left(0.85) * parts[place] / sum(parts[place:])
        if one.outcome.reached > 0:
            stage = one.stage(saved, "refit")
            one.top, _, second = fine_tune(
                one, one.again, part, choose_best=False, seconds=seconds, stage=stage, **options
            )
            if second.stopped != "planned":
                for other, (top, linear, start, few) in zip(team, before, strict=True):
                    other.top, other.material.linear = top, linear
                    other.material.start, other.material.few = start, few
                return False, wide
        else:
            one.top = finetune.start_top(material.body, material.frozen, material.start, one.planned.layers)
    ids = team[0].material.ids + team[0].material.dev_ids
    return True, distributed.on_first(lambda: ngrams.fit(ids, classes, len(labels)))


def _fingerprint(
    rows: Rows, dev: Rows, unlabelled: list[str], settings: dict[str, Any], encoders: list[str]
) -> dict[str, str]:
    """What a training's course depends on."""
    versions = [torch.__version__, transformers.__version__, *encoders, PREPROCESS_VERSION]
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
    materials: dict[str, Material],
    left: Callable[[float], float],
    refit: bool,
    ratio: float,
    epochs: float | None,
    saved: Checkpoints | None,
) -> tuple[list[Member], bool]:
    """The encoders to train with their recipes, and whether to train again on all rows: those that an interrupted
    training began with, or new ones.

    A tenth more rows are worth less than the time, where there is not enough of it for the best recipe twice; a half
    more are worth more.
    """
    if saved is not None and (names := saved.decided("members")) is not None:
        try:
            team = [Member(key, materials[key], Recipe(**saved.decided(keyed("recipe", key)))) for key in names]
        except TypeError as error:
            raise ValueError(f"the checkpoints are of another release ({error}): --restart throws them away") from None
        return team, bool(saved.decided("refit"))

    def within(names: list[str], seconds: float) -> list[Member]:
        some = [materials[key] for key in names]
        return [
            Member(key, one, _recipe(one, seconds * part, epochs))
            for key, one, part in zip(names, some, costs(some), strict=True)
        ]

    def planned(names: list[str]) -> tuple[list[Member], bool]:
        team = within(names, left(_share(ratio, refit)))
        if refit and ratio < MANY_MORE and any(one.planned.hurried for one in team):
            return within(names, left(_share(ratio, False))), False
        return team, refit

    names = list(materials)
    team, again = planned(names)
    scarce = any(one.few and len(one.ids) < LEAST_ROWS for one in materials.values())
    if len(names) > 1 and (scarce or not all(roomy(one.planned, one.material) for one in team)):
        found = distributed.on_first(lambda: {key: untouched_loss(one) for key, one in materials.items()})
        team, again = planned([min(found, key=lambda key: found[key])])
    if saved is not None:
        saved.decide("bfloat16", team[0].material.body.bfloat16)
        saved.decide("refit", again)
        for one in team:
            saved.decide(keyed("recipe", one.name), asdict(one.planned))
        saved.decide("members", [one.name for one in team])
    return team, again


def _recipe(material: Material, seconds: float, epochs: float | None) -> Recipe:
    lengths = np.array([len(row) for row in material.ids])
    speed = material.frozen.seconds_per_token_layer
    return recipe.choose(lengths, len(material.labels), material.body.depth, speed, seconds, epochs)


def _some(rows: Ids) -> int:
    """How many of the development rows the exported head is checked on."""
    tokens = np.cumsum([len(row) for row in rows])
    return max(int(np.searchsorted(tokens, CHECKED_TOKENS)), min(CHECKED, len(rows)))


def _checked(
    team: list[Member], weights: list[float], wide: NgramModel, dev: Rows, ngram_weight: float
) -> export.Check:
    """What torch makes of some development rows, in full precision, for the comparison with the exported head."""
    first = team[0].material
    count = _some(first.dev_ids)
    vectors, logits = [], np.zeros((count, len(first.labels)), np.float32)
    for one, weight in zip(team, weights, strict=True):
        found = embedded(one, one.material.dev_ids[:count])
        matrix, bias = one.top.linear()
        logits += weight * (found @ matrix.T + bias)
        vectors.append(found)
    if ngram_weight and distributed.is_first():
        logits += ngram_weight * wide.logits(first.dev_ids[:count])
    return export.Check(dev.texts[:count], first.dev_classes[:count], vectors, logits)


def _parts(member: Member, weight: float, wide: NgramModel, ngram_weight: float) -> export.Parts:
    """The whole encoder with its trained layers, and the linear models. weight: of its logits."""
    return export.fine_tuned(
        member.material.source,
        member.material.tokenizer,
        member.top,
        member.planned,
        weight,
        max_tokens=MAX_TOKENS,
        ngrams=wide,
        ngram_weight=ngram_weight,
    )
