"""Functions of functions: what `grad`, `vmap` and the like make of a function.

Nothing here knows an operation. transforms.py differentiates with the ordinary graph, vmap.py maps
over a dimension, modules.py turns a module into a function of its parameters.
PyTorch: torch/func, torch/_functorch.
"""

from typing import Any as _Any

from .modules import functional_call, stack_module_state
from .transforms import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)
from .vmap import vmap

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp"]
__all__ += ["linearize", "stack_module_state", "vjp", "vmap"]


def __getattr__(name: str) -> _Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"minitorch.func has no '{name}'. Of torch.func, functionalize (there is nothing to trace "
        "here), replace_all_batch_norm_modules_, rearrange and debug_unwrap are left out."
    )
