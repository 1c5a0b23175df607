"""One training loop for whatever has a loss: a head, contrastive pairs, prompts.

AdamW, a rate that rises and then falls to zero at the end of the plan or of the time, clipped gradients, averaged
weights, measurement on development rows with early stopping, checkpoints, and any number of processes: each computes
its rows of every global batch, and DistributedDataParallel adds the gradients up.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from infra.training import distributed
from infra.training.checkpoints import Stage
from infra.training.recipe import Recipe


@dataclass(frozen=True)
class Progress:
    """One measurement during training; `share` of the way, 0 to 1; `loss` is the mean since the last one, not a number
    at the start; what is measured on development rows is not a number without them."""

    share: float
    loss: float
    dev_loss: float = math.nan
    dev_accuracy: float = math.nan
    dev_macro_f1: float = math.nan


@dataclass(frozen=True)
class Measured:
    """What a task measures on its development rows; the state of the least `loss` is kept."""

    loss: float
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class Batch:
    """One global batch and this process's part of it.

    members: the global batch. low, high: this process's of them, ``members[low:high]``. step: from 0. change: what an
    adversary adds to the input of the first trained layer.
    """

    members: list[int]
    low: int
    high: int
    step: int
    change: torch.Tensor | None = None

    @property
    def own(self) -> list[int]:
        """This process's members."""
        return self.members[self.low : self.high]


class Task(Protocol):
    """What is trained: parameters, a loss, and a measurement."""

    module: nn.Module

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups with `params`, `lr` (the highest it gets) and `weight_decay`."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """This process's share of the batch's mean loss: the shares of all processes add up to it."""

    def adversary(self, batch: Batch) -> Batch:
        """The batch as an adversary would change it, once `loss` has been gone back through."""

    def measure(self) -> Measured | None:
        """The module on the development rows; none where there are none."""


@dataclass(frozen=True)
class Outcome:
    """reached: share of the plan at which the state left in the module was reached, 0 the start. stopped: `planned`,
    `patience` (no better on the development rows) or `time`. resumed: the step gone on from. seconds: it took, those
    before it was gone on with too."""

    reached: float
    stopped: str
    steps: int
    resumed: int
    seconds: float
    curve: list[Progress]

    @property
    def seconds_to_best(self) -> float:
        """What it took until that state was reached."""
        gone = max((one.share for one in self.curve), default=0.0)
        return self.seconds * self.reached / max(gone, self.reached, 1e-9)


@dataclass
class _Course:
    """Where a training stands."""

    step: int = 0
    elapsed: float = 0.0
    next_check: float = 0.0
    worse: int = 0
    best_share: float = 0.0
    best_loss: float = math.inf
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    lost: float = 0.0  # this process's shares of the losses since the last check
    counted: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""


class _Shares(nn.Module):
    """What DistributedDataParallel wraps: the forward pass is the loss."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module = task.module
        self._task = (task,)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self._task[0].loss(batch)


class Average:
    """Weights averaged over the steps, the last ones the most; young averages forget faster."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    def update(self, step: int) -> None:
        """Takes the weights in after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._module.named_parameters():
            self.values[name].lerp_(value.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module with the averaged weights."""
        own = {name: value.detach().clone() for name, value in self._module.named_parameters()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._module.named_parameters():
                value.copy_(values[name])


def shuffled(lengths: list[int], size: int, generator: np.random.Generator) -> list[list[int]]:
    """Batches of `size` in random order; rows of like length share one, within pools of 30 batches."""
    order = generator.permutation(len(lengths)).tolist()
    batches = []
    for start in range(0, len(order), size * 30):
        pool = sorted(order[start : start + size * 30], key=lambda place: lengths[place])
        batches += [pool[low : low + size] for low in range(0, len(pool), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


def planned_batches(lengths: list[int], recipe: Recipe, seed: int) -> list[list[int]]:
    """The global batches of the whole training, at least one."""
    generator = np.random.default_rng(seed)
    wanted = max(1, round(recipe.epochs * len(lengths) / recipe.batch))
    batches: list[list[int]] = []
    while len(batches) < wanted:
        batches += shuffled(lengths, recipe.batch, generator)
    return batches[:wanted]


def _part(members: list[int], step: int) -> Batch:
    """This process's part: neighbours, so that the parts are of like length."""
    rank, size = distributed.rank(), distributed.size()
    return Batch(members, rank * len(members) // size, (rank + 1) * len(members) // size, step)


def train(
    task: Task,
    batches: list[list[int]],
    recipe: Recipe,
    *,
    seconds: float = math.inf,
    report: Callable[[Progress], None] = lambda _: None,
    on_step: Callable[[float], None] = lambda _: None,
    stage: Stage | None = None,
) -> Outcome:
    """Trains `task.module` in place and leaves it in its best state on the development rows (without them, its last).

    The rate falls to zero at the planned end or when `seconds` are over, whichever is first; with infinite `seconds`
    the result depends on the batches and the task alone. Training stops when `recipe.patience` measurements in a row
    are worse than the best, but not before `recipe.least_share` of the way. The start counts as a state: the result is
    never worse on the development rows.

    report: called at each measurement; the first is before the first step. on_step: called with the share of the way.
    stage: where states are kept and taken up from; `seconds` is then what may be used from now on.
    """
    return _Training(task, batches, recipe, seconds, report, on_step, stage).run()


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        task: Task,
        batches: list[list[int]],
        recipe: Recipe,
        seconds: float,
        report: Callable[[Progress], None],
        on_step: Callable[[float], None],
        stage: Stage | None,
    ) -> None:
        self.task, self.batches, self.recipe = task, batches, recipe
        # Each process has a clock of its own. A plain number: states are read back as such alone.
        self.seconds = float(distributed.agreed(float(seconds)))
        self.report, self.on_step, self.stage = report, on_step, stage
        self.module = task.module
        groups = [group | {"peak": group["lr"]} for group in task.groups()]
        self.parameters = [value for group in groups for value in group["params"]]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
        self.shares: nn.Module = _Shares(task)
        if distributed.active():
            self.shares = DistributedDataParallel(self.shares, forward_sync_buffers=False)
        # After the processes have agreed on their weights.
        self.average = Average(self.module, recipe.ema) if recipe.ema else None
        self.course = _Course(best=copy.deepcopy(self.module.state_dict()))
        self.began = time.monotonic()

    def run(self) -> Outcome:
        course = self.course
        resumed = self._resume()
        while not course.stopped:
            share, over = self._share()
            done = over or course.step == len(self.batches)
            if share >= course.next_check or done:
                self._check(share)
                if done:
                    course.stopped = "time" if over and course.step < len(self.batches) else "planned"
                elif course.worse >= self.recipe.patience and share >= self.recipe.least_share:
                    course.stopped = "patience"
                self._save()
                if course.stopped:
                    break
            elif self.stage is not None and distributed.agreed(self.stage.due()):
                self._save()
            self._step(share)
            self.on_step(share)
        self.module.load_state_dict(course.best)
        self.module.eval()
        curve = [Progress(**row) for row in course.curve]
        return Outcome(course.best_share, course.stopped, course.step, resumed, self._elapsed(), curve)

    def _elapsed(self) -> float:
        return self.course.elapsed + time.monotonic() - self.began

    def _share(self) -> tuple[float, bool]:
        """The share of the way, and whether the time is over; the first process's clock counts."""
        steps = self.course.step / len(self.batches)
        if math.isinf(self.seconds):
            return steps, False
        elapsed = distributed.agreed(self._elapsed())
        over = elapsed > self.seconds
        return (1.0 if over else max(steps, elapsed / self.seconds)), over

    def _step(self, share: float) -> None:
        course, recipe = self.course, self.recipe
        rising = min(1.0, (course.step + 1) / (recipe.warm_up * len(self.batches) + 1))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * rising * (1 - share)
        self.module.train()
        batch = _part(self.batches[course.step], course.step)
        loss = self._backward(batch, last=not recipe.adversarial)
        if recipe.adversarial:
            self._backward(self.task.adversary(batch), last=True)
        norm = nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
        # A gradient that is no number would stay in the optimiser for good.
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        course.lost += loss
        course.counted += 1
        course.step += 1
        if self.average is not None:
            self.average.update(course.step)

    def _backward(self, batch: Batch, *, last: bool) -> float:
        """Gradients of the batch's mean loss; processes add theirs up in the step's `last` pass."""
        # mypy does not know DistributedDataParallel's no_sync.
        shares: Any = self.shares
        waits = nullcontext() if last or not distributed.active() else shares.no_sync()
        with waits:
            loss = shares(batch)
            # The processes' gradients are averaged, and what is wanted is their sum.
            (loss * distributed.size()).backward()
        return float(loss.detach())

    def _check(self, share: float) -> None:
        course = self.course
        lost = float(distributed.summed(np.array([course.lost]))[0])
        loss = lost / course.counted if course.counted else math.nan
        course.lost, course.counted = 0.0, 0
        course.next_check = share + 1 / self.recipe.checks
        with self.average.applied() if self.average is not None else nullcontext():
            measured = self.task.measure()
            if measured is None:
                progress = Progress(share, loss)
            else:
                progress = Progress(share, loss, measured.loss, measured.accuracy, measured.macro_f1)
            # The last check wins a tie: its state saw more of the data.
            if measured is None or measured.loss <= course.best_loss:
                # Before the first step some time has gone by already, but it is the start.
                reached = share if course.step else 0.0
                course.best_share, course.best_loss, course.worse = reached, progress.dev_loss, 0
                course.best = copy.deepcopy(self.module.state_dict())
            else:
                course.worse += 1
        course.curve.append(asdict(progress))
        self.report(progress)

    def _save(self) -> None:
        if self.stage is None:
            return
        lost = float(distributed.summed(np.array([self.course.lost]))[0])
        course = vars(self.course) | {"elapsed": self._elapsed(), "lost": lost}
        self.stage.save(
            self.course.step,
            {
                "course": course,
                "module": self.module.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": None if self.average is None else self.average.values,
                "random": torch.get_rng_state(),
            },
        )

    def _resume(self) -> int:
        """Takes the last state up, where there is one. Returns its step."""
        state = self.stage.load() if self.stage is not None else None
        if state is None:
            return 0
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            for name, value in state["average"].items():
                self.average.values[name].copy_(value)
        torch.set_rng_state(state["random"])
        vars(self.course).update(state["course"])
        if not distributed.is_first():
            self.course.lost = 0.0  # what is saved is all processes' sum
        self.seconds += self.course.elapsed
        self.began = time.monotonic()
        for row in self.course.curve:
            self.report(Progress(**row))
        return self.course.step
