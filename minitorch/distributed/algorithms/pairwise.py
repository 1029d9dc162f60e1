"""Pairwise all-to-all: everybody has a different block for everybody."""

import numpy as np

from minitorch.distributed.algorithms.pieces import copy, exchange
from minitorch.distributed.algorithms.table import algorithm
from minitorch.distributed.link import Link, Steps


@algorithm("all_to_all", "pairwise", cost=lambda t, n: (t.N - 1) * t.far(n / t.N))
def all_to_all(link: Link, outputs: list[np.ndarray], inputs: list[np.ndarray]) -> Steps:
    """Send `inputs[r]` to each rank r, and receive `outputs[r]` from it; sizes may all differ.

    In round k each rank sends to the one k to its right and receives from the one k to its left, so
    each sends one block and receives one. With four ranks:

        round   rank 0 sends to   rank 1   rank 2   rank 3
        1       1                 2        3        0
        2       2                 3        0        1
        3       3                 0        1        2
    """
    rank, size = link.rank, link.size
    copy(outputs[rank], inputs[rank])
    for k in range(1, size):
        right, left = (rank + k) % size, (rank - k) % size
        yield from exchange(link, right, inputs[right], left, outputs[left])
