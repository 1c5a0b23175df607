"""The whole API in one process: the four functions' routes, a health check that knows every part, the console.

``python -m infra.local.api`` takes its place and parts from the environment: ``API_PORT``, ``WORKER_READY`` (file with
the worker's process id), ``SAMPLE_READY`` (file that is there once the sample and its first snapshot are loaded; empty:
no sample is awaited) and the settings of `shared.settings`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI

from functions.classify.handler import router as classify
from functions.generate.handler import router as generate
from functions.profile.handler import router as profile
from functions.recommend.handler import router as recommend
from infra.local.console import with_console
from infra.local.processes import HOST, answers
from infra.openapi import describe
from shared.entry import JSON, create_app
from shared.errors import AdTailorError
from shared.generating import warm
from shared.wiring import system

local = APIRouter(include_in_schema=False)


@local.get("/healthz")
def healthz() -> JSON:
    """200 when every part is up and, with a sample, the sample and its first snapshot are loaded; else 503."""
    state = parts()
    whole = all(state.values())
    body: dict[str, Any] = {"status": "ok" if whole else "starting", "parts": state}
    if state["models"]:
        body["versions"] = system().versions
    return JSON(body, status_code=200 if whole else 503)


def parts() -> dict[str, bool]:
    """Which parts are up. The language model is absent where there is none by choice."""
    state = {
        "aws": answers(f"{os.environ['AWS_ENDPOINT_URL']}/_ministack/health"),
        "models": _models(),
        "worker": _alive(Path(os.environ["WORKER_READY"])),
    }
    if url := system().settings.llm_url:
        state["llm"] = answers(f"{url}/models", key=system().settings.llm_api_key)
    if sample := os.environ.get("SAMPLE_READY"):
        state["sample"] = Path(sample).exists()
    return state


def _models() -> bool:
    try:
        return bool(system().encoder and all(system().classifiers.values()))
    except AdTailorError:
        return False


def _alive(ready: Path) -> bool:
    try:
        os.kill(int(ready.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def build() -> FastAPI:
    """The API that the four Lambda functions serve together on AWS."""
    # Where an id may hold slashes, its longer paths come first; API Gateway tells them apart by itself.
    app = create_app("", local, recommend, profile, classify, generate)
    describe(app)
    return app


def main() -> None:
    app = with_console(build(), os.environ["AWS_ENDPOINT_URL"], with_sample=bool(os.environ.get("SAMPLE_READY")))
    system().encoder.encode(["warm"])
    warm()
    port = int(os.environ["API_PORT"])
    # No access log: a path carries a person's id.
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
