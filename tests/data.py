"""Where the tests find data that does not ship with the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
ARTIFACTS = Path(os.environ.get("ARTIFACTS_DIR", ROOT / "shared" / "artifacts"))


def shared_data(path: str) -> Path:
    """A file of the benchmark data, or a skip that says so (a failure where ``REQUIRE_DATA=1``)."""
    found = SHARED_DATA / path
    if found.exists():
        return found
    message = f"benchmark data {path} is not on this machine"
    if os.environ.get("REQUIRE_DATA") == "1":
        pytest.fail(message)
    pytest.skip(message)


def artifact(name: str) -> Path:
    """A built model artefact's folder, or a skip that says so (a failure where ``REQUIRE_ARTIFACTS=1``)."""
    found = ARTIFACTS / name
    if (found / "manifest.json").exists():
        return found
    message = f"artefact {name} is not built: run `make models`"
    if os.environ.get("REQUIRE_ARTIFACTS") == "1":
        pytest.fail(message)
    pytest.skip(message)
