"""The click model over the candidates of one request, on one thread, beside the untrained ranker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from infra.training import clicks_graph
from infra.training.clicks_net import ClickNet
from shared.models.artifacts import write_manifest
from shared.models.click_model import DIMENSIONS, FORMAT, GRAPH, SETTINGS, ClickModel
from shared.models.features import FEATURES, HISTORY_ITEMS, Candidates, History
from shared.models.ranker import Ranker
from tests.benchmarks.table import Figures

CANDIDATES, KNOWN = 400, 20_000
TIMES = 200


def percentiles(call: Callable[[], object]) -> tuple[float, float]:
    """Median and 99th percentile, milliseconds of the process's own time."""
    taken = []
    for _ in range(TIMES):
        began = time.process_time()
        call()
        taken.append((time.process_time() - began) * 1000)
    return float(np.median(taken)), float(np.quantile(taken, 0.99))


def test_the_candidates_of_a_request(tmp_path: Path, figures: Figures) -> None:
    generator = np.random.default_rng(0)
    ids = [f"ad-{place:06d}" for place in range(KNOWN)]
    columns = generator.normal(size=(CANDIDATES, len(FEATURES))).astype(np.float32)
    clicks_graph.write(ClickNet(KNOWN, columns, np.zeros(len(FEATURES)), -3.0), 1.0, 0.0, tmp_path / GRAPH)
    settings = {"format": FORMAT, "features": FEATURES, "history_items": HISTORY_ITEMS, "ids": ids}
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    write_manifest(tmp_path, "ranker", "ranker")
    began = time.process_time()
    model = ClickModel.load(tmp_path, threads=1)
    loading = (time.process_time() - began) * 1000

    vectors = generator.normal(size=(CANDIDATES + HISTORY_ITEMS, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = [*ids[: CANDIDATES // 2], *(f"new-{place}" for place in range(CANDIDATES // 2))]
    candidates = Candidates(asked, vectors[:CANDIDATES], columns)
    ages = np.arange(HISTORY_ITEMS, dtype=np.float32)
    history = History(tuple(ids[-HISTORY_ITEMS:]), vectors[CANDIDATES:], ages)
    plain = percentiles(lambda: Ranker().log_odds_of(columns))[0]
    median, slow = percentiles(lambda: model.log_odds(candidates, history))
    name = f"click model, {CANDIDATES} candidates, {HISTORY_ITEMS} history items"
    figures.add(f"{name}, p50", median, "ms", budget=4.0, baseline=plain, baseline_name="untrained ranker")
    figures.add(f"{name}, p99", slow, "ms")
    figures.add(f"click model of {KNOWN:,} ids, loading", loading, "ms")
    assert np.isfinite(model.log_odds(candidates, history)).all()
