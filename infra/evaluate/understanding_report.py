"""Trains a head on labels, measures it, and writes a page that a person can read.

    make report-understanding ARGS="--train labels.jsonl --test test.jsonl"
    make report-understanding ARGS="--train F --dev F --test F --budget-seconds 1200 --taxonomy F --out page.html"

The page is one HTML file that needs no network: the figures beside their baselines with intervals, a reliability
diagram, what abstaining buys, the confusion matrix, a table of the labels, the surest mistakes, each encoder's training
curve and the settings. With ``--taxonomy`` also the zero-shot classifier's figures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console

from infra.evaluate import understanding_figures as plots
from infra.evaluate.classify import Measured, measure
from shared.errors import AdTailorError
from shared.training import encoders

OUT = Path(".local/reports/understanding.html")
ARTIFACTS = Path(__file__).resolve().parents[2] / "shared" / "artifacts"
MISTAKES = 20
LONGEST_TEXT = 240
USAGE = """The report trains a head on your labels and measures it on rows it has not seen:

  make report-understanding ARGS="--train labels.jsonl --test test.jsonl"

Rows are {"text", "label"} (JSON Lines or CSV, gzipped or not). Also: --dev F (rows to choose on), --unlabelled F,
--budget-seconds N (600), --seed N, --taxonomy F (labelled ads for the zero-shot classifier), --out F."""
NAMES = {"tfidf": "TF-IDF, logistic regression", "frozen_head": "frozen encoder, linear head"}
NAMES["majority"] = "always the most frequent label"


@dataclass(frozen=True)
class Cell:
    """A figure with its interval, as text; no interval where `low` is empty."""

    value: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class HeadlineRow:
    """A model's accuracy, macro-F1 and ECE; None where it states no confidence."""

    name: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class ClassRow:
    """A label's figures as text."""

    label: str
    n: int
    precision: str
    recall: str
    f1: str
    confused: str


@dataclass(frozen=True)
class Mistake:
    """A text that the head is sure and wrong about."""

    text: str
    truth: str
    answer: str
    confidence: str


def headline(measured: Measured) -> list[HeadlineRow]:
    """Ours first, then each baseline, with 95 % intervals."""
    figures, truth = measured.figures, measured.truth
    rows = []
    for name, predicted in {"this head": measured.predicted, **measured.predictions}.items():
        own = figures if name == "this head" else figures["baselines"][name]
        cells = [
            _percent(own["accuracy"], plots.accuracy_interval(truth, predicted)),
            _percent(own["macro_f1"], plots.macro_f1_interval(truth, predicted)),
        ]
        ece: Cell | None = None
        if name == "this head":
            low, high = plots.ece_interval(measured.confidence, predicted == truth, own["ece"])
            ece = Cell(f"{own['ece']:.3f}", f"{low:.3f}", f"{high:.3f}")
        elif "ece" in own:
            ece = Cell(f"{own['ece']:.3f}")
        rows.append(HeadlineRow(NAMES.get(name, name), (*cells, ece)))
    return rows


def _percent(value: float, interval: tuple[float, float]) -> Cell:
    return Cell(f"{value:.1%}", f"{interval[0]:.1%}", f"{interval[1]:.1%}")


def verdict(measured: Measured) -> str:
    """One sentence on whether the head beats the best baseline by more than chance, one on abstaining."""
    rivals = {name: row["accuracy"] for name, row in measured.figures["baselines"].items()}
    best = max(rivals, key=lambda name: rivals[name])
    lead, (low, high) = plots.lead_interval(measured.truth, measured.predicted, measured.predictions[best])
    points = f"{lead * 100:+.1f} points (95 % interval {low * 100:+.1f} to {high * 100:+.1f})"
    said = "better than" if low > 0 else "worse than" if high < 0 else "not clearly different from"
    text = f"This head is {said} the best baseline ({NAMES[best]}): {points}."
    answered = measured.confidence >= measured.threshold
    if answered.all() or not answered.any():
        return text + (" It answers every text." if answered.all() else " It abstains on every text.")
    right = (measured.predicted == measured.truth)[answered].mean()
    return text + f" It answers {answered.mean():.1%} of the texts and is right on {right:.1%} of those."


def class_rows(measured: Measured) -> list[ClassRow]:
    """A row for each label of the test file, most texts first."""
    truth, predicted, labels = measured.truth, measured.predicted, measured.labels
    rows = []
    counts = np.bincount(truth[truth >= 0], minlength=len(labels))
    given = np.bincount(predicted, minlength=len(labels))
    for place in np.argsort(-counts, kind="stable").tolist():
        n = int(counts[place])
        if not n:
            continue
        answers = np.bincount(predicted[truth == place], minlength=len(labels))
        right = int(answers[place])
        answers[place] = 0
        worst = int(answers.argmax())
        confused = f"{labels[worst]} ({answers[worst]:,})" if answers[worst] else "–"
        precision = f"{right / given[place]:.1%}" if given[place] else "–"
        f1 = 2 * right / (n + given[place])
        rows.append(ClassRow(labels[place], n, precision, f"{right / n:.1%}", f"{f1:.1%}", confused))
    return rows


def surest_mistakes(measured: Measured) -> list[Mistake]:
    """The `MISTAKES` wrong answers of the highest confidence."""
    wrong = np.flatnonzero(measured.predicted != measured.truth)
    order = wrong[np.argsort(-measured.confidence[wrong], kind="stable")][:MISTAKES]
    found = []
    for place in order.tolist():
        text, truth = measured.test.texts[place], measured.test.labels[place]
        short = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
        answer = measured.labels[int(measured.predicted[place])]
        found.append(Mistake(short, truth, answer, f"{measured.confidence[place]:.1%}"))
    return found


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values for a table of two columns; what is nested gets the outer name in front, and its number in a
    list."""
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from flat(value, f"{name}: ")
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        elif isinstance(value, list | tuple) and any(isinstance(one, dict) for one in value):
            yield from flat({f"{key} {place}": one for place, one in enumerate(value, start=1)}, prefix)
        elif isinstance(value, list | tuple):
            shown = ", ".join(f"{one:.4g}" if isinstance(one, float) else str(one) for one in value)
            yield name, shown or "none"
        else:
            yield name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def settings(measured: Measured) -> list[tuple[str, str]]:
    """What the artefact is and how it was made."""
    figures = measured.figures
    made_of = encoders(measured.manifest)
    told: dict[str, Any] = {"encoders": ", ".join(made_of)} if made_of else {}
    told |= {key: value for key, value in measured.manifest.items() if key not in ("labels", "metrics")}
    told["labels"] = len(measured.labels)
    told |= {key: figures[key] for key in ("seconds_train", "texts_per_second") if key in figures}
    told["development rows"] = figures.get("dev", {})
    return list(flat(told))


def write_report(
    path: Path, measured: Measured, data: str, taxonomy: dict[str, Any] | None = None, taxonomy_file: str = ""
) -> None:
    """Writes the page, one self-contained HTML file. data: what was trained and measured on, for the title."""
    right = measured.predicted == measured.truth
    table, names = plots.confusion(measured.truth, measured.predicted, measured.labels)
    figures = {
        "reliability": plots.reliability_figure(plots.bins(measured.confidence, right)),
        "coverage": plots.coverage_figure(measured.confidence, right, measured.threshold),
        "confusion": plots.confusion_figure(table, names),
    }
    curves = {
        encoder: _safe(plots.as_html(plots.curve_figure(curve), f"curve-{place}"))
        for place, (encoder, curve) in enumerate(measured.curves.items(), start=1)
    }
    found = measured.figures
    unseen = int((measured.truth < 0).sum())
    notes = [*found.get("notes", [])]
    if found.get("test_texts_in_train"):
        notes.append(f"{found['test_texts_in_train']:,} test texts also stand in the training or development rows.")
    if unseen:
        notes.append(f"{unseen:,} test texts have a label that training never saw; they count as wrong.")
    rows = measured.manifest.get("rows", {})
    trained = f"trained on {rows['train']:,} texts and {rows['dev']:,} to choose on, " if rows else ""
    environment = Environment(
        # Labels and texts are anybody's: autoescape is what keeps them text.
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    drawn = {name: _safe(plots.as_html(figure, name)) for name, figure in figures.items()}
    page = environment.get_template("understanding_report.html.j2").render(
        title=f"How well a head understands {data}",
        lead=f"{len(measured.labels):,} labels, {trained}measured on {len(measured.truth):,}.",
        script=_safe(plots.script()),
        verdict=verdict(measured),
        n=f"{len(measured.truth):,}",
        headline=headline(measured),
        by_chance=f"{found['ece_by_chance']:.3f}",
        notes=notes,
        plots=drawn,
        curves=curves,
        square=160 + len(names) * (26 if len(names) > 15 else 34),
        pooled=plots.POOLED in names[plots.MOST_LABELS :],
        most=plots.MOST_LABELS,
        classes=class_rows(measured),
        mistakes=surest_mistakes(measured),
        settings=settings(measured),
        taxonomy=list(flat(taxonomy)) if taxonomy else [],
        taxonomy_file=taxonomy_file,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _safe(html: str) -> Markup:
    """What the plotting library has written: its own script, and figures in which it has escaped the labels."""
    return Markup(html)  # noqa: S704  # nosec B704


def _taxonomy_figures(file: Path, console: Console) -> dict[str, Any]:
    from infra.evaluate.taxonomy_task import run

    return run([file], ARTIFACTS, console)


File = Annotated[Path | None, typer.Option(exists=True, dir_okay=False)]


def command(
    train: File = None,
    test: File = None,
    dev: File = None,
    unlabelled: File = None,
    taxonomy: File = None,
    out: Annotated[Path, typer.Option(help="The page")] = OUT,
    budget_seconds: Annotated[float | None, typer.Option(min=1, help="About what all of it may take")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train a head, measure it beside its baselines, and write one HTML page about it."""
    console = Console(stderr=True)
    if train is None or test is None:
        console.print(USAGE, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2)
    try:
        measured = measure(
            train, test, dev, seed=seed, budget_seconds=budget_seconds, unlabelled=unlabelled, console=console
        )
        zero_shot = _taxonomy_figures(taxonomy, console) if taxonomy else None
    except (AdTailorError, ValueError, OSError) as error:
        console.print(f"no report: {error}", style="bold red", highlight=False, markup=False)
        raise typer.Exit(1) from None
    write_report(out, measured, train.name, zero_shot, taxonomy.name if taxonomy else "")
    console.print(verdict(measured), highlight=False, markup=False)
    console.print(f"the report: {out}", highlight=False, markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app(arguments, prog_name="python -m infra.evaluate.understanding_report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
