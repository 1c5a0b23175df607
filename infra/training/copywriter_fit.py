"""LoRA on approved copy: the loss counts the copy and its end alone, and the best state on held-out ads is kept.

On several processes (`torchrun`, `accelerate launch`) each takes its share of the batches, and the gradients are
averaged; the machine and the precision are accelerate's business.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from torch import nn

from infra.training.copywriter_base import Row
from infra.training.copywriter_checkpoint import Checkpoints, Progress, adapter_state

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Plan:
    """How to train. `batch`: rows of a process's pass; an update is made of `accumulate` passes of every process.
    `warmup`: share of the updates. `patience`: measurements without a better held-out loss after which training ends.
    `measured`: measurements an epoch."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    modules: tuple[str, ...] = MODULES
    rate: float = 2e-4
    decay: float = 0.01
    epochs: float = 3.0
    batch: int = 8
    accumulate: int = 1
    warmup: float = 0.06
    patience: int = 3
    measured: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """One measurement: updates so far, mean loss since the last one, held-out loss (nats a token), seconds an
    update."""

    updates: int
    loss: float
    held_loss: float
    seconds: float


def adapted(model: Any, plan: Plan, base_id: str) -> Any:
    """The model with a fresh adapter that changes nothing yet; its own weights are frozen.

    Raises:
        ValueError: the model has none of the plan's modules.
    """
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=list(plan.modules),
        task_type="CAUSAL_LM",
    )
    model.config.use_cache = False
    torch.manual_seed(plan.seed)
    found = get_peft_model(model, config)
    found.peft_config["default"].base_model_name_or_path = base_id
    return found


def collate(rows: Sequence[Row], padding: int, device: Any) -> dict[str, torch.Tensor]:
    """A batch whose copies end together: ids, mask and positions (n, longest), and which of the last tokens are learnt.

    Padding stands before a row, so that one number, the longest copy, says which logits are needed.
    """
    longest = max(len(row.ids) for row in rows)
    copy = max(row.copy for row in rows)
    ids = torch.tensor([[padding] * (longest - len(row.ids)) + row.ids for row in rows])
    mask = torch.tensor([[0] * (longest - len(row.ids)) + [1] * len(row.ids) for row in rows])
    learnt = torch.tensor([[place >= copy - row.copy for place in range(copy)] for row in rows])
    batch = {"ids": ids, "mask": mask, "positions": (mask.cumsum(1) - 1).clamp(min=0), "learnt": learnt}
    return {name: values.to(device) for name, values in batch.items()}


def copy_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Cross-entropy summed over the learnt tokens (nats), and their number."""
    copy = batch["learnt"].shape[1]
    logits = model(
        input_ids=batch["ids"],
        attention_mask=batch["mask"],
        position_ids=batch["positions"],
        logits_to_keep=copy + 1,
        use_cache=False,
    ).logits[:, :-1]
    learnt = batch["learnt"]
    loss = nn.functional.cross_entropy(logits[learnt].float(), batch["ids"][:, -copy:][learnt], reduction="sum")
    return loss, int(learnt.sum())


def held_loss(model: Any, rows: Sequence[Row], padding: int, accelerator: Accelerator, size: int = 8) -> float:
    """Mean loss of a copy's token on `rows` (nats), each process counting its share.

    `model` is the bare one: a wrapped one talks to the other processes at every pass, and they may make fewer.
    """
    model.eval()
    total = torch.zeros(2, dtype=torch.float64)
    shares = batches(rows, size, None)
    for members in shares[accelerator.process_index :: accelerator.num_processes]:
        with torch.no_grad(), accelerator.autocast():
            loss, tokens = copy_loss(model, collate([rows[place] for place in members], padding, accelerator.device))
        total += torch.tensor([loss.item(), tokens], dtype=torch.float64)
    model.train()
    summed = accelerator.reduce(total.to(accelerator.device, torch.float32))
    return float(summed[0] / summed[1])


def batches(rows: Sequence[Row], size: int, generator: random.Random | None) -> list[list[int]]:
    """Places of the rows by batch: rows of like length together (little padding), the batches in random order."""
    order = sorted(range(len(rows)), key=lambda place: (len(rows[place].ids), generator.random() if generator else 0))
    made = [order[start : start + size] for start in range(0, len(order), size)]
    if generator:
        generator.shuffle(made)
    return made


def fit(
    model: Any,
    rows: Sequence[Row],
    held: Sequence[Row],
    padding: int,
    plan: Plan,
    accelerator: Accelerator,
    *,
    seconds: float = math.inf,
    report: Callable[[Step], None] = lambda _: None,
    checkpoints: Checkpoints | None = None,
) -> Progress:
    """Trains the adapter of `model` (from `adapted`) and leaves its best state on `held` in it.

    seconds: what training may take. report: gets every measurement; the first is of the untrained adapter, or of the
    one taken up. checkpoints: where the state is kept at every measurement, and taken up again.
    """
    torch.manual_seed(plan.seed)
    weights = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=plan.rate, weight_decay=plan.decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    bare = accelerator.unwrap_model(model)
    share = math.ceil(math.ceil(len(rows) / plan.batch) / accelerator.num_processes)  # passes of a process an epoch
    passes = max(1, round(plan.epochs * share))
    updates = max(1, passes // plan.accumulate)
    warm = max(1, round(plan.warmup * updates))
    between = max(1, round(share / plan.measured / plan.accumulate)) * plan.accumulate

    def rate(update: int) -> float:
        return plan.rate * min((update + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(1.0, update / updates))))

    progress = Progress()
    if checkpoints is not None:
        checkpoints.attach(accelerator, bare, progress)
        checkpoints.resume()
    before = progress.seconds
    began = since = time.monotonic()
    found = held_loss(bare, held, padding, accelerator)
    report(Step(progress.updates, math.nan, found, 0.0))
    if not progress.state:
        progress.best, progress.state = found, adapter_state(bare)
    losses: list[float] = []
    last, late = progress.updates, False
    epoch, queue = -1, []
    while progress.passes < passes and progress.worse < plan.patience and not late:
        if progress.passes // share != epoch:
            epoch = progress.passes // share
            queue = _share(batches(rows, plan.batch, random.Random(f"{plan.seed} {epoch}")), accelerator)
        members = queue[progress.passes % share]
        with accelerator.accumulate(model):
            with accelerator.autocast():
                loss, tokens = copy_loss(
                    model, collate([rows[place] for place in members], padding, accelerator.device)
                )
            accelerator.backward(loss / tokens)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(weights, 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = rate(progress.updates)
                progress.updates += 1
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item() / tokens)
        progress.passes += 1
        if progress.passes % between and progress.passes < passes:
            continue
        took = (time.monotonic() - since) / max(1, progress.updates - last)
        found = held_loss(bare, held, padding, accelerator)
        report(Step(progress.updates, sum(losses) / len(losses), found, took))
        progress.worse = 0 if found < progress.best else progress.worse + 1
        if found < progress.best:
            progress.best, progress.state = found, adapter_state(bare)
        progress.seconds = before + time.monotonic() - began
        if checkpoints is not None:
            checkpoints.save()
        losses, since, last = [], time.monotonic(), progress.updates
        over = torch.tensor(float(time.monotonic() - began > seconds), device=accelerator.device)
        late = accelerator.reduce(over).item() > 0
    bare = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    set_peft_model_state_dict(bare, progress.state)
    return progress


def _share(whole: list[list[int]], accelerator: Accelerator) -> list[list[int]]:
    """A process's batches; every process has equally many."""
    count = math.ceil(len(whole) / accelerator.num_processes) * accelerator.num_processes
    return list(islice(cycle(whole), accelerator.process_index, count, accelerator.num_processes))
