"""Trains what predicts how often a text is clicked beside its siblings, on a tenant's own headline tests::

    python -m infra.training.train_headlines --train tests.jsonl --out .local/text-clicks
    python -m infra.training.train_headlines --train tests.jsonl --out .local/text-clicks --publish

Rows are ``{"test_id", "text", "image_id", "impressions", "clicks"}``: texts of one test were shown at random to the
same traffic. The top layers of an encoder, of English texts of two, are fine-tuned by back-propagation on pairs of
texts; the artefact's manifest holds what was found on tests that were held out, beside its baselines. With
``--publish`` it is uploaded and named the latest of the tenant, whose texts are then ranked by it.

Exit status: 0 trained, 1 not trained (the reason is printed after ``not trained:``), 2 wrong options.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.training.headline_tests import read_headlines
from shared.errors import ArtifactError

OUT = Path(".local/text-clicks")


def command(
    train_file: Annotated[Path, typer.Option("--train", exists=True, dir_okay=False, help="Headline tests")],
    out: Annotated[Path, typer.Option(help="The artefact's folder; what is there is replaced")] = OUT,
    epochs: Annotated[float | None, typer.Option(min=0.01, help="Fixed, whatever they take")] = None,
    members: Annotated[
        int | None, typer.Option(min=1, help="Models of each encoder whose weights are averaged")
    ] = None,
    budget_seconds: Annotated[float, typer.Option(min=10, help="What all of it may take, about")] = 1200.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    publish: Annotated[bool, typer.Option("--publish", help="Upload it, so that the running system uses it")] = False,
) -> None:
    """Trains the click model of texts and writes it as an artefact."""
    console = Console(stderr=True)
    try:
        headlines = read_headlines(train_file)
        # After the file has been read: importing torch takes seconds.
        from infra.training.export import Refused
        from infra.training.headline_fit import MEMBERS, fit

        try:
            found = fit(
                headlines,
                out,
                console=console,
                seed=seed,
                budget_seconds=budget_seconds,
                epochs=epochs,
                members=members or MEMBERS,
            )
        except Refused as error:
            raise ValueError(str(error)) from error
    except (ValueError, OSError, ArtifactError) as error:
        console.print(f"not trained: {error}", style="bold red", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    table = Table("", "pairwise accuracy", title=f"On {found.figures['pairs']:,} pairs of tests that were held out")
    for name, value in found.figures.items():
        if name != "pairs":
            table.add_row(name, f"{value:.4f}")
    console.print(table)
    console.print(f"text-clicks {found.manifest.version} in {out}, {found.seconds:.0f} s", highlight=False)
    if publish:
        _publish(out, console)


def _publish(folder: Path, console: Console) -> None:
    import boto3

    from infra.training.headline_export import publish
    from shared.models.artifacts import load_manifest
    from shared.settings import Settings

    settings = Settings.from_env()
    client = boto3.client("s3")
    prefix = publish(folder, load_manifest(folder), client, settings.bucket_name, settings.tenant)
    console.print(f"published s3://{settings.bucket_name}/{prefix}", highlight=False)


def main() -> int:
    """The command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app()
    return 0


if __name__ == "__main__":
    sys.exit(main())
