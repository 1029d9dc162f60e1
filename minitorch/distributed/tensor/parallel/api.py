"""parallelize_module: which modules of a model are split, and how.

PyTorch: torch/distributed/tensor/parallel/api.py.
"""

from __future__ import annotations

import warnings
from fnmatch import fnmatch

from minitorch.distributed.device_mesh import DeviceMesh, current_mesh
from minitorch.distributed.tensor.parallel.style import ParallelStyle
from minitorch.nn.modules.module import Module

Plan = ParallelStyle | dict[str, ParallelStyle] | None


def parallelize_module(
    module: Module,
    device_mesh: DeviceMesh | None = None,
    parallelize_plan: Plan = None,
    *,
    src_data_rank: int | None = 0,
) -> Module:
    """Split a module over the ranks of a mesh of one dimension, in place; returns it.

    parallelize_plan: a style for the module itself, or {"layers.*.w1": ColwiseParallel(), ...} for
    those inside; "*" stands for any name between two dots. src_data_rank: the group rank whose
    parameters are cut up, so that all ranks hold parts of one model; None: each cuts its own.

    Mirrors `torch.distributed.tensor.parallel.parallelize_module`. Warns of a name that matches
    nothing. Raises ValueError for a mesh of several dimensions, NotImplementedError for a module
    that cannot be split so.
    """
    mesh = device_mesh or current_mesh()
    if mesh.ndim != 1:
        raise ValueError(
            f"parallelize_module needs a mesh of one dimension, got {mesh}: take mesh[name]"
        )
    if parallelize_plan is None:
        warnings.warn("No parallelize_plan is given: parallelize_module does nothing", stacklevel=2)
        return module
    if isinstance(parallelize_plan, ParallelStyle):
        parallelize_plan.src_data_rank = src_data_rank
        return parallelize_plan._apply(module, mesh)
    if not isinstance(parallelize_plan, dict):
        raise TypeError(
            "Expect Union[ParallelStyle, Dict[str, ParallelStyle]] for parallelize_plan, "
            f"{type(parallelize_plan)} found!"
        )
    for pattern, style in parallelize_plan.items():
        found = [inner for name, inner in module.named_modules() if _matches(name, pattern)]
        if not found:
            names = ", ".join(name for name, _ in module.named_modules() if name)
            warnings.warn(
                f"Parallelize plan key '{pattern}' could not be resolved: there are {names}",
                stacklevel=2,
            )
        for inner in found:
            parallelize_module(inner, mesh, style, src_data_rank=src_data_rank)
    return module


def _matches(name: str, pattern: str) -> bool:
    """Whether a module's dotted name fits, part by part."""
    names, patterns = name.split("."), pattern.split(".")
    return len(names) == len(patterns) and all(map(fnmatch, names, patterns))
