"""The state of a training that is under way, so that an interrupted one goes on from its last measurement.

accelerate saves optimizer, random numbers of every process and progress; of the model nothing but the adapter is saved.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from infra.training.copywriter_base import Row

if TYPE_CHECKING:
    from infra.training.copywriter_fit import Plan

ADAPTER = "adapter.safetensors"
NAME = "training.json"


@dataclass
class Progress:
    """Passes of each process, updates and seconds so far; the best held-out loss (nats a token) with the adapter that
    had it; measurements since."""

    passes: int = 0
    updates: int = 0
    seconds: float = 0.0
    best: float = math.inf
    worse: int = 0
    state: dict[str, torch.Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """For accelerate."""
        return dict(vars(self))

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """For accelerate."""
        vars(self).update(saved)


def adapter_state(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the adapter's matrices, on the CPU."""
    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: value.detach().cpu().clone() for name, value in found.items()}


def training_id(base: str, plan: Plan, rows: Sequence[Row], held: Sequence[Row], accelerator: Accelerator) -> str:
    """A digest of everything that a training's course depends on."""
    made = hashlib.sha256(repr((base, asdict(plan), accelerator.num_processes, accelerator.mixed_precision)).encode())
    for part in (rows, held):
        made.update(repr([(row.ids, row.copy) for row in part]).encode())
    return made.hexdigest()


class Checkpoints:
    """Of one training, in `folder`. `training`: its `training_id`; another training's state is not gone on from."""

    def __init__(self, folder: Path, training: str) -> None:
        self._folder, self._training = folder, training

    def attach(self, accelerator: Accelerator, model: Any, progress: Progress) -> None:
        """Call once after `Accelerator.prepare`. `model` is peft's bare one."""
        self._accelerator = accelerator

        def save(_models: list[Any], weights: list[Any], folder: str) -> None:
            weights.clear()  # the base model's, which never change
            if accelerator.is_main_process:
                save_file(adapter_state(model), Path(folder) / ADAPTER)

        def load(models: list[Any], folder: str) -> None:
            models.clear()
            set_peft_model_state_dict(model, load_file(Path(folder) / ADAPTER))

        accelerator.register_save_state_pre_hook(save)
        accelerator.register_load_state_pre_hook(load)
        accelerator.register_for_checkpointing(progress)

    def resume(self) -> bool:
        """Takes up the saved state, where there is one of this training."""
        named = self._folder / NAME
        if not named.is_file() or json.loads(named.read_text(encoding="utf-8")).get("training") != self._training:
            return False
        self._accelerator.load_state(str(self._folder))
        return True

    def save(self) -> None:
        """Saves the state in the place of the last one. A kill while it writes leaves one of the two, or none."""
        arriving = self._folder.with_name(f".{self._folder.name}.new")
        if self._accelerator.is_main_process:
            shutil.rmtree(arriving, ignore_errors=True)
            arriving.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        self._accelerator.save_state(str(arriving))
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            (arriving / NAME).write_text(json.dumps({"training": self._training}), encoding="utf-8")
            shutil.rmtree(self._folder, ignore_errors=True)
            arriving.rename(self._folder)
        self._accelerator.wait_for_everyone()
