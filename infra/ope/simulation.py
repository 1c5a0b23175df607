"""Simulated decision logs with known truth: do the estimates find it, and do the intervals cover it?

    python -m infra.ope.simulation --repetitions 300 --decisions 5000

People, ads and click probabilities are made up, slates come from the very policy that serves (`shared.exploration`),
clicks are examination times relevance. Each repetition draws decisions from a population whose true value per decision
is known exactly. Prints, by estimator, the mean relative error, the mean length of the intervals and how many cover.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from infra.ope.estimators import Bounds, choose_clip, differences, estimates
from infra.ope.intervals import bca, by_person, normal, studentised
from infra.ope.policies import chances_of
from infra.ope.slates import CLICK_MODELS, ClickModelName, SlateLog, cross_fit, evidence
from shared.exploration import Traits, slate

METHODS: Mapping[str, Bounds] = {
    "studentised": studentised,
    "bca": bca,
    "normal": lambda functional, _: normal(functional),
}


@dataclass(frozen=True, slots=True)
class World:
    """A population of N decisions of C candidates and S slots. chances, target: (N, C, S), of the logged policy and of
    another; own: (N, S, 1 + pool) places by slot; picks: their probabilities; clicks: (N, C, S) probabilities;
    signals: what the two rankers say, (N, C) log probabilities; rotation: of the logged policy."""

    chances: np.ndarray
    target: np.ndarray
    own: np.ndarray
    picks: np.ndarray
    clicks: np.ndarray
    signals: tuple[np.ndarray, np.ndarray]
    rotation: float

    @property
    def truth(self) -> float:
        """Expected clicks of a decision under the other policy."""
        return float((self.target * self.clicks).sum(axis=(1, 2)).mean())

    @property
    def logged_truth(self) -> float:
        return float((self.chances * self.clicks).sum(axis=(1, 2)).mean())

    def draw(
        self, decisions: int, rng: np.random.Generator, per_person: float = 1.0
    ) -> tuple[SlateLog, np.ndarray, np.ndarray]:
        """A log of that many decisions, which of the population they are (with repetition), and whose, from 0.

        per_person: decisions of one person, on average; they are alike but for chance.
        """
        each = rng.geometric(1 / per_person, size=decisions) if per_person > 1 else np.ones(decisions, dtype=np.int64)
        people = np.repeat(np.arange(decisions), each)[:decisions]
        which = rng.integers(len(self.chances), size=decisions)[people]
        slots = self.own.shape[1]
        mark = rng.random((decisions, slots, 1))
        pick = (mark > np.cumsum(self.picks[which], axis=2)[:, :, :-1]).sum(axis=2)
        shown = np.take_along_axis(self.own[which], pick[:, :, None], axis=2)[:, :, 0]
        turn = np.where(rng.random(decisions) < self.rotation, rng.integers(slots, size=decisions), 0)
        shown = np.take_along_axis(shown, (np.arange(slots) - turn[:, None]) % slots, axis=1)
        chance = self.clicks[which[:, None], shown, np.arange(slots)]
        clicks = (rng.random(shown.shape) < chance).astype(np.float64)
        return SlateLog(self.chances[which], shown, clicks), which, people


def make_world(
    decisions: int = 1500,
    *,
    ads: int = 60,
    slots: int = 4,
    rate: float = 0.05,
    epsilon: float = 0.2,
    rotation: float = 0.1,
    skill: tuple[float, float] = (0.5, 0.9),
    temper: float = 0.0,
    seed: int = 0,
) -> World:
    """A population. rate: about the click rate in the first slot. skill: correlation of either ranker's log odds with
    the true ones. temper: how much people differ in how readily they click at all (log odds), which no ranker knows.
    """
    rng = np.random.default_rng(seed)
    people, tastes = rng.normal(size=(decisions, 8)), rng.normal(size=(ads, 8))
    true_odds = np.log(rate / (1 - rate)) - 1 + 0.35 * people @ tastes.T + 0.3 * rng.normal(size=ads)
    examination = 1 / np.log2(np.arange(slots) + 2.0)
    spread = true_odds.std()
    middle = true_odds.mean()
    said = [
        middle + one * (true_odds - middle) + spread * np.sqrt(one * (1 - one)) * rng.normal(size=true_odds.shape)
        for one in skill
    ]
    scores = [1 / (1 + np.exp(-odds)) for odds in said]
    if temper:
        true_odds = true_odds + temper * rng.normal(size=(decisions, 1))
    traits = [Traits({}) for _ in range(ads)]
    made: list[tuple[np.ndarray, ...]] = []
    for person in range(decisions):
        order = np.argsort(-scores[0][person], kind="stable")
        logged = slate(scores[0][person][order], traits, slots, epsilon=epsilon, rotation=rotation)
        kept = order[[place for place, _ in logged.places()]]
        own = np.arange(len(kept)).reshape(slots, -1)
        picks = np.array([list(one.values()) for one in logged.chances])
        chances = np.zeros((len(kept), slots))
        for at, (place, _) in enumerate(logged.places()):
            chances[at] = [logged.propensity(place, slot) for slot in range(slots)]
        target = chances_of(scores[1][person][kept], [Traits({})] * len(kept), slots, epsilon, rotation)
        true = 1 / (1 + np.exp(-true_odds[person][kept]))
        signals = [np.log(one[person][kept]) for one in scores]
        made.append((chances, target, own, picks, true[:, None] * examination, *signals))
    chances, target, own, picks, clicks, first, second = (np.stack(one) for one in zip(*made, strict=True))
    return World(chances, target, own, picks, clicks, (first, second), rotation)


@dataclass(frozen=True, slots=True)
class Found:
    """Of one estimator over the repetitions: mean error and mean length, relative to the truth; share that covers."""

    bias: float
    length: float
    covers: float


def study(
    world: World,
    repetitions: int,
    decisions: int,
    click_model: ClickModelName,
    methods: Mapping[str, Bounds],
    *,
    per_person: float = 1.0,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, Found]]:
    """By method and estimator (``dr``, ``difference dr``, …): what `repetitions` logs gave. Where people decide more
    than once, each method also over people."""
    truth, gain = world.truth, world.truth - world.logged_truth
    seen: dict[tuple[str, str], list[tuple[float, float, bool]]] = {}
    for repetition in range(repetitions):
        log, which, people = world.draw(decisions, np.random.default_rng([seed, repetition]), per_person)
        rewards = cross_fit(log, [one[which] for one in world.signals], people=people, seed=repetition)
        other = evidence(log, world.target[which], rewards, click_model)
        own = evidence(log, log.chances, rewards, click_model)
        clips = choose_clip(other), choose_clip(own)
        tried = dict(methods)
        if per_person > 1:
            tried |= {f"{name}, by person": _by_person(bounds, people) for name, bounds in methods.items()}
        for method, bounds in tried.items():
            found = estimates(other, clips[0], seed=seed, bounds=bounds)
            paired = differences(other, own, clips, seed=seed, bounds=bounds)
            for name, one in found.items():
                hit = one.low <= truth <= one.high
                seen.setdefault((method, name), []).append((one.estimate / truth - 1, one.width / truth, hit))
            for name, between in paired.items():
                hit = between.low <= gain <= between.high
                error = (between.estimate - gain) / truth
                length = (between.high - between.low) / truth
                seen.setdefault((method, f"difference {name}"), []).append((error, length, hit))
        tell(repetition)
    answer: dict[str, dict[str, Found]] = {}
    for (method, name), rows in seen.items():
        bias, length, covers = (float(np.mean(column)) for column in zip(*rows, strict=True))
        answer.setdefault(method, {})[name] = Found(bias, length, covers)
    return answer


def _by_person(bounds: Bounds, people: np.ndarray) -> Bounds:
    return lambda functional, seed: bounds(by_person(functional, people), seed)


def main(
    repetitions: Annotated[int, typer.Option(min=1)] = 300,
    decisions: Annotated[int, typer.Option(min=10)] = 5000,
    rate: Annotated[float, typer.Option(min=0.0001, max=0.9, help="click rate, about")] = 0.05,
    per_person: Annotated[float, typer.Option(min=1, help="decisions of one person, on average")] = 1.0,
    temper: Annotated[float, typer.Option(min=0, help="how much people differ in how readily they click")] = 0.0,
    click_model: Annotated[str | None, typer.Option(help=f"{' or '.join(CLICK_MODELS)}; both by default")] = None,
    all_methods: Annotated[bool, typer.Option(help="the intervals that were not chosen, too")] = False,
    seed: int = 0,
) -> None:
    """Measures the estimators on simulated logs."""
    began = time.monotonic()
    world = make_world(rate=rate, temper=temper, seed=seed)
    methods = METHODS if all_methods else {"studentised": studentised}
    table = Table("click model", "interval", "estimator", "bias", "length", "covers")
    answer: dict[str, object] = {"truth": world.truth, "logged_truth": world.logged_truth}
    console = Console(stderr=True)
    with console.status("simulating"):
        for model in CLICK_MODELS:
            if click_model not in (None, model):
                continue
            found = study(world, repetitions, decisions, model, methods, per_person=per_person, seed=seed)
            for method, rows in found.items():
                for name, one in rows.items():
                    figures = f"{one.bias:+.4f}", f"{one.length:.3f}", f"{one.covers:.3f}"
                    table.add_row(model, method, name, *figures)
                    answer[f"{model}/{method}/{name}"] = [round(one.bias, 5), one.length, one.covers]
    console.print(table)
    answer |= {"repetitions": repetitions, "decisions": decisions, "seconds": round(time.monotonic() - began, 1)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    typer.run(main)
