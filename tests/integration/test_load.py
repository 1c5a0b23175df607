"""The load test of `make load`, short: it asserts what is right under load, never how fast."""

from __future__ import annotations

import os

import pytest

from infra.load.place import Place
from infra.load.traffic import LocustMissing, load
from tests.integration.conftest import LocalSystem


@pytest.mark.slow
def test_under_load_nothing_fails_and_nothing_accepted_is_lost(local_system: LocalSystem) -> None:
    try:
        report = load(Place(local_system.url, local_system.aws, local_system.state), users=20, seconds=10)
    except LocustMissing as missing:
        if os.environ.get("REQUIRE_ARTIFACTS") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    assert report.errors == []
    assert report.differences == []
    assert {route.name for route in report.routes} == {
        "POST /v1/recommendations",
        "POST /v1/feedback",
        "POST /v1/events",
        "GET /v1/users/{user_id}/profile",
        "POST /v1/copy",
        "POST /v1/classify",
    }
    assert report.events > 0
    assert report.feedback > 0
