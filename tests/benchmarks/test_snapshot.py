"""Reading a published catalogue: CPU seconds of a process with one core, how much it reads and holds; S3 aside.

It happens in a process's first request for a tenant, and behind its requests after each new version: how long the
longest of these takes is measured with one core for all, beside a request that reads the new version itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from shared import publishing
from tests.benchmarks.table import Figures
from tests.data import ROOT, artifact

READ = """
import json, pathlib, sys, time
from types import SimpleNamespace
from shared import snapshot
from shared.models.classifier import TaxonomyClassifier
from shared.stores.catalogue import Pointer
folder, classifier = pathlib.Path(sys.argv[1]), TaxonomyClassifier.load(pathlib.Path(sys.argv[2]))
objects = SimpleNamespace(get=lambda key: (folder / key.rpartition("/")[2]).read_bytes())
def held(kind):  # MB: VmRSS now, VmHWM at its highest
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(kind))
before, began = held("VmRSS"), time.process_time()
catalogue = snapshot.load(SimpleNamespace(objects=objects), Pointer(sys.argv[3], "catalogue", 1), classifier.project)
seconds = time.process_time() - began
peak, kept = held("VmHWM") - before, held("VmRSS") - before
print(json.dumps({"ads": len(catalogue.ads), "seconds": seconds, "peak": peak, "kept": kept}))
"""

REFRESH = """
import json, os, pathlib, sys, time
from types import SimpleNamespace
import numpy as np
from shared import snapshot
from shared.domain import Interest
from shared.models.classifier import TaxonomyClassifier
from shared.models.ranker import Ranker
from shared.retrieval import Request, Retrieval
from shared.stores.catalogue import Pointer
folder, classifier = pathlib.Path(sys.argv[1]), TaxonomyClassifier.load(pathlib.Path(sys.argv[2]))
if sys.argv[4] == "itself":
    snapshot.BEHIND_FROM = 10**9
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
pointer = [Pointer("0-" + sys.argv[3].partition("-")[2], "catalogue", 0)]
objects = SimpleNamespace(get=lambda key: (folder / key.rpartition("/")[2]).read_bytes())
stores = SimpleNamespace(objects=objects, catalogue=SimpleNamespace(pointer=lambda tenant: pointer[0]))
snapshots = snapshot.Snapshots(stores, project=classifier.project, clock=time.time)
interests = [Interest(f"adproduct:{place}", {}, 1 / 8, "long", ()) for place in range(8)]
def request():
    began = time.perf_counter()
    held = snapshots.latest("t")
    n = len(held.ads)
    Retrieval(held, Ranker(), Request(interests, held.vectors[:8], np.ones(n, bool), np.zeros(n, bool))).best(400)
    for _ in range(5):
        time.sleep(0.001)  # a table's answer
    taken.append((time.perf_counter() - began) * 1000)
    return held.version
taken = []
request()
quiet = []
for _ in range(50):
    request()
quiet, taken = taken[1:], []
pointer[0] = Pointer(sys.argv[3], "catalogue", 1)
began = time.monotonic()
while request() != sys.argv[3] and time.monotonic() - began < 60:
    pass
print(json.dumps({"quiet": max(quiet), "longest": max(taken), "seconds": time.monotonic() - began}))
"""


def published(folder: Path, n: int) -> str:
    """Writes the objects of a snapshot; returns its version."""
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(n, 384)).astype(np.float16)
    rows = [
        {
            "ad": {
                "ad_id": f"ad-{place:06d}",
                "title": f"The product of advertisement {place}, in a title of usual length",
                "description": "Two sentences of facts as a shop gives them. Free delivery, thirty days to return it.",
                "landing_url": f"https://shop.example/products/{place}",
                "language": "en",
                "domain": "ecommerce",
                "campaign_id": f"campaign-{place // 10}",
                "brand": f"Brand {place // 3}",
                "attributes": {"price": f"{place % 90 + 10} EUR", "colour": "blue"},
                "bid_cpm": 2.5,
            },
            "category": f"adproduct:{place % 300}",
            "prior": 0.01,
        }
        for place in range(n)
    ]
    parts = {
        "ads.json": b"[" + publishing.BETWEEN.join(map(orjson.dumps, rows)) + b"]",
        "vectors.f16": vectors.tobytes(),
    }
    for name, part in parts.items():
        (folder / name).write_bytes(part)
    return f"1-{publishing.digest(*parts.values())}"


def measured(program: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-c", program, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_reading(n: int, tmp_path: Path, figures: Figures) -> None:
    taxonomy = str(artifact("taxonomy-adproduct"))
    version = published(tmp_path, n)
    read = measured(READ, str(tmp_path), taxonomy, version)
    assert read["ads"] == n
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    figures.add(f"snapshot of {n:,} ads, its objects", size / 1e6, "MB")
    figures.add(f"snapshot of {n:,} ads, reading it", read["seconds"], "s")
    figures.add(f"snapshot of {n:,} ads, kept in memory", read["kept"], "MB")
    figures.add(f"snapshot of {n:,} ads, peak memory while reading", read["peak"], "MB")
    behind, itself = (measured(REFRESH, str(tmp_path), taxonomy, version, kind) for kind in ("behind", "itself"))
    title = f"a new snapshot of {n:,} ads"
    figures.add(
        f"{title}, longest request", behind["longest"], "ms", None, itself["longest"], "a request that reads it itself"
    )
    figures.add(f"{title}, longest request before it", behind["quiet"], "ms")
    figures.add(f"{title}, until it is served", behind["seconds"], "s", 10.0)
