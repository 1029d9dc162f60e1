"""e to the power of an array, by the quicker of NumPy's two ways.

For float32 np.exp2 takes half the time of np.exp where NumPy has Intel's AVX-512 routines, and
exp(x) is exp2(x * log2(e)). The product is rounded once more: that costs a relative error of 1e-7
for each unit of |x|. Where x is a difference, as in softmax, its own rounding has cost as much, and
what is far below the maximum adds next to nothing to a sum: so it is for those, not for exp itself.
"""

from __future__ import annotations

import functools
import math

import numpy as np

LOG2_E = math.log2(math.e)

FEW = 4096
"""Elements below which one call is quicker than two."""


def exp(x: np.ndarray, out: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """out = exp(factor * x), which may be x itself; returns it."""
    if x.size > FEW and x.dtype == np.float32 and _exp2_is_quicker():
        np.multiply(x, factor * LOG2_E, out=out)
        return np.exp2(out, out=out)
    if factor != 1:
        x = np.multiply(x, factor, out=out)
    return np.exp(x, out=out)


@functools.cache
def _exp2_is_quicker() -> bool:
    """Whether NumPy has routines of its best kind for both; on older processors exp alone has."""
    found = np.lib.introspect.opt_func_info("^(exp|exp2)$", "float32")
    ways = [found[name]["ff"]["current"] for name in ("exp", "exp2") if name in found]
    return len(ways) == 2 and ways[0] == ways[1] and not ways[0].startswith("baseline")
