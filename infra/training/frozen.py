"""The untouched encoder: its vectors, how fast it is here, and a logistic regression on them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from infra.training import distributed
from infra.training.calibrate import log_loss, temperature
from infra.training.layers import Layer, attention_bias
from infra.training.regression import fit_logistic, full_weights

Ids = Sequence[list[int]]
Classes = NDArray[np.int64]
INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1)
FROZEN_ROWS = 16_000
PROBE_ROWS = 96
LEAST_ROWS = 20  # of each class, where there are so many
PAYS = 0.8  # of float32's time


def device() -> torch.device:
    """The GPU where there is one; each process of a machine has its own."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if distributed.active() else 0)
    return torch.device("cpu")


@lru_cache
def bfloat16_pays(where: torch.device) -> bool:
    """Whether products of an encoder's size are faster in bfloat16, found by trying.

    Where the processor has them they take half the time, elsewhere several times as long: noise does not decide.
    """
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    times = []
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.ones(512, 384, dtype=kind), torch.ones(384, 1536, dtype=kind)
        taken = []
        for _ in range(8):
            began = time.perf_counter()
            torch.matmul(left, right)
            taken.append(time.perf_counter() - began)
        times.append(min(taken))
    return times[1] < PAYS * times[0]


class Body:
    """A BERT or RoFormer encoder cut in two: what runs once below, what is trained above. Runs on `where`.

    bfloat16: whether matrix products are in bfloat16 (weights and sums stay in float32); None: where that is faster.
    """

    def __init__(self, model: Any, pad: int, where: torch.device, bfloat16: bool | None = None) -> None:
        self.model = model.to(where).eval().requires_grad_(False)
        rotary = model.config.model_type == "roformer"
        layers = nn.ModuleList(Layer.of(layer, rotary) for layer in model.encoder.layer)
        self.layers = layers.eval().requires_grad_(False)
        self.pad = pad
        self.where = where
        self.depth = len(self.layers)
        self.bfloat16 = distributed.agreed(bfloat16_pays(where) if bfloat16 is None else bfloat16)

    def mixed_precision(self) -> AbstractContextManager[Any]:
        """The context that computing with it belongs in."""
        return torch.autocast(self.where.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    def batch(self, rows: Ids) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded ids and mask, (n, longest)."""
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.bool)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = True
        return ids.to(self.where), mask.to(self.where)

    def below(self, rows: Ids, layers: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states after the first `layers` layers (n, longest, hidden), and the mask."""
        ids, mask = self.batch(rows)
        hidden, bias = self.model.embeddings(input_ids=ids), attention_bias(mask)
        for layer in self.layers[:layers]:
            hidden = layer(hidden, bias)
        return hidden, mask


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the real tokens at unit length, (n, hidden)."""
    weight = mask.unsqueeze(-1).float()
    return nn.functional.normalize((hidden.float() * weight).sum(1) / weight.sum(1), dim=1)


def by_length(rows: Ids, size: int) -> list[list[int]]:
    """Places of the rows in batches of like length."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    return [order[start : start + size] for start in range(0, len(order), size)]


@dataclass
class Frozen:
    """The untouched encoder's vectors of some training rows and of the development rows, and a head on them."""

    places: NDArray[np.int64]
    vectors: NDArray[np.float32]
    dev_vectors: NDArray[np.float32]
    seconds_per_token_layer: float
    centre: NDArray[np.float32] = field(init=False)
    spread: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.centre = self.vectors.mean(axis=0)
        self.spread = np.maximum(self.vectors.std(axis=0), 1e-6)

    def standard(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors with the training rows' mean and deviation taken out."""
        return (vectors - self.centre) / self.spread


def encode(body: Body, rows: Ids, on_batch: Callable[[int], None] = lambda _: None) -> NDArray[np.float32]:
    """The frozen encoder's unit vectors, (n, hidden); processes share the work."""
    result = np.zeros((len(rows), body.model.config.hidden_size), np.float32)
    for members in distributed.mine(by_length(rows, 64)):
        with torch.inference_mode(), body.mixed_precision():
            hidden, mask = body.below([rows[place] for place in members], body.depth)
            result[members] = pooled(hidden, mask).cpu().numpy()
        on_batch(len(members) * distributed.size())
    return distributed.summed(result)


@lru_cache
def _all_threads() -> int:
    """As many as torch begins with."""
    return torch.get_num_threads()


def choose_threads(work: Callable[[], object]) -> None:
    """Sets torch's threads to all cores or to one, whichever does `work` sooner.

    On cores that other programs use, several threads wait for each other longer than they help.
    """
    times = {}
    for threads in sorted({1, _all_threads()}):
        torch.set_num_threads(threads)
        work()
        began = time.perf_counter()
        work()
        times[threads] = time.perf_counter() - began
    torch.set_num_threads(distributed.agreed(min(times, key=lambda threads: times[threads])))


def freeze(
    body: Body,
    rows: Ids,
    dev: Ids,
    seed: int,
    seconds: float,
    on_batch: Callable[[int], None] = lambda _: None,
    classes: Classes | None = None,
) -> Frozen:
    """Vectors of the untouched encoder: of every row, or of as many drawn ones as `seconds` allow (at least 1,000, and
    some of each of the `classes`)."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows))
    probe = [rows[place] for place in order[:PROBE_ROWS]]
    tokens = sum(map(len, probe))
    if math.isfinite(seconds):
        choose_threads(lambda: encode(body, probe))
    began = time.perf_counter()
    encode(body, probe)
    speed = distributed.agreed(time.perf_counter() - began) / (tokens * body.depth)
    affordable = min(seconds / (speed * body.depth * tokens / len(probe)) - len(dev), FROZEN_ROWS)
    places = order[: max(1000, int(affordable))]
    if classes is not None and len(places) < len(rows):
        places = np.union1d(places, _firsts(classes, order, LEAST_ROWS))
    places = np.sort(places)
    part = [rows[place] for place in places]
    began = time.perf_counter()
    vectors = encode(body, part, on_batch)
    speed = distributed.agreed(time.perf_counter() - began) / (sum(map(len, part)) * body.depth)
    return Frozen(places, vectors, encode(body, dev, on_batch), speed)


def _firsts(classes: Classes, order: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The first `most` places of each class in `order`."""
    by_class = order[np.argsort(classes[order], kind="stable")]
    _, starts, counts = np.unique(classes[by_class], return_index=True, return_counts=True)
    return np.concatenate(
        [by_class[start : start + min(count, most)] for start, count in zip(starts, counts, strict=True)]
    )


def linear_head(frozen: Frozen, labels: Classes, dev_labels: Classes, classes: int) -> LogisticRegression:
    """A logistic regression on the frozen vectors, its penalty the best on the development rows."""
    data, dev = frozen.standard(frozen.vectors), frozen.standard(frozen.dev_vectors)
    losses = {}
    # A smaller sample is enough to see which penalty is right.
    some = np.arange(len(data))
    if len(data) > 6000:
        some = np.union1d(some[:: len(data) // 6000 + 1], _firsts(labels, some, LEAST_ROWS))
    known = dev_labels >= 0
    for strength in INVERSE_PENALTIES:
        model = fit_logistic(data[some], labels[some], strength)
        logits = full_logits(model, dev[known], classes)
        loss = log_loss(logits / temperature(logits, dev_labels[known]), dev_labels[known])
        losses[strength] = loss
    best = min(losses, key=lambda strength: losses[strength])
    return fit_logistic(data, labels, best)


def full_logits(model: LogisticRegression, data: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Logits (n, classes); a class without training rows gets a very low one."""
    weight, bias = full_weights(model, classes)
    return np.asarray(data @ weight.T + bias, np.float32)


def refit_head(frozen: Frozen, model: LogisticRegression, classes: Classes, rows: int) -> LogisticRegression:
    """The same regression on the training and the development rows' vectors.

    classes: of all rows, the first `rows` of them the training rows'.
    """
    data = frozen.standard(np.concatenate([frozen.vectors, frozen.dev_vectors]))
    truth = np.concatenate([classes[:rows][frozen.places], classes[rows:]])
    return fit_logistic(data, truth, model.C)
