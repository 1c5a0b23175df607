"""Writes a trained head as an artefact that serving loads, checks it against torch, and publishes it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tokenizers import Tokenizer

from infra.training.calibrate import accuracy
from infra.training.graph import OUTPUT, encoder_graph
from infra.training.ngrams import NgramModel
from infra.training.quantise import channel_maxima, quantise, smooth
from shared.models.artifacts import Manifest, write_manifest
from shared.models.classifier import HEAD_KIND, Head
from shared.models.encoder import Tokens, run_in_batches
from shared.models.sessions import open_session

# int8 moves near ties; a wrong prefix, length, pooling or label order moves most texts. What heads lose is less: 0.4
# points and 1 - 0.9994 of the cosine on 1,431 texts of 11 labels.
LEAST_AGREEMENT = 0.9
MOST_ACCURACY_LOST = 0.01
LEAST_COSINE = 0.98
VECTOR = "vector"  # the graph's name for it


@dataclass(frozen=True)
class Check:
    """What torch makes of some texts. texts: without prefix. classes: (n,), -1 unknown. vectors: unit, (n, hidden).
    logits: (n, labels)."""

    texts: list[str]
    classes: NDArray[np.int64]
    vectors: NDArray[np.float32]
    logits: NDArray[np.float32]


class Refused(Exception):
    """The exported head does not predict what the trained one predicts; nothing was written."""


@dataclass(frozen=True)
class Parts:
    """What a served head is made of.

    weights, config: the encoder with its trained layers (transformers' names). linear: weight (labels, hidden) and bias
    (labels,) over the unit vector. length: tokens that the encoder reads; the n-grams are of the first `max_tokens`.
    ngram_weight: weight of the n-gram logits beside the encoder's; 0 leaves them out.
    """

    weights: dict[str, NDArray[np.float32]]
    config: dict[str, Any]
    position_offset: int
    tokenizer: Tokenizer
    linear: tuple[NDArray[np.float32], NDArray[np.float32]]
    length: int
    max_tokens: int
    ngrams: NgramModel
    ngram_weight: float


def _read_first(model: onnx.ModelProto, length: int) -> None:
    """Lets the graph so far read only the first `length` tokens."""
    nodes = list(model.graph.node)
    for node in nodes:
        node.input[:] = [f"{name}.first" if name in ("input_ids", "attention_mask") else name for name in node.input]
    bounds = {"first.start": 0, "first.end": length, "first.axis": 1}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array([value], np.int64), name) for name, value in bounds.items()
    )
    slices = [
        helper.make_node("Slice", [name, *bounds], [f"{name}.first"], name=f"{name}.first")
        for name in ("input_ids", "attention_mask")
    ]
    del model.graph.node[:]
    model.graph.node.extend([*slices, *nodes])


def write_graph(parts: Parts, folder: Path, texts: list[str]) -> None:
    """Writes `model.onnx` (tokens to logits) and `tokenizer.json`; `texts`, with their prefix, show the activations."""
    parts.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    tokens = Tokens(folder / "tokenizer.json", parts.length)
    graph = encoder_graph(
        parts.weights, parts.config, position_offset=parts.position_offset, quantised_embeddings=False
    )
    maxima = channel_maxima(graph, tokens, texts)
    graph = encoder_graph(parts.weights, parts.config, position_offset=parts.position_offset)
    quantise(smooth(graph, maxima), folder / "model.onnx")

    # The head stays in float32: it is small, and one scale for all of a vector's channels would cost it its precision.
    model = onnx.load(folder / "model.onnx")
    _read_first(model, parts.length)
    weight, bias = parts.linear
    for node in model.graph.node:
        node.output[:] = [VECTOR if name == OUTPUT else name for name in node.output]
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(weight.T), "head.weight"),
            numpy_helper.from_array(bias, "head.bias"),
        ]
    )
    last = "deep" if parts.ngram_weight else OUTPUT
    model.graph.node.append(helper.make_node("MatMul", [VECTOR, "head.weight"], ["head.product"], name="head.product"))
    model.graph.node.append(helper.make_node("Add", ["head.product", "head.bias"], [last], name="head.logits"))
    if parts.ngram_weight:
        parts.ngrams.add_to(model, "input_ids", "attention_mask", parts.ngram_weight, "deep", OUTPUT)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["n", len(bias)]))
    onnx.save(model, folder / "model.onnx")


def write_head(
    parts: Parts,
    folder: Path,
    name: str,
    metadata: dict[str, Any],
    calibration: list[str],
    check: Check,
) -> tuple[Manifest, dict[str, float]]:
    """Writes the artefact into `folder`, in the place of what is there.

    Args:
        metadata: `labels`, `temperature`, `threshold` and what else describes it (see `shared.models.classifier.Head`).
        calibration: texts that show how large the activations get.
        check: what torch makes of some texts.

    Returns the manifest and how far it agrees with torch.

    Raises:
        Refused: the head as served predicts another label, or gives another vector, too often or too far.
    """
    prefix = str(metadata["prefix"])
    metadata = metadata | {"max_tokens": parts.max_tokens}
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / name
        built.mkdir()
        write_graph(parts, built, [prefix + text for text in calibration])
        write_manifest(built, HEAD_KIND, name, metadata=metadata)
        figures = compare(Head.load(built, threads=1), check.texts, check.classes, check.logits) | cosines(
            built, prefix, parts.max_tokens, check
        )
        manifest = write_manifest(built, HEAD_KIND, name, metadata=metadata | {"agreement": figures})
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(str(built), folder)
    return manifest, figures


def compare(head: Head, texts: list[str], truth: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, float]:
    """The share of texts with torch's label, and both accuracies. See `write_head`.

    Raises:
        Refused: below `LEAST_AGREEMENT`, or more than `MOST_ACCURACY_LOST` of accuracy lost.
    """
    ours, theirs = head.probabilities(texts).argmax(axis=1), logits.argmax(axis=1)
    figures = {
        "texts": float(len(texts)),
        "same_label": round(accuracy(theirs, ours), 4),
        "accuracy": round(accuracy(truth, ours), 4),
        "accuracy_torch": round(accuracy(truth, theirs), 4),
    }
    # One text in a hundred may fall either way by chance where there are few.
    slack = MOST_ACCURACY_LOST + 1 / np.sqrt(len(texts)) / 4
    if (
        figures["same_label"] < LEAST_AGREEMENT - 1.6 * np.sqrt(0.09 / len(texts))
        or figures["accuracy_torch"] - figures["accuracy"] > slack
    ):
        raise Refused(
            f"the exported head gives torch's label to {figures['same_label']:.1%} of {len(texts)} texts (at least "
            f"{LEAST_AGREEMENT:.0%} wanted), accuracy {figures['accuracy']:.4f} after {figures['accuracy_torch']:.4f}"
        )
    return figures


def cosines(folder: Path, prefix: str, max_tokens: int, check: Check) -> dict[str, float]:
    """Mean and least cosine of the exported graph's unit vectors with torch's. See `write_head`.

    Raises:
        Refused: the mean is below `LEAST_COSINE`.
    """
    model = onnx.load(folder / "model.onnx")
    # Serving has no use for the vector: the graph in the artefact gives logits alone.
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(VECTOR, onnx.TensorProto.FLOAT, None))
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(model, f"{scratch}/vectors.onnx")
        session = open_session(Path(scratch) / "vectors.onnx", 1)
        tokens = Tokens(folder / "tokenizer.json", max_tokens)
        ours = run_in_batches(session, tokens, [prefix + text for text in check.texts])
    found = np.einsum("nd,nd->n", ours, check.vectors)
    figures = {"cosine": round(float(found.mean()), 5), "least_cosine": round(float(found.min()), 5)}
    if figures["cosine"] < LEAST_COSINE:
        raise Refused(
            f"the exported head's vectors have cosine {figures['cosine']:.4f} with torch's; {LEAST_COSINE} wanted"
        )
    return figures


def publish(folder: Path, manifest: Manifest, client: Any, bucket: str, tenant: str) -> str:
    """Uploads the artefact for serving and then names it the latest; returns the prefix it lies under.

    The pointer is written last: a reader sees the former version or a whole one.
    """
    prefix = f"artifacts/{tenant}/heads/{manifest.name}"
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "manifest.json"):
        client.upload_file(str(path), bucket, f"{prefix}/{manifest.version}/{path.name}")
    client.put_object(Bucket=bucket, Key=f"{prefix}/latest", Body=manifest.version.encode(), ContentType="text/plain")
    return f"{prefix}/{manifest.version}"
