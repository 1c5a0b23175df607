"""Training with several processes: `torchrun` starts them, this module joins them and keeps them of one mind.

Everything that depends on a clock or on chance is decided by the first process and told to the others (`agreed`,
`on_first`); work that can be shared is shared out and added up (`summed`). With one process all of them do nothing.
Gloo carries tensors of the CPU, NCCL those of GPUs.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

Value = TypeVar("Value")
# A process waits this long for another one; fitting linear models, which the first does alone, takes minutes.
PATIENCE = timedelta(minutes=15)


class LostError(Exception):
    """Another process of this training ended or did not answer within `PATIENCE`."""


def started_by_torchrun() -> bool:
    """Whether this process is one of several that `torchrun` started."""
    return distributed.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


@contextmanager
def joined(patience: timedelta = PATIENCE) -> Iterator[None]:
    """Joins the processes that `torchrun` started; without it, nothing.

    Raises:
        LostError: another process ended or hung. A process that fails for a reason of its own raises that.
    """
    if not started_by_torchrun():
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    try:
        distributed.init_process_group(backend, timeout=patience)
        yield
    except RuntimeError as error:
        # What gloo and NCCL raise has no class of its own: it is told by its words.
        if _is_connection(error):
            raise LostError(f"process {rank()} of {size()}: another one ended or did not answer: {error}") from error
        raise
    finally:
        if distributed.is_initialized():
            gc.collect()  # a wrapped model is a cycle: one that outlives the group aborts the process at its exit
            distributed.destroy_process_group()


def _is_connection(error: RuntimeError) -> bool:
    words = ("gloo", "nccl", "connection", "timed out", "rendezvous")
    return isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in words)


def active() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """This process's number, from 0."""
    return int(distributed.get_rank()) if active() else 0


def size() -> int:
    """The number of processes."""
    return int(distributed.get_world_size()) if active() else 1


def local_size() -> int:
    """The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if active() else 1


def is_first() -> bool:
    """Whether this is the process that decides, prints and writes."""
    return rank() == 0


def agreed(value: Value) -> Value:
    """The first process's value, in every process."""
    if not active():
        return value
    box: list[Any] = [value]
    distributed.broadcast_object_list(box, src=0)
    return cast(Value, box[0])


def on_first(work: Callable[[], Value]) -> Value:
    """What `work` returns in the first process, in every process. Its exception is raised in every process."""
    if not active():
        return work()
    outcome: tuple[Any, Exception | None] = (None, None)
    if is_first():
        try:
            outcome = (work(), None)
        except Exception as error:  # the others would wait for it in vain
            outcome = (None, error)
    result, failed = agreed(outcome)
    if failed is not None:
        raise failed
    return cast(Value, result)


def mine(items: Sequence[Value]) -> Sequence[Value]:
    """This process's share of work that every process lists alike."""
    return items[rank() :: size()]


def summed(array: NDArray[Any]) -> NDArray[Any]:
    """The sum of all processes' arrays, which are of one shape."""
    if not active():
        return array
    tensor = torch.from_numpy(np.ascontiguousarray(array).copy())
    distributed.all_reduce(tensor)
    return tensor.numpy()


def add_up(tensor: torch.Tensor) -> None:
    """Replaces `tensor` by the sum of all processes' ones."""
    if active():
        distributed.all_reduce(tensor)
