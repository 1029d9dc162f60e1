"""The .cu files beside the tests, each compiled once."""

import functools
from pathlib import Path

from minitorch.cuda import emulator


@functools.cache
def source_of(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


@functools.cache
def _module(name: str, templates: tuple[str, ...]):
    code = f'#line 1 "{name}"\n{source_of(name)}'
    return emulator.RawModule(code=code, name_expressions=templates)


def module_of(name: str, templates=()):
    """The file as a module, whose messages name it."""
    return _module(name, tuple(templates))
