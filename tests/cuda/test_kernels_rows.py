"""Softmax, cross entropy and the normalisations on the emulated GPU, against NumPy's."""

import ml_dtypes
import numpy as np
import pytest

from minitorch import kernels
from minitorch.cuda.emulator import KernelError

from .twins import agree, close, to_device

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16]


def draw(shape, dtype="float32", seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


# shape and axis: less than a warp, more than a block, rows of one, rows that are apart in memory
ROWS = [
    ((), 0),
    ((1,), 0),
    ((0, 3), 1),
    ((3, 0), 1),
    ((3, 5), -1),
    ((2, 33), 1),
    ((2, 1500), 1),
    ((5, 16), 1),  # whole vectors of 16 bytes
    ((3, 4096), 1),
    ((2, 20000), 1),  # more than registers hold
    ((1, 20001), 1),
    ((7, 1), 1),
    ((130, 2), 0),
    ((2, 7, 5), 1),
    ((3, 4, 2, 2), -3),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, dtype):
    for shape, axis in ROWS:
        out = agree(f"{name}_forward", draw(shape, dtype), axis)
        agree(f"{name}_backward", draw(shape, dtype, 1), out, axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [0, 1, 8])
def test_rows_that_begin_anywhere(first, dtype):
    """Vectors of 16 bytes begin at multiples of 16: the kernel has to find out."""
    x = draw((9 * 64,), dtype)
    whole = to_device(x)
    x, on_device = (a[first : first + 8 * 64].reshape(8, 64) for a in (x, whole))
    assert on_device.flags.c_contiguous
    out = kernels.softmax_forward(x, 1)
    close(kernels.softmax_forward(on_device, 1), out)
    gradients = kernels.softmax_backward(x, out, 1)
    close(kernels.softmax_backward(on_device, to_device(out), 1), gradients)
    weight = draw((64,), dtype, 1)
    _, mean, rstd = kernels.layer_norm_forward(x, (64,), weight)
    expected = kernels.layer_norm_backward(x, x, mean, rstd, weight)
    arrays = on_device, on_device, *map(to_device, (mean, rstd, weight))
    close(kernels.layer_norm_backward(*arrays), expected, scale=10)


@pytest.mark.parametrize("name", ["softmax_forward", "log_softmax_forward"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_softmax_of_infinities_and_nan(name):
    inf, nan = np.inf, np.nan
    rows = [[0, -inf, 1], [-inf, 0, 1], [-inf] * 3, [inf, 0, 1], [nan, 0, 1], [1e38, -1e38, 0]]
    x = np.array(rows, np.float32)
    agree(name, x, 1)
    agree(name, np.ascontiguousarray(x.T), 0)
    wide = np.full((2, 100), -inf, np.float32)  # all but the first lane see nothing but -inf
    wide[:, 0] = 3
    agree(name, wide, 1)
    long = draw((3, 20000))  # several rounds, of which some have nothing but -inf
    long[0, 5000:] = long[1, :15000] = long[2] = -inf
    agree(name, long, 1)


LOSSES = [(4,), (3, 4), (0, 4), (5, 2), (2, 3, 4), (2, 3, 2, 2), (3, 1100), (1300, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mean of no targets is 0 / 0
def test_losses(reduction, dtype):
    for shape in LOSSES:
        rng = np.random.default_rng(0)
        classes = shape[1] if len(shape) > 1 else shape[0]
        targets = (shape[0], *shape[2:]) if len(shape) > 1 else ()
        x = draw(shape, dtype)
        some = (np.abs(draw(classes, dtype, 1)) + 1).astype(dtype)
        kinds = (None, -100), (None, 0), (some, -100), (some, 1)
        for weight, ignore in kinds if x.size < 100 else kinds[-1:]:
            target = rng.integers(0, classes, targets)
            target = np.where(rng.random(targets) < 0.3, ignore, target)
            problem = target, weight, reduction, ignore
            log_probs = kernels.log_softmax_forward(x, 1 if x.ndim > 1 else 0)
            loss, total = agree("nll_loss_forward", log_probs, *problem, scale=3)
            grad = draw(loss.shape, dtype, 2)
            # What forward keeps for backward is each device's own affair.
            loss, its_kept, its_total = kernels.cross_entropy_forward(x, *problem)
            at = [to_device(a) for a in (grad, x, *problem)]
            got_loss, kept, got_total = kernels.cross_entropy_forward(*at[1:])
            close((got_loss, got_total), (loss, its_total), scale=3)
            expected = kernels.cross_entropy_backward(grad, x, its_kept, *problem, its_total)
            dx = kernels.cross_entropy_backward(*at[:2], kept, *at[2:], got_total)
            close(dx, expected)
            agree("nll_loss_backward", grad, x.shape, *problem, total)


@pytest.mark.parametrize("wrong", [10, -1])
def test_a_target_that_is_no_class_is_found_on_the_device(wrong):
    x, target = draw((3, 10)), np.array([3, wrong, 0])
    message = r"assertion target_is_a_class fails, cross_entropy.cu:\d+, .* thread \(1,0,0\)"
    with pytest.raises(KernelError, match=message):
        kernels.nll_loss_forward(to_device(x), to_device(target))


def norm_case(shape, parameters, dtype):
    x, grad = draw(shape, dtype), draw(shape, dtype, 1)
    return x, grad, draw(parameters, dtype, 2), draw(parameters, dtype, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_layer_norm(affine, dtype):
    shapes = [
        (3, 5),
        (4, 300, 5),
        (0, 3),
        (2, 0, 3),
        (700, 3),
        (7, 40),
        (5, 1),
        (33, 64),
        (2, 9000),
    ]
    for shape in shapes:
        inner = shape[1:]
        x, grad, weight, bias = norm_case(shape, inner, dtype)
        if not affine:
            weight = bias = None
        _, mean, rstd = agree("layer_norm_forward", x, inner, weight, bias, scale=3)
        agree("layer_norm_backward", grad, x, mean, rstd, weight, scale=10)


def run(name, *args, scale):
    return getattr(kernels, name)(*args)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [False, True])
def test_group_norm(affine, dtype):
    shapes = [(3, 6), (4, 6, 50), (0, 6, 3), (2, 6, 0), (3, 6, 5, 7), (90, 6, 2), (2, 6, 8, 4)]
    for shape in shapes:
        for groups in (1, 2, 6) if len(shape) > 2 else (2,):
            x, grad, weight, bias = norm_case(shape, shape[1], dtype)
            if not affine:
                weight = bias = None
            forward = agree if x.size else run  # what 1 / deviation is of no values is open
            _, mean, rstd = forward("group_norm_forward", x, groups, weight, bias, scale=3)
            agree("group_norm_backward", grad, x, groups, weight, mean, rstd, scale=10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(training, affine, dtype):
    shapes = [
        (3, 6),
        (2, 1),
        (4, 6, 50),
        (0, 4, 3),
        (2, 4, 0),
        (300, 33),
        (700, 2, 3),
        (2, 3, 4, 70),
        (9, 64),
        (2, 3, 4, 24),
    ]
    for shape in shapes:
        x, grad, weight, bias = norm_case(shape, shape[1], dtype)
        mean, var = draw(shape[1], dtype, 4), draw(shape[1], dtype, 5) ** 2
        if not affine:
            weight = bias = None
        if training:
            mean = var = None
        out = agree("batch_norm_forward", x, weight, bias, mean, var, 0.1, scale=3)
        agree("batch_norm_backward", grad, x, weight, *out[1:], 0.1, training, scale=10)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "batch_norm"])
def test_only_what_is_needed(name):
    x = to_device(draw((3, 4, 5)))
    given = {"layer_norm": [(4, 5)], "group_norm": [2], "batch_norm": []}[name]
    _, a, b = getattr(kernels, f"{name}_forward")(x, *given)
    for i in range(3):
        needs = [j == i for j in range(3)]
        args = {
            "layer_norm": (a, b, None),
            "group_norm": (2, None, a, b),
            "batch_norm": (None, a, b, 1e-5, True),
        }[name]
        gradients = getattr(kernels, f"{name}_backward")(x, x, *args, needs)
        assert [g is not None for g in gradients] == needs


def test_a_large_mean_does_not_cancel():
    x = (draw((4, 1000)) + 1000).astype(np.float32)
    exact = kernels.layer_norm_forward(x.astype(np.float64), (1000,))[0]
    got = kernels.layer_norm_forward(to_device(x), (1000,))[0]
    np.testing.assert_allclose(got.get(), exact, atol=2e-4)
    var = kernels.batch_norm_forward(to_device(np.ascontiguousarray(x.T)))[2]
    np.testing.assert_allclose(var.get(), x.T.astype(np.float64).var(0), rtol=1e-4)


def test_parameters_of_another_type_than_the_input():
    """Under autocast the input is half precision, and the weights are not."""
    x, weight, bias = draw((3, 5), "float16"), draw((5,)), draw((5,), seed=1)
    out = kernels.layer_norm_forward(to_device(x), (5,), to_device(weight), to_device(bias))[0]
    close(out, kernels.layer_norm_forward(x, (5,), weight, bias)[0])
