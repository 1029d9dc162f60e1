"""Steps of SGD and Adam for all parameters at once: optim.cu.

`sgd_steps` and `adam_steps` take a list of what sgd_step and adam_step take for one parameter.
PyTorch: aten/src/ATen/native/cuda/MultiTensorApply.cuh.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ...cuda import runtime
from .launch import THREADS, contiguous, launch

CHUNK = 4096  # optim.cu's


def sgd_step(param, grad, momentum_buffer=None, **options) -> None:
    sgd_steps([(param, grad, momentum_buffer)], **options)


def sgd_steps(
    tensors,
    *,
    lr,
    momentum=0.0,
    dampening=0.0,
    weight_decay=0.0,
    nesterov=False,
    maximize=False,
    first=False,
) -> None:
    """One step for each (param, grad, momentum_buffer or None) of `tensors`, of any types."""
    if momentum == 0:
        tensors = [row[:2] for row in tensors]
    options = lr, momentum, dampening, weight_decay, int(nesterov), int(maximize), int(first)
    _launch("sgd_step", tensors, options)


def adam_step(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq=None, **options) -> None:
    adam_steps([(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq)], **options)


def adam_steps(
    tensors,
    *,
    step,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    maximize=False,
) -> None:
    """One step for each (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq or None) of `tensors`."""
    amsgrad = bool(tensors) and tensors[0][4] is not None
    if not amsgrad:
        tensors = [row[:4] for row in tensors]
    shrink = 1 - lr * weight_decay if decoupled_weight_decay else 1.0
    decay = 0.0 if decoupled_weight_decay else weight_decay
    sizes = lr / (1 - beta1**step), math.sqrt(1 - beta2**step), eps
    options = shrink, decay, 1 - beta1, beta2, 1 - beta2, *sizes, int(maximize), int(amsgrad)
    _launch("adam_step", tensors, options)


def _launch(name: str, tensors, options) -> None:
    """The kernel for all rows of `tensors`, once for each type of parameter; changes them."""
    by_type: dict = {}
    for row in tensors:
        if row[0].size:
            by_type.setdefault(row[0].dtype, []).append(row)
    for dtype, rows in by_type.items():
        arrays = [[contiguous(array) for array in row] for row in rows]
        addresses = [array.data.ptr for column in zip(*arrays, strict=True) for array in column]
        addresses = runtime.library().asarray(np.array(addresses, np.uint64))
        blocks, layout = _layout(runtime.current(), tuple([row[0].size for row in rows]))
        launch(name, blocks, THREADS, addresses, layout, len(rows), *options, dtype=dtype)
        for row, copies in zip(rows, arrays, strict=True):
            for array, copy in zip(row, copies, strict=True):
                if copy is not array:  # it was not contiguous
                    array[...] = copy


@functools.lru_cache(maxsize=256)
def _layout(device: int, sizes: tuple[int, ...]):
    """(how many blocks there are, the first block of each tensor and then each size)."""
    ends = np.cumsum([-(-size // CHUNK) for size in sizes])
    layout = np.concatenate([[0], ends[:-1], sizes]).astype(np.int64)
    return int(ends[-1]), runtime.library().asarray(layout)
