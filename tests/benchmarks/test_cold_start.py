"""From the start of a function's process to its first answer, in Lambda's runtime on one core.

Budgets: 1.0 s (copy 0.6 s), and a fifth of torch + transformers.

AWS's runtime interface emulator starts `awslambdaric` at the first event, as Lambda does, so that what is measured is
interpreter, imports, models, clients and the answer itself, from and to local services on the other core. The baseline
is a handler that classifies the same text with the same encoder in full precision, loaded by `AutoModel`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local import resources
from infra.local.ministack import Ministack
from infra.local.processes import free_port
from shared.domain import Copy
from shared.stores.catalogue import Catalogue
from shared.stores.copies import ANYONE, Copies, gate_stamp
from shared.stores.table import Table
from tests.benchmarks.table import Figures
from tests.benchmarks.test_encoder import full_model  # noqa: F401 - a fixture
from tests.data import ROOT, artifact
from tests.lambda_runtime import LambdaRuntime, event_of

TIMES = 5
WARM = 20
BASELINE_TIMES = 3
TEXT = "最新款智能手机，限时优惠！"
BASELINE = """
import json, os
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
torch.set_num_threads(1)
FOLDER = os.environ["MODEL"]
tokenizer, model = AutoTokenizer.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER).eval()
kept = np.load(os.environ["LABELS"])
centre, labels, ids = torch.tensor(kept["centre"]), torch.tensor(kept["labels"].astype(np.float32)), kept["ids"]

def lambda_handler(event, context):
    texts = json.loads(event["body"])["texts"]
    batch = tokenizer(["query: " + text for text in texts], padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    weight = batch["attention_mask"].unsqueeze(-1)
    vectors = torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)
    best = ((vectors - centre) @ labels.T).argmax(dim=1)
    return {"statusCode": 200, "body": json.dumps({"labels": [str(ids[place]) for place in best]})}
"""


def api(method: str, path: str, body: object) -> dict[str, Any]:
    event = event_of("classify_api")
    event["requestContext"]["http"] |= {"method": method, "path": path}
    return event | {"rawPath": path, "routeKey": f"{method} {path}", "body": json.dumps(body, ensure_ascii=False)}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Local services with a published catalogue and banked copy, as a function's environment."""
    artifact("encoder")
    folder = tmp_path_factory.mktemp("cold")
    services = Ministack(free_port(), folder / "services", folder / "services.log")
    try:
        services.wait()
        made = resources.create(services.url)
        env = made.environment() | {
            "STAGE": "local",
            "CONSENT_BASIS": "asserted",
            "THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PSEUDONYM_KEY_FILE": str(folder / "key"),
        }
        with LambdaRuntime(ROOT / "functions" / "classify", folder / "log", env) as runtime:
            assert runtime.api(event_of("classify_api"))[0] == 200
            assert runtime.invoke(event_of("classify_sqs")) == {"batchItemFailures": []}
        table = Table(resources.client("dynamodb", services.url), made.table)
        stored = Catalogue(table).get_ad("demo", "phone-a")
        assert stored is not None
        provenance = {"gate": gate_stamp(stored.ad), "model": "m", "rung": "llm"}
        texts = ("最新款智能手机，活动价 1999 元", "6.6 英寸直屏，5000 mAh 电池", "智能手机，活动价 1999 元")
        copies = [Copy(text, "zh", "bank", (), {"zh": "AI", "en": "AI"}, provenance) for text in texts]
        Copies(table).bank_change("demo", "phone-a", ANYONE, "zh", lambda _: copies)
        yield env
    finally:
        services.stop()


def measure(folder: Path, log: Path, env: dict[str, str], event: object, times: int) -> tuple[float, float, Any]:
    """Seconds to the first answer, and of a warm call (medians), and the body."""
    first, warm, body = [], [], None
    for _ in range(times):
        with LambdaRuntime(folder, log, env, core=max(os.sched_getaffinity(0))) as runtime:
            began = time.perf_counter()
            status, body = runtime.api(event)
            first.append(time.perf_counter() - began)
            assert status == 200, body
            for _ in range(WARM):
                began = time.perf_counter()
                runtime.post(event)
                warm.append(time.perf_counter() - began)
    return float(np.median(first)), float(np.median(warm)), body


def test_cold_starts(
    environment: dict[str, str],
    full_model: Path,  # noqa: F811
    tmp_path: Path,
    figures: Figures,
    capsys: pytest.CaptureFixture[str],
) -> None:
    baseline = tmp_path / "baseline"
    baseline.mkdir()
    (baseline / "handler.py").write_text(BASELINE)
    classify = api("POST", "/v1/classify", {"texts": [TEXT]})
    env = environment | {"MODEL": str(full_model), "LABELS": str(artifact("taxonomy-adproduct") / "vectors.npz")}
    torch, torch_warm, _ = measure(baseline, tmp_path / "log", env, classify, BASELINE_TIMES)

    event = {"user_id": "cold", "event": "view", "timestamp": time.time() - 60, "text": "浏览了一款智能手机"}
    cases: list[tuple[str, str, dict[str, Any], float | None, str]] = [
        ("classify", "classify", classify, 1.0, ""),
        ("profile", "profile", api("POST", "/v1/events", {"events": [event]}), 1.0, ""),
        ("recommend", "recommend", event_of("recommend_api"), 1.0, ""),
        ("generate", "generate", api("POST", "/v1/copy", {"ad_id": "phone-a", "language": "zh", "n": 2}), 0.6, "bank"),
        # No model is asked; what a template wrote is new, so that ledger and packs are loaded as well.
        ("generate, gated", "generate", api("POST", "/v1/copy", {"ad_id": "watch-b", "n": 2}), None, "template"),
    ]
    with capsys.disabled():
        print(f"\n{'start to first answer, one core':34}{'first, s':>10}{'warm, ms':>10}{'budget, s':>11}")
        print(f"{'torch + transformers':34}{torch:10.2f}{torch_warm * 1000:10.1f}")
        for label, name, request, budget, rung in cases:
            folder = ROOT / "functions" / name
            first, warm, body = measure(folder, tmp_path / f"{label}.log", environment, request, TIMES)
            assert {copy["served_by"] for copy in body.get("copies", ())} <= {rung}, body
            allowed = min(budget, torch / 5) if budget else None
            print(f"{label:34}{first:10.2f}{warm * 1000:10.1f}{f'{allowed:11.2f}' if allowed else ''}")
            figures.add(
                f"cold start, {label}: process start to first answer",
                first,
                "s",
                budget=allowed,
                baseline=torch,
                baseline_name="torch + transformers",
            )
            figures.add(f"warm call through the runtime, {label}", warm * 1000, "ms")
