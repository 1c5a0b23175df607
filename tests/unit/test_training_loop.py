"""The parts of the training engine, each on numbers small enough to check by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertModel

from infra.training import finetune, loop
from infra.training.checkpoints import Checkpoints, Stage
from infra.training.layers import Drop, Layer, attention_bias
from infra.training.loop import Average, Batch, Measured, Progress
from infra.training.recipe import Recipe, choose
from infra.training.train_classifier import only_file

pytestmark = pytest.mark.slow

RECIPE = Recipe(layers=1, length=8, epochs=2, batch=4, rate=0.05, checks=4, weight_decay=0.0)


# Layers -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert() -> Any:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48)
    layer = BertModel(config, add_pooling_layer=False).eval().encoder.layer[0]
    for value in layer.parameters():  # biases of zero would hide a mistake
        nn.init.normal_(value, std=0.3)
    return layer


def test_the_layer_is_berts(bert: Any) -> None:
    hidden = torch.randn(3, 7, 32)
    mask = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    ours = Layer.of(bert)(hidden, attention_bias(mask))
    theirs = bert(hidden, mask[:, None, None, :])
    torch.testing.assert_close(ours[mask], theirs[mask], atol=1e-5, rtol=1e-4)


def test_the_layers_weights_go_back_under_berts_names(bert: Any) -> None:
    weights = Layer.of(bert).weights()
    state = bert.state_dict()
    assert set(weights) == set(state)
    assert all(np.array_equal(weights[name], state[name].numpy()) for name in state)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 9),
    cut=st.floats(0, 1),
    width=st.integers(1, 40),
    step=st.integers(0, 10**6),
    site=st.integers(0, 3),
)
def test_a_part_of_a_batch_drops_what_the_whole_does(rows: int, cut: float, width: int, step: int, site: int) -> None:
    first = int(cut * rows)
    whole, part = (Drop(0.3, (7, step, 0), low, rows) for low in (0, first))
    values = torch.ones(rows, width, 3)
    for _ in range(site):
        whole(values), part(values[first:])
    assert torch.equal(whole(values)[first:], part(values[first:]))


@pytest.mark.parametrize("other", [(8, 1, 0), (7, 2, 0), (7, 1, 1)])
def test_dropout_differs_by_seed_step_and_pass_and_keeps_the_mean(other: tuple[int, int, int]) -> None:
    values = torch.ones(64, 50, 8)
    one = Drop(0.1, (7, 1, 0), 0, 64)
    first, second = one(values), one(values)
    elsewhere = Drop(0.1, other, 0, 64)(values)
    assert first.mean().item() == pytest.approx(1.0, abs=0.01)
    assert (first == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    for different in (second, elsewhere):
        assert 0.15 < (first != different).float().mean().item() < 0.21


# The loop -----------------------------------------------------------------------------------------------------------


class Line:
    """A line through points: the loss is the mean squared error. A check every quarter; its losses can be given."""

    def __init__(self, points: int = 20, measured: list[float] | None = None) -> None:
        self.module = nn.Linear(1, 1)
        with torch.no_grad():
            self.module.weight.fill_(0.0), self.module.bias.fill_(0.0)
        self.x = torch.linspace(-1, 1, points)[:, None]
        self.y = 2 * self.x + 1
        self.measured = measured
        self.changes: list[torch.Tensor] = []
        self.at_best: list[torch.Tensor] = []

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr": RECIPE.rate, "weight_decay": 0.0}]

    def loss(self, batch: Batch) -> torch.Tensor:
        x = self.x[batch.own] + (0 if batch.change is None else batch.change)
        return ((self.module(x) - self.y[batch.own]) ** 2).sum() / len(batch.members)

    def adversary(self, batch: Batch) -> Batch:
        change = torch.full((len(batch.own), 1), 0.1)
        self.changes.append(change)
        return dataclasses.replace(batch, change=change)

    def measure(self) -> Measured | None:
        self.at_best.append(self.module.weight.detach().clone())
        if self.measured is None:
            return None
        return Measured(self.measured[len(self.at_best) - 1], 0.0, 0.0)


def batches(points: int = 20, epochs: float = 2) -> list[list[int]]:
    return loop.planned_batches([1] * points, dataclasses.replace(RECIPE, epochs=epochs), 0)


def test_it_learns_and_reports_from_before_the_first_step_to_the_end() -> None:
    task = Line()
    curve: list[Progress] = []
    shares: list[float] = []
    outcome = loop.train(task, batches(epochs=40), RECIPE, report=curve.append, on_step=shares.append)
    assert curve == outcome.curve and [curve[0].share, curve[-1].share] == [0.0, 1.0]
    assert math.isnan(curve[0].loss) and curve[-1].loss < 0.05 * curve[1].loss
    assert outcome.stopped == "planned" and outcome.reached == 1.0
    assert len(shares) == outcome.steps == 200 and shares == sorted(shares)


def test_it_stops_when_nothing_gets_better_and_keeps_the_best() -> None:
    task = Line(measured=[3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    recipe = dataclasses.replace(RECIPE, checks=10, patience=3)
    outcome = loop.train(task, batches(epochs=40), recipe)
    assert outcome.stopped == "patience" and len(outcome.curve) == 5
    assert outcome.reached == pytest.approx(0.1)
    assert torch.equal(task.module.weight, task.at_best[1])


def test_it_does_not_stop_while_the_rate_is_high() -> None:
    task = Line(measured=[3.0, *[4.0] * 5, 2.0, *[4.0] * 4])
    recipe = dataclasses.replace(RECIPE, checks=10, patience=3, least_share=0.55)
    outcome = loop.train(task, batches(epochs=40), recipe)
    assert outcome.stopped == "patience" and outcome.reached == pytest.approx(0.6, abs=0.02)
    worse = loop.train(Line(measured=[3.0, *[4.0] * 10]), batches(epochs=40), recipe)
    assert (worse.stopped, worse.reached) == ("patience", 0.0) and worse.curve[-1].share == pytest.approx(0.6, abs=0.02)


def test_the_start_is_the_start_however_long_it_took_to_get_there() -> None:
    task = Line(measured=[1.0, 2.0, 2.0, 2.0])
    recipe = dataclasses.replace(RECIPE, checks=10, patience=3)
    outcome = loop.train(task, batches(epochs=40), recipe, seconds=3600.0)
    assert outcome.stopped == "patience" and outcome.reached == 0.0


def test_it_stops_when_the_time_is_over() -> None:
    outcome = loop.train(Line(), batches(), RECIPE, seconds=1e-9)
    assert (outcome.stopped, outcome.steps) == ("time", 0)


def test_a_gradient_that_is_no_number_is_left_out() -> None:
    task = Line()
    task.y[3] = math.nan
    loop.train(task, batches(epochs=40), RECIPE)
    assert task.module.weight.item() == pytest.approx(2.0, abs=0.3)


def test_the_average_follows_and_can_be_put_in_for_a_while() -> None:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(0.0)
        average = Average(module, 0.5)
        module.weight.fill_(1.0)
    average.update(1000)
    with average.applied():
        assert module.weight.item() == 0.5
    assert module.weight.item() == 1.0
    average = Average(Line().module, 0.999)
    outcome = loop.train(task := Line(), batches(epochs=40), dataclasses.replace(RECIPE, ema=0.9))
    assert outcome.stopped == "planned" and task.module.weight.item() == pytest.approx(2.0, abs=0.3)


def test_the_adversary_is_asked_once_a_step_and_counts() -> None:
    plain, hard = Line(), Line()
    loop.train(plain, batches(), RECIPE)
    outcome = loop.train(hard, batches(), dataclasses.replace(RECIPE, adversarial=0.1))
    assert len(hard.changes) == outcome.steps and not plain.changes
    assert not torch.equal(plain.module.weight, hard.module.weight)


@given(rows=st.integers(1, 300), size=st.integers(1, 40), epochs=st.floats(0.1, 3))
@settings(max_examples=50, deadline=None)
def test_an_epoch_sees_every_row_once(rows: int, size: int, epochs: float) -> None:
    recipe = dataclasses.replace(RECIPE, batch=size, epochs=epochs)
    planned = loop.planned_batches(list(range(rows)), recipe, 0)
    assert len(planned) == max(1, round(epochs * rows / size))
    whole = -(-rows // size)
    if len(planned) >= whole:
        assert sorted(place for batch in planned[:whole] for place in batch) == list(range(rows))


# Heads --------------------------------------------------------------------------------------------------------------


class Texts:
    """Stands in for `finetune.Kept`: three texts of two tokens."""

    class body:  # noqa: N801 - an attribute of `Kept`
        where = torch.device("cpu")

        @staticmethod
        def mixed_precision() -> Any:
            return torch.autocast("cpu", enabled=False)

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.hidden = torch.randn(3, 2, 32)

    def part(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return self.hidden[batch.own].clone(), torch.ones(len(batch.own), 2, dtype=torch.bool)


def head(bert: Any, **changes: Any) -> finetune.HeadTask:
    torch.manual_seed(2)
    top = finetune.Top(nn.ModuleList([Layer.of(bert)]), torch.zeros(32), torch.ones(32), 2)
    kept: Any = Texts()
    recipe = dataclasses.replace(RECIPE, dropout=0.0, label_smoothing=0.0) if not changes else RECIPE
    return finetune.HeadTask(top, kept, np.array([0, 1, 1]), None, dataclasses.replace(recipe, **changes), 0)


def test_the_shares_of_a_batch_add_up_to_its_loss(bert: Any) -> None:
    task = head(bert, dropout=0.2)
    members = [2, 0, 1]
    whole = task.loss(Batch(members, 0, 3, 5)).item()
    parts = [task.loss(Batch(members, low, high, 5)).item() for low, high in ((0, 1), (1, 3), (3, 3))]
    assert sum(parts) == pytest.approx(whole, rel=1e-5) and parts[2] == 0.0


def test_the_adversary_makes_the_loss_larger(bert: Any) -> None:
    task = head(bert, adversarial=0.02, dropout=0.0)
    batch = Batch([0, 1, 2], 0, 3, 0)
    before = task.loss(batch)
    before.backward()
    changed = task.adversary(batch)
    assert changed.change is not None
    lengths = task.kept.part(batch)[0].norm(dim=(1, 2))
    torch.testing.assert_close(changed.change.norm(dim=(1, 2)), 0.02 * lengths)
    assert task.loss(changed).item() > before.item()


def test_two_passes_that_differ_cost(bert: Any) -> None:
    batch = Batch([0, 1, 2], 0, 3, 0)
    same, plain = (head(bert, rdrop=weight, dropout=0.0).loss(batch).item() for weight in (5.0, 0.0))
    assert same == pytest.approx(plain, rel=1e-5)
    less, more = (head(bert, rdrop=weight, dropout=0.3).loss(batch).item() for weight in (1e-9, 5.0))
    assert more > less + 1e-3


def test_lower_layers_and_biases_have_rates_of_their_own(bert: Any) -> None:
    task = head(bert)
    task.top.layers.append(Layer.of(bert))
    task.recipe = dataclasses.replace(RECIPE, rate=1.0, layer_decay=0.5, head_rate=3.0, weight_decay=0.0)
    groups = task.groups()
    assert [group["lr"] for group in groups] == [1.0, 1.0, 0.5, 0.5, 3.0]
    held = [id(value) for group in groups for value in group["params"]]
    assert len(held) == len(set(held)) == len(list(task.top.parameters()))


def test_much_time_trains_every_layer_and_little_the_top() -> None:
    lengths = np.full(5000, 40)
    deep, flat = (choose(lengths, 10, 12, 2e-5, seconds, None) for seconds in (3000.0, 20.0))
    assert deep.layers == 12 and flat.layers < 4


# Checkpoints --------------------------------------------------------------------------------------------------------


def test_the_last_two_states_are_kept_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "choose")
    assert stage.load() is None
    for step in (1, 2, 30):
        stage.save(step, {"step": step})
    assert [path.name for path in sorted((tmp_path / "choose").iterdir())] == ["step-000000002.pt", "step-000000030.pt"]
    assert stage.load() == {"step": 30}
    (tmp_path / "choose" / "step-000000030.pt").write_bytes(b"half of")
    assert stage.load() == {"step": 2}


def test_checkpoints_of_another_training_are_refused_or_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("somebody's")
    first = Checkpoints(tmp_path, {"rows": "a", "settings": "x"})
    first.decide("recipe", {"layers": 3})
    first.stage("choose").save(7, {"step": 7})
    again = Checkpoints(tmp_path, {"rows": "a", "settings": "x"})
    assert again.decided("recipe") == {"layers": 3} and again.decided("bfloat16") is None
    assert again.stage("choose").load() == {"step": 7}
    with pytest.raises(ValueError, match=r"not the same: rows\).*--restart"):
        Checkpoints(tmp_path, {"rows": "b", "settings": "x"})
    fresh = Checkpoints(tmp_path, {"rows": "b", "settings": "x"}, restart=True)
    assert fresh.decided("recipe") is None and fresh.stage("choose").load() is None
    assert (tmp_path / "notes.txt").exists()


def test_the_time_used_before_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("infra.training.checkpoints.time.monotonic", lambda: now[0])
    first = Checkpoints(tmp_path, {})
    now[0] += 40
    first.stage("choose").save(1, {})
    now[0] += 1000  # until it is started again
    second = Checkpoints(tmp_path, {})
    assert second.seconds_used == 40
    now[0] += 5
    second.note_time()
    assert Checkpoints(tmp_path, {}).seconds_used == 45


def test_a_file_that_is_no_trainings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text("[]")
    with pytest.raises(ValueError, match="another folder"):
        Checkpoints(tmp_path, {})


# The command ---------------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_the_one_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 0 files"):
        only_file(tmp_path)
    (tmp_path / "labels.jsonl").touch()
    (tmp_path / ".hidden").touch()
    assert only_file(tmp_path) == only_file(tmp_path / "labels.jsonl") == tmp_path / "labels.jsonl"
    (tmp_path / "more.jsonl").touch()
    with pytest.raises(ValueError, match="holds 2 files"):
        only_file(tmp_path)


def test_the_time_to_the_best_state_is_a_part_of_what_was_gone() -> None:
    # Of a plan of a hundred seconds, stopped after sixty; the best state was reached after a quarter of the plan.
    curve = [loop.Progress(share, 1.0) for share in (0.0, 0.25, 0.5, 0.6)]
    assert loop.Outcome(0.25, "patience", 60, 0, 60.0, curve).seconds_to_best == pytest.approx(25.0)
    assert loop.Outcome(0.0, "patience", 60, 0, 60.0, curve).seconds_to_best == 0.0
    assert loop.Outcome(0.0, "not begun", 0, 0, 0.0, []).seconds_to_best == 0.0
