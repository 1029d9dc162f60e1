"""The errors of this package, under PyTorch's names, and how they name ranks.

All of them are RuntimeErrors, so a script that catches RuntimeError around a collective keeps
working. PyTorch: torch/csrc/Exceptions.h, seen as `torch.distributed.Dist*Error`.
"""

from collections.abc import Iterable


class DistError(RuntimeError):
    """Something went wrong between the ranks; the base of the others."""


class DistBackendError(DistError):
    """A collective failed: the ranks disagree about it, one came too late, or one gave up."""


class DistNetworkError(DistError):
    """A rank could not be reached: it died, left, or never answered."""


class DistStoreError(DistError):
    """The store failed, or a key did not appear in time."""


class QueueEmptyError(DistStoreError):
    """`queue_pop(key, block=False)` found nothing."""


def name_ranks(ranks: Iterable[int]) -> str:
    """`rank 3`, or `ranks 1, 3`."""
    names = [str(rank) for rank in sorted(ranks)]
    return ("rank " if len(names) == 1 else "ranks ") + ", ".join(names)
