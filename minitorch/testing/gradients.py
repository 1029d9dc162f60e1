"""check_gradients: derivatives of every order against differences, made for property tests.

The idea: F0 is f, weighted with a random vector w0; its gradient F1 is a function again (of the
inputs, and of w0), which is weighted with a random w1, and so on. Step k moves one input along a
random direction d, and compares the change of <w, F(k-1)> with <Fk, d>, which is what autograd
says. That costs a few evaluations of f, however large the inputs are. Only when the two disagree is
the element looked for (blame.py).
Invariant: the caller's tensors, modules and random numbers are left as they were.
PyTorch: nothing like it; torch/autograd/gradcheck.py is the nearest.
"""

from __future__ import annotations

import numpy as np

from .blame import failure
from .derivatives import Line, Problem, dot, random_like, reals


def check_gradients(
    f,
    *inputs,
    kwargs=None,
    order=2,
    directions=2,
    eps=1e-6,
    rtol=1e-6,
    atol=1e-8,
    skip_kinks=False,
    seed=0,
) -> None:
    """Raises GradientError unless autograd's derivatives of `f` at `inputs` are right.

    f: a function of `inputs` and of the keyword arguments `kwargs`, or a Module, whose parameters
    are checked as well, by name. Both may be nested; what f returns may be, too. Checked are the
    tensors that require grad, or if none does, all floating ones; the others are constants.
    Everything is computed in float64 (complex128), at copies with the same layout in memory.
    `order`: up to which derivative. `directions`: how many random ones for each input. `eps`: by
    how much an element is moved, times its own size, so that no sign changes. `rtol`, `atol`: how
    far the two may be apart, in proportion to what a sum of that many terms of random sign comes
    to. `skip_kinks`: do not count a direction across a point where f is not differentiable; without
    it such a failure says so. `seed` of the directions.
    """
    problem = Problem(f, inputs, kwargs or {}, eps, seed)
    for k in range(1, order + 1):
        values, gradients = problem.derivative(k - 1), problem.derivative(k)
        for number, (variable, gradient) in enumerate(
            zip(problem.variables(k), gradients, strict=True)
        ):
            rng = np.random.default_rng((seed, k, number))
            slack = atol + problem.noise(k, values)
            for _ in range(directions):
                direction = _direction(variable.leaf.array, rng)
                line = Line(problem, k, variable, direction)
                got = dot(gradient.array, direction)
                terms = reals(gradient.array) * reals(direction)
                allowed = slack + rtol * np.linalg.norm(terms)
                if abs(got - line.slope()) <= allowed or line.approaches(got):  # False for nan
                    continue
                kink = line.breaks(allowed)
                if kink and skip_kinks:
                    continue
                options = {"order": k, "directions": directions, "eps": eps, "rtol": rtol}
                options |= {"atol": atol, "skip_kinks": skip_kinks, "seed": seed}
                raise failure(problem, line, got, kink, options)


def _direction(array, rng):
    """Random, in proportion to each element: a step changes no element's sign."""
    size = np.abs(array)
    return random_like(array, rng) * np.where(size == 0, 1, size)
