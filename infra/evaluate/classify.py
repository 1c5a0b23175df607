"""A classifier trained on one file and measured on another: ``python -m infra.evaluate classify --train F --test F``.

What is measured is the artefact that would be served, with its int8 weights, on one thread. Beside it, on the same
rows: TF-IDF with logistic regression, and a logistic regression on the frozen encoder's vectors. Nothing is fitted on
the test rows.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.training.labels import DEV_SHARE, Rows, read_labels, split
from shared.models.classifier import Head

# What one test text takes on one thread, a guess until it is measured; the training leaves time for all of them.
SECONDS_PER_TEXT = 0.006


def run(
    train_file: Path,
    test_file: Path,
    dev_file: Path | None = None,
    *,
    seed: int = 0,
    budget_seconds: float | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Trains, measures and returns the figures.

    Raises:
        ValueError: a file cannot be trained on; the message says why.
    """
    began = time.monotonic()
    console = console or Console(stderr=True)
    budget = budget_seconds or 600.0
    rows, test = read_labels(train_file), read_labels(test_file)
    dev = read_labels(dev_file) if dev_file is not None else None
    known = set(rows.texts) | set(dev.texts if dev else [])
    repeated = sum(text in known for text in test.texts)
    if dev is None:
        rows, dev = split(rows, DEV_SHARE, seed)
    # After the files have been read: importing torch takes seconds.
    from infra.training import baselines
    from infra.training.calibrate import expected_calibration_error
    from infra.training.train_head import figures, train

    # The baselines learn from what the head learns from: it is trained on the development rows too, in the end.
    everything = rows + dev
    with console.status("TF-IDF with logistic regression"):
        plain = baselines.tfidf(everything, test)
    reserve = SECONDS_PER_TEXT * len(test)
    with tempfile.TemporaryDirectory() as scratch:
        trained = train(
            rows,
            dev,
            Path(scratch) / "measured",
            "measured",
            console=console,
            seed=seed,
            budget_seconds=max(budget - (time.monotonic() - began) - reserve, 10.0),
            asked=test,
        )
        truth = test.classes(trained.labels)
        head = Head.load(trained.folder, threads=1)
        head.probabilities(test.texts[:8])
        with console.status("the served artefact on the test rows, one thread"):
            started = time.perf_counter()
            probabilities = head.probabilities(test.texts)
            took = time.perf_counter() - started
    return {
        **figures(truth, probabilities.argmax(axis=1)),
        "ece": round(expected_calibration_error(probabilities, truth), 4),
        "n": len(test),
        "seconds_train": round(trained.seconds, 1),
        "texts_per_second": round(len(test) / took, 1),
        "answered": round(float((probabilities.max(axis=1) >= head.threshold).mean()), 4),
        "test_texts_in_train": repeated,
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
        "dev": trained.dev,
        "plan": trained.plan,
        "baselines": {
            "tfidf": figures(truth, Rows(test.texts, plain.tolist()).classes(trained.labels)),
            "frozen_head": figures(truth, trained.frozen_test),
        },
    }
