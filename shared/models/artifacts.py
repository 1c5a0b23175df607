"""Finds, verifies and describes model artefacts: a folder of files and a ``manifest.json`` with their sha256.

A manifest records what made the artefact (metadata) and the preprocessing version its texts went through. A changed
file, a missing file or another preprocessing version refuses to load with `ArtifactError`, whose detail goes out in
answers of the API: it names artefact and file, never a path of the machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from shared.errors import ArtifactError
from shared.preprocess.text import PREPROCESS_VERSION

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artefact is. `version` is short and changes with the content; `files` maps relative paths to sha256."""

    kind: str
    name: str
    version: str
    preprocess_version: str
    files: dict[str, str]
    metadata: dict[str, Any] = field(default_factory=dict)


def find(artifacts_dir: Path, name: str) -> Path:
    """The folder of the artefact called `name` (or ``kind/name``).

    Raises:
        ArtifactError: there is none.
    """
    folder = artifacts_dir / name
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"there is no model artefact {name}: run `make models`")
    return folder


def load_manifest(folder: Path) -> Manifest:
    """The artefact's manifest, its files not yet looked at.

    Raises:
        ArtifactError: the manifest is absent or does not parse.
    """
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest = Manifest(**document)
    except FileNotFoundError:
        raise ArtifactError(f"there is no model artefact {folder.name}: run `make models`") from None
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"artefact {folder.name}: its {MANIFEST} does not parse: {error}") from error
    if not isinstance(manifest.files, dict) or not manifest.files:
        raise ArtifactError(f"artefact {folder.name}: its {MANIFEST} lists no files")
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ArtifactError(f"artefact {folder.name}: its {MANIFEST} names a file outside its folder: {name}")
    return manifest


def title(manifest: Manifest) -> str:
    """How an artefact is called in a message: ``head mine``, ``encoder``."""
    return manifest.kind if manifest.kind == manifest.name else f"{manifest.kind} {manifest.name}"


def sha256(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(folder: Path, kind: str | None = None) -> Manifest:
    """The artefact's manifest, after checking its kind, its preprocessing version and every file's sha256.

    Raises:
        ArtifactError: any of them is not what the manifest, or this version of the code, says.
    """
    manifest = load_manifest(folder)
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(f"artefact {manifest.name} is of kind {manifest.kind!r}, not {kind!r}")
    named = f"artefact {title(manifest)}"
    if manifest.preprocess_version != PREPROCESS_VERSION:
        raise ArtifactError(
            f"{named} was made with preprocessing version {manifest.preprocess_version}; "
            f"this is version {PREPROCESS_VERSION}: build it again (`make models`)"
        )
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{named}: {name} is missing: build it again (`make models`)")
        if sha256(path) != expected:
            raise ArtifactError(f"{named}: {name} is not the file that its manifest describes (sha256 differs)")
    return manifest


def write_manifest(
    folder: Path, kind: str, name: str, version: str | None = None, metadata: dict[str, Any] | None = None
) -> Manifest:
    """Writes the manifest of every file now in `folder`. Without a `version` it is the content's hash, 12 digits."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in paths}
    if not files:
        raise ArtifactError(f"{folder} holds no files to describe")
    if not version:
        content = "".join(f"{file}:{digest}\n" for file, digest in files.items())
        version = hashlib.sha256(content.encode()).hexdigest()[:12]
    manifest = Manifest(kind, name, version, PREPROCESS_VERSION, files, metadata or {})
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2)
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST)
    return manifest
