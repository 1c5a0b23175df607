"""The next-item model: what a person turns to next, learned from histories of items.

A product of two distributions over all items: of a sequence model (`infra.training.sequence`; several nets of
different seeds, whose logits are averaged, with the likeness to the history's texts and a linear model of what people
have together, `infra.training.linear`, added) and of item transitions (`infra.training.transitions`). `fit` chooses
everything by the last item of each history, refits on the whole histories and gives a `Fitted`, which `save` writes as
the files that `shared.models.next_item.NextItem` serves.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import scipy.sparse as sp

from infra.training import distributed, linear, sequence
from infra.training.next_item_figures import REPEAT_LIMIT, repeats
from infra.training.next_item_graph import graph
from infra.training.next_item_mixture import (
    FLOOR,
    Judge,
    Mixture,
    Validation,
    blend,
    content,
    joined,
    log_softmax,
    net_scores,
    rare,
)
from infra.training.returning import again, had
from infra.training.sequence import Course, Net, Plan
from infra.training.transitions import (
    BATCH,
    CHOICES,
    Setting,
    Transitions,
    histories_matrix,
    search,
    smoothed,
    text_neighbours,
)
from shared.models.next_item import AGE_CLASSES, ARRAYS, FORMAT, GRAPH, ITEMS, SETTINGS

FEWEST = 30  # histories of three items and more, below which nothing can be chosen
SECONDS = 1300.0  # of a training without a deadline
SMOOTHING_ITEMS = 40_000  # above which smoothing takes longer than it is worth
LINEAR_TIME = 0.06  # of the time left that one inverse for the linear model may take, and the choice of its penalty
MEMBERS = 3
SETTING_USERS = 8000  # on whom the transitions' setting is chosen
BATCH_STEPS = 2400  # of a batch, about
FEWEST_STEPS = 500  # of a training
AT_ITS_END = 0.9  # of its steps: a net that was best there had more to learn, and the next one learns for longer
MOST_EPOCHS = 32
FAIR = 0.9  # of the best net's worth: one that had less time and is worse makes the mean of all worse
NEVER = -8.0  # added for an item of the history where hardly anybody takes one twice


@dataclass(frozen=True)
class Fitted:
    """A fitted model. setting: of the transitions within the mixture; baseline: the best of the transitions alone; both
    and the mixture were chosen on validation. figures: validation measures and settings, JSON-able, for a manifest's
    metadata."""

    item_ids: tuple[str, ...]
    nets: tuple[Net, ...]
    tables: tuple[np.ndarray, ...]  # representations of the items, (items, width), of each net
    texts: np.ndarray  # whitened, (items, width), unit rows
    projection: np.ndarray  # (dimensions, (members + 1) * width): of the nets and of `texts`
    mean: np.ndarray
    setting: Setting
    baseline: Setting
    mixture: Mixture
    table: sp.csr_matrix
    strength: np.ndarray
    together: sp.csr_matrix  # the linear model's weights, (items, items); of no entries where it has no say
    exclude_seen: bool
    figures: dict[str, Any] = field(default_factory=dict)

    def scores(self, users: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Log-probabilities of every item, float32 (batch, items), after each history (item numbers, oldest first);
        what the history holds is moved by `mixture.repeat` and `often`, not left out."""
        length = self.nets[0].plan.length
        moves = _moves(self.table, self.strength, self.setting, users, length)
        near = content(self.texts, users, self.mixture.age, length)
        owned = linear.scores(self.together, users, self.mixture.memory, length)
        for start in range(0, len(users), BATCH):
            group = users[start : start + BATCH]
            logits = np.zeros((len(group), len(self.item_ids)), dtype=np.float32)
            for net, table in zip(self.nets, self.tables, strict=True):
                logits += sequence.queries(net, table, group) @ table.T
            floor = FLOOR / len(self.item_ids)
            logits /= np.float32(len(self.nets))
            logits += np.float32(self.mixture.content) * next(near)
            logits += np.float32(self.mixture.linear) * next(owned)
            score = joined(logits, next(moves), self.mixture.share, floor)
            again(score, had(group), self.mixture.repeat, self.mixture.often)
            yield log_softmax(self.mixture.sharpness * score)

    def save(self, folder: Path) -> None:
        """Writes the model's files into `folder` (made where absent). The manifest is the caller's."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, net in enumerate(self.nets):
            onnx.save(graph(net), str(folder / GRAPH.format(number)))
        tables = [*self.tables, self.texts] if self.mixture.content else self.tables
        trained = np.concatenate(tables, axis=1)
        arrays = {
            "mean": self.mean,
            "projection": self.projection[:, : trained.shape[1]],
            "trained": trained,
            "pointers": self.table.indptr.astype(np.int64),
            "columns": self.table.indices.astype(np.int32),
            "weights": self.table.data.astype(np.float32),
            "strength": self.strength,
            "together_pointers": self.together.indptr.astype(np.int64),
            "together_columns": self.together.indices.astype(np.int32),
            "together_weights": self.together.data.astype(np.float32),
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
            "floor": FLOOR / len(self.item_ids),
            "sharpness": self.mixture.sharpness,
            "repeat": self.mixture.repeat,
            "often": self.mixture.often,
            "content": self.mixture.content,
            "age": self.mixture.age,
            "linear": self.mixture.linear,
            "memory": self.mixture.memory,
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
    together: bool = False,
) -> Fitted:
    """Fits on histories.

    histories: of each person the item numbers (places in `item_ids`), oldest first, integers (L,); those shorter than
    two are of no use and left out. vectors: float32 (len(item_ids), 384), of unit length, of the texts.
    deadline: of `time.monotonic()`; training ends before it, with shorter trainings where it is near. say: is told of
    progress. members: nets that are averaged. together: with the other processes of `torchrun`, all of which must call
    this with the same; else this process fits alone, whatever the others do.

    Raises:
        ValueError: too few histories to learn from.
    """
    tell = say or (lambda _: None)
    ends = time.monotonic() + SECONDS if deadline is None else deadline
    if together:
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
    validation = Validation(users, targets, repeated < REPEAT_LIMIT, len(item_ids))

    mean = vectors.mean(axis=0).astype(np.float32)
    texts = sequence.centred(vectors, mean)
    half = Transitions(fitting, len(item_ids))
    until = time.monotonic() + 0.12 * (ends - time.monotonic())
    setting, value = (
        distributed.on_first(lambda: _tuned(half, validation, until)) if together else _tuned(half, validation, until)
    )
    tell(f"transitions: worth {value:.4f} on validation, {setting}")

    allowed = LINEAR_TIME * (ends - time.monotonic())
    most = linear.affordable(allowed)
    most = distributed.agreed(most) if together else most

    def penalised() -> tuple[float, sp.csr_matrix]:
        return _penalised(fitting, validation, most, time.monotonic() + allowed)

    penalty, beside = distributed.on_first(penalised) if together else penalised()

    plan = _plan(plan or Plan(), len(item_ids), histories)
    basis = sequence.whitening(texts, min(plan.content, texts.shape[1]), plan.whitening)
    reduced = np.asarray(texts @ basis, dtype=np.float32)
    nets: list[Net] = []
    courses: list[Course] = []
    longer = plan
    while len(nets) < members:
        began = time.monotonic()
        # The first may take its time, as if it were to be alone; the others are as long or are not trained at all.
        share = 0.42 if not nets else 0.85 / (2 * members - len(nets))
        net, course = sequence.train(
            reduced,
            fitting,
            longer,
            seed=seed + len(nets),
            seconds=share * (ends - time.monotonic()),
            value=lambda net: validation.of(net_scores([net], validation.few), validation.few).worth,
            together=together,
        )
        nets.append(net)
        courses.append(course)
        if course.steps >= AT_ITS_END * course.planned and course.best == max(one.best for one in courses):
            longer = replace(longer, epochs=min(2 * longer.epochs, MOST_EPOCHS))
        tell(f"net {len(nets)}: worth {course.best:.4f} on validation, {course.steps} of {course.planned} steps")
        if len(nets) == 1:
            members = _affordable(members, time.monotonic() - began, ends - time.monotonic())
            members = distributed.agreed(members) if together else members

    best, planned = max(course.best for course in courses), max(course.planned for course in courses)
    fair = [place for place, course in enumerate(courses) if course.best >= FAIR * best or course.planned == planned]
    left_out = len(courses) - len(fair)
    nets, courses = [nets[place] for place in fair], [courses[place] for place in fair]

    smooth = len(item_ids) <= SMOOTHING_ITEMS
    neighbours = text_neighbours(texts) if smooth else None
    likeness = _likeness(texts, plan)
    near = sequence.centred(texts @ likeness, np.zeros(plan.width, np.float32))
    mixture, tuned, value = blend(Judge(half, setting, neighbours, nets, near, beside, validation))
    tell(f"mixture: worth {value:.4f} on validation, {mixture}, {tuned}")

    def whole_weights() -> sp.csr_matrix:
        return linear.weights(histories, len(item_ids), penalty, most if mixture.linear else 0)

    owned = distributed.on_first(whole_weights) if together else whole_weights()

    final, trained_again = [], 0
    for member, course in enumerate(courses):
        share = 0.95 / (len(courses) - member)
        net, done = sequence.train(
            reduced,
            histories,
            plan,
            seed=seed + fair[member],
            seconds=share * (ends - time.monotonic()),
            repeat=course,
            together=together,
        )
        enough = done.steps >= sequence.ENOUGH * course.steps
        final.append(net if enough else nets[member])
        trained_again += enough
    whole = Transitions(histories, len(item_ids))
    table = whole.table(setting)
    if mixture.smooth and neighbours is not None:
        table = smoothed(table, neighbours)
    if mixture.rarity:
        table = sp.csr_matrix(table @ sp.diags(rare(whole.counts, mixture.rarity)))
    if validation.exclude_seen:
        mixture = replace(mixture, repeat=(NEVER,) * AGE_CLASSES, often=0.0)
    figures = {
        "transitions": asdict(setting),
        "transitions_in_mixture": asdict(tuned),
        "mixture": asdict(mixture),
        "penalty": penalty,
        "plan": asdict(plan),
        "epochs": [len(course.curve) for course in courses],
        "steps": [course.steps for course in courses],
        "trained_again": trained_again,
        "left_out": left_out,
        "repeats": round(repeated, 4),
        "validation": {
            "users": len(validation.users),
            "worth": round(value, 4),
            "nets": [round(course.best, 4) for course in courses],
            "transitions": round(validation.of(half.scores(users, setting), users).worth, 4),
            "linear": round(validation.of(linear.scores(beside, users, mixture.memory, plan.length), users).worth, 4),
        },
    }
    projections = [*(basis @ net.content.weight.detach().numpy().T for net in final), likeness]
    return Fitted(
        item_ids=tuple(item_ids),
        nets=tuple(final),
        tables=tuple(sequence.representations(net) for net in final),
        texts=near,
        projection=np.asarray(np.concatenate(projections, axis=1), dtype=np.float32),
        mean=mean,
        setting=tuned,
        baseline=setting,
        mixture=mixture,
        table=table,
        strength=whole.strength(tuned),
        together=owned,
        exclude_seen=validation.exclude_seen,
        figures=figures,
    )


def _tuned(model: Transitions, validation: Validation, deadline: float) -> tuple[Setting, float]:
    def value(one: Setting) -> float:
        users = validation.users[:SETTING_USERS]
        return float(validation.of(model.scores(users, one), users).worth)

    found: tuple[Setting, float] = search(Setting(), CHOICES, value, deadline)
    return found


def _penalised(
    histories: Sequence[np.ndarray], validation: Validation, most: int, deadline: float
) -> tuple[float, sp.csr_matrix]:
    """The linear model's best penalty, of those that there is time to try, and its weights."""
    tried: list[tuple[float, float, sp.csr_matrix]] = []
    chosen, both = linear.had_together(histories, validation.items, most)
    for penalty in linear.PENALTIES:
        began = time.monotonic()
        table = linear.solved(chosen, both, validation.items, penalty)
        worth = validation.of(linear.scores(table, validation.few, 1.0), validation.few).worth
        tried.append((worth, penalty, table))
        if 2 * time.monotonic() - began > deadline:
            break
    _, penalty, table = max(tried, key=lambda one: one[0])
    return penalty, table


def _likeness(texts: np.ndarray, plan: Plan) -> np.ndarray:
    """Projection of the texts to a net's width, (dimensions, width): whitened, with zeros where they have fewer
    directions."""
    basis = sequence.whitening(texts, plan.width, plan.whitening)
    return np.pad(basis, ((0, 0), (0, plan.width - basis.shape[1])))


def _affordable(members: int, one: float, left: float) -> int:
    """How many nets there is time for, where one took `one` seconds and all must be trained once more: one at least."""
    return max([1, *(count for count in range(2, members + 1) if (2 * count - 1) * one < 0.8 * left)])


def _plan(plan: Plan, items: int, histories: Sequence[np.ndarray]) -> Plan:
    """Batches of a like number of steps, whatever the histories' length; few histories come in smaller batches and more
    epochs, so that there are steps enough."""
    plan = sequence.shortened(plan, items, histories)
    mean = float(np.mean([min(len(history), plan.length) for history in histories]))
    batch = int(np.clip(min(BATCH_STEPS / mean, len(histories) / 40), 8, plan.batch))
    steps = sum(max(len(history) / plan.length, 1.0) for history in histories) / batch
    return replace(plan, batch=batch, epochs=int(np.clip(FEWEST_STEPS / steps, plan.epochs, 3 * plan.epochs)))


def _moves(
    table: sp.csr_matrix, strength: np.ndarray, setting: Setting, users: Sequence[np.ndarray], length: int
) -> Iterator[np.ndarray]:
    weights = histories_matrix(users, table.shape[0], setting.decay, strength, length)
    for start in range(0, len(users), BATCH):
        yield np.asarray((weights[start : start + BATCH] @ table).todense(), dtype=np.float32)
