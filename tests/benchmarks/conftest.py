"""The session's figures: shown as one table at the end, and kept as one row where ``--record`` asks for it.

A missed budget fails no test: it stands in the table.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.benchmarks.table import Figures, append_row, render, row_of, summary

FIGURES = pytest.StashKey[Figures]()
LOAD = pytest.StashKey[float]()
DESELECTED = pytest.StashKey[list[int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, metavar="FILE", help="append the run's figures to this file as one row")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()
    config.stash[LOAD] = os.getloadavg()[0]  # now: later it would be this run's own
    config.stash[DESELECTED] = [0]


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[DESELECTED][0] += len(items)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """``figures.add(name, value, unit, budget=None, baseline=None, baseline_name=None, better="lower"|"higher")``."""
    return pytestconfig.stash[FIGURES]


def is_whole(config: pytest.Config) -> bool:
    """Whether every benchmark was asked for."""
    asked = {(config.invocation_params.dir / one.partition("::")[0]).resolve() for one in config.args}
    return not config.stash[DESELECTED][0] and Path(__file__).parent in asked and "::" not in "".join(config.args)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[FIGURES].rows
    if not rows:
        return
    outcomes: dict[str, int] = {
        name: len(terminalreporter.stats[name])
        for name in ("passed", "failed", "error", "skipped")
        if name in terminalreporter.stats
    }
    partial = not is_whole(config) or set(outcomes) != {"passed"}
    terminalreporter.write_line("")
    for line in render(rows).splitlines():
        terminalreporter.write_line(line)
    terminalreporter.write_line(summary(rows))
    path = config.option.record
    if path is not None:
        row = row_of(rows, load=config.stash[LOAD], partial=partial, outcomes=outcomes)
        append_row(row, path)
        state = " (partial)" if partial else ""
        terminalreporter.write_line(f"One row{state} added to {path}; load {row['load']} when it began")
