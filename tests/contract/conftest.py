"""One suite, two adapters: AWS in this process (moto) and the local emulator that `make run` serves (ministack)."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from shared.stores import Stores
from tests.conftest import REGION, make_resources, stores_on
from tests.data import ROOT

EMULATOR = ROOT / ".tools" / "ministack" / "bin" / "ministack"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the emulator is left out of `make check`, as `stores` does for its half."""
    for item in items:
        if isinstance(item, pytest.Function) and "emulator" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a ministack of our own on a free port."""
    if not EMULATOR.exists():
        message = "the emulator is not installed: run `make tools`"
        if os.environ.get("REQUIRE_ARTIFACTS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = Path(tmp_path_factory.mktemp("emulator")) / "log"
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "testing",  # whatever another test has left there: links are signed with it
        "AWS_SECRET_ACCESS_KEY": "testing",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
    }
    with log.open("wb") as out:
        process = subprocess.Popen([str(EMULATOR)], env=environment, stdout=out, stderr=out, cwd=log.parent)
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the emulator did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def emulated(emulator: str) -> Stores:
    """Empty stores on the emulator; what races can only be tried there, since moto is not safe for threads."""
    session = boto3.Session("testing", "testing", region_name=REGION)
    dynamodb, s3, sqs = (session.client(name, endpoint_url=emulator) for name in ("dynamodb", "s3", "sqs"))
    return stores_on(make_resources(dynamodb, s3, sqs, f"contract-{secrets.token_hex(6)}"))


@pytest.fixture(params=["moto", pytest.param("emulator", marks=pytest.mark.slow)])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Empty stores on either adapter."""
    if request.param == "moto":
        return stores_on(request.getfixturevalue("aws"))
    return request.getfixturevalue("emulated")  # type: ignore[no-any-return]
