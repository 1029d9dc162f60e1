"""Activations, special functions and dropout on the emulated GPU, against NumPy's."""

import ml_dtypes
import numpy as np
import pytest

import minitorch as torch
from minitorch import kernels
from minitorch.cuda import runtime
from minitorch.kernels.cuda.launch import THREADS

from .twins import agree, close, to_device

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16]
# With 16 bytes for each thread, 5000 are several blocks of float32, and 4999 leave a rest.
SHAPES = [(), (0, 3), (1,), (3, 5), (7, 1, 11), (5000,), (4999,)]
ACTIVATIONS = {
    "sigmoid": (),
    "silu": (),
    "softplus": (),
    "softplus with options": (2.0, 3.0),
    "gelu": (),
    "gelu tanh": ("tanh",),
}
FUNCTIONS = "erf erfc erfcx erfinv ndtri log_ndtr lgamma digamma i0 i0e i1 i1e".split()


def draw(shape, dtype="float32", seed=0, scale=1.0):
    return np.asarray(scale * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ACTIVATIONS)
def test_activations(case, dtype):
    name, options = case.split()[0], ACTIVATIONS[case]
    for shape in SHAPES:
        x, grad = draw(shape, dtype, scale=3), draw(shape, dtype, 1)
        out = agree(f"{name}_forward", x, *options)
        agree(f"{name}_backward", grad, out if name == "sigmoid" else x, *options)


@pytest.mark.parametrize("case", ACTIVATIONS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_activations_far_from_zero(case):
    x = np.array([-np.inf, -1e30, -1000, -100, -20, 0, 20, 100, 1000, 1e30, np.inf, np.nan])
    agree(f"{case.split()[0]}_forward", x, *ACTIVATIONS[case])


@pytest.mark.parametrize("name", ["sigmoid", "silu"])
def test_complex_numbers_take_the_plain_formula(name):
    x = torch.randn(5, dtype=torch.complex64, requires_grad=True)
    y = x.detach().cuda().requires_grad_()
    for t in (x, y):
        function = getattr(torch.nn.functional, name)
        function(t).abs().sum().backward()
    torch.testing.assert_close(y.grad.cpu(), x.grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_functions(name, dtype):
    rng = np.random.default_rng(0)
    for shape in ((), (0,), (3, 5), (1100,)):
        x = np.asarray(3 * rng.standard_normal(shape)).astype(dtype)
        if name in ("erfinv", "ndtri"):
            x = np.asarray(rng.uniform(-1 if name == "erfinv" else 0, 1, shape)).astype(dtype)
        agree(name, x, scale=0.01 if dtype == "float64" else 1)  # to 1e-11


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_functions_at_their_ends_and_poles(name):
    x = [0.0, -1.0, -2.0, 1.0, 2.0, 0.5, -0.5, 7.99, 8.01, -8.01, 20.0, 100.0, np.inf, np.nan]
    agree(name, np.array(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_zeta(dtype):
    s = np.array([[0.5], [1], [1.5], [2], [3], [10]]).astype(dtype)
    q = np.array([-2000, -3, -2.5, -0.5, 0, 0.5, 1, 3, 9, 11, 1000, np.nan]).astype(dtype)
    agree("zeta", s, q)


def test_arrays_that_begin_anywhere():
    """Loads of 16 bytes need an address that is a multiple of 16. A view may have another one."""
    x = draw(1001)
    for start in range(5):
        got = kernels.gelu_forward(to_device(x)[start:])
        close(got, kernels.gelu_forward(x[start:]))


def test_more_elements_than_threads():
    """Each thread then takes several, a grid apart."""
    from minitorch.kernels.cuda.launch import empty, launch

    x = draw(5 * THREADS)
    out = empty(x.shape, x.dtype)
    launch("sigmoid_forward", 1, 32, to_device(x), out, x.size)
    close(out, kernels.sigmoid_forward(x))


# Dropout


def philox(counters, seed):
    """The generator once more, by NumPy: four words for each counter, (n, 4)."""
    low = 2**32 - 1
    key = [seed & low, seed >> 32]
    zero = np.zeros_like(counters)
    w = [counters & np.uint64(low), counters >> np.uint64(32), zero, zero]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * w[0], np.uint64(0xCD9E8D57) * w[2]
        high_a, high_b = a >> np.uint64(32), b >> np.uint64(32)
        w = [
            high_b ^ w[1] ^ np.uint64(key[0]),
            b & np.uint64(low),
            high_a ^ w[3] ^ np.uint64(key[1]),
            a & np.uint64(low),
        ]
        key = [(key[0] + 0x9E3779B9) & low, (key[1] + 0xBB67AE85) & low]
    return np.stack(w, 1)


def test_philox_has_the_published_numbers():
    """Random123's known answer for the counter 0 and the key 0."""
    words = philox(np.zeros(1, np.uint64), 0)[0]
    assert [f"{w:08x}" for w in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (1024,), (2500,)])
def test_dropout(shape, dtype):
    seed, p = 2**63 + 12345, 0.3
    x = draw(shape, dtype)
    words = philox(np.arange(-(-x.size // 4), dtype=np.uint64), seed)
    kept = words.reshape(-1)[: x.size] < 0.7 * 2**32
    expected = x.astype("float64") / (1 - p) * kept.reshape(shape)
    got = kernels.find("dropout", runtime.library().zeros(1))(to_device(x), p, seed)
    close(got, np.asarray(expected).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_has_the_same_mask_wherever_the_array_begins(dtype):
    x = np.ones(1000, dtype)
    on_device = to_device(np.ones(1001, dtype))[1:]  # no vectors of 16 bytes
    dropout = kernels.find("dropout", on_device)
    close(dropout(on_device, 0.5, 7), dropout(to_device(x), 0.5, 7).get())


@pytest.mark.parametrize(
    ("kind", "values", "channels"),
    [
        (lambda x: torch.nn.functional.dropout(x, 0.2, inplace=True), (0, 1.25), False),
        (lambda x: torch.nn.functional.dropout3d(x, 0.2), (0, 1.25), True),
        (lambda x: torch.nn.functional.alpha_dropout(x, 0.2, True), None, False),
        (lambda x: torch.nn.functional.feature_alpha_dropout(x, 0.2, True), None, True),
    ],
)
def test_other_kinds_of_dropout_draw_on_the_gpu_too(kind, values, channels, monkeypatch):
    monkeypatch.setattr(torch.random, "bernoulli_", None)  # the CPU's
    torch.manual_seed(0)
    x = torch.ones(30, 40, 2, 1, 1, device="cuda")
    out = kind(x.clone())
    dropped, kept = out.unique().tolist()
    assert values is None or (dropped, kept) == values
    assert 0.75 < (out == kept).float().mean().item() < 0.85
    alike = (out[:, :, 0] == out[:, :, 1]).float().mean().item()
    assert alike == 1 if channels else alike < 0.8
    torch.manual_seed(0)
    assert torch.equal(kind(x.clone()), out)
    assert not torch.equal(kind(x.clone()), out)


def test_dropout_draws_its_mask_again_in_backward():
    x = torch.rand(3000, device="cuda").add(1).requires_grad_()
    torch.manual_seed(0)
    out = torch.nn.functional.dropout(x, 0.25)
    assert 0.7 < (out != 0).float().mean().item() < 0.8
    (grad,) = torch.autograd.grad(out, x, torch.ones_like(out), create_graph=True)
    torch.testing.assert_close(grad * x, out)
    torch.manual_seed(0)
    assert torch.equal(torch.nn.functional.dropout(x, 0.25), out)
    assert not torch.equal(torch.nn.functional.dropout(x, 0.25), out)
