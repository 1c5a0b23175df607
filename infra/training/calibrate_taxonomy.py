"""Finds what the zero-shot classifier weighs how: ``python -m infra.training.calibrate_taxonomy [--write]``.

On the `fit` half of the tuning list (`infra/training/tuning.py`) it finds the temperature, the score of "none of
them", the weight of being near to texts about nothing, and the weight of the prior, for the least log loss of the
accepted categories. Every row is scored with the examples of the other four fifths of its half, never with itself.
Rows weigh so that each category weighs the same, since the list is no sample of traffic, and all rows about nothing
weigh a fifth.

The hints were written by people who knew the list: nearly every row shares a word with a hint of its category, and
with these scores confidence looks deserved that is not. So each row is scored a second time as a text that the hints
were not written for (`infra/training/unaided.py`), and the temperature that is kept is found on both scores. How much
each weighs is told by the categories' names, which nobody wrote for these rows: the share of rows that share a word
with a name of their category is the weight of the first. Probabilities that hold need no threshold of their own: the
one from which answering pays is that of what a wrong answer costs.

With --write the result becomes `taxonomy/calibration.json`, and the next `make models` builds it in; the last line of
stdout is a JSON object of the figures on both halves, each scored with examples of the fit half alone; `unaided` are
those of the second scores.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.optimize import minimize, minimize_scalar

from infra.training.calibrate import BINS, WRONG_COST
from infra.training.label_vectors import (
    ARTIFACTS,
    CALIBRATION,
    LABEL_WEIGHT,
    TAXONOMIES,
    Embedded,
    embed_taxonomy,
    embedder,
    show_progress,
)
from infra.training.tuning import is_fit, share
from infra.training.unaided import named_share, unaided
from shared.models.classifier import Terms, nothingness
from shared.models.encoder import Encoder

FOLDS = 5
NOTHING_SHARE = 0.2
# Where a told probability is what it says, answering pays from here on.
LEAST_WORTH = round(WRONG_COST / (1 + WRONG_COST), 2)
Floats = NDArray[np.float64]


class Scored:
    """Both halves' rows, each scored with examples of the fit half that are not of its own fold.

    scores, unaided: (n, categories), with all hints and without those that the row's words stand in. aided_share: what
    the first weigh beside the second.
    """

    def __init__(self, made: Embedded) -> None:
        rows = made.rows
        self.fit: NDArray[np.bool_] = np.array([is_fit(row) for row in rows], bool)
        fold = np.array([share(row, FOLDS, "fold ") for row in rows])
        self.accepted = made.accepted
        self.about: NDArray[np.bool_] = np.asarray(made.accepted.any(axis=1))
        self.scores = np.empty(made.accepted.shape)
        self.unaided = np.empty(made.accepted.shape)
        self.aided_share = named_share(made)
        self.nothing = np.empty(len(rows))
        for number in range(FOLDS + 1):
            asked = self.fit & (fold == number) if number < FOLDS else ~self.fit
            if not asked.any():
                continue
            chosen = self.fit & ~asked
            terms = Terms(*made.places(chosen), len(made.taxonomy))
            query = made.queries[asked]
            self.scores[asked] = LABEL_WEIGHT * (query @ made.labels.T) + (1 - LABEL_WEIGHT) * terms.nearness(query)
            self.unaided[asked] = unaided(made, asked, chosen, self.scores[asked], LABEL_WEIGHT)
            self.nothing[asked] = nothingness(query, made.nothing(chosen))
        self.commonness = made.commonness(Terms(*made.places(self.fit), len(made.taxonomy)))
        ids = list(made.taxonomy)
        place = {key: index for index, key in enumerate(ids)}
        self.parents = [place[parent] if (parent := made.taxonomy[key].parent) else -1 for key in ids]
        self.upwards = sorted(
            (index for index, parent in enumerate(self.parents) if parent >= 0),
            key=lambda index: -made.taxonomy[ids[index]].tier,
        )
        weight = np.zeros(len(rows))
        first = self.accepted.argmax(axis=1)
        for half in (self.fit, ~self.fit):
            counts = np.bincount(first[half & self.about], minlength=len(ids))
            weight[half & self.about] = 1 / counts[first[half & self.about]]
            weight[half & self.about] *= (1 - NOTHING_SHARE) / weight[half & self.about].sum()
            weight[half & ~self.about] = NOTHING_SHARE / max((half & ~self.about).sum(), 1)
        self.weight = weight

    def logits(self, found: Floats, scores: Floats | None = None) -> tuple[Floats, Floats]:
        """Of the categories, (n, categories), and of none, (n,); found: log temperature, none score and two weights."""
        heat, none_score, none_weight, prior_weight = np.exp(found[0]), *found[1:]
        none = (none_score + none_weight * self.nothing) / heat
        return ((self.scores if scores is None else scores) + prior_weight * self.commonness) / heat, none

    def loss(self, found: Floats, half: NDArray[np.bool_]) -> float:
        """The weighed log loss of the accepted categories, or of none, over the rows of a half."""
        logits, none = (part[half] for part in self.logits(found))
        whole = np.logaddexp(_log_sum(logits), none)
        right = np.where(self.about[half], _log_sum(np.where(self.accepted[half], logits, -np.inf)), none)
        return float(((whole - right) * self.weight[half]).sum())

    def answers(
        self, found: Floats, threshold: float, scores: Floats | None = None
    ) -> tuple[NDArray[np.int64], Floats]:
        """The served category of each row, -1 where it abstains, and its probability."""
        logits, none = self.logits(found, scores)
        own = np.exp(logits - np.logaddexp(_log_sum(logits), none)[:, None])
        whole = own.copy()
        for index in self.upwards:
            whole[:, self.parents[index]] += whole[:, index]
        answer = own.argmax(axis=1)
        for row in range(len(answer)):
            best = int(answer[row])
            while best >= 0 and whole[row, best] < threshold:
                best = self.parents[best]
            answer[row] = best
        return answer, np.where(answer >= 0, whole[np.arange(len(own)), answer], 0.0)

    def surprise(self, found: Floats, step: float) -> float:
        """The weighed log loss of the likeliest category's being right, at another log temperature; fit half."""
        total = 0.0
        for part, scores in ((self.aided_share, self.scores), (1 - self.aided_share, self.unaided)):
            answer, confidence = self.answers(np.concatenate([[found[0] + step], found[1:]]), 0.0, scores)
            told = np.clip(confidence, 1e-4, 1 - 1e-4)
            loss = -np.where(self.right(answer), np.log(told), np.log(1 - told))
            total += part * float((loss * self.weight)[self.fit].sum())
        return total

    def right(self, answer: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (answer >= 0) & self.accepted[np.arange(len(answer)), answer]


def _log_sum(logits: Floats) -> Floats:
    top = np.maximum(logits.max(axis=1, keepdims=True), -1e9)
    with np.errstate(divide="ignore"):
        return np.asarray(top[:, 0] + np.log(np.exp(logits - top).sum(axis=1)))


def find(scored: Scored) -> tuple[dict[str, float], Floats]:
    """The calibration, and the same as the numbers that were searched for."""
    result = minimize(
        scored.loss,
        np.array([np.log(0.03), 0.1, 1.0, 0.0]),
        args=(scored.fit,),
        method="Nelder-Mead",
        options={"maxiter": 600, "xatol": 1e-4, "fatol": 1e-5},
    )
    found = np.asarray(result.x)
    # Several categories may be right and share their probability: what is told is that of one, so the temperature is
    # the one at which that tells how often the one is right.
    scale = minimize_scalar(lambda step: scored.surprise(found, step), bounds=(-1.5, 1.5), method="bounded")
    found[0] += float(scale.x)
    weights = {
        "temperature": float(np.exp(found[0])),
        "none_score": float(found[1]),
        "none_weight": float(found[2]),
        "prior_weight": float(found[3]),
        "label_weight": LABEL_WEIGHT,
        "threshold": LEAST_WORTH,
    }
    return {name: round(value, 4) for name, value in weights.items()}, found


def figures(
    scored: Scored, found: Floats, threshold: float, half: NDArray[np.bool_], scores: Floats | None = None
) -> dict[str, float | int]:
    """accuracy: of the likeliest category; the others: of what is served."""
    about, nothing = half & scored.about, half & ~scored.about
    first = scored.logits(found, scores)[0].argmax(axis=1)
    answer, confidence = scored.answers(found, threshold, scores)
    right, answered = scored.right(answer), answer >= 0
    place = np.minimum((confidence[half & answered] * BINS).astype(int), BINS - 1)
    gap = np.bincount(place, confidence[half & answered] - right[half & answered], BINS)
    return {
        "n": int(about.sum()),
        "accuracy": round(float(scored.right(first)[about].mean()), 4),
        "answered": round(float(answered[about].mean()), 4),
        "accuracy_when_answered": round(float(right[about & answered].mean()), 4),
        "none_abstained": round(float((~answered)[nothing].mean()), 4),
        "ece": round(float(np.abs(gap).sum() / max((half & answered).sum(), 1)), 4),
        "loss": round(scored.loss(found, half), 4),
    }


def calibrate(
    name: Literal["adproduct", "content"], encoder: Encoder, console: Console
) -> tuple[dict[str, float], dict[str, Any]]:
    """The calibration of a taxonomy and its figures on the two halves."""
    with show_progress(console) as progress:
        scored = Scored(embed_taxonomy(name, encoder, embedder(encoder, name, progress)))
    weights, found = find(scored)
    measured: dict[str, Any] = {"aided_share": round(scored.aided_share, 4)}
    for which, half in (("fit", scored.fit), ("check", ~scored.fit)):
        measured[which] = figures(scored, found, weights["threshold"], half)
        measured[which]["unaided"] = figures(scored, found, weights["threshold"], half, scored.unaided)
    return weights, measured


def main(arguments: list[str] | None = None) -> int:
    """Calibrates both taxonomies."""
    parser = argparse.ArgumentParser(prog="python -m infra.training.calibrate_taxonomy")
    parser.add_argument("--write", action="store_true", help="replace taxonomy/calibration.json")
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS, help="where the encoder lies")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    encoder = Encoder.load(options.artifacts / "encoder", threads=0)
    found = {name: calibrate(name, encoder, console) for name in TAXONOMIES}
    for name, (weights, halves) in found.items():
        console.print(name, weights, halves)
    if options.write:
        text = json.dumps({name: weights for name, (weights, _) in found.items()}, indent=2)
        CALIBRATION.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps({name: halves for name, (_, halves) in found.items()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
