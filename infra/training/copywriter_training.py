"""Trains an adapter from rows to the written folder: what `train_copywriter` runs.

The steps: rows that teach truth, split by ad; LoRA with the vocabulary cut (`copywriter_fit`); candidates of base and
adapter for the same ads; quality and memorisation (`copywriter_measure`); the files (`copywriter_export`) and the card.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from peft import PeftModel
from rich.console import Console

from infra.training import copywriter_base, copywriter_export, copywriter_vocabulary
from infra.training.copywriter_base import Base, Row
from infra.training.copywriter_card import write_card
from infra.training.copywriter_checkpoint import Checkpoints, Progress, training_id
from infra.training.copywriter_fit import Plan, Step, adapted, fit, held_loss
from infra.training.copywriter_measure import Candidate, Memorised, memorised, quality
from infra.training.copywriter_pairs import STYLE, Pair, counts, read_catalogue, read_pairs, split, teachable, varied
from infra.training.copywriter_writers import TorchWriter, Writes, llama
from shared.domain import Ad, Wording
from shared.generating.prompts import Prompt, Style, build_prompt, may_generate, prompt_version
from shared.models.artifacts import MANIFEST, load_manifest, write_manifest

KIND = "copywriter"
MOST_TOKENS = 1024  # of a row
MEASURED_ADS = 40  # requests of each part, for quality
MEASURED_PAIRS = 80  # of each part, for memorisation
PACKAGES = ("accelerate", "gguf", "peft", "torch", "transformers")


@dataclass(frozen=True)
class Options:
    """What to train on what. See `train_copywriter`; `measure`: files of ads to write for beside the held-out ones;
    `as_written`: learn from the rows that ledger or policy packs object to as well; `state`: folder in which a training
    that is under way is kept; `note`: what a person found, for the card; `wording`: of what may be shown."""

    name: str
    pairs: tuple[Path, ...]
    ads: tuple[Path, ...] = ()
    measure: tuple[Path, ...] = ()
    base: str = "gemma"
    revision: str | None = None
    plan: Plan = field(default_factory=Plan)
    variants: int = 3
    held_share: float = 0.1
    precision: str = "auto"
    seconds: float = math.inf
    candidates: int = 4
    temperature: float | None = None
    memorised_limit: float = 0.05
    allow_memorised: bool = False
    whole_vocabulary: bool = False
    as_written: bool = False
    wording: Wording = "quoted"
    trained: Path | None = None
    state: Path | None = None
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was measured; `facts` is the manifest's metadata, `version` the manifest's (empty where nothing was
    written)."""

    facts: dict[str, Any]
    memorised: Memorised
    version: str = ""


class Refused(Exception):
    """The adapter is not to be exported; `outcome` has the figures."""

    def __init__(self, reason: str, outcome: Outcome) -> None:
        super().__init__(reason)
        self.outcome = outcome


def precision_of(wanted: str) -> str:
    """accelerate's name of the arithmetic: ``auto`` is bfloat16 where the machine multiplies it, else float16 on a GPU
    and float32 on a CPU.

    Raises:
        ValueError: it is none of auto, no, bf16 and fp16.
    """
    if wanted in ("no", "bf16", "fp16"):
        return wanted
    if wanted != "auto":
        raise ValueError(f"precision {wanted!r} is none of auto, no, bf16, fp16")
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else "no"


def train(
    options: Options, folder: Path, console: Console, report: Callable[[Step], None] = lambda _: None
) -> Outcome | None:
    """Trains (or takes `options.trained`), measures, and writes the adapter into `folder`, which must not exist.

    None on every process but the first, which alone measures and writes.

    Raises:
        Refused: it repeats what it learnt. ValueError, OSError: rows or base cannot be read.
    """
    pairs = read_pairs(options.pairs, read_catalogue(options.ads))
    kept, left = teachable(pairs, options.wording)
    if options.as_written:
        kept, left = pairs, []
    if not kept:
        raise ValueError(f"none of {len(pairs)} copies may be learnt from, the first since: {left[0][1]}")
    train_pairs, held_pairs = split(kept, options.held_share, options.plan.seed)
    asked_ads = [ad for ad in read_catalogue(options.measure).values() if may_generate(ad)]

    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=precision_of(options.precision),
        gradient_accumulation_steps=options.plan.accumulate,
    )
    set_seed(options.plan.seed)
    first = accelerator.is_main_process
    if first:
        reasons = Counter(reason.partition(":")[0] for _, reason in left)
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        console.print(
            f"{len(train_pairs)} copies to train on, {len(held_pairs)} of other ads held out"
            + (f", {len(left)} left out ({said})" if left else ""),
            highlight=False,
        )
    with accelerator.main_process_first():
        dtype = torch.bfloat16 if torch.cuda.is_available() and accelerator.mixed_precision == "bf16" else torch.float32
        base = copywriter_base.load(options.base, options.revision, dtype=dtype)
    base.model.to(accelerator.device)
    rows = copywriter_base.encode(base, varied(train_pairs, options.variants, options.plan.seed))
    held = copywriter_base.encode(base, held_pairs)
    longest = max(len(row.ids) for row in rows + held)
    if longest > MOST_TOKENS:
        raise ValueError(f"a row has {longest} tokens; {MOST_TOKENS} are the most")
    if options.trained is not None:
        model, progress = PeftModel.from_pretrained(base.model, options.trained), Progress()
    else:
        model = adapted(base.model, options.plan, base.id)
        progress = _fitted(model, base, rows, held, options, accelerator, report)
    losses = {"adapter": held_loss(model, held, base.tokenizer.pad_token_id, accelerator)}
    with model.disable_adapter():
        losses["base"] = held_loss(model, held, base.tokenizer.pad_token_id, accelerator)
    model.eval()
    if not first:
        accelerator.end_training()
        return None
    folder.mkdir(parents=True)
    copywriter_export.write_peft(model, folder)
    adapter = _gguf(folder, base, console)
    with ExitStack() as stack:
        served = base.gguf is not None and adapter is not None
        writer: Writes = stack.enter_context(llama(base, adapter)) if served else TorchWriter(base, model)
        with console.status("writing for the held-out ads, with and without the adapter"):
            found = _quality(writer, held_pairs, train_pairs, asked_ads, options)
            repeated = _memorised(writer, train_pairs, held_pairs, options)
    facts: dict[str, Any] = {
        "name": options.name,
        "base": {
            "name": options.base,
            "id": base.id,
            "revision": base.revision,
            "gguf": base.gguf.name if base.gguf else None,
        },
        "prompt": {"style": STYLE, "version": prompt_version(STYLE), "chat": base.is_chat},
        "measured": {
            "requests": MEASURED_ADS,
            "candidates": options.candidates,
            "temperature": {
                name: _prompt(held_pairs[0], options, tuned=tuned).temperature
                for name, tuned in (("base", False), ("adapter", True))
            },
        },
        **_training(options, progress, accelerator),
        "rows": {"train": counts(train_pairs), "held_out": counts(held_pairs), "left_out": len(left)},
        "pairs": [path.name for path in options.pairs],
        "as_written": options.as_written,
        "wording": options.wording,
        "data_sha256": _digest(options.pairs),
        "held_out_loss": {name: round(value, 4) for name, value in losses.items()},
        "engine": "llama.cpp" if served else "transformers",
        "quality": found,
        "memorised": repeated.figures(),
        "note": options.note,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    accelerator.end_training()
    outcome = Outcome(facts, repeated)
    if repeated.repeats > options.memorised_limit and not options.allow_memorised:
        limit = f"{repeated.repeats:.1%} of the candidates repeat training copies of other ads (limit "
        raise Refused(f"{limit}{options.memorised_limit:.1%}): --allow-memorised exports it all the same", outcome)
    write_card(folder, facts, is_gemma=base.is_gemma)
    return replace(outcome, version=write_manifest(folder, KIND, options.name, metadata=facts).version)


def _training(options: Options, progress: Progress, accelerator: Accelerator) -> dict[str, Any]:
    """How it was trained: now, or as the manifest of an adapter trained before says."""
    made = {
        "plan": asdict(options.plan),
        "updates": progress.updates,
        "seconds": round(progress.seconds, 1),
        "variants": options.variants,
        "held_share": options.held_share,
        "precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
    }
    if options.trained is not None and (options.trained / MANIFEST).is_file():
        made |= {key: value for key, value in load_manifest(options.trained).metadata.items() if key in made}
    return made


def _fitted(
    model: Any,
    base: Base,
    rows: Sequence[Row],
    held: Sequence[Row],
    options: Options,
    accelerator: Accelerator,
    report: Callable[[Step], None],
) -> Progress:
    """Trains `model` in place."""
    padding = base.tokenizer.pad_token_id
    words: list[int] | None = None
    if not options.whole_vocabulary:
        size = base.model.get_input_embeddings().weight.shape[0]
        words = copywriter_vocabulary.choose([*rows, *held], size, [padding], options.plan.seed)
    told = report if accelerator.is_main_process else lambda _: None
    with copywriter_vocabulary.shortened(base.model, words) if words else nullcontext():
        if words:
            rows, held = (copywriter_vocabulary.renumbered(part, words) for part in (rows, held))
            padding = words.index(padding)
        kept = None
        if options.state is not None:
            name = training_id(f"{base.id} {base.revision}", options.plan, rows, held, accelerator)
            kept = Checkpoints(options.state, name)
        return fit(
            model,
            rows,
            held,
            padding,
            options.plan,
            accelerator,
            seconds=options.seconds,
            report=told,
            checkpoints=kept,
        )


def _gguf(folder: Path, base: Base, console: Console) -> Path | None:
    try:
        return copywriter_export.write_gguf(folder, base.model.config, base.id)
    except copywriter_export.NoGGUF as error:
        console.print(str(error), highlight=False)
        return None


def _quality(
    writer: Writes, held: Sequence[Pair], training: Sequence[Pair], ads: Sequence[Ad], options: Options
) -> dict[str, dict[str, dict[str, float]]]:
    """Quality of base (with its examples) and adapter, on held-out ads and on those of `ads`."""
    generator = random.Random(options.plan.seed)
    able = [pair for pair in held if may_generate(pair.ad)] or list(held)
    asked = {"held-out ads": generator.sample(able, min(MEASURED_ADS, len(able)))}
    if ads:
        chosen = generator.sample(list(ads), min(MEASURED_ADS, len(ads)))
        asked["other ads"] = [Pair(ad, "", _readers(ad, training, generator)) for ad in chosen]
    return {
        name: {
            label: asdict(quality(_candidates(writer, pairs, options, tuned=tuned), options.wording))
            for label, tuned in (("base", False), ("adapter", True))
        }
        for name, pairs in asked.items()
    }


def _readers(ad: Ad, training: Sequence[Pair], generator: random.Random) -> tuple[str, ...]:
    names = sorted({name for pair in training if pair.ad.language == ad.language for name in pair.audience})
    return (generator.choice(names),) if names else ()


def _memorised(writer: Writes, training: Sequence[Pair], held: Sequence[Pair], options: Options) -> Memorised:
    generator = random.Random(options.plan.seed)
    asked = [pair for part in (training, held) for pair in generator.sample(part, min(MEASURED_PAIRS, len(part)))]
    return memorised(_candidates(writer, asked, replace(options, candidates=1), tuned=True), training)


def _candidates(writer: Writes, pairs: Sequence[Pair], options: Options, *, tuned: bool) -> list[Candidate]:
    """`options.candidates` texts for each pair's ad, readers and channel: with the adapter, or by the base from its
    examples."""
    prompts = [_prompt(pair, options, tuned=tuned) for pair in pairs]
    heat = prompts[0].temperature
    written = writer(
        prompts, tuned=tuned, n=options.candidates if heat > 0 else 1, temperature=heat, seed=options.plan.seed
    )
    return [
        Candidate(pair.ad, text, pair.audience, pair.channel)
        for pair, texts in zip(pairs, written, strict=True)
        for text in texts
    ]


def _prompt(pair: Pair, options: Options, *, tuned: bool) -> Prompt:
    """As served, unless the options say another temperature."""
    style: Style = STYLE if tuned else "few-shot"
    made = build_prompt(pair.ad, pair.ad.language, style=style, interests=pair.audience, width=pair.width)
    return made if options.temperature is None else replace(made, temperature=options.temperature)


def _digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()
