"""A model file that is changed, cut, missing or of another version fails what needs it, by name, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.classify import handler as classify
from functions.profile import handler as profile
from functions.recommend import handler as recommend
from shared.models.artifacts import MANIFEST
from shared.wiring import System, system
from tests.data import artifact
from tests.unit.test_api import AD, event, post

pytestmark = pytest.mark.slow

PARTS = ("encoder", "taxonomy-adproduct", "taxonomy-content")


@pytest.fixture
def folder(built: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real artefacts, copied, under a system that has just started."""
    made = tmp_path / "secret-place"
    for name in PARTS:
        shutil.copytree(artifact(name), made / name)
    monkeypatch.setenv("ARTIFACTS_DIR", str(made))
    system.cache_clear()
    return made


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def of_another_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"preprocess_version": "0"}))


@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        ("encoder", "model.onnx", flip),
        ("encoder", "model.onnx", cut),
        ("encoder", "tokenizer.json", flip),
        ("encoder", MANIFEST, of_another_version),
        ("encoder", MANIFEST, cut),
        ("taxonomy-adproduct", "vectors.npz", flip),
        ("taxonomy-adproduct", "vectors.npz", Path.unlink),
        ("taxonomy-adproduct", MANIFEST, Path.unlink),
    ],
)
def test_a_damaged_artefact_is_named_and_fails_only_what_needs_it(
    folder: Path, name: str, file: str, damage: Callable[[Path], Any]
) -> None:
    damage(folder / name / file)
    answer = post(classify.app, "/v1/classify", {"texts": ["a phone"]})
    document = answer.json()
    assert (answer.status_code, document["status"], document["title"]) == (500, 500, "Model artefact refused")
    assert document["type"].endswith(":ArtifactError")
    assert name in document["detail"]
    assert "secret-place" not in answer.text and "/" not in document["detail"].replace("make models", "")
    # What needs no model goes on.
    consent = {"personalisation": True, "source": "banner", "at": "2026-11-20T10:00:00Z"}
    assert post(profile.app, "/v1/users/ann/consent", consent, method="PUT").status_code == 200
    assert post(classify.app, "/v1/ads/none", b"", method="GET").status_code == 404


def test_without_a_sound_encoder_what_is_known_is_still_shown(folder: Path) -> None:
    assert post(classify.app, "/v1/ads", {"ads": [AD]}, method="PUT").status_code == 200
    system().classifying.publish("demo")
    assert post(profile.app, "/v1/events", {"events": [event()]}).status_code == 200
    flip(folder / "encoder" / "model.onnx")
    system.cache_clear()
    assert post(classify.app, "/v1/classify", {"texts": ["a phone"]}).status_code == 500
    assert post(profile.app, "/v1/users/ann/profile", b"", method="GET").json()["events"] == 1
    # An event on an item that is known needs no encoder.
    known = {key: value for key, value in event(event_id="known").items() if key != "text"}
    assert post(profile.app, "/v1/events", {"events": [known]}).json()["accepted"] == 1
    shown = post(recommend.app, "/v1/recommendations", {"user_id": "ann"})
    assert [ad["ad_id"] for ad in shown.json()["ads"]] == ["p1"]


def test_a_damaged_head_fails_only_that_head(built: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shared.wiring.gettempdir", lambda: str(tmp_path))
    objects = built.stores.objects
    manifest = {
        "kind": "head",
        "name": "mine",
        "version": "v1",
        "preprocess_version": "1",
        "files": {"model.onnx": "0" * 64},
    }
    objects.put("artifacts/demo/heads/mine/latest", b"v1")
    objects.put("artifacts/demo/heads/mine/v1/model.onnx", b"not what the manifest says")
    objects.put("artifacts/demo/heads/mine/v1/manifest.json", json.dumps(manifest).encode())
    for _ in range(2):  # also from the folder that the first request has filled
        answer = post(classify.app, "/v1/classify", {"texts": ["a phone"], "head": "mine"})
        assert answer.status_code == 500
        assert "head mine" in answer.json()["detail"] and str(tmp_path) not in answer.text
    assert post(classify.app, "/v1/classify", {"texts": ["a phone"]}).status_code == 200
    assert post(classify.app, "/v1/classify", {"texts": ["a phone"], "head": "other"}).status_code == 404
