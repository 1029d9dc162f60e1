"""torch.fft: Fourier transforms along one dimension and several, made of those in ops/fourier.py.

PyTorch: torch/fft/__init__.py, aten/src/ATen/native/SpectralOps.cpp.
"""

from __future__ import annotations

from . import dtypes
from .creation import arange
from .dispatch.declare import functions, in_namespace
from .dispatch.dims import axes
from .ops.fourier import INVERSE_NORM, complex_to_complex, half_to_real, real_to_half, resized


def _prepared(name: str, input, n, dim, norm, real=False):
    """`input` as floats or complex numbers, and the arguments checked."""
    if real and input.is_complex():
        raise RuntimeError(f"{name} expects a real input tensor, but got {input.dtype}")
    if norm not in INVERSE_NORM:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if input.dtype in (dtypes.float16, dtypes.bfloat16):
        raise RuntimeError(f"Unsupported dtype {input.dtype}")
    if input.dtype.category < dtypes.FLOATING:
        input = input.to(dtypes.get_default_dtype())
    dim = axes(dim, input.ndim)[0]
    n = input.shape[dim] if n is None else n
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return input, n, dim


def _as_complex(input):
    return input if input.is_complex() else input.to(dtypes.complex_of(input.dtype))


@in_namespace
def fft(input, n=None, dim=-1, norm=None):
    """The discrete Fourier transform along `dim`, of `input` cut or filled with zeros to `n`.

    norm: what is divided by: "backward" nothing, "ortho" sqrt(n), "forward" n. Mirrors
    torch.fft.fft.
    """
    input, n, dim = _prepared("fft", input, n, dim, norm)
    return complex_to_complex(_as_complex(input), n, dim, norm, False)


@in_namespace
def ifft(input, n=None, dim=-1, norm=None):
    """The inverse of `fft`. Mirrors torch.fft.ifft."""
    input, n, dim = _prepared("ifft", input, n, dim, norm)
    return complex_to_complex(_as_complex(input), n, dim, norm, True)


@in_namespace
def rfft(input, n=None, dim=-1, norm=None):
    """The first n // 2 + 1 places of the `fft` of real numbers; the others are their conjugates.

    Mirrors torch.fft.rfft.
    """
    input, n, dim = _prepared("rfft", input, n, dim, norm, real=True)
    return real_to_half(input, n, dim, norm)


@in_namespace
def irfft(input, n=None, dim=-1, norm=None):
    """The inverse of `rfft`: n real numbers, by default an even n. Mirrors torch.fft.irfft."""
    have = input.shape[axes(dim, input.ndim)[0]]
    input, n, dim = _prepared("irfft", input, 2 * (have - 1) if n is None else n, dim, norm)
    return half_to_real(resized(_as_complex(input), n // 2 + 1, dim), n, dim, norm)


@in_namespace
def hfft(input, n=None, dim=-1, norm=None):
    """The `fft` of a signal of which only the first half is given, the other being its conjugate;
    its transform is real. Mirrors torch.fft.hfft."""
    return irfft(functions["conj"](_as_complex(_float(input))), n, dim, INVERSE_NORM[norm])


@in_namespace
def ihfft(input, n=None, dim=-1, norm=None):
    """The inverse of `hfft`. Mirrors torch.fft.ihfft."""
    return functions["conj"](rfft(input, n, dim, INVERSE_NORM[norm]))


def _float(input):
    return (
        input if input.dtype.category >= dtypes.FLOATING else input.to(dtypes.get_default_dtype())
    )


# Over several dimensions: one after the other


def _several(input, s, dim, default=None) -> tuple[list, list]:
    """The extents (None: as they are) and the dimensions."""
    if dim is None:
        dim = range(input.ndim) if s is None else range(input.ndim - len(s), input.ndim)
    elif isinstance(dim, int):
        dim = (dim,)
    if input.ndim == 0 and len(dim):
        raise IndexError(f"Dimension specified as {dim[0]} but tensor has no dimensions")
    dim = list(axes(tuple(dim), input.ndim)) if len(dim) else []
    s = [None] * len(dim) if s is None else [s] if isinstance(s, int) else list(s)
    if len(s) != len(dim):
        raise RuntimeError(
            f"When given, dim and shape arguments must have the same length, got {dim} and {s}"
        )
    return [None if n == -1 else n for n in s], dim


def _each(transform, input, s, dim, norm):
    for n, d in zip(s, dim, strict=True):
        input = transform(input, n, d, norm)
    return input


@in_namespace
def fftn(input, s=None, dim=None, norm=None):
    """`fft` over several dimensions. Mirrors torch.fft.fftn, fft2."""
    s, dim = _several(input, s, dim)
    return _each(fft, input, s, dim, norm) if dim else _as_complex(_float(input))


@in_namespace
def ifftn(input, s=None, dim=None, norm=None):
    """The inverse of `fftn`. Mirrors torch.fft.ifftn, ifft2."""
    s, dim = _several(input, s, dim)
    return _each(ifft, input, s, dim, norm) if dim else _as_complex(_float(input))


@in_namespace
def rfftn(input, s=None, dim=None, norm=None):
    """`rfft` over the last of several dimensions, `fft` over the others.

    Mirrors torch.fft.rfftn.
    """
    s, dim = _several(input, s, dim)
    _need_one(dim, "rfftn")
    return _each(fft, rfft(input, s[-1], dim[-1], norm), s[:-1], dim[:-1], norm)


@in_namespace
def irfftn(input, s=None, dim=None, norm=None):
    """The inverse of `rfftn`. Mirrors torch.fft.irfftn."""
    s, dim = _several(input, s, dim)
    _need_one(dim, "irfftn")
    return irfft(_each(ifft, input, s[:-1], dim[:-1], norm), s[-1], dim[-1], norm)


@in_namespace
def hfftn(input, s=None, dim=None, norm=None):
    """`hfft` over the last of several dimensions, `fft` over the others.

    Mirrors torch.fft.hfftn.
    """
    s, dim = _several(input, s, dim)
    _need_one(dim, "hfftn")
    return hfft(_each(fft, input, s[:-1], dim[:-1], norm), s[-1], dim[-1], norm)


@in_namespace
def ihfftn(input, s=None, dim=None, norm=None):
    """The inverse of `hfftn`. Mirrors torch.fft.ihfftn."""
    s, dim = _several(input, s, dim)
    _need_one(dim, "ihfftn")
    return _each(ifft, ihfft(input, s[-1], dim[-1], norm), s[:-1], dim[:-1], norm)


def _need_one(dim, name: str) -> None:
    if not dim:
        raise RuntimeError(f"{name} must transform at least one axis")


def _two(transform):
    """The form of an n-dimensional transform that takes the last two dimensions by default."""

    def call(input, s=None, dim=(-2, -1), norm=None, *, out=None):
        return transform(input, s, dim, norm, out=out)

    call.__name__ = call.__qualname__ = transform.__name__[:-1] + "2"
    call.__doc__ = f"`{transform.__name__}` over two dimensions. Mirrors torch.fft.{call.__name__}."
    return call


fft2, ifft2, rfft2, irfft2, hfft2, ihfft2 = map(_two, (fftn, ifftn, rfftn, irfftn, hfftn, ihfftn))


# Frequencies


def fftfreq(n, d=1.0, *, out=None, dtype=None, **options):
    """The frequencies of the places of `fft`: 0, 1, ..., -1, over n * d.

    Mirrors torch.fft.fftfreq.
    """
    places = arange(n, dtype=dtype or dtypes.get_default_dtype(), **options)
    places = functions["where"](places < (n + 1) // 2, places, places - n) / (n * d)
    return places if out is None else out.copy_(places)


def rfftfreq(n, d=1.0, *, out=None, dtype=None, **options):
    """The frequencies of the places of `rfft`. Mirrors torch.fft.rfftfreq."""
    places = arange(n // 2 + 1, dtype=dtype or dtypes.get_default_dtype(), **options) / (n * d)
    return places if out is None else out.copy_(places)


@in_namespace
def fftshift(input, dim=None):
    """Moves frequency 0 to the middle. Mirrors torch.fft.fftshift."""
    dim = axes(dim, input.ndim)
    return functions["roll"](input, [input.shape[d] // 2 for d in dim], dim)


@in_namespace
def ifftshift(input, dim=None):
    """The inverse of `fftshift`. Mirrors torch.fft.ifftshift."""
    dim = axes(dim, input.ndim)
    return functions["roll"](input, [-(input.shape[d] // 2) for d in dim], dim)
