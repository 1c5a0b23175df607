"""Writes the click model of texts as an artefact that serving loads, and checks it against torch."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.training.export import Refused, described, file_names, fine_tuned, write_graph
from infra.training.finetune import Top
from infra.training.ngrams import NgramModel
from infra.training.recipe import Recipe
from infra.training.source import Source
from shared.models.artifacts import Manifest, write_manifest
from shared.models.text_clicks import KIND, TextClicks

# int8 moves scores by a few hundredths of their deviation; a wrong prefix, length or pooling moves most texts.
LEAST_CORRELATION = 0.97
CALIBRATION = 200  # texts that show how large the activations get


@dataclass(frozen=True)
class Checked:
    """Texts, cleaned, and what torch makes of them, (n,)."""

    texts: list[str]
    scores: NDArray[Any]


@dataclass(frozen=True)
class Scorer:
    """A trained encoder. weight: of its score in the log click rate."""

    source: Source
    tokenizer: Any
    top: Top
    recipe: Recipe
    weight: float


def write(
    scorers: list[Scorer],
    ngrams: tuple[NgramModel, float],
    max_tokens: int,
    folder: Path,
    metadata: dict[str, Any],
    checked: Checked,
) -> Manifest:
    """Writes the artefact into `folder`, in the place of what is there.

    scorers: one for each encoder; the log click rate is the sum of what they say. ngrams: over the first one's tokens,
    and their weight in the log click rate.

    Raises:
        Refused: what serving computes correlates with torch's scores by less than `LEAST_CORRELATION`; nothing was
            written.
    """
    model, weight = ngrams
    members = [
        fine_tuned(
            one.source,
            one.tokenizer,
            one.top,
            one.recipe,
            one.weight,
            max_tokens=max_tokens,
            ngrams=model,
            ngram_weight=0.0 if place else weight,
        )
        for place, one in enumerate(scorers)
    ]
    names = file_names(len(members))
    metadata = metadata | described(members, names)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / KIND
        built.mkdir()
        for parts, files in zip(members, names, strict=True):
            write_graph(parts, built, checked.texts[:CALIBRATION], files)
        write_manifest(built, KIND, KIND, metadata=metadata)
        found = TextClicks.load(built, threads=1).scores(checked.texts)
        agreement = float(np.corrcoef(found, checked.scores)[0, 1])
        if not agreement >= LEAST_CORRELATION:
            raise Refused(
                f"the exported model's scores correlate with torch's by {agreement:.4f}; {LEAST_CORRELATION} wanted"
            )
        metadata = metadata | {"agreement": {"texts": len(checked.texts), "correlation": round(agreement, 5)}}
        manifest = write_manifest(built, KIND, KIND, metadata=metadata)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(str(built), folder)
    return manifest


def publish(folder: Path, manifest: Manifest, client: Any, bucket: str, tenant: str) -> str:
    """Uploads the artefact for serving and then names it the latest; returns the prefix it lies under.

    The pointer is written last: a reader sees the former version or a whole one.
    """
    prefix = f"artifacts/{tenant}/{KIND}"
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "manifest.json"):
        client.upload_file(str(path), bucket, f"{prefix}/{manifest.version}/{path.name}")
    client.put_object(Bucket=bucket, Key=f"{prefix}/latest", Body=manifest.version.encode(), ContentType="text/plain")
    return f"{prefix}/{manifest.version}"
