"""Child processes of the local system: started in their own process group, logged to a file, stopped for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
LIFELINE = Path(__file__).with_name("lifeline.py")
_ROOT = Path(__file__).resolve().parents[2]


class StartError(Exception):
    """A part of the local system cannot start; the message says why and what helps."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_taken(port: int) -> bool:
    """Whether something listens on `port` of 127.0.0.1 (or the port may not be used)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def answers(url: str, timeout: float = 2.0, *, key: str = "") -> bool:
    """Whether a GET of `url`, bearing `key` if there is one, answers with a 2xx status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(url)  # noqa: S310 - of our own parts, or of the operator's setting
    if key:
        asked.add_unredirected_header("authorization", f"Bearer {key}")  # for nobody else
    try:
        with opener.open(asked, timeout=timeout) as response:
            return 200 <= response.status < 300
    except OSError:
        return False


class Child:
    """One Python module as a child process."""

    def __init__(
        self,
        name: str,
        python: Path,
        module: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        nice: int = 0,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            # A group of its own keeps Ctrl-C in the terminal from reaching the child: the parent stops its children
            # in the order that lets them finish and save.
            self._process = subprocess.Popen(
                [str(python), str(LIFELINE), *module],
                cwd=_ROOT,
                env={**os.environ, **(env or {}), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if nice:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, nice)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Waits until `ready` holds.

        Raises:
            StartError: the process ended first, or `timeout` seconds passed; ends with the log's last lines.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise StartError(f"{self.name} ended with exit code {self._process.returncode}.\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} did not answer within {timeout:.0f} s.\n{self.last_lines()}")
            time.sleep(0.05)

    def last_lines(self, count: int = 12) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join([f"The end of {self.log}:", *(f"  {line}" for line in lines)])

    def stop(self, timeout: float) -> None:
        """SIGTERM to the process, then SIGKILL to whatever is left of its group after `timeout` seconds."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
