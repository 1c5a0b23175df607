"""The local AWS services for `sam deploy`: what reaches them reaches nothing else."""

from __future__ import annotations

import ssl
import tomllib
from pathlib import Path

import pytest

from infra import emulator, sam
from infra.local.processes import StartError
from tests.data import ROOT

MINE = {"PATH": "/bin", "AWS_PROFILE": "mine", "AWS_SECRET_ACCESS_KEY": "mine", "AWS_ENDPOINT_URL": "https://elsewhere"}


@pytest.mark.parametrize("command", [["deploy", "--config-env", "local"], ["delete", "--config-env=local"]])
def test_commands_for_the_emulator_see_nothing_of_this_machine(command: list[str]) -> None:
    found = sam.environment(command, MINE)
    assert "mine" not in found.values() and "AWS_PROFILE" not in found
    assert found["AWS_ENDPOINT_URL"] == f"https://127.0.0.1:{sam.EMULATOR_PORT}"
    assert found["AWS_CA_BUNDLE"] == str(emulator.FOLDER / "cert.pem")


@pytest.mark.parametrize("command", [["deploy"], ["deploy", "--config-env", "prod"], ["deploy", "local"]])
def test_other_commands_go_to_aws(command: list[str]) -> None:
    assert sam.environment(command, MINE)["AWS_PROFILE"] == "mine"


def test_the_configuration_names_the_emulators_port() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    values = config["local"]["deploy"]["parameters"]["parameter_overrides"].split()
    assert f"AwsEndpointUrl=https://127.0.0.1:{sam.EMULATOR_PORT}" in values and "Stage=local" in values


def test_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    cert, key = emulator.certificate(tmp_path)
    before = cert.read_bytes(), key.read_bytes()
    assert emulator.certificate(tmp_path) == (cert, key) and (cert.read_bytes(), key.read_bytes()) == before
    assert key.stat().st_mode & 0o077 == 0
    ssl.create_default_context(cafile=cert)


def test_certificate_needs_openssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match="openssl"):
        emulator.certificate(tmp_path)
