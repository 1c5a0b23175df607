"""Puts a built artefact in its place, and tells whether it is there already."""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.errors import ArtifactError
from shared.models.artifacts import verify


def is_current(folder: Path, recipe: str) -> bool:
    """Whether `folder` holds a whole artefact made by this recipe."""
    try:
        return verify(folder).metadata.get("recipe") == recipe
    except ArtifactError:
        return False


def install(built: Path, folder: Path) -> None:
    """Puts `built` in the place of `folder`; a reader sees the old artefact, or the new one, or none for a moment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    arriving = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.move(str(built), arriving)
    if folder.exists():
        shutil.rmtree(folder)
    arriving.rename(folder)
