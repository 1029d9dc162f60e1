"""Futures: values that are still on their way.

Why: what `work.get_future()` returns, so that a DDP communication hook can say what is to be done
with the result of a collective (`future.then(...)`) and hand on the result of that.
Invariant: a future is completed once, with a value or an error; its callbacks then run once each.

Who runs them? Where the program completes a future, `set_result` does. A future that comes from a
collective, and those made of it by `then`, are completed by whoever first asks for them, with
`wait()` or `done()`. So a callback runs in the program's own thread, at a place in its order: it
may start collectives and wait for them, and the ranks stay in step. (PyTorch runs it on a thread of
its pool at any moment, where two ranks may start their next collectives in different order.)

PyTorch: torch/futures/__init__.py, aten/src/ATen/core/ivalue_inl.h.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")

logger = logging.getLogger("minitorch")


class Future(Generic[T]):
    """A value that may not be there yet. Mirrors `torch.futures.Future`."""

    def __init__(self, *, devices: list | None = None) -> None:
        self._changed = threading.Condition()
        self._complete = False
        self._value: Any = None
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Future[T]], None]] = []
        self._parent: Future | None = None  # completing it completes this one

    def done(self) -> bool:
        """Whether there is a value or an error."""
        if self._parent is not None:
            self._parent.done()
        return self._complete

    def wait(self) -> T:
        """Return the value as soon as it is there. Raises the error if there is one instead."""
        self._bring()
        with self._changed:
            self._changed.wait_for(lambda: self._complete)
        return self.value()

    def value(self) -> T:
        """The value of a completed future. Raises its error; RuntimeError if it is not complete."""
        if not self._complete:
            raise RuntimeError("this future has no value yet: call wait()")
        if self._error is not None:
            raise self._error
        return self._value

    def set_result(self, result: T) -> None:
        """Complete it. Raises RuntimeError if it is complete already."""
        if not self._finish(result, None):
            raise RuntimeError("a Future can be completed only once")

    def set_exception(self, result: Exception) -> None:
        """Complete it with an error, which `wait` and `value` raise."""
        assert isinstance(result, Exception), f"{result} is of type {type(result)}, no Exception."
        if not self._finish(None, result):
            raise RuntimeError("a Future can be completed only once")

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """A future of `callback(self)`, which is called when this one is complete.

        What the callback raises becomes the new future's error, in a RuntimeError.
        """
        child: Future[S] = Future()
        child._parent = self

        def follow(parent: Future[T]) -> None:
            child._parent = None
            try:
                child.set_result(callback(parent))
            except Exception as error:
                wrapped = RuntimeError(
                    f"Got the following error when running the callback: "
                    f"{type(error).__name__}: {error}"
                )
                wrapped.__cause__ = error
                child.set_exception(wrapped)

        self.add_done_callback(follow)
        return child

    def add_done_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Call `callback(self)` when this is complete; now, if it is. Its errors are logged."""
        with self._changed:
            if not self._complete:
                self._callbacks.append(callback)
                return
        self._call(callback)

    def _bring(self) -> None:
        """Do what this thread can do to complete it."""
        if (parent := self._parent) is not None:
            parent._bring()

    def _finish(self, value: Any, error: Exception | None) -> bool:
        with self._changed:
            if self._complete:
                return False
            self._value, self._error, self._complete = value, error, True
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            self._call(callback)
        return True

    def _call(self, callback: Callable[[Future[T]], None]) -> None:
        try:
            callback(self)
        except Exception:
            logger.exception("a callback of a Future failed")


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """A future of the list itself, complete when all in it are. Mirrors
    `torch.futures.collect_all`."""
    collected = _All()
    collected._parents = list(futures)
    collected._missing = len(futures)
    for future in futures:
        future.add_done_callback(collected._one_less)
    if not futures:
        collected.set_result([])
    return collected


def wait_all(futures: list[Future]) -> list:
    """Wait for all and return their values; raises the first error. Mirrors
    `torch.futures.wait_all`."""
    return [future.wait() for future in collect_all(futures).wait()]


class _All(Future):
    _parents: list[Future]
    _missing: int

    def done(self) -> bool:
        return all([future.done() for future in self._parents])

    def _bring(self) -> None:
        for future in self._parents:
            future._bring()

    def _one_less(self, _: Future) -> None:
        with self._changed:
            self._missing -= 1
            last = not self._missing
        if last:
            self.set_result(self._parents)
