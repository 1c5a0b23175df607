"""A function in Lambda's own runtime without Docker: AWS's runtime interface emulator with `awslambdaric`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from infra.local.processes import HOST, free_port
from tests.data import ROOT

EVENTS = ROOT / "tests" / "events"
INVOCATIONS = "/2015-03-31/functions/function/invocations"
# What a Lambda sandbox does not have of this machine's environment.
_PLATFORM = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_REPORT ", "EXTENSION ")
_FOREIGN = ("AWS_", "PYTHON", "PYTEST", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


def emulator() -> Path:
    """AWS's runtime interface emulator, which the SAM CLI carries; a skip where there is none."""
    found = sorted((ROOT / ".tools" / "sam").glob("lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64"))
    if not found:
        message = "the runtime interface emulator is not here: run `make tools`"
        if os.environ.get("REQUIRE_ARTIFACTS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found[0]


def event_of(name: str) -> dict[str, Any]:
    """An event of tests/events."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


class LambdaRuntime:
    """One execution environment. The emulator starts the runtime at the first invocation, as Lambda does.

    `core` pins emulator and runtime to that core. The runtime is run again after it has timed out or crashed.
    """

    def __init__(
        self,
        folder: Path,
        log: Path,
        env: Mapping[str, str],
        *,
        handler: str = "handler.lambda_handler",
        path: Sequence[Path] = (ROOT,),
        core: int | None = None,
    ) -> None:
        self._port = free_port()
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        command = [str(emulator()), f"--runtime-interface-emulator-address={HOST}:{self._port}"]
        command += [f"--runtime-api-address={HOST}:{free_port()}", sys.executable, "-m", "awslambdaric", handler]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=inherited
                | {
                    "PYTHONPATH": os.pathsep.join(map(str, (folder, *path))),
                    "AWS_LAMBDA_FUNCTION_NAME": folder.name,
                    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
                    "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
                    "LAMBDA_TASK_ROOT": str(folder),
                    **env,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})
        self._http = httpx2.Client(base_url=f"http://{HOST}:{self._port}", timeout=120, trust_env=False)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self._port), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the runtime interface emulator does not answer:\n{self.output()}")
            time.sleep(0.01)

    def post(self, event: object) -> httpx2.Response:
        """One invocation, as the emulator answers it."""
        return self.send(json.dumps(event).encode())

    def send(self, payload: bytes) -> httpx2.Response:
        """One invocation with a payload that need not be JSON."""
        return self._http.post(INVOCATIONS, content=payload)

    def invoke(self, event: object) -> Any:
        """The function's answer, or the runtime's ``errorType`` and ``errorMessage``."""
        answer = self.post(event)
        return json.loads(answer.content)

    def api(self, event: object) -> tuple[int, Any]:
        """Status and body of the answer to an API Gateway event."""
        answer = self.invoke(event)
        assert "statusCode" in answer, answer
        return answer["statusCode"], json.loads(answer["body"])

    def api_after_time_out(self, event: object) -> tuple[int, Any]:
        """The same where the call before was cut off: the emulator refuses calls while it puts that process away."""
        for _ in range(20):
            answer = self.invoke(event)
            if answer.get("errorType") != "Sandbox.Failure":
                break
            time.sleep(0.25)
        assert "statusCode" in answer, answer
        return answer["statusCode"], json.loads(answer["body"])

    def output(self) -> str:
        """What runtime and function wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def lines(self) -> Iterator[str]:
        """What the function logged: the emulator's own lines, which Lambda writes as JSON, are left out."""
        own = (" [INFO] (rapid)", " [WARNING] (rapid)", " [ERROR] (rapid)", " [DEBUG] (rapid)")
        for line in self.output().splitlines():
            if line.strip() and not any(mark in line for mark in own) and not line.startswith(_PLATFORM):
                yield line

    def stop(self) -> None:
        self._http.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(3)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
