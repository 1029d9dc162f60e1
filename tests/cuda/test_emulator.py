"""What the emulator computes is right, and what is right it does not report."""

import math
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from minitorch.cuda import emulator
from minitorch.cuda.emulator import KernelError

from .sources import module_of

HALVES = {"__half": np.float16, "__nv_bfloat16": ml_dtypes.bfloat16}
TEMPLATES = [f"{kernel}<{t}>" for kernel in ("widen", "narrow", "combine") for t in HALVES]
i32, f32 = np.int32, np.float32


@pytest.fixture(scope="module", params=["checked", "unchecked"])
def checks(request):
    return request.param


@pytest.fixture
def kernel(checks, monkeypatch):
    monkeypatch.setenv("MINITORCH_CUDA_CHECKS", str(int(checks == "checked")))
    return module_of("correct.cu", TEMPLATES).get_function


def on_device(values, dtype=np.float32):
    return emulator.asarray(np.asarray(values, dtype))


def zeros(*shape, dtype=np.float32):
    return emulator.zeros(shape, dtype)


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_blocks_write_distinct_elements(kernel):
    x, y = random(1000), zeros(1000)
    kernel("grid_stride")((3,), (64,), (on_device(x), y, i32(1000)))
    np.testing.assert_array_equal(y.get(), 2 * x)


def test_syncwarp_orders_a_warp(kernel):
    x, y = random(4, 5), zeros(4, 32)
    kernel("warp_synchronous")((1,), (128,), (on_device(x), y))
    np.testing.assert_allclose(y.get(), np.repeat(x.sum(1, keepdims=True), 32, 1), rtol=1e-5)


def test_readers_in_turn(kernel):
    x, y = random(32), zeros(32)
    kernel("readers_in_turn")((1,), (32,), (on_device(x), y))
    np.testing.assert_array_equal(y.get(), x[np.maximum(np.arange(32) // 4 * 4 - 1, 0)])


def test_masks_of_half_a_warp(kernel):
    x, y = random(32), zeros(32)
    kernel("halves_of_a_warp")((1,), (32,), (on_device(x), y))
    pairs = x + x.reshape(-1, 2)[:, ::-1].reshape(-1)
    pairs[:16] = pairs[:16].sum()
    np.testing.assert_allclose(y.get(), pairs[::-1], rtol=1e-5, atol=1e-5)


def test_two_buffers_need_one_barrier(kernel):
    x, y = random(5, 64), zeros(64)
    kernel("double_buffered")((1,), (64,), (on_device(x), y, i32(5)))
    np.testing.assert_allclose(y.get(), x.sum(0)[::-1], rtol=1e-5)


def test_writes_of_the_same_value(kernel):
    y = zeros(1, dtype=np.int32)
    kernel("same_value")((2,), (64,), (on_device(np.arange(64)), y))
    assert y.get() == [1]


def test_parts_of_a_word(kernel):
    x, small, halves = np.arange(64), zeros(64, dtype=np.uint8), zeros(64, dtype=np.float16)
    kernel("neighbours")((1,), (64,), (on_device(x), small, halves), shared_mem=128)
    np.testing.assert_array_equal(small.get(), x)
    np.testing.assert_array_equal(halves.get(), x)


def test_vectors_and_their_elements(kernel):
    x, y = random(256), zeros(256)
    kernel("float4_and_floats")((1,), (64,), (on_device(x), y))
    np.testing.assert_array_equal(y.get(), x)


def test_atomics(kernel):
    x = np.random.default_rng(1).permutation(256).astype(np.float32)
    total, largest, bits = (
        zeros(1, dtype=np.float64),
        zeros(4, dtype=np.int32),
        zeros(1, dtype=np.uint64),
    )
    sums, halves = zeros(1), zeros(1, dtype=np.float16)
    kernel("atomics")((4,), (64,), (on_device(x), sums, total, largest, bits, halves))
    assert sums.get() == total.get() == x.sum() and bits.get() == [2**64 - 1]
    np.testing.assert_array_equal(largest.get(), [0, 255, 256, 255])
    assert halves.get() == [64]


def test_words_of_a_warp(kernel):
    x, y = np.arange(32), zeros(32, 8, dtype=np.uint32)
    kernel("warp_words")((1,), (32,), (on_device(x, np.int32), y))
    y = y.get()
    threes = sum(1 << i for i in range(0, 32, 3))
    assert (y[:, :4] == [threes, 1, 1, x.sum()]).all()
    np.testing.assert_array_equal(y[:, 4], [sum(1 << j for j in range(i % 4, 32, 4)) for i in x])
    np.testing.assert_array_equal(y[:, 5], np.where(x < 3, x, x - 3))
    np.testing.assert_array_equal(y[:, 6], np.where(x % 8 + 3 < 8, x + 3, x))
    np.testing.assert_array_equal(y[:, 7], x // 8 * 8 + 1)


def test_votes_at_a_barrier(kernel):
    x, y = np.arange(100), zeros(100, 3, dtype=np.int32)
    kernel("barrier_votes")((1,), (100,), (on_device(x, np.int32), y))
    assert (y.get() == [34, 1, 0]).all()


def test_the_last_block_sees_what_the_others_wrote(kernel):
    x, y = random(7, 32), zeros(1)
    kernel("last_block")((7,), (32,), (on_device(x), zeros(7), zeros(1, dtype=np.uint32), y))
    np.testing.assert_allclose(y.get(), [x.sum()], rtol=1e-5)


@pytest.mark.parametrize("name", HALVES)
def test_every_half_is_converted_as_numpy_does(kernel, name):
    dtype = HALVES[name]
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    n, y = i32(every.size), zeros(every.size)
    kernel(f"widen<{name}>")((64,), (1024,), (on_device(every, dtype), y, n))
    np.testing.assert_array_equal(y.get(), every.astype(np.float32))
    bits = np.random.default_rng(2).integers(0, 1 << 32, every.size, dtype=np.uint32)
    near = (every.view(np.uint16).astype(np.uint32) << 16) + bits % 3 * 0x8000 - bits % 2
    with np.errstate(all="ignore"):
        for x in (
            bits.view(np.float32),
            near.view(np.float32),
            every.astype(np.float32) * f32(1.0005),
        ):
            z = zeros(every.size, dtype=dtype)
            kernel(f"narrow<{name}>")((64,), (1024,), (on_device(x), z, n))
            np.testing.assert_array_equal(
                z.get().astype(np.float32), x.astype(dtype).astype(np.float32)
            )


@pytest.mark.parametrize("name", HALVES)
def test_arithmetic_of_halves_rounds_once(kernel, name):
    dtype, n = HALVES[name], 5000
    x, y = random(2, n).astype(dtype)
    z = zeros(4, n, dtype=dtype)
    kernel(f"combine<{name}>")((20,), (256,), (on_device(x, dtype), on_device(y, dtype), z, i32(n)))
    wide = x.astype(np.float64), y.astype(np.float64)
    fused = np.where(x < y, -wide[0], wide[0] * wide[1] + wide[0])
    expected = np.stack([x + y, x * y, x / y, fused.astype(np.float32).astype(dtype)])
    np.testing.assert_array_equal(z.get().astype(np.float32), expected.astype(np.float32))


def test_constants_structures_and_null_pointers(kernel):
    line = np.array((3.0, 0.5), np.dtype([("slope", "f8"), ("offset", "f4")], align=True))[()]
    x, bias = random(64), random(64)
    expected = 3 * x * np.array([1, 2, 4], np.float32)[np.arange(64) % 3] + f32(0.5)
    for flip, b in ((False, None), (True, bias)):
        y = zeros(64)
        kernel("constants")(
            (1,), (64,), (on_device(x), y, line, flip, np.uint64(0) if b is None else on_device(b))
        )
        wanted = -expected + b if flip else expected
        np.testing.assert_allclose(y.get(), wanted, rtol=1e-5, atol=1e-6)


def test_index_of_64_bits(kernel):
    y = zeros(8, dtype=np.int8)
    kernel("large_index")((1,), (8,), (zeros(8, dtype=np.int8), y, np.int64(2**32 - 3)))
    np.testing.assert_array_equal(y.get(), [0] * 4 + [1] * 4)


def test_three_dimensions(kernel):
    y = zeros(2, 12, 10, dtype=np.int32)
    kernel("three_dimensions")((2, 3, 1), (5, 4, 2), (y,))
    z, r, c = np.indices(y.shape)
    np.testing.assert_array_equal(y.get(), 10000 * z + 100 * r + c)


def test_printf_prints_once(kernel, capfd):
    kernel("says")((1,), (8,), (i32(8),))
    assert capfd.readouterr().out == "thread 3 of 8\n"


def test_functions(kernel):
    n = 64
    x = np.linspace(0.5, 60, n, dtype=np.float32)
    y = zeros(7, n)
    kernel("functions")((1,), (n,), (on_device(x), y, i32(n)))
    y = y.get()
    np.testing.assert_allclose(y[0], 1 / np.sqrt(x), rtol=1e-6)
    np.testing.assert_allclose([math.erf(v) for v in y[1]], x / 100, rtol=1e-5)
    np.testing.assert_allclose(
        y[2], [0.5 * math.erfc((2 - v) / 2**0.5) for v in x.tolist()], rtol=1e-6
    )
    np.testing.assert_allclose(y[3], np.exp(-x) / np.log(x + 1), rtol=1e-5)
    np.testing.assert_array_equal(y[4:6], [-x, np.maximum(x, 2)])
    i = np.arange(n)
    bits = [int(k).bit_count() + 32 - int(k).bit_length() + (int(k & -k).bit_length()) for k in i]
    np.testing.assert_array_equal(y[6], i // 2 + bits)


def test_overlapping_arguments_stay_overlapping(kernel):
    x = on_device(np.arange(200))
    kernel("grid_stride")((1,), (64,), (x[:100], x[100:], i32(100)))  # neighbours
    np.testing.assert_array_equal(x.get(), [*range(100), *range(0, 200, 2)])
    kernel("grid_stride")((1,), (64,), (x, x, i32(200)))  # the same array twice
    np.testing.assert_array_equal(x.get()[:100], np.arange(100) * 2)


def test_neighbours_in_one_allocation_are_apart(kernel, checks):
    x = on_device(np.arange(200))
    if checks == "checked":
        with pytest.raises(KernelError, match="out of bounds"):
            kernel("grid_stride")((1,), (64,), (x[:100], x[100:], i32(101)))


FILLED = {
    "in parts": lambda y: (y.__setitem__(slice(10), 0), y.__setitem__(slice(10, None), 0)),
    "by indices": lambda y: y.__setitem__(np.arange(64), 0),
    "by a mask": lambda y: y.__setitem__(y[:].copy() > -np.inf, 0) or y.fill(0),
    "backwards": lambda y: y[::-1].__setitem__(..., 0),
    "in columns": lambda y: y.reshape(8, 8).T.__setitem__(slice(None), 0),
    "by set": lambda y: y.set(np.zeros(64, "f")),
    "in place": lambda y: y.__imul__(0),
    "by sort": lambda y: y.sort(),
    "by put": lambda y: y.put(emulator.arange(64), 0),
    "by at": lambda y: np.add.at(y, emulator.arange(64), 0),
    "by a position": lambda y: np.take(emulator.zeros(64, "f"), emulator.arange(64), 0, y),
    "by a method": lambda y: emulator.zeros((2, 64), "f").sum(0, None, y),
    "by out=": lambda y: np.multiply(emulator.zeros(64, "f"), 2, out=y),
    "by copyto": lambda y: np.copyto(y, emulator.zeros(64, "f")),
    "as bytes": lambda y: y.view(np.uint8).fill(0),
    "elsewhere": lambda y: emulator.ndarray((64,), "f", y.data).__setitem__(..., 0),
}


@pytest.mark.parametrize("fill", FILLED.values(), ids=FILLED)
@pytest.mark.parametrize("make", [emulator.empty, emulator.ndarray], ids=["empty", "ndarray"])
def test_what_numpys_functions_fill_is_written(kernel, make, fill):
    y, out = make((64,), "f"), zeros(64)
    fill(y)
    kernel("grid_stride")((1,), (64,), (y, out, i32(64)))


def test_what_a_kernel_fills_is_written(kernel):
    y, out = np.empty_like(zeros(64)), zeros(64)
    for half in (y[:32], y[32:]):
        kernel("grid_stride")((1,), (64,), (on_device(np.ones(32)), half, i32(32)))
    kernel("grid_stride")((1,), (64,), (y, out, i32(64)))
    assert out.get().sum() == 256


def test_a_kernel_is_looked_up_while_another_thread_launches(kernel):
    """Nothing but a kernel's own accesses may be taken for them."""
    launch, x, y = kernel("grid_stride"), zeros(1000), zeros(1000)

    def launches():
        for _ in range(10):
            launch((3,), (64,), (x, y, i32(1000)))

    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(launches)
        while not work.done():
            assert kernel("atomics").parameters[0] == "const *float32"
        work.result()


def test_empty_arrays(kernel):
    kernel("grid_stride")((1,), (64,), (zeros(0), zeros(0), i32(0)))
