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
from infra.training.finetune import Top
from infra.training.graph import OUTPUT, encoder_graph
from infra.training.ngrams import NgramModel
from infra.training.quantise import channel_maxima, quantise, smooth
from infra.training.recipe import Recipe
from infra.training.source import Source
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
MODEL, TOKENIZER = "model.onnx", "tokenizer.json"


@dataclass(frozen=True)
class Check:
    """What torch makes of some texts. texts: without prefix. classes: (n,), -1 unknown. vectors: unit, of each encoder,
    (n, hidden). logits: their sum, (n, labels)."""

    texts: list[str]
    classes: NDArray[np.int64]
    vectors: list[NDArray[np.float32]]
    logits: NDArray[np.float32]


class Refused(Exception):
    """The exported head does not predict what the trained one predicts; nothing was written."""


@dataclass(frozen=True)
class Parts:
    """What a served head, or one encoder's part of it, is made of.

    weights, config: the encoder with its trained layers (transformers' names). prefix: before every text. linear:
    weight (labels, hidden) and bias (labels,) over the unit vector. length: tokens that the encoder reads; the n-grams
    are of the first `max_tokens`.
    ngram_weight: weight of the n-gram logits beside the encoder's; 0 leaves them out.
    """

    weights: dict[str, NDArray[np.float32]]
    config: dict[str, Any]
    position_offset: int
    tokenizer: Tokenizer
    prefix: str
    linear: tuple[NDArray[np.float32], NDArray[np.float32]]
    length: int
    max_tokens: int
    ngrams: NgramModel
    ngram_weight: float


def fine_tuned(
    source: Source,
    tokenizer: Tokenizer,
    top: Top,
    recipe: Recipe,
    weight: float,
    *,
    max_tokens: int,
    ngrams: NgramModel,
    ngram_weight: float,
) -> Parts:
    """The whole of an encoder with its trained top layers and head, and n-grams beside it. weight: of its logits."""
    state = source.weights()
    below = source.model.config.num_hidden_layers - len(top.layers)
    for place, layer in enumerate(top.layers):
        prefix = f"encoder.layer.{below + place}."
        state |= {prefix + name: value for name, value in layer.weights().items()}
    matrix, bias = top.linear()
    return Parts(
        weights=state,
        config=source.model.config.to_dict(),
        position_offset=source.position_offset,
        tokenizer=tokenizer,
        prefix=source.prefix,
        linear=(matrix * np.float32(weight), bias * np.float32(weight)),
        length=recipe.length,
        max_tokens=max_tokens,
        ngrams=ngrams,
        ngram_weight=ngram_weight,
    )


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


def write_graph(parts: Parts, folder: Path, texts: list[str], files: tuple[str, str] = (MODEL, TOKENIZER)) -> None:
    """Writes a graph (tokens to logits) and its tokenizer; `texts`, without prefix, show the activations."""
    path, tokenizer = (folder / name for name in files)
    parts.tokenizer.save(str(tokenizer), pretty=False)
    tokens = Tokens(tokenizer, parts.length)
    graph = encoder_graph(
        parts.weights, parts.config, position_offset=parts.position_offset, quantised_embeddings=False
    )
    maxima = channel_maxima(graph, tokens, [parts.prefix + text for text in texts])
    graph = encoder_graph(parts.weights, parts.config, position_offset=parts.position_offset)
    quantise(smooth(graph, maxima), path)

    # The head stays in float32: it is small, and one scale for all of a vector's channels would cost it its precision.
    model = onnx.load(path)
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
    onnx.save(model, path)


def file_names(members: int) -> list[tuple[str, str]]:
    """The names of each encoder's graph and tokenizer in the artefact."""
    if members == 1:
        return [(MODEL, TOKENIZER)]
    # None has a single graph's names: what knows no sums must not take one for the whole.
    return [(f"model-{n}.onnx", f"tokenizer-{n}.json") for n in range(1, members + 1)]


def described(members: list[Parts], names: list[tuple[str, str]]) -> dict[str, Any]:
    """What serving needs to know of the graphs (`shared.models.members`), as a part of the manifest's
    metadata."""
    found: dict[str, Any] = {"prefix": members[0].prefix, "max_tokens": members[0].max_tokens}
    if len(members) > 1:
        found["members"] = [
            {"model": model, "tokenizer": tokenizer, "prefix": parts.prefix, "max_tokens": parts.max_tokens}
            for parts, (model, tokenizer) in zip(members, names, strict=True)
        ]
    return found


def write_head(
    members: list[Parts],
    folder: Path,
    name: str,
    metadata: dict[str, Any],
    calibration: list[str],
    check: Check,
) -> tuple[Manifest, dict[str, float]]:
    """Writes the artefact into `folder`, in the place of what is there.

    Args:
        members: one for each encoder; the head's logits are the sum of theirs.
        metadata: `labels`, `temperature`, `threshold` and what else describes it (see `shared.models.classifier.Head`).
        calibration: texts that show how large the activations get.
        check: what torch makes of some texts.

    Returns the manifest and how far it agrees with torch.

    Raises:
        Refused: the head as served predicts another label, or gives another vector, too often or too far.
    """
    names = file_names(len(members))
    metadata = metadata | described(members, names)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / name
        built.mkdir()
        for parts, files in zip(members, names, strict=True):
            write_graph(parts, built, calibration, files)
        write_manifest(built, HEAD_KIND, name, metadata=metadata)
        figures = compare(Head.load(built, threads=1), check.texts, check.classes, check.logits) | _cosines(
            built, members, names, check
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


def _cosines(folder: Path, members: list[Parts], names: list[tuple[str, str]], check: Check) -> dict[str, float]:
    """Of the encoder whose mean cosine is lower, mean and least cosine with torch's vectors. See `write_head`."""
    return min(
        (
            cosines(folder, (model, tokenizer), (parts.prefix, parts.max_tokens), check.texts, vectors)
            for parts, (model, tokenizer), vectors in zip(members, names, check.vectors, strict=True)
        ),
        key=lambda figures: figures["cosine"],
    )


def cosines(
    folder: Path, files: tuple[str, str], reading: tuple[str, int], texts: list[str], vectors: NDArray[np.float32]
) -> dict[str, float]:
    """Mean and least cosine of an exported graph's unit vectors with torch's, (n, hidden).

    files: names of graph and tokenizer. reading: the prefix before every text, and the most tokens.

    Raises:
        Refused: the mean is below `LEAST_COSINE`.
    """
    path, tokenizer = (folder / name for name in files)
    prefix, most = reading
    model = onnx.load(path)
    # Serving has no use for the vector: the graph in the artefact gives logits alone.
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(VECTOR, onnx.TensorProto.FLOAT, None))
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(model, f"{scratch}/vectors.onnx")
        session = open_session(Path(scratch) / "vectors.onnx", 1)
        ours = run_in_batches(session, Tokens(tokenizer, most), [prefix + text for text in texts])
    found = np.einsum("nd,nd->n", ours, vectors)
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
