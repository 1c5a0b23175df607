"""The understanding report: the numbers in its plots and tables, and the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.evaluate import taxonomy_task, understanding_report
from infra.evaluate import understanding_figures as plots
from infra.evaluate.classify import Measured
from infra.evaluate.understanding_report import class_rows, flat, headline, main, surest_mistakes, verdict, write_report
from infra.training.calibrate import BINS, accuracy, expected_calibration_error, macro_f1
from infra.training.labels import Rows

pytestmark = pytest.mark.slow

EVIL = '</script><b>坏 & "label"'


def made(n: int = 300, labels: int = 4, seed: int = 0, better: float = 2.5) -> Measured:
    """A head that is right about as often as it says, a baseline that is right less often, and a label unknown."""
    generator = np.random.default_rng(seed)
    names = [EVIL, *(f"标签{place}" for place in range(1, labels))]
    truth = generator.integers(0, labels, n)
    logits = generator.normal(size=(n, labels)) + better * np.eye(labels)[truth]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    truth[0] = -1
    predicted = probabilities.argmax(axis=1)
    other = np.where(generator.random(n) < 0.6, truth, (truth + 1) % labels)
    rivals = {"tfidf": other, "frozen_head": other, "majority": np.full(n, 1)}

    def figures(guess: np.ndarray) -> dict[str, Any]:
        return {"accuracy": round(accuracy(truth, guess), 4), "macro_f1": round(macro_f1(truth, guess), 4)}

    ece = round(expected_calibration_error(probabilities, truth), 4)
    baselines = {name: figures(guess) for name, guess in rivals.items()}
    baselines["tfidf"]["ece"] = 0.2
    found = {
        **figures(predicted),
        "ece": ece,
        "ece_by_chance": 0.013,
        "n": n,
        "notes": ["train.jsonl: 1 row <left> out."],
        "seconds_train": 1.0,
    }
    curve = [
        {"share": share, "loss": loss, "dev_loss": 1.0, "dev_accuracy": 0.5, "dev_macro_f1": 0.5}
        for share, loss in ((0.0, float("nan")), (0.5, 1.5), (1.0, 1.0))
    ]
    manifest = {"name": "measured", "version": "0123456789ab", "temperature": 1.25, "rows": {"train": 1000, "dev": 100}}
    texts = [f"第 {place} 条 <i>文字</i>" for place in range(n)]
    test = Rows(texts, [names[one] if one >= 0 else "没见过" for one in truth])
    return Measured(
        found | {"baselines": baselines},
        names,
        truth,
        probabilities,
        rivals,
        test,
        0.6,
        {"multilingual": curve, "chinese": curve[1:]},
        manifest | {"plan": {"encoder": "multilingual", "layers": 6, "beside": [{"encoder": "chinese", "layers": 4}]}},
    )


@pytest.fixture(scope="module")
def measured() -> Measured:
    return made()


# Numbers ------------------------------------------------------------------------------------------------------------


def test_the_bins_are_those_of_the_calibration_error(measured: Measured) -> None:
    right = measured.predicted == measured.truth
    found = plots.bins(measured.confidence, right)
    gaps = sum(one.count * abs(one.confidence - one.accuracy) for one in found) / len(right)
    assert gaps == pytest.approx(expected_calibration_error(measured.probabilities, measured.truth), abs=1e-6)
    assert sum(one.count for one in found) == len(right) and len(found) <= BINS
    assert all(one.low <= one.accuracy <= one.high for one in found)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=50))
def test_risk_and_coverage_agree_with_counting(pairs: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(side) for side in zip(*pairs, strict=True))
    coverage, risk = plots.risk_coverage(confidence, right)
    assert coverage[-1] == 1.0 and risk[-1] == pytest.approx(1 - right.mean())
    least = float(np.median(confidence))
    answered = confidence >= least
    assert risk[answered.sum() - 1] == pytest.approx(1 - right[answered].mean())


def test_the_threshold_in_force_is_marked_where_it_lies(measured: Measured) -> None:
    right = measured.predicted == measured.truth
    mark = plots.coverage_figure(measured.confidence, right, measured.threshold).data[-1]
    answered = measured.confidence >= measured.threshold
    assert mark.x[0] == pytest.approx(answered.mean())
    assert mark.y[0] == pytest.approx(1 - right[answered].mean())
    assert f"{answered.mean():.1%} answered" in mark.name
    none = plots.coverage_figure(measured.confidence, right, 1.01)
    assert [trace.mode for trace in none.data] == ["lines", "lines"]


def test_few_labels_stand_in_the_confusion_as_they_are(measured: Measured) -> None:
    table, names = plots.confusion(measured.truth, measured.predicted, measured.labels)
    assert names == [
        *[measured.labels[one] for one in np.argsort(-np.bincount(measured.truth[1:]), kind="stable")],
        plots.UNKNOWN,
    ]
    assert table.shape == (5, 4) and table.sum() == 300 and table[-1].sum() == 1
    assert np.trace(table[:4]) == (measured.predicted == measured.truth).sum()


@pytest.mark.parametrize("unknown", [False, True])
def test_many_labels_are_pooled(unknown: bool) -> None:
    many = made(n=2000, labels=45)
    truth = many.truth if unknown else np.maximum(many.truth, 0)
    table, names = plots.confusion(truth, many.predicted, many.labels)
    assert names[plots.MOST_LABELS :] == [plots.POOLED, plots.UNKNOWN][: 1 + unknown]
    assert table.shape == (31 + unknown, 31) and table.sum() == 2000
    rows = table[: plots.MOST_LABELS].sum(axis=1)
    assert (np.diff(rows) <= 0).all()


def test_intervals_hold_the_figures_and_narrow_with_rows(measured: Measured) -> None:
    right = measured.predicted == measured.truth
    ece = expected_calibration_error(measured.probabilities, measured.truth)
    low, high = plots.ece_interval(measured.confidence, right, ece)
    assert low <= ece <= high
    few, more = ((one.truth[1:], one.predicted[1:]) for one in (measured, made(n=3000)))
    low, high = plots.macro_f1_interval(*few)
    assert low < macro_f1(*few) < high
    smaller = plots.macro_f1_interval(*more)
    assert smaller[1] - smaller[0] < 0.6 * (high - low)
    assert plots.macro_f1_interval(*more) == smaller


def test_the_headline_gives_each_model_its_intervals(measured: Measured) -> None:
    ours, tfidf, frozen, majority = headline(measured)
    assert ours.name == "this head" and majority.name == "always the most frequent label"
    first = ours.cells[0]
    assert (
        first is not None
        and first.value == f"{measured.figures['accuracy']:.1%}"
        and first.low < first.value < first.high
    )
    assert ours.cells[2] is not None and ours.cells[2].low
    assert tfidf.cells[2] is not None and (tfidf.cells[2].value, tfidf.cells[2].low) == ("0.200", "")
    assert frozen.cells[2] is None and majority.cells[2] is None


@pytest.mark.parametrize(
    ("better", "said"), [(2.5, "better than"), (-1.0, "worse than"), (0.95, "not clearly different")]
)
def test_the_verdict_is_careful(better: float, said: str) -> None:
    sentence = verdict(made(better=better))
    assert sentence.startswith(f"This head is {said}")
    assert "TF-IDF" in sentence and "of the texts and is right on" in sentence


def test_the_table_of_labels_is_scikit_learns(measured: Measured) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    expected = precision_recall_fscore_support(measured.truth, measured.predicted, labels=range(4), zero_division=0)
    for row in class_rows(measured):
        place = measured.labels.index(row.label)
        shown = (row.precision, row.recall, row.f1)
        assert shown == tuple(f"{float(side[place]):.1%}" for side in expected[:3])
        wrong = [measured.predicted[measured.truth == place] == other for other in range(4) if other != place]
        assert row.confused.endswith(f"({max(int(one.sum()) for one in wrong)})")
    assert sum(row.n for row in class_rows(measured)) == 299


def test_the_surest_mistakes_are_mistakes_in_falling_confidence(measured: Measured) -> None:
    found = surest_mistakes(measured)
    assert len(found) == 20 and all(one.truth != one.answer for one in found)
    shares = [float(one.confidence.rstrip("%")) for one in found]
    assert shares == sorted(shares, reverse=True)
    wrong = measured.predicted != measured.truth
    assert shares[0] == pytest.approx(100 * float(measured.confidence[wrong].max()), abs=0.06)


def test_nested_settings_become_two_columns() -> None:
    nested = {
        "plan": {"rate": 0.0002, "a_b": True, "beside": [{"layers": 2}, {"layers": 4}]},
        "rows": 12345,
        "span": [0.5, 1],
        "empty": [],
    }
    assert list(flat(nested)) == [
        ("plan: rate", "0.0002"),
        ("plan: a b", "True"),
        ("plan: beside 1: layers", "2"),
        ("plan: beside 2: layers", "4"),
        ("rows", "12,345"),
        ("span", "0.5, 1"),
        ("empty", "none"),
    ]


def test_the_settings_begin_with_the_encoders_where_the_manifest_tells_them(measured: Measured) -> None:
    rows = understanding_report.settings(measured)
    assert rows[0] == ("encoders", "multilingual, chinese")
    assert ("plan: beside 1: layers", "4") in rows
    older = replace(measured, manifest={"name": "older", "plan": {"layers": 6}})
    assert understanding_report.settings(older)[:2] == [("name", "older"), ("plan: layers", "6")]


# The page -----------------------------------------------------------------------------------------------------------


def test_the_page_stands_alone_and_shows_what_people_wrote_as_text(tmp_path: Path, measured: Measured) -> None:
    path = tmp_path / "new" / "page.html"
    write_report(path, measured, "<train>.jsonl", {"accuracy": 0.5, "by": {"zh": 0.25}}, "ads.jsonl")
    page = path.read_text(encoding="utf-8")
    plain = page.replace(plots.script(), "")
    assert not re.search(r"""(?:src|href)\s*=|@import|url\(""", plain)
    assert plain.count("<script") == plain.count("</script>") == 6  # plotly.js and a plot each
    assert "&lt;train&gt;.jsonl" in plain and "<i>" not in plain and "<b>" not in plain
    for shown in (
        "标签1",
        "第 ",
        "没见过",
        "0123456789ab",
        "plan: layers",
        "by: zh",
        "1 row &lt;left&gt; out.",
        "about 0.013",
    ):
        assert shown in plain
    assert "The multilingual encoder" in plain and "The chinese encoder" in plain
    for name in ("reliability", "coverage", "confusion", "curve-1", "curve-2"):
        assert f'id="{name}"' in plain
    assert "1 test texts have a label that training never saw" in plain


def test_a_head_without_mistakes_and_without_measurements_has_a_page_too(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    perfect = made(better=60.0)
    perfect.truth[0] = perfect.predicted[0]
    perfect.curves["chinese"].clear()
    perfect.curves["multilingual"].clear()
    write_report(path, perfect, "train.jsonl")
    page = path.read_text(encoding="utf-8").replace(plots.script(), "")
    assert "The 0 surest mistakes" in page and "Without training" not in page
    assert "It answers every text." in page


# The command --------------------------------------------------------------------------------------------------------


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_without_files_it_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert 'make report-understanding ARGS="--train' in capsys.readouterr().err


def test_a_bad_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a", "label": "b"}\n')
    assert run(["--train", str(file), "--test", str(file), "--out", str(tmp_path / "page.html")]) == 1
    said = capsys.readouterr().err
    assert "no report: rows.jsonl: all 1 rows have the label 'b'" in said.replace("\n", " ")
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("")
    asked: list[dict[str, Any]] = []

    def measure(*files: Path, **options: Any) -> Measured:
        asked.append(options)
        return measured

    monkeypatch.setattr(understanding_report, "measure", measure)
    monkeypatch.setattr(
        taxonomy_task, "run", lambda files, artifacts, console: {"n": len(files), "top": {"right": 0.75}}
    )
    out = tmp_path / "page.html"
    arguments = ["--train", str(file), "--test", str(file), "--taxonomy", str(file), "--unlabelled", str(file)]
    assert run([*arguments, "--out", str(out), "--budget-seconds", "7"]) == 0
    assert asked[0]["budget_seconds"] == 7 and asked[0]["unlabelled"] == file
    said = capsys.readouterr().err
    assert "This head is better than" in said
    assert '<td class="name">top: right</td><td class="text">0.75</td>' in out.read_text(encoding="utf-8")
    assert out.stat().st_size > 1_000_000
