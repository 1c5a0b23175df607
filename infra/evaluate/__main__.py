"""The measuring command: ``python -m infra.evaluate TASK …``.

A table for people goes to stderr; the last line of stdout is one JSON object. Exit status 1: the files cannot be
measured on; 2: wrong arguments.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from shared.errors import AdTailorError

ENCODER = Path(__file__).resolve().parents[2] / "shared" / "artifacts" / "encoder"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
console = Console(stderr=True)

File = Annotated[Path, typer.Option(exists=True, dir_okay=False)]
Train = Annotated[Path, typer.Option("--train", exists=True, dir_okay=False)]
Valid = Annotated[Path, typer.Option("--valid", exists=True, dir_okay=False)]
Test = Annotated[Path, typer.Option("--test", exists=True, dir_okay=False)]
Dev = Annotated[Path | None, typer.Option("--dev", exists=True, dir_okay=False)]
Seed = Annotated[int, typer.Option("--seed")]
Budget = Annotated[float | None, typer.Option("--budget-seconds", min=1, help="About what all of it may take")]


@app.command()
def classify(
    train: Train,
    test: Test,
    dev: Dev = None,
    unlabelled: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help='More texts, rows {"text"}: help few labels')
    ] = None,
    seed: Seed = 0,
    budget_seconds: Budget = None,
) -> None:
    """Train a head on labels and measure it beside TF-IDF and the frozen encoder."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.classify import measure as train_and_measure

        return train_and_measure(
            train, test, dev, unlabelled=unlabelled, seed=seed, budget_seconds=budget_seconds, console=console
        ).figures

    _answer("classify", measure)


@app.command()
def rank(
    items: File,
    events: File,
    k: Annotated[int, typer.Option(min=1)] = 10,
    seed: Seed = 0,
    budget_seconds: Budget = None,
    unordered: Annotated[bool, typer.Option("--unordered", help="Shuffle every history: order says nothing")] = False,
) -> None:
    """Rank every item for every person's next step, beside popularity, co-occurrence, transitions and content."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.rank import run
        from shared.models.encoder import Encoder

        encoder = Encoder.load(ENCODER)
        return run(
            items,
            events,
            lambda texts: encoder.encode(texts, "passage"),
            k=k,
            seed=seed,
            budget_seconds=budget_seconds,
            unordered=unordered,
        )

    _answer("rank", measure)


@app.command()
def copy(
    products: File,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write every product's candidates and answers there (JSONL)")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write them side by side there (HTML)")] = None,
    seed: Seed = 0,
    budget_seconds: Budget = None,
) -> None:
    """Write copy for products through the gate and count what is shown and what it claims."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.copy_task import run

        return run(products, limit, seed, budget_seconds, save=save, report=report)

    _answer("copy", measure)


@app.command()
def audiences(
    ads: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Ads; else the sample's")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    seed: Seed = 0,
    budget_seconds: Budget = None,
) -> None:
    """Write ads for two audiences each: does the copy alone tell for whom it is?"""

    def measure() -> dict[str, Any]:
        from infra.evaluate.audiences_task import run

        return run(ads, limit, seed, budget_seconds, console)

    _answer("audiences", measure)


@app.command()
def ctr(items: File, train: Train, valid: Valid, test: Test, seed: Seed = 0, budget_seconds: Budget = None) -> None:
    """Predict what each person will like, later than all that is known, beside means of items and of people."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.ctr import run
        from shared.models.encoder import Encoder

        encoder = Encoder.load(ENCODER)
        return run(
            items,
            train,
            valid,
            test,
            lambda texts: encoder.encode(texts, "passage"),
            seed=seed,
            budget_seconds=budget_seconds,
        )

    _answer("ctr", measure)


@app.command()
def headlines(train: Train, test: Test, seed: Seed = 0, budget_seconds: Budget = None) -> None:
    """Know the headline that is clicked, and choose among headlines while they are shown."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.headlines import run

        return run(train, test, console, seed=seed, budget_seconds=budget_seconds)

    _answer("headlines", measure)


@app.command()
def ledger(
    cases: File,
    show: Annotated[bool, typer.Option("--show", help="Print the lines that are judged wrongly")] = False,
    judged: Annotated[
        bool, typer.Option("--judged", help="Ask the language model at LLM_URL too, in the readers' place")
    ] = False,
    seed: Seed = 0,
    budget_seconds: Budget = None,
) -> None:
    """Judge labelled lines by the claim ledger: what the ad does not say is refused, what it says is not."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.ledger_task import run
        from infra.evaluate.writer import endpoint
        from shared.generating.judging import Judge
        from shared.models.readers import Readers
        from shared.settings import Settings

        readers = Readers.of(ENCODER.parent, threads=1)
        if not judged:
            return run(cases, console, readers, show=show)
        with endpoint(Settings.from_env()) as engine:
            judge = Judge(engine.unwatched, readers, seconds=60.0, examined=False)
            return run(cases, console, readers, show=show, judge=judge) | {"judge": engine.name}

    _answer("ledger", measure)


@app.command()
def policy(
    cases: File,
    show: Annotated[bool, typer.Option("--show", help="Print the lines that are judged wrongly")] = False,
    seed: Seed = 0,
    budget_seconds: Budget = None,
) -> None:
    """Judge labelled lines by rule packs and readers, beside the packs alone and a list of forbidden words."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.policy_task import run
        from shared.models.readers import Readers

        return run(cases, console, Readers.of(ENCODER.parent, threads=1), show=show)

    _answer("policy", measure)


@app.command()
def taxonomy(
    test: Annotated[list[Path], typer.Option("--test", exists=True, dir_okay=False, help="Labelled rows; may repeat")],
    report: Annotated[bool, typer.Option("--report", help="Print the rows whose label is wrong")] = False,
    seed: Seed = 0,
    budget_seconds: Budget = None,
) -> None:
    """Place labelled ads and posts in both taxonomies, zero-shot, beside name cosine and TF-IDF."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.taxonomy_task import run

        return run(test, ENCODER.parent, console, report=report)

    _answer("taxonomy", measure)


@app.command()
def ope(log: File, target: File, seed: Seed = 0, budget_seconds: Budget = None) -> None:
    """Estimate a policy's click rate from another's log, beside the truth of its own."""

    def measure() -> dict[str, Any]:
        from infra.evaluate.ope import run

        return run(log, target, seed)

    _answer("ope", measure)


def _answer(task: str, measure: Callable[[], dict[str, Any]]) -> None:
    """Prints the table and the JSON line, or why there are none."""
    try:
        result = measure()
    except (AdTailorError, ValueError, OSError) as error:
        console.print(f"{task}: {error}", style="bold red", highlight=False)
        raise typer.Exit(1) from None
    console.print(_table(task, result))
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _table(task: str, result: dict[str, Any]) -> Table:
    """Our figures in the first row and each baseline's in its own; below them what stands alone."""
    rivals: dict[str, dict[str, Any]] = result.get("baselines", {})
    measures = list(dict.fromkeys(name for row in rivals.values() for name in row))
    table = Table("", *measures, title=task)
    if rivals:
        for name, row in {"ours": result, **rivals}.items():
            table.add_row(name, *(_shown(row.get(measure)) for measure in measures))
        table.add_section()
    for name, value in result.items():
        if name != "baselines" and name not in measures:
            cells = [_shown(value)] if not measures else [_shown(value), *[""] * (len(measures) - 1)]
            table.add_row(name, *cells) if measures else table.add_row(f"{name}: {cells[0]}")
    return table


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    app(prog_name="python -m infra.evaluate")
