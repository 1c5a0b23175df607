"""The product's own writer of copy, for measurements: the real gate, prompts and ladder; the endpoint is watched."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from shared.errors import ModelUnavailable
from shared.generating.gate import Gate
from shared.generating.judging import heard
from shared.generating.prompts import Style, Styles
from shared.generating.writing import Writer
from shared.models.classifier import TaxonomyClassifier
from shared.models.encoder import Encoder
from shared.models.generator import ChatRequest, Completions, TextGenerator
from shared.models.generator import Engine as Dialect
from shared.models.openai import OpenAICompatible
from shared.models.readers import Readers
from shared.policy.rules import check
from shared.settings import Settings


class Engine:
    """Passes requests on to a generator (or to none: it is then unavailable) and remembers the candidates."""

    def __init__(self, generator: TextGenerator | None, style: Style) -> None:
        self.unwatched = generator
        self.name = generator.name if generator is not None else "none"
        self.style = style
        self.last: list[str] = []
        self.failures = 0

    def complete(self, request: ChatRequest, *, timeout: float) -> Completions:
        if self.unwatched is None:
            raise ModelUnavailable("no language model")
        try:
            answer = self.unwatched.complete(request, timeout=timeout)
        except ModelUnavailable:
            self.failures += 1
            raise
        self.last += answer.texts
        return answer


def open_writer(settings: Settings, engine: Engine | None) -> Writer:
    """The writer that `functions/generate` uses, without a bank; without an engine the templates answer."""
    encoder = Encoder.load(settings.artifacts_dir / "encoder", threads=settings.threads)
    classifier = TaxonomyClassifier.load(settings.artifacts_dir / "taxonomy-adproduct")
    readers = Readers.of(settings.artifacts_dir, threads=settings.threads)
    reader = heard(settings.llm_wording, engine.unwatched if engine is not None else None, lambda: readers)
    return Writer(
        Gate(lambda: encoder, lambda: classifier, check, reader=reader, wording=settings.llm_wording),
        None,
        engine,
        model=engine.name if engine is not None else "none",
        versions=dict,
        styles=Styles(engine.style if engine is not None else settings.llm_prompt),
    )


@contextmanager
def endpoint(settings: Settings) -> Iterator[Engine]:
    """The configured endpoint; else a local one for as long as it is needed, with the prompt that suits it; else none.

    The local one takes ``LLM_ADAPTER`` as ``infra.local.llm_server`` does.
    """
    if settings.llm_url:
        engine, key = cast("Dialect", settings.llm_engine or "llama.cpp"), settings.llm_api_key
        generator = OpenAICompatible(settings.llm_url, settings.llm_model, engine=engine, api_key=key)
        yield Engine(generator, settings.llm_prompt)
        return
    from infra.local import llm_server
    from infra.local.processes import HOST, Child, answers, free_port

    try:
        file = llm_server.gguf("gemma")
        adapters = llm_server.adapter_files(os.environ.get("LLM_ADAPTER", "default").split(), "gemma")
    except FileNotFoundError:
        yield Engine(None, settings.llm_prompt)
        return
    name = "+".join([file.stem, *list(adapters)[:1]])
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        child = Child(
            "language model",
            Path(sys.executable),
            ["infra.local.llm_server", "--port", str(port)],
            log=Path(folder) / "llm.log",
        )
        try:
            child.wait_until(lambda: answers(f"http://{HOST}:{port}/health"), 60)
            yield Engine(OpenAICompatible(f"http://{HOST}:{port}/v1", name), llm_server.prompt_style(adapters))
        finally:
            child.stop(10)
