"""GradBucket: what a communication hook of DistributedDataParallel gets to see of a bucket.

A hook is called as `hook(state, bucket)` as soon as the bucket's gradients are complete, and
returns a Future of a flat tensor, as long as the bucket's, which becomes their new value.
Invariant: the gradients are this rank's own: unless the hook divides by the number of ranks, nobody
does.
PyTorch: GradBucket in torch/csrc/distributed/c10d/reducer.hpp.
"""

from typing import Any


class GradBucket:
    """Gradients that travel together. Mirrors torch.distributed.GradBucket."""

    def __init__(self, index: int, buffer: Any, parameters: list, is_last: bool) -> None:
        self._index = index
        self._buffer = buffer
        self._parameters = parameters
        self._is_last = is_last

    def index(self) -> int:
        """Its place in the order in which buckets are sent; the same on every rank."""
        return self._index

    def buffer(self) -> Any:
        """All its gradients one after the other: a tensor of one dimension."""
        return self._buffer

    def set_buffer(self, buffer: Any) -> None:
        """Let `buffer` and `gradients` speak of another tensor, of as many elements."""
        self._buffer = buffer

    def gradients(self) -> list:
        """The gradients in the shapes of `parameters()`: views of `buffer()`."""
        parts, start = [], 0
        for p in self._parameters:
            parts.append(self._buffer[start : start + p.numel()].view(p.shape))
            start += p.numel()
        return parts

    def parameters(self) -> list:
        """The parameters that these are the gradients of."""
        return list(self._parameters)

    def is_last(self) -> bool:
        """Whether no other bucket follows in this backward."""
        return self._is_last
