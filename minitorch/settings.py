"""Switches that scripts turn, for engines that PyTorch has and minitorch has not.

They are kept, can be asked for, and change nothing: everything here is computed in full precision
and comes out the same every time. `compile` hands back what it was given, since a compiled model
computes what the model does. PyTorch: torch/__init__.py.
"""

from __future__ import annotations

from .tensor import Tensor

_precision = "highest"
_deterministic = False


def compile(model=None, **options):
    """`model`, a module or a function, as it is; also a decorator. Mirrors torch.compile.

    Nothing is compiled: every operation runs when it is called.
    """
    return (lambda model: model) if model is None else model


def set_float32_matmul_precision(precision: str) -> None:
    """Allow matrix products less precision than float32's. They keep it all.

    precision: "highest", "high" or "medium", else ValueError. Mirrors
    torch.set_float32_matmul_precision.
    """
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise ValueError(
            "set_float32_matmul_precision: expected 'highest', 'high' or 'medium', "
            f"got {precision!r}"
        )
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What was last set. Mirrors torch.get_float32_matmul_precision."""
    return _precision


def typename(obj) -> str:
    """The name of a tensor's type ("torch.FloatTensor"), of a class, or of an object's class.

    Mirrors torch.typename.
    """
    if isinstance(obj, Tensor):
        return obj.type()
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = named.__module__
    return named.__qualname__ if module in (None, "builtins") else f"{module}.{named.__qualname__}"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for the same results every time, which there are anyway.

    Mirrors torch.use_deterministic_algorithms.
    """
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What was last set. Mirrors torch.are_deterministic_algorithms_enabled."""
    return _deterministic
