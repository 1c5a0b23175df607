"""Trains a classifier for your own labels and writes it as an artefact that the running system serves by name.

On a laptop, on a GPU where there is one::

    python -m infra.training.train_classifier --train labels.jsonl --name topics
    python -m infra.training.train_classifier --train labels.csv --dev dev.csv --name topics --publish
    python -m infra.training.train_classifier --train labels.jsonl --name topics --checkpoints .local/topics

With two processes, or one for each GPU (gloo on CPUs, NCCL on GPUs; the curve is that of one process, whatever their
number)::

    torchrun --standalone --nproc-per-node 2 -m infra.training.train_classifier --train labels.jsonl --name topics

As SageMaker's training job does (`infra/training_job/entry.py`; a folder stands for the one file in it)::

    torchrun --standalone --nproc-per-node 4 -m infra.training.train_classifier --train /opt/ml/input/data/train \\
        --name topics --budget-seconds 3600 --checkpoints /opt/ml/checkpoints --out /opt/ml/model --publish

Rows are ``{"text", "label"}``. The encoders' top layers and a head are fine-tuned by back-propagation: those of the
multilingual encoder, and beside it of a Chinese one where the texts are Chinese, it is installed and time allows; a
linear model of token n-grams is added. All their weights are found on the development rows (0: left
out). Without ``--dev`` a tenth of every label's rows is held out for that. The temperature and the threshold for
abstaining are found on the same rows; then, where time allows, the model is trained once more on all rows with the
settings found. With ``--checkpoints`` a training that was killed goes on where it was when it is started again in the
same way. With ``--publish`` the head is uploaded and served at once: ``POST /v1/classify {"head": NAME, …}``.

Exit status: 0 trained, 1 not trained (the reason is printed after ``not trained:``), 2 wrong options.
"""

from __future__ import annotations

import math
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from infra.training.labels import DEV_SHARE, Rows, read_labels, read_texts, split
from shared.errors import ArtifactError
from shared.labels import HEAD
from shared.models.taxonomy import TaxonomyName

if TYPE_CHECKING:
    from infra.training.loop import Progress
    from infra.training.train_head import Trained

OUT = Path(".local/heads")
BARS = "▁▂▃▄▅▆▇█"


class Precision(StrEnum):
    """Of matrix products."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def sparkline(values: list[float]) -> str:
    """The values as bars of eight heights."""
    low, high = min(values), max(values)
    return "".join(BARS[round((value - low) / ((high - low) or 1) * (len(BARS) - 1))] for value in values)


def only_file(path: Path) -> Path:
    """The file itself, or the one file in the folder.

    Raises:
        ValueError: a folder with another number of files.
    """
    if not path.is_dir():
        return path
    files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    if len(files) != 1:
        raise ValueError(f"{path} holds {len(files)} files, and one is wanted: name the file")
    return files[0]


def _show(console: Console, encoder: str, curve: list[Progress]) -> None:
    title = f"Training, {encoder} encoder"
    table = Table("of the plan", "training loss", "dev log loss", "dev accuracy", "dev macro-F1", title=title)
    for row in curve:
        loss = "" if math.isnan(row.loss) else f"{row.loss:.4f}"
        table.add_row(
            f"{row.share:.0%}", loss, f"{row.dev_loss:.4f}", f"{row.dev_accuracy:.4f}", f"{row.dev_macro_f1:.4f}"
        )
    console.print(table)
    losses = [row.loss for row in curve if not math.isnan(row.loss)]
    if losses:
        console.print(f"loss {sparkline(losses)} {losses[0]:.3f} to {losses[-1]:.3f}", highlight=False)


def command(
    train_file: Annotated[
        Path, typer.Option("--train", exists=True, help='Rows {"text", "label"}: a file, or its folder')
    ],
    name: Annotated[str, typer.Option(help="The head's name: letters, digits, - and _")],
    dev_file: Annotated[
        Path | None, typer.Option("--dev", exists=True, dir_okay=False, help="Rows to choose on (default: a tenth)")
    ] = None,
    unlabelled_file: Annotated[
        Path | None, typer.Option("--unlabelled", exists=True, dir_okay=False, help='More texts, rows {"text"}')
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of heads")] = OUT,
    epochs: Annotated[float | None, typer.Option(min=0.01, help="Fixed number of epochs, whatever they take")] = None,
    budget_seconds: Annotated[float, typer.Option(min=10, help="What all of it may take, about")] = 600.0,
    seed: Annotated[int, typer.Option(min=0, help="Same rows, seed, epochs and precision: same head")] = 0,
    precision: Annotated[Precision, typer.Option(help="Of matrix products; auto: the faster one")] = Precision.AUTO,
    checkpoints: Annotated[
        Path | None, typer.Option(file_okay=False, help="A folder of states to go on from after a kill")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, whatever the checkpoints hold")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Upload it, so that the running system serves it")] = False,
) -> None:
    """Trains a classifier on a labels file and writes it as an artefact."""
    if not HEAD.fullmatch(name):
        raise typer.BadParameter("up to 64 of A-Z, a-z, 0-9, - and _", param_hint="--name")
    if name in get_args(TaxonomyName):
        raise typer.BadParameter(f"{name} is a taxonomy's name", param_hint="--name")
    try:
        rows = read_labels(only_file(train_file))
        notes = list(rows.notes)
        if dev_file is not None:
            dev = read_labels(dev_file, "dev")
            notes += dev.notes
        else:
            rows, dev = split(rows, DEV_SHARE, seed)
        unlabelled = read_texts(unlabelled_file) if unlabelled_file is not None else None
    except ValueError as error:
        raise _not_trained(error) from None
    # After the files have been read: importing torch takes seconds.
    from infra.training import distributed
    from infra.training.export import Refused
    from infra.training.train_head import train

    try:
        with distributed.joined():
            console = Console(stderr=True, quiet=not distributed.is_first())
            for note in notes:
                console.print(note, style="yellow", highlight=False)
            result = train(
                rows,
                dev,
                out / name,
                name,
                console=console,
                seed=seed,
                budget_seconds=budget_seconds,
                epochs=epochs,
                unlabelled=unlabelled,
                checkpoints=checkpoints,
                restart=restart,
                bfloat16=None if precision is Precision.AUTO else precision is Precision.BFLOAT16,
            )
            first = distributed.is_first()
    except (ValueError, ArtifactError, Refused, distributed.LostError) as error:
        raise _not_trained(error, lost=isinstance(error, distributed.LostError)) from None
    if not first:
        return
    for encoder, curve in result.curves.items():
        _show(console, encoder, curve)
    _compare(console, result, rows, dev)
    if publish:
        _publish(result, console)


def _not_trained(error: Exception, *, lost: bool = False) -> typer.Exit:
    """Says why, once for all processes; that another one is gone is said by each that is left."""
    if os.environ.get("RANK", "0") == "0" or lost:  # torchrun's
        Console(stderr=True).print(f"not trained: {error}", style="bold red", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _compare(console: Console, result: Trained, rows: Rows, dev: Rows) -> None:
    """The head beside its baselines on the development rows, and a warning where it is worth nothing."""
    from infra.training import baselines
    from infra.training.calibrate import figures

    with console.status("TF-IDF with logistic regression on the same rows"):
        guessed = Rows(dev.texts, baselines.tfidf(rows, dev).tolist()).classes(result.labels)
    beside = figures(dev.classes(result.labels), guessed)
    table = Table("", "accuracy", "macro-F1", title=f"On {len(dev):,} development rows")
    own = "this head" + (", all rows in cross-validation" if result.plan["cross_validated"] else "")
    for label, row in ((own, result.dev), ("frozen head", result.frozen_dev), ("TF-IDF", beside)):
        table.add_row(label, f"{row['accuracy']:.4f}", f"{row['macro_f1']:.4f}")
    console.print(table)
    if doubt := result.manifest.metadata["metrics"].get("warning"):
        console.print(f"warning: {doubt}", style="bold yellow", highlight=False, soft_wrap=True)


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
