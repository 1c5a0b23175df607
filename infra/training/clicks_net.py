"""The click model as torch trains it; `shared.models.click_model` says what it is and serves it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from infra.training.clicks_log import Impressions
from infra.training.loop import Batch, Measured
from shared.models.click_model import DIMENSIONS, UNKNOWN
from shared.models.features import FEATURES, HISTORY_ITEMS

POSITION = FEATURES.index("position")
COLUMNS = tuple(place for place in range(len(FEATURES)) if place != POSITION)
WIDTH, SCORE, HIDDEN = 32, 16, 32  # of content and ids, of the attention's hidden layer, of the deep part's
LARGEST = 5.0  # standard deviations at which a column is cut: a value that training never saw says no more than that
ID_DROPOUT = 0.2
RATE, DECAY, ID_DECAY = 2e-3, 0.02, 0.3
MEASURED_ROWS = 8192


@dataclass(frozen=True)
class Inputs:
    """Rows as tensors. vectors: of every text, its first row zero (unknown), (texts + 1, 384). The others are places:
    text, row: of the candidate in `vectors` and among the embedded ids, (n,). history_text, history_row, ages, mask: of
    the history with its empty first slot, (d, HISTORY_ITEMS + 1). decision: (n,). columns: (n, F). clicked, weight:
    (n,).
    """

    vectors: torch.Tensor
    text: torch.Tensor
    row: torch.Tensor
    decision: torch.Tensor
    columns: torch.Tensor
    history_text: torch.Tensor
    history_row: torch.Tensor
    ages: torch.Tensor
    mask: torch.Tensor
    clicked: torch.Tensor
    weight: torch.Tensor


def inputs(
    log: Impressions,
    vectors: NDArray[np.float32],
    embedded: NDArray[np.int64],
    weight: NDArray[Any],
    where: torch.device,
) -> Inputs:
    """The log's rows for the net. vectors: of `log.ids`, zeros where unknown. embedded: each id's row among the
    embeddings, `UNKNOWN` for none, (ids,)."""
    held = np.concatenate([np.full((len(log.history), 1), -1), log.history], axis=1)
    ages = np.concatenate([np.zeros((len(log.ages), 1)), log.ages], axis=1)
    mask = held >= 0
    mask[:, 0] = True
    rows = np.append(embedded, UNKNOWN)  # the place -1 is the last
    table = np.concatenate([np.zeros((1, DIMENSIONS)), vectors])

    def tensor(array: NDArray[Any], kind: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=kind, device=where)

    return Inputs(
        vectors=tensor(table, torch.float32),
        text=tensor(log.ad + 1, torch.int64),
        row=tensor(rows[log.ad], torch.int64),
        decision=tensor(log.decision, torch.int64),
        columns=tensor(log.columns, torch.float32),
        history_text=tensor(held + 1, torch.int64),
        history_row=tensor(rows[held], torch.int64),
        ages=tensor(ages, torch.float32),
        mask=tensor(mask, torch.float32),
        clicked=tensor(log.clicked, torch.float32),
        weight=tensor(weight, torch.float32),
    )


class ClickNet(nn.Module):
    """Wide part, deep part with attention, and one additive weight of the position."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, ids: int, columns: NDArray[np.float32], start: NDArray[np.float64], start_bias: float) -> None:
        """ids: embedded ones. columns: of the training rows, (n, F), for their scales. start, start_bias: log-odds are
        ``columns @ start + start_bias`` before the first step, (F,)."""
        super().__init__()
        used = columns[:, COLUMNS].astype(np.float64)
        spread = used.std(axis=0)
        self.register_buffer("mean", torch.tensor(used.mean(axis=0), dtype=torch.float32))
        # A column that never moved says nothing: it stays at zero, whatever serving sends.
        scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.content = nn.Linear(DIMENSIONS, WIDTH, bias=False)
        self.ids = nn.Embedding(ids + 1, WIDTH)
        self.query = nn.Linear(WIDTH, SCORE)
        self.key = nn.Linear(WIDTH, SCORE, bias=False)
        self.product = nn.Linear(WIDTH, SCORE, bias=False)
        self.score = nn.Linear(SCORE, 1, bias=False)
        self.age = nn.Parameter(torch.tensor(-0.1))
        self.cosine = nn.Parameter(torch.tensor(2.0))
        self.fading = nn.Parameter(torch.tensor(-0.5))
        self.near = nn.Linear(2, 1, bias=False)
        self.own_rate = nn.Embedding(ids + 1, 1)
        self.wide = nn.Linear(len(COLUMNS), 1)
        self.deep = nn.Sequential(nn.Linear(len(COLUMNS) + 2 + 3 * WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.position = nn.Parameter(torch.tensor(0.0))
        with torch.no_grad():
            self.content.weight.mul_(4.0)  # unit vectors of 384 dimensions have small entries
            self.ids.weight.zero_()
            self.own_rate.weight.zero_()
            self.near.weight.zero_()
            chosen = start[list(COLUMNS)]
            self.wide.weight.copy_(torch.tensor(chosen * spread).unsqueeze(0))
            self.wide.bias.fill_(start_bias + float(chosen @ used.mean(axis=0)))
            last = self.deep[2]
            last.weight.zero_()
            last.bias.zero_()

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for AdamW: ids are held down, the wide part and the position hardly."""
        light = [self.wide.weight, self.wide.bias, self.near.weight, self.position]
        light += [self.age, self.cosine, self.fading]
        own = [self.ids.weight, self.own_rate.weight]
        special = {id(value) for value in (*light, *own)}
        rest = [value for value in self.parameters() if id(value) not in special]
        return [
            {"params": rest, "lr": RATE, "weight_decay": DECAY},
            {"params": own, "lr": RATE, "weight_decay": ID_DECAY},
            {"params": light, "lr": 5 * RATE, "weight_decay": 0.0},
        ]

    def embedded(self, vectors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Content and, where it is known, id: (..., WIDTH)."""
        known = (rows != UNKNOWN).unsqueeze(-1).to(vectors.dtype)
        return self.content(vectors) + known * self.ids(rows)

    def forward(
        self,
        vectors: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        history: torch.Tensor,
        history_rows: torch.Tensor,
        ages: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Log-odds (n,). vectors: (n, 384). rows: (n,). columns: (n, F). history: (n, slots, 384). history_rows, ages,
        mask: (n, slots)."""
        own = self.embedded(vectors, rows)
        past = self.embedded(history, history_rows)
        joint = self.query(own).unsqueeze(1) + self.key(past) + self.product(own.unsqueeze(1) * past)
        alike = (history @ vectors.unsqueeze(-1)).squeeze(-1)
        aged, absent = torch.log1p(ages), (mask - 1) * 1e9
        score = self.score(torch.relu(joint)).squeeze(-1) + self.cosine * alike + self.age * aged + absent
        attention = torch.softmax(score, dim=1)
        drawn = (attention.unsqueeze(-1) * past).sum(dim=1)
        faded = torch.softmax(self.fading * aged + absent, dim=1)
        near = torch.stack([(attention * alike).sum(dim=1), (faded * alike).sum(dim=1)], dim=1)
        standard = ((columns[:, COLUMNS] - self.mean) * self.scale).clamp(-LARGEST, LARGEST)
        deep = self.deep(torch.cat([standard, near, own, drawn, own * drawn], dim=1))
        rate = (rows != UNKNOWN).to(vectors.dtype) * self.own_rate(rows).squeeze(-1)
        wide = (self.wide(standard) + self.near(near) + deep).squeeze(-1)
        return wide + rate + self.position * columns[:, POSITION]


class ClickTask:
    """What `infra.training.loop.train` trains: weighted log loss, and the same on the rows to choose on."""

    def __init__(self, net: ClickNet, train: Inputs, choose: Inputs, seed: int) -> None:
        self.module: nn.Module = net
        self._net = net
        self._train = train
        self._choose = choose
        self._seed = seed

    def groups(self) -> list[dict[str, Any]]:
        return self._net.groups()

    def loss(self, batch: Batch) -> torch.Tensor:
        data = self._train
        where = data.text.device
        # Drawn for the whole batch, whoever computes which part of it.
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + batch.step)
        kept = torch.rand(len(batch.members), HISTORY_ITEMS + 2, generator=chance) >= ID_DROPOUT
        members = torch.tensor(batch.own, dtype=torch.int64, device=where)
        total = data.weight[torch.tensor(batch.members, dtype=torch.int64, device=where)].sum()
        odds = predicted(self._net, data, members, kept[batch.low : batch.high].to(where))
        lost = functional.binary_cross_entropy_with_logits(odds, data.clicked[members], reduction="none")
        return (lost * data.weight[members]).sum() / total

    def adversary(self, batch: Batch) -> Batch:
        raise NotImplementedError("no recipe of a click model is adversarial")

    def measure(self) -> Measured:
        odds = log_odds(self._net, self._choose)
        lost = functional.binary_cross_entropy_with_logits(odds, self._choose.clicked, weight=self._choose.weight)
        return Measured(float(lost), math.nan, math.nan)


def predicted(net: ClickNet, data: Inputs, members: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
    """Log-odds of some rows. kept: whether the ids of candidate and history slots count, (n, slots + 1)."""
    decision = data.decision[members]
    rows, history_rows = data.row[members], data.history_row[decision]
    if kept is not None:
        rows, history_rows = rows * kept[:, 0], history_rows * kept[:, 1:]
    found: torch.Tensor = net(
        data.vectors[data.text[members]],
        rows,
        data.columns[members],
        data.vectors[data.history_text[decision]],
        history_rows,
        data.ages[decision],
        data.mask[decision],
    )
    return found


def log_odds(net: ClickNet, data: Inputs) -> torch.Tensor:
    """Log-odds of every row, (n,), without dropout."""
    net.eval()
    everything = torch.arange(len(data.text), device=data.text.device)
    with torch.no_grad():
        return torch.cat([predicted(net, data, part) for part in everything.split(MEASURED_ROWS)])
