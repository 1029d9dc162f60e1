"""The collectives, each by the algorithm that suits the group and the size.

This is what process_group.py calls; algorithms that are made of others call it as well.
"""

from collections.abc import Callable

import numpy as np

from minitorch.distributed.algorithms.table import choose
from minitorch.distributed.link import Link, Steps


def all_reduce(link: Link, data: np.ndarray, combine: Callable) -> Steps:
    """Combine every rank's `data`, leaving the result in `data` on every rank."""
    return choose("all_reduce", link, data.nbytes)(link, data, combine)


def reduce_scatter(link: Link, blocks: list[np.ndarray], combine: Callable) -> Steps:
    """Combine every rank's N `blocks`, leaving the result of number r in rank r's `blocks[r]`.

    Blocks may differ in length. The other blocks are scratch, and hold nothing of use afterwards.
    """
    return choose("reduce_scatter", link, _nbytes(blocks))(link, blocks, combine)


def all_gather(link: Link, blocks: list[np.ndarray]) -> Steps:
    """Copy rank r's `blocks[r]` into everybody's. Blocks may differ in length."""
    return choose("all_gather", link, _nbytes(blocks))(link, blocks)


def broadcast(link: Link, data: np.ndarray, root: int) -> Steps:
    """Copy the root's `data` to every rank."""
    return choose("broadcast", link, data.nbytes)(link, data, root)


def reduce(link: Link, data: np.ndarray, combine: Callable, root: int) -> Steps:
    """Combine every rank's `data` into the root's; the others' stay as they are."""
    return choose("reduce", link, data.nbytes)(link, data, combine, root)


# In the next three, ranks may know different sizes; so the choice must not depend on them.


def all_to_all(link: Link, outputs: list[np.ndarray], inputs: list[np.ndarray]) -> Steps:
    """Copy `inputs[r]` to rank r, where it lands in `outputs` at this rank's number."""
    return choose("all_to_all", link, 0)(link, outputs, inputs)


def gather(link: Link, blocks: list[np.ndarray] | None, array: np.ndarray, root: int) -> Steps:
    """Copy rank r's `array` into `blocks[r]` of the root; on other ranks `blocks` is None."""
    return choose("gather", link, 0)(link, blocks, array, root)


def scatter(link: Link, array: np.ndarray, blocks: list[np.ndarray] | None, root: int) -> Steps:
    """Copy `blocks[r]` of the root into rank r's `array`; on other ranks `blocks` is None."""
    return choose("scatter", link, 0)(link, array, blocks, root)


def barrier(link: Link) -> Steps:
    """Return when every rank has called this."""
    return choose("barrier", link, 0)(link)


def _nbytes(blocks: list[np.ndarray]) -> int:
    return sum([block.nbytes for block in blocks])
