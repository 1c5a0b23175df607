"""Entry script of a training job: ``python -m infra.training_job.entry`` in the folder of the unpacked source archive.

Expects SageMaker's folders under ``/opt/ml``: what to train in ``input/config/hyperparameters.json``
(`shared.stores.training_jobs.hyper_parameters`), and what to train on in ``input/data``: labels in ``train``, or what
`infra.training_job.ranker` takes. It installs the pinned packages, runs `infra.training.train_classifier` or
`infra.training.train_ranker`, with torchrun where there are several GPUs, and leaves the reason of a failure in
``output/failure``, which SageMaker shows: what follows ``not trained: `` there is for the tenant, and anything else for
who runs the system. The local run calls it too, with a folder of its own (``--root``) and the packages that are there
(``--no-install``).

Until the packages are installed only the standard library is imported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2]
REQUIREMENTS = SOURCE / "training-requirements.txt"
ENCODERS = SOURCE / "training-encoders.txt"  # not in an archive whose wheels have none of them
WHEELS = SOURCE / "wheels"  # in the archive where the job has no way to a package index
# How the training scripts say why they gave up; `shared.stores.training_jobs` has it too, which cannot be imported yet.
REFUSED = "not trained: "
# How torchrun begins what it says itself of processes that failed, at length.
TORCHRUN = re.compile(r"[EW]\d{4} \S+ \d+ \S*torch/distributed/elastic/")
LAST_LINES = 3
LONGEST_REASON = 1000  # characters; SageMaker shows 1,024


class JobError(Exception):
    """The job cannot go on; what follows `REFUSED` in the message is for the tenant."""


class Command:
    """A child process whose lines are passed on and remembered; ends with this process."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self.stopped = False
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self._refusal = ""

    def stop(self, *_: Any) -> None:
        """As a signal handler: a spare instance is taken back, or somebody stops the job."""
        self.stopped = True
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def run(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """The exit status."""
        self.lines.clear()
        self._refusal, over = "", False
        print("+", *command, flush=True)
        whole = {**os.environ, "COLUMNS": "400", **(env or {})}  # or long messages are broken into lines
        with subprocess.Popen(
            command, cwd=SOURCE, env=whole, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as self._child:
            if self.stopped:
                self._child.terminate()
            for line in self._child.stdout or ():
                print(line, end="", flush=True)
                self._refusal = self._refusal or line.partition(REFUSED)[2].strip()
                over = over or TORCHRUN.match(line) is not None
                if not over and line.strip():
                    self.lines.append(line.rstrip())
        return self._child.returncode

    def reason(self) -> str:
        """Why the command failed, from what it printed; with `REFUSED` before what was meant to be told."""
        if self.stopped:
            return f"{REFUSED}the job was stopped"
        return f"{REFUSED}{self._refusal}" if self._refusal else " / ".join(self.lines) or "it ended without a word"


def install(command: Command, *, encoders: bool = True) -> None:
    """Installs the pinned packages into the image's own Python.

    encoders: also those that heads are fine-tuned from, where the archive names any.

    Raises:
        JobError: pip cannot.
    """
    options = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    if WHEELS.is_dir():
        options += ["--no-index", f"--find-links={WHEELS}"]
    pip = [sys.executable, "-m", "pip", "install", *options]
    if command.run([*pip, f"--requirement={REQUIREMENTS}"]):
        raise JobError(f"the packages of the training job cannot be installed: {command.reason()}")
    # As with any package: unnoticed, a head would be worse, and a job that goes on would refuse its own checkpoints.
    if encoders and ENCODERS.is_file() and command.run([*pip, "--no-deps", f"--requirement={ENCODERS}"]):
        raise JobError(f"the encoders of the training job cannot be installed: {command.reason()}")
    importlib.invalidate_caches()


def processes(parameters: Mapping[str, str]) -> int:
    """How many to train with: one a GPU; one alone on CPUs, whose threads use every core."""
    given = parameters.get("processes") or os.environ.get("SM_NUM_GPUS")
    if given is None:
        count = "import torch; print(torch.cuda.device_count())"
        done = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=False)
        given = done.stdout.strip() if done.returncode == 0 else "0"
    return max(1, int(given))


def prepare(root: Path, parameters: Mapping[str, str]) -> dict[str, Path]:
    """Writes the rows that can be used, as `train_classifier` reads them; files by part (train, dev, unlabelled).

    Raises:
        JobError: there are none to train on.
    """
    from shared.labels import LabelRow, Part, read_labels
    from shared.uploads import StreamProblem

    folder, work = root / "input" / "data" / "train", root / "work"
    work.mkdir(parents=True, exist_ok=True)
    head, found = parameters["head"], {}
    names: dict[Part, list[str]] = {"train": [parameters["labels"]], "dev": [], "unlabelled": []}
    for part in ("dev", "unlabelled"):
        names[part] = sorted(path.name for path in folder.glob(f"{head}.{part}.*"))[:1]
    for part, given in names.items():
        for name in given:
            if not (folder / name).is_file():
                raise JobError(f"{REFUSED}the labels {name} are not there: they were deleted, or renamed")
            target, count, rejected = work / f"{part}.jsonl", 0, 0
            with (folder / name).open("rb") as stream, target.open("w", encoding="utf-8") as file:
                for row in read_labels(stream, name, part):
                    if isinstance(row, LabelRow):
                        values = {"text": row.text} | ({} if part == "unlabelled" else {"label": row.label})
                        file.write(json.dumps(values) + "\n")
                        count += 1
                    elif isinstance(row, StreamProblem):
                        print(f"{name}: {row.reason}", flush=True)
                    else:
                        rejected += 1
            print(f"{name}: {count:,} rows, {rejected:,} rejected", flush=True)
            if count:
                found[part] = target
    if "train" not in found:
        raise JobError(f"{REFUSED}{parameters['labels']} has no row that can be used")
    return {str(part): path for part, path in found.items()}


def arguments(root: Path, parameters: Mapping[str, str], files: Mapping[str, Path]) -> list[str]:
    """Those of `infra.training.train_classifier`."""
    given = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    given += ["--name", parameters["head"], "--seed", parameters.get("seed", "0")]
    given += ["--budget-seconds", parameters["budget_seconds"]]
    return [*given, "--checkpoints", str(root / "checkpoints"), "--out", str(root / "model"), "--publish"]


def launch(module: str, options: Sequence[str], parameters: Mapping[str, str], command: Command) -> int:
    """Runs a training script with a process a GPU; its exit status."""
    count = processes(parameters)
    run = [sys.executable, "-m"]
    if count > 1:
        run += ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"]
    return command.run([*run, module, *options], {"TENANT": parameters["tenant"]})


def train(root: Path, parameters: Mapping[str, str], command: Command) -> None:
    """Trains a head and publishes it, or a ranker and has it judged.

    Raises:
        JobError: it fails.
    """
    if parameters["kind"] == "ranker":
        from infra.training_job import ranker

        ranker.train(root, parameters, command)
        return
    options = arguments(root, parameters, prepare(root, parameters))
    if launch("infra.training.train_classifier", options, parameters, command):
        raise JobError(command.reason())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m infra.training_job.entry", description="Runs a training job.")
    parser.add_argument("--root", type=Path, default=Path("/opt/ml"), help="the folder that SageMaker lays out")
    parser.add_argument("--no-install", dest="install", action="store_false", help="use the packages that are there")
    given = parser.parse_args()
    root: Path = given.root
    command = Command()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, command.stop)
    try:
        parameters = json.loads((root / "input" / "config" / "hyperparameters.json").read_text(encoding="utf-8"))
        if given.install:
            install(command, encoders=parameters["kind"] == "head")
        train(root, parameters, command)
    except (JobError, KeyError, OSError, ValueError) as error:
        reason = str(error) if isinstance(error, JobError) else f"{type(error).__name__}: {error}"
        failure = root / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(reason[:LONGEST_REASON], encoding="utf-8")
        print(f"error: {reason}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    # By its own name, or what others import of this module would be a second one.
    sys.exit(importlib.import_module("infra.training_job.entry").main())
