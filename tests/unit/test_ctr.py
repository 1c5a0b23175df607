"""The task `ctr`: its figures, its model against the textbook's formula, and that nothing of the test leaks into it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.metrics import log_loss, roc_auc_score

from infra.evaluate import ctr
from infra.training import clicks_evidence, clicks_kernels, clicks_metrics, clicks_process

pytestmark = pytest.mark.slow

ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60)


@given(ROWS)
def test_auc_uauc_and_log_loss_are_scikit_learns(rows: list[tuple[int, bool, int]]) -> None:
    person, clicked, score = (np.array(side) for side in zip(*rows, strict=True))
    own = [
        roc_auc_score(clicked[person == who], score[person == who])
        for who in np.unique(person)
        if 0 < clicked[person == who].mean() < 1
    ]
    found, count = clicks_metrics.uauc(person, clicked, score)
    assert count == len(own)
    assert found == pytest.approx(np.mean(own) if own else float("nan"), nan_ok=True)
    if 0 < clicked.mean() < 1:
        assert clicks_metrics.auc(clicked, score) == pytest.approx(roc_auc_score(clicked, score))
    expected = log_loss(clicked, 1 / (1 + np.exp(-score.astype(float))), labels=[False, True])
    assert clicks_metrics.log_loss(clicked, score) == pytest.approx(expected)


def test_platt_finds_slope_and_bias_again_and_mends_the_calibration() -> None:
    generator = np.random.default_rng(0)
    odds = generator.normal(size=40_000) * 1.5 - 2
    clicked = generator.random(len(odds)) < 1 / (1 + np.exp(-odds))
    slope, bias = clicks_metrics.platt(clicked, 2 * odds + 1)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert bias == pytest.approx(-0.5, abs=0.08)
    before = clicks_metrics.calibration_error(clicked, 2 * odds + 1)
    after = clicks_metrics.calibration_error(clicked, slope * (2 * odds + 1) + bias)
    assert after < 0.01 < 0.05 < before


def test_the_calibration_never_turns_an_order_round() -> None:
    odds = np.linspace(-2, 2, 100)
    assert clicks_metrics.platt(odds < 0, odds)[0] > 0


def test_a_persons_taste_is_the_posterior_of_a_gaussian_process() -> None:
    generator = np.random.default_rng(1)
    factors = generator.normal(size=(9, 3))
    kernel = (factors @ factors.T).astype(np.float32)
    item, label = np.array([0, 3, 4, 7, 8]), np.array([1.0, 0, 1, 1, 0])
    setting = clicks_process.Setting({"alike": 1e-6}, {"alike": 1.0}, item_noise=1.0, noise=0.2, person=1e9)
    fitted = clicks_process.fit(np.zeros(5, np.int64), item, label, {"alike": kernel}, setting)
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=0.2, optimizer=None)
    mean = process.fit(factors[item], label - label.mean()).predict(factors)
    own, everything = np.zeros(9, np.int64), np.arange(9)
    found = fitted.predict(own, everything)
    np.testing.assert_allclose(found, mean + label.mean(), atol=1e-3)
    np.testing.assert_allclose(fitted.predict(np.full(9, 5), everything), fitted.effect)
    # What is liked later, of rows 0 to 4 items 3 (known already), 5 and 6, of the others nothing.
    liked = [np.array([3, 5, 6])] * 5 + [np.array([], np.int64)] * 4
    excess, noise = setting.liked_excess, setting.liked_noise
    more = np.concatenate([label - label.mean(), 1 - fitted.effect[[5, 6]] - excess])
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=np.repeat([0.2, noise], [5, 2]), optimizer=None)
    expected = process.fit(factors[[*item, 5, 6]], more).predict(factors[:5]) + label.mean()
    moved = fitted.predict(own, everything, liked)
    np.testing.assert_allclose(moved[:5], expected, atol=1e-3)
    np.testing.assert_allclose(moved[5:], found[5:])
    stranger = fitted.predict(np.full(9, 5), everything, liked)
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=noise, optimizer=None)
    alone = process.fit(factors[[3, 5, 6]], 1 - fitted.effect[[3, 5, 6]] - excess).predict(factors[:5])
    np.testing.assert_allclose(stranger[:5], fitted.effect[:5] + alone, atol=1e-3)


def test_items_that_people_come_upon_together_are_alike() -> None:
    generator = np.random.default_rng(2)
    person = np.repeat(np.arange(60), 12)
    item = np.concatenate([generator.permutation(15)[:12] + 15 * (who % 2) for who in range(60)])
    at = np.tile(np.arange(12.0), 60)
    for factors in (
        clicks_kernels.neighbour_factors(person, item, at, 32),
        clicks_kernels.exposure_factors(person, item, 60, 32),
    ):
        assert factors.shape[0] == 32
        alike = clicks_kernels.kernels(np.eye(32, dtype=np.float32), np.zeros(32), factors, factors)["exposure"]
        assert alike[:15, :15].mean() > alike[:15, 15:30].mean() + 0.05


@pytest.mark.parametrize(("people", "rows"), [(1, 1), (1, 4), (3, 1)])
def test_factors_of_hardly_any_rows_are_finite(people: int, rows: int) -> None:
    person, item = np.repeat(np.arange(people), rows), np.arange(people * rows)
    near = clicks_kernels.neighbour_factors(person, item, item.astype(float), 100)
    seen = clicks_kernels.exposure_factors(person, item, people, 100)
    made = clicks_kernels.kernels(np.eye(100, dtype=np.float32), np.zeros(100), near, seen)
    assert all(np.isfinite(kernel).all() and kernel.shape == (100, 100) for kernel in made.values())


def test_years_are_read_off_the_end_of_a_text() -> None:
    found = clicks_kernels.years(["Heat (1995)", "2001: A Space Odyssey (1968)", "1984"])
    assert found.tolist() == [1995, 1968, (1995 + 1968) / 2]
    assert clicks_kernels.years(["no", "none"]).tolist() == [0, 0]


ITEMS, PEOPLE = 60, 50
Files = dict[str, Path]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """People like one half of the items, and some items are better; three files, one after the other."""
    folder, generator = tmp_path_factory.mktemp("ctr"), np.random.default_rng(0)
    quality = generator.normal(size=ITEMS)
    side = generator.choice([-1, 1], size=PEOPLE)
    written: Files = {}

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        written[name] = folder / f"{name}.jsonl.gz"
        with gzip.open(written[name], "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    write("items", [{"item_id": f"i{item}", "title": f"Title {item} ({1950 + item})"} for item in range(ITEMS)])
    for place, (name, count) in enumerate((("train", 2400), ("valid", 800), ("test", 600))):
        rows = []
        for number in range(count):
            person, item = int(generator.integers(PEOPLE)), int(generator.integers(ITEMS))
            odds = 0.8 * quality[item] + 1.2 * side[person] * (1 if item < ITEMS // 2 else -1)
            label = int(generator.random() < 1 / (1 + np.exp(-odds)))
            at = 1e9 + 1e5 * place + number
            rows.append(
                {"user_id": f"p{person}", "item_id": f"i{item}", "label": label, "timestamp": at, "history": []}
            )
        write(name, rows)
    return written


def encode(texts: list[str]) -> np.ndarray:
    half = [int(text.split()[1]) < ITEMS // 2 for text in texts]
    vectors = np.random.default_rng(0).normal(size=(len(texts), 384)) / 40
    vectors[:, 0] += np.where(half, 1.0, -1.0)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def measured(files: Files, **changed: Path) -> dict[str, Any]:
    given = files | changed
    return ctr.run(given["items"], given["train"], given["valid"], given["test"], encode)


@pytest.fixture(scope="module")
def result(world: Files) -> dict[str, Any]:
    return measured(world)


def test_taste_is_found_and_the_keys_are_the_contracts(result: dict[str, Any]) -> None:
    assert {"auc", "uauc", "logloss", "ece", "n", "baselines"} <= set(result)
    assert result["n"] == 600
    assert set(result["baselines"]) == {"item_mean", "item_user_mean"}
    best = max(row["auc"] for row in result["baselines"].values())
    assert result["auc"] > best + 0.1
    assert result["uauc"] > best + 0.1
    assert result["ece"] < 0.1
    low, high = result["interval95"]["auc"]
    assert low < result["auc"] < high
    assert result["notes"] == []
    assert result["weights"]["taste"]["text"] == max(result["weights"]["taste"].values()), (
        "it is what the world is made of"
    )
    json.dumps(result)


def rewritten(path: Path, target: Path, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]) -> Path:
    with gzip.open(path, "rt") as file:
        rows = [change(number, json.loads(line)) for number, line in enumerate(file)]
    target.write_text("".join(json.dumps(row) + "\n" for row in rows if row is not None))
    return target


def test_no_label_of_the_test_reaches_a_prediction(world: Files, result: dict[str, Any], tmp_path: Path) -> None:
    turned = rewritten(world["test"], tmp_path / "turned", lambda _, row: row | {"label": 1 - row["label"]})
    other = measured(world, test=turned)
    assert other["auc"] == pytest.approx(1 - result["auc"], abs=2e-4)
    assert other["uauc"] == pytest.approx(1 - result["uauc"], abs=2e-4)
    assert other["valid"] == result["valid"]


def test_a_rows_own_history_counts(world: Files, result: dict[str, Any], tmp_path: Path) -> None:
    """Likes of people whom nobody knows, on the side of each item asked about where the label is 1, else on the other;
    the histories of half of the rows say nothing."""

    def told(number: int, row: dict[str, Any]) -> dict[str, Any]:
        side = (int(row["item_id"][1:]) < ITEMS // 2) == bool(row["label"])
        likes = [f"i{item + (0 if side else ITEMS // 2)}" for item in range(0, 28, 2)]
        return row | {"user_id": f"new-{number}", "history": likes if number % 2 else []}

    def half(keep: int) -> Callable[[int, dict[str, Any]], dict[str, Any] | None]:
        return lambda number, row: told(number, row) if number % 2 == keep else None

    spoken = measured(world, test=rewritten(world["test"], tmp_path / "spoken", half(1)))
    silent = measured(world, test=rewritten(world["test"], tmp_path / "silent", half(0)))
    assert spoken["auc"] > spoken["baselines"]["item_mean"]["auc"] + 0.05
    assert silent["auc"] == pytest.approx(silent["baselines"]["item_mean"]["auc"], abs=0.06)


def test_what_cannot_be_measured_on_is_said(world: Files, tmp_path: Path) -> None:
    half = rewritten(world["test"], tmp_path / "half", lambda _, row: row | {"label": 0.5})
    with pytest.raises(ValueError, match=r"half, row 1: the label 0.5"):
        measured(world, test=half)
    one = rewritten(world["test"], tmp_path / "one", lambda _, row: row | {"label": 1})
    with pytest.raises(ValueError, match="both labels"):
        measured(world, test=one)
    untimed = rewritten(world["train"], tmp_path / "untimed", lambda _, row: row | {"timestamp": None})
    with pytest.raises(ValueError, match="untimed, row 1"):
        measured(world, train=untimed)


def test_a_budget_cuts_off_the_learning_and_says_so(world: Files) -> None:
    short = ctr.run(world["items"], world["train"], world["valid"], world["test"], encode, budget_seconds=0.01)
    assert [note.partition(":")[0] for note in short["notes"]] == ["2,400 rows", "3,200 rows"]
    assert short["auc"] > short["baselines"]["item_user_mean"]["auc"]


def test_unknown_items_and_overlapping_times_are_noted(world: Files, tmp_path: Path) -> None:
    strange = rewritten(
        world["test"],
        tmp_path / "strange",
        lambda number, row: row | {"timestamp": 1e9} | ({"item_id": "?"} if number < 5 else {}),
    )
    notes = measured(world, test=strange)["notes"]
    assert notes[0] == "test: 5 rows of unknown items left out"
    assert "overlap in time" in notes[1]


def drawn(seed: int) -> tuple[clicks_process.Setting, dict[str, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A setting, its kernels, and rows of 40 people about 60 items whose tastes follow the kernel "alike" alone."""
    generator = np.random.default_rng(seed)
    sides, other = generator.normal(size=(ITEMS, 3)), generator.normal(size=(ITEMS, 3))
    kernels = {
        name: np.asarray(factors @ factors.T / 3 if factors is not None else np.ones((ITEMS, ITEMS)), np.float32)
        for name, factors in (("one", None), ("alike", sides), ("unlike", other))
    }
    person = np.repeat(np.arange(40), 30)
    item = np.concatenate([generator.permutation(ITEMS)[:30] for _ in range(40)])
    taste = (generator.normal(size=(40, 3)) @ sides.T / np.sqrt(3))[person, item]
    level, noise = generator.normal(size=40)[person], generator.normal(size=len(item))
    label = 0.5 + np.sqrt(0.3) * taste + np.sqrt(0.1) * level + np.sqrt(0.2) * noise
    return clicks_evidence.even(("one",), tuple(kernels), label), kernels, (person, item, label)


def test_the_evidence_finds_the_kernel_and_the_noise_that_labels_were_drawn_with() -> None:
    start, kernels, rows = drawn(3)
    found = clicks_evidence.learn(*rows, kernels, start)
    assert found.taste["alike"] == pytest.approx(0.3, rel=0.35)
    assert found.taste["one"] == pytest.approx(0.1, rel=0.5)
    assert found.taste["unlike"] < 0.02
    assert found.noise == pytest.approx(0.2, rel=0.15)
    assert found.person == pytest.approx(found.noise / found.taste["one"])
    assert dict(start.taste) == dict.fromkeys(kernels, start.taste["one"]), "the start is left as it was"


def test_the_slope_of_the_evidence_is_that_of_finite_differences() -> None:
    _, kernels, (person, item, label) = drawn(4)
    rows = np.flatnonzero(person == 0)
    part = clicks_evidence.Labels(
        np.stack([kernel[np.ix_(item[rows], item[rows])] for kernel in kernels.values()]).astype(np.float64),
        np.linspace(0.5, 2, len(rows)),
        label[rows],
    )
    logs = np.log([0.1, 0.2, 0.05, 0.3])
    spread = 1e-5 / clicks_process.JITTER[0]
    value, slope = clicks_evidence.unlikely(logs, [part], spread)
    covariance = np.tensordot(np.exp(logs[:-1]), part.kernels, 1) + np.diag(0.3 * part.noise + 1e-5)
    likeliest = multivariate_normal(np.zeros(len(rows)), covariance).logpdf(label[rows])
    assert value == pytest.approx(-likeliest - len(rows) * np.log(2 * np.pi) / 2, rel=1e-5)
    for place in range(len(logs)):
        step = np.eye(len(logs))[place] * 1e-3
        apart = (
            clicks_evidence.unlikely(logs + step, [part], 1e-5)[0]
            - clicks_evidence.unlikely(logs - step, [part], 1e-5)[0]
        )
        assert slope[place] == pytest.approx(apart / 2e-3, rel=2e-3, abs=2e-3)

    as_served = clicks_evidence.Labels(part.kernels.astype(np.float32), part.noise, part.value)
    np.testing.assert_allclose(clicks_evidence.unlikely(logs, [as_served], spread)[1], slope, rtol=1e-3, atol=1e-3)


def test_a_covariance_that_rounding_has_broken_is_mended_as_little_as_it_needs() -> None:
    whole, broken = np.eye(3) + 1, np.ones((3, 3)) - 1e-3 * np.eye(3)  # the second has an eigenvalue of -.001
    np.testing.assert_allclose(clicks_process.factored(whole.copy(), 1.0), np.linalg.cholesky(whole), atol=1e-4)
    factor = clicks_process.factored(broken.copy(), 1.0)
    np.testing.assert_allclose(factor @ factor.T, broken + clicks_process.JITTER[2] * np.eye(3), atol=1e-12)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        clicks_process.factored(-np.eye(3), 1.0)


def test_a_climb_goes_on_from_where_rounding_has_broken_a_covariance() -> None:
    start, kernels, rows = drawn(7)
    shaken = kernels | {"alike": kernels["alike"] - np.float32(2e-3) * np.eye(ITEMS, dtype=np.float32)}
    plain, found = (clicks_evidence.learn(*rows, some, start) for some in (kernels, shaken))
    assert found.taste["alike"] == pytest.approx(plain.taste["alike"], rel=0.1)
    assert found.noise == pytest.approx(plain.noise, rel=0.1)


def test_labels_of_one_in_a_thousand_are_learned_from_and_told_apart() -> None:
    start, kernels, (person, item, label) = drawn(6)
    found = clicks_evidence.learn(
        person, item, label / 30, kernels, clicks_evidence.even(("one",), tuple(kernels), label / 30)
    )
    whole = clicks_evidence.learn(person, item, label, kernels, start)
    assert found.noise * 900 == pytest.approx(whole.noise, rel=0.02)
    assert found.taste["alike"] * 900 == pytest.approx(whole.taste["alike"], rel=0.05)


def test_learning_ends_at_its_deadline_and_people_are_left_out_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, kernels, rows = drawn(5)
    late = clicks_evidence.learn(*rows, kernels, start, deadline=0.0)
    whole = clicks_evidence.learn(*rows, kernels, start)
    assert late.taste != start.taste
    assert abs(late.taste["alike"] - 0.3) > abs(whole.taste["alike"] - 0.3)
    monkeypatch.setattr(clicks_evidence, "MOST_CELLS", 20 * 20 * 15)
    monkeypatch.setattr(clicks_evidence, "MOST_ROWS", 20)
    monkeypatch.setattr(clicks_evidence, "MOST_ITEMS", 40)
    fewer = clicks_evidence.learn(*rows, kernels, start)
    assert fewer.taste["alike"] == pytest.approx(0.3, rel=0.5)
    assert fewer.taste != whole.taste
