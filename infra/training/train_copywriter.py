"""Fine-tunes a language model on approved copy with LoRA, checks what it learnt, and writes the adapter for serving.

    python -m infra.training.train_copywriter --pairs copy.jsonl --name brand
    torchrun --nproc-per-node 4 -m infra.training.train_copywriter --base google/gemma-3-4b-pt --pairs copy.jsonl …

Rows are an ad with its copies, or one copy a row (`copywriter_pairs` has the formats). The base is ``gemma`` (the local
default's own weights), a GGUF file, a folder or a hub's id with ``--revision``. Held-out ads say when to stop; then the
adapter and the base (with its examples) write for the same ads, and the command refuses to export an adapter whose
candidates repeat training copies of other ads. With a GGUF base they write by llama.cpp, as served; otherwise by torch.
At every measurement the state of the training is saved (OUT/.NAME.training): the same command goes on from there.

The folder OUT/NAME holds peft's adapter (vLLM: ``--lora-modules NAME=FOLDER``), the same as ``adapter.gguf``
(llama.cpp: ``--lora``), a card and a manifest. The base model is never changed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.training.install import install
from shared.domain import Wording

if TYPE_CHECKING:
    from infra.training.copywriter_fit import Step
    from infra.training.copywriter_training import Outcome

OUT = Path(".local/copywriters")


def _show_step(console: Console, step: Step) -> None:
    loss = "" if step.updates == 0 else f"loss {step.loss:.3f}, {step.seconds:.2f} s an update, "
    console.print(f"update {step.updates}: {loss}held-out loss {step.held_loss:.3f}", highlight=False)


def _show(console: Console, outcome: Outcome) -> None:
    facts = outcome.facts
    for name, measured in facts["quality"].items():
        columns = [column for column in measured["adapter"] if column != "candidates"]
        count = measured["adapter"]["candidates"]
        table = Table("", *columns, title=f"{name}, {count} candidates")
        for label, row in measured.items():
            table.add_row(label, *(f"{row[column]:.1%}" for column in columns))
        console.print(table)
    loss = facts["held_out_loss"]
    console.print(f"held-out loss {loss['base']:.3f} before, {loss['adapter']:.3f} after", highlight=False)
    memorised = outcome.memorised
    console.print(
        f"of {memorised.candidates} candidates {memorised.repeats:.1%} repeat a training copy of another ad, "
        f"{memorised.verbatim:.1%} word for word; {memorised.own_verbatim:.1%} are a training copy of their own ad",
        highlight=False,
    )
    for written, copy in memorised.examples[:5]:
        console.print(f"  {written}  <-  {copy}", highlight=False, markup=False)


def command(
    pairs: Annotated[list[Path], typer.Option(exists=True, dir_okay=False, help="Approved copy, JSON Lines")],
    name: Annotated[str, typer.Option(help="The adapter's name: letters, digits, - and _")],
    ads: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Catalogue that ad_id refers to")
    ] = None,
    measure: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="More ads to write for, before and after")
    ] = None,
    base: Annotated[str, typer.Option(help="gemma, a .gguf file, a folder or a hub's model id")] = "gemma",
    revision: Annotated[str | None, typer.Option(help="The hub's revision")] = None,
    out: Annotated[Path, typer.Option(help="The folder of adapters")] = OUT,
    trained: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Measure and export this adapter; train nothing")
    ] = None,
    rank: Annotated[int, typer.Option(min=1, max=256)] = 16,
    rate: Annotated[float, typer.Option(help="Peak learning rate")] = 2e-4,
    variants: Annotated[int, typer.Option(min=1, help="Prompts of a copy: its facts in other orders")] = 3,
    epochs: Annotated[float, typer.Option(min=0.001, help="Of the copies with their variants")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one pass, on each process")] = 8,
    accumulate: Annotated[int, typer.Option(min=1, help="Passes of an update")] = 1,
    warmup: Annotated[float, typer.Option(min=0, max=1, help="Share of the updates")] = 0.06,
    patience: Annotated[int, typer.Option(min=1, help="Measurements without gain after which it stops")] = 3,
    held_share: Annotated[float, typer.Option(min=0.01, max=0.5, help="Share of the ads held out")] = 0.1,
    precision: Annotated[str, typer.Option(help="auto, no, bf16 or fp16")] = "auto",
    budget_seconds: Annotated[float, typer.Option(min=1, help="What training may take")] = 3600.0,
    candidates: Annotated[int, typer.Option(min=1, help="Candidates an ad and audience")] = 4,
    temperature: Annotated[float | None, typer.Option(min=0, help="Of the candidates (default: the prompt's)")] = None,
    memorised_limit: Annotated[float, typer.Option(min=0, max=1, help="Most candidates that may repeat others")] = 0.05,
    allow_memorised: Annotated[bool, typer.Option("--allow-memorised", help="Export all the same")] = False,
    whole_vocabulary: Annotated[bool, typer.Option("--whole-vocabulary", help="Do not cut the vocabulary")] = False,
    as_written: Annotated[
        bool, typer.Option("--as-written", help="Learn from every copy, whatever ledger and policy packs say")
    ] = False,
    wording: Annotated[
        Wording, typer.Option(help="As the deployment's LlmWording: copy worded otherwise teaches nothing to show")
    ] = "quoted",
    note: Annotated[str, typer.Option(help="What a person found in its copy, for the card")] = "",
    seed: Annotated[int, typer.Option(help="Same rows, options and seed: same adapter")] = 0,
) -> None:
    """Fine-tunes a language model on approved copy and writes the adapter."""
    console = Console(stderr=True)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise typer.BadParameter("letters, digits, - and _", param_hint="--name")
    from infra.training.copywriter_fit import Plan
    from infra.training.copywriter_training import Options, Refused, train

    plan = Plan(
        rank=rank,
        alpha=2 * rank,
        rate=rate,
        epochs=epochs,
        batch=batch,
        accumulate=accumulate,
        warmup=warmup,
        patience=patience,
        seed=seed,
    )
    state = out / f".{name}.training"
    options = Options(
        name=name,
        pairs=tuple(pairs),
        ads=tuple(ads or ()),
        measure=tuple(measure or ()),
        base=base,
        revision=revision,
        plan=plan,
        variants=variants,
        held_share=held_share,
        precision=precision,
        seconds=budget_seconds,
        candidates=candidates,
        temperature=temperature,
        memorised_limit=memorised_limit,
        allow_memorised=allow_memorised,
        whole_vocabulary=whole_vocabulary,
        as_written=as_written,
        wording=wording,
        trained=trained,
        state=state,
        note=note,
    )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / name
        try:
            outcome = train(options, folder, console, report=lambda step: _show_step(console, step))
        except Refused as refused:
            _show(console, refused.outcome)
            console.print(f"not exported: {refused}", style="bold red", highlight=False)
            raise typer.Exit(1) from None
        except (ValueError, OSError) as error:
            console.print(f"not trained: {error}", style="bold red", highlight=False)
            raise typer.Exit(1) from None
        if outcome is None:  # another process has the results
            return
        _show(console, outcome)
        install(folder, out / name)
        shutil.rmtree(state, ignore_errors=True)
    size = sum(path.stat().st_size for path in (out / name).iterdir()) / 1e6
    console.print(f"adapter {name} {outcome.version}: {size:.1f} MB in {out / name}", highlight=False)
    sys.stdout.write(json.dumps(_summary(outcome)) + "\n")


def _summary(outcome: Outcome) -> dict[str, Any]:
    facts = outcome.facts
    return {"version": outcome.version, **{key: facts[key] for key in ("held_out_loss", "quality", "memorised")}}


def main() -> int:
    """The command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app()
    return 0


if __name__ == "__main__":
    sys.exit(main())
