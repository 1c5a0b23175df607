"""The layer and each function as Lambda unpacks them: budget 230 MB together, Lambda's own limit 250."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from infra import layer
from tests.benchmarks.table import Figures
from tests.data import ROOT, artifact

BUILT = ROOT / ".aws-sam" / "build"
BASELINE = ("torch", "transformers", "tokenizers", "numpy")


def installed_mb(*names: str) -> float:
    """MB of installed packages without their dependencies; 0 for one that is not here."""
    size = 0
    for name in names:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            continue
        size += sum(path.stat().st_size for one in files if (path := Path(str(one.locate()))).is_file())
    return size / 1e6


def test_size(tmp_path: Path, figures: Figures) -> None:
    """Of what `make build` made, where it did; the layer is built here otherwise."""
    for name in layer.SERVED:
        artifact(name)
    built = BUILT / "SharedLayer"
    if not built.is_dir():
        built = tmp_path / "layer"
        layer.build(built)
    functions = {folder.name: layer.megabytes(folder) for folder in (ROOT / "functions").iterdir() if folder.is_dir()}
    largest = max(functions, key=functions.__getitem__)
    figures.add(
        f"layer and largest function ({largest}), unzipped",
        layer.megabytes(built) + functions[largest],
        "MB",
        float(layer.BUDGET_MB),
        installed_mb(*BASELINE),
        "torch + transformers, without models",
    )
