"""Reading a published catalogue: CPU seconds of a process with one core, how much it reads and holds; S3 aside.

It happens in a process's first request for a tenant, and again in a request after each new version.
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

from shared import snapshot
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


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_reading(n: int, tmp_path: Path, figures: Figures) -> None:
    taxonomy = artifact("taxonomy-adproduct")
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
    parts = {"ads.json": orjson.dumps(rows), "vectors.f16": vectors.tobytes()}
    for name, part in parts.items():
        (tmp_path / name).write_bytes(part)
    version = f"1-{snapshot.digest(*parts.values())}"
    command = [sys.executable, "-c", READ, str(tmp_path), str(taxonomy), version]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    read = json.loads(run.stdout.splitlines()[-1])
    assert read["ads"] == n
    figures.add(f"snapshot of {n:,} ads, its objects", sum(map(len, parts.values())) / 1e6, "MB")
    figures.add(f"snapshot of {n:,} ads, reading it", read["seconds"], "s")
    figures.add(f"snapshot of {n:,} ads, kept in memory", read["kept"], "MB")
    figures.add(f"snapshot of {n:,} ads, peak memory while reading", read["peak"], "MB")
