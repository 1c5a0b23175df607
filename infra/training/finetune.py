"""Fine-tunes the encoder's top layers and a head by back-propagation, within a time budget.

The layers below the trained ones do not change, so their output is computed once for every text and kept. How many
layers are trained, on how many tokens and for how many epochs follows from the measured speed of this machine
(`recipe.choose`). The head starts as a logistic regression on the frozen vectors, and the best state on the development
rows is kept, the start included: the result is never worse there than the frozen head.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from infra.training import distributed, loop
from infra.training.calibrate import accuracy, log_loss, macro_f1, temperature
from infra.training.checkpoints import Stage
from infra.training.frozen import Body, Classes, Frozen, Ids, by_length, pooled
from infra.training.layers import Drop, attention_bias
from infra.training.loop import Batch, Measured, Outcome, Progress
from infra.training.recipe import Recipe

# Of one machine, by all of its processes; where the hidden states do not fit, each batch's are computed again.
MOST_KEPT_BYTES = 3 << 30


class Top(nn.Module):
    """The trained layers and the linear head over the standardised unit vector."""

    def __init__(self, layers: Any, centre: torch.Tensor, spread: torch.Tensor, classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(len(centre), classes)
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)

    def vectors(
        self, hidden: torch.Tensor, mask: torch.Tensor, drop: Drop | None = None, drop_attention: Drop | None = None
    ) -> torch.Tensor:
        """Unit vectors (n, hidden) from the hidden states below and the mask."""
        bias = attention_bias(mask)
        for layer in self.layers:
            hidden = layer(hidden, bias, drop, drop_attention)
        return pooled(hidden, mask)

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor, drop: Drop | None = None, drop_attention: Drop | None = None
    ) -> torch.Tensor:
        """Logits (n, classes) from the hidden states below and the mask."""
        vector = (self.vectors(hidden, mask, drop, drop_attention) - self.centre) / self.spread
        with torch.autocast(hidden.device.type, enabled=False):
            return self.head(vector if drop is None else drop(vector))

    def linear(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The head as one linear layer over the unit vector: weight (classes, hidden), bias (classes,)."""
        weight = self.head.weight.detach().double() / self.spread.double()
        bias = self.head.bias.detach().double() - weight @ self.centre.double()
        return weight.float().cpu().numpy(), bias.float().cpu().numpy()


class Kept:
    """Hidden states below the trained layers: kept in bfloat16 where they fit into memory, computed again elsewhere.

    Processes share the computing, and each keeps all of them: which rows it needs changes with every epoch.
    """

    def __init__(
        self,
        body: Body,
        rows: Ids,
        layers: int,
        on_batch: Callable[[int], None] = lambda _: None,
        *,
        keep: bool = True,
    ) -> None:
        self.body, self.rows, self.layers = body, rows, layers
        self.states: torch.Tensor | None = None  # (tokens of all rows, hidden)
        self.starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        width = body.model.config.hidden_size
        size = int(self.starts[-1]) * width * 2
        # Embeddings alone are looked up as quickly as they are copied.
        if not keep or not layers or size * distributed.local_size() > MOST_KEPT_BYTES:
            return
        states = torch.zeros(int(self.starts[-1]), width, dtype=torch.bfloat16, device=body.where)
        for members in distributed.mine(by_length(rows, 64)):
            hidden, mask = self._compute(members)
            places = torch.from_numpy(np.concatenate([np.arange(*self.starts[one : one + 2]) for one in members]))
            states[places.to(body.where)] = hidden[mask].to(torch.bfloat16)
            on_batch(len(members) * distributed.size())
        # Each number is one process's and zero elsewhere: their sum as integers is exact.
        distributed.add_up(states.view(torch.int32))
        self.states = states

    def _compute(self, members: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), self.body.mixed_precision():
            return self.body.below([self.rows[place] for place in members], self.layers)

    def __getitem__(self, members: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (n, longest, hidden), float32, and the mask."""
        if self.states is None:
            return self._compute(members)
        lengths = torch.tensor([len(self.rows[place]) for place in members])
        starts = torch.from_numpy(self.starts[list(members)])
        steps = torch.arange(int(lengths.max()))
        mask = (steps < lengths[:, None]).to(self.body.where)
        places = (starts[:, None] + steps).clamp_(max=len(self.states) - 1).to(self.body.where)
        return self.states[places].float() * mask.unsqueeze(-1), mask

    def part(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of this process's part of a batch, padded to the longest text of the whole one."""
        width = max(len(self.rows[place]) for place in batch.members)
        if not batch.own:
            size = self.body.model.config.hidden_size
            mask = torch.zeros(0, width, dtype=torch.bool, device=self.body.where)
            return torch.zeros(0, width, size, device=self.body.where), mask
        hidden, mask = self[batch.own]
        more = width - mask.shape[1]
        return nn.functional.pad(hidden, (0, 0, 0, more)), nn.functional.pad(mask, (0, more))


class HeadTask:
    """`Top` on classes: what `loop.train` trains. `dev`: rows to choose on."""

    def __init__(
        self, top: Top, kept: Kept, labels: Classes, dev: tuple[Kept, Classes] | None, recipe: Recipe, seed: int
    ) -> None:
        self.module = self.top = top
        self.kept, self.dev, self.recipe, self.seed = kept, dev, recipe, seed
        self.truth = torch.from_numpy(labels).to(kept.body.where)
        self._input: torch.Tensor | None = None

    def groups(self) -> list[dict[str, Any]]:
        """Lower layers move less, and nothing of one dimension decays."""
        recipe = self.recipe
        groups = []
        for below, layer in enumerate(reversed(self.top.layers)):
            rate = recipe.rate * recipe.layer_decay**below
            for matrices in (True, False):
                chosen = [value for value in layer.parameters() if (value.dim() > 1) == matrices]
                decay = recipe.weight_decay if matrices else 0.0
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
        head = list(self.top.head.parameters())
        return [*groups, {"params": head, "lr": recipe.rate * recipe.head_rate, "weight_decay": recipe.weight_decay}]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy with label smoothing, and the divergence of two passes where the recipe wants it."""
        hidden, mask = self.kept.part(batch)
        turn = 0
        if batch.change is not None:
            hidden, turn = hidden + batch.change, 2
        elif self.recipe.adversarial:
            self._input = hidden = hidden.requires_grad_(True)
        truth = self.truth[batch.own]
        logits = self._logits(batch, hidden, mask, turn)
        smoothing = self.recipe.label_smoothing
        total = nn.functional.cross_entropy(logits, truth, label_smoothing=smoothing, reduction="sum")
        if self.recipe.rdrop:
            again = self._logits(batch, hidden, mask, turn + 1)
            other = nn.functional.cross_entropy(again, truth, label_smoothing=smoothing, reduction="sum")
            first, second = logits.log_softmax(1), again.log_softmax(1)
            apart = ((first.exp() - second.exp()) * (first - second)).sum() / 2  # both divergences' mean
            total = (total + other) / 2 + self.recipe.rdrop * apart
        return total / len(batch.members)

    def _logits(self, batch: Batch, hidden: torch.Tensor, mask: torch.Tensor, turn: int) -> torch.Tensor:
        recipe = self.recipe
        # Keys of attention masks come after those of hidden values.
        made = [
            Drop(rate, (self.seed, batch.step, turn + after), batch.low, len(batch.members)) if rate else None
            for rate, after in ((recipe.dropout, 0), (recipe.attention_dropout, 4))
        ]
        with self.kept.body.mixed_precision():
            return self.top(hidden, mask, *made).float()

    def adversary(self, batch: Batch) -> Batch:
        """Each text's input moved by `recipe.adversarial`, relative to its length, where the loss grows fastest."""
        if self._input is None or self._input.grad is None:
            raise RuntimeError("there is no gradient to follow: `loss` and `backward` come first")
        slope, size = self._input.grad, self._input.detach().norm(dim=(1, 2), keepdim=True)
        change = self.recipe.adversarial * size * slope / (slope.norm(dim=(1, 2), keepdim=True) + 1e-12)
        self._input = None
        return replace(batch, change=change)

    def measure(self) -> Measured | None:
        """Log loss at the best temperature, accuracy and macro-F1 on the development rows."""
        if self.dev is None:
            return None
        kept, truth = self.dev
        logits = predict(self.top, kept)
        guess = logits.argmax(axis=1)
        loss = log_loss(logits / temperature(logits, truth), truth)
        return Measured(loss, accuracy(truth, guess), macro_f1(truth, guess))


def _in_batches(kept: Kept, width: int, work: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> NDArray[Any]:
    result = np.zeros((len(kept.rows), width), np.float32)
    for members in distributed.mine(by_length(kept.rows, 64)):
        with torch.inference_mode(), kept.body.mixed_precision():
            result[members] = work(*kept[members]).float().cpu().numpy()
    return distributed.summed(result)


def predict(top: Top, kept: Kept) -> NDArray[np.float32]:
    """Logits of every kept row, (n, classes); processes share the work."""
    top.eval()
    return _in_batches(kept, top.head.out_features, top)


def embed(top: Top, kept: Kept) -> NDArray[np.float32]:
    """Unit vectors of every kept row, (n, hidden); processes share the work."""
    top.eval()
    return _in_batches(kept, top.head.in_features, top.vectors)


def start_top(body: Body, frozen: Frozen, start: tuple[NDArray[np.float32], NDArray[np.float32]], layers: int) -> Top:
    """The untrained top: copies of the encoder's last `layers` layers, and a linear head over standardised vectors,
    `start`: weight (classes, hidden), bias (classes,)."""
    trained = copy.deepcopy(body.layers[body.depth - layers :]).requires_grad_(True)
    weight, bias = start
    top = Top(trained, torch.from_numpy(frozen.centre), torch.from_numpy(frozen.spread), len(bias))
    with torch.no_grad():
        top.head.weight.copy_(torch.from_numpy(weight))
        top.head.bias.copy_(torch.from_numpy(bias))
    return top.to(body.where)


def train(
    top: Top,
    kept: Kept,
    labels: Classes,
    dev: tuple[Kept, Classes] | None,
    recipe: Recipe,
    *,
    seed: int,
    seconds: float = math.inf,
    report: Callable[[Progress], None] = lambda _: None,
    on_step: Callable[[float], None] = lambda _: None,
    stage: Stage | None = None,
) -> Outcome:
    """Trains `top` in place on `labels` of the kept rows; see `loop.train`."""
    torch.manual_seed(seed)
    batches = loop.planned_batches([len(row) for row in kept.rows], recipe, seed)
    task = HeadTask(top, kept, labels, dev, recipe, seed)
    return loop.train(task, batches, recipe, seconds=seconds, report=report, on_step=on_step, stage=stage)
