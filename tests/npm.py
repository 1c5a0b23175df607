"""What `make` installs by npm for the tests of OpenRTB."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.data import ROOT

MODULES = ROOT / ".tools" / "npm" / "node_modules"


def module(path: str) -> Path:
    """A file of the packages, or a skip that says what is missing (a failure where ``REQUIRE_NPM=1``)."""
    found = MODULES / path
    if not found.exists():
        message = "npm's packages are not installed: apt-get install npm, then make test"
        if os.environ.get("REQUIRE_NPM") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found
