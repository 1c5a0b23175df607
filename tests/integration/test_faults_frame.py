"""Objects that break off, queues that may not be used, requests whose time ends, heads that were fetched in part."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from functions.profile import handler as profile
from shared.models.classifier import Head
from shared.wiring import system
from tests.contract.conftest import emulator
from tests.data import ROOT
from tests.fakes.faulty import cut_short, error, silent, throttled
from tests.integration.test_faults import (
    AD,
    ATTEMPTS,
    Deployment,
    aws,
    call,
    deployment,
    descriptions,
    hasty,
    is_a_clear_503,
    made,
)

__all__ = ["aws", "deployment", "descriptions", "emulator", "hasty", "made"]  # fixtures of the tests of faults


@pytest.mark.usefixtures("hasty")
def test_an_object_that_breaks_off_is_read_again_a_few_times(deployment: Deployment) -> None:
    deployment.seed()
    deployment.start()
    deployment.aws.fail("s3", cut_short, "GetObject", times=2)
    assert call("recommend", "POST", "/v1/recommendations", {"user_id": "ann"}).status_code == 200
    deployment.start()
    deployment.aws.heal()
    deployment.aws.fail("s3", cut_short, "GetObject")
    assert is_a_clear_503(call("recommend", "POST", "/v1/recommendations", {"user_id": "ann"}))
    assert deployment.aws.tried("s3") <= ATTEMPTS
    system().stores.objects.put(f"artifacts/{deployment.tenant}/heads/mine/latest", b"v1")
    assert is_a_clear_503(call("classify", "POST", "/v1/classify", {"texts": ["a phone"], "head": "mine"}))


@pytest.mark.usefixtures("hasty")
def test_what_may_not_be_done_is_no_503(deployment: Deployment) -> None:
    deployment.seed()
    deployment.aws.fail("sqs", error(403, "AccessDenied"))
    assert call("classify", "PUT", "/v1/ads", {"ads": [AD | {"ad_id": "p2"}]}).status_code == 500
    deployment.start()
    deployment.aws.fail("s3", error(403, "AccessDenied"))
    assert call("recommend", "POST", "/v1/recommendations", {"user_id": "ann"}).status_code == 500


@pytest.mark.usefixtures("hasty")
def test_ads_that_were_written_but_not_queued_are_queued_by_the_next_try(deployment: Deployment) -> None:
    deployment.aws.fail("sqs", throttled())
    assert is_a_clear_503(call("classify", "PUT", "/v1/ads", {"ads": [AD]}))
    deployment.aws.heal()
    assert call("classify", "PUT", "/v1/ads", {"ads": [AD]}).status_code == 200
    assert deployment.aws.calls["sqs", "SendMessage"] == 1


def test_a_function_answers_before_its_time_is_over(deployment: Deployment) -> None:
    deployment.aws.fail("dynamodb", silent)
    event = json.loads((ROOT / "tests" / "events" / "profile_api.json").read_text())
    ends = time.monotonic() + 2.0
    context = SimpleNamespace(
        function_name="profile", get_remaining_time_in_millis=lambda: int((ends - time.monotonic()) * 1000)
    )
    answer = profile.lambda_handler(event, context)
    assert time.monotonic() < ends
    assert answer["statusCode"] == 503
    assert {name.lower() for name in answer["headers"]} >= {"retry-after"}


def test_a_head_that_was_fetched_in_part_is_not_trusted(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shared.wiring.gettempdir", lambda: str(tmp_path))
    loaded: list[list[str]] = []

    def load(folder: Path, threads: int = 0) -> Any:
        loaded.append(sorted(path.name for path in folder.iterdir()))
        return SimpleNamespace(version=folder.name)

    monkeypatch.setattr(Head, "load", load)
    objects, prefix = system().stores.objects, f"artifacts/{deployment.tenant}/heads/mine"
    objects.put(f"{prefix}/latest", b"v1")
    for name in ("manifest.json", "model.onnx", "tokenizer.json"):
        objects.put(f"{prefix}/v1/{name}", b"{}")
    real = Path.write_bytes

    def killed(path: Path, data: bytes) -> int:
        if path.name == "tokenizer.json":
            raise KeyboardInterrupt
        return real(path, data)

    with monkeypatch.context() as dying:
        dying.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            system().head(deployment.tenant, "mine")
    assert not loaded
    assert system().head(deployment.tenant, "mine").version == "v1"
    assert loaded == [["manifest.json", "model.onnx", "tokenizer.json"]]
