"""Training with two processes, killed and gone on with: the same curve and the same head as one process undisturbed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from infra.training import export, loop
from tests.data import ROOT
from tests.integration import tiny_training

pytestmark = pytest.mark.slow
MODULE = "tests.integration.tiny_training"
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", MODULE, str(folder), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    with tiny_training.tiny():
        return tiny_training.train(folder / "alone")


def assert_alike(given: dict[str, Any], expected: dict[str, Any], relative: float) -> None:
    assert len(given["curve"]) == len(expected["curve"]) > 10
    for one, other in zip(given["curve"], expected["curve"], strict=True):
        assert one == pytest.approx(other, rel=relative, nan_ok=True)
    assert given["labels"] == expected["labels"]
    assert given["plan"]["ngram_weight"] == expected["plan"]["ngram_weight"]


def assert_same_weights(one: Path, other: Path, stage: str, most: float) -> None:
    first, second = (tiny_training.weights(folder, stage) for folder in (one, other))
    assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) > 0.9999
    assert np.abs(first - second).max() <= most


def test_two_processes_train_as_one_does(folder: Path, alone: dict[str, Any]) -> None:
    done = run(folder / "two", launcher=tuple(TWO))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert done.stderr.count("rows, 60 for choosing") == 1, "only the first process talks"
    result = json.loads(done.stdout)
    assert (result["plan"]["processes"], alone["plan"]["processes"]) == (2, 1)
    assert_alike(result, alone, 1e-4)
    for stage in ("choose", "refit"):
        assert_same_weights(folder / "two", folder / "alone", stage, 1e-3)


def test_a_process_that_dies_ends_the_other_and_one_alone_goes_on(folder: Path, alone: dict[str, Any]) -> None:
    lost = run(folder / "lost", "--die-at", "33", "--dying", "1", launcher=tuple(TWO))
    assert lost.returncode != 0
    assert "another one ended" in lost.stderr or "SIGTERM" in lost.stderr
    assert not (folder / "lost" / "head").exists()
    with tiny_training.tiny():
        result = tiny_training.train(folder / "lost")
    assert_alike(result, alone, 1e-4)


def test_a_killed_training_goes_on_where_it_was(folder: Path, alone: dict[str, Any]) -> None:
    step = random.Random(str(folder)).randrange(5, alone["plan"]["steps"])
    killed = run(folder / "killed", "--die-at", str(step))
    assert killed.returncode == -signal.SIGKILL
    left = sorted((folder / "killed" / "state" / "choose").iterdir())
    assert 1 <= len(left) <= 2, "the last two are kept"
    with tiny_training.tiny():
        result = tiny_training.train(folder / "killed")
    assert_alike(result, alone, 1e-9)
    for stage in ("choose", "refit"):
        assert_same_weights(folder / "killed", folder / "alone", stage, 0.0)


def test_a_training_with_a_time_budget_that_was_ended_goes_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    budget: dict[str, Any] = {"epochs": None, "budget_seconds": 300.0}
    takes = loop._Training._step

    def step_or_end(self: Any, share: float) -> None:
        if self.course.step == 30:
            raise KeyboardInterrupt
        takes(self, share)

    with monkeypatch.context() as patch, tiny_training.tiny():
        patch.setattr(loop._Training, "_step", step_or_end)
        with pytest.raises(KeyboardInterrupt):
            tiny_training.train(tmp_path, **budget)
    (*_, last) = sorted((tmp_path / "state" / "choose").iterdir())
    step = int(last.stem.partition("-")[2])
    assert 0 < step <= 30 and not (tmp_path / "state" / "refit").exists()
    # What a clock gave is in the state as plain numbers, or it could not be read.
    assert 0 < torch.load(last, weights_only=True)["course"]["elapsed"] < 300
    with tiny_training.tiny():
        tiny_training.train(tmp_path, **budget)
    said = capsys.readouterr().err
    assert re.findall(r"went on from step (\d+)", said) == [str(step)] and "begins anew" not in said


def test_other_settings_are_refused_unless_begun_anew(folder: Path, alone: dict[str, Any]) -> None:
    with tiny_training.tiny():
        with pytest.raises(ValueError, match="not the same: settings"):
            tiny_training.train(folder / "alone", seed=1)
        fresh = tiny_training.train(folder / "alone", seed=1, restart=True)
    assert fresh["curve"][-1]["loss"] != alone["curve"][-1]["loss"]


def test_a_head_whose_vectors_are_not_torchs_is_refused(folder: Path, alone: dict[str, Any]) -> None:
    assert alone["agreement"]["cosine"] > 0.99 and alone["agreement"]["least_cosine"] > 0.99
    texts = tiny_training.rows(8, 4).texts
    other = np.eye(8, 32, dtype=np.float32)
    with pytest.raises(export.Refused, match="cosine"):
        export.cosines(folder / "alone" / "head", ("model.onnx", "tokenizer.json"), ("query: ", 512), texts, other)
