"""A script of a few lines that calls check_gradients again, as it was called when it failed.

Why: what failed may be one of a thousand random examples, deep inside of a test. `Script` turns
values into Python: what can be imported is imported; functions and classes that cannot (lambdas,
those made inside of a function, those of the program itself) are quoted from their source, together
with what they use; small tensors are written out, everything else is pickled into a file.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import pickle
import sys
import tempfile
import textwrap
import types
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..nn.modules.module import Module
from ..tensor import Size, Tensor

WRITTEN_OUT = 100  # elements; larger tensors go into a file

DEFAULTS = {
    "directions": 2,
    "eps": 1e-6,
    "rtol": 1e-6,
    "atol": 1e-8,
    "skip_kinks": False,
    "seed": 0,
}


def script(f, inputs: tuple, kwargs: dict, options: dict) -> str:
    """The program that calls check_gradients(f, *inputs, kwargs=kwargs, **options)."""
    made = Script()
    called = [made.name(f, "f"), *[made.expression(value) for value in inputs]]
    if kwargs:
        called.append(f"kwargs={made.expression(kwargs)}")
    called += [f"{k}={v!r}" for k, v in options.items() if k not in DEFAULTS or v != DEFAULTS[k]]
    return made.text(f"check_gradients({', '.join(called)})")


class Script:
    """Imports and definitions, and expressions that rely on them."""

    def __init__(self):
        self.imports: dict[str, None] = {  # a dict is an ordered set
            "import minitorch as torch": None,
            "from minitorch.testing import check_gradients": None,
        }
        self.paths: dict[str, None] = {}
        self.definitions: list[str] = []
        self.defined: dict[str, Any] = {}  # name -> value, of what the script defines

    def text(self, call: str) -> str:
        imports = list(self.imports)
        if self.paths:
            imports = ["import sys"] + [f"sys.path.insert(0, {p!r})" for p in self.paths] + imports
        return "\n".join([*imports, "", *self.definitions, call])

    def expression(self, value) -> str:
        """Python that makes `value`."""
        if isinstance(value, Tensor):
            return written_out(value) or self.pickled(value)
        if isinstance(value, float) and not np.isfinite(value):
            return f'float("{value}")'
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return repr(value)
        if isinstance(value, (dtypes.dtype, devices.device, Size)):
            text = repr(value)  # of a dtype or Size it begins with torch. already
            return "torch." + text if isinstance(value, devices.device) else text
        if type(value) in (list, tuple):
            inside = ", ".join(self.expression(v) for v in value)
            if isinstance(value, list):
                return f"[{inside}]"
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        if type(value) is dict:
            pairs = [f"{self.expression(k)}: {self.expression(v)}" for k, v in value.items()]
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, partial):
            self.imports["from functools import partial"] = None
            parts = [self.expression(v) for v in (value.func, *value.args)]
            parts += [f"{k}={self.expression(v)}" for k, v in value.keywords.items()]
            return f"partial({', '.join(parts)})"
        if inspect.ismethod(value):
            return f"{self.expression(value.__self__)}.{value.__name__}"
        if isinstance(value, type) or inspect.isfunction(value):
            return self.name(value, "f")
        return self.pickled(value)

    def name(self, value, name: str) -> str:
        """A name or a dotted path that means `value` in the script."""
        imported = self.imported(value)
        if imported:
            return imported
        if inspect.isfunction(value) or isinstance(value, type):
            for known, one in self.defined.items():
                if one is value:
                    return known
            name = name if value.__name__ == "<lambda>" else value.__name__
            while name in self.defined:
                name += "_"
            self.defined[name] = value
            self.definitions.append(self.source(value, name))
            return name
        return self.expression(value)

    def imported(self, value) -> str | None:
        """How to import `value`, None if it cannot be."""
        import minitorch

        name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", None)
        if name.isidentifier() and getattr(minitorch, name, None) is value:
            return f"torch.{name}"
        if not module or module == "__main__" or _found(module, name) is not value:
            return None
        root = name.partition(".")[0]
        self.imports[f"from {module} import {root}"] = None
        file = getattr(sys.modules[module], "__file__", None)
        known = {"minitorch", *sys.stdlib_module_names}
        if file and module.partition(".")[0] not in known and "site-packages" not in file:
            depth = module.count(".") + (Path(file).name == "__init__.py")
            self.paths[str(Path(file).resolve().parents[depth])] = None
        return name

    def source(self, value, name: str) -> str:
        """The definition of a function or class, after the definitions of what it uses."""
        try:
            code = _lambda(value) if value.__name__ == "<lambda>" else _dedented(value)
        except (OSError, TypeError, SyntaxError):
            return f"{name} = ...  # its source is not to be found: put it here"
        for used, meaning in _used(code, value).items():
            self.define(used, meaning)
        return f"{name} = {code}" if value.__name__ == "<lambda>" else code

    def define(self, name: str, value) -> None:
        """Have `name` mean `value` in the script."""
        if name in self.defined:
            return
        if isinstance(value, types.ModuleType):
            alias = "" if value.__name__ == name else f" as {name}"
            self.imports[f"import {value.__name__}{alias}"] = None
            return
        meant = self.name(value, name)
        if meant != name:
            self.defined[name] = value
            self.definitions.append(f"{name} = {meant}")

    def pickled(self, value) -> str:
        """An expression that reads `value` from a file, which is written now."""
        for part in value.modules() if isinstance(value, Module) else ():
            self.name(type(part), type(part).__name__)  # unpickling looks for the class by name
        try:
            data = pickle.dumps(value)
        except Exception:  # whatever the object's own __reduce__ may raise
            name = f"missing{len(self.definitions)}"
            self.definitions.append(f"{name} = ...  # put your {type(value).__name__} here")
            return name
        digest = hashlib.sha1(data).hexdigest()[:12]  # the same value goes into the same file
        file = Path(tempfile.gettempdir()) / f"minitorch-{digest}.pickle"
        file.write_bytes(data)
        self.imports["import pickle"] = None
        return f'pickle.load(open("{file.as_posix()}", "rb"))'


def written_out(tensor: Tensor) -> str | None:
    """torch.tensor(...), with the strides if they are not the usual ones; None if that is long."""
    array, strides = tensor.array, tensor.stride()
    values, rest = array, ""
    if not array.flags.c_contiguous and all(step >= 0 for step in strides):
        span = 1 + sum((n - 1) * step for n, step in zip(array.shape, strides, strict=True))
        values = np.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,))
        rest = f".as_strided({tuple(array.shape)}, {strides})"
    if values.size > WRITTEN_OUT:
        return None
    rest += ".requires_grad_()" if tensor.requires_grad else ""
    if not values.size:
        return f"torch.empty({tuple(array.shape)}, dtype={tensor.dtype}){rest}"
    return f"torch.tensor({_numbers(values.tolist())}, dtype={tensor.dtype}){rest}"


def _numbers(value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_numbers, value))}]"
    if isinstance(value, float) and not np.isfinite(value):
        return f"torch.{value}".replace("torch.-", "-torch.")
    return repr(value)


def _found(module: str, name: str):
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _dedented(value) -> str:
    return textwrap.dedent(inspect.getsource(value)).rstrip() + "\n"


def _lambda(f) -> str:
    """The source of a lambda: the one on its line that compiles to the same code."""
    lines, _ = inspect.findsource(f)
    source = "".join(lines)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Lambda) and node.lineno == f.__code__.co_firstlineno:
            text = ast.get_source_segment(source, node) or ""
            # Inside of a function that has the variables of its closure, as in the source.
            program = f"def outer({', '.join(f.__code__.co_freevars)}):\n return ({text})"
            (outer,) = _codes(compile(program, "", "exec"))
            if any(_essence(code) == _essence(f.__code__) for code in _codes(outer)):
                return " ".join(text.split())
    raise OSError("no such lambda")


def _codes(code) -> list:
    return [c for c in code.co_consts if isinstance(c, types.CodeType)]


def _essence(code) -> tuple:
    constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    return code.co_code, code.co_names, code.co_varnames, constants


def _used(code: str, value) -> dict[str, Any]:
    """What the names mean that the source of `value` uses, and that it does not define itself."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    own = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)} | {value.__name__}
    meanings = dict(vars(sys.modules[value.__module__])) if value.__module__ in sys.modules else {}
    functions = vars(value).values() if isinstance(value, type) else [value]
    for function in functions:
        function = getattr(function, "__func__", function)
        if inspect.isfunction(function):
            meanings.update(function.__globals__)
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            meanings.update({name: cell.cell_contents for name, cell in cells})
    used = [name for name in dict.fromkeys(names) if name in meanings and name not in own]
    return {name: meanings[name] for name in used}
