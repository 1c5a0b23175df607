"""Manifests: what is written verifies, and whatever was changed afterwards refuses to load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ArtifactError
from shared.models.artifacts import MANIFEST, find, load_manifest, verify, write_manifest
from shared.preprocess.text import PREPROCESS_VERSION


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "thing"
    (made / "part").mkdir(parents=True)
    (made / "model.onnx").write_bytes(b"weights")
    (made / "part" / "labels.json").write_text("[]")
    write_manifest(made, "encoder", "thing", metadata={"metrics": {"cosine": 0.99}})
    return made


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_written_verifies(folder: Path) -> None:
    manifest = verify(folder, "encoder")
    assert set(manifest.files) == {"model.onnx", "part/labels.json"}
    assert manifest.preprocess_version == PREPROCESS_VERSION
    assert manifest.metadata["metrics"] == {"cosine": 0.99}
    assert len(manifest.version) == 12
    assert find(folder.parent, "thing") == folder


def test_the_version_follows_the_content(folder: Path) -> None:
    before = load_manifest(folder).version
    assert write_manifest(folder, "encoder", "thing").version == before
    (folder / "model.onnx").write_bytes(b"other weights")
    assert write_manifest(folder, "encoder", "thing").version != before


def test_a_given_version_is_kept(folder: Path) -> None:
    assert write_manifest(folder, "encoder", "thing", "7").version == "7"


@given(st.integers(0, 6), st.integers(1, 255))
def test_one_changed_byte_refuses_to_load(tmp_path_factory: pytest.TempPathFactory, place: int, change: int) -> None:
    folder = tmp_path_factory.mktemp("artefact")
    content = bytearray(b"weights")
    (folder / "model.onnx").write_bytes(bytes(content))
    write_manifest(folder, "encoder", "thing")
    content[place] ^= change
    (folder / "model.onnx").write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="sha256"):
        verify(folder)


def test_a_missing_file_refuses_to_load(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match="missing"):
        verify(folder)


def test_another_preprocessing_version_refuses_to_load(folder: Path) -> None:
    edit_manifest(folder, preprocess_version="0")
    with pytest.raises(ArtifactError, match="preprocessing version 0"):
        verify(folder)


def test_another_kind_refuses_to_load(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="kind 'encoder', not 'head'"):
        verify(folder, "head")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "part/../../secret"])
def test_a_file_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    edit_manifest(folder, files={name: "0" * 64})
    with pytest.raises(ArtifactError, match="outside"):
        load_manifest(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "encoder"}', '"text"', "null"])
def test_a_manifest_that_does_not_parse_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError):
        load_manifest(folder)


def test_an_absent_artefact_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="make models"):
        find(tmp_path, "encoder")
    with pytest.raises(ArtifactError, match="make models"):
        verify(tmp_path / "encoder")


def test_an_empty_folder_has_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no files"):
        write_manifest(tmp_path, "encoder", "thing")
