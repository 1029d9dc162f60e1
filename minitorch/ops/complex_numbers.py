"""Complex numbers: their parts, their conjugates, and how to put them together.

Gradients: backward multiplies by the transposed derivative, as for real numbers, and the engine
conjugates what goes in and what comes out. That is right for functions that have a complex
derivative. Those here have none; with z = x + iy their formulas give dL/dx - i dL/dy instead.
PyTorch: aten/src/ATen/native/ComplexHelper.h, UnaryOps.cpp.
"""

import numpy as np

from ..dispatch.declare import composite, elementwise, op, view_op
from ..dispatch.memory import strided
from ..tensor import Tensor
from .elementwise import sign


@op(function=False, method=False)
def _conj(input):
    return np.conjugate(input)


_conj.derivatives(input=lambda grad: np.conjugate(grad))


@composite(numpy=np.conjugate)
def conj(input):
    """The complex conjugate; a real tensor itself. Mirrors torch.conj.

    PyTorch's is a view that is computed when it is needed; here it is computed at once.
    """
    return _conj(input) if np.iscomplexobj(input) else input


@composite(out=True, inplace=True)
def conj_physical(input):
    """The complex conjugate; a real tensor itself. Mirrors torch.conj_physical."""
    return conj(input)


@composite(aliases=("resolve_neg",))
def resolve_conj(input):
    """`input`: a conjugate (conj) is always computed at once. Mirrors torch.resolve_conj."""
    return input


@view_op(function=False, method=False)
def _real(input):
    return input.real


@view_op(function=False, method=False)
def _imag(input):
    return input.imag


_real.derivatives(input=lambda grad: grad)
_imag.derivatives(input=lambda grad: grad * -1j)


@composite(method=False, numpy=np.real)
def real(input):
    """The real part, as a view; of a real tensor itself. Mirrors torch.real."""
    return _real(input) if np.iscomplexobj(input) else input


@composite(method=False, numpy=np.imag)
def imag(input):
    """The imaginary part, as a view. RuntimeError for real tensors. Mirrors torch.imag."""
    if not np.iscomplexobj(input):
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _imag(input)


def _attribute(part):
    """Tensor.real and .imag; setting one writes into the memory."""

    def assign(self, value):
        part(self).copy_(value)

    return property(part, assign)


for _part in (real, imag):
    setattr(Tensor, _part.__name__, _attribute(_part))


@view_op
def view_as_real(input):
    """A view of one more dimension, of length 2: the real and imaginary parts.

    Mirrors torch.view_as_real.
    """
    if input.dtype.kind != "c":
        raise RuntimeError("view_as_real is only supported for complex tensors")
    parts = input.real
    return strided(parts, (*parts.shape, 2), (*parts.strides, parts.itemsize))


@view_op
def view_as_complex(input):
    """A view of one dimension less: the last one, of length 2, holds real and imaginary parts.

    Mirrors torch.view_as_complex.
    """
    if input.dtype.char not in "fd" or input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError("view_as_complex needs float32 or float64 and a last dimension of 2")
    if input.strides[-1] != input.itemsize:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    return input.view("F" if input.dtype.char == "f" else "D")[..., 0]


view_as_real.derivatives(input=lambda grad: np.conjugate(view_as_complex(grad)))
view_as_complex.derivatives(input=lambda grad: view_as_real(np.conjugate(grad)))


def _same_floats(input, other):
    kinds = [t.dtype if isinstance(t, Tensor) else type(t) for t in (input, other)]
    if type in map(type, kinds):
        raise TypeError(f"Expected two tensors, but got {kinds}")
    if kinds[0] is not kinds[1] or not kinds[0].is_floating_point:
        raise RuntimeError(f"Expected two tensors of one floating dtype, but got {kinds}")


@elementwise(kinds="f", method=False, check=_same_floats)
def complex(real, imag):
    """real + 1j * imag, broadcast. RuntimeError for different dtypes. Mirrors torch.complex."""
    shape, kind = np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, np.complex64)
    out = np.empty(shape, kind, like=real)
    out.real, out.imag = real, imag
    return out


complex.derivatives(
    real=lambda grad: np.real(grad),
    imag=lambda grad: -np.imag(grad),
)


@composite(method=False, out=True)
def polar(abs, angle):
    """The complex numbers of these absolute values and angles. Mirrors torch.polar."""
    _same_floats(abs, angle)
    return complex(abs * np.cos(angle), abs * np.sin(angle))


@elementwise(floating=True, numpy=np.angle, inplace=False)
def angle(input):
    """The angle of a complex number; of a real one 0 or pi. Mirrors torch.angle."""
    if input.dtype.kind == "c":
        return np.angle(input)
    return np.where(np.isnan(input), input, np.where(input < 0, input.dtype.type(np.pi), 0))


def _angle_slope(grad, input):
    if not np.iscomplexobj(input):
        return np.zeros_like(grad)
    return np.where(np.equal(input, 0), 0, grad * -1j / input)


angle.derivatives(input=_angle_slope)


@elementwise(numpy=np.sign)
def sgn(input):
    """input / |input|, 0 at 0: for real numbers their sign. Mirrors torch.sgn."""
    return np.sign(input) if input.dtype.kind == "c" else sign(input)


def _sgn_slope(grad, input, out):
    if not np.iscomplexobj(input):
        return np.zeros_like(grad)
    radial = np.real(grad * out) * np.conjugate(out)  # the result does not grow outwards
    return np.where(np.equal(input, 0), 0, (grad - radial) / np.absolute(input))


sgn.derivatives(input=_sgn_slope)
