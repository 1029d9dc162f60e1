"""Keeping gradients small: all by one factor, or element by element.

`foreach` only chooses a speed in PyTorch; it is accepted, and does nothing here.
PyTorch: torch/nn/utils/clip_grad.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...autograd.grad_mode import no_grad
from ...dispatch.declare import functions
from ...tensor import Tensor


def _as_list(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in _as_list(parameters) if p.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The p-norm of all tensors seen as one vector, a 0-d tensor.

    Raises RuntimeError if it is inf or nan and `error_if_nonfinite`.
    """
    tensors = _as_list(tensors)
    if not tensors:
        return functions["tensor"](0.0)
    where = tensors[0].device
    norms = functions["stack"]([t.norm(float(norm_type)).to(where) for t in tensors])
    total = norms.norm(float(norm_type))
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {float(norm_type)} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To scale the gradients by it anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Multiply the gradients by max_norm / total_norm if that makes them smaller, in place."""
    factor = max_norm / (total_norm + 1e-6)
    if not factor.item() >= 1:  # nan is to spread
        for grad in _gradients(parameters):
            grad.mul_(factor.to(grad.device, grad.dtype))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients in place so that their total norm is at most `max_norm`.

    Returns the total norm before. Mirrors torch.nn.utils.clip_grad_norm_.
    """
    parameters = _as_list(parameters)
    if any(hasattr(p, "_sharding") for p in parameters):
        norms = _norms_over_ranks(parameters, norm_type)
    else:
        norms = _gradients(parameters)
    total = get_total_norm(norms, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def _norms_over_ranks(parameters: list[Tensor], norm_type: float) -> list[Tensor]:
    """The norms of gradients of which fully_shard has given each rank of a group a part."""
    from ... import distributed as dist

    among: dict = {}  # group, or None for parameters that are not sharded -> gradients
    for p in parameters:
        grads = among.setdefault(getattr(p, "_sharding", (None,))[0], [])
        if p.grad is not None and p.grad.numel():  # a rank's part may be empty
            grads.append(p.grad)
    norms = []
    for group, grads in among.items():
        norm = get_total_norm(grads, norm_type)
        if group is not None and norm_type == math.inf:
            dist.all_reduce(norm, dist.ReduceOp.MAX, group)
        elif group is not None:
            powers = norm**norm_type
            dist.all_reduce(powers, group=group)
            norm = powers ** (1 / norm_type)
        norms.append(norm)
    return norms


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Cut every element of the gradients to [-clip_value, clip_value], in place."""
    for grad in _gradients(parameters):
        grad.clamp_(-float(clip_value), float(clip_value))
