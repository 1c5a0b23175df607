"""What logs, metrics and the servers around us are told of a request that goes wrong: never what it was about."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient

from functions.profile import handler
from shared.telemetry import logger, raised
from shared.unforeseen import Unforeseen, nameless
from shared.wiring import System
from tests.cloudformation import load
from tests.data import ROOT

PERSON = "planted-person-7401@example.com"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What our own logger writes."""
    stream = io.StringIO()
    for one in logger.handlers:
        monkeypatch.setattr(one, "stream", stream)
    return stream


def failing(*_: object, **__: object) -> Any:
    try:
        return dict[str, Any]()[PERSON]
    except KeyError as error:
        error.add_note(PERSON)
        raise ValueError(f"nobody like {PERSON}") from error


def test_an_exception_is_logged_without_what_it_says(written: io.StringIO) -> None:
    try:
        failing()
    except ValueError as error:
        logger.exception("failed", extra={"job": "j1"})
        told = raised(error)
    line = json.loads(written.getvalue())
    assert PERSON not in written.getvalue() + told
    assert (line["message"], line["job"], line["exception_name"]) == ("failed", "j1", "ValueError")
    assert line["exception"] == told
    assert told.index("KeyError") < told.index("ValueError") and "in failing" in told


def test_what_aws_refused_is_told_by_its_code() -> None:
    said = {"Error": {"Code": "ValidationException", "Message": f"no {PERSON}"}}
    assert raised(ClientError(said, "PutItem")) == "ClientError (ValidationException)"


def test_what_came_before_is_told_unless_it_was_left_out() -> None:
    with pytest.raises(Unforeseen) as caught, nameless():
        failing()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert raised(caught.value).endswith("Unforeseen") and "KeyError" not in raised(caught.value)
    assert PERSON not in str(caught.value)


def api_event() -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "tests" / "events" / "profile_api.json").read_text(encoding="utf-8"))
    path = f"/v1/users/{PERSON}/profile"
    event["requestContext"]["http"] |= {"method": "GET", "path": path}
    return event | {"rawPath": path, "body": "", "routeKey": "GET /v1/users/{user_id}/profile"}


def test_a_request_that_fails_is_answered_and_nothing_is_told_of_it(
    built: System,
    monkeypatch: pytest.MonkeyPatch,
    written: io.StringIO,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(built.profiling, "profile", failing)
    answer = handler.lambda_handler(api_event(), None)
    assert answer["statusCode"] == 500
    assert json.loads(answer["body"])["title"] == "Internal error"
    with TestClient(handler.app) as client:  # which raises what reaches the server
        assert client.get(f"/v1/users/{PERSON}/profile").status_code == 500
    out, err = capsys.readouterr()
    assert "ValueError" in written.getvalue()
    assert PERSON not in written.getvalue() + out + err + answer["body"]
    ours = [record for record in caplog.records if record.name == "adtailor"]
    assert [
        record.getMessage() for record in caplog.records if record not in ours and record.levelno > logging.INFO
    ] == []


@pytest.mark.parametrize(
    "event",
    [
        {"action": "profile", "tenant": "demo", "user_id": PERSON},
        {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": f"events/demo/{PERSON}.csv"}}}]},
    ],
    ids=["direct", "upload"],
)
def test_an_invocation_that_fails_tells_the_runtime_nothing(
    built: System, monkeypatch: pytest.MonkeyPatch, written: io.StringIO, event: dict[str, Any]
) -> None:
    monkeypatch.setattr(built.profiling, "profile", failing)
    monkeypatch.setattr(built.profiling, "ingest", failing)
    with pytest.raises(Unforeseen, match="ValueError") as caught:
        handler.lambda_handler(event, None)
    assert PERSON not in written.getvalue() + str(caught.value)


def test_the_api_s_own_log_has_the_route_and_not_the_path() -> None:
    template = load(ROOT / "template.yaml")
    (stage,) = (r for r in template["Resources"].values() if "AccessLogSettings" in r.get("Properties", {}))
    logged = set(re.findall(r"\$context\.([\w.]+)", stage["Properties"]["AccessLogSettings"]["Format"]))
    assert logged <= {"requestTimeEpoch", "requestId", "routeKey", "status", "responseLatency", "responseLength"} | {
        "integrationErrorMessage"
    }
    assert "routeKey" in logged


def test_nothing_records_calls_for_traces() -> None:
    """X-Ray has what Lambda itself knows of an invocation: no library here adds addresses, keys or values to it."""
    layer = (ROOT / "shared" / "requirements.txt").read_text(encoding="utf-8").lower()
    assert "xray" not in layer and "opentelemetry-sdk" not in layer and "opentelemetry-instrumentation" not in layer
    for folder in ("shared", "functions"):
        for module in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"\bTracer\b|\baws_xray_sdk\b", module.read_text(encoding="utf-8")), module
