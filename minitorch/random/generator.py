"""The engine: a seed becomes a stream of 32-bit words, and words become uniform numbers.

Why: NumPy's MT19937 gives PyTorch's words, but seeds, stores and reads them in its own ways.
The engine makes 624 words at a time; so do we, and keep the last such block. A small draw is then a
slice of something that has been computed already, and costs a fraction of a microsecond.
Invariant: the engine stands at the end of the block that we hold, so its state and our place in the
block say all. A state taken here and set in PyTorch, or the other way round, continues one stream.
PyTorch: aten/src/ATen/CPUGeneratorImpl.cpp, aten/src/ATen/core/MT19937RNGEngine.h.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from math import cos, log1p, pi, sin, sqrt

import numpy as np

from minitorch import devices
from minitorch.random import rounding

DEFAULT_SEED = 67280421310721  # a new Generator's, as in PyTorch
BLOCK = 624  # words that the engine makes at a time

# The bytes of Generator.get_state(): a C struct that PyTorch has kept since Lua Torch. `next` is
# the position in `words`, `left` counts down to the next refill, `normal_y` is the spare normal.
STATE = np.dtype(
    [
        ("seed", "<u8"),
        ("left", "<i4"),
        ("seeded", "<i4"),
        ("next", "<u8"),
        ("words", "<u8", BLOCK),
        ("normal_x", "<f8"),
        ("normal_y", "<f8"),
        ("normal_rho", "<f8"),
        ("normal_is_valid", "<i4"),
        ("unused", "V12"),
    ]
)


class Block:
    """The words that the engine has made last, and what has been computed of all of them."""

    def __init__(self, words: np.ndarray):
        self.words = words
        self._converted: dict[Callable, np.ndarray] = {}

    def converted(self, convert: Callable, each: int) -> np.ndarray:
        """`convert` of the words, or for each=2 of the pairs that begin at every word.

        Read-only, for slices of it are handed out.
        """
        made = self._converted.get(convert)
        if made is None:
            made = convert(self.words) if each == 1 else convert(self.words[:-1], self.words[1:])
            made.flags.writeable = False
            self._converted[convert] = made
        return made


def as_words(words: np.ndarray) -> np.ndarray:
    """The words themselves."""
    return words


def as_floats(words: np.ndarray) -> np.ndarray:
    """Uniforms in [0, 1), float32: a word's lower 24 bits, all that a mantissa holds."""
    bits = words & np.uint32(2**24 - 1)
    uniforms = bits.view(np.int32).astype(np.float32)  # processors convert signed integers
    uniforms *= np.float32(2**-24)
    return uniforms


def as_pairs(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Two words as one of 64 bits, uint64."""
    pairs = high.astype(np.uint64)
    pairs <<= np.uint64(32)
    pairs |= low
    return pairs


def as_doubles(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Uniforms in [0, 1), float64: the lower 53 bits of a pair of words."""
    bits = as_pairs(high, low)
    bits &= np.uint64(2**53 - 1)
    uniforms = bits.view(np.int64).astype(np.float64)
    uniforms *= 2.0**-53
    return uniforms


class Generator:
    """A stream of random words with its seed. Mirrors torch.Generator, CPU only.

    Its methods give one-dimensional arrays of raw material, which may be read-only; the functions
    of this package turn it into distributions. Each draw is atomic, so threads may share it.
    """

    def __init__(self, device: str | devices.device = "cpu"):
        self.device = devices.check(device)
        self._lock = threading.RLock()
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
        with self._lock:
            self._seed = int(seed) % 2**64
            # RandomState.seed is NumPy's name for the seeding in the paper on MT19937.
            np.random.RandomState(self._engine).seed(self._seed % 2**32)
            self._block, self._next = _NO_WORDS, BLOCK
            self._spare_normal: float | None = None
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
        state = np.zeros(1, STATE)
        with self._lock:
            state["seed"] = self._seed
            state["seeded"] = 1
            state["words"] = self._engine.state["state"]["key"]
            state["left"] = BLOCK + 1 - self._next
            state["next"] = 0 if self._block is _NO_WORDS else self._next
            if self._spare_normal is not None:
                state["normal_is_valid"] = 1
                state["normal_y"] = self._spare_normal
        return state.view(np.uint8)

    def set_state(self, state) -> Generator:
        """Continue from what get_state() gave, here or in PyTorch: 5056 bytes (uint8)."""
        state = np.ascontiguousarray(state)  # also of a Tensor
        if state.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor, but it is {state.dtype}")
        if state.size != STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE.itemsize} "
                f"but found the input RNG state size to be {state.size}"
            )
        (state,) = state.reshape(-1).view(STATE)
        if not (state["seeded"] and 1 <= state["left"] <= BLOCK and state["next"] <= BLOCK):
            raise RuntimeError("Invalid mt19937 state: these bytes are not a generator's state")
        fresh = state["left"] == 1 and state["next"] == 0  # seeded, and no word made yet
        engine = {"key": state["words"].astype(np.uint32), "pos": BLOCK if fresh else 0}
        with self._lock:
            self._engine.state = {"bit_generator": "MT19937", "state": engine}  # type: ignore
            self._block = _NO_WORDS if fresh else self._new_block()
            self._next = BLOCK + 1 - int(state["left"])
            self._seed = int(state["seed"])
            valid = state["normal_is_valid"]
            self._spare_normal = float(state["normal_y"]) if valid else None
        return self

    def clone_state(self) -> Generator:
        """A new generator at the same place of the same stream."""
        return type(self)(self.device).set_state(self.get_state())

    def __reduce__(self):  # a lock cannot be pickled or copied; the state can
        return _restore, (type(self), np.asarray(self.get_state()))

    def __repr__(self) -> str:
        return f"<Generator device={self.device} initial_seed={self._seed}>"

    def _new_block(self) -> Block:
        return Block(self._engine.random_raw(BLOCK).astype(np.uint32))

    def _draw(self, n: int) -> np.ndarray:
        """The next n words, more than are left of the block. The last block they touch is kept."""
        left = self._block.words[self._next :]
        blocks = -((left.size - n) // BLOCK)  # rounded up
        fresh = self._engine.random_raw(blocks * BLOCK).astype(np.uint32)
        self._block = Block(fresh[-BLOCK:].copy())
        self._next = n - left.size - (blocks - 1) * BLOCK
        return np.concatenate([left, fresh[: n - left.size]])

    def take(self, n: int, convert: Callable, each: int = 1) -> np.ndarray:
        """convert(words) of the next n words; for each=2, convert(first, second) of n pairs.

        `convert` is a function that works word by word (pair by pair) and keeps the last dimension.
        """
        with self._lock:
            start, stop = self._next, self._next + n * each
            if stop <= BLOCK:
                self._next = stop
                return self._block.converted(convert, each)[..., start:stop:each]
            if each == 1 and stop <= 2 * BLOCK:  # the end of this block, the beginning of the next
                end = self._block.converted(convert, 1)[..., start:]
                self._block, self._next = self._new_block(), stop - BLOCK
                beginning = self._block.converted(convert, 1)[..., : self._next]
                return np.concatenate([end, beginning], axis=-1)
            words = self._draw(n * each)
        return convert(*[words[i::each] for i in range(each)])

    def words(self, n: int) -> np.ndarray:
        """The next n words of the stream, uint32 (n,)."""
        return self.take(n, as_words)

    def pairs(self, n: int) -> np.ndarray:
        """The next n pairs of words, the first one as the high half: uint64 (n,)."""
        return self.take(n, as_pairs, 2)

    def floats(self, n: int) -> np.ndarray:
        """n uniforms in [0, 1), float32 (n,), a word each."""
        return self.take(n, as_floats)

    def doubles(self, n: int) -> np.ndarray:
        """n uniforms in [0, 1), float64 (n,), two words each."""
        return self.take(n, as_doubles, 2)

    def normals(self, n: int) -> np.ndarray:
        """n standard normals, float64 (n,), by Box and Muller's method: two uniforms make two.

        With an odd n the second one waits in the generator for the next call.
        """
        with self._lock:
            ready = [] if self._spare_normal is None else [self._spare_normal]
            uniforms = self.doubles((max(0, n - len(ready)) + 1) // 2 * 2)
            angles, exponentials = uniforms[0::2], uniforms[1::2]
            if n <= rounding.FEW:
                pairs = zip(angles.tolist(), exponentials.tolist(), strict=True)
                for angle, exponential in pairs:
                    radius = sqrt(-2 * log1p(-exponential))
                    angle *= 2 * pi
                    ready += (radius * cos(angle), radius * sin(angle))
                normals = np.array(ready, np.float64)
            else:
                radius = np.sqrt(-2 * np.log1p(-exponentials))
                angles = 2 * pi * angles
                made = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
                normals = np.concatenate([ready, made.ravel()])
            self._spare_normal = float(normals[n]) if normals.size > n else None
        return normals[:n]


_NO_WORDS = Block(np.empty(BLOCK, np.uint32))  # before the first block, when all is still to come


def _restore(kind: type[Generator], state: np.ndarray) -> Generator:
    return kind().set_state(state)
