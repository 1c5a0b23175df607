"""The next-item model: what a person turns to next, learned from histories of items.

A mixture of two distributions over all items: of a sequence model (`infra.training.sequence`; several nets of
different seeds, whose logits are averaged) and of item transitions (`infra.training.transitions`). `fit` chooses
everything by the last item of each history, refits on the whole histories and gives a `Fitted`, which `save` writes as
the files that `shared.models.next_item.NextItem` serves.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import scipy.sparse as sp

from infra.training import distributed, sequence
from infra.training.next_item_figures import REPEAT_LIMIT, forget, measure, repeats
from infra.training.next_item_graph import graph
from infra.training.sequence import Net, Plan
from infra.training.transitions import BATCH, CHOICES, Setting, Transitions, histories_matrix, search, smoothed, text_neighbours
from shared.models.next_item import ARRAYS, FORMAT, GRAPH, ITEMS, SETTINGS

K = 10  # of the NDCG that chooses
FEWEST = 30  # histories of three items and more, below which nothing can be chosen
SECONDS = 1300.0  # of a training without a deadline
TUNING_USERS = 4000  # for one setting of the transitions, and for the nets
BLEND_CELLS = 1e8  # users times items that the mixture is chosen on
SMOOTHING_ITEMS = 40_000  # above which smoothing takes longer than it is worth
MEMBERS = 2
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
SHARPNESS = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2)
REPEATS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
NEVER = -8.0  # added for an item of the history where hardly anybody takes one twice


@dataclass(frozen=True)
class Mixture:
    """share: of the transitions. sharpness: factor of the nets' logits. smooth: whether the transitions are those
    smoothed through text neighbours. repeat: log-odds added for what the person had already."""

    share: float = 0.4
    sharpness: float = 0.85
    smooth: bool = False
    repeat: float = 0.0


@dataclass(frozen=True)
class Fitted:
    """A fitted model. setting, mixture: chosen on validation. figures: validation measures and settings, JSON-able, for
    a manifest's metadata."""

    item_ids: tuple[str, ...]
    nets: tuple[Net, ...]
    tables: tuple[np.ndarray, ...]  # representations of the items, (items, width), of each net
    projection: np.ndarray  # (dimensions, members * width)
    mean: np.ndarray
    setting: Setting
    mixture: Mixture
    table: sp.csr_matrix
    strength: np.ndarray
    exclude_seen: bool
    figures: dict[str, Any] = field(default_factory=dict)

    def scores(self, users: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Log-probabilities of every item, float32 (batch, items), after each history (item numbers, oldest first);
        what the history holds is moved by `mixture.repeat`, not left out."""
        moves = _moves(self.table, self.strength, self.setting, users, self.nets[0].plan.length)
        for start in range(0, len(users), BATCH):
            group = users[start : start + BATCH]
            logits = np.zeros((len(group), len(self.item_ids)), dtype=np.float32)
            for net, table in zip(self.nets, self.tables, strict=True):
                logits += sequence.queries(net, table, group) @ table.T
            chance = _softmax(logits * np.float32(self.mixture.sharpness / len(self.nets)))
            score = np.log(np.maximum(mixed(chance, next(moves), self.mixture.share), 1e-30))
            for row, history in enumerate(group):
                score[row, np.unique(history)] += np.float32(self.mixture.repeat)
            yield score

    def save(self, folder: Path) -> None:
        """Writes the model's files into `folder` (made where absent). The manifest is the caller's."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, net in enumerate(self.nets):
            onnx.save(graph(net), str(folder / GRAPH.format(number)))
        arrays = {
            "mean": self.mean,
            "projection": self.projection,
            "trained": np.concatenate(self.tables, axis=1),
            "pointers": self.table.indptr.astype(np.int64),
            "columns": self.table.indices.astype(np.int32),
            "weights": self.table.data.astype(np.float32),
            "strength": self.strength,
        }
        np.savez(folder / ARRAYS, **arrays)
        (folder / ITEMS).write_text(json.dumps(self.item_ids, ensure_ascii=False), encoding="utf-8")
        content = hashlib.sha256(json.dumps(asdict(self.mixture) | asdict(self.setting)).encode())
        for name in sorted(arrays):
            content.update(np.ascontiguousarray(arrays[name]).tobytes())
        settings = {
            "format": FORMAT,
            "version": content.hexdigest()[:12],
            "members": len(self.nets),
            "length": self.nets[0].plan.length,
            "decay": self.setting.decay,
            "share": self.mixture.share,
            "sharpness": self.mixture.sharpness,
            "repeat": self.mixture.repeat,
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def fit(
    histories: Sequence[np.ndarray],
    item_ids: Sequence[str],
    vectors: np.ndarray,
    *,
    seed: int = 0,
    deadline: float | None = None,
    say: Callable[[str], None] | None = None,
    plan: Plan | None = None,
    members: int = MEMBERS,
) -> Fitted:
    """Fits on histories.

    histories: of each person the item numbers (places in `item_ids`), oldest first, integers (L,); those shorter than
    two are of no use and left out. vectors: float32 (len(item_ids), 384), of unit length, of the texts.
    deadline: of `time.monotonic()`; training ends before it, with shorter trainings where it is near. say: is told of
    progress. members: nets that are averaged.

    Raises:
        ValueError: too few histories to learn from.
    """
    tell = say or (lambda _: None)
    ends = time.monotonic() + SECONDS if deadline is None else deadline
    ends = distributed.agreed(ends - time.monotonic()) + time.monotonic()
    histories = [np.asarray(history) for history in histories if len(history) >= 2]
    judged = [history for history in histories if len(history) >= 3]
    if len(judged) < FEWEST:
        raise ValueError(f"{len(judged)} histories of three items and more: {FEWEST} are needed to learn what follows")
    fitting = [history[:-1] if len(history) >= 3 else history for history in histories]
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(judged))
    users, targets = [judged[place][:-1] for place in chosen], np.array([judged[place][-1] for place in chosen])
    repeated = repeats(users, targets)
    validation = _Validation(users, targets, repeated < REPEAT_LIMIT, len(item_ids))

    mean = vectors.mean(axis=0).astype(np.float32)
    texts = sequence.centred(vectors, mean)
    half = Transitions(fitting, len(item_ids))
    setting, value = _tuned(half, validation, time.monotonic() + 0.12 * (ends - time.monotonic()))
    tell(f"transitions: NDCG {value:.4f} on validation, {setting}")

    plan = _plan(plan or Plan(), len(item_ids), histories)
    basis = sequence.whitening(texts, min(plan.content, texts.shape[1]), plan.whitening)
    reduced = np.asarray(texts @ basis, dtype=np.float32)
    nets, courses = [], []
    for member in range(members):
        share = 0.85 / (2 * members - member)  # of the time left: all members now, and all of them again
        net, course = sequence.train(
            reduced,
            fitting,
            plan,
            seed=seed + member,
            seconds=share * (ends - time.monotonic()),
            value=lambda net: validation.of(net_scores([net], validation.few), validation.few).ndcg,
        )
        nets.append(net)
        courses.append(course)
        tell(f"net {member}: NDCG {course.best:.4f} on validation after {course.steps} of {course.planned} steps")

    smooth = len(item_ids) <= SMOOTHING_ITEMS
    neighbours = text_neighbours(texts) if smooth else None
    mixture, value = _blend(half, setting, neighbours, nets, validation)
    tell(f"mixture: NDCG {value:.4f} on validation, {mixture}")

    final = []
    for member, course in enumerate(courses):
        share = 0.95 / (members - member)
        net, _ = sequence.train(
            reduced, histories, plan, seed=seed + member, seconds=share * (ends - time.monotonic()), repeat=course
        )
        final.append(net)
    whole = Transitions(histories, len(item_ids))
    table = whole.table(setting)
    if mixture.smooth and neighbours is not None:
        table = smoothed(table, neighbours)
    if validation.exclude_seen:
        mixture = replace(mixture, repeat=NEVER)
    figures = {
        "transitions": asdict(setting),
        "mixture": asdict(mixture),
        "plan": asdict(plan),
        "epochs": [len(course.curve) for course in courses],
        "steps": [course.steps for course in courses],
        "repeats": round(repeated, 4),
        "validation": {
            "users": len(validation.users),
            "ndcg": round(value, 4),
            "nets": [round(course.best, 4) for course in courses],
            "transitions": round(validation.of(half.scores(users, setting), users).ndcg, 4),
        },
    }
    projections = [basis @ net.content.weight.detach().numpy().T for net in final]
    return Fitted(
        item_ids=tuple(item_ids),
        nets=tuple(final),
        tables=tuple(sequence.representations(net) for net in final),
        projection=np.asarray(np.concatenate(projections, axis=1), dtype=np.float32),
        mean=mean,
        setting=setting,
        mixture=mixture,
        table=table,
        strength=whole.strength(setting),
        exclude_seen=validation.exclude_seen,
        figures=figures,
    )


class _Validation:
    """Whom everything is chosen on. few: the first of the users, who are in no order; the judges of single parts."""

    def __init__(self, users: list[np.ndarray], targets: np.ndarray, exclude_seen: bool, items: int) -> None:
        self.users, self.targets, self.exclude_seen, self.items = users, targets, exclude_seen, items
        self.few = users[:TUNING_USERS]

    def of(self, scores: Iterator[np.ndarray], users: list[np.ndarray]) -> Any:
        return measure(scores, users, self.targets[: len(users)], K, self.exclude_seen, self.items)


def _tuned(model: Transitions, validation: _Validation, deadline: float) -> tuple[Setting, float]:
    def value(one: Setting) -> float:
        return float(validation.of(model.scores(validation.few, one), validation.few).ndcg)

    found: tuple[Setting, float] = distributed.on_first(lambda: search(Setting(), CHOICES, value, deadline))
    return found


def _plan(plan: Plan, items: int, histories: Sequence[np.ndarray]) -> Plan:
    """Few histories are shown in smaller batches, so that there are steps enough."""
    plan = sequence.shortened(plan, items, histories)
    return replace(plan, batch=int(np.clip(len(histories) // 40, 8, plan.batch)))


def net_scores(nets: Sequence[Net], users: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Mean logits of the nets, (batch, items)."""
    tables = [sequence.representations(net) for net in nets]
    for start in range(0, len(users), BATCH):
        group = users[start : start + BATCH]
        parts = [sequence.queries(net, table, group) @ table.T for net, table in zip(nets, tables, strict=True)]
        yield np.asarray(sum(parts) / np.float32(len(nets)), dtype=np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True), dtype=np.float32)


def mixed(chance: np.ndarray, moves: np.ndarray, share: float) -> np.ndarray:
    """The mixture; where nothing follows a history in the transitions, the nets alone."""
    mass = moves.sum(axis=1, keepdims=True)
    part = np.where(mass > 0, np.float32(share), np.float32(0))
    return np.asarray((1 - part) * chance + part / np.where(mass > 0, mass, 1) * moves, dtype=np.float32)


def _moves(
    table: sp.csr_matrix, strength: np.ndarray, setting: Setting, users: Sequence[np.ndarray], length: int
) -> Iterator[np.ndarray]:
    weights = histories_matrix(users, table.shape[0], setting.decay, strength, length)
    for start in range(0, len(users), BATCH):
        yield np.asarray((weights[start : start + BATCH] @ table).todense(), dtype=np.float32)


def _blend(
    model: Transitions,
    setting: Setting,
    neighbours: sp.csr_matrix | None,
    nets: Sequence[Net],
    validation: _Validation,
) -> tuple[Mixture, float]:
    """The mixture of the highest NDCG on validation, and that: every combination is tried."""
    users = validation.users[: max(int(BLEND_CELLS / validation.items), 200)]
    tables = {False: model.table(setting)}
    if neighbours is not None:
        tables[True] = smoothed(tables[False], neighbours)
    again = (0.0,) if validation.exclude_seen else REPEATS
    options = [Mixture(*one) for one in product(SHARES, SHARPNESS, tables, again)]
    gains = np.zeros(len(options))
    logits = net_scores(nets, users)
    moves = {smooth: model.scores(users, setting, table) for smooth, table in tables.items()}
    discount = 1 / np.log2(np.arange(2, K + 2))
    for start in range(0, len(users), BATCH):
        group, targets = users[start : start + BATCH], validation.targets[start : start + BATCH]
        rows = np.arange(len(group))
        block = next(logits)
        chances = {sharpness: _softmax(block * np.float32(sharpness)) for sharpness in SHARPNESS}
        steps = {smooth: next(scores) for smooth, scores in moves.items()}
        had = [np.unique(history) for history in group]
        for (share, sharpness, smooth), places in _by_mixture(options).items():
            chance = mixed(chances[sharpness], steps[smooth], share)
            if validation.exclude_seen:
                forget(chance, group)
            for place in places:
                score = chance
                if options[place].repeat:
                    score = chance.copy()
                    for row, items in enumerate(had):
                        score[row, items] *= np.float32(np.exp(options[place].repeat))
                right = score[rows, targets][:, None]
                rank = (score > right).sum(axis=1)
                valid = (rank < K) & np.isfinite(right[:, 0])
                gains[place] += discount[rank[valid]].sum()
    best = int(gains.argmax())
    return options[best], float(gains[best] / len(users))


def _by_mixture(options: list[Mixture]) -> dict[tuple[float, float, bool], list[int]]:
    groups: dict[tuple[float, float, bool], list[int]] = {}
    for place, one in enumerate(options):
        groups.setdefault((one.share, one.sharpness, one.smooth), []).append(place)
    return groups
