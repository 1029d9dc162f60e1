"""The engine: a seed becomes a stream of 32-bit words, and words become uniform numbers.

Why: NumPy's MT19937 gives PyTorch's words, but seeds, stores and reads them in its own ways.
Invariant: a state taken here and set in PyTorch, or the other way round, continues one stream.
PyTorch: aten/src/ATen/CPUGeneratorImpl.cpp, aten/src/ATen/core/MT19937RNGEngine.h.
"""

from __future__ import annotations

import math
import secrets
import threading
from typing import Any

import numpy as np

from minitorch import devices

DEFAULT_SEED = 67280421310721  # a new Generator's, as in PyTorch

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

    def __init__(self, device: str | devices.device = "cpu"):
        self.device = devices.check(device)
        self._lock = threading.Lock()
        self._engine = np.random.MT19937(0)
        self._spare_normal: float | None = None
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
        state = np.ascontiguousarray(state)  # also of a Tensor
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
            self._engine.state = {"bit_generator": "MT19937", "state": engine}  # type: ignore
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

    def words(self, n: int) -> np.ndarray:
        """The next n words of the stream, uint32 (n,)."""
        return self._engine.random_raw(n).astype(np.uint32)

    def words64(self, n: int) -> np.ndarray:
        """The next n pairs of words, the first one as the high half: uint64 (n,)."""
        pairs = self._engine.random_raw(2 * n)
        words = pairs[0::2] << np.uint64(32)
        words |= pairs[1::2]
        return words

    def floats(self, n: int) -> np.ndarray:
        """n uniforms in [0, 1), float32: a word's lower 24 bits, all that a mantissa holds."""
        bits = self.words(n)
        bits &= np.uint32(2**24 - 1)
        uniforms = bits.view(np.int32).astype(np.float32)  # processors convert signed integers
        uniforms *= np.float32(2**-24)
        return uniforms

    def doubles(self, n: int) -> np.ndarray:
        """n uniforms in [0, 1), float64: the lower 53 bits of a 64-bit word."""
        bits = self.words64(n)
        bits &= np.uint64(2**53 - 1)
        uniforms = bits.view(np.int64).astype(np.float64)
        uniforms *= 2.0**-53
        return uniforms

    def normals(self, n: int) -> np.ndarray:
        """n standard normals, float64, by Box and Muller's method: two uniforms give two normals.

        With an odd n the second one waits in the generator for the next call.
        """
        with self._lock:
            made: Any
            ready: list[float] = [] if self._spare_normal is None else [self._spare_normal]
            uniforms = self.doubles(max(0, n - len(ready) + 1) // 2 * 2)
            if n < 64:  # the C library one by one: for a few values quicker, and PyTorch's bits
                pairs = zip(uniforms[0::2].tolist(), uniforms[1::2].tolist(), strict=True)
                made = [z for u, v in pairs for z in box_muller(math, u, -v)]
            else:
                made = np.stack(box_muller(np, uniforms[0::2], -uniforms[1::2]), axis=1).ravel()
            normals = np.concatenate([ready, made])
            self._spare_normal = float(normals[n]) if normals.size > n else None
        return normals[:n]


def box_muller(m, u, v):
    """Two independent normals, from uniforms u in [0, 1) and 1 + v in (0, 1].

    In polar coordinates a pair of normals has a uniform angle, and half its squared radius is
    exponential. `m` is where the functions come from: math for numbers, numpy for arrays.
    """
    radius = m.sqrt(-2 * m.log1p(v))
    angle = 2 * math.pi * u
    return radius * m.cos(angle), radius * m.sin(angle)


def _restore(kind: type[Generator], state: np.ndarray) -> Generator:
    return kind().set_state(state)
