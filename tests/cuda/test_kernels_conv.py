"""Convolution and products of matrices on the emulated GPU, against NumPy's kernels."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

from minitorch import kernels
from minitorch.kernels.cuda import conv, gemm
from minitorch.kernels.cuda.matmul import tiled

from .twins import agree, close, to_device

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16]
# x shape, weight shape, (stride, padding, dilation, groups)
CONVOLUTIONS = [
    ((2, 3, 8, 7), (4, 3, 3, 3), (1, 1, 1, 1)),
    ((3, 4, 9, 6), (6, 2, 3, 2), (2, (1, 0), (1, 2), 2)),
    ((2, 3, 11), (5, 3, 3), (2, 1, 2, 1)),
    ((1, 2, 4, 5, 3), (3, 2, 2, 3, 1), (1, (1, 1, 0), 1, 1)),
    ((2, 4, 5, 5), (8, 4, 1, 1), (1, 0, 1, 1)),  # the image is its own columns
    ((2, 6, 5, 5), (6, 1, 3, 3), (1, 1, 1, 6)),  # depthwise
    ((0, 3, 8, 7), (4, 3, 3, 3), (1, 1, 1, 1)),
    ((1, 1, 1, 1), (1, 1, 1, 1), (2, 0, 1, 1)),
]


def draw(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", CONVOLUTIONS)
@pytest.mark.parametrize("at_once", [conv.COLUMNS, 100])
def test_convolution(problem, dtype, at_once, monkeypatch):
    monkeypatch.setattr(conv, "COLUMNS", at_once)  # a few: the samples go one by one
    x_shape, w_shape, options = problem
    x, weight, bias = (draw(s, dtype, i) for i, s in enumerate((x_shape, w_shape, w_shape[:1])))
    out = agree("conv_forward", x, weight, bias, *options, scale=2)
    agree("conv_forward", x, weight, None, *options, scale=2)
    grad = draw(out.shape, dtype, 3)
    agree("conv_backward_input", grad, weight, x_shape, *options, scale=2)
    agree("conv_backward_weight", grad, x, w_shape, *options, scale=8)


def test_arrays_in_another_order():
    x, weight = draw((7, 8, 3, 2)).T, draw((3, 3, 3, 4)).T
    out = agree("conv_forward", x, weight)
    grad = draw(out.shape[::-1], seed=1).T
    agree("conv_backward_input", grad, weight, x.shape)
    agree("conv_backward_weight", grad, x, weight.shape)


def test_a_kernel_larger_than_the_input():
    x, w = to_device(draw((1, 1, 3, 3))), to_device(draw((1, 1, 5, 5)))
    with pytest.raises(RuntimeError, match=r"per channel: \(3 x 3\). Kernel size: \(5 x 5\)"):
        kernels.conv_forward(x, w)


# Products of matrices

SHAPES = [
    ((1, 1), (1, 1)),
    ((64, 16), (16, 64)),
    ((70, 33), (33, 65)),
    ((3, 0), (0, 5)),
    ((0, 3), (3, 5)),
    ((2, 5, 7), (2, 7, 3)),
    ((2, 3, 5, 7), (7, 3)),
    ((5, 7), (2, 3, 7, 3)),
    ((2, 1, 5, 7), (3, 7, 3)),
]


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "int32"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_tiled_product(shapes, dtype):
    a, b = ((draw(s, "f", i) * 4).astype(dtype) for i, s in enumerate(shapes))
    expected = np.matmul(a.astype("d"), b.astype("d")).astype(dtype)
    close(tiled(to_device(a), to_device(b)), expected, scale=20)


@pytest.mark.parametrize("shapes", [*SHAPES, ((7,), (7,)), ((7,), (2, 7, 3)), ((2, 5, 7), (7,))])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_matmul(shapes, dtype):
    agree("matmul", *((draw(s, "f", i) * 4).astype(dtype) for i, s in enumerate(shapes)))


@pytest.mark.parametrize("problem", CONVOLUTIONS)
def test_convolution_of_complex_numbers(problem):
    x_shape, w_shape, options = problem
    x, weight = (draw(s) + 1j * draw(s, seed=1) for s in (x_shape, w_shape))
    x, weight = x.astype("D"), weight.astype("D")

    def compare(name, *args):
        expected = getattr(kernels, name)(*args, *options)
        got = getattr(kernels, name)(*map(to_device, args), *options).get()
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
        return expected

    out = compare("conv_forward", x, weight, None)
    compare("conv_backward_weight", out, x, w_shape)
    compare("conv_backward_input", out, weight, x_shape)


class Blas:
    """cublasGemmStridedBatchedEx in NumPy, on addresses, as its manual describes it."""

    TYPES = {0: "f4", 1: "f8", 2: "f2", 14: ml_dtypes.bfloat16, 4: "c8", 5: "c16"}

    def cublasSetStream_v2(self, handle, stream):
        self.stream = stream

    def cublasGemmStridedBatchedEx(self, handle, *args):
        transpose_a, transpose_b, m, n, k, alpha, *rest = args
        a = self.matrices(*rest[:4], (k, m) if transpose_a else (m, k), rest[-3])
        b = self.matrices(*rest[4:8], (n, k) if transpose_b else (k, n), rest[-3])
        c = self.matrices(*rest[9:13], (m, n), rest[-3])
        a = a.swapaxes(1, 2) if transpose_a else a
        b = b.swapaxes(1, 2) if transpose_b else b
        wide = np.result_type(a.dtype, np.float32)
        alpha, beta = (self.scalar(address, rest[10], rest[-2]) for address in (alpha, rest[8]))
        assert (alpha, beta) == (1, 0)
        c[...] = np.matmul(a.astype(wide), b.astype(wide))
        return 0

    def scalar(self, address, kind, compute):
        """The number at an address: of the type that is computed in."""
        size = {68: 4, 70: 8}[compute]
        dtype = np.dtype(f"c{2 * size}" if kind in (4, 5) else f"f{size}")
        return np.frombuffer(ctypes.string_at(address.value, dtype.itemsize), dtype)[0]

    def matrices(self, address, kind, leading, step, shape, count):
        """`count` matrices that begin `step` elements apart, stored column by column."""
        dtype = np.dtype(self.TYPES[kind])
        assert leading >= max(1, shape[0])
        last = (count - 1) * step.value + (shape[1] - 1) * leading + shape[0]
        memory = (ctypes.c_char * (last * dtype.itemsize)).from_address(address.value)
        strides = tuple(s * dtype.itemsize for s in (step.value, 1, leading))
        return np.ndarray((count, *shape), dtype, memory, strides=strides)


@pytest.fixture
def blas(monkeypatch):
    library = Blas()
    monkeypatch.setattr(gemm, "library", lambda: library)
    monkeypatch.setattr(gemm, "handle", lambda array: 0)
    monkeypatch.setattr(gemm, "is_there", lambda array: True)


VIEWS = {
    "as they are": lambda a, b: (a, b),
    "transposed": lambda a, b: (a.swapaxes(-1, -2).copy().swapaxes(-1, -2), b),
    "both transposed": lambda a, b: tuple(
        x.swapaxes(-1, -2).copy().swapaxes(-1, -2) for x in (a, b)
    ),
    "heads": lambda a, b: tuple(x.swapaxes(-3, -2).copy().swapaxes(-3, -2) for x in (a, b)),
    "with gaps": lambda a, b: tuple(np.repeat(x, 2, -1)[..., ::2] for x in (a, b)),
    "with gaps between rows": lambda a, b: tuple(
        np.concatenate([x, x], -1)[..., : x.shape[-1]] for x in (a, b)
    ),
}


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "shapes",
    [((2, 5, 7), (2, 7, 3)), ((2, 3, 5, 7), (2, 3, 7, 4)), ((3, 5, 7), (2, 1, 7, 4)),
     ((2, 3, 1, 7), (2, 3, 7, 1)), ((2, 5, 0), (2, 0, 3)), ((0, 5, 7), (0, 7, 3))],
)  # fmt: skip
def test_what_cublas_is_asked_for(shapes, view, dtype, blas):
    a, b = (draw(s, "f", i).astype(dtype) for i, s in enumerate(shapes))
    wide = np.complex128 if dtype == "complex64" else np.float64
    expected = np.matmul(a.astype(wide), b.astype(wide)).astype(dtype)
    got = kernels.matmul(*VIEWS[view](to_device(a), to_device(b))).get()
    np.testing.assert_allclose(got.astype(wide), expected.astype(wide), rtol=3e-2, atol=3e-3)
    assert got.dtype == expected.dtype
