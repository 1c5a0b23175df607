"""The benchmarks' table and the row that is kept of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.table import ROOT, Figure, Figures, Machine, append_row, commit, number, render, row_of, summary

pytestmark = pytest.mark.slow

MACHINE = Machine("A CPU", 2, 16.0, "3.13.1")


def figures() -> Figures:
    made = Figures()
    made.add("classify one text, p50", 5.4, "ms", 7.0, 21.0, "torch")
    made.add("ingest", 4000, "events/s", budget=5000, better="higher")
    made.add("start", 0.37, "s", baseline=5.6, baseline_name="torch")
    return made


@pytest.mark.parametrize(
    ("value", "budget", "better", "met"),
    [
        (7.0, 7.0, "lower", True),
        (7.1, 7.0, "lower", False),
        (5000.0, 5000.0, "higher", True),
        (4999.0, 5000.0, "higher", False),
        (0.0, 0.0, "lower", True),
        (1.0, None, "lower", None),
    ],
)
def test_a_budget_is_met_at_its_value_and_on_its_better_side(
    value: float, budget: float | None, better: str, met: bool | None
) -> None:
    assert Figures().add("x", value, "ms", budget, better=better).met is met  # type: ignore[arg-type]


def test_times_better_looks_at_the_better_side() -> None:
    assert Figure("x", 2.0, "ms", baseline=10.0).times_better == 5
    assert Figure("x", 200.0, "1/s", baseline=100.0, better="higher").times_better == 2
    assert Figure("x", 0.0, "ms", baseline=10.0).times_better is None


def test_the_table_shows_what_was_missed() -> None:
    lines = render(figures().rows).splitlines()
    (classify,) = [line for line in lines if "classify" in line]
    assert classify.split()[4:] == ["≤", "7", "5.4", "ms", "21", "torch", "(3.89×)", "met"]
    (ingest,) = [line for line in lines if "ingest" in line]
    assert ingest.split()[1:] == ["≥", "5,000", "4,000", "events/s", "NOT"]
    (start,) = [line for line in lines if "start" in line]
    assert not start.rstrip().endswith(("met", "NOT"))
    assert summary(figures().rows) == "1 of 2 budgets met; NOT: ingest"


def test_long_names_are_not_cut() -> None:
    name = "a figure whose name is longer than its column can ever be, " * 3
    table = render([Figure(name, 1.0, "ms")], width=60)
    assert "".join(table.split()).count("longerthanitscolumn") == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "ingest"},  # is there already
        {"value": float("nan")},
        {"baseline": 3.0},  # of what?
        {"baseline_name": "torch"},
        {"better": "bigger"},
    ],
)
def test_a_figure_that_says_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        figures().add(**({"name": "new", "value": 1.0, "unit": "s"} | wrong))  # type: ignore[arg-type]


def test_numbers_are_short() -> None:
    assert [number(one) for one in (0, 0.01234, 3.7, 104.26, 198502, -2.5)] == [
        "0",
        "0.0123",
        "3.7",
        "104",
        "198,502",
        "-2.5",
    ]


def test_a_row_keeps_every_figure_and_reads_back(tmp_path: Path) -> None:
    made = figures().rows
    row = row_of(made, load=2.345, partial=True, outcomes={"passed": 3}, machine=MACHINE)
    append_row(row, tmp_path / "results.jsonl")
    append_row(row, tmp_path / "results.jsonl")
    first, second = map(json.loads, (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == second == row
    assert (row["load"], row["partial"], row["machine"]["cpu"]) == (2.35, True, "A CPU")
    assert [one["met"] for one in row["figures"]] == [True, False, None]
    assert "budget" not in row["figures"][2] and row["figures"][0]["baseline_name"] == "torch"


def test_the_commit_and_whether_the_tree_differs(tmp_path: Path) -> None:
    assert commit(tmp_path) == ("", False)  # no repository
    here, _ = commit()
    assert here == "" or len(here) == 40


def test_this_machine() -> None:
    here = Machine.here()
    assert here.cpu and here.cores >= 1 and here.memory_gb > 0.1


def test_a_run_prints_one_table_and_keeps_one_row(tmp_path: Path) -> None:
    """The harness itself, in runs of its own: a part of the tests with a missed budget, then all of them."""
    harness = ROOT / "tests" / "benchmarks" / "conftest.py"
    (tmp_path / "conftest.py").write_text(harness.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_it.py").write_text(
        """
def test_apple(figures):
    figures.add("apple", 9.0, "ms", budget=5.0)

def test_pear(figures):
    figures.add("pear", 1.0, "ms")
""",
        encoding="utf-8",
    )
    kept = tmp_path / "kept.jsonl"
    bare = ["-c", os.devnull, "-p", "no:cacheprovider"]  # the project's options and plugins would take most of the time
    command = [sys.executable, "-m", "pytest", "-q", *bare, f"--record={kept}", str(tmp_path)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for more in (["-k", "apple"], []):
        run = subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        if more:
            assert "0 of 1 budgets met; NOT: apple" in run.stdout
    part, whole = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    assert part["partial"] is True and part["tests"] == {"passed": 1}
    assert [one["name"] for one in part["figures"]] == ["apple"]
    assert whole["partial"] is False and len(whole["figures"]) == 2
