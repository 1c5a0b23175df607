"""Trains a click model on impressions, measures it beside its baselines and writes its files.

The impressions are split by time: the first ones train, the next ones choose the number of steps and the calibration,
the last ones are only measured on. Learning begins at the untrained ranker's weights. An embedding is learned for the
ids with `MIN_SEEN` impressions or places in a history; it is dropped at random in training, so that the model has
learned to do without.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from infra.training import clicks_graph, distributed, loop
from infra.training.checkpoints import Checkpoints, digest
from infra.training.clicks_log import Impressions
from infra.training.clicks_metrics import figures, platt
from infra.training.clicks_net import RATE, ClickNet, ClickTask, Inputs, inputs, log_odds, predicted
from infra.training.frozen import device
from infra.training.recipe import Recipe
from shared.models.artifacts import sha256
from shared.models.click_model import FORMAT, GRAPH, SETTINGS, UNKNOWN, Ids, history_inputs
from shared.models.features import FEATURES, FIRST_POSITION, HISTORY_ITEMS, History
from shared.models.ranker import WEIGHTS, Ranker
from shared.models.sessions import open_session

Weights = Literal["none", "propensity"]
MIN_CLICKS = 200  # in the whole log: below it a rate is not known within a seventh, let alone what moves it
MIN_PART = 20  # clicks, and impressions without one, to choose on and to measure on
MIN_SEEN = 20  # times that an id is seen before it gets an embedding
TRAIN_SHARE, CHOOSE_SHARE = 0.8, 0.1
EPOCHS, BATCH = 8.0, 256
MOST_WEIGHT = 10.0
LARGEST_DIFFERENCE = 2e-3  # log-odds, between torch and the exported graph
CHECKED_DECISIONS = 50

_PRIOR = FEATURES.index("prior")


class Refused(ValueError):
    """There is no click model to be had from this log, or it would not be served as it was trained; why is said."""


@dataclass(frozen=True)
class Trained:
    """A trained click model. ids: those with an embedding, in its order. slope, bias: the calibration. metrics: for the
    manifest. curve: measurements in training."""

    net: ClickNet
    ids: tuple[str, ...]
    slope: float
    bias: float
    metrics: dict[str, Any]
    curve: list[dict[str, float]]


def parts(log: Impressions) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, to choose on and to measure on, in order of time; a decision is never divided."""
    row = np.arange(len(log))
    # Decisions are numbered as they come; where a later row belongs to an earlier decision it follows that one.
    bounds = [
        log.decision[min(int(len(log) * share), len(log) - 1)] for share in (TRAIN_SHARE, TRAIN_SHARE + CHOOSE_SHARE)
    ]
    first, second = log.decision < bounds[0], log.decision < bounds[1]
    return row[first], row[second & ~first], row[~second]


def train(
    log: Impressions,
    vectors: NDArray[np.float32],
    *,
    seed: int = 0,
    seconds: float = math.inf,
    epochs: float = EPOCHS,
    weights: Weights = "none",
    checkpoints: Path | None = None,
    restart: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Trains on the log. vectors: of `log.ids`, in the topic space, zeros where unknown, (ids, 384).

    weights: ``propensity`` weighs an impression by one over the propensity with which it was shown, at most
    `MOST_WEIGHT`, as if every candidate had been shown as often. What was chosen depends on logged columns alone, which
    the model sees, so that the click rate given the columns is unbiased without; it pays where the model is too simple
    for the log, at the price of variance. seconds: for the training, by the clock.

    Raises:
        Refused: too little to learn from. ValueError: the checkpoints are of another training.
    """
    chosen = parts(log)
    _check_enough(log, chosen)
    fit, choose, _ = chosen
    where = device()
    embedded, ids = _embedded(log, fit)
    weight = np.minimum(1 / log.propensity, MOST_WEIGHT) if weights == "propensity" else np.ones(len(log))
    whole = inputs(log, vectors, embedded, weight, where)
    torch.manual_seed(seed)
    net = ClickNet(len(ids), log.columns[fit], *_start(log, fit)).to(where)
    recipe = Recipe(
        layers=0,
        length=0,
        epochs=epochs,
        batch=BATCH,
        rate=RATE,
        ema=0.99,
        checks=max(2, round(2 * epochs)),
        patience=4,
    )
    batches = loop.planned_batches([1] * len(fit), recipe, seed)
    stage = None
    if checkpoints is not None:
        settings = asdict(recipe) | {"seed": seed, "weights": weights, "features": FEATURES}
        stage = Checkpoints(checkpoints, _fingerprint(log, vectors, settings), restart=restart).stage("clicks")
    outcome = loop.train(
        ClickTask(net, _rows(whole, fit), _rows(whole, choose), seed),
        batches,
        recipe,
        seconds=seconds,
        report=lambda one: say(f"{one.share:4.0%}  loss {one.loss:.4f}  later impressions {one.dev_loss:.4f}"),
        stage=stage,
    )
    odds = log_odds(net, whole).cpu().numpy().astype(np.float64)
    slope, bias = platt(log.clicked[choose], odds[choose])
    metrics = {
        **_measured(log, slope * odds + bias, chosen),
        "impressions": len(log),
        "clicks": log.clicks,
        "embedded_ids": len(ids),
        "epochs": round(outcome.reached * epochs, 2),
        "stopped": outcome.stopped,
        "calibration": {"slope": round(slope, 4), "bias": round(bias, 4)},
        "position_weight": round(float(net.position.detach()) * slope, 4),
        "weights": weights,
        "processes": distributed.size(),
        "seed": seed,
    }
    return Trained(net.cpu(), ids, slope, bias, metrics, [asdict(row) for row in outcome.curve])


def _check_enough(log: Impressions, chosen: tuple[NDArray[np.int64], ...]) -> None:
    if log.clicks < MIN_CLICKS:
        raise Refused(
            f"{log.clicks:,} clicks on {len(log):,} impressions are too few to learn from: {MIN_CLICKS} are needed"
        )
    for name, rows in zip(("train on", "choose on", "measure on"), chosen, strict=True):
        clicks = int(log.clicked[rows].sum())
        if min(clicks, len(rows) - clicks) < MIN_PART:
            raise Refused(
                f"the impressions to {name} have {clicks:,} clicks among {len(rows):,}: {MIN_PART} with and "
                f"{MIN_PART} without one are needed"
            )


def _embedded(log: Impressions, fit: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Each id's row among the embeddings, and the ids that have one."""
    held = log.history[np.unique(log.decision[fit])]
    seen = np.bincount(log.ad[fit], minlength=len(log.ids)) + np.bincount(held[held >= 0], minlength=len(log.ids))
    often = np.flatnonzero(seen >= MIN_SEEN)
    rows = np.full(len(log.ids), UNKNOWN, np.int64)
    rows[often] = np.arange(1, len(often) + 1)
    return rows, tuple(log.ids[place] for place in often)


def _start(log: Impressions, fit: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """The untrained ranker, calibrated: what is known before the first click, and where learning begins."""
    slope, bias = platt(log.clicked[fit], Ranker().log_odds_of(log.columns[fit]).astype(np.float64))
    weights = {**WEIGHTS, "prior": 1.0}
    return slope * np.array([weights.get(name, 0.0) for name in FEATURES]), bias


def _rows(whole: Inputs, rows: NDArray[np.int64]) -> Inputs:
    """Some of the impressions; the decisions and vectors stay."""
    places = torch.as_tensor(rows, device=whole.text.device)
    own = {name: getattr(whole, name)[places] for name in ("text", "row", "decision", "columns", "clicked", "weight")}
    return Inputs(**(vars(whole) | own))


def _fingerprint(log: Impressions, vectors: NDArray[np.float32], settings: dict[str, Any]) -> dict[str, str]:
    arrays = (log.columns, log.clicked, log.ad, log.history, log.ages, log.propensity)
    hashes = [hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in (*arrays, vectors)]
    return {"log": digest([*log.ids, *hashes]), "settings": json.dumps(settings, sort_keys=True)}


def _measured(log: Impressions, odds: NDArray[np.float64], chosen: tuple[NDArray[np.int64], ...]) -> dict[str, Any]:
    """On the last impressions: ours and the baselines', which are calibrated on the same rows as ours; the same for
    ads and people that training never saw, where there are enough; and a warning where a baseline is as good."""
    fit, choose, test = chosen
    rivals: dict[str, NDArray[np.float64]] = {}
    for name, score in (
        ("prior", log.columns[:, _PRIOR].astype(np.float64)),
        ("content", Ranker().log_odds_of(log.columns).astype(np.float64)),
    ):
        slope, bias = platt(log.clicked[choose], score[choose])
        rivals[name] = slope * score + bias
    groups = {
        "all": np.ones(len(test), bool),
        "known": np.isin(log.ad[test], log.ad[fit]) & np.isin(log.person[test], log.person[fit]),
        "new_ads": ~np.isin(log.ad[test], log.ad[fit]),
        "new_people": (log.person[test] >= 0) & ~np.isin(log.person[test], log.person[fit]),
    }
    result: dict[str, Any] = {}
    for group, members in groups.items():
        rows = test[members]
        clicks = int(log.clicked[rows].sum())
        if min(clicks, len(rows) - clicks) >= MIN_PART:
            result[group] = figures(log.clicked[rows], odds[rows], log.person[rows]) | {
                "baselines": {
                    name: figures(log.clicked[rows], score[rows], log.person[rows]) for name, score in rivals.items()
                }
            }
    ours = result["all"]
    beaten = [name for name, row in ours["baselines"].items() if row["logloss"] <= ours["logloss"]]
    if beaten:
        result["warning"] = f"no better than {' and '.join(beaten)} on the last impressions (log loss)"
    return result


def write(trained: Trained, folder: Path) -> None:
    """Writes `clicks.onnx` and `clicks.json` into `folder`; the manifest is the caller's."""
    clicks_graph.write(trained.net, trained.slope, trained.bias, folder / GRAPH)
    settings = {
        "format": FORMAT,
        "features": list(FEATURES),
        "history_items": HISTORY_ITEMS,
        "position": FIRST_POSITION,
        "graph": sha256(folder / GRAPH),
        "ids": list(trained.ids),
    }
    (folder / SETTINGS).write_text(json.dumps(settings, ensure_ascii=False) + "\n", encoding="utf-8")


def check(trained: Trained, log: Impressions, vectors: NDArray[np.float32], folder: Path) -> float:
    """The largest difference between the written graph's log-odds and torch's, on the log's last decisions.

    Raises:
        Refused: it is above `LARGEST_DIFFERENCE`.
    """
    ids, session = Ids(trained.ids), open_session(folder / GRAPH, 1)
    embedded = ids.rows(log.ids)
    whole = inputs(log, vectors, embedded, np.ones(len(log)), torch.device("cpu"))
    worst = 0.0
    trained.net.eval()
    for decision in np.unique(log.decision)[-CHECKED_DECISIONS:].tolist():
        rows = np.flatnonzero(log.decision == decision)
        places = log.history[decision][log.history[decision] >= 0]
        history = History(tuple(log.ids[place] for place in places), vectors[places], log.ages[decision][: len(places)])
        given = history_inputs(history, ids) | {
            "vectors": vectors[log.ad[rows]],
            "rows": embedded[log.ad[rows]],
            "columns": log.columns[rows],
        }
        with torch.no_grad():
            theirs = predicted(trained.net, whole, torch.as_tensor(rows)).numpy()
        ours = session.run(["log_odds"], given)[0]
        worst = max(worst, float(np.abs(ours - (trained.slope * theirs + trained.bias)).max()))
    if not worst <= LARGEST_DIFFERENCE:
        raise Refused(f"the exported graph's log-odds differ from torch's by {worst:.4f}")
    return worst
