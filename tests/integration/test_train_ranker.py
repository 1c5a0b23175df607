"""A ranker trained on the log of a world whose click probabilities are known, as one process, two, and killed."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

from infra.training import clicks_log, clicks_metrics, clicks_training, simulated_clicks
from infra.training.checkpoints import Stage
from infra.training.clicks_log import Impressions
from infra.training.simulated_clicks import World, simulate
from shared.models.artifacts import write_manifest
from shared.models.click_model import ClickModel
from shared.models.features import Candidates
from tests.data import ROOT, artifact


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Made:
    """A world's log: its file, its lines, its impressions with their true log-odds, and the vectors of its ids."""

    world: World
    path: Path
    lines: list[dict[str, Any]]
    log: Impressions
    truth: np.ndarray
    vectors: np.ndarray


def make(folder: Path, decisions: int, **world: Any) -> Made:
    made = World.make(**world)
    pairs = list(simulate(made, decisions=decisions))
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line, _ in pairs))
    log, told = clicks_log.read([path])
    assert not told.bad
    true = {
        (line["slots"][place]["impression_at"], line["slots"][place]["ad_id"]): chance
        for line, chances in pairs
        for place, chance in enumerate(chances)
    }
    chance = np.array([true[at, log.ids[ad]] for at, ad in zip(log.at.tolist(), log.ad.tolist(), strict=True)])
    vectors = made.vectors[[int(name.rpartition("-")[2]) for name in log.ids]]
    return Made(made, path, [line for line, _ in pairs], log, np.log(chance / (1 - chance)), vectors)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("small"), 1200, ads=40, people=60, days=12.0)


def test_the_simulated_log_is_what_it_says(small: Made) -> None:
    again = next(iter(simulate(small.world, decisions=1200)))[0]
    assert again == small.lines[0]
    slope, bias = clicks_metrics.platt(small.log.clicked, small.truth)
    assert slope == pytest.approx(1.0, abs=0.2)
    assert bias == pytest.approx(0.0, abs=0.35)
    for line in small.lines[:50]:
        for place in (1, 2, 3):
            chances = [one["propensity"] for one in line["candidates"] if one["slot"] == place]
            assert sum(chances) == pytest.approx(1.0)
        logged = {one["ad_id"]: one for one in line["candidates"]}
        for slot in line["slots"]:
            own, turned = logged[slot["ad_id"]], line["rotation"]
            expected = own["propensity"] * ((1 - turned) * (own["slot"] == slot["slot"]) + turned / 3)
            assert slot["propensity"] == pytest.approx(expected)
    replaced = [
        slot["ad_id"] not in {one["ad_id"] for one in line["candidates"] if one["base"]}
        for line in small.lines
        for slot in line["slots"]
    ]
    assert np.mean(replaced) == pytest.approx(0.3, abs=0.04)


def test_the_command_writes_the_log_that_is_simulated(tmp_path: Path) -> None:
    simulated_clicks.main(tmp_path, decisions=30, ads=30, people=9, days=5.0)
    pairs = list(simulate(World.make(ads=30, people=9, days=5.0), decisions=30))
    with gzip.open(tmp_path / "log.jsonl.gz") as file:
        assert [orjson.loads(row) for row in file] == [line for line, _ in pairs]
    true = [orjson.loads(row)["clicks"] for row in (tmp_path / "truth.jsonl").read_bytes().splitlines()]
    assert true == [chances for _, chances in pairs]
    assert len((tmp_path / "ads.jsonl").read_bytes().splitlines()) == 30


def test_a_small_log_trains_a_model_that_serves_as_it_was_measured(small: Made, tmp_path: Path) -> None:
    trained = clicks_training.train(small.log, small.vectors, epochs=3.0)
    losses = [row["dev_loss"] for row in trained.curve]
    assert min(losses) < losses[0] - 0.002
    assert trained.metrics["epochs"] == pytest.approx(3.0 * trained.curve[int(np.argmin(losses))]["share"], abs=0.01)
    clicks_training.write(trained, tmp_path)
    assert clicks_training.check(trained, small.log, small.vectors, tmp_path) < 1e-4
    write_manifest(tmp_path, "ranker", "ranker", metadata={"clicks": trained.metrics})
    model = ClickModel.load(tmp_path)
    line = small.lines[-1]
    columns = np.array([one["features"] for one in line["candidates"]], np.float32)
    ids = [one["ad_id"] for one in line["candidates"]]
    vectors = small.world.vectors[[int(name.rpartition("-")[2]) for name in ids]]
    odds = model.log_odds(Candidates(ids, vectors, columns), simulated_clicks.history_of(small.world, line))
    rate = small.log.clicked.mean()
    assert 0.2 * rate < (1 / (1 + np.exp(-odds))).mean() < 5 * rate


def test_a_graph_that_differs_from_torch_is_refused(small: Made, tmp_path: Path) -> None:
    trained = clicks_training.train(small.log, small.vectors, epochs=0.2)
    clicks_training.write(trained, tmp_path)
    with torch.no_grad():
        trained.net.wide.bias.add_(0.1)
    with pytest.raises(clicks_training.Refused, match="differ from torch's"):
        clicks_training.check(trained, small.log, small.vectors, tmp_path)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_killed_training_goes_on_to_the_same_model(
    small: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = clicks_training.train(small.log, small.vectors, epochs=1.5)
    save, saved = Stage.save, []

    def save_and_die(stage: Stage, step: int, state: dict[str, Any]) -> None:
        save(stage, step, state)
        saved.append(step)
        if len(saved) == 2:
            raise Killed

    monkeypatch.setattr(Stage, "save", save_and_die)
    with pytest.raises(Killed):
        clicks_training.train(small.log, small.vectors, epochs=1.5, checkpoints=tmp_path)
    resumed = clicks_training.train(small.log, small.vectors, epochs=1.5, checkpoints=tmp_path)
    assert saved[1] > 0
    assert resumed.metrics == whole.metrics
    with pytest.raises(ValueError, match=r"another training .*settings"):
        clicks_training.train(small.log, small.vectors, epochs=2.0, checkpoints=tmp_path)


def test_propensities_weigh_what_was_seldom_shown(small: Made) -> None:
    plain = clicks_training.train(small.log, small.vectors, epochs=0.5)
    weighed = clicks_training.train(small.log, small.vectors, epochs=0.5, weights="propensity")
    assert weighed.metrics["weights"] == "propensity"
    assert weighed.curve[0]["dev_loss"] != pytest.approx(plain.curve[0]["dev_loss"], rel=1e-3)


@pytest.mark.slow
def test_it_recovers_the_truth_and_serves_new_ads_and_people(tmp_path: Path) -> None:
    made = make(tmp_path, 7000, ads=80, people=300, late=0.4)
    trained = clicks_training.train(made.log, made.vectors)
    test = clicks_training.parts(made.log)[2]
    oracle = clicks_metrics.figures(made.log.clicked[test], made.truth[test])
    metrics = trained.metrics
    ours, rivals = metrics["all"], metrics["all"]["baselines"]
    assert oracle["auc"] is not None
    assert ours["auc"] > oracle["auc"] - 0.03
    assert ours["auc"] > rivals["prior"]["auc"] + 0.05
    assert ours["logloss"] < min(row["logloss"] for row in rivals.values())
    assert ours["ece"] < 0.05
    for group in ("new_ads", "new_people"):
        assert metrics[group]["auc"] > metrics[group]["baselines"]["prior"]["auc"] + 0.03
    assert metrics["position_weight"] < -0.1
    assert "warning" not in metrics


COMMAND = ["-m", "infra.training.train_ranker"]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.mark.slow
def test_the_command_with_two_processes_trains_as_with_one(small: Made, tmp_path: Path) -> None:
    artifact("encoder")
    artifact("taxonomy-adproduct")
    ads = tmp_path / "ads.jsonl"
    ads.write_text("".join(json.dumps(ad) + "\n" for ad in small.world.ads()))
    given = ["--ads", str(ads), "--epochs", "1", "--cache", str(tmp_path / "vectors")]
    documents = []
    for name, launcher in (("one", []), ("two", TWO)):
        done = run(*launcher, *COMMAND, "--decisions", str(small.path), *given, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        assert done.stderr.count("On the log's last impressions") == 1, "only the first process talks"
        ClickModel.load(tmp_path / name)
        documents.append(orjson.loads((tmp_path / name / "manifest.json").read_bytes())["metadata"]["clicks"])
    one, two = documents
    assert (one["processes"], two["processes"]) == (1, 2)
    assert len(one["curve"]) > 2
    for first, second in zip(one["curve"], two["curve"], strict=True):
        assert first["dev_loss"] == pytest.approx(second["dev_loss"], rel=1e-4)
    losses = [[row["loss"] for row in document["curve"][1:]] for document in documents]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert one["log"]["ids_without_content"] == 0
    assert len(list((tmp_path / "vectors").glob("*.npy"))) == 1
