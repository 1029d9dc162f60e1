"""Random numbers: PyTorch's own, bit by bit, from NumPy's copy of the same engine.

Why: a script run under PyTorch and under minitorch with one seed must see the same initial
weights, shuffles and dropout masks, so that any difference between the two runs is a bug.
Both libraries ship the Mersenne Twister MT19937, a stream of 32-bit words; what differs is how
words become numbers. Those recipes are here, each a few lines over NumPy arrays.
Invariant: every function takes exactly as many words as PyTorch's does, so the streams of the two
libraries stay in step after any mixture of calls. Words become elements in the order in which
the array lies in memory, which for a transposed array is not the order of its indices.

What is not bit-identical differs in the last digit of a logarithm or a cosine: `normal_` of 16 or
more values, `cauchy_`, `exponential_` and `log_normal_` of float64 (NumPy's vectorised functions
and the C library, or PyTorch's own float32 polynomials, round a few per cent of values apart).
`bernoulli_` with one probability follows PyTorch on processors other than Intel's, where it calls
a generator inside Intel's MKL.
PyTorch: aten/src/ATen/CPUGeneratorImpl.cpp, core/MT19937RNGEngine.h, core/DistributionsHelper.h,
native/cpu/DistributionTemplates.h.
"""

from __future__ import annotations

import math
import secrets
import threading

import numpy as np

from minitorch import devices

DEFAULT_SEED = 67280421310721  # a new Generator's, as in PyTorch
PIECE = 16384  # elements made at a time: all temporaries stay in the processor's cache

# The bytes of Generator.get_state(): a C struct that PyTorch has kept since Lua Torch. `next` is
# the position in `words`, `left` counts down to the next refill, `normal_y` is the spare normal.
STATE = np.dtype(
    [
        ("seed", "<u8"),
        ("left", "<i4"),
        ("seeded", "<i4"),
        ("next", "<u8"),
        ("words", "<u8", 624),
        ("normal_x", "<f8"),
        ("normal_y", "<f8"),
        ("normal_rho", "<f8"),
        ("normal_is_valid", "<i4"),
        ("unused", "V12"),
    ]
)


class Generator:
    """A stream of random words with its seed. Mirrors torch.Generator, CPU only.

    Its methods give one-dimensional arrays of raw material; the functions of this module turn it
    into distributions. Each draw is atomic, so threads may share a generator.
    """

    def __init__(self, device="cpu"):
        self.device = devices.check(device)
        self._lock = threading.Lock()
        self._engine = np.random.MT19937(0)
        self.manual_seed(DEFAULT_SEED)

    def manual_seed(self, seed: int) -> Generator:
        """Restart the stream; returns the generator. -2**63 <= seed < 2**64, negatives wrap.

        Of the seed's 64 bits the engine uses the lower 32, as in PyTorch.
        """
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"Overflow when unpacking long long: the seed {seed} has over 64 bits")
        self._seed = int(seed) % 2**64
        # RandomState.seed is NumPy's name for the seeding in the paper on MT19937 (init_genrand).
        np.random.RandomState(self._engine).seed(self._seed % 2**32)
        self._spare_normal = None
        return self

    def seed(self) -> int:
        """Restart from a seed that nobody can foretell (53 bits), and return it."""
        self.manual_seed(secrets.randbits(53))
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the last manual_seed() or seed(), as an unsigned number."""
        return self._seed

    def get_state(self) -> np.ndarray:
        """The whole state as 5056 bytes (uint8), laid out as PyTorch lays it out."""
        with self._lock:
            engine = self._engine.state["state"]
            spare = self._spare_normal
        state = np.zeros(1, STATE)
        state["seed"] = self._seed
        state["seeded"] = 1
        state["words"] = engine["key"]
        state["left"] = 625 - engine["pos"]
        # Right after seeding no word is ready: NumPy says "all are used", PyTorch "at the start".
        fresh = engine["pos"] == 624 and engine["key"][0] == self._seed % 2**32
        state["next"] = 0 if fresh else engine["pos"]
        if spare is not None:
            state["normal_is_valid"] = 1
            state["normal_y"] = spare
        return state.view(np.uint8)

    def set_state(self, state) -> Generator:
        """Continue from what get_state() gave, here or in PyTorch: 5056 bytes (uint8)."""
        state = np.ascontiguousarray(state)
        if state.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor, but it is {state.dtype}")
        if state.size != STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE.itemsize} "
                f"but found the input RNG state size to be {state.size}"
            )
        (state,) = state.reshape(-1).view(STATE)
        if not (state["seeded"] and 1 <= state["left"] <= 624 and state["next"] <= 624):
            raise RuntimeError("Invalid mt19937 state: these bytes are not a generator's state")
        engine = {"key": state["words"].astype(np.uint32), "pos": 625 - int(state["left"])}
        with self._lock:
            self._engine.state = {"bit_generator": "MT19937", "state": engine}
            self._seed = int(state["seed"])
            valid = state["normal_is_valid"]
            self._spare_normal = float(state["normal_y"]) if valid else None
        return self

    def clone_state(self) -> Generator:
        """A new generator at the same place of the same stream."""
        return Generator(self.device).set_state(self.get_state())

    def __reduce__(self):  # a lock cannot be pickled or copied; the state can
        return _restore, (self.get_state(),)

    def __repr__(self) -> str:
        return f"<Generator device={self.device} initial_seed={self._seed}>"

    def words(self, n: int) -> np.ndarray:
        """The next n 32-bit words, as uint64 (n,)."""
        return self._engine.random_raw(n)

    def words64(self, n: int) -> np.ndarray:
        """The next n 64-bit words: of two 32-bit words the first is the high half. uint64 (n,)."""
        pairs = self._engine.random_raw(2 * n)
        high, low = pairs[0::2], pairs[1::2]
        high = high << np.uint64(32)
        high |= low
        return high

    def floats(self, n: int) -> np.ndarray:
        """n uniforms in [0, 1), float32: a word's lower 24 bits, all that a mantissa holds."""
        bits = self.words(n).astype(np.int32)
        bits &= 2**24 - 1
        uniforms = bits.astype(np.float32)
        uniforms *= np.float32(2**-24)
        return uniforms

    def doubles(self, n: int) -> np.ndarray:
        """n uniforms in [0, 1), float64: the lower 53 bits of a 64-bit word."""
        bits = self.words64(n)
        bits &= np.uint64(2**53 - 1)
        uniforms = bits.astype(np.float64)
        uniforms *= 2.0**-53
        return uniforms

    def normals(self, n: int) -> np.ndarray:
        """n standard normals, float64, by Box and Muller's method: two uniforms give two normals.

        With an odd n the second one waits in the generator for the next call.
        """
        with self._lock:
            ready = [] if self._spare_normal is None else [self._spare_normal]
            uniforms = self.doubles(max(0, n - len(ready) + 1) // 2 * 2)
            if n < 64:  # the C library one by one: for a few values quicker, and PyTorch's bits
                pairs = zip(uniforms[0::2].tolist(), uniforms[1::2].tolist(), strict=True)
                made = [z for u, v in pairs for z in _box_muller(math, u, -v)]
            else:
                made = np.stack(_box_muller(np, uniforms[0::2], -uniforms[1::2]), axis=1).ravel()
            normals = np.concatenate([ready, made])
            if n:
                self._spare_normal = float(normals[n]) if normals.size > n else None
        return normals[:n]


def _restore(state) -> Generator:
    return Generator().set_state(state)


default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it. Mirrors torch.manual_seed."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the system's randomness. Mirrors torch.seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed. Mirrors torch.initial_seed."""
    return default_generator.initial_seed()


def uniform_(generator: Generator, array: np.ndarray, low=0.0, high=1.0) -> np.ndarray:
    """Fill with uniforms in [low, high). Mirrors Tensor.uniform_; returns the array.

    One word an element, two for float64. Raises RuntimeError if low > high.
    """
    if not low <= high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    real = _real(array)
    low, high = real(low), real(high)
    unit = low == 0 and high == 1
    draw = generator.doubles if real is np.float64 else generator.floats
    top, bottom = array.dtype.type(high), array.dtype.type(low)

    def values(n):
        uniforms = draw(n) if unit else _fma(draw(n), high - low, low)
        if not unit or array.dtype.itemsize == 2:  # rounding may have reached the open end
            uniforms = uniforms.astype(array.dtype, copy=False)
            np.copyto(uniforms, bottom, where=uniforms == top)
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
    real = _real(array)
    draw = generator.doubles if real is np.float64 else generator.floats
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
    count, base = np.uint64(high - low), np.uint64(low % 2**64)
    draw = generator.words if count < 2**28 else generator.words64
    return _fill(array, lambda n: (draw(n) % count + base).view(np.int64))


def random_(generator: Generator, array: np.ndarray) -> np.ndarray:
    """Fill with integers from 0 to the largest that the type holds. Mirrors Tensor.random_()."""
    _, largest = _integers_of(array.dtype)
    draw = generator.words64 if array.dtype in (np.int64, np.float64) else generator.words
    return _fill(array, lambda n: draw(n) % np.uint64(largest + 1))


def randperm(generator: Generator, n: int) -> np.ndarray:
    """A random order of 0 .. n-1, int64 (n,). Mirrors torch.randperm.

    Fisher and Yates's shuffle from the front: place i swaps with i + word % (n - i).
    """
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    place = np.arange(max(n - 1, 0), dtype=np.uint64)
    partner = generator.words(place.size) % (np.uint64(n) - place) + place
    swap = _swap_in_turn if n < 2048 else _swap_in_rounds
    return swap(n, partner.view(np.int64))


def bernoulli_(generator: Generator, array: np.ndarray, p=0.5) -> np.ndarray:
    """Fill with ones of probability p, else zeros. Mirrors Tensor.bernoulli_(p).

    p is a number (two words an element: what dropout draws with 1 - its own p), or an array that
    broadcasts to the filled one (two words if it is float64, else one). 0 <= p <= 1.
    """
    p = np.asarray(p)
    if not np.all((p >= 0) & (p <= 1)):
        wrong = p if p.ndim == 0 else p[~((p >= 0) & (p <= 1))].flat[0]
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={wrong}")
    if p.ndim == 0 and p.dtype == np.float64:
        # uniform < p, compared as integers: k / 2**53 < p is k < p * 2**53.
        limit, low53 = np.uint64(math.ceil(float(p) * 2.0**53)), np.uint64(2**53 - 1)
        return _fill(array, lambda n: (generator.words64(n) & low53) < limit)
    double = p.dtype == np.float64
    uniforms = np.empty_like(array, dtype=np.float64 if double else np.float32)
    _fill(uniforms, generator.doubles if double else generator.floats)
    array[...] = uniforms < p
    return array


def exponential_(generator: Generator, array: np.ndarray, lambd=1.0) -> np.ndarray:
    """Fill with waiting times of rate lambd > 0. Mirrors Tensor.exponential_. Two words each."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _fill(array, lambda n: -1.0 / lambd * np.log1p(-generator.doubles(n)))


def geometric_(generator: Generator, array: np.ndarray, p: float) -> np.ndarray:
    """Fill with the number of trials until a success. Mirrors Tensor.geometric_. Two words each."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")

    def values(n):
        with np.errstate(divide="ignore"):  # log(0) is -inf, and the count infinite
            return np.ceil(np.log(generator.doubles(n)) / math.log1p(-p))

    return _fill(array, values)


def log_normal_(generator: Generator, array: np.ndarray, mean=1.0, std=2.0) -> np.ndarray:
    """Fill with e to the power of normals. Mirrors Tensor.log_normal_. std > 0."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _fill(array, lambda n: np.exp(_scale(generator.normals(n), std, mean)))


def cauchy_(generator: Generator, array: np.ndarray, median=0.0, sigma=1.0) -> np.ndarray:
    """Fill with Cauchy's distribution. Mirrors Tensor.cauchy_. sigma > 0. Two words each."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _fill(array, lambda n: _fma(np.tan(np.pi * (generator.doubles(n) - 0.5)), sigma, median))


def multinomial(
    generator: Generator, weights: np.ndarray, num_samples: int, replacement=False
) -> np.ndarray:
    """Indices drawn with these weights: (k,) or (rows, k) floats to (..., num_samples) int64.

    Mirrors torch.multinomial. Weights need not sum to one. Raises RuntimeError for weights that are
    negative, infinite, nan or all zero, and for too many samples without replacement.
    """
    _check_multinomial(weights, num_samples, replacement)
    if not replacement or num_samples == 1:
        # An exponential race: the time until index i is drawn has rate weights[i]. The first
        # num_samples to arrive are a sample without replacement.
        speed = weights / exponential_(generator, np.empty_like(weights))
        return np.argsort(-speed, axis=-1, kind="stable")[..., :num_samples]
    rows = weights.reshape(-1, weights.shape[-1])
    drawn = np.empty((len(rows), num_samples), np.int64)
    for row, samples in zip(rows, drawn, strict=True):
        cumulative = np.cumsum(row, dtype=_real(row))
        cumulative /= cumulative[-1]
        cumulative[-1] = 1
        samples[...] = np.searchsorted(cumulative.astype(float), generator.doubles(num_samples))
    return drawn.reshape(*weights.shape[:-1], num_samples)


def _check_multinomial(weights, num_samples, replacement) -> None:
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if weights.dtype.kind in "biu":
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {weights.dtype}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if not np.all((weights >= 0) & (weights < np.inf)):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if np.any(weights.sum(axis=-1) == 0):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _real(array) -> type:
    """The type that PyTorch computes in: 16-bit types are filled with rounded float32 values."""
    return np.float64 if array.dtype == np.float64 else np.float32


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


def _box_muller(m, u, v):
    """Two independent normals from an angle u in [0, 1) and 1 + v in (0, 1]; m has the functions."""
    radius = m.sqrt(-2 * m.log1p(v))
    angle = 2 * math.pi * u
    return radius * m.cos(angle), radius * m.sin(angle)


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


def _swap_in_turn(n: int, partner: np.ndarray) -> np.ndarray:
    """0 .. n-1 after swapping place i with partner[i] for i = 0, 1, 2, ..."""
    order = list(range(n))
    for i, j in enumerate(partner.tolist()):
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def _swap_in_rounds(n: int, partner: np.ndarray) -> np.ndarray:
    """_swap_in_turn for large n, without a Python step for each swap.

    Swaps of different places commute. So of the swaps that wait, all those can be done at once
    which are the first, in turn, to touch both of their places (Shun, Gu, Blelloch, Fineman and
    Gibbons 2015, "Sequential random permutation, list contraction and tree contraction are highly
    parallel"). Sixteenths of what is left are taken at a time: then few swaps collide.
    """
    order, first = np.arange(n), np.empty(n, np.int64)
    start = 0
    while start < n - 1:
        stop = min(n - 1, start + max(1024, (n - start) // 16))
        i, j = np.arange(start, stop), partner[start:stop]
        while i.size:
            first[i] = i
            first[j[::-1]] = i[::-1]  # where several meet, the earliest is written last
            ready = (first[i] == i) & (first[j] == i)
            a, b = i[ready], j[ready]
            order[a], order[b] = order[b], order[a]
            i, j = i[~ready], j[~ready]
        start = stop
    return order
