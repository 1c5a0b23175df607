"""Fine-tunes the encoder's top layers and a head by back-propagation, within a time budget.

The layers below the trained ones do not change, so their output is computed once for every text and kept. How many
layers are trained, on how many tokens and for how many epochs follows from the measured speed of this machine. The head
starts as a logistic regression on the frozen vectors, and the best state on the development rows is kept, the start
included: the result is never worse there than the frozen head.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from infra.training.calibrate import accuracy, log_loss, macro_f1, temperature
from infra.training.frozen import Body, Classes, Frozen, Ids, by_length, mixed_precision, pooled
from infra.training.regression import full_weights

MOST_KEPT_BYTES = 3 << 30
# Trained layers and longest text, the best first; the first that leaves time for enough epochs is taken.
CHOICES = ((8, 192), (6, 192), (6, 128), (4, 192), (4, 128), (4, 96), (4, 64), (2, 64), (2, 32), (1, 32))
FEW, FEW_LAYERS = 100, 4  # rows a class


@dataclass(frozen=True)
class Plan:
    """What is trained and for how long. `length` in tokens."""

    layers: int
    length: int
    epochs: float
    batch: int
    rate: float
    seconds_per_epoch: float


@dataclass
class Progress:
    """One measurement during training; `share` of the way, 0 to 1."""

    share: float
    loss: float
    dev_loss: float
    dev_accuracy: float
    dev_macro_f1: float


class Top(nn.Module):
    """The trained layers and the linear head over the standardised unit vector."""

    def __init__(self, layers: Any, centre: torch.Tensor, spread: torch.Tensor, classes: int, dropout: float) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(len(centre), classes)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) from the hidden states below and the mask."""
        for layer in self.layers:
            hidden = layer(hidden, mask[:, None, None, :])
        vector = (pooled(hidden, mask) - self.centre) / self.spread
        with torch.autocast(hidden.device.type, enabled=False):
            return self.head(self.dropout(vector))

    def linear(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The head as one linear layer over the unit vector: weight (classes, hidden), bias (classes,)."""
        weight = self.head.weight.detach().double() / self.spread.double()
        bias = self.head.bias.detach().double() - weight @ self.centre.double()
        return weight.float().cpu().numpy(), bias.float().cpu().numpy()


def plan(
    lengths: NDArray[np.int64], classes: int, depth: int, speed: float, seconds: float, epochs: float | None
) -> Plan:
    """Layers, length, epochs and batch for a training set whose texts have `lengths` tokens.

    Few rows a class are trained gently: fewer layers and a smaller rate, or the encoder forgets more than it learns.

    speed: measured seconds of one layer's forward pass over one token. seconds: what training may take. epochs: fixed
    where given; then nothing depends on the measured speed.
    """
    rows = len(lengths)
    few = rows < FEW * classes
    wanted = 4.0 if few else 6.0 if rows < 4000 else 4.0 if rows < 12_000 else 3.0
    enough = 1.0 if rows >= 12_000 else 0.6 * wanted
    batch, rate = (16, 3e-5) if few else (16, 1e-4) if rows < 4000 else (32, 2e-4)
    longest = int(np.percentile(lengths, 99))
    chosen = (0, 0, 0.0, 0.0)
    for most, limit in CHOICES:
        layers = min(most, depth)
        if few and layers > FEW_LAYERS:
            continue
        length = min(limit, longest)
        tokens = float(np.minimum(lengths, length).sum())
        once = tokens * speed * (depth - layers)
        epoch = 3.3 * tokens * speed * layers  # forward and backward, and what goes along with it
        chosen = (layers, length, (seconds - once) / max(epoch, 1e-9), epoch)
        if chosen[2] >= enough or epochs is not None:
            break
    return Plan(chosen[0], chosen[1], epochs or float(np.clip(chosen[2], 0.2, wanted)), batch, rate, chosen[3])


class Kept:
    """Hidden states below the trained layers: kept in bfloat16 where they fit into memory, computed again elsewhere."""

    def __init__(self, body: Body, rows: Ids, layers: int, on_batch: Callable[[int], None] = lambda _: None) -> None:
        self.body, self.rows, self.layers = body, rows, layers
        self.states: list[torch.Tensor] | None = None
        if sum(map(len, rows)) * body.model.config.hidden_size * 2 > MOST_KEPT_BYTES:
            return
        states: list[Any] = [None] * len(rows)
        for members in by_length(rows, 64):
            hidden, _ = self._compute(members)
            for place, state in zip(members, hidden.to(torch.bfloat16), strict=True):
                states[place] = state[: len(rows[place])].clone()
            on_batch(len(members))
        self.states = states

    def _compute(self, members: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), mixed_precision(self.body.where):
            return self.body.below([self.rows[place] for place in members], self.layers)

    def __getitem__(self, members: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if self.states is None:
            return self._compute(members)
        chosen = [self.states[place] for place in members]
        hidden = nn.utils.rnn.pad_sequence(chosen, batch_first=True).float()
        lengths = torch.tensor([len(state) for state in chosen])
        return hidden, (torch.arange(hidden.shape[1]) < lengths[:, None]).to(self.body.where)


def predict(top: Top, kept: Kept) -> NDArray[np.float32]:
    """Logits of every kept row, (n, classes)."""
    top.eval()
    result = np.empty((len(kept.rows), top.head.out_features), np.float32)
    for members in by_length(kept.rows, 64):
        with torch.inference_mode(), mixed_precision(kept.body.where):
            result[members] = top(*kept[members]).float().cpu().numpy()
    return result


def _groups(top: Top, rate: float) -> list[dict[str, Any]]:
    """Parameters with their learning rates: lower layers move less, and nothing of one dimension decays."""
    groups = []
    depth = len(top.layers)
    for place, layer in enumerate(top.layers):
        for decays in (True, False):
            chosen = [value for value in layer.parameters() if (value.dim() > 1) == decays]
            speed = rate * 0.9 ** (depth - 1 - place)
            groups.append({"params": chosen, "lr": speed, "peak": speed, "weight_decay": 0.01 if decays else 0.0})
    head = list(top.head.parameters())
    return [*groups, {"params": head, "lr": rate * 2, "peak": rate * 2, "weight_decay": 0.01}]


def _shuffled(rows: Ids, size: int, generator: np.random.Generator) -> list[list[int]]:
    """Batches in random order; texts of like length share one, within pools of 30 batches."""
    order = generator.permutation(len(rows)).tolist()
    batches = []
    for start in range(0, len(order), size * 30):
        pool = sorted(order[start : start + size * 30], key=lambda place: len(rows[place]))
        batches += [pool[low : low + size] for low in range(0, len(pool), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


def start_top(body: Body, frozen: Frozen, linear: LogisticRegression, classes: int, layers: int) -> Top:
    """The untrained top: copies of the encoder's last `layers` layers, and the linear head."""
    trained = copy.deepcopy(body.model.encoder.layer[body.depth - layers :]).requires_grad_(True)
    top = Top(trained, torch.from_numpy(frozen.centre), torch.from_numpy(frozen.spread), classes, dropout=0.1)
    weight, bias = full_weights(linear, classes)
    with torch.no_grad():
        top.head.weight.copy_(torch.from_numpy(weight))
        top.head.bias.copy_(torch.from_numpy(bias))
    return top.to(body.where)


def train(
    top: Top,
    kept: Kept,
    labels: Classes,
    dev: tuple[Kept, Classes] | None,
    chosen: Plan,
    *,
    seed: int,
    seconds: float,
    report: Callable[[Progress], None],
    checks: int = 8,
) -> float:
    """Trains `top` in place and leaves it in its best state on `dev` (in its last without `dev`).

    The learning rate falls to zero at the planned end or when `seconds` are over, whichever is first; with infinite
    `seconds` the result depends on the seed alone. Training stops when three checks in a row are worse than the best.

    Returns the share of the plan at which the state left in `top` was reached; 0 is the start.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(_groups(top, chosen.rate), betas=(0.9, 0.98), fused=True)
    truth = torch.from_numpy(labels).to(kept.body.where)
    batches: list[list[int]] = []
    while len(batches) < max(1.0, chosen.epochs * len(kept.rows) / chosen.batch):
        batches += _shuffled(kept.rows, chosen.batch, generator)
    batches = batches[: max(1, round(chosen.epochs * len(kept.rows) / chosen.batch))]
    began = time.monotonic()
    best_share, best_loss, best_state, worse = 0.0, np.inf, copy.deepcopy(top.state_dict()), 0
    losses: list[float] = []
    next_check = 0.0
    share = 0.0
    for step in range(len(batches) + 1):
        done = step == len(batches) or time.monotonic() - began > seconds
        share = 1.0 if done else max(step / len(batches), (time.monotonic() - began) / seconds)
        if share >= next_check or done:
            next_check = share + 1 / checks
            progress = _check(top, dev, share, losses)
            losses = []
            report(progress)
            # The last check wins a tie: its state saw more of the data.
            if dev is None or progress.dev_loss <= best_loss:
                best_share, best_loss, best_state, worse = share, progress.dev_loss, copy.deepcopy(top.state_dict()), 0
            else:
                worse += 1
            if done or worse >= 3:
                break
        members = batches[step]
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / (0.06 * len(batches) + 1)) * (1 - share)
        top.train()
        with mixed_precision(kept.body.where):
            logits = top(*kept[members])
        loss = nn.functional.cross_entropy(logits.float(), truth[members], label_smoothing=0.05)
        loss.backward()
        nn.utils.clip_grad_norm_(top.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    top.load_state_dict(best_state)
    top.eval()
    return best_share


def _check(top: Top, dev: tuple[Kept, Classes] | None, share: float, losses: list[float]) -> Progress:
    loss = float(np.mean(losses)) if losses else float("nan")
    if dev is None:
        return Progress(share, loss, float("nan"), float("nan"), float("nan"))
    logits = predict(top, dev[0])
    guess = logits.argmax(axis=1)
    calibrated = log_loss(logits / temperature(logits, dev[1]), dev[1])
    return Progress(share, loss, calibrated, accuracy(dev[1], guess), macro_f1(dev[1], guess))
