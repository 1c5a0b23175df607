"""Figures of a benchmark run: one table for people, one row a run for the results file."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results.jsonl"

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Figure:
    """What was measured, with its budget and what else was measured in the same run, in the same unit."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    baseline: float | None = None
    baseline_name: str | None = None
    better: Better = "lower"

    @property
    def met(self) -> bool | None:
        """None: there is no budget."""
        if self.budget is None:
            return None
        return self.value <= self.budget if self.better == "lower" else self.value >= self.budget

    @property
    def times_better(self) -> float | None:
        """How many times better than the baseline; None where that has no answer."""
        if self.baseline is None or self.value <= 0 or self.baseline <= 0:
            return None
        return self.baseline / self.value if self.better == "lower" else self.value / self.baseline


@dataclass
class Figures:
    """The figures of one run, in the order in which they were added."""

    rows: list[Figure] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        budget: float | None = None,
        baseline: float | None = None,
        baseline_name: str | None = None,
        better: Better = "lower",
    ) -> Figure:
        """Never fails for a missed budget: the table shows it.

        Raises: ValueError for a name that is there already, a value that is no number, a baseline without its name.
        """
        if better not in ("lower", "higher"):
            raise ValueError(f"better is lower or higher, not {better!r}")
        if any(row.name == name for row in self.rows):
            raise ValueError(f"figure {name!r} is there already")
        if (baseline is None) != (baseline_name is None):
            raise ValueError(f"figure {name!r}: a baseline and its name go together")
        numbers = [None if one is None else float(one) for one in (value, budget, baseline)]  # numpy's too
        if not all(one is None or math.isfinite(one) for one in numbers):
            raise ValueError(f"figure {name!r} is not a number: {numbers}")
        figure = Figure(name, float(value), unit, numbers[1], numbers[2], baseline_name, better)
        self.rows.append(figure)
        return figure


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    memory_gb: float
    python: str

    @classmethod
    def here(cls) -> Self:
        model = platform.processor() or platform.machine()
        cpuinfo = Path("/proc/cpuinfo")
        if cpuinfo.exists():
            lines = cpuinfo.read_text(encoding="utf-8").splitlines()
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        return cls(model, cores, round(memory, 1), platform.python_version())


def commit(root: Path = ROOT) -> tuple[str, bool]:
    """The commit and whether tracked or new files differ from it, the results file aside; "" outside a repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        results = f":(exclude){RESULTS.relative_to(ROOT)}"
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", ".", results))
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "", False


def row_of(
    figures: Sequence[Figure], *, load: float, partial: bool, outcomes: dict[str, int], machine: Machine | None = None
) -> dict[str, Any]:
    """One run as it is kept. load: average of the last minute when the run began. outcomes: tests by result."""
    head, dirty = commit()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": head,
        "dirty": dirty,
        "partial": partial,
        "load": round(load, 2),
        "machine": asdict(machine or Machine.here()),
        "tests": outcomes,
        "figures": [
            {key: _kept(value) for key, value in asdict(one).items() if value is not None} | {"met": one.met}
            for one in figures
        ],
    }


def _kept(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def append_row(row: dict[str, Any], path: Path = RESULTS) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def budget_text(figure: Figure) -> str:
    if figure.budget is None:
        return ""
    return f"{'≤' if figure.better == 'lower' else '≥'} {number(figure.budget)}"


def baseline_text(figure: Figure) -> str:
    if figure.baseline is None:
        return ""
    times = figure.times_better
    return f"{number(figure.baseline)} {figure.baseline_name}" + (f" ({number(times)}×)" if times is not None else "")


def met_text(figure: Figure) -> str:
    return {None: "", True: "met", False: "NOT"}[figure.met]


def render(figures: Sequence[Figure], title: str = "", width: int = 140) -> str:
    """The table as text: what, budget, figure, baseline of the same run (how many times worse it is), met or NOT."""
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    table.add_column("what", overflow="fold")
    table.add_column("budget", justify="right", no_wrap=True)
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("baseline in the same run", overflow="fold")
    table.add_column("", no_wrap=True)
    for one in figures:
        table.add_row(one.name, budget_text(one), number(one.value), one.unit, baseline_text(one), met_text(one))
    console = Console(width=width, color_system=None, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def summary(figures: Sequence[Figure]) -> str:
    """One line: how many budgets are met, and which are not."""
    judged = [one for one in figures if one.met is not None]
    missed = [one.name for one in judged if not one.met]
    return f"{len(judged) - len(missed)} of {len(judged)} budgets met" + (
        f"; NOT: {'; '.join(missed)}" if missed else ""
    )
