"""Tensors of random numbers: the same that PyTorch draws from the same seed (see random/).

PyTorch: torch/random.py, aten/src/ATen/native/Distributions.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices, dtypes, random
from ..tensor import Size, Tensor, wrap
from . import inplace
from .creation import _finish, _numpy_type, _shape
from .declare import composite, functions


class Generator(random.Generator):
    """A stream of random numbers of its own. Mirrors torch.Generator.

    States are uint8 tensors, in PyTorch's layout.
    """

    def get_state(self) -> Tensor:  # type: ignore[override]
        return wrap(super().get_state())

    def set_state(self, state):
        return super().set_state(np.asarray(state))


random.default_generator = Generator()
random.default_generator.seed()


def _source(generator) -> random.Generator:
    return random.default_generator if generator is None else generator


@composite(method=False)
def get_rng_state():
    """The default generator's state, a uint8 tensor. Mirrors torch.get_rng_state."""
    return random.default_generator.get_state()


@composite(method=False)
def set_rng_state(new_state) -> None:
    """Put the default generator into a state of `get_rng_state`. Mirrors torch.set_rng_state."""
    random.default_generator.set_state(np.asarray(new_state))


functions["manual_seed"] = random.manual_seed
functions["seed"] = random.seed
functions["initial_seed"] = random.initial_seed


def _filled(name: str, fill, meaning: str):
    """`name`(*size) and `name`_like(tensor) from one recipe of random/."""

    def plain(
        *size,
        generator=None,
        out=None,
        dtype=None,
        device=None,
        requires_grad=False,
        pin_memory=False,
        **by_name,
    ):
        shape = _shape((by_name["size"],) if "size" in by_name else size)
        array = np.empty(shape, _numpy_type(dtype))
        tensor = _finish(fill(_source(generator), array), None, device, requires_grad)
        return tensor if out is None else out.copy_(tensor)

    def like(input, *, generator=None, dtype=None, device=None, requires_grad=False):
        array = np.empty_like(input.array, dtype=_numpy_type(dtype, input))
        return _finish(fill(_source(generator), array), None, device, requires_grad)

    for function, its_name in ((plain, name), (like, name + "_like")):
        function.__name__ = function.__qualname__ = its_name
        function.__doc__ = f"{meaning}. Mirrors torch.{its_name}."
        composite(function, method=False)


_filled("rand", random.uniform_, "Uniform numbers from [0, 1)")
_filled("randn", random.normal_, "Numbers of the standard normal distribution")


def _randint_bounds(args: tuple) -> tuple:
    """randint(high, size) and randint(low, high, size)."""
    if args and isinstance(args[-1], (tuple, list, Size)):
        bounds, size = args[:-1], args[-1]
    else:
        bounds, size = args, None
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    return int(low), int(high), size


@composite(method=False)
def randint(
    *args,
    low=0,
    high=None,
    size=None,
    generator=None,
    dtype=None,
    device=None,
    requires_grad=False,
):
    """randint(low=0, high, size): integers from low to high - 1. Mirrors torch.randint."""
    if args:
        first, last, found = _randint_bounds(args)
        size = found if found is not None else size
        low, high = (first, last) if high is None else (last, high)
    if size is None or high is None:
        raise TypeError("randint() takes (low=0, high, size)")
    array = np.empty(_shape((size,)), (dtype or dtypes.int64).numpy)
    array = random.randint_(_source(generator), array, low, high)
    return _finish(array, None, device, requires_grad)


@composite(method=False)
def randint_like(input, low, high=None, *, dtype=None, device=None, generator=None):
    """Integers of the shape and dtype of `input`. Mirrors torch.randint_like."""
    low, high = (0, low) if high is None else (low, high)
    array = np.empty_like(input.array, dtype=_numpy_type(dtype, input))
    return wrap(random.randint_(_source(generator), array, low, high))


@composite(method=False)
def randperm(n, *, generator=None, dtype=None, device=None, requires_grad=False):
    """The integers 0 to n - 1 in random order. Mirrors torch.randperm."""
    order = random.randperm(_source(generator), n)
    return _finish(order, dtype or dtypes.int64, device, requires_grad)


@composite(method=False)
def normal(mean, std=1.0, size=None, *, generator=None, dtype=None, device=None):
    """Normal numbers of `mean` and `std`, tensors or (with `size`) numbers. See torch.normal."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        shape = np.broadcast_shapes(*[t.shape for t in (mean, std) if isinstance(t, Tensor)])
        noise = random.normal_(_source(generator), np.empty(shape, like.array.dtype))
        return wrap(noise) * std + mean
    devices.check(device)
    array = np.empty(_shape((size,)), _numpy_type(dtype))
    return wrap(random.normal_(_source(generator), array, mean, std))


@composite
def bernoulli(input, p=None, *, generator=None):
    """1 with the probability that `input` (or p) says, else 0. Mirrors torch.bernoulli."""
    chances = input.array if p is None else p
    out = np.empty_like(input.array)
    return wrap(random.bernoulli_(_source(generator), out, chances))


@composite
def multinomial(input, num_samples, replacement=False, *, generator=None):
    """`num_samples` indices for each row of weights. Mirrors torch.multinomial."""
    drawn = random.multinomial(_source(generator), input.array, num_samples, replacement)
    return wrap(drawn)


@composite(method=False)
def dropout(input, p=0.5, training=True, inplace=False):
    """Zero elements with probability p, and scale the others by 1 / (1 - p).

    Not `training`: the input itself. Mirrors torch.nn.functional.dropout.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    kind = input.array.dtype
    noise = np.empty_like(input.array)  # in the order of its memory, as PyTorch draws
    if p < 1:
        random.bernoulli_(random.default_generator, noise, 1 - p)
        noise /= kind.type(1 - p)
    else:
        noise[...] = 0
    return input.mul_(wrap(noise)) if inplace else input * wrap(noise)


# In place


def _filler(name: str, fill, meaning: str):
    def call(self, *args, generator=None, **kwargs):
        inplace.check_writable(self, self._requires_grad and inplace.mode.enabled)
        fill(_source(generator), self.array, *args, **kwargs)
        self._storage.version += 1
        return self

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Fill the tensor with {meaning}. Mirrors torch.Tensor.{name}."
    setattr(Tensor, name, call)


def _uniform(generator, array, *args, **kwargs):
    """PyTorch calls the bounds `from` and `to`; `from` is a keyword of Python's."""
    names = {"from": "low", "to": "high", "a": "low", "b": "high"}
    random.uniform_(generator, array, *args, **{names.get(k, k): v for k, v in kwargs.items()})


def _bernoulli(generator, array, p=0.5):
    random.bernoulli_(generator, array, p.array if isinstance(p, Tensor) else p)


def _random(generator, array, *bounds):
    if not bounds:
        random.random_(generator, array)
    else:
        low, high = bounds if len(bounds) == 2 else (0, *bounds)
        random.randint_(generator, array, low, high)


_filler("uniform_", _uniform, "uniform numbers from [from, to), by default [0, 1)")
_filler("normal_", random.normal_, "normal numbers of `mean` and `std`")
_filler("bernoulli_", _bernoulli, "ones with probability p, else zeros")
_filler("random_", _random, "integers from [from, to), by default all that the dtype holds exactly")
_filler("exponential_", random.exponential_, "exponentially distributed numbers of rate `lambd`")
_filler("geometric_", random.geometric_, "geometrically distributed numbers")
_filler("log_normal_", random.log_normal_, "log-normal numbers")
_filler("cauchy_", random.cauchy_, "Cauchy-distributed numbers")
