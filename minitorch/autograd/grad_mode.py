"""Whether operations are recorded. PyTorch: torch/autograd/grad_mode.py.

The switch belongs to the thread, as in PyTorch: a data thread under `no_grad` leaves the others be.
"""

import functools
import inspect
import threading


class _Mode(threading.local):
    enabled = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations on this thread are being recorded. Mirrors torch.is_grad_enabled."""
    return mode.enabled


class _Switch:
    """Sets the mode for a `with` block or a decorated function, and puts it back afterwards."""

    def __init__(self, enabled: bool):
        self.enabled = enabled
        self.previous: list[bool] = []  # a list, for one switch may be entered again inside itself

    def __enter__(self):
        self.previous.append(mode.enabled)
        mode.enabled = self.enabled

    def __exit__(self, *exception):
        mode.enabled = self.previous.pop()

    def __call__(self, function):
        enabled = self.enabled
        if inspect.isgeneratorfunction(function):
            return _generator(enabled, function)

        @functools.wraps(function)
        def run(*args, **kwargs):
            with _Switch(enabled):  # one for each call: threads may call at the same time
                return function(*args, **kwargs)

        return run


def _generator(enabled: bool, function):
    """A generator function that runs in the given mode, but leaves its caller's mode alone."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        inner = function(*args, **kwargs)
        resume = functools.partial(next, inner)
        while True:
            try:
                with _Switch(enabled):
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
        mode.enabled = self.enabled

    def __call__(self, function):
        if self.outer is not None:  # as a decorator it must not act before the function is called
            mode.enabled, self.outer = self.outer, None
        return super().__call__(function)

    def __enter__(self):
        self.previous.append(mode.enabled if self.outer is None else self.outer)
        mode.enabled, self.outer = self.enabled, None
