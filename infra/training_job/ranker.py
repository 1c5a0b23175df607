"""The job of a tenant's ranker: trains it on the earlier part of the decision log, has the gate judge it on the later
part, and leaves artefact and verdict where the function looks that started the job.

No decision is used twice. The log is cut at one moment: decisions before it are trained on (and by the training itself
chosen and calibrated on), those from it on are the gate's alone. A job that goes on after an interruption keeps its
moment, and begins its training anew where the log before it has changed. The ranker in service was trained on an
earlier log of the same kind, so it has not seen the gate's part either.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import numpy as np
import orjson
from rich.console import Console

from infra import gate
from infra.ope.decisions import WINDOW, read
from infra.training_job.entry import REFUSED, Command, JobError, launch
from shared import promotion
from shared.errors import AdTailorError
from shared.models.artifacts import load_manifest
from shared.ranker_inputs import FILE, read_vectors
from shared.settings import Settings
from shared.stores.objects import Objects
from shared.stores.training_jobs import candidate_prefix

TRAIN_SHARE = 0.8  # of the decisions whose clicks are all in, in order of time
TIME_SHARE = 0.85  # of the job's time for training; what is left is the gate's
CUT = "cut.json"


def train(root: Path, parameters: Mapping[str, str], command: Command) -> None:
    """Trains, judges and leaves the result.

    Raises:
        JobError: there is nothing to train on or to judge by, or a step fails.
    """
    inputs, work = root / "input" / "data", root / "work"
    now = began(root / "checkpoints")
    early, late, changed = split(inputs / "log", work, root / "checkpoints", now=now)
    candidate = work / "ranker"
    options = ["--log", str(early), "--vectors", str(inputs / "prepared" / FILE), "--out", str(candidate)]
    options += ["--seed", parameters.get("seed", "0"), "--checkpoints", str(root / "checkpoints")]
    options += ["--budget-seconds", str(int(float(parameters["budget_seconds"]) * TIME_SHARE))]
    options += ["--now", str(now)]  # or the last day before the cut would count as too young
    options += ["--restart"] if changed else []  # the states are of another training
    if launch("infra.training.train_ranker", options, parameters, command):
        raise JobError(command.reason())
    if command.stopped:
        raise JobError(command.reason())
    try:
        judge(candidate, late, inputs, parameters)
        leave(candidate, parameters)
    except AdTailorError as error:
        raise JobError(f"{REFUSED}{error.detail}") from error


def began(checkpoints: Path) -> float:
    """Epoch seconds when the job was started first: one that goes on after an interruption reads the log as of then."""
    kept = checkpoints / CUT
    return float(json.loads(kept.read_text(encoding="utf-8"))["now"]) if kept.is_file() else time.time()


def split(log: Path, work: Path, checkpoints: Path, *, now: float) -> tuple[Path, Path, bool]:
    """Writes the log's lines before the cut and those from it on into two files, in that order; a line without a time
    goes into the first, where its reader counts it. Also returns whether the first is another one than before an
    interruption: clicks may have come late.

    Raises:
        JobError: no decision's clicks are all in.
    """
    files = sorted(log.rglob("*.jsonl.gz"))
    kept = checkpoints / CUT
    before_it = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else None
    cut = _cut(files, now) if before_it is None else float(before_it["at"])
    for folder in (work, checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    early, late = work / "early.jsonl.gz", work / "late.jsonl.gz"
    counts, content = [0, 0], hashlib.sha256()
    with gzip.open(early, "wb", 1) as before, gzip.open(late, "wb", 1) as after:
        for at, line in _lines(files):
            behind = at is not None and at >= cut
            (after if behind else before).write(line)
            counts[behind] += 1
            if not behind:
                content.update(line)
    print(f"{len(files):,} files: {counts[0]:,} decisions to train on, {counts[1]:,} for the gate", flush=True)
    kept.write_text(json.dumps({"at": cut, "now": now, "early": content.hexdigest()}), encoding="utf-8")
    return early, late, before_it is not None and before_it["early"] != content.hexdigest()


def _cut(files: list[Path], now: float) -> float:
    times = np.array([at for at, _ in _lines(files) if at is not None and at <= now - WINDOW])
    if not len(times):
        raise JobError(f"{REFUSED}the log has no decision whose clicks are all in ({WINDOW / 3600:.0f} hours)")
    return float(np.quantile(times, TRAIN_SHARE))


def _lines(files: list[Path]) -> Iterator[tuple[float | None, bytes]]:
    """Each line with the time of its decision."""
    for path in files:
        try:
            with gzip.open(path, "rb") as file:
                for line in file:
                    try:
                        at = float(orjson.loads(line)["at"])
                    except (KeyError, TypeError, ValueError):
                        yield None, line
                    else:
                        yield at, line
        except (EOFError, gzip.BadGzipFile, zlib.error):
            print(f"{path.name} is damaged or ends too early: what is behind the damage is left out", flush=True)


def judge(candidate: Path, late: Path, inputs: Path, parameters: Mapping[str, str]) -> None:
    """Has the gate judge the candidate against the ranker in service; writes the verdict into its folder.

    Raises:
        AdTailorError: the gate cannot.
    """
    current = inputs / "current" if parameters["current"] else None
    if current is not None and (found := load_manifest(current).version) != parameters["current"]:
        raise JobError(f"the ranker to beat is {found}, not {parameters['current']}")
    with late.open("rb") as file:
        decided, told = read([(late.name, file)], now=time.time())
    for note in told.notes():
        print(note, flush=True)
    verdict = gate.evaluate(
        decided,
        told,
        candidate,
        current,
        read_vectors(inputs / "prepared" / FILE),
        tenant=parameters["tenant"],
        console=Console(),
    )
    promotion.write_verdict(candidate, verdict)


def leave(candidate: Path, parameters: Mapping[str, str]) -> None:
    """Uploads artefact and verdict to where the function looks."""
    objects = Objects(boto3.client("s3"), Settings.from_env().bucket_name)
    prefix = f"{candidate_prefix(parameters['tenant'], parameters['job'])}result/"
    for path in sorted(path for path in candidate.rglob("*") if path.is_file()):
        objects.put(f"{prefix}{path.relative_to(candidate).as_posix()}", path.read_bytes())
    print(f"result in s3://{objects.bucket}/{prefix}", flush=True)
