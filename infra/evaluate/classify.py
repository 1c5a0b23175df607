"""A classifier trained on one file and measured on another: ``python -m infra.evaluate classify --train F --test F``.

What is measured is the artefact that would be served, with its int8 weights, on one thread. Beside it, on the same
rows: TF-IDF with logistic regression, a logistic regression on the frozen encoder's vectors, and the most frequent
label. Nothing is fitted on the test rows.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from infra.training.labels import DEV_SHARE, Rows, read_labels, read_texts, split
from shared.models.classifier import Head

# What a test text takes on one thread as served and through the untouched encoder: a guess by its length, about one
# token to three bytes. The training leaves time for all of them.
SECONDS_PER_TEXT, SECONDS_PER_TOKEN, MOST_TOKENS = 0.0015, 0.00045, 300

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """What was measured on the test rows, and of what.

    figures: the command's JSON object. labels: the head's, in the order of its classes. truth: (n,), -1 for a label
    that training never saw. probabilities: (n, labels), calibrated. predictions: classes (n,) of each baseline.
    threshold: below it the head abstains. curves: by encoder, the measurements of its training, in order. manifest: the
    artefact's name, version and metadata.
    """

    figures: dict[str, Any]
    labels: list[str]
    truth: Classes
    probabilities: NDArray[np.float32]
    predictions: dict[str, Classes]
    test: Rows
    threshold: float
    curves: dict[str, list[dict[str, Any]]]
    manifest: dict[str, Any]

    @property
    def predicted(self) -> Classes:
        """The likeliest class of each row, (n,)."""
        return self.probabilities.argmax(axis=1).astype(np.int64)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Its probability, (n,)."""
        return self.probabilities.max(axis=1)


def measure(
    train_file: Path,
    test_file: Path,
    dev_file: Path | None = None,
    *,
    seed: int = 0,
    budget_seconds: float | None = None,
    unlabelled: Path | None = None,
    console: Console | None = None,
) -> Measured:
    """Trains a head and the baselines, and measures them on the test rows.

    unlabelled: rows ``{"text"}`` of the same kind, which training may use.

    Raises:
        ValueError: a file cannot be trained on; the message says why.
    """
    began = time.monotonic()
    console = console or Console(stderr=True)
    budget = budget_seconds or 600.0
    rows, test = read_labels(train_file), read_labels(test_file, "test")
    dev = read_labels(dev_file, "dev") if dev_file is not None else None
    notes = [
        f"{file.name}: {note}"
        for file, part in ((train_file, rows), (dev_file, dev), (test_file, test))
        if file is not None and part is not None
        for note in part.notes
    ]
    for note in notes:
        console.print(note, style="yellow", highlight=False)
    known = set(rows.texts) | set(dev.texts if dev else [])
    repeated = sum(text in known for text in test.texts)
    if dev is None:
        rows, dev = split(rows, DEV_SHARE, seed)
    more = read_texts(unlabelled) if unlabelled is not None else None
    # After the files have been read: importing torch takes seconds.
    from infra.training import baselines
    from infra.training.calibrate import error_by_chance, expected_calibration_error, figures
    from infra.training.export import Refused
    from infra.training.train_head import train
    from infra.training.verdict import interval95

    # The baselines learn from what the head learns from: it is trained on the development rows too, in the end.
    everything = rows + dev
    with console.status("TF-IDF with logistic regression"):
        plain = baselines.tfidf_model(everything, test)
    tokens = sum(min(len(text.encode()) / 3, MOST_TOKENS) for text in test.texts)
    reserve = SECONDS_PER_TEXT * len(test) + SECONDS_PER_TOKEN * tokens
    with tempfile.TemporaryDirectory() as scratch:
        try:
            trained = train(
                rows,
                dev,
                Path(scratch) / "measured",
                "measured",
                console=console,
                seed=seed,
                budget_seconds=max(budget - (time.monotonic() - began) - reserve, 10.0),
                asked=test,
                unlabelled=more,
            )
        except Refused as error:
            raise ValueError(str(error)) from error
        head = Head.load(trained.folder, threads=1)
        head.probabilities(test.texts[:8])
        with console.status("the served artefact on the test rows, one thread"):
            started = time.perf_counter()
            probabilities = head.probabilities(test.texts)
            took = time.perf_counter() - started
    names = trained.labels
    truth = test.classes(names)
    predictions = {
        "tfidf": Rows(test.texts, plain.labels.tolist()).classes(names),
        "frozen_head": np.asarray(trained.frozen_test, np.int64),
        "majority": np.full(len(test), names.index(baselines.majority(rows)[0]), np.int64),
    }
    rivals = {name: figures(truth, predicted) for name, predicted in predictions.items()}
    rivals["tfidf"]["ece"] = round(expected_calibration_error(plain.probabilities, test.classes(plain.names)), 4)
    predicted = probabilities.argmax(axis=1)
    manifest = {"name": head.name, "version": head.version, **trained.manifest.metadata}
    result = {
        **figures(truth, predicted),
        "ece": round(expected_calibration_error(probabilities, truth), 4),
        "ece_by_chance": round(error_by_chance(probabilities.max(axis=1)), 4),
        "n": len(test),
        "interval95": list(interval95(int((predicted == truth).sum()), len(test))),
        "seconds_train": round(trained.seconds, 1),
        "texts_per_second": round(len(test) / took, 1),
        "answered": round(float((probabilities.max(axis=1) >= head.threshold).mean()), 4),
        "test_texts_in_train": repeated,
        "test_labels_not_in_train": int((truth < 0).sum()),
        "notes": notes,
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
        "dev": trained.dev,
        "plan": trained.plan,
        "int8": manifest["agreement"],
        "baselines": rivals,
    }
    curves = {encoder: [asdict(row) for row in curve] for encoder, curve in trained.curves.items()}
    return Measured(result, names, truth, probabilities, predictions, test, head.threshold, curves, manifest)
