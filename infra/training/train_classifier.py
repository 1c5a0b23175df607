"""Trains a classifier for your own labels and writes it as an artefact that the running system serves by name.

    python -m infra.training.train_classifier --train labels.jsonl --name topics
    python -m infra.training.train_classifier --train labels.jsonl.gz --dev dev.jsonl --name topics --publish

Rows are ``{"text", "label"}``. The encoder's top layers and a head are fine-tuned by back-propagation; a linear model
of token n-grams stands beside them with a weight found on the development rows (0: left out). Without ``--dev`` a tenth
of every label's rows is held out for that. The temperature and the threshold for abstaining are found on the same rows;
then, where time allows, the model is trained once more on all rows with the settings found. With ``--publish`` it is
uploaded and served at once: ``POST /v1/classify {"head": NAME, …}``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from infra.training.labels import DEV_SHARE, Rows, read_labels, split
from shared.errors import ArtifactError

if TYPE_CHECKING:
    from infra.training.finetune import Progress
    from infra.training.train_head import Trained

OUT = Path(".local/heads")
BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float]) -> str:
    """The values as bars of eight heights."""
    low, high = min(values), max(values)
    return "".join(BARS[round((value - low) / ((high - low) or 1) * (len(BARS) - 1))] for value in values)


def _show(console: Console, curve: list[Progress]) -> None:
    table = Table("of the plan", "training loss", "dev log loss", "dev accuracy", "dev macro-F1", title="Training")
    for row in curve:
        loss = "" if np.isnan(row.loss) else f"{row.loss:.4f}"
        table.add_row(
            f"{row.share:.0%}", loss, f"{row.dev_loss:.4f}", f"{row.dev_accuracy:.4f}", f"{row.dev_macro_f1:.4f}"
        )
    console.print(table)
    losses = [row.loss for row in curve if not np.isnan(row.loss)]
    if losses:
        console.print(f"loss {sparkline(losses)} {losses[0]:.3f} to {losses[-1]:.3f}", highlight=False)


def command(
    train_file: Annotated[Path, typer.Option("--train", exists=True, dir_okay=False, help='Rows {"text", "label"}')],
    name: Annotated[str, typer.Option(help="The head's name: letters, digits, - and _")],
    dev_file: Annotated[
        Path | None, typer.Option("--dev", exists=True, dir_okay=False, help="Rows to choose on (default: a tenth)")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of heads")] = OUT,
    epochs: Annotated[float | None, typer.Option(min=0.01, help="Fixed number of epochs, whatever they take")] = None,
    budget_seconds: Annotated[float, typer.Option(min=10, help="What all of it may take, about")] = 600.0,
    seed: Annotated[int, typer.Option(help="Same rows, seed and epochs: same head")] = 0,
    publish: Annotated[bool, typer.Option("--publish", help="Upload it, so that the running system serves it")] = False,
) -> None:
    """Trains a classifier on a labels file and writes it as an artefact."""
    console = Console(stderr=True)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise typer.BadParameter("letters, digits, - and _", param_hint="--name")
    from infra.training import baselines
    from infra.training.export import Refused
    from infra.training.train_head import figures, train

    try:
        rows = read_labels(train_file)
        if dev_file is not None:
            dev = read_labels(dev_file)
        else:
            rows, dev = split(rows, DEV_SHARE, seed)
        result = train(
            rows, dev, out / name, name, console=console, seed=seed, budget_seconds=budget_seconds, epochs=epochs
        )
    except (ValueError, ArtifactError, Refused) as error:
        console.print(f"not trained: {error}", style="bold red", highlight=False)
        raise typer.Exit(1) from None
    _show(console, result.curve)
    with console.status("TF-IDF with logistic regression on the same rows"):
        guessed = Rows(dev.texts, baselines.tfidf(rows, dev).tolist()).classes(result.labels)
    beside = figures(dev.classes(result.labels), guessed)
    table = Table("", "accuracy", "macro-F1", title=f"On {len(dev):,} development rows")
    for label, row in (("this head", result.dev), ("frozen head", result.frozen_dev), ("TF-IDF", beside)):
        table.add_row(label, f"{row['accuracy']:.4f}", f"{row['macro_f1']:.4f}")
    console.print(table)
    if publish:
        _publish(result, console)


def _publish(result: Trained, console: Console) -> None:
    import boto3

    from infra.training import export
    from shared.settings import Settings

    settings = Settings.from_env()
    client = boto3.client("s3")
    prefix = export.publish(result.folder, result.manifest, client, settings.bucket_name, settings.tenant)
    console.print(f"published s3://{settings.bucket_name}/{prefix}", highlight=False)


def main() -> int:
    """The command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app()
    return 0


if __name__ == "__main__":
    sys.exit(main())
