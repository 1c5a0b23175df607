"""Headline tests: ``python -m infra.evaluate headlines --train F --test F``.

Trains the click model of texts on one file's tests and measures, on another's, how often it knows the better of two
texts (same test, same image, click rates that differ at p < .05), and what it is worth to a bandit that chooses among
texts. What is measured is the artefact as it is served, with its int8 weights. Nothing is fitted on the test rows: the
bandits' constants, those of the baselines too, are found by replaying training tests that the predicting model had not
seen.

Baselines: the longer text; a pairwise logistic regression on TF-IDF. In the replay: an A/B test to the end, and the
same two bandits without predictions.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from infra.evaluate.replay import Setting, ab_test, lift_interval, policy, replay, tune
from infra.training.headline_tests import (
    Headlines,
    Pairs,
    Values,
    pairs,
    pairwise_accuracy,
    read_headlines,
    significant,
    winners,
)
from shared.models.text_clicks import TextClicks, relative

BUDGET = 1500.0  # seconds
TRAFFIC = {"0.03": 0.03, "0.1": 0.1, "1": 1.0}
REPETITIONS = {"0.03": 10, "0.1": 6, "1": 3}
TUNED_TESTS, TUNED_REPETITIONS = 400, 3
DRAWS = 2000  # of a bootstrap


def multipliers(headlines: Headlines, scores: NDArray[np.floating]) -> Values:
    """Predicted click rates of arms (arms,) beside their test's others, from log click rates (arms,)."""
    result = np.ones(len(headlines))
    starts = np.flatnonzero(np.diff(headlines.tests, prepend=-1, append=len(headlines.names)))
    for low, high in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        result[low:high] = relative(np.asarray(scores[low:high], np.float32))
    return result


def interval(scores: Values, headlines: Headlines, among: Pairs, seed: int) -> tuple[float, float]:
    """The 95 % interval of the pairwise accuracy: bootstrap over tests, since pairs of one test go together."""
    won = winners(headlines, among)
    apart = scores[among.first] - scores[among.second]
    right = np.where(apart == 0, 0.5, (apart > 0) == won)
    test = np.unique(headlines.tests[among.first], return_inverse=True)[1]
    hits, counts = np.bincount(test, right), np.bincount(test)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(DRAWS, len(counts)))
    low, high = np.percentile(hits[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def run(
    train_file: Path,
    test_file: Path,
    console: Console,
    *,
    seed: int = 0,
    budget_seconds: float | None = None,
    epochs: float | None = None,
    members: int | None = None,
) -> dict[str, Any]:
    """Trains and measures; see the module's docstring. epochs, members: see `headline_fit.fit`.

    Raises:
        ValueError: a file cannot be trained or measured on; the message says why.
    """
    began = time.monotonic()
    train, test = read_headlines(train_file), read_headlines(test_file)
    both = set(train.names) & set(test.names)
    if both:
        train = train.take([number for number, name in enumerate(train.names) if name not in both])
        console.print(f"{len(both):,} tests are in both files: they are not trained on", style="yellow")
    among = pairs(test)
    among = among.take(significant(test, among))
    if not len(among):
        raise ValueError(f"{test_file.name} has no pair of texts whose click rates differ significantly")
    # After the files have been read: importing torch takes seconds.
    from infra.training.headline_fit import MEMBERS, fit
    from infra.training.headline_linear import tfidf_scores
    from infra.training.headline_scorer import Lessons

    won = winners(test, among)
    lessons = Lessons.of(train)
    plain = tfidf_scores([train.texts[arm] for arm in lessons.arms], lessons, test.texts)
    with tempfile.TemporaryDirectory() as scratch:
        fitted = fit(
            train,
            Path(scratch) / "text-clicks",
            console=console,
            seed=seed,
            budget_seconds=(budget_seconds or BUDGET) * 0.85 - (time.monotonic() - began),
            epochs=epochs,
            members=members or MEMBERS,
        )
        scores = TextClicks.load(fitted.folder, threads=1).scores(test.texts).astype(np.float64)
    seen = set(train.texts)
    fresh = np.array([test.texts[one] not in seen and test.texts[other] not in seen for one, other in _both(among)])
    unseen = among.take(fresh)
    longer = np.array([len(text) for text in test.texts], np.float64)

    def rounded(values: Values) -> dict[str, float]:
        return {"pairwise_accuracy": round(pairwise_accuracy(values, among, won), 4)}

    with console.status("replaying tests"):
        replayed = _replay(train, test, fitted.held, fitted.scores, scores, fitted.stack.prior_clicks, seed)
    return {
        **rounded(scores),
        "pairs": len(among),
        "interval": interval(scores, test, among, seed),
        "tests": len(np.unique(test.tests[among.first])),
        "repeated_texts": len({text for text in test.texts if text in seen}),
        "pairwise_accuracy_of_new_texts": round(pairwise_accuracy(scores, unseen, winners(test, unseen)), 4),
        "held_out_in_training": fitted.figures,
        "prior_clicks": round(fitted.stack.prior_clicks, 1),
        "plan": {name: fitted.plan[name] for name in ("members", "layers", "epochs", "encoders", "ngram_weight")},
        "seconds_train": round(fitted.seconds, 1),
        "seconds": round(time.monotonic() - began, 1),
        "baselines": {"longer": rounded(longer), "tfidf": rounded(plain)},
        **replayed,
    }


def _both(among: Pairs) -> list[tuple[int, int]]:
    return list(zip(among.first.tolist(), among.second.tolist(), strict=True))


def _replay(
    train: Headlines,
    test: Headlines,
    held: Headlines,
    held_scores: Values,
    scores: Values,
    prior_clicks: float,
    seed: int,
) -> dict[str, Any]:
    """`replay` of the whole traffic, `replay_by_traffic`, and the constants found on held-out training tests."""
    usual = float(train.clicks.sum() / max(train.impressions.sum(), 1.0))
    order = np.random.default_rng(seed).permutation(len(held.names))[:TUNED_TESTS]
    some = held.take(order)
    known = multipliers(some, held_scores[np.isin(held.tests, order)])
    nothing, flat = np.ones(len(some)), np.ones(len(test))

    def best(choices: list[Setting], predicted: Values) -> Setting:
        shares = tuple(TRAFFIC.values())
        return tune(some, predicted, usual, choices, traffic=shares, seed=seed, repetitions=TUNED_REPETITIONS)

    thompson = [Setting("thompson", clicks, caution) for clicks in (5.0, 20.0) for caution in (0.5, 1.0)]
    ucb = [Setting("ucb", clicks, caution) for clicks in (5.0, 20.0, 50.0) for caution in (0.0, 0.5, 1.0, 1.5)]
    # Thompson sampling with the prediction is worth trying in the best of its settings without.
    settings = {"thompson": best(thompson, nothing), "ucb": best(ucb, nothing)}
    ours = [
        replace(one, prior_clicks=clicks) for one in settings.values() for clicks in (prior_clicks / 2, prior_clicks)
    ]
    ours += [
        Setting("ucb", prior_clicks * times, caution) for times in (0.25, 0.5, 1) for caution in (0.0, 0.5, 1.0, 1.5)
    ]
    settings["ours"] = best(list(dict.fromkeys(ours)), known)
    predicted = multipliers(test, scores)
    policies: dict[str, tuple[Callable[[Values, Values, Values], Values], Values]] = {
        name: (policy(settings[name], usual), predicted if name == "ours" else flat)
        for name in ("ours", "thompson", "ucb")
    }
    policies["ab_test"] = (ab_test, flat)
    by_traffic: dict[str, Any] = {}
    for share, traffic in TRAFFIC.items():
        found = replay(test, policies, traffic=traffic, seed=seed, repetitions=REPETITIONS[share])
        by_traffic[share] = {
            name: {
                "clicks": round(one.total, 1),
                "regret": round(one.regret, 4),
                "over_ab_test": round(one.total / found["ab_test"].total - 1, 4),
            }
            for name, one in found.items()
        }
        by_traffic[share]["ours_over"] = {
            name: [round(bound, 4) for bound in lift_interval(found["ours"], one, seed)]
            for name, one in found.items()
            if name != "ours"
        }
    whole = {
        name: {key: row[key] for key in ("clicks", "regret")}
        for name, row in by_traffic["1"].items()
        if name in policies
    }
    return {
        "replay": whole,
        "replay_by_traffic": by_traffic,
        "bandits": {name: asdict(setting) for name, setting in settings.items()},
    }
