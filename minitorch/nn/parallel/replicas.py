"""The ranks' copies of a model: are they of one kind, and how they become equal.

Why: buckets are laid out by each rank for itself, from its own parameters. If one has a layer more,
gradients would be added to those of another layer, or be waited for in vain. So before anything is
sent, all compare a description of their models. Invariant: every rank raises the same error.
PyTorch: torch/csrc/distributed/c10d/reducer.cpp (`verify_params_across_processes`), which compares
with rank 0 and shapes alone; torch/distributed/utils.py (`_sync_module_states`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ... import devices
from ... import distributed as dist
from ...tensor import Tensor, wrap
from .buckets import assign_buckets

SHOWN = 5  # differences in an error
MESSAGE_BYTES = 250 << 20  # of a broadcast; so large is the copy that is made of a model's parts


def describe(parameters: list, buffers: list, arguments: dict) -> dict[str, str]:
    """What must be the same on all ranks, as {what it is: what is to be said of it}.

    `parameters` and `buffers` are lists of (name, tensor).
    """
    names = [name for name, _ in parameters]
    about = {"the number of parameters": str(len(names))}
    for name, p in parameters:
        about[f"parameter {name}"] = f"{_kind(p)}, requires_grad={p.requires_grad}"
    about["the order of parameters"] = ", ".join(names)
    about |= {f"buffer {name}": _kind(buffer) for name, buffer in buffers}
    return about | {f"argument {name}": str(value) for name, value in arguments.items()}


def _kind(t: Tensor) -> str:
    return f"shape {tuple(t.shape)}, {t.dtype}"


def check_same(description: dict, group) -> None:
    """Raise RuntimeError on every rank, with the differences, unless all give the same."""
    descriptions: list = [None] * group.size()
    dist.all_gather_object(descriptions, description, group)
    first, differences = descriptions[0], []
    for rank, other in enumerate(descriptions):
        if other != first:
            for what in dict.fromkeys([*first, *other]):
                mine, its = first.get(what, "there is none"), other.get(what, "there is none")
                if mine != its:
                    differences.append(f"{what}: {its} on rank {rank}, {mine} on rank 0")
    if differences:
        more = len(differences) - SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise RuntimeError(
            "DistributedDataParallel needs the same model on every rank, but they differ in "
            f"{'; '.join(differences[:SHOWN])}{rest}. Build the model from the same arguments on "
            "every rank; what must differ can be left out with "
            "_set_params_and_buffers_to_ignore_for_model."
        )


def broadcast_coalesced(tensors: Iterable[Tensor], root: int, group) -> None:
    """Bring the values that group rank `root` has to every rank, many tensors in one message.

    Autograd is not told: what a forward has saved of a buffer may still be differentiated, as in
    PyTorch, after the next forward has brought it up to date.
    """
    sent = []
    for members in assign_buckets([t.detach() for t in tensors], [MESSAGE_BYTES]):
        with devices.guard(members[0].array):
            flat = np.concatenate([t.array.reshape(-1) for t in members])
        work: Any = dist.broadcast(wrap(flat), group=group, group_src=root, async_op=True)
        sent.append((members, flat, work))
    for members, flat, work in sent:
        work.wait()
        start = 0
        for t in members if group.rank() != root else ():
            end = start + t.numel()
            devices.overwrite(t.array, flat[start:end].reshape(t.array.shape))
            start = end
