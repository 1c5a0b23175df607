"""Publishes LoRA adapters (brand voices), and weights where they do not come from the hub, for the GPU endpoint.

    python -m infra.gpu_endpoint.adapters --model-id Qwen/Qwen3-4B-Instruct-2507 --to s3://BUCKET/endpoint \
        --adapter warm=runs/warm --adapter sporty=runs/sporty

Each publication is a new prefix that never changes, named by its content: an endpoint that scales out an hour later
loads what the first instance loaded, and going back is naming the old prefix. It holds::

    base/…                          weights and tokenizer, with ``--weights``
    adapters/NAME/…                 adapter_config.json and adapter_model.safetensors of each adapter
    adapters.yaml                   vLLM's ``--config``: the adapters by name
    manifest.json                   what they are, with the sha256 of every file; written last

``--since PREFIX/`` keeps what an earlier publication holds (copied within S3), ``--drop NAME`` leaves one out. The last
line of stdout is the parameters for ``sam deploy``.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from safetensors import SafetensorError, safe_open

MAX_RANK = 32  # of the endpoint's configuration: SM_VLLM_MAX_LORA_RANK
MOUNT = "/opt/ml/model"  # where SageMaker lays the prefix
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
FILES = ("adapter_config.json", "adapter_model.safetensors")
_WEIGHTS = frozenset({".json", ".safetensors", ".model", ".txt", ".jinja"})


class PublishError(Exception):
    """It cannot be published; the message names the file and the field."""


@dataclass(frozen=True, slots=True)
class Publication:
    """prefix: ``s3://bucket/…/VERSION/``. adapters: names of all that it holds."""

    prefix: str
    model_id: str
    adapters: tuple[str, ...]
    has_weights: bool

    def parameters(self) -> str:
        """For ``sam deploy --parameter-overrides``."""
        pairs = {
            "ModelId": self.model_id,
            "ModelSource": "s3" if self.has_weights else "hub",
            "ModelDataS3": self.prefix,
            "Adapters": ",".join(self.adapters),
        }
        return " ".join(f"{name}={value}" for name, value in pairs.items())


def describe_adapter(name: str, folder: Path, model_id: str) -> dict[str, Any]:
    """The manifest's entry of the adapter in `folder`: base, rank and the sha256 of its files.

    Raises:
        PublishError: it is no adapter of `model_id` that the endpoint can serve.
    """
    if not _NAME.fullmatch(name):
        raise PublishError(f"adapter name {name!r}: small letters, digits, dot, dash and underscore")
    for file in FILES:
        if not (folder / file).is_file():
            raise PublishError(f"{folder}: no {file}; save the adapter with peft's save_pretrained")
    where = folder / FILES[0]
    try:
        config = json.loads(where.read_text(encoding="utf-8"))
        rank = int(config["r"])
        kind, base = config["peft_type"], config["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{where}: no configuration of a peft adapter ({error!r})") from error
    if kind != "LORA":
        raise PublishError(f"{where}: peft_type {kind!r}: vLLM serves LORA")
    if base != model_id:
        raise PublishError(
            f"{where}: base_model_name_or_path is {base!r}, not {model_id!r}; correct it if they are the same model"
        )
    if not 1 <= rank <= MAX_RANK:
        raise PublishError(f"{where}: r {rank}: the endpoint takes 1 to {MAX_RANK}")
    # What vLLM's LoRA layers do not do; it would refuse the adapter when an instance starts.
    for field, allowed in (("use_dora", (False,)), ("bias", ("none",)), ("modules_to_save", (None, []))):
        if config.get(field, allowed[0]) not in allowed:
            raise PublishError(f"{where}: {field} {config[field]!r}: vLLM does not serve that")
    _check_tensors(folder / FILES[1], config)
    return {"base": base, "rank": rank, "files": {file: _sha256(folder / file) for file in FILES}}


def _check_tensors(where: Path, config: Mapping[str, Any]) -> None:
    patterned = bool(config.get("rank_pattern"))  # some layers have ranks of their own
    try:
        with safe_open(where, framework="numpy") as tensors:
            names = list(tensors.keys())
            ranks = {tensors.get_slice(name).get_shape()[0] for name in names if ".lora_A." in name}
    except (SafetensorError, OSError) as error:
        raise PublishError(f"{where}: no safetensors file ({error})") from error
    others = [name for name in names if ".lora_A." not in name and ".lora_B." not in name]
    if not ranks or others:
        raise PublishError(f"{where}: {'no LoRA matrices' if not ranks else f'not only LoRA matrices: {others[0]}'}")
    if max(ranks) > MAX_RANK or (not patterned and ranks != {int(config["r"])}):
        raise PublishError(f"{where}: ranks {sorted(ranks)}, r {config['r']}: the endpoint takes up to {MAX_RANK}")


def describe_weights(folder: Path) -> dict[str, str]:
    """The sha256 of the files of a model's folder that vLLM reads, by path within it: no code, no pickles.

    Raises:
        PublishError: it is no model's folder.
    """
    read = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in _WEIGHTS]
    files = {path.relative_to(folder).as_posix(): path for path in read}
    if "config.json" not in files or not any(name.endswith(".safetensors") for name in files):
        raise PublishError(f"{folder}: no config.json with .safetensors files")
    return {name: _sha256(path) for name, path in files.items()}


def publish(
    s3: Any,
    to: str,
    *,
    model_id: str,
    adapters: Mapping[str, Path],
    weights: Path | None = None,
    since: str | None = None,
    drop: Sequence[str] = (),
) -> Publication:
    """Publishes under `to` (``s3://bucket/prefix``); the same content twice changes nothing.

    Raises:
        PublishError: something of it cannot be served, or `since` is no publication of the same model.
    """
    empty: dict[str, Any] = {"model_id": model_id, "weights": {}, "adapters": {}}
    before = _read_manifest(s3, since) if since else empty
    if before["model_id"] != model_id:
        raise PublishError(f"{since} is of {before['model_id']!r}, not {model_id!r}")
    for name in drop:
        if name not in before["adapters"]:
            raise PublishError(f"--drop {name}: {since or 'nothing before'} has {sorted(before['adapters'])}")
    described = {name: describe_adapter(name, folder, model_id) for name, folder in adapters.items()}
    kept = {name: entry for name, entry in before["adapters"].items() if name not in drop}
    manifest = {
        "model_id": model_id,
        "weights": describe_weights(weights) if weights else before["weights"],
        "adapters": dict(sorted({**kept, **described}.items())),
    }
    if not manifest["adapters"] and not manifest["weights"]:
        raise PublishError("there is nothing to publish: name an --adapter or --weights")
    body = json.dumps(manifest, indent=1, sort_keys=True).encode()
    prefix = f"{to.rstrip('/')}/{hashlib.sha256(body).hexdigest()[:12]}/"
    bucket, root = _place(prefix)
    published = Publication(prefix, model_id, tuple(manifest["adapters"]), bool(manifest["weights"]))
    if _read(s3, bucket, f"{root}manifest.json") == body:
        return published
    for key, local in _files(manifest, adapters, weights):
        if local is not None:
            s3.upload_file(str(local), bucket, f"{root}{key}")
        else:
            source_bucket, source_root = _place(since or "")
            s3.copy({"Bucket": source_bucket, "Key": f"{source_root}{key}"}, bucket, f"{root}{key}")
    if manifest["adapters"]:
        named = [f"{name}={MOUNT}/adapters/{name}" for name in manifest["adapters"]]
        s3.put_object(Bucket=bucket, Key=f"{root}adapters.yaml", Body=yaml.safe_dump({"lora-modules": named}).encode())
    s3.put_object(Bucket=bucket, Key=f"{root}manifest.json", Body=body)
    return published


def _files(
    manifest: Mapping[str, Any], adapters: Mapping[str, Path], weights: Path | None
) -> list[tuple[str, Path | None]]:
    """Every file's key below the prefix, with where it lies here; None: in the publication before."""
    files = [(f"base/{name}", weights / name if weights else None) for name in manifest["weights"]]
    for name, entry in manifest["adapters"].items():
        files += [
            (f"adapters/{name}/{file}", adapters[name] / file if name in adapters else None) for file in entry["files"]
        ]
    return files


def _read_manifest(s3: Any, prefix: str) -> dict[str, Any]:
    bucket, root = _place(prefix)
    body = _read(s3, bucket, f"{root.rstrip('/')}/manifest.json")
    if body is None:
        raise PublishError(f"{prefix} is no publication: it has no manifest.json")
    manifest: dict[str, Any] = json.loads(body)
    return manifest


def _read(s3: Any, bucket: str, key: str) -> bytes | None:
    try:
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None


def _place(location: str) -> tuple[str, str]:
    scheme, _, rest = location.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key.strip("/"):
        raise PublishError(f"{location!r}: s3://bucket/prefix")
    return bucket, key


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(
    model_id: Annotated[
        str, typer.Option(help="The model that the adapters were trained on, as the endpoint names it.")
    ],
    to: Annotated[str, typer.Option(help="s3://bucket/prefix below which publications lie.")],
    adapter: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of an adapter; may be repeated.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the model's weights; else they come from the hub.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Prefix of an earlier publication whose content stays.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Name of an adapter of --since to leave out.")] = None,
) -> None:
    """Publishes adapters, and weights, for the GPU endpoint and prints its parameters."""
    try:
        folders: dict[str, Path] = {}
        for pair in adapter or []:
            name, equals, folder = pair.partition("=")
            if not equals or name in folders:
                raise PublishError(f"--adapter {pair}: {'named twice' if equals else 'NAME=FOLDER'}")
            folders[name] = Path(folder)
        published = publish(
            boto3.client("s3"), to, model_id=model_id, adapters=folders, weights=weights, since=since, drop=drop or []
        )
    except (PublishError, BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    print(published.parameters())


if __name__ == "__main__":
    typer.run(main)
