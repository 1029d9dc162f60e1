"""How far to go along a direction: Wolfe's conditions (Nocedal and Wright, chapter 3.5).

A good step t goes down enough for its length, f(t) <= f(0) + c1 t f'(0), and far enough that the
slope has flattened, |f'(t)| <= c2 |f'(0)|. The search first lengthens t until an interval must hold
such a point, then narrows the interval. PyTorch: torch/optim/lbfgs.py (_strong_wolfe).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Point(NamedTuple):
    """A place on the way: the step, the loss there, its gradient, the slope along the way."""

    t: Any
    loss: float
    grad: Any
    slope: Any


def strong_wolfe(
    evaluate,
    t,
    loss: float,
    grad,
    slope,
    direction,
    *,
    max_evaluations: int,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
):
    """(loss, gradient, step) of a step that fulfils the conditions, or the best one found.

    evaluate(t) -> (loss, gradient) at step t; `loss`, `grad` and `slope` are those at 0; `t` is
    the first step to try.
    """

    def visit(t) -> Point:
        loss, grad = evaluate(t)
        return Point(t, loss, grad, grad.dot(direction))

    def too_high(point: Point) -> bool:
        return point.loss > loss + c1 * point.t * slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * slope

    origin = before = Point(0, loss, grad, slope)
    point = visit(t)
    tried = 0
    while True:  # lengthen the step until a good point must lie between `before` and `point`
        if tried == max_evaluations:
            before = origin
            break
        if too_high(point) or (tried > 1 and point.loss >= before.loss):
            break
        if flat(point):
            return point.loss, point.grad, point.t
        if point.slope >= 0:
            break
        limits = (point.t + 0.01 * (point.t - before.t), point.t * 10)
        before, point = point, visit(_cubic_minimum(before, point, limits))
        tried += 1

    low, high = sorted((before, point), key=lambda p: p.loss)
    stuck = False
    width = direction.abs().max()
    while tried < max_evaluations and abs(high.t - low.t) * width >= tolerance:
        left, right = sorted((low.t, high.t))
        t = _cubic_minimum(low, high, (left, right))
        margin = 0.1 * (right - left)
        near_end = min(right - t, t - left) < margin
        if near_end and (stuck or not left < t < right):  # twice near an end: move away from it
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            near_end = False
        stuck = near_end
        point = visit(t)
        tried += 1
        if too_high(point) or point.loss >= low.loss:
            low, high = sorted((low, point), key=lambda p: p.loss)
        elif flat(point):
            low = point
            break
        else:
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
    return low.loss, low.grad, low.t


def _cubic_minimum(a: Point, b: Point, limits):
    """Where the cubic through two points with their slopes is lowest, within `limits`."""
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if square < 0:  # it has no minimum
        return (limits[0] + limits[1]) / 2.0
    d2 = square.sqrt()
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(t, limits[0]), limits[1])
