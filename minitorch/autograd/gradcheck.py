"""gradcheck: the derivatives that autograd gives, against differences of function values.

Both Jacobians are taken as products `d J w`: differences move the input along d and weigh the
output's change with w; backward starts with w, and its result is multiplied with d. With all unit
vectors for d and w this is the whole Jacobian; with one random pair (`fast_mode`) one number.
A complex number counts as two real ones; PyTorch's gradients of complex tensors are such that the
formulas stay the same: a product of two vectors is the sum over all real and imaginary parts.
`minitorch.testing.check_gradients` is made for property tests: larger inputs, clearer failures.
PyTorch: torch/autograd/gradcheck.py.
"""

from __future__ import annotations

import warnings

import numpy as np

from .. import devices
from ..tensor import Tensor, wrap
from .differentiate import grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Raised by gradcheck and gradgradcheck. Mirrors torch.autograd.gradcheck.GradcheckError."""


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
) -> bool:
    """Whether the gradients of `func` at `inputs` agree with central differences of step `eps`.

    `inputs`: a tensor or a tuple; those that require grad are checked, and should be float64 or
    complex128. `nondet_tol`: by how much two backward passes may differ. `check_undefined_grad`:
    also leave out each of several outputs. `fast_mode`: one random direction instead of all.
    Gradients have the dtype of their input and are not batched here, so `check_grad_dtypes` and
    `check_batched_*` have nothing to look at. Raises GradcheckError for a mismatch (or returns
    False if not `raise_exception`), ValueError if no input requires grad. Mirrors
    torch.autograd.gradcheck.
    """
    if check_forward_ad or not check_backward_ad:
        raise NotImplementedError("gradcheck: there is no forward mode here, only backward")
    inputs = _as_tuple(inputs)
    try:
        _check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
) -> bool:
    """gradcheck of the gradient of `func`, as a function of the inputs and of `grad_outputs`.

    `grad_outputs`: what backward starts with; random by default, with gaps in memory if
    `gen_non_contig_grad_outputs`. Other arguments as in `gradcheck`. Mirrors
    torch.autograd.gradgradcheck.
    """
    inputs = _as_tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*inputs))
        grad_outputs = tuple(_random_like(o, gen_non_contig_grad_outputs) for o in outputs)
    grad_outputs = _as_tuple(grad_outputs)

    def gradient(*args):
        points, weights = args[: len(inputs)], args[len(inputs) :]
        wanted = [t for t in points if _requires_grad(t)]
        outputs = _differentiable(func(*points))
        found = grad(outputs, wanted, weights, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradient,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )


def _check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, fast_mode) -> None:
    _check_inputs(inputs)
    points = [t for t in inputs if _requires_grad(t)]
    outputs = _as_tuple(func(*inputs))
    probe = _random if fast_mode else _units
    directions = [probe(t) for t in points]
    weights = [probe(o) for o in outputs]
    numerical = [
        _numerical(func, inputs, point, d, outputs, weights, eps)
        for point, d in zip(points, directions, strict=True)
    ]
    if not any(o.requires_grad for o in outputs):
        if any(block.any() for blocks in numerical for block in blocks):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    for j, (output, weight) in enumerate(zip(outputs, weights, strict=True)):
        if not output.requires_grad:
            continue
        analytical = _analytical(output, points, directions, weight)
        again = _analytical(output, points, directions, weight)
        for i, (a, b) in enumerate(zip(analytical, again, strict=True)):
            if a.size and np.abs(a - b).max() > nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and "
                    "grad_output multiple times gives different values, although analytical "
                    "gradient matches numerical gradient. The tolerance for nondeterminism was "
                    f"{nondet_tol}."
                )
            n, tolerance = numerical[i][j], atol
            if fast_mode:  # as many errors of `atol` as there are elements may have come together
                tolerance *= float(_reals(directions[i][0]).sum() * _reals(weight[0]).sum())
            if not np.all(np.abs(a - n) <= tolerance + rtol * np.abs(n)):
                message = _mismatch(a, n, i, j, points[i], output, not fast_mode)
                if fast_mode:
                    d, w = _units(points[i]), _units(output)
                    n = _numerical(func, inputs, points[i], d, (output,), [w], eps, j)[0]
                    (a,) = _analytical(output, [points[i]], [d], w)
                    message += (
                        "\nThe above numbers are sums in a random direction (fast mode). All "
                        f"elements:\n\nNumerical:\n{wrap(n)}\nAnalytical:\n{wrap(a)}\n\nThe max "
                        f"per-element difference (slow mode) is: {np.abs(n - a).max()}.\n"
                    )
                raise GradcheckError(message)
    _check_zero(func, inputs, points, check_undefined_grad)


def _numerical(func, inputs, point, directions, outputs, weights, eps, only=None) -> list:
    """For every output the matrix of `d J w`, rows d and columns w, by central differences."""
    blocks = [np.zeros((len(directions), len(w))) for w in weights]
    original = _on_host(point).copy()
    for row, direction in enumerate(directions):
        moved = []
        try:  # in place, for `func` may also see the tensor in other ways than as an argument
            for step in (-eps, eps):
                devices.overwrite(point.array, np.asarray(original + step * direction))
                values = _as_tuple(func(*inputs))
                moved.append([values[only]] if only is not None else values)
                moved[-1] = [_on_host(v).copy() for v in moved[-1]]
        finally:
            devices.overwrite(point.array, original)
        for block, before, after, output, weight in zip(
            blocks, *moved, outputs, weights, strict=True
        ):
            for what, a, b in (
                ("shapes", after.shape, output.array.shape),
                ("dtypes", after.dtype, output.array.dtype),
            ):
                if a != b:
                    raise AssertionError(
                        f"Expected `func` to return outputs with the same {what[:-1]} when inputs "
                        f"are perturbed by {eps}, but got: {what} {a} and {b}."
                    )
            if weight:
                slope = _reals(after - before if after.dtype != bool else after ^ before)
                block[row] = np.stack([_reals(w) for w in weight]) @ slope / (2 * eps)
    return blocks


def _analytical(output, points, directions, weights) -> list:
    """For every point the matrix of `d J w`, rows d and columns w, by backward."""
    blocks = [np.zeros((len(d), len(weights))) for d in directions]
    for column, weight in enumerate(weights):
        start = wrap(devices.moved(weight.copy(), output.device))
        found = grad(output, points, start, retain_graph=True, allow_unused=True)
        for block, gradient, direction in zip(blocks, found, directions, strict=True):
            if gradient is not None and direction:
                rows = np.stack([_reals(d) for d in direction])
                block[:, column] = rows @ _reals(_on_host(gradient))
    return blocks


def _check_zero(func, inputs, points, check_undefined_grad) -> None:
    """A gradient of zeros for the outputs must give zeros, also if some outputs get none at all."""
    outputs = _differentiable(func(*inputs))
    left_out = range(len(outputs)) if check_undefined_grad and len(outputs) > 1 else ()
    for missing in (None, *left_out):
        used = [o for i, o in enumerate(outputs) if i != missing]
        zeros = [wrap(devices.moved(np.zeros_like(_on_host(o)), o.device)) for o in used]
        try:
            found = grad(used, points, zeros, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if missing is None:
                raise
            raise GradcheckError(
                "Expected backward function to handle undefined output grads: it failed when "
                f"output {missing} was not used"
            ) from error
        if any(g is not None and _on_host(g).any() for g in found):
            raise GradcheckError("backward not multiplied by grad_output")


def _check_inputs(inputs) -> None:
    for i, tensor in enumerate(inputs):
        if not _requires_grad(tensor):
            continue
        if tensor.array.dtype not in (np.float64, np.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or "
                "complex. This check will likely fail if all the inputs are not of double "
                "precision floating point or complex.",
                stacklevel=4,
            )
        steps = zip(tensor.stride(), tensor.shape, strict=True)
        if tensor.numel() and any(step == 0 and n > 1 for step, n in steps):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs "
                "that are non-overlapping to be able to compute the numerical gradients correctly. "
                "You should call .contiguous on the input before passing it to gradcheck."
            )
    if not any(_requires_grad(t) for t in inputs):
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )


def _mismatch(analytical, numerical, i: int, j: int, point, output, whole: bool) -> str:
    """The message for input i and output j; of complex outputs the part that is wrong."""
    prefix = ""
    if whole and output.is_complex():
        wrong = ~np.isclose(analytical, numerical, rtol=1e-3, atol=1e-5)
        part = 1 if wrong[:, 1::2].any() else 0
        analytical, numerical = analytical[:, part::2], numerical[:, part::2]
        name = ("real", "imaginary")[part]
        prefix = f"While considering the {name} part of complex outputs only, "
    if whole and point.is_complex():
        analytical, numerical = (m[0::2] + 1j * m[1::2] for m in (analytical, numerical))
    return (
        f"{prefix}Jacobian mismatch for output {j} with respect to input {i},\n"
        f"numerical:{wrap(numerical)}\nanalytical:{wrap(analytical)}\n"
    )


def _units(tensor: Tensor) -> list:
    """All unit vectors of the tensor's space; for a complex one the imaginary ones as well."""
    units = []
    for index in np.ndindex(tensor.array.shape):
        for one in (1, 1j) if tensor.is_complex() else (1,):
            unit = np.zeros(tensor.array.shape, tensor.array.dtype)
            unit[index] = one
            units.append(unit)
    return units


def _random(tensor: Tensor) -> list:
    """One vector of positive numbers, of length 1: nothing cancels in a sum of errors."""
    values = np.random.default_rng(tensor.numel()).random(_reals(_on_host(tensor)).shape)
    vector = (values / (np.linalg.norm(values) or 1)).astype(_reals(_on_host(tensor)).dtype)
    return [vector.view(tensor.array.dtype).reshape(tensor.array.shape)]


def _on_host(tensor: Tensor) -> np.ndarray:
    return devices.moved(tensor.array, devices.CPU)


def _reals(array) -> np.ndarray:
    """All real and imaginary parts in one row."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _random_like(output: Tensor, gaps: bool) -> Tensor:
    rng = np.random.default_rng(output.numel())
    shape = (*output.shape, 2) if gaps else output.shape
    values = rng.uniform(-1, 1, shape)
    if output.is_complex():
        values = values + 1j * rng.uniform(-1, 1, shape)
    array = values.astype(output.array.dtype)
    array = devices.moved(array, output.device)
    return wrap(array[..., 0] if gaps else array).requires_grad_()


def _as_tuple(value) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _requires_grad(value) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _differentiable(outputs) -> tuple:
    return tuple(o for o in _as_tuple(outputs) if o.requires_grad)
