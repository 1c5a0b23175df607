"""A causal transformer over histories: after each item it looks for the next one.

Self-attention as in Kang and McAuley (2018), "Self-attentive sequential recommendation", with four differences: an item
is its text vector projected plus an id embedding that is dropped at random (so that the text alone works for items
never seen); logits are scaled cosines; distance is a learned bias of the attention, not a place in the sequence; the
loss is a softmax over the target and a shared uniform sample of the catalogue, corrected for the sampling (Jean et al.,
2015, section 3), not a binary one.

Trains with one process or, under `torchrun`, with several, which share out the rows of every batch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from infra.training import distributed

START_TEMPERATURE = 10.0
CHECK = 20  # steps between two looks at the clock
ENOUGH = 0.7  # of the steps: a net that has no time for more is worse than the one that was judged
FAR = -1e9  # logit of what must not be chosen


@dataclass(frozen=True)
class Plan:
    """Sizes and training of a net. content: principal directions of the text vectors that are used. batch: histories;
    sample: items that stand for the catalogue in the loss. dropout, id_dropout: probabilities. whitening: exponent of
    the singular values by which the text vectors' directions are evened out, 0 to 1."""

    width: int = 128
    content: int = 192
    layers: int = 2
    heads: int = 2
    length: int = 50
    batch: int = 256
    sample: int = 2048
    epochs: int = 8
    rate: float = 2e-3
    decay: float = 0.0
    dropout: float = 0.3
    id_dropout: float = 0.1
    whitening: float = 0.5
    warmup: int = 200


def centred(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Vectors without what all texts have in common, of unit length."""
    moved = np.asarray(vectors, dtype=np.float32) - mean
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
    return np.asarray(moved, dtype=np.float32)


def whitening(vectors: np.ndarray, width: int, power: float) -> np.ndarray:
    """(384, at most `width`): principal directions of (n, 384) vectors, evened out by `power`; rows projected by it
    have a mean square length of 1."""
    spread, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    order = np.argsort(-spread)[:width]
    deviations = np.sqrt(np.maximum(spread[order], spread.max() * 1e-8))
    basis = directions[:, order] * deviations**-power
    scale = np.sqrt(np.mean(np.sum((vectors @ basis) ** 2, axis=1)))
    return np.asarray(basis / max(scale, 1e-9), dtype=np.float32)


class _Layer(nn.Module):
    def __init__(self, plan: Plan) -> None:
        super().__init__()
        width = plan.width
        self.heads = plan.heads
        self.before = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.distance = nn.Parameter(torch.zeros(plan.heads, plan.length))
        self.drop = nn.Dropout(plan.dropout)

    def bias(self, length: int) -> torch.Tensor:
        """Of the attention, (heads, length, length): by distance, and none to what comes later."""
        places = torch.arange(length)
        distance = places[:, None] - places[None, :]
        return self.distance[:, distance.clamp(min=0)].masked_fill(distance < 0, FAR)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        rows, length, width = hidden.shape
        split = self.attention(self.before(hidden)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        weights = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads) + self.bias(length)
        mixed = self.drop(torch.softmax(weights, dim=-1)) @ value
        hidden = hidden + self.drop(self.out(mixed.transpose(1, 2).reshape(rows, length, width)))
        return hidden + self.drop(self.narrow(self.drop(functional.gelu(self.wide(self.between(hidden))))))


class Net(nn.Module):
    """reduced: float32 (items, content), the items' whitened text vectors."""

    reduced: torch.Tensor

    def __init__(self, reduced: np.ndarray, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("reduced", torch.from_numpy(reduced), persistent=False)
        self.content = nn.Linear(reduced.shape[1], plan.width, bias=False)
        nn.init.normal_(self.content.weight, std=0.05)
        self.ids = nn.Embedding(len(reduced), plan.width)
        nn.init.normal_(self.ids.weight, std=0.02)
        self.start = nn.LayerNorm(plan.width)
        self.layers = nn.ModuleList([_Layer(plan) for _ in range(plan.layers)])
        self.end = nn.LayerNorm(plan.width)
        self.drop = nn.Dropout(plan.dropout)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))
        self.seen = len(reduced)  # items that the sample of the loss stands for

    def represent(self, items: torch.Tensor) -> torch.Tensor:
        """(n, width), unit rows, of item numbers (n,)."""
        ids = self.ids(items)
        if self.training and self.plan.id_dropout:
            ids = ids * (torch.rand(len(items), 1) >= self.plan.id_dropout)
        return functional.normalize(self.content(self.reduced[items]) + ids, dim=-1)

    def queries(self, shown: torch.Tensor) -> torch.Tensor:
        """(rows, length, width), of the length of the temperature, after each item of (rows, length, width)."""
        hidden = self.drop(self.start(shown))
        for layer in self.layers:
            hidden = layer(hidden)
        return functional.normalize(self.end(hidden), dim=-1) * self.log_temperature.exp()

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, real: torch.Tensor, sample: torch.Tensor
    ) -> torch.Tensor:
        """Sum of the losses of the real targets. inputs, targets, real: (rows, length); sample: item numbers."""
        wanted = targets[real]
        items, places = torch.unique(torch.cat([inputs.ravel(), wanted, sample]), return_inverse=True)
        table = self.represent(items)
        shown, right, other = torch.split(places, [inputs.numel(), len(wanted), len(sample)])
        query = self.queries(functional.embedding(shown, table).view(*inputs.shape, -1))[real]
        hit = (query * functional.embedding(right, table)).sum(dim=1)
        missed = query @ functional.embedding(other, table).T
        missed = missed.masked_fill(wanted[:, None] == sample[None, :], FAR)
        rest = torch.logsumexp(missed, dim=1) + math.log(max(self.seen - 1, 1) / len(sample))
        return (torch.logaddexp(rest, hit) - hit).sum()


def pieces(histories: Sequence[np.ndarray], length: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Histories cut into pieces of at most `length` + 1 items that overlap by one, each history at a random place; a
    piece of one item teaches nothing and is left out."""
    cut: list[np.ndarray] = []
    for history in histories:
        end = len(history)
        if end > length + 1:
            end -= int(generator.integers(0, length // 2)) * int(generator.integers(0, 2))
        while end > 1:
            cut.append(history[max(0, end - length - 1) : end])
            end -= length
    return cut


def batches(
    histories: Sequence[np.ndarray], plan: Plan, generator: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Inputs, targets and which targets are real, each (rows, length); histories of like length share a batch."""
    cut = pieces(histories, plan.length, generator)
    lengths = np.array([len(piece) for piece in cut])
    order = np.argsort(lengths + generator.random(len(cut)), kind="stable")
    groups = [order[start : start + plan.batch] for start in range(0, len(order), plan.batch)]
    for place in generator.permutation(len(groups)):
        group = groups[place]
        table = np.zeros((len(group), lengths[group].max()), dtype=np.int64)
        real = np.zeros(table.shape, dtype=bool)
        for row, piece in enumerate(group):
            table[row, : lengths[piece]] = cut[piece]
            real[row, : lengths[piece]] = True
        yield torch.from_numpy(table[:, :-1]), torch.from_numpy(table[:, 1:]), torch.from_numpy(real[:, 1:])


def _own(value: float) -> float:
    return value


@dataclass(frozen=True)
class Course:
    """What came of a training. steps: done; planned: by which the rate falls; best: value of the kept state."""

    steps: int
    planned: int
    best: float
    curve: tuple[float, ...]


def train(
    reduced: np.ndarray,
    histories: Sequence[np.ndarray],
    plan: Plan,
    *,
    seed: int,
    seconds: float = math.inf,
    value: Callable[[Net], float] | None = None,
    repeat: Course | None = None,
    together: bool = True,
) -> tuple[Net, Course]:
    """A trained net, ready to be asked.

    reduced: (items, content), see `whitening`. seconds: the training plans its steps to end in them. value: judges the
    net after every second epoch; the best state is kept. repeat: a former training's course, whose steps are done
    again without a judge; given up where there is no time for `ENOUGH` of them. together: with the other processes of
    `torchrun`, all of which must call this.

    curve: mean loss of each epoch, the same with any number of processes where nothing is dropped.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    together = together and distributed.active()
    first, processes = (distributed.rank(), distributed.size()) if together else (0, 1)
    agreed = distributed.agreed if together else _own
    seconds = agreed(seconds)
    net = Net(reduced, plan)
    seen = np.unique(np.concatenate(histories))
    net.seen = len(seen)
    with torch.no_grad():  # what nobody took is known by its text alone
        net.ids.weight[np.setdiff1d(np.arange(len(reduced)), seen)] = 0
    shares: nn.Module = DistributedDataParallel(net) if together else net
    matrices = [one for one in net.parameters() if one.ndim > 1]
    others = [one for one in net.parameters() if one.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": plan.decay}, {"params": others, "weight_decay": 0.0}],
        lr=plan.rate,
        betas=(0.9, 0.98),
    )
    sizes = [len(piece) for piece in pieces(histories, plan.length, np.random.default_rng(seed))]
    epoch_steps = max(math.ceil(len(sizes) / plan.batch), 1)
    planned = plan.epochs * epoch_steps
    last = planned
    if repeat is not None:
        planned, last = repeat.planned, repeat.steps
    step, curve, best, kept = 0, [], -math.inf, copy.deepcopy(net.state_dict())
    began, timed = time.monotonic(), False
    while step < last:
        net.train()
        lost = counted = 0.0
        for inputs, targets, real in batches(histories, plan, generator):
            if step >= last:
                break
            if math.isfinite(seconds) and step and step % CHECK == 0:
                elapsed = agreed(time.monotonic() - began)
                if not timed and (elapsed > 0.15 * seconds or step >= epoch_steps):
                    timed = True  # how long a step takes is known by now
                    allowed = max(int(seconds / (elapsed / step * 1.1)), step + 1)
                    if repeat is not None and allowed < ENOUGH * repeat.steps:
                        last = step + 1
                    elif allowed < last:
                        planned, last = math.ceil(planned * allowed / last), allowed
                elif elapsed > seconds:
                    last = step + 1
            warm = min(1.0, (step + 1) / min(plan.warmup, max(planned // 10, 1)))
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * warm * max(0.02, 1 - step / planned)
            sample = torch.from_numpy(seen[generator.integers(0, len(seen), plan.sample)])
            total = int(real.sum())
            rows = slice(first, None, processes)
            loss = shares(inputs[rows], targets[rows], real[rows], sample) / total
            optimizer.zero_grad(set_to_none=True)
            (loss * processes).backward()  # the processes' gradients are averaged
            optimizer.step()
            lost += float(loss.detach()) * total
            counted += total
            step += 1
        whole = float(distributed.summed(np.array([lost]))[0]) if together else lost
        curve.append(whole / max(counted, 1.0))
        if value is not None and (len(curve) % 2 == 0 or step >= last):
            net.eval()
            worth = agreed(value(net))
            if worth > best:
                best, kept, steps = worth, copy.deepcopy(net.state_dict()), step
    net.eval()
    if value is None:
        return net, Course(step, planned, best, tuple(curve))
    net.load_state_dict(kept)
    return net, Course(steps, planned, best, tuple(curve))


def shortened(plan: Plan, items: int, histories: Sequence[np.ndarray]) -> Plan:
    """The plan for the data there are: no wider sample, no longer histories than these."""
    longest = max((len(history) for history in histories), default=2)
    return replace(plan, length=max(2, min(plan.length, longest)), sample=min(plan.sample, max(items, 2)))


@torch.no_grad()
def representations(net: Net) -> np.ndarray:
    """(items, width), unit rows."""
    return np.asarray(net.represent(torch.arange(len(net.reduced))).numpy(), dtype=np.float32)


@torch.no_grad()
def queries(net: Net, table: np.ndarray, histories: Sequence[np.ndarray], batch: int = 512) -> np.ndarray:
    """(histories, width): what the net looks for after each; its product with `representations` are the logits."""
    lengths = np.array([min(len(history), net.plan.length) for history in histories])
    order = np.argsort(lengths, kind="stable")
    found = np.empty((len(histories), net.plan.width), dtype=np.float32)
    for start in range(0, len(order), batch):
        group = order[start : start + batch]
        items = np.zeros((len(group), lengths[group].max()), dtype=np.int64)
        for row, place in enumerate(group):
            items[row, : lengths[place]] = histories[place][-lengths[place] :]
        after = net.queries(torch.from_numpy(table[items]))
        found[group] = after[torch.arange(len(group)), torch.from_numpy(lengths[group] - 1)].numpy()
    return found
