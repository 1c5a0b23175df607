"""What the command line says to somebody who is lost: help with examples that are right, problems in one line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import click
import httpx2
import pytest
import typer
from botocore.exceptions import ClientError, NoRegionError
from typer.testing import CliRunner

import infra.client
from infra.cli.__main__ import app
from infra.cli.examples import EXAMPLES
from infra.cli.place import Place
from shared.errors import Unavailable

pytestmark = pytest.mark.slow

PASSED_ON = {"train ranker", "evaluate"}  # to commands with a help of their own


def _commands() -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_command(app)
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from ((f"{name} {inner}", one) for inner, one in found.commands.items())
        else:
            yield name, found


COMMANDS = dict(_commands())


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADTAILOR_URL", "ADTAILOR_STACK", "ADTAILOR_TOKEN", "ADTAILOR_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - PASSED_ON))
def test_help_has_examples_exit_statuses_and_json(name: str) -> None:
    said = CliRunner().invoke(app, [*name.split(), "--help"])
    assert said.exit_code == 0
    assert all(example in said.stdout for example in EXAMPLES[name])
    assert "--json" in said.stdout and ("Exit status: 0 done" in said.stdout or name == "promote")


@pytest.mark.parametrize(("name", "example"), [(name, one) for name, lines in EXAMPLES.items() for one in lines])
def test_examples_are_calls_that_the_command_takes(
    name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ranker").mkdir()
    words = shlex.split(example.partition(" < ")[0])[1:]
    for word in words:
        if re.search(r"\.(csv|yaml|jsonl|gz)$", word):
            (tmp_path / word).touch()
    assert words[: len(name.split())] == name.split()
    command = COMMANDS[name]
    command.make_context(name, words[len(name.split()) :])  # raises what a wrong call meets


def test_the_examples_are_of_commands_that_there_are() -> None:
    assert set(EXAMPLES) == set(COMMANDS) - PASSED_ON


def _answering(status: int, body: Any) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda _: httpx2.Response(status, json=body))


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (401, {"message": "Unauthorized"}, 1, "--token or ADTAILOR_TOKEN"),
        (403, {"message": "Forbidden"}, 1, "execute-api:Invoke"),
        (429, {"title": "Too many requests", "detail": "6,000 a minute"}, 1, "6,000 a minute.*limit"),
        (404, "<html>", 1, "404"),
        (500, {"title": "Broken"}, 3, "Broken"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, status: int, body: Any, code: int, said: str
) -> None:
    client = partial(infra.client.Client, transport=_answering(status, body))
    monkeypatch.setattr(infra.client, "Client", client)
    result = CliRunner().invoke(app, ["profile", "m001", "--json"])
    assert result.exit_code == code
    assert re.search(said, result.stderr) and result.stderr.count("\n") == 1
    assert set(json.loads(result.stdout)) == {"error"}


@pytest.mark.parametrize(("sensitive", "events", "told"), [(False, 3, True), (True, 3, False), (False, 0, False)])
def test_somebody_without_an_interest_is_told_of_consent(
    monkeypatch: pytest.MonkeyPatch, sensitive: bool, events: int, told: bool
) -> None:
    said = {"personalisation": True, "basis": "asserted", "sensitive": sensitive}
    body = {"user_id": "K1", "events": events, "updated_at": "now", "consent": said, "interests": []}
    monkeypatch.setattr(infra.client, "Client", partial(infra.client.Client, transport=_answering(200, body)))
    result = CliRunner().invoke(app, ["profile", "K1"])
    assert result.exit_code == 0 and "no interest yet" in result.stdout
    assert ("consent … --sensitive" in result.stderr) is told


def test_a_table_that_is_not_there_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def gone(*_: Any) -> Any:
        raise Unavailable("the table cannot be reached")

    monkeypatch.setenv("ADTAILOR_AWS_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(Place, "report", gone)
    (tmp_path / "e.jsonl").write_text('{"user_id": "a", "event": "view", "timestamp": 1}\n')
    result = CliRunner().invoke(app, ["upload", str(tmp_path / "e.jsonl")])
    assert result.exit_code == 3 and "http://127.0.0.1:9" in result.stderr and "ADTAILOR_AWS_URL" in result.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "DescribeStacks"), "sso login"),
        (ClientError({"Error": {"Code": "ValidationError", "Message": "no such stack"}}, "x"), "no such stack"),
        (NoRegionError(), "AWS_DEFAULT_REGION"),
    ],
)
def test_credentials_that_do_not_do_say_so(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    class Stacks:
        def describe_stacks(self, **_: Any) -> Any:
            raise error

    monkeypatch.setattr(boto3, "client", lambda *_, **__: Stacks())
    result = CliRunner().invoke(app, ["profile", "m001", "--stack", "nope"])
    assert result.exit_code == 1 and said in result.stderr and "Traceback" not in result.output


def test_wrong_addresses_are_told_from_a_server_that_is_down() -> None:
    assert CliRunner().invoke(app, ["profile", "m001", "--url", "localhost:8080"]).exit_code == 2
    plain = CliRunner().invoke(app, ["profile", "m001", "--url", "http://example.com", "--token", "t"])
    assert plain.exit_code == 1 and "in the open" in plain.stderr


def test_usage_mistakes_are_no_tracebacks() -> None:
    for words in (["profil"], ["profile"], ["recommend", "x", "-n", "many"], ["import", "/no/such.csv"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2 and isinstance(result.exception, (SystemExit, click.exceptions.Exit, type(None)))
