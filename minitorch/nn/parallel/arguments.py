"""What DistributedDataParallel accepts: its arguments checked, and turned into what it works with.

The errors have PyTorch's types. PyTorch: torch/nn/parallel/distributed.py.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable
from typing import Any

from ... import distributed as dist
from ...distributed.world import default_group
from ...futures import Future
from ...tensor import Tensor

FIRST_BUCKET_BYTES = 1 << 20  # small, so that the first all-reduce starts early
BUCKET_MIB = 25


def group_of(process_group: Any, device_mesh: Any) -> dist.ProcessGroup:
    """The group over which gradients are averaged; by default that of all ranks."""
    if process_group is not None and device_mesh is not None:
        raise RuntimeError("Cannot specify both process_group and device_mesh arguments.")
    if device_mesh is not None:
        if device_mesh.ndim != 1:
            raise RuntimeError(
                f"Only 1D device mesh is supported, but got {device_mesh}: pass one dimension of "
                'it, such as mesh["data"]'
            )
        process_group = device_mesh.get_group(0)
    if process_group is None:
        return default_group()
    if not isinstance(process_group, dist.ProcessGroup):
        raise ValueError(
            "DistributedDataParallel: this rank is no member of process_group, so it has no part "
            f"in training this module (got {process_group!r})"
        )
    return process_group


def check_parameters(parameters: Iterable[Tensor]) -> None:
    """Raise unless there are some to train, all on one type of device."""
    types = {p.device.type for p in parameters}
    if not types:
        raise RuntimeError(
            "DistributedDataParallel is not needed when a module "
            "doesn't have any parameter that requires a gradient."
        )
    if len(types) > 1:
        raise ValueError(
            "DistributedDataParallel's input module must be on the same type of devices, but its "
            f"parameters are on {sorted(types)}"
        )


def check_device_ids(parameters: Iterable[Tensor], device_ids: Any, output_device: Any) -> tuple:
    """`device_ids` and `output_device`, which only a module on one GPU has."""
    if device_ids is not None and len(device_ids) > 1:
        raise ValueError("device_ids can only be None or contain a single element.")
    devices = {p.device for p in parameters}
    if device_ids and len(devices) == 1 and next(iter(devices)).type != "cpu":
        return device_ids, device_ids[0] if output_device is None else output_device
    if device_ids or output_device:
        raise ValueError(
            "DistributedDataParallel device_ids and output_device arguments only work with "
            "single-device/multiple-device GPU modules or CPU modules, but got device_ids "
            f"{device_ids}, output_device {output_device}, and module parameters {devices}. On a "
            "CPU, leave both out."
        )
    return None, None


def refuse(mixed_precision: Any, check_reduction: bool) -> None:
    """Raise NotImplementedError for what is not here, and warn of what does nothing."""
    if check_reduction:
        warnings.warn(
            "`check_reduction` is deprecated, and does nothing", FutureWarning, stacklevel=3
        )
    if mixed_precision is not None:
        raise NotImplementedError(
            "DistributedDataParallel has no mixed_precision: register_comm_hook with "
            "fp16_compress_hook halves what is sent"
        )


def delayed_parameters(delayed: Any, until: Any, parameters: Iterable[Tensor]) -> list[Tensor]:
    """Whose gradients are to wait for that of the parameter `until`: (name, parameter) pairs.

    They share the last bucket. Buckets are sent in order, so it leaves after that of `until`.
    """
    if (delayed is None) != (until is None):
        raise ValueError(
            "delay_all_reduce_named_params and param_to_hook_all_reduce need to be set at the "
            "same time."
        )
    known = set(parameters)
    for name, p in [*(delayed or ()), *([] if until is None else [("", until)])]:
        if p not in known:
            raise ValueError(
                "delay_all_reduce_named_params and param_to_hook_all_reduce must be parameters of "
                "the module that require a gradient and are not ignored, but "
                f"{name or 'param_to_hook_all_reduce'} is not"
            )
    return [p for _, p in delayed or ()]


def bucket_limits(cap_mb: float | None, caps_mb: list | None) -> list[int]:
    """How many bytes the first, the second, ..., and all further buckets may have."""
    if caps_mb:
        return [int(cap * (1 << 20)) for cap in caps_mb]
    if cap_mb is not None:
        return [int(cap_mb * (1 << 20))]
    return [FIRST_BUCKET_BYTES, BUCKET_MIB << 20]


def when_to_sync_buffers(
    broadcast_buffers: bool | None, forward_sync_buffers: bool | None
) -> tuple[bool, bool]:
    """Whether to broadcast buffers before each forward, and whether at construction.

    The old argument meant both, the new one only the first.
    """
    if broadcast_buffers is not None:
        warnings.warn(
            "`broadcast_buffers` is deprecated. Use `forward_sync_buffers` instead, which leaves "
            "the broadcast at construction as it is; where both are given, it is the one to count.",
            FutureWarning,
            stacklevel=3,
        )
    if forward_sync_buffers is not None:
        return forward_sync_buffers, True
    return (True, True) if broadcast_buffers is None else (broadcast_buffers, broadcast_buffers)


def check_hook(hook: Any) -> None:
    """Raise unless `hook` can be called with a state and a bucket, as far as one can see."""
    if not callable(hook):
        raise TypeError("Communication hook must be callable.")
    signature = inspect.signature(hook, eval_str=True)
    parameters = list(signature.parameters.values())
    if len(parameters) < 2:
        raise TypeError(
            f"Communication hook must take a state and a bucket, but it takes {signature}"
        )
    if parameters[1].annotation not in (inspect.Parameter.empty, dist.GradBucket):
        raise ValueError("Communication hook: bucket annotation should be dist.GradBucket.")
    if signature.return_annotation not in (inspect.Signature.empty, Future, Future[Tensor]):
        raise ValueError(
            "Communication hook: return annotation should be torch.futures.Future[torch.Tensor]."
        )
