"""Which derivative is wrong: from "something along this direction" to one element and a script.

A direction in which autograd and differences disagree is halved until one element of the input is
left, then the weights of the outputs until one output is. With n elements that takes 2 log2(n)
evaluations, and leaves two numbers that a person can compare.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import wrap
from . import reproduce
from .derivatives import Line, Problem, dot, name_of, only, reals, unreal


class GradientError(AssertionError):
    """A derivative is wrong: raised by check_gradients.

    `function` (its name), `order`, `input` (a name), `index` in it, `got`, `expected`, `kink`
    (whether there is one, and so no derivative), and `script`, which shows it again.
    """

    function: str
    order: int
    input: str
    index: tuple
    got: float
    expected: float
    kink: bool
    script: str

    def __init__(self, message: str, **facts: Any):
        super().__init__(message)
        self.__dict__.update(facts)


def failure(problem: Problem, line: Line, got: float, kink: bool, options: dict) -> GradientError:
    """The error for autograd's `got` along a line, where differences say something else."""
    variable, order = line.variable, line.order
    element, entry = _worst_element(problem, line)
    output, got_there, expected = _worst_output(problem, order, entry)
    notes = []
    if output is None:
        notes.append(
            "each output alone is right: is the derivative multiplied by the incoming gradient?"
        )
    if kink:
        notes.append(
            "there is a kink or a jump within the step, and so no derivative to compare with: "
            "choose another point, a smaller eps, or skip_kinks=True"
        )
    if not problem.repeats(order - 1):
        notes.append("the function gives different results when it is called again")
    leaf = variable.leaf.array
    of = "sum(random weights * outputs)" if output is None else _place(problem, order, output)
    facts = {
        "function": name_of(problem.f),
        "order": order,
        "input": variable.name,
        "index": _index(leaf, element),
        "got": got_there,
        "expected": expected,
        "kink": kink,
        "script": reproduce.script(problem.f, problem.inputs, problem.kwargs, options),
    }
    along = f"got {got:.10g}, expected {line.slope():.10g}"
    lines = [
        f"the derivative of {facts['function']} is wrong.",
        "",
        f"  function   {facts['function']}",
        f"  order      {order}",
        f"  input      {variable.name}: shape {tuple(leaf.shape)}{variable.note}",
        f"  index      {facts['index']}",
        f"  which is   d {of} / d {_label(variable.name, leaf, element)}",
        f"  got        {got_there:.10g}",
        f"  expected   {expected:.10g}   (central difference)",
        f"  direction  random (seed {options['seed']}): {along}",
        *[f"  note       {note}" for note in notes],
        "",
        "This script shows it again:",
        "",
        facts["script"],
    ]
    return GradientError("\n".join(lines), **facts)


def _worst_element(problem: Problem, line: Line):
    """The number of the element to blame, and `entry(weights)` -> (got, expected) for it."""
    variable, order = line.variable, line.order
    place = [v.name for v in problem.variables(order)].index(variable.name)
    gradient = problem.derivative(order)[place].array

    def wrong(start, stop):
        part = only(line.direction, start, stop)
        return abs(Line(problem, order, variable, part).slope() - dot(gradient, part))

    element = _halve(reals(gradient).size, wrong)
    step = only(line.direction, element, element + 1)
    size = reals(step)[element]
    rates = np.concatenate([reals(r) for r in Line(problem, order, variable, step).rates()]) / size

    def entry(weights) -> tuple[float, float]:
        found = problem.derivative(order, _split(weights, problem.weights[order - 1]))
        return float(reals(found[place].array)[element]), float(weights @ rates)

    return element, entry


def _worst_output(problem: Problem, order: int, entry):
    """(the number of the output to blame, got, expected); None for a number if no single one is."""
    weights = np.concatenate([reals(w.array) for w in problem.weights[order - 1]])

    def wrong(start, stop):
        got, expected = entry(only(weights, start, stop))
        return abs(got - expected)

    number = _halve(weights.size, wrong)
    alone = np.zeros_like(weights)
    alone[number] = 1
    got, expected = entry(alone)
    if np.isclose(got, expected, rtol=1e-5, atol=1e-8):
        return None, *entry(weights)
    return number, got, expected


def _halve(n: int, wrong) -> int:
    """The number from 0 to n - 1 that `wrong(start, stop)` leads to, halving each time."""
    start, stop = 0, n
    while stop - start > 1:
        middle = (start + stop) // 2
        left, right = wrong(start, middle), wrong(middle, stop)
        if left >= right or left != left:  # nan is more wrong than anything
            stop = middle
        else:
            start = middle
    return start


def _split(row, like: list) -> list:
    """The numbers in `row` as tensors like those of `like`."""
    parts = np.split(row, np.cumsum([reals(t.array).size for t in like])[:-1])
    return [wrap(unreal(part, t.array)) for part, t in zip(parts, like, strict=True)]


def _place(problem: Problem, order: int, number: int) -> str:
    """How the real number `number` among the values of F(order - 1) is called."""
    weights = problem.weights[order - 1]
    i = 0
    while number >= reals(weights[i].array).size:
        number -= reals(weights[i].array).size
        i += 1
    if order == 1:
        name = "output" if len(weights) == 1 else f"output {i}"
    else:
        power = "" if order == 2 else f"^{order - 1}"
        name = f"(d{power} output / d {problem.variables(order - 1)[i].name})"
    return _label(name, weights[i].array, number)


def _label(name: str, array, number: int) -> str:
    """name[index], with .real or .imag where a number is one of two parts."""
    index = _index(array, number)
    name += f"[{', '.join(map(str, index))}]" if index else ""
    return name + (("", ".real", ".imag")[1 + number % 2] if array.dtype.kind == "c" else "")


def _index(array, number: int) -> tuple:
    """The index of the element that the real number `number` of `array` belongs to."""
    if array.dtype.kind == "c":
        number //= 2
    return tuple(int(i) for i in np.unravel_index(number, array.shape))
