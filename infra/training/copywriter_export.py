"""Writes an adapter for serving: peft's folder (vLLM, transformers) and a GGUF adapter (llama.cpp).

llama.cpp applies a GGUF adapter while it runs, beside a base of any quantisation. The format is that of its
`convert_lora_to_gguf.py`, which no package carries: ``general.type`` adapter, ``adapter.type`` lora,
``adapter.lora.alpha``, and for every adapted matrix ``blk.N.NAME.weight.lora_a`` (rank, in) and ``.lora_b`` (out,
rank); the names come from the `gguf` package's map. Merging into one GGUF needs llama.cpp's own programs
(`llama-export-lora`, or `convert_hf_to_gguf.py` on a model merged by peft): no package does it, so it is not done here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

# transformers' model types whose matrices llama.cpp keeps as they are. (llama's own q and k are permuted.)
ARCHITECTURES = {"gemma3_text": "gemma3", "gemma3": "gemma3", "gemma2": "gemma2", "qwen2": "qwen2", "qwen3": "qwen3"}
GGUF_NAME = "adapter.gguf"
_TENSOR = re.compile(r"base_model\.model\.(?P<name>.+)\.lora_(?P<side>[AB])\.weight")


class NoGGUF(Exception):
    """llama.cpp keeps this architecture's matrices in another order than transformers."""


def write_peft(model: Any, folder: Path) -> None:
    """The adapter's peft files: ``adapter_config.json`` and ``adapter_model.safetensors`` (float16)."""
    half = {name: value.detach().half().cpu().contiguous() for name, value in _state(model).items()}
    model.save_pretrained(folder, state_dict=half, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])  # a set: its order changes from run to run
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _state(model: Any) -> dict[str, Any]:
    from peft import get_peft_model_state_dict

    found: dict[str, Any] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return found


def write_gguf(folder: Path, config: Any, base_name: str) -> Path:
    """The peft files in `folder` as a GGUF adapter beside them; `config` is the base model's.

    Raises:
        NoGGUF: for this architecture use llama.cpp's own converter.
    """
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise NoGGUF(f"no GGUF adapter for {config.model_type}: use llama.cpp's convert_lora_to_gguf.py on {folder}")
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    path = folder / GGUF_NAME
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings["lora_alpha"]))
    writer.add_string("general.base_model.0.name", base_name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for key, values in sorted(load_file(folder / "adapter_model.safetensors").items()):
        match = _TENSOR.fullmatch(key)
        name = names.get_name(match["name"]) if match else None
        if match is None or name is None:
            raise NoGGUF(f"no GGUF name for {key}")
        writer.add_tensor(f"{name}.weight.lora_{match['side'].lower()}", values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
