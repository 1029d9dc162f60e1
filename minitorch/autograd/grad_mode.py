"""Whether operations are recorded, and who watches. PyTorch: torch/autograd/grad_mode.py.

The switches belong to the thread, as in PyTorch: a data thread under `no_grad` leaves the others
be.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from .. import tensor as tensors
from ..tensor import Storage


class _Mode(threading.local):
    enabled = True  # operations are recorded
    inference = False  # what is made now will never take part in autograd
    watchers: tuple[Watcher, ...] = ()  # outermost first


mode = _Mode()
watching = 0  # how many watchers there are in all threads: a look at it costs next to nothing
_lock = threading.Lock()  # for what all threads count together


class Watcher:
    """Sees the nodes that this thread records and runs while it is in `mode.watchers`.

    The one place where other things hook into recording and into backward: packing of saved
    tensors (saved.py), anomaly mode (anomaly.py), pictures of the graph. A `with` block puts it
    there and takes it away again.
    """

    def recorded(self, node) -> None:
        """`node` has just been recorded: its edges and what it saves are set."""

    def run(self, node, grad, call: Callable[[], list]) -> list:
        """`node`'s turn in backward, with gradient `grad`: return call(), or something else."""
        return call()

    def __enter__(self):
        set_watchers((*mode.watchers, self))
        return self

    def __exit__(self, *exception) -> None:
        others = list(mode.watchers)
        del others[-1 - others[::-1].index(self)]  # the innermost, if it was entered twice
        set_watchers(tuple(others))


def set_watchers(watchers: tuple[Watcher, ...]) -> None:
    """Put these in the place of this thread's watchers."""
    global watching
    with _lock:
        watching += len(watchers) - len(mode.watchers)
    mode.watchers = watchers


def announce(node) -> None:
    """Tell this thread's watchers, the innermost first, that `node` has been recorded."""
    for watcher in reversed(mode.watchers):
        watcher.recorded(node)


class announced_later:
    """Holds announcements back until the block ends.

    For changes in place: when the operation is recorded, the memory has not got its new values yet,
    and the node does not save yet what it is going to save.
    """

    def __enter__(self):
        self.watchers, self.nodes = mode.watchers, []
        if self.watchers:
            collector: Any = Watcher()
            collector.recorded = self.nodes.append
            set_watchers((collector,))

    def __exit__(self, *exception) -> None:
        if self.watchers:
            set_watchers(self.watchers)
            for node in self.nodes:
                announce(node)


def is_grad_enabled() -> bool:
    """Whether operations on this thread are being recorded. Mirrors torch.is_grad_enabled."""
    return mode.enabled


class _Switch:
    """Sets the mode for a `with` block or a decorated function, and puts it back afterwards."""

    def __init__(self, enabled: bool):
        self.enabled = enabled
        self.previous: list = []  # a list, for one switch may be entered again inside itself

    def again(self) -> _Switch:
        """Another such switch: one for each call of a function, for threads may call at once."""
        return _Switch(self.enabled)

    def __enter__(self):
        self.previous.append(mode.enabled)
        mode.enabled = self.enabled and not mode.inference

    def __exit__(self, *exception):
        mode.enabled = self.previous.pop()

    def __call__(self, function):
        again = self.again
        if inspect.isgeneratorfunction(function):
            return _generator(again, function)

        @functools.wraps(function)
        def run(*args, **kwargs):
            with again():
                return function(*args, **kwargs)

        return run


def _generator(switch: Callable[[], _Switch], function):
    """A generator function that runs in the given mode, but leaves its caller's mode alone."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        inner = function(*args, **kwargs)
        resume = functools.partial(next, inner)
        while True:
            try:
                with switch():
                    value = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = functools.partial(inner.send, (yield value))
            except BaseException as error:  # throw() and close() go on to the inner one
                resume = functools.partial(inner.throw, error)

    return run


class no_grad(_Switch):
    """Nothing inside is recorded. Context manager and decorator. Mirrors torch.no_grad."""

    def __init__(self, function=None):
        super().__init__(False)
        self.function = function  # `@no_grad` without parentheses works as well

    def __new__(cls, function=None):
        return super().__new__(cls) if function is None else cls()(function)


class enable_grad(no_grad):
    """Everything inside is recorded, also within `no_grad`. Mirrors torch.enable_grad."""

    def __init__(self, function=None):
        super().__init__(function)
        self.enabled = True


class set_grad_enabled(_Switch):
    """Sets the mode at once; as a context manager, puts it back at the end.

    Mirrors torch.set_grad_enabled.
    """

    def __init__(self, mode_enabled: bool):
        super().__init__(bool(mode_enabled))
        self.outer: bool | None = mode.enabled
        mode.enabled = self.enabled and not mode.inference

    def __call__(self, function):
        if self.outer is not None:  # as a decorator it must not act before the function is called
            mode.enabled, self.outer = self.outer, None
        return super().__call__(function)

    def __enter__(self):
        self.previous.append(mode.enabled if self.outer is None else self.outer)
        mode.enabled, self.outer = self.enabled and not mode.inference, None


class set_multithreading_enabled(contextlib.nullcontext):
    """Accepted, and without effect: backward runs on the thread that calls it.

    Mirrors torch.autograd.grad_mode.set_multithreading_enabled.
    """


# Inference mode: no_grad whose tensors may never come back into autograd. What belongs to the
# memory is kept where the memory is: in the storage. So a view of an inference tensor is one too,
# and a view of a normal tensor, even one taken in inference mode, is not.


class InferenceStorage(Storage):
    """The storage of what was made in inference mode. It counts no versions.

    So whoever wants to save it for backward, which asks for the version, is told off here.
    """

    inference = True

    def _version(self) -> int:
        if mode.inference:
            return 0
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
            "inference mode in computation tracked by autograd. To work around this, you can make "
            "a clone to get a normal tensor and use it in autograd, or use `torch.no_grad()` "
            "instead of `torch.inference_mode()`."
        )

    version: Any = property(_version, lambda self, count: None)


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in inference mode. Mirrors torch.is_inference_mode_enabled."""
    return mode.inference


def check_not_inference(tensor) -> None:
    """Raise PyTorch's error for an inference tensor that is to be changed in normal mode."""
    if tensor._storage.inference and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make "
            "a clone to get a normal tensor before doing inplace update."
        )


class inference_mode(_Switch):
    """Like no_grad, and what is made inside can never be used where gradients are recorded.

    Context manager and decorator; inference_mode(False) is the normal mode again, with gradients.
    Here it costs as much as no_grad. Mirrors torch.inference_mode.
    """

    def __init__(self, mode: bool = True):
        super().__init__(not mode)

    def __new__(cls, mode=True):
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def again(self) -> _Switch:
        return inference_mode(not self.enabled)

    def __enter__(self):
        self.previous.append((mode.enabled, mode.inference))
        _count_inference_blocks(1)
        mode.enabled, mode.inference = self.enabled, not self.enabled

    def __exit__(self, *exception):
        mode.enabled, mode.inference = self.previous.pop()
        _count_inference_blocks(-1)


_blocks = 0


def _count_inference_blocks(change: int) -> None:
    """Only while some thread is in such a block does a new tensor ask which storage it gets."""
    global _blocks
    with _lock:
        _blocks += change
        tensors.new_storage = _storage_of_this_thread if _blocks else Storage


def _storage_of_this_thread() -> Storage:
    return InferenceStorage() if mode.inference else Storage()
