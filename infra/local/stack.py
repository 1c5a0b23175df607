"""All parts of the local system together: started in order, watched, and stopped so that nothing is lost or left."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from infra.local import llm_server, resources
from infra.local.ministack import Ministack
from infra.local.processes import HOST, Child, StartError, answers, free_port, port_taken
from shared.errors import ArtifactError

ROOT = Path(__file__).resolve().parents[2]
AWS_PORT = 4566
TENANT = "demo"
TRAINING_SECONDS = 1200  # of a head, at most; TRAINING_MAX_SECONDS overrides it


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    state: folder for everything that outlives a run; logs go to ``logs/`` in it.
    port: of the API; 0 chooses a free one. aws_port: of the local AWS services; a taken one is replaced by a free one.
    llm: ``gemma``, ``smollm2``, a .gguf file, the base URL (``http…/v1``) of another OpenAI-compatible endpoint, or
        ``none``.
    sample: whether ``/healthz`` waits for the sample data.
    """

    state: Path
    port: int = 8080
    aws_port: int = AWS_PORT
    llm: str = "gemma"
    sample: bool = True


class Stack:
    """The running local system. Call `start`, then `wait`; `stop` may be called at any time and more than once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._lock: IO[str] | None = None
        self._ministack: Ministack | None = None
        self._llm: Child | None = None
        self._worker: Child | None = None
        self._api: Child | None = None
        self.url = ""
        self.llm_url = ""
        self._llm_settings: dict[str, str] = {}
        self.resources: resources.Resources | None = None
        self._run = options.state / "run"
        self.sample_ready = self._run / "sample"

    def start(self) -> None:
        """Starts every part without waiting for the slower ones.

        Raises:
            StartError: a port is taken, the state is in use, or a part is missing.
        """
        options = self.options
        self._take_lock()
        port = options.port or free_port()
        if port_taken(port):
            raise StartError(
                f"Port {port} is in use. Stop what uses it, or choose another one: make run PORT={port + 1}"
            )
        aws_port = options.aws_port if options.aws_port and not port_taken(options.aws_port) else free_port()
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(parents=True)
        logs = options.state / "logs"
        logs.mkdir(exist_ok=True)
        for log in logs.glob("*.log"):
            log.unlink()
        self.url = f"http://{HOST}:{port}"
        self._ministack = Ministack(aws_port, options.state, logs / "aws.log")
        self._ministack.wait()
        self.resources = resources.create(self._ministack.url)
        self._start_llm(logs)
        env = self.environment() | {
            "API_PORT": str(port),
            "WORKER_READY": str(self._run / "worker"),
            "SAMPLE_READY": str(self.sample_ready) if options.sample else "",
        }
        python = Path(sys.executable)
        self._api = Child("The API", python, ["infra.local.api"], log=logs / "api.log", env=env)
        # Ingest gives way to requests where both want the same core.
        self._worker = Child("The worker", python, ["infra.local.worker"], log=logs / "worker.log", env=env, nice=5)
        places = {"pid": os.getpid(), "api": self.url, "aws": self._ministack.url, "llm": self.llm_url}
        (options.state / "run.json").write_text(json.dumps(places))

    def environment(self) -> dict[str, str]:
        """The settings of functions and worker."""
        if self.resources is None:
            raise StartError("the local AWS services are not started")
        return self.resources.environment() | {
            "STAGE": "local",
            "TENANT": TENANT,
            "CONSENT_BASIS": "asserted",
            "K_FLOOR": "5",
            "ERASURE_DELAY_SECONDS": os.environ.get("ERASURE_DELAY_SECONDS") or "60",
            "LLM_URL": self.llm_url,
            "LLM_MODEL": os.environ.get("LLM_MODEL") or "local",
            **self._llm_settings,
            "PSEUDONYM_KEY_FILE": str(self.options.state / "pseudonym.key"),
            "TRAINING_FOLDER": str(self.options.state / "training"),
            "TRAINING_MAX_SECONDS": os.environ.get("TRAINING_MAX_SECONDS") or str(TRAINING_SECONDS),
            "THREADS": str(max(1, (os.cpu_count() or 2) // 2)),
            "ORT_DISABLE_TELEMETRY": "1",
            "POWERTOOLS_SERVICE_NAME": "adtailor",
            "POWERTOOLS_METRICS_DISABLED": "true",
            "POWERTOOLS_TRACE_DISABLED": "true",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            "NO_PROXY": f"{HOST},localhost",
        }

    def wait(self) -> None:
        """Returns when every part answers (the sample aside).

        Raises:
            StartError: a part ended or stays silent.
        """
        api, worker = self._api, self._worker
        if api is None or worker is None:
            raise StartError("the local system is not started")
        api.wait_until(lambda: answers(f"{self.url}/docs"), timeout=90)
        worker.wait_until((self._run / "worker").exists, timeout=90)
        if self._llm is not None:
            self._llm.wait_until(lambda: answers(f"{self.llm_url}/models"), timeout=180)

    def failed(self) -> str | None:
        """What happened, if a part that the system cannot do without has ended."""
        if self._ministack is not None and not self._ministack.running:
            return f"The local AWS services ended. Their log: {self.options.state / 'logs' / 'aws.log'}"
        for child in (self._api, self._worker):
            if child is not None and not child.running:
                return f"{child.name} ended.\n{child.last_lines()}"
        return None

    def llm_failed(self) -> str | None:
        """What happened, if the language model has ended: copy then comes from templates."""
        if self._llm is not None and not self._llm.running:
            return self._llm.last_lines(4)
        return None

    def pids(self) -> dict[str, int]:
        """Process ids of the parts, by name."""
        children: dict[str, Any] = {
            "aws": self._ministack,
            "llm": self._llm,
            "worker": self._worker,
            "api": self._api,
        }
        return {name: child.pid for name, child in children.items() if child is not None}

    def stop(self) -> None:
        """Stops what was started: first what writes, last what stores."""
        for child, seconds in ((self._worker, 10.0), (self._api, 10.0), (self._llm, 3.0)):
            if child is not None:
                child.stop(seconds)
        if self._ministack is not None:
            self._ministack.stop()
        if self._lock is not None:
            (self.options.state / "run.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _start_llm(self, logs: Path) -> None:
        llm = self.options.llm
        if llm == "none":
            return
        if llm.startswith(("http://", "https://")):
            self.llm_url = llm.rstrip("/")
            return
        try:
            file = llm_server.gguf(llm)
            adapters = llm_server.adapter_files(os.environ.get("LLM_ADAPTER", "default").split(), llm)
        except (FileNotFoundError, ValueError, ArtifactError) as error:
            raise StartError(f"The language model cannot be used: {error}") from error
        port = free_port()
        self.llm_url = f"http://{HOST}:{port}/v1"
        self._llm_settings = {
            # What provenance calls the writer; the server takes any name.
            "LLM_MODEL": "+".join([file.stem, *list(adapters)[:1]]),
            "LLM_PROMPT": os.environ.get("LLM_PROMPT") or llm_server.prompt_style(adapters),
            "LLM_ADAPTERS": ",".join(adapters),
        }
        arguments = ["infra.local.llm_server", "--port", str(port), "--model", llm]
        self._llm = Child("The language model", Path(sys.executable), arguments, log=logs / "llm.log")

    def _take_lock(self) -> None:
        self.options.state.mkdir(parents=True, exist_ok=True)
        lock = (self.options.state / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StartError(f"It runs already{self._where()}. Stop it, or give another one its own --state.") from None
        self._lock = lock

    def _where(self) -> str:
        try:
            places = json.loads((self.options.state / "run.json").read_text())
        except (OSError, ValueError):
            return ""
        return f" on {places['api']} (process {places['pid']})"
