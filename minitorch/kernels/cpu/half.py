"""float32 to float16, by float32's own rounding.

Why: NumPy converts one number after the other, and where the result is a subnormal number, below
6.1e-5 as most gradients are, it also sets a flag of the processor each time: 70 ns an element,
where a few whole loops over the bits take 2. The result is astype's, bit for bit.

How: a float32 has 23 bits behind its leading 1, a float16 has 10. So add 2^(e+13) to a number of
[2^e, 2^(e+1)): the last place of the sum is 2^(e-10), and the processor has rounded to it, to even
in a tie. Below 2^-14 the last place of a float16 is 2^-24 whatever the number, so there e stays at
-14. The sum has e + 13 in its exponent, and at the very end of its bits the float16's mantissa,
with the leading 1. Moved next to each other and added up, they are the float16.
PyTorch: the instruction vcvtps2ph, in aten/src/ATen/cpu/vec/.
"""

import numpy as np

from .blocking import GRAIN, blocks
from .threads import parallel_for

BLOCK = 1 << 15  # whose two buffers stay in the L2 cache
FEW = 1 << 12  # elements up to which NumPy's one call is quicker
ROUNDS_TO_INF = 65520


def astype(array, kind):
    """array.astype(kind): quicker from float32 to float16, whatever the values."""
    on_cpu = type(array) is np.ndarray and array.flags.c_contiguous and array.size > FEW
    if not (on_cpu and kind == np.float16 and array.dtype == np.float32):
        return array.astype(kind)
    out = np.empty(array.shape, np.float16)
    source, target = array.reshape(-1), out.reshape(-1)

    def work(start, stop):
        buffers = np.empty((2, BLOCK), np.uint32)
        for block in blocks(start, stop, BLOCK):
            _narrow(source[block], target[block], buffers)

    parallel_for(array.size, work, GRAIN)
    return out


def _narrow(x, out, buffers) -> None:
    bits, (total, power) = x.view(np.uint32), buffers[:, : len(x)]
    absolute = np.abs(x, out=total.view(np.float32))
    if not absolute.max() < ROUNDS_TO_INF:  # inf and nan as well: few blocks have any
        out[...] = x
        return
    np.bitwise_and(bits, 0xFF << 23, out=power)  # 2^e, as a float32: its exponent is e + 127
    np.maximum(power, (127 - 14) << 23, out=power)
    power += 13 << 23
    absolute += power.view(np.float32)  # and so is `total`
    np.right_shift(total, 13, out=power)  # e + 127 + 13, just above the mantissa
    power += total
    # From 127 + 13 to float16's 15; the mantissa's leading 1 has added another 1. Bits above the
    # 15th are of no concern.
    power -= (127 + 13 - 15 + 1) << 10
    np.right_shift(bits, 16, out=total)
    total &= 1 << 15  # the sign
    power ^= total
    out.view(np.uint16)[...] = power
