"""What a backend must offer: a ProcessGroup of some ranks, whose calls return a Work.

The functions that a script calls (collectives.py and its neighbours) speak of tensors and global
ranks. They check their arguments and translate; what remains is this small interface. A backend
works on NumPy arrays in place, counts ranks within the group, and starts every call at once.
`ZmqProcessGroup` (process_group.py) is ours.

Invariant: a backend may rely on its arguments: the lists have one array for each rank, all arrays
have one dtype, the reduction fits it, and sizes match as far as one rank can know.

PyTorch: torch/csrc/distributed/c10d/{ProcessGroup,Backend,Work}.hpp.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from minitorch.distributed.reduce_op import ReduceOp
from minitorch.futures import Future


class Work(ABC):
    """A collective, send or receive that is under way. Mirrors `torch.distributed.Work`."""

    _result: Any = ()

    @abstractmethod
    def wait(self, timeout: timedelta | None = None) -> bool:
        """Return True once it is done and its arrays may be read and overwritten.

        Raises the error with which it failed. When `timeout` passes first, it fails.
        """

    @abstractmethod
    def is_completed(self) -> bool:
        """Whether it is over, well or badly."""

    @abstractmethod
    def exception(self) -> Exception | None:
        """The error with which it failed, or None."""

    def is_success(self) -> bool:
        """Whether it is over and did not fail."""
        return self.is_completed() and self.exception() is None

    def synchronize(self) -> None:
        """The same as `wait`."""
        self.wait()

    def result(self) -> list:
        """The tensors that it fills."""
        return list(self._result)

    def get_future(self) -> Future:
        """A Future of `result()`; futures.py says when its callbacks run."""
        return _WorkFuture(self)

    def source_rank(self) -> int:
        """The group rank from which a receive got its message."""
        raise RuntimeError("source_rank() is only known for a recv")


class _WorkFuture(Future):
    """Completed by whoever asks for it once the work is done."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def done(self) -> bool:
        if self._work.is_completed():
            self._bring()
        return self._complete

    def _bring(self) -> None:
        error = None
        try:
            self._work.wait()
        except Exception as raised:
            error = raised
        self._finish(self._work.result(), error)


class ProcessGroup(ABC):
    """Some ranks, and the collectives between them. Mirrors `torch.distributed.ProcessGroup`.

    `ranks` are the members' global ranks; a member's place in this list is its group rank. Arrays
    may have any strides. With `async_op` a call goes on in the background; without, `wait` may do
    the work.
    """

    group_name = "0"
    group_desc = "undefined"
    backend_name = ""

    def __init__(self, ranks: list[int], global_rank: int, timeout: float) -> None:
        self.ranks = ranks
        self.timeout = timeout  # in seconds
        self._rank = ranks.index(global_rank)

    def rank(self) -> int:
        """This process's rank in the group."""
        return self._rank

    def size(self) -> int:
        """The number of ranks in the group."""
        return len(self.ranks)

    def name(self) -> str:
        """The backend's name."""
        return self.backend_name

    def set_timeout(self, timeout: timedelta) -> None:
        """The time after which a later collective fails."""
        self.timeout = timeout.total_seconds()

    @classmethod
    @abstractmethod
    def connect(cls, store: Any, rank: int, size: int, timeout: float) -> "ProcessGroup":
        """The group of all ranks, which meet through `store`."""

    @abstractmethod
    def new_group(self, ranks: list[int], number: int, timeout: float) -> "ProcessGroup | None":
        """A group of some of these ranks; None on those that are no members.

        All ranks of this group call it, with the same `number`, which no other group has; below
        zero, the members alone do.
        """

    @abstractmethod
    def destroy(self) -> None:
        """Leave the group. The default group also closes the connections."""

    @abstractmethod
    def all_reduce(self, array: np.ndarray, op: ReduceOp, async_op: bool = False) -> Work:
        """Combine `array` over the ranks, in place, with the same bits on each."""

    @abstractmethod
    def reduce(self, array: np.ndarray, root: int, op: ReduceOp, async_op: bool = False) -> Work:
        """Combine `array` over the ranks into the root's; the others' stay as they are."""

    @abstractmethod
    def reduce_scatter(
        self,
        output: np.ndarray,
        inputs: Sequence[np.ndarray],
        op: ReduceOp,
        async_op: bool = False,
    ) -> Work:
        """Combine every rank's `inputs[i]` into the `output` of rank i."""

    @abstractmethod
    def broadcast(self, array: np.ndarray, root: int, async_op: bool = False) -> Work:
        """Copy the root's `array` into every rank's."""

    @abstractmethod
    def all_gather(
        self, outputs: Sequence[np.ndarray], array: np.ndarray, async_op: bool = False
    ) -> Work:
        """Copy rank i's `array` into `outputs[i]` on every rank. Sizes may differ."""

    @abstractmethod
    def all_to_all(
        self, outputs: Sequence[np.ndarray], inputs: Sequence[np.ndarray], async_op: bool = False
    ) -> Work:
        """Copy `inputs[j]` of rank i into `outputs[i]` of rank j. Sizes may differ."""

    @abstractmethod
    def gather(
        self,
        outputs: Sequence[np.ndarray] | None,
        array: np.ndarray,
        root: int,
        async_op: bool = False,
    ) -> Work:
        """Copy rank i's `array` into `outputs[i]` on the root; elsewhere `outputs` is None."""

    @abstractmethod
    def scatter(
        self,
        array: np.ndarray,
        inputs: Sequence[np.ndarray] | None,
        root: int,
        async_op: bool = False,
    ) -> Work:
        """Copy the root's `inputs[i]` into `array` on rank i; elsewhere `inputs` is None."""

    @abstractmethod
    def barrier(self, async_op: bool = False) -> Work:
        """Done when every rank has called it."""

    @abstractmethod
    def send(self, array: np.ndarray, destination: int, tag: int, async_op: bool = False) -> Work:
        """Send to one rank."""

    @abstractmethod
    def recv(self, array: np.ndarray, source: int, tag: int, async_op: bool = False) -> Work:
        """Receive from one rank, or from whichever sends first (link.ANY)."""
