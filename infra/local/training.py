"""Trains heads and rankers in the local run: the worker's stand-in for SageMaker, one job at a time and behind
everything else.

A job gets a folder laid out as SageMaker does and runs the very entry script that SageMaker runs. Whoever stops the
local system stops the job; its message comes back at the next start, and it goes on from its checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local import resources
from infra.local.processes import LIFELINE
from shared.errors import Unprocessable
from shared.labels import place_of
from shared.stores.objects import Objects
from shared.stores.training_jobs import QUEUED, REFUSED, RUNNING, JobStatus, read_status, write_status

_ROOT = Path(__file__).resolve().parents[2]
GRACE_SECONDS = 120.0  # beyond its limit, for starting and publishing
NICE = 19


class Trainer:
    """Handles the messages of the training queue. folder: of the jobs' files. ended: told of a job that has ended, as
    EventBridge would tell the function."""

    def __init__(self, objects: Objects, folder: Path, ended: Callable[[dict[str, Any]], Any]) -> None:
        self._objects = objects
        self._folder = folder
        self._ended = ended

    def __call__(self, event: Mapping[str, Any], _: Any) -> None:
        """Called as a function is, with SQS records."""
        for record in event["Records"]:
            received = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
            self.handle(json.loads(record["body"]), last=received >= resources.RECEIVES)

    def handle(self, message: Mapping[str, Any], *, last: bool = False) -> None:
        """Does the job of a message, unless it has been done. last: the message will not come again."""
        name, parameters = message["job"], message["parameters"]
        before = read_status(self._objects, name)
        if before == RUNNING and last:
            write_status(self._objects, name, _failed("the local system was stopped too often meanwhile"))
        elif before in (None, QUEUED, RUNNING):
            write_status(self._objects, name, RUNNING)
            try:
                self._lay_out(self._folder / name, parameters, message["inputs"])
                reason = self._run(self._folder / name, float(message["max_seconds"]) + GRACE_SECONDS)
            except Exception as error:  # whatever it is, the job has ended, and who waits for it must be told
                traceback.print_exc()
                reason = f"{type(error).__name__}: {error}"  # for who reads S3: the tenant sees what was meant for them
            write_status(self._objects, name, JobStatus("failed", reason) if reason else JobStatus("completed"))
            shutil.rmtree(self._folder / name, ignore_errors=True)
        call = {"asynchronous": True, "job": name, "tenant": parameters["tenant"]}
        if parameters["kind"] == "ranker":
            self._ended(call | {"action": "ranker_trained"})
        else:
            self._ended(call | {"action": "trained", "head": parameters["head"]})

    def _run(self, root: Path, seconds: float) -> str | None:
        """Why the job failed, as SageMaker would have it; None where it did not."""
        command = [sys.executable, str(LIFELINE), "infra.training_job.entry", "--root", str(root), "--no-install"]
        with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE) as process:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                return f"{REFUSED}the job took longer than {seconds:.0f} s"
        if status == 0:
            return None
        failure = root / "output" / "failure"
        told = failure.read_text(encoding="utf-8") if failure.exists() else ""
        return told or f"the job ended with exit status {status}"

    def _lay_out(self, root: Path, parameters: Mapping[str, str], inputs: Mapping[str, str]) -> None:
        """Makes the folders and files that the entry script expects; checkpoints of an earlier try stay. inputs: by
        channel the prefix of its keys."""
        data, config = root / "input" / "data", root / "input" / "config"
        shutil.rmtree(data, ignore_errors=True)  # of an earlier try
        for folder in (data, config, root / "checkpoints"):
            folder.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(dict(parameters)))
        for channel, prefix in inputs.items():
            place = f"{prefix.rpartition('/')[0]}/"
            for key in self._objects.keys(prefix):
                if not (place.startswith("labels/") and _is_no_file_of_labels(key)):
                    path = data / channel / key.removeprefix(place)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as file:
                        shutil.copyfileobj(self._objects.stream(key), file)


def _is_no_file_of_labels(key: str) -> bool:
    """Whether it is in a folder below, or another file."""
    try:
        place_of(key)
    except Unprocessable:
        return True
    return False


def _failed(sentence: str) -> JobStatus:
    return JobStatus("failed", f"{REFUSED}{sentence}")
