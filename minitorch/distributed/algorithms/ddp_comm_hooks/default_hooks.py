"""Communication hooks: what DistributedDataParallel does with a full bucket of gradients.

Why: the all_reduce of a bucket can be replaced by the user, through
`model.register_comm_hook(state, hook)`; the usual reason is to send less. A hook is a function of
its state and a GradBucket, and returns a Future of the tensor that takes the place of the bucket's
buffer, so that backward goes on while the bucket travels.
Invariant: each hook divides by the number of ranks before it adds up, so that 16-bit sums of many
ranks do not overflow, and leaves its result in the buffer itself.
PyTorch: torch/distributed/algorithms/ddp_comm_hooks/default_hooks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minitorch as torch
import minitorch.distributed as dist
from minitorch.futures import Future

__all__ = [
    "allreduce_hook",
    "bf16_compress_hook",
    "bf16_compress_wrapper",
    "fp16_compress_hook",
    "fp16_compress_wrapper",
]

Hook = Callable[[Any, Any], Future]  # (state, GradBucket)


def allreduce_hook(process_group: Any, bucket: dist.GradBucket) -> Future:
    """The mean over the ranks: what happens without a hook. Mirrors torch's hook.

    The state is the process group; None is the default group.
    """
    return mean(bucket.buffer(), process_group)


def fp16_compress_hook(process_group: Any, bucket: dist.GradBucket) -> Future:
    """The mean, sent as float16: half the bytes. Mirrors torch's hook."""
    return fp16_compress_wrapper(allreduce_hook)(process_group, bucket)


def bf16_compress_hook(process_group: Any, bucket: dist.GradBucket) -> Future:
    """The mean, sent as bfloat16: half the bytes, float32's range. Mirrors torch's hook."""
    return bf16_compress_wrapper(allreduce_hook)(process_group, bucket)


def fp16_compress_wrapper(hook: Hook) -> Hook:
    """`hook`, which is given the bucket as float16. Mirrors torch's function."""
    return _compressed(hook, torch.float16)


def bf16_compress_wrapper(hook: Hook) -> Hook:
    """`hook`, which is given the bucket as bfloat16. Mirrors torch's function."""
    return _compressed(hook, torch.bfloat16)


def mean(tensor: torch.Tensor, process_group: Any) -> Future:
    """A Future of the mean of `tensor` over the ranks of a group (None: all ranks).

    `tensor` itself is used up.
    """
    ranks = dist.get_world_size(process_group)
    if tensor.dtype is torch.float16:  # NumPy divides these one by one, small ones very slowly
        tensor = (tensor.float() / ranks).half()
    else:
        tensor.div_(ranks)
    work: Any = dist.all_reduce(tensor, group=process_group, async_op=True)
    return work.get_future().then(lambda reduced: reduced.value()[0])


def _compressed(hook: Hook, dtype: torch.dtype) -> Hook:
    def compressed(state: Any, bucket: dist.GradBucket) -> Future:
        wide = bucket.buffer()
        bucket.set_buffer(wide.to(dtype))

        def decompress(narrow: Future) -> torch.Tensor:
            bucket.set_buffer(wide)
            return wide.copy_(narrow.value())

        return hook(state, bucket).then(decompress)

    return compressed
