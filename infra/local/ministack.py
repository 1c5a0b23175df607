"""The local AWS services: `ministack` (PyPI, MIT) as a child process with state that outlives it.

Objects of S3 are written through to disk. Tables and queues are written when it stops in order (SIGTERM); after a hard
kill they are as of the last orderly stop.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from infra.local.processes import HOST, Child, StartError, answers

REGION = "us-east-1"
_ROOT = Path(__file__).resolve().parents[2]
_SAVE_SECONDS = 120.0  # a table of a million rows takes a while to write


def interpreter() -> Path:
    """Python of the emulator's own environment.

    Raises:
        StartError: it is not installed.
    """
    folder = _ROOT / ".tools" / "ministack"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        raise StartError("The local AWS services are not installed. `make run` and `make tools` install them.")
    return python


class Ministack:
    """A running emulator. `url` is what `aws --endpoint-url` and ``AWS_ENDPOINT_URL`` take."""

    def __init__(self, port: int, state: Path, log: Path) -> None:
        self.url = f"http://{HOST}:{port}"
        tables, objects = state / "tables", state / "objects"
        for folder in (tables, objects):
            folder.mkdir(parents=True, exist_ok=True)
        _move_queues(tables / "sqs.json", port)
        self._child = Child(
            "The local AWS services (ministack)",
            interpreter(),
            ["ministack"],
            log=log,
            env={
                "AWS_ACCESS_KEY_ID": "local",  # links are signed with it
                "AWS_SECRET_ACCESS_KEY": "local",
                "BIND_HOST": HOST,
                "GATEWAY_PORT": str(port),
                "MINISTACK_REGION": REGION,
                "LAMBDA_EXECUTOR": "local",
                "LOG_LEVEL": "WARNING",
                "PERSIST_STATE": "1",
                "STATE_DIR": str(tables),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(objects),
                "SFTP_ENABLED": "0",
                "IOT_MTLS_ENABLED": "0",
            },
        )

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait(self) -> None:
        """Returns when it answers.

        Raises:
            StartError: it ended or stays silent.
        """
        self._child.wait_until(lambda: answers(f"{self.url}/_ministack/health"), timeout=60)

    def stop(self) -> None:
        """Stops it after it has saved its state."""
        self._child.stop(timeout=_SAVE_SECONDS)


def _move_queues(saved: Path, port: int) -> None:
    """Saved queues are keyed by URL, so those of another port would be lost with their messages: renames them."""
    if saved.exists():
        text = saved.read_text()
        moved = re.sub(r"//localhost:\d+/", f"//localhost:{port}/", text)
        if moved != text:
            saved.write_text(moved)
