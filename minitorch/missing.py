"""What PyTorch has and minitorch leaves out: asking for it is an error that says so.

`left_out.txt` has a line for each module of PyTorch: its name, a colon, and the public names that
are not here. It is generated (`python -m tests.opinfo --write`), like the list for people in
docs/compatibility.md. Invariant: nobody pays for this but who asks for such a name. Modules answer
through their `__getattr__`, which Python calls only for what it has not found. A class with a
`__getattr__` takes twice as long to find any attribute, so Tensor has a `LeftOut` for each name.
And `from minitorch import jit`, which would make a bare ImportError of that answer, first looks for
a module minitorch.jit: `LeftOutFinder`, the last to be asked for one, answers. PyTorch has no
counterpart.
"""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


@functools.cache
def left_out() -> dict[str, frozenset[str]]:
    """{"torch.linalg": names that are not in minitorch.linalg}"""
    lines = Path(__file__).with_name("left_out.txt").read_text().splitlines()
    pairs = [line.split(":") for line in lines]
    return {module: frozenset(names.split()) for module, names in pairs}


def getattr_for(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of `module`, for the names that it does not have."""
    theirs = module.replace("minitorch", "torch", 1)

    def __getattr__(name: str) -> Any:
        if name in left_out().get(theirs, ()):
            raise AttributeError(_message(f"{theirs}.{name}"))
        near = [] if name[0] == "_" else difflib.get_close_matches(name, dir(sys.modules[module]))
        guess = f". Did you mean: '{near[0]}'?" if near else ""
        raise AttributeError(f"module '{module}' has no attribute '{name}'{guess}")

    return __getattr__


class LeftOut:
    """Stands in a class for a name that PyTorch's class has. hasattr() does not see it."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __get__(self, instance, owner):
        raise AttributeError(_message(f"torch.Tensor.{self.name}"))


class LeftOutFinder:
    """Finds no module, but says of those, and of other names, that they are left out."""

    @staticmethod
    def find_spec(fullname: str, path=None, target=None) -> None:
        package, _, name = fullname.rpartition(".")
        theirs = package.replace("minitorch", "torch", 1)
        if package.startswith("minitorch") and name in left_out().get(theirs, ()):
            # Python passes over this error if its name is that of the module it looks for.
            raise ModuleNotFoundError(_message(f"{theirs}.{name}"), name=f"{theirs}.{name}")


def explain(tensor_class: Any) -> None:
    """Have the modules that are loaded, and `tensor_class`, say what is left out of them."""
    sys.meta_path.append(LeftOutFinder)
    for theirs in left_out():
        module = sys.modules.get(theirs.replace("torch", "minitorch", 1))
        if module is not None and "__getattr__" not in vars(module):
            vars(module)["__getattr__"] = getattr_for(module.__name__)
        if module is not None:
            vars(module).setdefault("__path__", [])  # only in packages does Python look for modules
    for name in left_out().get("torch.Tensor", ()):
        if not hasattr(tensor_class, name):
            setattr(tensor_class, name, LeftOut(name))
    tensor_class.__dir__ = _dir


def _dir(self) -> list[str]:
    """What there is, for the completion of names."""
    absent = left_out().get("torch.Tensor", ())
    return [name for name in object.__dir__(self) if name not in absent or hasattr(self, name)]


def _message(name: str) -> str:
    return (
        f"minitorch has no `{name}`: PyTorch has it, minitorch leaves it out "
        "(docs/compatibility.md lists what is left out)"
    )
