"""The sequence net: its graph, its batches, its loss, and several processes with one loss curve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from infra.training import sequence
from infra.training.next_item_graph import graph
from infra.training.sequence import Net, Plan, batches, pieces, queries, representations
from tests.data import ROOT

pytestmark = pytest.mark.slow

PLAN = Plan(width=16, content=8, layers=2, heads=2, length=12, batch=16, epochs=3, sample=40)


def histories(count: int = 90, items: int = 30) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [(int(generator.integers(items)) + np.arange(int(generator.integers(2, 12)))) % items for _ in range(count)]


def reduced(items: int = 30) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(items, 8)).astype(np.float32)


def test_the_graph_is_the_net() -> None:
    torch.manual_seed(0)
    net = Net(reduced(), PLAN).eval()
    with torch.no_grad():
        for layer in net.layers:
            torch.nn.init.normal_(layer.distance)
    session = onnxruntime.InferenceSession(graph(net).SerializeToString(), providers=["CPUExecutionProvider"])
    table = representations(net)
    taken = [np.arange(length) for length in (1, 2, 7, PLAN.length)]
    for history, expected in zip(taken, queries(net, table, taken), strict=True):
        np.testing.assert_allclose(session.run(None, {"history": table[history]})[0], expected, atol=1e-4)


def test_what_comes_later_is_not_seen() -> None:
    torch.manual_seed(0)
    net = Net(reduced(), PLAN).eval()
    first, second = torch.randn(1, 6, 16), torch.randn(1, 6, 16)
    mixed = torch.cat([first[:, :4], second[:, 4:]], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(net.queries(first)[:, :4], net.queries(mixed)[:, :4])
        assert not torch.allclose(net.queries(first)[:, 5], net.queries(mixed)[:, 5])


def test_a_full_sample_gives_the_softmax_over_all_items() -> None:
    torch.manual_seed(0)
    net = Net(reduced(), PLAN).eval()
    inputs, targets = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[2, 3, 7], [5, 6, 0]])
    real = torch.tensor([[True, True, True], [True, True, False]])
    with torch.no_grad():
        everything = net.represent(torch.arange(30))
        logits = net.queries(everything[inputs]) @ everything.T
        expected = torch.nn.functional.cross_entropy(logits[real], targets[real], reduction="sum")
        found = net(inputs, targets, real, torch.arange(30))
    # The sample holds each target too, which the loss leaves out: 29 others stand for 29.
    correction = np.log(29 / 30)
    by_hand = 0.0
    for row, target in zip(logits[real], targets[real], strict=True):
        others = torch.cat([row[:target], row[target + 1 :]])
        by_hand += float(torch.logaddexp(torch.logsumexp(others, 0) + correction, row[target]) - row[target])
    assert float(found) == pytest.approx(by_hand, rel=1e-4)
    assert float(found) == pytest.approx(float(expected), rel=0.02)


def test_long_histories_are_cut_so_that_every_step_is_taught_once() -> None:
    history = np.arange(100)
    for seed in range(5):
        cut = pieces([history], 12, np.random.default_rng(seed))
        assert all(2 <= len(piece) <= 13 for piece in cut)
        steps = sorted((int(a), int(b)) for piece in cut for a, b in pairwise(piece))
        assert len(steps) == len(set(steps))
        assert all(b == a + 1 for a, b in steps)
        assert len(steps) >= 99 - 6  # those behind the random end wait for another epoch
    assert pieces([np.array([3])], 12, np.random.default_rng(0)) == []


def test_a_batch_pairs_each_item_with_the_next() -> None:
    taken = histories()
    pairs = 0
    for inputs, targets, real in batches(taken, PLAN, np.random.default_rng(0)):
        assert ((targets - inputs)[real] % 30 == 1).all()
        pairs += int(real.sum())
    assert pairs == sum(len(history) - 1 for history in taken)


def test_a_training_learns_what_follows_and_keeps_its_best_state() -> None:
    taken = histories(300)
    worth: list[float] = []

    def value(net: Net) -> float:
        table = representations(net)
        after = queries(net, table, [history[:-1] for history in taken])
        worth.append(float(((after @ table.T).argmax(axis=1) == [history[-1] for history in taken]).mean()))
        return worth[-1]

    plan = Plan(width=32, content=8, layers=1, length=12, batch=32, epochs=24, sample=30, rate=1e-2, dropout=0.0)
    net, course = sequence.train(reduced(), taken, plan, seed=0, value=value)
    assert max(worth) > 0.9
    assert course.best == max(worth)
    kept = representations(net)
    after = queries(net, kept, [history[:-1] for history in taken])
    assert ((after @ kept.T).argmax(axis=1) == [history[-1] for history in taken]).mean() == course.best
    again, second = sequence.train(reduced(), taken, plan, seed=0, repeat=course)
    assert second.steps == course.steps
    np.testing.assert_allclose(representations(again), kept, atol=1e-4)  # the same steps, the same net


def test_steps_that_there_is_no_time_for_are_given_up_early() -> None:
    taken = histories(300)
    plan = Plan(width=16, content=8, layers=1, length=12, batch=32, epochs=1, sample=30)
    _, course = sequence.train(reduced(), taken, plan, seed=0)
    never = replace(course, steps=10**9, planned=10**9)
    began = time.monotonic()
    _, found = sequence.train(reduced(), taken, plan, seed=0, repeat=never, seconds=3600)
    assert found.steps < 10**5 and time.monotonic() - began < 600
    _, found = sequence.train(reduced(), taken, plan, seed=0, repeat=course, seconds=3600)
    assert found.steps == course.steps


def test_an_item_that_nobody_took_is_its_text() -> None:
    plan = Plan(width=16, content=8, layers=1, length=12, batch=32, epochs=1, sample=20)
    net, _ = sequence.train(reduced(40), histories(), plan, seed=0)
    assert not net.ids.weight[30:].any()
    assert net.ids.weight[:30].any(dim=1).all()


SCRIPT = """
import json, sys
import torch
from infra.training import distributed, sequence
from tests.unit.test_next_item_sequence import histories, reduced
from dataclasses import replace
from tests.unit.test_next_item_sequence import PLAN
torch.set_num_threads(1)
with distributed.joined():
    plan = replace(PLAN, dropout=0.0, id_dropout=0.0)
    _, course = sequence.train(reduced(), histories(), plan, seed=0)
    if distributed.is_first():
        print(json.dumps(course.curve))
"""


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    curves = []
    for processes in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        done = subprocess.run(
            [*command, str(script)], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        curves.append(json.loads(done.stdout.strip().splitlines()[-1]))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
