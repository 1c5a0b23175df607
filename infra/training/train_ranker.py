"""Trains a tenant's ranker and writes it as one artefact: a click model from the decision log, a next-item model from
an uploaded history, or both.

On a laptop, on a GPU where there is one::

    python -m infra.training.train_ranker --log 'logs/decisions/*/*.jsonl.gz' --ads ads.jsonl --items items.jsonl \\
        --out .local/ranker
    python -m infra.training.train_ranker --events events.jsonl.gz --items items.jsonl.gz --out .local/ranker

With two processes, or one for each GPU (the click model's curve is that of one process, whatever their number);
``--decisions`` is ``--log``, which torchrun would take for an option of its own::

    torchrun --standalone --nproc-per-node 2 -m infra.training.train_ranker --decisions … --out .local/ranker

The log is told in `infra.training.clicks_log`. Texts of ads (``--ads``) and items (``--items``) become vectors of the
topic space, as in a catalogue's snapshot; a training job is given the vectors instead (``--vectors``,
`shared.ranker_inputs`). An ad or item without either is known by its id alone, where it is seen often. With
``--checkpoints`` a training of the click model that was killed goes on where it was. With ``--publish`` the artefact is
uploaded beside the one in service, which only the gate replaces.

Exit status: 0 trained, 1 not trained (the reason is printed after ``not trained:``), 2 wrong options.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from infra.evaluate.rows import read_jsonl
from shared.errors import ArtifactError
from shared.models.artifacts import Manifest, write_manifest

if TYPE_CHECKING:
    from infra.training.clicks_training import Trained

KIND = NAME = "ranker"
NEXT_ITEM = "next_item"
CACHE = Path(".local/vectors")
NEXT_ITEM_SHARE = 0.6  # of the time, where both models are trained
_REFUSES = {"dismiss"}  # events after which nothing of the kind is wanted next


class Weighing(StrEnum):
    """Of impressions."""

    NONE = "none"
    PROPENSITY = "propensity"


def files(patterns: list[str]) -> list[Path]:
    """The files that names, folders and globs stand for, in order.

    Raises:
        ValueError: one stands for none.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            some = [one for one in path.rglob("*") if one.is_file() and ".jsonl" in one.name]
        else:
            start = Path(path.anchor)
            some = [one for one in start.glob(str(path.relative_to(start))) if one.is_file()]
        if not some:
            raise ValueError(f"{pattern} stands for no file")
        found += sorted(some)
    return list(dict.fromkeys(found))


def histories(paths: list[Path], known: dict[str, int]) -> list[NDArray[np.int64]]:
    """Each person's items, oldest first, as numbers of `known`; items that are not in it are left out, and one that was
    seen, then put into the cart and then bought is there once, as in a profile (`shared.domain.turns`).

    Rows are ``{"user_id", "item_id", "event", "timestamp" or "position"}``; those of one moment stay in file order.

    Raises:
        ValueError: a row lacks a field, or its time is none; the message names the file and the row.
    """
    rows: dict[str, list[tuple[float, int, int]]] = {}
    order = 0
    for path in paths:
        for number, row in enumerate(read_jsonl(path), start=1):
            order += 1
            try:
                person, item = str(row["user_id"]), row.get("item_id")
                at = _seconds(row.get("timestamp", row.get("position", order)))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path.name}, row {number}: {type(error).__name__}: {error}") from None
            if item is not None and str(item) in known and row.get("event") not in _REFUSES:
                rows.setdefault(person, []).append((at, order, known[str(item)]))
    return [
        np.array([item for item, _ in groupby(item for _, _, item in sorted(own))], np.int64) for own in rows.values()
    ]


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return datetime.fromisoformat(value).timestamp()
    return float(value)


def command(
    log: Annotated[
        list[str] | None,
        typer.Option("--log", "--decisions", help="Decision logs: files, folders or globs; may repeat"),
    ] = None,
    items: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Items' texts; may repeat")
    ] = None,
    ads: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Ads' texts; may repeat")] = None,
    vectors: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Vectors by id, as a training job is given them")
    ] = None,
    events: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Histories of items; may repeat")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="The artefact's folder")] = Path(".local/ranker"),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    budget_seconds: Annotated[float, typer.Option(min=10, help="What all of it may take, about")] = 1500.0,
    epochs: Annotated[float | None, typer.Option(min=0.01, help="Fixed number, whatever they take")] = None,
    window_hours: Annotated[float, typer.Option(min=0.01, help="In which a click counts for its impression")] = 24.0,
    now: Annotated[
        float | None, typer.Option(help="Epoch seconds until which the log is whole (default: the latest time in it)")
    ] = None,
    weights: Annotated[Weighing, typer.Option(help="Of impressions, by how likely they were shown")] = Weighing.NONE,
    checkpoints: Annotated[Path | None, typer.Option(file_okay=False, help="States to go on from after a kill")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, whatever the checkpoints hold")] = False,
    cache: Annotated[Path, typer.Option(file_okay=False, help="Keeps the texts' vectors")] = CACHE,
    publish: Annotated[bool, typer.Option("--publish", help="Upload it for the gate to judge")] = False,
) -> None:
    """Trains a ranker and writes it as an artefact."""
    if not log and not events:
        raise typer.BadParameter("a decision log or histories are needed", param_hint="--log, --events")
    if events and not items:
        raise typer.BadParameter("histories need the items' texts", param_hint="--items")
    began = time.monotonic()
    # After the options: importing torch takes seconds.
    from infra.training import distributed

    try:
        with distributed.joined():
            console = Console(stderr=True, quiet=not distributed.is_first())
            texts = _texts([*(items or []), *(ads or [])])
            with tempfile.TemporaryDirectory() as scratch:
                metadata: dict[str, Any] = {"seed": seed}
                folder = Path(scratch) / NAME
                folder.mkdir()
                if events:
                    share = NEXT_ITEM_SHARE if log else 1.0
                    deadline = began + budget_seconds * share
                    metadata[NEXT_ITEM] = _next_item(
                        events, _texts(items or []), folder, cache, seed=seed, deadline=deadline, console=console
                    )
                if log:
                    trained, told = _clicks(
                        files(log),
                        _Sources(texts, _vectors(vectors), cache),
                        folder,
                        console,
                        window=window_hours * 3600,
                        now=now,
                        seed=seed,
                        seconds=math.inf if epochs is not None else began + budget_seconds - time.monotonic(),
                        epochs=epochs,
                        weights=weights,
                        checkpoints=checkpoints,
                        restart=restart,
                    )
                    metadata["clicks"] = trained.metrics | {"log": told, "curve": [_told(row) for row in trained.curve]}
                manifest = distributed.on_first(lambda: _placed(folder, out, metadata))
            first = distributed.is_first()
    except (ValueError, ArtifactError, distributed.LostError) as error:
        raise _not_trained(error, lost=isinstance(error, distributed.LostError)) from None
    if not first:
        return
    if "clicks" in metadata:
        _show(console, metadata["clicks"])
    console.print(f"ranker {manifest.version} in {out}, {time.monotonic() - began:.0f} s", highlight=False)
    if publish:
        _publish(out, manifest, console)


def _told(row: dict[str, float]) -> dict[str, float | None]:
    """A measurement in training as a manifest has it: JSON knows no "not a number"."""
    named = {name: row[name] for name in ("share", "loss", "dev_loss")}
    return {name: value if math.isfinite(value) else None for name, value in named.items()}


def _not_trained(error: Exception, *, lost: bool = False) -> typer.Exit:
    """Says why, once for all processes; that another one is gone is said by each that is left."""
    if os.environ.get("RANK", "0") == "0" or lost:  # torchrun's
        Console(stderr=True).print(f"not trained: {error}", style="bold red", highlight=False, soft_wrap=True)
    return typer.Exit(1)


@dataclass(frozen=True)
class _Sources:
    """Where vectors of ids come from: given ones first, then texts, whose vectors are kept in the folder `cache`."""

    texts: dict[str, str]
    vectors: dict[str, NDArray[np.float32]]
    cache: Path

    def of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """(len(ids), 384) in the topic space, zeros for an id of which nothing is known."""
        from infra.training.clicks_vectors import topic_vectors

        wanted = {name: self.texts[name] for name in ids if name in self.texts and name not in self.vectors}
        found = topic_vectors(ids, wanted, cache=self.cache)
        for place, name in enumerate(ids):
            if name in self.vectors:
                found[place] = self.vectors[name]
        return found


def _vectors(path: Path | None) -> dict[str, NDArray[np.float32]]:
    from shared.ranker_inputs import read_vectors

    return {} if path is None else read_vectors(path)


def _texts(paths: list[Path]) -> dict[str, str]:
    from infra.training.clicks_vectors import texts_of

    return {key: text for path in paths for key, text in texts_of(path).items()}


def _clicks(
    paths: list[Path],
    sources: _Sources,
    folder: Path,
    console: Console,
    *,
    window: float,
    now: float | None,
    seed: int,
    seconds: float,
    epochs: float | None,
    weights: Weighing,
    checkpoints: Path | None,
    restart: bool,
) -> tuple[Trained, dict[str, Any]]:
    """The click model, its files in `folder` (the first process's), and what reading the log met."""
    from infra.training import clicks_training, distributed
    from infra.training.clicks_log import read

    impressions, told = read(paths, window=window, now=now)
    for note in told.notes():
        console.print(note, highlight=False)
    missing = sum(name not in sources.texts and name not in sources.vectors for name in impressions.ids)
    if missing:
        console.print(f"{missing:,} ids of the log have no content: they are known by their id alone", style="yellow")
    if impressions.clicks < clicks_training.MIN_CLICKS:  # before anything is encoded
        raise clicks_training.Refused(
            f"{impressions.clicks:,} clicks on {len(impressions):,} impressions are too few to learn from: "
            f"{clicks_training.MIN_CLICKS} are needed ({'; '.join(told.notes())})"
        )
    vectors = distributed.on_first(lambda: sources.of(impressions.ids))
    trained = clicks_training.train(
        impressions,
        vectors,
        seed=seed,
        seconds=seconds,
        epochs=epochs or clicks_training.EPOCHS,
        weights=weights.value,
        checkpoints=checkpoints,
        restart=restart,
        say=lambda line: console.print(line, highlight=False),
    )

    def written() -> float:
        clicks_training.write(trained, folder)
        return clicks_training.check(trained, impressions, vectors, folder)

    difference = distributed.on_first(written)
    return trained, {
        "lines": told.lines,
        "decisions": told.decisions,
        "left_out": told.left_out,
        "until": told.until,
        "bad": told.bad,
        "ids_without_content": missing,
        "graph_difference": round(difference, 6),
    }


def _next_item(
    events: list[Path],
    texts: dict[str, str],
    folder: Path,
    cache: Path,
    *,
    seed: int,
    deadline: float,
    console: Console,
) -> dict[str, Any]:
    """The next-item model's figures; its files are in `folder`. The first process fits it, the others wait."""
    from infra.training import distributed

    def fitted() -> dict[str, Any]:
        from infra.training.clicks_vectors import topic_vectors
        from infra.training.next_item import fit

        ids = list(texts)
        people = histories(events, {name: place for place, name in enumerate(ids)})
        model = fit(
            people,
            ids,
            topic_vectors(ids, texts, cache=cache),
            seed=seed,
            deadline=deadline,
            say=lambda line: console.print(line, highlight=False),
        )
        model.save(folder / NEXT_ITEM)
        return dict(model.figures)

    return distributed.on_first(fitted)


def _placed(folder: Path, out: Path, metadata: dict[str, Any]) -> Manifest:
    """Writes the manifest and puts the artefact in the place of what is in `out`."""
    manifest = write_manifest(folder, KIND, NAME, metadata=metadata)
    out.parent.mkdir(parents=True, exist_ok=True)
    arriving = out.with_name(f".{out.name}.arriving")
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.copytree(folder, arriving)
    if out.exists():
        shutil.rmtree(out)
    arriving.rename(out)
    return manifest


def _show(console: Console, metrics: dict[str, Any]) -> None:
    """The click model beside its baselines on the last impressions, all of them and those of new ads and people."""
    table = Table("", "AUC", "AUC a person", "log loss", "ECE", "n", title="On the log's last impressions")
    for group in ("all", "known", "new_ads", "new_people"):
        if group in metrics:
            ours = metrics[group]
            for name, row in {"click model": ours, **ours["baselines"]}.items():
                shown = ["-" if row[key] is None else f"{row[key]:.4f}" for key in ("auc", "uauc", "logloss", "ece")]
                table.add_row(f"{group.replace('_', ' ')}: {name}", *shown, f"{row['n']:,}")
            table.add_section()
    console.print(table)
    if doubt := metrics.get("warning"):
        console.print(f"warning: {doubt}", style="bold yellow", highlight=False, soft_wrap=True)


def upload(folder: Path, manifest: Manifest, client: Any, bucket: str, tenant: str) -> str:
    """Uploads the artefact, its manifest last, and returns the prefix it lies under. Nothing names it the latest."""
    prefix = f"artifacts/{tenant}/{KIND}/{manifest.version}"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(paths, key=lambda path: path.name == "manifest.json"):
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder).as_posix()}")
    return prefix


def _publish(folder: Path, manifest: Manifest, console: Console) -> None:
    import boto3

    from shared.settings import Settings

    settings = Settings.from_env()
    prefix = upload(folder, manifest, boto3.client("s3"), settings.bucket_name, settings.tenant)
    console.print(f"uploaded s3://{settings.bucket_name}/{prefix}: the gate decides whether it serves", highlight=False)


def main() -> int:
    """The command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app()
    return 0


if __name__ == "__main__":
    sys.exit(main())
