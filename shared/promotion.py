"""Putting a ranker into service: only the very bytes that a verdict is about, only where it says so.

``artifacts/{tenant}/ranker/{version}/`` holds an artefact with its verdict, ``…/latest`` names the one in service. The
verdict is the gate's (`infra.gate`); whoever promotes, a person or the end of a training job, does it here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import ArtifactError, Forbidden, NotFound
from shared.models.artifacts import MANIFEST, sha256, verify
from shared.models.trained_ranker import KIND
from shared.stores.objects import Objects

PROMOTE = "promote"  # the verdict that lets an artefact into service
VERDICT = "verdict.json"
VALID_SECONDS = 14 * 86400.0  # after which the log that a verdict is from says too little about today
NONE = "none"  # what the current ranker is called where none is trained


def write_verdict(folder: Path, document: Mapping[str, Any]) -> Path:
    """Writes the verdict beside the artefact's files; it is no part of the artefact."""
    path = folder / VERDICT
    partial = folder / f".{VERDICT}.partial"
    partial.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def read_verdict(folder: Path) -> dict[str, Any]:
    """The verdict beside an artefact's files.

    Raises:
        ArtifactError: there is none, or it is not one.
    """
    try:
        found = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        for kind, value in (
            (str, found["verdict"]),
            (str, found["candidate"]["manifest_sha256"]),
            (float, found["at"]),
        ):
            kind(value)
        "; ".join(found["reasons"])
        return dict(found) | {"tenant": found["tenant"], "current": {"version": found["current"]["version"]}}
    except FileNotFoundError:
        raise ArtifactError("there is no verdict; run the gate on a decision log first") from None
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"its {VERDICT} does not parse; run the gate again") from None


def in_service(objects: Objects, tenant: str) -> str | None:
    """Version of the tenant's ranker in service; None where none was promoted."""
    try:
        return objects.get(f"artifacts/{tenant}/{KIND}/latest").decode().strip()
    except NotFound:
        return None


def promote(folder: Path, objects: Objects, tenant: str, *, now: float | None = None) -> str:
    """Uploads the artefact and names it the latest; returns the prefix it lies under.

    The pointer is written last: a reader sees the former version or a whole one.

    Raises:
        Forbidden: there is no verdict to promote for these bytes and this tenant against what is in service.
        ArtifactError: the artefact is not what its manifest says.
    """
    manifest = verify(folder, KIND)
    problem = _problem(folder, tenant, in_service(objects, tenant), time.time() if now is None else now)
    if problem:
        raise Forbidden(f"ranker {manifest.version} is not promoted: {problem}")
    prefix = f"artifacts/{tenant}/{KIND}/{manifest.version}"
    for name in (*sorted(manifest.files), VERDICT, MANIFEST):
        objects.put(f"{prefix}/{name}", (folder / name).read_bytes())
    problem = _problem(folder, tenant, in_service(objects, tenant), time.time() if now is None else now)
    if problem:  # another was promoted meanwhile
        raise Forbidden(f"ranker {manifest.version} is not promoted: {problem}")
    objects.put(f"artifacts/{tenant}/{KIND}/latest", manifest.version.encode(), "text/plain")
    return prefix


def _problem(folder: Path, tenant: str, serving: str | None, now: float) -> str | None:
    """Why this may not be promoted; None where it may."""
    try:
        found = read_verdict(folder)
    except ArtifactError as error:
        return error.detail
    whose, against = found["tenant"], found["current"]["version"]
    if found["candidate"]["manifest_sha256"] != sha256(folder / MANIFEST):
        return "the verdict is about another artefact (sha256 of the manifest differs); run the gate on this one"
    if whose != tenant:
        return f"the verdict is for {whose or 'no tenant'}, not for {tenant}"
    if found["verdict"] != PROMOTE:
        return f"the verdict is {found['verdict']}: {'; '.join(found['reasons'])}"
    if not 0 <= now - float(found["at"]) <= VALID_SECONDS:
        return f"the verdict is older than {VALID_SECONDS / 86400:.0f} days, or from the future"
    if against != (serving or NONE):
        return f"the verdict is against {against}, but {serving or 'no trained ranker'} is in service by now"
    return None
