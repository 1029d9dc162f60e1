"""Initial values of parameters: the same numbers as PyTorch's, for the same seed.

Invariant: each function draws from the generator exactly what PyTorch's draws, in the same order.
All work in place, outside of the graph, and return the tensor. `generator`: None is the default
one. PyTorch: torch/nn/init.py.
"""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np

from ..autograd.grad_mode import no_grad
from ..creation import randperm
from ..tensor import Tensor, wrap


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator=None) -> Tensor:
    """Uniform numbers from [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator=None) -> Tensor:
    """Normal numbers."""
    return tensor.normal_(mean, std, generator=generator)


def _made_on_cpu(initialize):
    """Do what is not worth doing on a GPU on the CPU, where the random numbers are drawn."""

    @functools.wraps(initialize)
    def call(tensor, *args, **kwargs):
        with no_grad():
            if tensor.is_cpu:
                return initialize(tensor, *args, **kwargs)
            return tensor.copy_(initialize(tensor.cpu(), *args, **kwargs))

    return call


@_made_on_cpu
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator=None,
) -> Tensor:
    """Normal numbers, those outside [a, b] drawn again."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )
    if _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std) > 0.3:
        return _redraw_outside(tensor, mean, std, a, b, generator)
    return _accept_or_reject(tensor, mean, std, a, b, generator)


def _redraw_outside(tensor, mean, std, a, b, generator):
    """Normal numbers, drawn again where they lie outside: quick if most lie inside."""
    low, high = tensor.array.dtype.type(a), tensor.array.dtype.type(b)
    tensor.normal_(mean, std, generator=generator)
    while (outside := (tensor.array < low) | (tensor.array > high)).any():
        again = _empty_like(tensor).normal_(mean, std, generator=generator)
        np.copyto(tensor.array, again.array, where=outside)
    tensor._bump_version()
    return tensor


def _empty_like(tensor) -> Tensor:
    """Of the same shape and order in memory, for the words are handed out in that order."""
    return wrap(np.empty_like(tensor.array))


def _accept_or_reject(tensor, mean, std, a, b, generator):
    """Uniform numbers, each kept with a probability proportional to its density."""
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    pending: np.ndarray | bool = True
    while np.any(pending):
        drawn = _empty_like(tensor).uniform_(a, b, generator=generator).array
        np.copyto(tensor.array, drawn, where=pending)
        log_density = ((drawn - mean) / std) ** 2 * -0.5 - log_peak
        chance = _empty_like(tensor).uniform_(generator=generator).array
        with np.errstate(divide="ignore"):
            pending = pending & (np.log(chance) > log_density)
    tensor._bump_version()
    return tensor


def _normal_cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same number everywhere."""
    return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 0.0)


@_made_on_cpu
def eye_(tensor: Tensor) -> Tensor:
    """The identity, for a linear layer that keeps its input. Two dimensions."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    tensor.zero_()
    np.fill_diagonal(tensor.array, 1)
    return tensor


@_made_on_cpu
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The identity for a convolution, in each group. Weights (out, in / groups, *kernel)."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out, inside, *kernel = tensor.shape
    if out % groups:
        raise ValueError("dim 0 must be divisible by groups")
    tensor.zero_()
    centre = tuple(k // 2 for k in kernel)
    for group in range(groups):
        for channel in range(min(out // groups, inside)):
            tensor.array[(group * (out // groups) + channel, channel, *centre)] = 1
    return tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity. `param`: leaky_relu's slope."""
    if nonlinearity in ("linear", "sigmoid") or nonlinearity.startswith("conv"):
        return 1
    if nonlinearity == "tanh":
        return 5 / 3
    if nonlinearity == "relu":
        return math.sqrt(2)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs make one output of a weight (out, in, *kernel), and the reverse."""
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    out, inside, *kernel = tensor.shape
    return inside * math.prod(kernel), out * math.prod(kernel)


def _fan(tensor: Tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Uniform, variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    std = gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Normal, variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    std = gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator=None,
) -> Tensor:
    """Uniform, variance gain^2 / fan (He et al. 2015). `a`: the slope of leaky_relu."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator=None,
) -> Tensor:
    """Normal, variance gain^2 / fan (He et al. 2015). `a`: the slope of leaky_relu."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


@_made_on_cpu
def orthogonal_(tensor: Tensor, gain: float = 1, generator=None) -> Tensor:
    """A matrix (rows, all other dimensions) with orthonormal rows or columns, times `gain`.

    Saxe et al. 2013. PyTorch's numbers up to the rounding of the two QR factorisations.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = len(tensor)
    flat = tensor.new_empty(rows, tensor.numel() // rows).normal_(0, 1, generator=generator).array
    tall = flat if rows >= flat.shape[1] else flat.T
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes q uniformly distributed (Mezzadri 2007)
    q = q if tall is flat else q.T
    tensor.array[...] = q.reshape(tensor.shape) * gain
    tensor._bump_version()
    return tensor


@_made_on_cpu
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator=None) -> Tensor:
    """Normal numbers, but in each column of a matrix the fraction `sparsity` of them 0.

    Martens 2010. Where the zeros are is drawn from the default generator, as in PyTorch.
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        order = randperm(rows).array
        tensor.array[order[: math.ceil(sparsity * rows)], column] = 0
    tensor._bump_version()
    return tensor


def _deprecated(function):
    """The function's old name, without the underscore."""
    name = function.__name__[:-1]

    def call(*args, **kwargs):
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Deprecated: `{name}_` is its name now."
    return call


uniform, normal, constant = map(_deprecated, (uniform_, normal_, constant_))
eye, dirac, orthogonal, sparse = map(_deprecated, (eye_, dirac_, orthogonal_, sparse_))
xavier_uniform, xavier_normal = map(_deprecated, (xavier_uniform_, xavier_normal_))
kaiming_uniform, kaiming_normal = map(_deprecated, (kaiming_uniform_, kaiming_normal_))
