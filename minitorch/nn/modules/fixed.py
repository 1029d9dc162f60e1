"""Layers that are a function of nn.functional, with arguments fixed when the layer is made.

    class ELU(Fixed, function=F.elu, alpha=1.0, inplace=False):
        ...

is a whole layer: `nn.ELU(0.5)` has the attributes alpha and inplace, calls
`F.elu(input, alpha=alpha, inplace=inplace)`, and prints as ELU(alpha=0.5). The attributes may be
changed later: forward reads them again. PyTorch writes out each of these classes.
"""

from __future__ import annotations

import inspect

from .module import Module


class Fixed(Module):
    """A layer made of a function. A subclass gives it, and the layer's arguments, in their order.

    An argument without a default is given as `...`.
    """

    _function = None
    _signature = inspect.Signature()

    def __init_subclass__(cls, function=None, **arguments):
        if function is None:  # somebody's subclass of one of these layers
            return
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        cls._function = staticmethod(function)
        cls._signature = inspect.Signature(
            [
                inspect.Parameter(n, kind, default=inspect.Parameter.empty if v is ... else v)
                for n, v in arguments.items()
            ]
        )

    def __init__(self, *args, **kwargs):
        super().__init__()
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}{self._signature}: {error}") from None
        bound.apply_defaults()
        self._fix(**bound.arguments)

    def _fix(self, **arguments) -> None:
        """Keep the arguments as attributes. A subclass may change some of them before."""
        self._names = tuple(arguments)
        for name, value in arguments.items():
            setattr(self, name, value)

    def forward(self, *inputs):
        return self._function(*inputs, **{name: getattr(self, name) for name in self._names})

    def extra_repr(self) -> str:
        shown = [f"{n}={getattr(self, n)}" for n in self._names if n != "inplace"]
        return ", ".join(shown + ["inplace=True"] * getattr(self, "inplace", False))


class Silent(Fixed):
    """A layer that prints without its arguments."""

    def extra_repr(self) -> str:
        return ""
