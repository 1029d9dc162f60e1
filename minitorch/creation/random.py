"""Tensors of random numbers: the same that PyTorch draws from the same seed (see random/).

What autograd makes of them: a random number does not depend on anything, so what is drawn with the
probabilities or means of a tensor has the gradient 0, and so have the old values of a tensor that
is filled in place.
PyTorch: torch/random.py, aten/src/ATen/native/Distributions.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import devices, dtypes, random
from ..dispatch import inplace
from ..dispatch.declare import composite, functions, op
from ..dispatch.op import zeros
from ..dispatch.out import fill
from ..random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from ..random.layout import empty_like, on_host
from ..tensor import Tensor, wrap
from .options import finish, numpy_type, shape_of


class Generator(random.Generator):
    """A stream of random numbers of its own. Mirrors torch.Generator.

    States are uint8 tensors, in PyTorch's layout.
    """

    def get_state(self) -> Tensor:  # type: ignore[override]
        return wrap(super().get_state())


random.default_generator = Generator()
random.default_generator.seed()

for _function in (get_rng_state, initial_seed, manual_seed, seed, set_rng_state):
    functions[_function.__name__] = _function


def _source(generator) -> random.Generator:
    if generator is None:
        return random.default_generator
    if not isinstance(generator, random.Generator):
        raise TypeError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    return generator


# New tensors


def _new(
    draw, array, out=None, device=None, requires_grad=False, layout=None, pin_memory=False
) -> Tensor:
    """`draw` the numbers of `array`, or of one like it that has the dtype of `out`."""
    if out is None:
        return finish(draw(array), None, device, requires_grad)

    def drawn():
        return wrap(draw(np.empty(array.shape, out.array.dtype)))

    return fill(out, drawn, (), {})


def _empty_like(input, kind):
    """Memory for numbers like those of `input`: on the CPU, where they are drawn."""
    array = input.array
    return empty_like(array if type(array) is np.ndarray else on_host(array), kind)


def _filled(name: str, recipe, meaning: str):
    """`name`(*size) and `name`_like(tensor) from one recipe of random/."""

    def plain(*shape, size=None, generator=None, dtype=None, **options):
        source = _source(generator)
        array = np.empty(shape_of(shape if size is None else (size,)), numpy_type(dtype))
        if not options and devices.check(None) is devices.CPU:
            return wrap(recipe(source, array))
        return _new(lambda a: recipe(source, a), array, **options)

    def like(input, *, generator=None, dtype=None, memory_format=None, **options):
        source = _source(generator)
        array = _empty_like(input, numpy_type(dtype, input))
        return _new(lambda a: recipe(source, a), array, **{"device": input.device, **options})

    for function, its_name in ((plain, name), (like, name + "_like")):
        function.__name__ = function.__qualname__ = its_name
        function.__doc__ = f"{meaning}. Mirrors torch.{its_name}."
        composite(function, method=False)


_filled("rand", random.uniform_, "Uniform numbers from [0, 1)")
_filled("randn", random.normal_, "Numbers of the standard normal distribution")


def _bounds(args, low, high) -> tuple[int, int]:
    """randint's bounds, (high,) or (low, high), of which each may have come by its name."""
    if len(args) == 2:
        low, high = args
    elif args:
        low, high = (low, args[0]) if high is None else (args[0], high)
    if high is None or isinstance(low, float) or isinstance(high, float):
        raise TypeError(f"randint() takes integers (low=0, high, ...), not {low} and {high}")
    return int(low), int(high)


@composite(method=False)
def randint(*args, low=0, high=None, size=None, generator=None, dtype=None, **options):
    """randint(low=0, high, size): integers from low to high - 1. Mirrors torch.randint."""
    if args and size is None:
        *args, size = args
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): size must be a tuple of integers, not {size}")
    low, high = _bounds(args, low, high)
    source = _source(generator)
    array = np.empty(shape_of((size,)), (dtype or dtypes.int64).numpy)
    return _new(lambda a: random.randint_(source, a, low, high), array, **options)


@composite(method=False)
def randint_like(
    input, *args, low=0, high=None, dtype=None, generator=None, memory_format=None, **options
):
    """Integers of the shape and dtype of `input`. Mirrors torch.randint_like."""
    low, high = _bounds(args, low, high)
    source = _source(generator)
    array = _empty_like(input, numpy_type(dtype, input))
    options = {"device": input.device, **options}
    return _new(lambda a: random.randint_(source, a, low, high), array, **options)


@composite(method=False)
def randperm(n, *, generator=None, dtype=dtypes.int64, out=None, **options):
    """The integers 0 to n - 1 in random order. Mirrors torch.randperm."""
    if type(n) is not int:
        raise TypeError(f"randperm(): argument 'n' must be int, not {type(n).__name__}")
    dtype = dtype if out is None else out.dtype
    if dtype.category not in (dtypes.INTEGER, dtypes.FLOATING):
        raise NotImplementedError(f"\"randperm\" not implemented for '{dtype.legacy_name}'")
    if n > random.integers_of(dtype.numpy)[1] + 1:
        raise RuntimeError(f"{dtype.legacy_name} cannot hold the integers up to {n}")
    order = random.randperm(_source(generator), n).astype(dtype.numpy, copy=False)
    return _new(lambda a: order, order, out, **options)


# Draws that take a tensor of parameters


def _drawn_beside(array, draw, *parameters):
    """draw(*parameters), on the device of `array`: the numbers are drawn on the CPU."""
    on_cpu = [devices.moved(p, devices.CPU) if hasattr(p, "dtype") else p for p in parameters]
    return devices.moved(draw(*on_cpu), devices.of(array))


@op(function=False, method=False, node="Normal")
def _normal(mean, std, generator):
    """`mean` and `std` arrays, or one of them a number. The dtype is that of the first array."""
    tensors = [t for t in (mean, std) if hasattr(t, "dtype")]
    return _drawn_beside(tensors[0], lambda *a: _normal_on_cpu(*a, generator), mean, std)


def _normal_on_cpu(mean, std, generator):
    tensors = [t for t in (mean, std) if isinstance(t, np.ndarray)]
    array = np.empty(np.broadcast_shapes(*[t.shape for t in tensors]), tensors[0].dtype)
    if isinstance(std, np.ndarray):
        if std.dtype.kind == "c":
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if not np.all(std >= 0):
            raise RuntimeError("normal expects all elements of std >= 0.0")
        random.normal_(_source(generator), array)
        array *= std.astype(array.dtype)
    else:
        random.normal_(_source(generator), array, 0.0, std)
    array += np.asarray(mean, array.dtype)
    return array


@composite(method=False)
def normal(mean=0.0, std=1.0, size=None, *, generator=None, dtype=None, out=None, **options):
    """Normal numbers of `mean` and `std`, tensors or (with `size`) numbers. See torch.normal."""
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        args = (mean, std, generator)
        return _normal(*args) if out is None else fill(out, _normal, args, {})
    if size is None:
        raise TypeError("normal() of two numbers takes a size as well")
    source, array = _source(generator), np.empty(shape_of((size,)), numpy_type(dtype))
    return _new(lambda a: random.normal_(source, a, mean, std), array, out, **options)


@op
def bernoulli(input, p=None, *, generator=None):
    """1 with the probability that `input` (or p) says, else 0. Mirrors torch.bernoulli."""
    out, p = np.empty(input.shape, input.dtype), input if p is None else p
    return _drawn_beside(input, lambda p: random.bernoulli_(_source(generator), out, p), p)


@op(method=False)
def poisson(input, generator=None):
    """Poisson-distributed numbers of these means. Mirrors torch.poisson."""
    return _drawn_beside(input, lambda mean: random.poisson(_source(generator), mean), input)


_normal.derivatives(
    mean=lambda grad, mean_shape: zeros(mean_shape, grad),
    std=lambda grad, std_shape: zeros(std_shape, grad),
)
for _drawn in (bernoulli, poisson):
    _drawn.derivatives(input=lambda grad, input_shape: zeros(input_shape, grad))


@composite
def multinomial(input, num_samples, replacement=False, *, generator=None, out=None):
    """`num_samples` indices for each row of weights. Mirrors torch.multinomial."""
    if out is not None:
        if out.dtype is not dtypes.int64:
            raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype.legacy_name}")
        return fill(out, multinomial, (input, num_samples, replacement), {"generator": generator})
    if not isinstance(num_samples, (int, np.integer)):
        raise TypeError(f"num_samples must be int, not {type(num_samples).__name__}")

    def draw(weights):
        return random.multinomial(_source(generator), weights, num_samples, replacement)

    return wrap(_drawn_beside(input.array, draw, input.array))


# In place


@op(function=False, method=False)
def _refill(input, recipe):
    return recipe(input)


_refill.derivatives(input=lambda grad: zeros(grad.shape, grad))


def _drawn_for(array, recipe, source, *args, **kwargs):
    """Numbers of the shape and type of `array`, on its device; they are drawn on the CPU."""
    drawn = recipe(source, on_host(array), *args, **kwargs)
    return devices.moved(drawn, devices.of(array))


def _filler(name: str, recipe, meaning: str):
    def call(self, *args, generator=None, **kwargs):
        source = _source(generator)
        if self._requires_grad and inplace.mode.enabled:
            return inplace.update(
                self, _refill, lambda array: _drawn_for(array, recipe, source, *args, **kwargs)
            )
        inplace.check_writable(self, False)
        array = self.array
        if type(array) is np.ndarray:
            recipe(source, array, *args, **kwargs)
        else:
            devices.overwrite(array, _drawn_for(array, recipe, source, *args, **kwargs))
        self._storage.version += 1
        return self

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Fill the tensor with {meaning}. Mirrors torch.Tensor.{name}."
    setattr(Tensor, name, call)


def _uniform(generator, array, *args, **kwargs):
    """PyTorch calls the bounds `from` and `to`; `from` is a keyword of Python's."""
    names = {"from": "low", "to": "high"}
    options = {names[k]: v for k, v in kwargs.items()}
    return random.uniform_(generator, array, *args, **options)


def _bernoulli(generator, array, p=0.5):
    return random.bernoulli_(generator, array, p.array if isinstance(p, Tensor) else p)


def _random(generator, array, *bounds, **named):
    """random_(), random_(to), random_(from, to); `to` may be None for the largest there is."""
    if not bounds and not named:
        return random.random_(generator, array)
    low, high = bounds if len(bounds) == 2 else (0, *bounds) if bounds else (0, None)
    return random.randint_(generator, array, named.get("from", low), named.get("to", high))


_filler("uniform_", _uniform, "uniform numbers from [from, to), by default [0, 1)")
_filler("normal_", random.normal_, "normal numbers of `mean` and `std`")
_filler("bernoulli_", _bernoulli, "ones with probability p, else zeros")
_filler("random_", _random, "integers from [from, to), by default all that the dtype holds exactly")
_filler("exponential_", random.exponential_, "exponentially distributed numbers of rate `lambd`")
_filler("geometric_", random.geometric_, "geometrically distributed numbers")
_filler("log_normal_", random.log_normal_, "log-normal numbers")
_filler("cauchy_", random.cauchy_, "Cauchy-distributed numbers")
