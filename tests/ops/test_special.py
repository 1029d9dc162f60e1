"""Special functions to the last digits, where their domain ends, and far away from 0.

PyTorch's own values are good to about 1e-13; OpInfo's samples (tests/opinfo) compare them too, but
with numbers between -9 and 9 alone.
"""

import math

import numpy as np
import pytest
import torch

import minitorch

NAMES = """erf erfc erfinv lgamma digamma i0 special.i0e special.i1 special.i1e special.erfcx
special.log_ndtr special.ndtr special.ndtri special.entr logit""".split()
INFINITE = [math.inf, -math.inf, math.nan]


def function(T, name: str):
    return getattr(T.special if name.startswith("special.") else T, name.removeprefix("special."))


def points(name: str) -> np.ndarray:
    """Where to look: close together, and in powers of ten, as far as it makes sense."""
    rng = np.random.default_rng(0)
    tiny = 10 ** rng.uniform(-300, 0, 200)
    if name in ("erfinv", "logit", "special.ndtri"):
        inside = np.concatenate([rng.uniform(0, 1, 2000), tiny, 1 - tiny, [0, 0.5, 1, 1.5, -2]])
        return np.concatenate([inside, -inside[:2000]]) if name == "erfinv" else inside
    middle = np.concatenate([rng.uniform(-30, 30, 2000), rng.uniform(-3, 3, 2000), tiny, -tiny])
    return np.concatenate([middle, np.arange(-5, 6), 10 ** rng.uniform(0, 2.5, 200), INFINITE])


def assert_close(got, expected, tolerance: float, what) -> None:
    got, expected = np.asarray(got.tolist()), np.asarray(expected.tolist())
    bad = ~np.isclose(got, expected, tolerance, tolerance, equal_nan=True)
    assert not bad.any(), (what, got[bad][:5], expected[bad][:5])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-5)])
def test_values_and_slopes(name, dtype, tolerance):
    at = points(name)
    results = []
    for T in (minitorch, torch):
        x = T.tensor(at, dtype=getattr(T, dtype), requires_grad=True)
        out = function(T, name)(x)
        results.append((out.detach(), T.autograd.grad(out.sum(), x)[0]))
    (ours, slope), (theirs, their_slope) = results
    assert_close(ours, theirs, tolerance, name)
    if dtype == "float64":
        # Beside a pole the argument's last digit rules; at nan PyTorch's i1 has a slope of 1/2.
        smooth = (np.abs(their_slope.numpy()) < 1e6) & ~np.isnan(at)
        assert_close(slope[smooth.tolist()], their_slope[smooth], 1e-9, f"slope of {name}")


@pytest.mark.parametrize("name", ["erfc", "special.erfcx", "special.log_ndtr", "special.i0e"])
def test_relative_accuracy_far_out(name):
    """Where the values are tiny they are as exact as where they are not."""
    at = np.linspace(1, 26, 500)
    got = np.array(function(minitorch, name)(minitorch.tensor(at)).tolist())
    expected = function(torch, name)(torch.tensor(at)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_polygamma(order):
    at = np.concatenate([np.linspace(0.01, 30, 300), np.linspace(-7.9, -0.1, 40)])
    outs = []
    for T in (minitorch, torch):
        x = T.tensor(at, requires_grad=True)
        assert x.polygamma(order).tolist() == T.polygamma(order, x).tolist()
        y = T.special.polygamma(order, x)
        outs.append((y.detach(), T.autograd.grad(y.sum(), x)[0]))
    for ours, theirs in zip(*outs, strict=True):
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-9)
    for T in (minitorch, torch):
        with pytest.raises(RuntimeError, match="negative n"):
            T.polygamma(-1, T.ones(2))


def test_zeta():
    """Riemann's at 2 is pi * pi / 6; Hurwitz's as PyTorch's."""
    assert minitorch.special.zeta(2, minitorch.ones(1, dtype=minitorch.float64)).item() == (
        pytest.approx(math.pi**2 / 6, rel=1e-15)
    )
    q = np.concatenate([np.linspace(0.1, 40, 100), np.linspace(-5.5, 0, 12)])
    for s in (1, 1.5, 2, 3, 0.5):
        ours = minitorch.special.zeta(s, minitorch.tensor(q)).tolist()
        np.testing.assert_allclose(
            ours, torch.special.zeta(s, torch.tensor(q)).tolist(), rtol=1e-11, err_msg=str(s)
        )


def test_inverses():
    x = minitorch.linspace(-3, 3, 50, dtype=minitorch.float64)
    special = minitorch.special
    assert_close(minitorch.erfinv(minitorch.erf(x)), x, 1e-9, "erfinv")
    assert_close(special.ndtri(special.ndtr(x)), x, 1e-9, "ndtri")
    assert_close(special.logit(special.expit(x)), x, 1e-12, "logit")


@pytest.mark.parametrize("name", ["xlogy", "special.xlog1py"])
def test_products_with_a_logarithm(name):
    """0 times anything but nan is 0, and so is its slope."""
    values = [0.0, -0.0, 1.0, -1.0, -2.0, 0.5, *INFINITE]
    a, b = np.meshgrid(values, values)
    outs = []
    for T in (minitorch, torch):
        x, y = (T.tensor(v, requires_grad=True) for v in (a, b))
        out = function(T, name)(x, y)
        outs.append([out.detach(), *T.autograd.grad(out.sum(), [x, y])])
        assert function(T, name)(x.detach(), 2).tolist() is not None  # a number on either side
        assert function(T, name)(2.0, y.detach()).shape == y.shape
    for ours, theirs in zip(*outs, strict=True):
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-12)


def test_large_arrays_go_in_blocks():
    x = minitorch.rand(300, 1000, dtype=minitorch.float64) * 10
    whole = minitorch.lgamma(x)
    rows = minitorch.stack([minitorch.lgamma(row) for row in x])
    assert whole.tolist() == rows.tolist()


def test_the_namespace_has_what_pytorch_has():
    """All but families that hardly anyone uses."""
    left_out = "polynomial bessel airy_ai gammainc".split()
    names = [n for n in dir(torch.special) if callable(getattr(torch.special, n)) and n[0] != "_"]
    missing = [n for n in names if not hasattr(minitorch.special, n) and n != "Tensor"]
    assert [n for n in missing if not any(family in n for family in left_out)] == []
