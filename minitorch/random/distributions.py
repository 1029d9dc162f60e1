"""Distributions: how uniform words become uniforms, normals, integers and coin tosses.

Why: the functions behind Tensor.uniform_, normal_, random_, bernoulli_ and their kin; rand, randn
and randint are these on a new array. Each fills the array that it is given and returns it.
Invariant: word k of a call goes to element k in the order in which the array lies in memory, which
for a transposed array is not the order of its indices; a call takes as many words as PyTorch's.
PyTorch: aten/src/ATen/core/TransformationHelper.h, native/cpu/DistributionTemplates.h.
"""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np

from minitorch import dtypes
from minitorch.kernels.cpu.threads import get_num_threads
from minitorch.random.generator import Generator
from minitorch.random.normals import PIECE, normal_blocks
from minitorch.random.rounding import c_library, multiply_add


def uniform_(generator: Generator, array: np.ndarray, low=0.0, high=1.0) -> np.ndarray:
    """Fill with uniforms in [low, high). Mirrors Tensor.uniform_; returns the array.

    One word an element, two for float64. Raises RuntimeError if low > high, or if the type does
    not reach as far.
    """
    if array.dtype.kind == "c":
        uniform_(generator, _real_and_imaginary(array), low, high)
        return array
    real, draw = _real(array, generator, "check_uniform_bounds")
    if low == 0 and high == 1 and array.dtype.char in "fd":
        return _fill(array, draw)
    limit = _largest(array.dtype)
    for name, bound in (("from", low), ("to", high)):
        if not -limit <= bound <= limit:
            raise RuntimeError(f"{name} is out of bounds for {dtypes.of(array)}: it is {bound}")
    if not low <= high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    if high - low > limit:
        raise RuntimeError(f"uniform_ expects to-from <= {limit}, but found to={high}, from={low}")
    bottom, top = array.dtype.type(low), array.dtype.type(high)
    low, high = real(low), real(high)

    def values(n):
        uniforms = multiply_add(draw(n), high - low, low).astype(array.dtype, copy=False)
        np.copyto(uniforms, bottom, where=uniforms == top)  # rounding may reach the open end
        return uniforms

    return _fill(array, values)


def normal_(generator: Generator, array: np.ndarray, mean=0.0, std=1.0) -> np.ndarray:
    """Fill with normals of this mean and standard deviation. Mirrors Tensor.normal_.

    Contiguous arrays of 16 or more are made in blocks of 16, a word an element (two for float64);
    all others one by one from float64 normals. Of complex numbers, both parts are normal with
    std / sqrt(2). Raises RuntimeError if std < 0.
    """
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if array.dtype.kind == "c":
        normal_(generator, _real_and_imaginary(array), mean, std / math.sqrt(2))
        return array
    real, draw = _real(array, generator, "normal_kernel_cpu")
    if array.size < 16 or not array.flags.c_contiguous:
        return _fill(array, lambda n: _scale(generator.normals(n), std, mean, array.dtype))
    mean, std = real(mean), real(std)
    flat = array.reshape(-1)
    tail = flat.size % 16

    def values(n):
        return _scale(normal_blocks(generator, n, real), std, mean)

    threads = get_num_threads() if real is np.float32 else 1  # a double's last digit may depend on
    _fill(flat[: flat.size - tail], values, PIECE * threads)  # the pieces, and so on the threads
    if tail:  # the last 16 are made anew, over what an incomplete block would have been
        if array.dtype.itemsize > 2:
            draw(tail)  # PyTorch draws these uniforms with all others, and never uses them
        flat[-16:] = values(16)
    return array


def randint_(generator: Generator, array: np.ndarray, low: int, high: int | None) -> np.ndarray:
    """Fill with integers in [low, high). Mirrors Tensor.random_(low, high) and torch.randint.

    One word modulo the range, two from 2**28 on (so that the modulo favours no number by much).
    `high` None: up to the largest integer of the type. Raises RuntimeError for an empty range, or
    one that the array's type cannot hold.
    """
    if array.dtype.kind == "c":
        raise RuntimeError("random_ handles only integral, floating-point and boolean types")
    low = int(low)
    high = integers_of(array.dtype)[1] + 1 if high is None else int(high)
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    low, high = _representable(array, low, high)
    count = high - low
    draw = generator.words if count < 2**28 else generator.pairs
    if low == 0:
        return _fill(array, lambda n: _modulo(draw(n), count))
    base = np.uint64(low % 2**64)  # two's complement: the sum wraps around to the right integer
    return _fill(array, lambda n: (_modulo(draw(n), count) + base).view(np.int64))


def random_(generator: Generator, array: np.ndarray) -> np.ndarray:
    """Fill with integers from 0 to the largest that the type holds. Mirrors Tensor.random_()."""
    _not_of(array, "c", "random_kernel_cpu")
    _, largest = integers_of(array.dtype)
    draw = generator.pairs if array.dtype in (np.int64, np.float64) else generator.words
    return _fill(array, lambda n: _modulo(draw(n), largest + 1))


def bernoulli_(generator: Generator, array: np.ndarray, p=0.5) -> np.ndarray:
    """Fill with ones of probability p, else zeros. Mirrors Tensor.bernoulli_(p).

    p is a number (two words an element: what dropout draws with 1 - its own p), or an array that
    broadcasts to the filled one (two words if it is float64, else one). 0 <= p <= 1.
    """
    _not_of(array, "c", "bernoulli_scalar_cpu_")
    if not isinstance(p, np.ndarray):
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        return _fill(array, lambda n: generator.doubles(n) < p)
    _not_of(p, "biuc", "bernoulli_tensor_cpu_p_")
    if p.size and not (p.min() >= 0 and p.max() <= 1):  # not so for nan either
        wrong = p[~((p >= 0) & (p <= 1))][0]
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={wrong}")
    if p.shape != array.shape:
        try:
            p = np.broadcast_to(p, array.shape)
        except ValueError:
            raise RuntimeError(
                f"bernoulli_: probabilities of shape {list(p.shape)} cannot be expanded to the "
                f"tensor's {list(array.shape)}"
            ) from None
    double = p.dtype == np.float64
    uniforms = np.empty_like(array, dtype=np.float64 if double else np.float32)
    _fill(uniforms, generator.doubles if double else generator.floats)
    np.less(uniforms, p, out=array, casting="unsafe")
    return array


def exponential_(generator: Generator, array: np.ndarray, lambd=1.0) -> np.ndarray:
    """Fill with waiting times of rate lambd > 0. Mirrors Tensor.exponential_. Two words each."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    _only_floating(array, "Exponential")
    scale, dtype = -1.0 / lambd, array.dtype
    return _fill(array, lambda n: scale * c_library("log1p", -generator.doubles(n), dtype))


def geometric_(generator: Generator, array: np.ndarray, p: float) -> np.ndarray:
    """Fill with the number of trials until a success. Mirrors Tensor.geometric_. Two words each."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    _not_of(array, "bc", "geometric_cpu")
    failure = math.log1p(-p)
    return _fill(array, lambda n: np.ceil(np.log(generator.doubles(n)) / failure))


def log_normal_(generator: Generator, array: np.ndarray, mean=1.0, std=2.0) -> np.ndarray:
    """Fill with e to the power of normals. Mirrors Tensor.log_normal_. std > 0."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    _not_of(array, "biuc", "log_normal_cpu")

    def values(n):
        return c_library("exp", _scale(generator.normals(n), std, mean, array.dtype), array.dtype)

    return _fill(array, values)


def cauchy_(generator: Generator, array: np.ndarray, median=0.0, sigma=1.0) -> np.ndarray:
    """Fill with Cauchy's distribution. Mirrors Tensor.cauchy_. sigma > 0. Two words each."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    _only_floating(array, "Cauchy")

    def values(n):
        angle = math.pi * (generator.doubles(n) - 0.5)
        return multiply_add(c_library("tan", angle, array.dtype), sigma, median, array.dtype)

    return _fill(array, values)


def _only_floating(array: np.ndarray, name: str) -> None:
    if array.dtype.kind in "biuc":
        raise RuntimeError(
            f"{name} distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {dtypes.of(array).legacy_name}"
        )


def _real(array: np.ndarray, generator: Generator, kernel: str):
    """The type that PyTorch computes in (float32 also for 16-bit types), and its uniforms."""
    if array.dtype.char == "d":
        return np.float64, generator.doubles
    _not_of(array, "biu", kernel)
    return np.float32, generator.floats


def _not_of(array: np.ndarray, kinds: str, kernel: str) -> None:
    """Raise PyTorch's error for arrays of these kinds of types."""
    if array.dtype.kind in kinds:
        name = dtypes.of(array).legacy_name
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{name}'")


def _real_and_imaginary(array: np.ndarray) -> np.ndarray:
    """The memory of a complex array as real numbers, two in a row."""
    real = array.real
    shape, strides = (*array.shape, 2), (*array.strides, real.itemsize)
    return np.lib.stride_tricks.as_strided(real, shape, strides)


@functools.cache
def _largest(dtype) -> float:
    return dtypes.finfo(dtypes.of(np.empty(0, dtype))).max


@functools.cache
def integers_of(dtype) -> tuple[int, int]:
    """The smallest and largest integer up to which `dtype` holds every one."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    digits = _DIGITS[dtype.name]
    return -(2**digits), 2**digits


_DIGITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


def _representable(array: np.ndarray, low: int, high: int) -> tuple[int, int]:
    """[low, high) without what the type would round out of it: large floats are far between."""
    dtype, exact = dtypes.of(array), integers_of(array.dtype)
    floating = array.dtype.kind not in "biu"
    limit = _largest(array.dtype) if floating else 0
    smallest, largest = (-limit, limit) if floating else exact
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not smallest <= bound <= largest:
            raise RuntimeError(
                f"{name} is out of bounds for {dtype}: it is {bound}, and the type's numbers end "
                f"at {smallest} and {largest}"
            )
        if floating and not exact[0] <= bound <= exact[1]:
            warnings.warn(
                f"{name} is out of bounds [{exact[0]}, {exact[1]}]: outside of it {dtype} does not "
                "hold every integer, and so not all of them can be drawn",
                stacklevel=5,
            )
    if not floating or exact[0] < low < high <= exact[1]:
        return low, high

    def step(bound):
        return 2 ** (abs(bound).bit_length() - _DIGITS[dtype.name])

    first, last = (int(array.dtype.type(bound)) for bound in (low + 1, high - 1))
    if first < low:
        low = first + step(low + 1)
    if last >= high:
        high = last - step(high - 1)
    if low >= high:
        raise RuntimeError(
            "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got "
            f"from={low} >= to={high}"
        )
    return low, high


def _fill(array: np.ndarray, values, most: int = PIECE) -> np.ndarray:
    """Write values(n), n at `most`, piece by piece into the array in the order of its memory."""
    if array.dtype.char in "eE":
        values = _as_float32(values)  # PyTorch rounds twice: to float32, then to the 16-bit type
    if not array.flags.c_contiguous:
        # Widest stride first: then the last index moves fastest.
        order = sorted(range(array.ndim), key=array.strides.__getitem__, reverse=True)
        view = array.transpose(order)
        if view.flags.c_contiguous:
            _fill(view, values)
        else:  # memory with holes
            view[...] = values(view.size).reshape(view.shape)
        return array
    flat = array.reshape(-1)
    if flat.size <= most:
        flat[:] = values(flat.size)
        return array
    for start in range(0, flat.size, most):
        piece = flat[start : start + most]
        piece[:] = values(piece.size)
    return array


def _as_float32(values):
    return lambda n: values(n).astype(np.float32, copy=False)


def _modulo(words: np.ndarray, count: int) -> np.ndarray:
    """words % count. NumPy vectorises division by one number, but not its remainder."""
    if words.size < 64:
        return words % words.dtype.type(count)
    count = words.dtype.type(count)
    return words - words // count * count


def _scale(normals, std, mean, dtype=np.float64):
    return normals if mean == 0 and std == 1 else multiply_add(normals, std, mean, dtype)
