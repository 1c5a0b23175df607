"""Fine-tunes the encoder to score headlines: the difference of two texts' scores is the log-odds that the first one's
click rate is the higher one (Burges et al. 2005, "Learning to Rank using Gradient Descent", section 3, with soft
targets).

A batch is a number of whole tests, since only texts of one test are compared: what a topic or a day does to the click
rate is the same for all of its texts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from infra.training import loop
from infra.training.finetune import HeadTask, Kept, Top, predict
from infra.training.frozen import Body, Ids
from infra.training.headline_targets import log_rates, soft_targets
from infra.training.headline_tests import Headlines, pairs
from infra.training.layers import Drop
from infra.training.loop import Batch, Measured, Outcome, Progress
from infra.training.recipe import Recipe

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Lessons:
    """What there is to learn from tests: rows to score and pairs of them.

    arms: an arm with the row's text, (rows,); a text under several images of a test is one row. starts: the first row
    of each test, and at the end the number of rows, (tests + 1,). first, second: rows of a pair; target: the chance
    that the first wins; weight: what the pair counts; all (pairs,). bounds: the first pair of each test, (tests + 1,).
    Tests without a pair are left out.
    """

    arms: NDArray[np.int64]
    starts: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    target: NDArray[np.float32]
    weight: NDArray[np.float32]
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, headlines: Headlines) -> Lessons:
        """All pairs of the tests, those that do not differ significantly too."""
        among = pairs(headlines)
        target, weight = soft_targets(headlines, among, log_rates(headlines))
        rows: dict[tuple[int, str], int] = {}
        arms: list[int] = []
        for arm in np.unique(np.concatenate([among.first, among.second])).tolist():
            key = (int(headlines.tests[arm]), headlines.texts[arm])
            if key not in rows:
                rows[key] = len(arms)
                arms.append(arm)
        place = np.array(
            [rows.get((int(test), text), -1) for test, text in zip(headlines.tests, headlines.texts, strict=True)]
        )
        arms_of = np.array(arms, np.int64)
        tests = headlines.tests[arms_of]
        present, starts = np.unique(tests, return_index=True)
        order = np.argsort(headlines.tests[among.first], kind="stable")
        of_pair = headlines.tests[among.first][order]
        return cls(
            arms_of,
            np.append(starts, len(arms_of)),
            place[among.first][order],
            place[among.second][order],
            target[order].astype(np.float32),
            weight[order].astype(np.float32),
            np.append(np.searchsorted(of_pair, present), len(of_pair)),
        )

    def rows_of(self, tests: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of some tests, test by test."""
        return np.concatenate([np.arange(*self.starts[test : test + 2]) for test in tests])

    def take(self, tests: Sequence[int] | NDArray[np.int64]) -> Lessons:
        """The tests with these numbers alone; their rows are `rows_of` them, numbered anew."""
        rows, among, sides = self.part(tests)
        numbers = np.asarray(tests, np.int64)
        starts = np.cumsum([0, *np.diff(self.starts)[numbers]])
        bounds = np.cumsum([0, *np.diff(self.bounds)[numbers]])
        return Lessons(self.arms[rows], starts, sides[0], sides[1], self.target[among], self.weight[among], bounds)

    def part(self, tests: Sequence[int] | NDArray[np.int64]) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
        """The rows of some tests, the pairs among them, and those pairs' sides as places in these rows, (2, pairs)."""
        rows: list[int] = []
        chosen: list[NDArray[np.int64]] = []
        moved: list[int] = []
        for test in tests:
            start, end = self.starts[test : test + 2].tolist()
            chosen.append(np.arange(*self.bounds[test : test + 2]))
            moved += [len(rows) - start] * len(chosen[-1])
            rows += range(start, end)
        among = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
        shift = np.array(moved, np.int64)
        return rows, among, np.stack([self.first[among] + shift, self.second[among] + shift])


class PairTask(HeadTask):
    """`Top` with one output, on pairs: what `loop.train` trains. Members of a batch are tests; rows: the kept row of
    each row of the lessons."""

    def __init__(
        self, top: Top, kept: Kept, rows: NDArray[np.int64], lessons: Lessons, recipe: Recipe, seed: int
    ) -> None:
        super().__init__(top, kept, np.zeros(0, np.int64), None, recipe, seed)
        self.lessons, self.rows = lessons, rows
        self.usual = float(lessons.weight.sum()) / len(lessons)  # of a test

    def loss(self, batch: Batch) -> torch.Tensor:
        """Weighted cross-entropy of the pairs' winners, divided by what the batch's tests usually weigh."""
        rows, among, sides = self.lessons.part(batch.own)
        before = len(self.lessons.part(batch.members[: batch.low])[0])
        whole = self.lessons.part(batch.members)[0]
        places = self.rows[whole].tolist()
        hidden, mask = self.kept.part(Batch(places, before, before + len(rows), batch.step))
        turn = 0
        if batch.change is not None:
            hidden, turn = hidden + batch.change, 2
        elif self.recipe.adversarial:
            self._input = hidden = hidden.requires_grad_(True)
        key = (self.seed, batch.step, turn)
        rate = self.recipe.dropout
        with self.kept.body.mixed_precision():
            scores = self.top(hidden, mask, Drop(rate, key, before, len(whole)) if rate else None).float()[:, 0]
        first, second = torch.from_numpy(sides).to(scores.device)
        target, weight = (
            torch.from_numpy(values[among]).to(scores.device) for values in (self.lessons.target, self.lessons.weight)
        )
        lost = nn.functional.binary_cross_entropy_with_logits(
            scores[first] - scores[second], target, weight, reduction="sum"
        )
        return lost / (self.usual * len(batch.members))

    def measure(self) -> Measured | None:
        """Nothing: there are too few tests for stopping by some of them; the averaged weights of the end are kept."""
        return None


def start(body: Body, vectors: Vectors, weight: Vectors, layers: int) -> Top:
    """The untrained scorer: the encoder's last `layers` layers and a linear head over standardised vectors.

    vectors: (n, hidden), of the untouched encoder. weight: (hidden,), of the head over vectors that are standardised.
    """
    trained = copy.deepcopy(body.layers[body.depth - layers :]).requires_grad_(True)
    centre, spread = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-6)
    top = Top(trained, torch.from_numpy(centre), torch.from_numpy(spread), 1)
    with torch.no_grad():
        top.head.weight.copy_(torch.from_numpy(weight.astype(np.float32))[None])
        top.head.bias.zero_()
    return top.to(body.where)


def train(
    top: Top,
    kept: Kept,
    rows: NDArray[np.int64],
    lessons: Lessons,
    recipe: Recipe,
    *,
    seed: int,
    seconds: float = math.inf,
    report: Callable[[Progress], None] = lambda _: None,
    on_step: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """Trains `top` in place; see `loop.train`. rows: the kept row of each row of the lessons. recipe.batch: tests, not
    texts."""
    torch.manual_seed(seed)
    lengths = np.array([len(kept.rows[row]) for row in rows])
    batches = loop.planned_batches(np.maximum.reduceat(lengths, lessons.starts[:-1]).tolist(), recipe, seed)
    task = PairTask(top, kept, rows, lessons, recipe, seed)
    return loop.train(task, batches, recipe, seconds=seconds, report=report, on_step=on_step)


def keep(body: Body, ids: Ids, recipe: Recipe, *, long: bool = True) -> Kept:
    """The texts' states below the trained layers; not kept in memory unless they are wanted for `long`."""
    return Kept(body, [row[: recipe.length] for row in ids], body.depth - recipe.layers, keep=long)


def scores(top: Top, kept: Kept) -> Vectors:
    """The score of each kept text, (n,)."""
    return predict(top, kept)[:, 0]
