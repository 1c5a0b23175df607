"""How the parts of the next-item model are put together: chosen on validation, the same in training and serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import scipy.sparse as sp

from infra.training import linear, returning, sequence
from infra.training.next_item_figures import Ranked, forget, measure
from infra.training.returning import again, had, learned
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
from shared.models.next_item import AGE_CLASSES

K = 10  # of the recall and the NDCG whose mean, the worth, chooses everything
TUNING_USERS = 4000  # who judge a net while it is trained
BLEND_CELLS = 1e8  # users times items that the mixture is chosen on
FEWEST_USERS = 200  # however many items there are
SHARES = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9)  # never all: what no transition leads to would be equal
SHARPNESS = (0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5)
CONTENTS = (0.0, 2.0, 4.0, 6.0, 9.0, 13.0)
AGES_OF_TEXTS = (0.3, 0.5, 0.7, 0.85, 0.97)
RARITIES = (0.0, 0.2, 0.4)
LINEARS = (10.0, 20.0, 40.0, 80.0)  # its scores lie between 0 and 1, mostly
MEMORIES = (1.0, 0.97, 0.85, 0.7)  # of the linear model
SURE = 2.0  # standard errors, over people, of what a mixture, the linear model or the ages in it have to gain
FLOOR = 0.1  # least probability of a transition, of that of an item by chance
REPEATS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)
AGEINGS = (0.5, 1.0)  # factors of what the ages of what people had say of taking it again


@dataclass(frozen=True)
class Mixture:
    """share: of the transitions. sharpness: factor of the log-probabilities. smooth: whether the transitions are those
    smoothed through text neighbours. repeat: added to the log-probability of what the person had already, by its class
    of age, and `often` for each log of its times. content: factor of the cosine with the history's texts, which joins
    the nets' logits; age: of these texts, what each counts of the next. rarity: power of an item's count by which
    transitions to it are divided. linear: factor of the linear model's score, which joins the nets' logits too; memory:
    what an item of the history counts for it of the next."""

    share: float = 0.5
    sharpness: float = 1.0
    smooth: bool = False
    repeat: tuple[float, ...] = (0.0,) * AGE_CLASSES
    often: float = 0.0
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


class Judge:
    """What mixtures of the same parts are worth to validation's people, as many as `BLEND_CELLS` allows.

    setting: of the transitions alone. texts: unit rows, (items, width). together: the linear model's weights.
    """

    def __init__(
        self,
        model: Transitions,
        setting: Setting,
        neighbours: sp.csr_matrix | None,
        nets: Sequence[Net],
        texts: np.ndarray,
        together: sp.csr_matrix,
        validation: Validation,
    ) -> None:
        self.users = validation.users[: max(int(BLEND_CELLS / validation.items), FEWEST_USERS)]
        self.targets = validation.targets[: len(self.users)]
        self.exclude_seen = validation.exclude_seen
        starts = range(0, len(self.users), BATCH) if not validation.exclude_seen else ()
        self.held = [had(self.users[start : start + BATCH]) for start in starts]
        self.tables = {False: model.table(setting)}
        if neighbours is not None:
            self.tables[True] = smoothed(self.tables[False], neighbours)
        self.setting, self.together = setting, together
        self._model, self._texts = model, texts
        self._logits = [block.astype(np.float16) for block in net_scores(nets, self.users)]
        self._floor, self._length = FLOOR / validation.items, nets[0].plan.length

    def gains(self, options: Sequence[Mixture], setting: Setting) -> np.ndarray:
        """What each person's target is worth by each option, (options, users)."""
        found = np.zeros((len(options), len(self.users)), np.float32)
        for smooth, table in self.tables.items():
            places = [place for place, option in enumerate(options) if option.smooth == smooth]
            if not places:
                continue
            for number, moves in enumerate(self._model.scores(self.users, setting, table)):
                made: tuple[float, ...] | None = None
                for place in places:
                    option = options[place]
                    shape = (option.content, option.age, option.rarity, option.linear, option.memory)
                    if made != shape:  # options that share it stand together
                        made = shape
                        parts = self._parts(number, moves, option)
                    score = self._put(number, parts, option)
                    found[place, number * BATCH :][: len(score)] = _gain(score, self._wanted(number))
        return found

    def sharpness(self, option: Mixture, setting: Setting) -> float:
        """The factor by which the first people's targets are likeliest."""
        score = next(self.scores(option, setting))
        rows, targets = np.arange(len(score)), self._wanted(0)
        there = np.isfinite(score[rows, targets])
        likely = {one: float(log_softmax(one * score)[rows, targets][there].mean()) for one in SHARPNESS}
        return max(likely, key=lambda one: likely[one])

    def returning(self, option: Mixture, setting: Setting) -> tuple[np.ndarray, float]:
        """By how much each class of age is to move what people had, (`AGE_CLASSES`,), beside the others, and each log
        of the times."""
        sharpness = self.sharpness(option, setting)
        level = replace(option, repeat=(0.0,) * AGE_CLASSES)
        blocks = zip(self.scores(level, setting), self.held, strict=True)
        cells = np.concatenate([score[held.rows, held.items] for score, held in blocks])
        lift, often = learned(sharpness * cells, returning.joined(self.held, BATCH), self.targets)
        return lift / sharpness, often / sharpness

    def scores(self, option: Mixture, setting: Setting) -> Iterator[np.ndarray]:
        """What the option says of every item, (batch, items), before its sharpness."""
        for number, moves in enumerate(self._model.scores(self.users, setting, self.tables[option.smooth])):
            yield self._put(number, self._parts(number, moves, option), option)

    def _parts(self, number: int, moves: np.ndarray, option: Mixture) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of a batch without transitions and by them alone."""
        group = self.users[number * BATCH : (number + 1) * BATCH]
        spoken = self._logits[number].astype(np.float32)
        if option.content:
            spoken += np.float32(option.content) * next(content(self._texts, group, option.age, self._length))
        if option.linear:
            spoken += np.float32(option.linear) * next(linear.scores(self.together, group, option.memory, self._length))
        moved = moves * rare(self._model.counts, option.rarity) if option.rarity else moves
        return joined(spoken, moved, 0.0, self._floor), joined(spoken, moved, 1.0, self._floor)

    def _put(self, number: int, parts: tuple[np.ndarray, np.ndarray], option: Mixture) -> np.ndarray:
        nets_alone, other = parts
        score = np.float32(1 - option.share) * nets_alone + np.float32(option.share) * other
        if self.exclude_seen:
            forget(score, self.users[number * BATCH : (number + 1) * BATCH])
        elif any(option.repeat) or option.often:
            again(score, self.held[number], option.repeat, option.often)
        return np.asarray(score)

    def _wanted(self, number: int) -> np.ndarray:
        return self.targets[number * BATCH : (number + 1) * BATCH]


def blend(judge: Judge) -> tuple[Mixture, Setting, float]:
    """The mixture of the highest worth on validation with its setting of the transitions, and that worth; almost the
    transitions alone where that is not surely better (`SURE`): few people choose by chance among so many options.

    One thing is chosen after another. The age and the count of a history's items are weighed anew, since next to the
    nets the best weights are others. What was had before is moved by its age and times last, whatever mixture was
    chosen. Sharpness is what makes the targets likeliest, which no order depends on.
    """
    setting = judge.setting
    levels = (0.0,) if judge.exclude_seen else REPEATS
    best, value = Mixture(), -1.0

    def better(options: list[Mixture]) -> tuple[Mixture, float]:
        values = judge.gains(options, setting).mean(axis=1)
        place = int(values.argmax())
        return (options[place], float(values[place])) if values[place] > value else (best, value)

    best, value = better(
        [
            Mixture(share, smooth=smooth, repeat=(level,) * AGE_CLASSES)
            for share, smooth, level in product(SHARES, judge.tables, levels)
        ]
    )
    best, value = better([replace(best, content=weight) for weight in CONTENTS if weight != best.content])
    if best.content:
        best, value = better([replace(best, age=age) for age in AGES_OF_TEXTS if age != best.age])
    if best.share:
        best, value = better([replace(best, rarity=rarity) for rarity in RARITIES if rarity != best.rarity])
    for name in ("decay", "damping"):
        for choice in CHOICES[name]:
            candidate = replace(setting, **{name: choice})
            found = float(judge.gains([best], candidate).mean()) if candidate != setting and best.share else 0.0
            if found > value:
                setting, value = candidate, found
    best, value = better([replace(best, share=share) for share in SHARES if share != best.share])
    without, alone = best, judge.gains([best], setting)[0]
    if judge.together.nnz:
        shares = {*SHARES[::3], best.share}
        best, value = better([replace(best, linear=factor, share=share) for factor, share in product(LINEARS, shares)])
    if best.linear:
        best, value = better([replace(best, memory=memory) for memory in MEMORIES if memory != best.memory])
        best, value = better([replace(best, linear=factor) for factor in LINEARS if factor != best.linear])
        best, value = better([replace(best, share=share) for share in SHARES if share != best.share])
        if not _surely(judge.gains([best], setting)[0] - alone):
            best, value = without, float(alone.mean())
    plain = Mixture(SHARES[-1], repeat=best.repeat, content=0.0)
    beside = judge.gains([plain], judge.setting)[0]
    if not _surely(judge.gains([best], setting)[0] - beside):
        best, setting, value = plain, judge.setting, float(beside.mean())
    if not judge.exclude_seen:
        best, value = better([replace(best, repeat=(level,) * AGE_CLASSES) for level in REPEATS])
        without, alone = best, judge.gains([best], setting)[0]
        lift, often = judge.returning(best, setting)
        best, value = better(
            [
                replace(best, repeat=tuple((level + factor * lift).tolist()), often=factor * often)
                for level, factor in product(REPEATS, AGEINGS)
            ]
        )
        if not _surely(judge.gains([best], setting)[0] - alone):
            best, value = without, float(alone.mean())
    return replace(best, sharpness=judge.sharpness(best, setting)), setting, value


def _surely(gained: np.ndarray) -> bool:
    """Whether people's gains are above zero by more than chance."""
    return bool(gained.mean() > SURE * gained.std() / np.sqrt(len(gained)))


def _gain(score: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each target's worth, the mean of recall and NDCG, (batch,); of equal scores, the target's comes in the middle."""
    right = score[np.arange(len(score)), targets][:, None]
    place = (score > right).sum(axis=1) + ((score == right).sum(axis=1) - 1) / 2
    found = (place < K) & np.isfinite(right[:, 0])
    return np.where(found, 0.5 / np.log2(place + 2) + 0.5, 0.0).astype(np.float32)
