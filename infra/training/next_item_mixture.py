"""How the parts of the next-item model are put together: chosen on validation, the same in training and serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import scipy.sparse as sp

from infra.training import linear, sequence
from infra.training.next_item_figures import Ranked, forget, measure
from infra.training.sequence import Net
from infra.training.transitions import (
    BATCH,
    CHOICES,
    LENGTH,
    Setting,
    Transitions,
    histories_matrix,
    smoothed,
)

K = 10  # of the recall and the NDCG whose mean, the worth, chooses everything
TUNING_USERS = 4000  # who judge a net while it is trained
BLEND_CELLS = 1e8  # users times items that the mixture is chosen on
FEWEST_USERS = 200  # however many items there are
SHARES = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9)  # never all: what no transition leads to would be equal
SHARPNESS = (0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5)
CONTENTS = (0.0, 2.0, 4.0, 6.0, 9.0, 13.0)
AGES = (0.3, 0.5, 0.7, 0.85, 0.97)
RARITIES = (0.0, 0.2, 0.4)
LINEARS = (10.0, 20.0, 40.0, 80.0)  # its scores lie between 0 and 1, mostly
MEMORIES = (1.0, 0.97, 0.85, 0.7)  # of the linear model
SURE = 2.0  # standard errors, over people, of what a mixture or the linear model in it has to gain
FLOOR = 0.1  # least probability of a transition, of that of an item by chance
REPEATS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Mixture:
    """share: of the transitions. sharpness: factor of the log-probabilities. smooth: whether the transitions are those
    smoothed through text neighbours. repeat: added to the log-probability of what the person had already. content:
    factor of the cosine with the history's texts, which joins the nets' logits; age: of these texts, what each counts
    of the next. rarity: power of an item's count by which transitions to it are divided. linear: factor of the linear
    model's score, which joins the nets' logits too; memory: what an item of the history counts for it of the next."""

    share: float = 0.5
    sharpness: float = 1.0
    smooth: bool = False
    repeat: float = 0.0
    content: float = 4.0
    age: float = 0.7
    rarity: float = 0.0
    linear: float = 0.0
    memory: float = 1.0


class Validation:
    """Whom everything is chosen on. few: the first of the users, who are in no order; the judges of single parts."""

    def __init__(self, users: list[np.ndarray], targets: np.ndarray, exclude_seen: bool, items: int) -> None:
        self.users, self.targets, self.exclude_seen, self.items = users, targets, exclude_seen, items
        self.few = users[:TUNING_USERS]

    def of(self, scores: Iterator[np.ndarray], users: list[np.ndarray]) -> Ranked:
        """Of the scores of the first `users`."""
        return measure(scores, users, self.targets[: len(users)], K, self.exclude_seen, self.items)


def net_scores(nets: Sequence[Net], users: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Mean logits of the nets, (batch, items)."""
    tables = [sequence.representations(net) for net in nets]
    for start in range(0, len(users), BATCH):
        group = users[start : start + BATCH]
        parts = [sequence.queries(net, table, group) @ table.T for net, table in zip(nets, tables, strict=True)]
        yield np.asarray(sum(parts) / np.float32(len(nets)), dtype=np.float32)


def content(
    vectors: np.ndarray, users: Sequence[np.ndarray], decay: float, length: int = LENGTH
) -> Iterator[np.ndarray]:
    """Cosine with the decayed mean of the history's vectors, (batch, items). vectors: unit rows."""
    weights = histories_matrix(users, len(vectors), decay, length=length)
    for start in range(0, len(users), BATCH):
        query = np.asarray(weights[start : start + BATCH] @ vectors)
        query /= np.maximum(np.linalg.norm(query, axis=1, keepdims=True), 1e-9)
        yield np.asarray(query @ vectors.T, dtype=np.float32)


def rare(counts: np.ndarray, rarity: float) -> np.ndarray:
    """(items,): what a transition to an item counts, by how often it was taken."""
    return np.asarray(np.maximum(counts, 1) ** -rarity, dtype=np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    moved = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)), dtype=np.float32)


def joined(logits: np.ndarray, moves: np.ndarray, share: float, floor: float) -> np.ndarray:
    """Log of the product of experts, up to a constant of the row (Hinton, 2002, "Training products of experts"):
    (1 - share) of the nets' log-probability and `share` of that of the transitions, which is `floor` at least. The nets
    speak for both where no transition leads anywhere. logits, moves: (batch, items)."""
    logs = log_softmax(logits)
    mass = moves.sum(axis=1, keepdims=True)
    if share:
        other = np.log(moves / np.where(mass > 0, mass, 1) + np.float32(floor))
        logs += np.float32(share) * np.where(mass > 0, other - logs, 0)
    return logs


def blend(
    model: Transitions,
    setting: Setting,
    neighbours: sp.csr_matrix | None,
    nets: Sequence[Net],
    texts: np.ndarray,
    together: sp.csr_matrix,
    validation: Validation,
) -> tuple[Mixture, Setting, float]:
    """The mixture of the highest worth on validation with its setting of the transitions, and that worth; almost the
    transitions alone where that is not surely better (`SURE`): few people choose by chance among so many options.

    texts: unit rows, (items, width). together: the linear model's weights. One thing is chosen after another. The age
    and the count of a history's items are weighed anew, since next to the nets the best weights are others. Sharpness
    is what makes the targets likeliest, which no order depends on.
    """
    users = validation.users[: max(int(BLEND_CELLS / validation.items), FEWEST_USERS)]
    wanted = validation.targets[: len(users)]
    logits = [block.astype(np.float16) for block in net_scores(nets, users)]
    floor, length = FLOOR / validation.items, nets[0].plan.length
    repeats_tried = (0.0,) if validation.exclude_seen else REPEATS
    tables = {False: model.table(setting)}
    if neighbours is not None:
        tables[True] = smoothed(tables[False], neighbours)

    def parts(number: int, moves: np.ndarray, option: Mixture) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of a batch without transitions and by them alone."""
        group = users[number * BATCH : (number + 1) * BATCH]
        spoken = logits[number].astype(np.float32)
        if option.content:
            spoken += np.float32(option.content) * next(content(texts, group, option.age, length))
        if option.linear:
            spoken += np.float32(option.linear) * next(linear.scores(together, group, option.memory, length))
        moved = moves * rare(model.counts, option.rarity) if option.rarity else moves
        return joined(spoken, moved, 0.0, floor), joined(spoken, moved, 1.0, floor)

    def judge(options: list[Mixture], one: Setting) -> np.ndarray:
        gains = np.zeros((len(options), len(users)), np.float32)
        for smooth, table in tables.items():
            places = [place for place, option in enumerate(options) if option.smooth == smooth]
            if not places:
                continue
            for number, moves in enumerate(model.scores(users, one, table)):
                start = number * BATCH
                group, targets = users[start : start + BATCH], wanted[start : start + BATCH]
                made: tuple[float, ...] | None = None
                for place in places:
                    option = options[place]
                    wanted_parts = (option.content, option.age, option.rarity, option.linear, option.memory)
                    if made != wanted_parts:  # options that share them stand together
                        made = wanted_parts
                        nets_alone, other = parts(number, moves, option)
                    share = np.float32(options[place].share)
                    score = (1 - share) * nets_alone + share * other
                    if validation.exclude_seen:
                        forget(score, group)
                    elif options[place].repeat:
                        again(score, group, options[place].repeat)
                    gains[place, start : start + len(group)] = _gain(score, targets)
        return gains

    def better(options: list[Mixture]) -> tuple[Mixture, float]:
        values = judge(options, setting).mean(axis=1)
        place = int(values.argmax())
        return (options[place], float(values[place])) if values[place] > value else (best, value)

    options = [Mixture(share, 1.0, smooth, repeat) for share, smooth, repeat in product(SHARES, tables, repeats_tried)]
    values = judge(options, setting).mean(axis=1)
    best, value = options[int(values.argmax())], float(values.max())
    first = setting
    best, value = better([replace(best, content=weight) for weight in CONTENTS if weight != best.content])
    if best.content:
        best, value = better([replace(best, age=age) for age in AGES if age != best.age])
    if best.share:
        best, value = better([replace(best, rarity=rarity) for rarity in RARITIES if rarity != best.rarity])
    for name in ("decay", "damping"):
        for choice in CHOICES[name]:
            candidate = replace(setting, **{name: choice})
            found = float(judge([best], candidate).mean()) if candidate != setting and best.share else 0.0
            if found > value:
                setting, value = candidate, found
    best, value = better([replace(best, share=share) for share in SHARES if share != best.share])
    without, alone = best, judge([best], setting)[0]
    if together.nnz:
        shares = {*SHARES[::3], best.share}
        best, value = better([replace(best, linear=factor, share=share) for factor, share in product(LINEARS, shares)])
    if best.linear:
        best, value = better([replace(best, memory=memory) for memory in MEMORIES if memory != best.memory])
        best, value = better([replace(best, linear=factor) for factor in LINEARS if factor != best.linear])
        best, value = better([replace(best, share=share) for share in SHARES if share != best.share])
        if not _surely(judge([best], setting)[0] - alone):
            best, value = without, float(alone.mean())
    plain = Mixture(SHARES[-1], 1.0, False, best.repeat, content=0.0)
    beside = judge([plain], first)[0]
    if not _surely(judge([best], setting)[0] - beside):
        best, setting, value = plain, first, float(beside.mean())

    moves = model.scores(users[:BATCH], setting, tables[best.smooth])
    nets_alone, other = parts(0, next(moves), best)
    score = np.float32(1 - best.share) * nets_alone + np.float32(best.share) * other
    if validation.exclude_seen:
        forget(score, users[:BATCH])
    else:
        again(score, users[:BATCH], best.repeat)
    rows, targets = np.arange(len(score)), wanted[: len(score)]
    there = np.isfinite(score[rows, targets])
    likely = {sharpness: float(log_softmax(sharpness * score)[rows, targets][there].mean()) for sharpness in SHARPNESS}
    return replace(best, sharpness=max(likely, key=lambda one: likely[one])), setting, value


def _surely(gained: np.ndarray) -> bool:
    """Whether people's gains are above zero by more than chance."""
    return bool(gained.mean() > SURE * gained.std() / np.sqrt(len(gained)))


def again(score: np.ndarray, users: Sequence[np.ndarray], repeat: float) -> None:
    """Moves what each history holds by `repeat`."""
    for row, history in enumerate(users):
        score[row, np.unique(history)] += np.float32(repeat)


def _gain(score: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each target's worth, the mean of recall and NDCG, (batch,); of equal scores, the target's comes in the middle."""
    right = score[np.arange(len(score)), targets][:, None]
    place = (score > right).sum(axis=1) + ((score == right).sum(axis=1) - 1) / 2
    found = (place < K) & np.isfinite(right[:, 0])
    return np.where(found, 0.5 / np.log2(place + 2) + 0.5, 0.0).astype(np.float32)
