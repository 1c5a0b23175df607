"""ONNX Runtime as it is used here: on the CPU, on a function's one core, telling nobody."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ArtifactError

if TYPE_CHECKING:
    import onnxruntime


def runtime() -> Any:
    """The package, imported at its first use. Its build for Linux reports what it does to its maker unless told not to;
    ``ORT_DISABLE_TELEMETRY=1``, which a deployment sets, also keeps it from making up an id for the machine."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def session_options(threads: int) -> Any:
    """Options of every session. `threads` within an operator; 0 leaves it to the runtime."""
    options = runtime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads burn the one core that a function has.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session of the model in a file, which may be gzipped (``.gz``).

    Raises:
        ArtifactError: it cannot be loaded; the message names the file within its artefact.
    """
    try:
        model = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else str(path)
        return runtime().InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:
        place = "/".join(path.parts[-2:])
        raise ArtifactError(f"{place} cannot be loaded by ONNX Runtime {runtime().__version__}") from error
