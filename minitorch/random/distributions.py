"""Distributions: how uniform words become uniforms, normals, integers and coin tosses.

Why: the functions behind Tensor.uniform_, normal_, random_, bernoulli_ and their kin; rand, randn
and randint are these on a new array. Each fills the array that it is given and returns it.
Invariant: word k of a call goes to element k in the order in which the array lies in memory, which
for a transposed array is not the order of its indices; a call takes as many words as PyTorch's.
PyTorch: aten/src/ATen/core/TransformationHelper.h, native/cpu/DistributionTemplates.h.
"""

from __future__ import annotations

import math

import numpy as np

from minitorch.random.generator import Generator

PIECE = 16384  # elements made at a time: all temporaries stay in the processor's cache
SILENT = np.errstate(all="ignore")  # log(0), and results beyond the range of float16, are infinite


def uniform_(generator: Generator, array: np.ndarray, low=0.0, high=1.0) -> np.ndarray:
    """Fill with uniforms in [low, high). Mirrors Tensor.uniform_; returns the array.

    One word an element, two for float64. Raises RuntimeError if low > high.
    """
    if not low <= high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    real, draw = _real(array, generator)
    if low == 0 and high == 1 and array.dtype == real:
        return _fill(array, draw)
    low, high = real(low), real(high)
    bottom, top = array.dtype.type(low), array.dtype.type(high)

    def values(n):
        uniforms = _fma(draw(n), high - low, low).astype(array.dtype, copy=False)
        np.copyto(uniforms, bottom, where=uniforms == top)  # rounding may reach the open end
        return uniforms

    return _fill(array, values)


def normal_(generator: Generator, array: np.ndarray, mean=0.0, std=1.0) -> np.ndarray:
    """Fill with normals of this mean and standard deviation. Mirrors Tensor.normal_.

    Contiguous arrays of 16 or more are made in blocks of 16, a word an element (two for float64);
    all others one by one from float64 normals. Raises RuntimeError if std < 0.
    """
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if array.size < 16 or not array.flags.c_contiguous:
        return _fill(array, lambda n: _scale(generator.normals(n), std, mean))
    real, draw = _real(array, generator)
    mean, std = real(mean), real(std)
    flat = array.reshape(-1)
    tail = flat.size % 16
    for start in range(0, flat.size - tail, PIECE):
        piece = flat[start : min(start + PIECE, flat.size - tail)]
        piece[...] = _scale(_normal_blocks(draw(piece.size)), std, mean)
    if tail:  # the last 16 are made anew, over what an incomplete block would have been
        if array.dtype.itemsize > 2:
            draw(tail)  # PyTorch draws these uniforms with all others, and never uses them
        flat[-16:] = _scale(_normal_blocks(draw(16)), std, mean)
    return array


def randint_(generator: Generator, array: np.ndarray, low: int, high: int) -> np.ndarray:
    """Fill with integers in [low, high). Mirrors Tensor.random_(low, high) and torch.randint.

    One word modulo the range, two from 2**28 on (so that the modulo favours no number by much).
    Raises RuntimeError for an empty range, or one that the array's type cannot hold.
    """
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    smallest, largest = _integers_of(array.dtype)
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not smallest <= bound <= largest:
            raise RuntimeError(
                f"{name} is out of bounds for {array.dtype}: it is {bound}, "
                f"and the integers that the type can hold end at {smallest} and {largest}"
            )
    count = high - low
    draw = generator.words if count < 2**28 else generator.words64
    base = np.uint64(low % 2**64)  # two's complement: the sum wraps around to the right integer
    return _fill(array, lambda n: (_modulo(draw(n), count) + base).view(np.int64))


def random_(generator: Generator, array: np.ndarray) -> np.ndarray:
    """Fill with integers from 0 to the largest that the type holds. Mirrors Tensor.random_()."""
    _, largest = _integers_of(array.dtype)
    draw = generator.words64 if array.dtype in (np.int64, np.float64) else generator.words
    return _fill(array, lambda n: _modulo(draw(n), largest + 1))


def bernoulli_(generator: Generator, array: np.ndarray, p=0.5) -> np.ndarray:
    """Fill with ones of probability p, else zeros. Mirrors Tensor.bernoulli_(p).

    p is a number (two words an element: what dropout draws with 1 - its own p), or an array that
    broadcasts to the filled one (two words if it is float64, else one). 0 <= p <= 1.
    """
    if not np.all(inside := (p >= 0) & (p <= 1)):
        wrong = p[~inside][0] if isinstance(p, np.ndarray) else p
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={wrong}")
    if not isinstance(p, np.ndarray):
        # uniform < p, compared as integers: k / 2**53 < p is k < p * 2**53.
        limit, low53 = np.uint64(math.ceil(float(p) * 2.0**53)), np.uint64(2**53 - 1)
        return _fill(array, lambda n: (generator.words64(n) & low53) < limit)
    double = p.dtype == np.float64
    uniforms = np.empty_like(array, dtype=np.float64 if double else np.float32)
    _fill(uniforms, generator.doubles if double else generator.floats)
    array[...] = uniforms < p
    return array


@SILENT
def exponential_(generator: Generator, array: np.ndarray, lambd=1.0) -> np.ndarray:
    """Fill with waiting times of rate lambd > 0. Mirrors Tensor.exponential_. Two words each."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _fill(array, lambda n: -1.0 / lambd * np.log1p(-generator.doubles(n)))


@SILENT
def geometric_(generator: Generator, array: np.ndarray, p: float) -> np.ndarray:
    """Fill with the number of trials until a success. Mirrors Tensor.geometric_. Two words each."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    failure = math.log1p(-p)
    return _fill(array, lambda n: np.ceil(np.log(generator.doubles(n)) / failure))


@SILENT
def log_normal_(generator: Generator, array: np.ndarray, mean=1.0, std=2.0) -> np.ndarray:
    """Fill with e to the power of normals. Mirrors Tensor.log_normal_. std > 0."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _fill(array, lambda n: np.exp(_scale(generator.normals(n), std, mean)))


@SILENT
def cauchy_(generator: Generator, array: np.ndarray, median=0.0, sigma=1.0) -> np.ndarray:
    """Fill with Cauchy's distribution. Mirrors Tensor.cauchy_. sigma > 0. Two words each."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _fill(array, lambda n: _fma(np.tan(np.pi * (generator.doubles(n) - 0.5)), sigma, median))


def _real(array: np.ndarray, generator: Generator):
    """The type that PyTorch computes in (float32 also for 16-bit types), and its uniforms."""
    if array.dtype == np.float64:
        return np.float64, generator.doubles
    return np.float32, generator.floats


def _integers_of(dtype) -> tuple[int, int]:
    """The smallest and largest integer up to which `dtype` holds every one."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    digits = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}[dtype.name]
    return -(2**digits), 2**digits


def _fill(array: np.ndarray, values) -> np.ndarray:
    """Write values(n), piece by piece, into the array in the order of its memory."""
    if array.dtype.itemsize == 2 and array.dtype.kind not in "iu":
        values = _as_float32(values)  # PyTorch rounds twice: to float32, then to the 16-bit type
    view = array
    if not array.flags.c_contiguous:  # widest stride first: then the last index moves fastest
        view = array.transpose(
            sorted(range(array.ndim), key=array.strides.__getitem__, reverse=True)
        )
        if not view.flags.c_contiguous:  # memory with holes
            view[...] = values(view.size).reshape(view.shape)
            return array
    flat = view.reshape(-1)
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        piece[...] = values(piece.size)
    return array


def _as_float32(values):
    return lambda n: values(n).astype(np.float32, copy=False)


def _normal_blocks(uniforms: np.ndarray) -> np.ndarray:
    """Box and Muller's method over blocks of 16: eight radii, then eight angles. (16 k,)"""
    real = uniforms.dtype.type
    blocks = uniforms.reshape(-1, 2, 8)
    radius, angle = 1 - blocks[:, 0], blocks[:, 1] * real(2 * math.pi)
    np.log(radius, out=radius)
    radius *= real(-2)
    np.sqrt(radius, out=radius)
    np.multiply(radius, np.cos(angle), out=blocks[:, 0])
    np.multiply(radius, np.sin(angle), out=blocks[:, 1])
    return uniforms


def _modulo(words: np.ndarray, count: int) -> np.ndarray:
    """words % count. NumPy vectorises division by one number, but not its remainder."""
    count = words.dtype.type(count)
    return words - words // count * count


def _scale(normals, std, mean):
    return normals if mean == 0 and std == 1 else _fma(normals, std, mean)


def _fma(x: np.ndarray, y, z) -> np.ndarray:
    """x * y + z rounded once, as the processor's fused multiply-add does it in PyTorch's loops."""
    if x.dtype == np.float32:  # a product of two floats is exact in double
        return (x.astype(np.float64) * float(y) + float(z)).astype(np.float32)
    # In double, the rounding errors of product (Dekker) and sum (Knuth) are added back.
    y, z = float(y), float(z)
    product = x * y
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    error = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    total = product + z
    z_part = total - product
    error += (product - (total - z_part)) + (z - z_part)
    return total + error


def _halves(x):
    """x as a sum of two numbers of 26 bits, whose products are exact."""
    spread = x * (2.0**27 + 1)
    high = spread - (spread - x)
    return high, x - high
