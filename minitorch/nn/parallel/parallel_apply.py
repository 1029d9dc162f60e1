"""Call several modules at once, each in a thread. PyTorch: torch/nn/parallel/parallel_apply.py.

A thread spends its time waiting for NumPy or for its GPU, and lets the others run meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ... import cuda
from ...autograd.grad_mode import is_grad_enabled, set_grad_enabled
from .scatter_gather import as_device

__all__ = ["parallel_apply"]


def parallel_apply(
    modules: Sequence,
    inputs: Sequence,
    kwargs_tup: Sequence[dict] | None = None,
    devices: Sequence | None = None,
) -> list:
    """[module(*input, **kwargs)] with the current GPU of each call set to its device.

    An input that is neither tuple nor list is the only argument. Whether gradients are recorded is
    as it is here. An error is raised with a note that says in which replica it happened. Mirrors
    torch.nn.parallel.parallel_apply.
    """
    kwargs_tup = [{}] * len(modules) if kwargs_tup is None else kwargs_tup
    devices = [None] * len(modules) if devices is None else devices
    for what, given in (("inputs", inputs), ("kwargs_tup", kwargs_tup), ("devices", devices)):
        if len(given) != len(modules):
            raise AssertionError(
                f"The number of modules {len(modules)} is not equal to the number of {what} "
                f"{len(given)}"
            )
    recording = is_grad_enabled()

    def call(i: int, module: Any, args: Any, kwargs: dict, device: Any) -> Any:
        args = args if isinstance(args, (tuple, list)) else (args,)
        try:
            with set_grad_enabled(recording), _current(device):
                return module(*args, **kwargs)
        except Exception as error:
            error.add_note(f"in replica {i} on device {device}")
            raise

    columns = (range(len(modules)), modules, inputs, kwargs_tup, devices)
    if len(modules) < 2:
        return list(map(call, *columns))
    with ThreadPoolExecutor(len(modules)) as pool:
        return list(pool.map(call, *columns))


def _current(device: Any) -> Any:
    """A context in which a GPU is the current one; nothing for the CPU."""
    if device is None or as_device(device).type != "cuda":
        return contextlib.nullcontext()
    return cuda.device(device)
