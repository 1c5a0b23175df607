"""The served click model: what torch computes, unknown ids, histories of any length, and what refuses to load."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from infra.training import clicks_graph
from infra.training.clicks_net import ClickNet
from shared.errors import ArtifactError
from shared.models.artifacts import write_manifest
from shared.models.click_model import DIMENSIONS, FORMAT, GRAPH, SETTINGS, ClickModel, Ids, history_inputs
from shared.models.features import FEATURES, FIRST_POSITION, HISTORY_ITEMS, Candidates, History

pytestmark = pytest.mark.slow

IDS = ("known-a", "known-b", "known-c")
SLOPE, BIAS = 0.8, -0.3
POSITION = FEATURES.index("position")


def unit(generator: np.random.Generator, count: int) -> np.ndarray:
    vectors = generator.normal(size=(count, DIMENSIONS))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def net() -> ClickNet:
    """Random weights everywhere, so that nothing can be left out of the graph unnoticed."""
    torch.manual_seed(3)
    generator = np.random.default_rng(3)
    made = ClickNet(len(IDS), generator.normal(size=(50, len(FEATURES))).astype(np.float32), np.zeros(15), 0.0)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn_like(value) * 0.3)
    made.eval()
    return made


@pytest.fixture(scope="module")
def folder(net: ClickNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ranker")
    clicks_graph.write(net, SLOPE, BIAS, made / GRAPH)
    settings = {"format": FORMAT, "features": FEATURES, "history_items": HISTORY_ITEMS, "ids": IDS}
    (made / SETTINGS).write_text(json.dumps(settings))
    write_manifest(made, "ranker", "ranker")
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> ClickModel:
    return ClickModel.load(folder)


def some(ids: tuple[str, ...], seed: int = 0) -> Candidates:
    generator = np.random.default_rng(seed)
    columns = generator.normal(size=(len(ids), len(FEATURES))).astype(np.float32) * 3
    return Candidates(ids, unit(generator, len(ids)), columns)


def past(ids: tuple[str, ...], seed: int = 1) -> History:
    generator = np.random.default_rng(seed)
    return History(ids, unit(generator, len(ids)), generator.uniform(0, 30, len(ids)).astype(np.float32))


HISTORIES = [(), ("x",), ("known-b", "x", "known-a"), tuple(f"item-{place}" for place in range(HISTORY_ITEMS))]


@pytest.mark.parametrize("items", HISTORIES, ids=len)
def test_it_computes_what_torch_computes(model: ClickModel, net: ClickNet, items: tuple[str, ...]) -> None:
    candidates, history = some(("known-a", "other", "known-c", "known-a")), past(items)
    ids = Ids(IDS)
    given = {name: torch.tensor(value).unsqueeze(0) for name, value in history_inputs(history, ids).items()}
    columns = torch.tensor(candidates.columns)
    columns[:, POSITION] = FIRST_POSITION
    with torch.no_grad():
        expected = net(
            torch.tensor(candidates.vectors),
            torch.tensor(ids.rows(candidates.ids)),
            columns,
            *(given[name].expand(4, *given[name].shape[1:]) for name in ("history", "history_rows", "ages", "mask")),
        )
    found = model.log_odds(candidates, history)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, SLOPE * expected.numpy() + BIAS, atol=2e-4)
    assert np.ptp(found) > 0.1


def test_an_unknown_id_is_served_by_its_content(model: ClickModel) -> None:
    candidates, history = some(("known-a", "known-b")), past(("known-c", "x"))
    strange = Candidates(("new-1", "new-2"), candidates.vectors, candidates.columns)
    stranger = Candidates(("new-9", "new-8"), candidates.vectors, candidates.columns)
    known = model.log_odds(candidates, history)
    np.testing.assert_array_equal(model.log_odds(strange, history), model.log_odds(stranger, history))
    assert np.abs(known - model.log_odds(strange, history)).min() > 1e-3
    forgotten = History(("y", "x"), history.vectors, history.ages)
    assert np.abs(model.log_odds(candidates, forgotten) - known).max() > 1e-4


def test_a_slot_changes_nothing_in_serving_and_the_callers_columns_stay(model: ClickModel) -> None:
    candidates, history = some(("a", "b", "c")), past(("x",))
    elsewhere = candidates.columns.copy()
    elsewhere[:, POSITION] = [1.0, 2.0, 3.0]
    moved = Candidates(candidates.ids, candidates.vectors, elsewhere.copy())
    np.testing.assert_array_equal(model.log_odds(candidates, history), model.log_odds(moved, history))
    np.testing.assert_array_equal(moved.columns, elsewhere)


def test_an_answer_does_not_depend_on_the_other_candidates(model: ClickModel) -> None:
    candidates, history = some(tuple(f"ad-{place}" for place in range(40))), past(("x", "y"))
    alone = Candidates(candidates.ids[:1], candidates.vectors[:1], candidates.columns[:1])
    np.testing.assert_allclose(model.log_odds(candidates, history)[:1], model.log_odds(alone, history), atol=1e-5)


def test_a_longer_history_is_cut_and_numbers_that_are_none_do_no_harm(model: ClickModel) -> None:
    candidates, long = some(("a", "b")), past(tuple(f"item-{place}" for place in range(HISTORY_ITEMS + 9)))
    short = History(long.ids[:HISTORY_ITEMS], long.vectors[:HISTORY_ITEMS], long.ages[:HISTORY_ITEMS])
    np.testing.assert_array_equal(model.log_odds(candidates, long), model.log_odds(candidates, short))
    broken = candidates.columns.copy()
    broken[0, 0] = np.nan
    assert np.isfinite(model.log_odds(Candidates(candidates.ids, candidates.vectors, broken), short)).all()


def test_no_candidates_no_answers_and_wrong_shapes_are_refused(model: ClickModel) -> None:
    assert model.log_odds(some(()), past(())).shape == (0,)
    candidates = some(("a", "b"))
    with pytest.raises(ValueError, match="2 candidates"):
        model.log_odds(Candidates(candidates.ids, candidates.vectors[:1], candidates.columns), past(()))
    with pytest.raises(ValueError, match="2 candidates"):
        model.log_odds(Candidates(candidates.ids, candidates.vectors, candidates.columns[:, 1:]), past(()))


def altered(folder: Path, tmp_path: Path, **changes: object) -> Path:
    made = tmp_path / "ranker"
    made.mkdir()
    (made / GRAPH).write_bytes((folder / GRAPH).read_bytes())
    settings = json.loads((folder / SETTINGS).read_text()) | changes
    (made / SETTINGS).write_text(json.dumps(settings))
    write_manifest(made, "ranker", "ranker")
    return made


@pytest.mark.parametrize(
    "changes",
    [{"features": FEATURES[::-1]}, {"features": FEATURES[:-1]}, {"history_items": 10}, {"format": FORMAT + 1}],
    ids=["order", "fewer", "history", "format"],
)
def test_a_model_of_other_columns_refuses_to_load(folder: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match="other columns"):
        ClickModel.load(altered(folder, tmp_path, **changes))


def test_changed_or_missing_files_refuse_to_load(folder: Path, tmp_path: Path) -> None:
    made = altered(folder, tmp_path)
    ClickModel.load(made)
    with (made / GRAPH).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        ClickModel.load(made)
    (made / GRAPH).unlink()
    write_manifest(made, "ranker", "ranker")
    with pytest.raises(ArtifactError, match="no click model"):
        ClickModel.load(made)
    write_manifest(made, "head", "ranker")
    with pytest.raises(ArtifactError, match="not 'ranker'"):
        ClickModel.load(made)
    (made / GRAPH).write_bytes((folder / GRAPH).read_bytes())
    (made / SETTINGS).write_text('{"format": 1}')
    write_manifest(made, "ranker", "ranker")
    with pytest.raises(ArtifactError, match="does not parse"):
        ClickModel.load(made)
