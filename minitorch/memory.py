"""Memory that has been freed is kept for the next array, instead of going back to the system.

Why: a training step frees and allocates the same few megabytes again and again. glibc gives a large
block back at once, so that each new array is mapped, and zeroed by the system page by page while
it is first written: a third of the time of a small network's step.
PyTorch: c10/core/impl/alloc_cpu.cpp leaves it to the allocator that is linked in.
"""

import numpy as np


def keep_freed_memory() -> None:
    """Let malloc keep blocks of up to 32 MiB.

    glibc maps large blocks one by one, and raises the size from which it does so to that of the
    largest such block (up to 32 MiB) that was ever freed. So freeing one, never touched, is enough.
    Other allocators are left as they are.
    """
    np.empty((32 << 20) - (1 << 16), np.uint8)
