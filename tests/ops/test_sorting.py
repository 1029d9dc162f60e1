"""Order as PyTorch has it (nan, zeros, ties), on arrays large enough for the quick ways; counts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch

from .test_reduce import both

INF, NAN = float("inf"), float("nan")
TYPES = [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 3.4e38]


def with_ties(shape, dtype, seed=0):
    """Numbers of which many are equal; of floats some are special."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-20, 20, shape)
    if np.dtype(dtype).kind == "f":
        x = np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), x / 4)
    with np.errstate(all="ignore"):
        return x.astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("shape, dim", [((2000,), 0), ((20, 50), 0), ((20, 50), 1), ((3, 4), 1)])
def test_sort_is_stable_and_puts_nan_last(dtype, descending, shape, dim):
    x = with_ties(shape, dtype)
    both(lambda T, x: tuple(x.sort(stable=True, dim=dim, descending=descending)), x)
    both(lambda T, x: T.argsort(x, stable=True, dim=dim, descending=descending), x)


def test_sort_of_bfloat16_and_of_no_dimensions():
    def sort(T, x):
        values, indices = x.to(T.bfloat16).sort(stable=True)
        return values.float(), indices, *T.tensor(3.0).sort(), *T.tensor(3.0).topk(1)

    both(sort, with_ties((500,), np.float32))


@given(st.lists(st.floats(width=32) | st.sampled_from(SPECIAL), min_size=300, max_size=310))
def test_order_by_bits_is_the_order_of_the_numbers(numbers):
    with np.errstate(over="ignore"):
        x = np.array(numbers, np.float32)
    for descending in (False, True):
        both(lambda T, x, d=descending: x.sort(stable=True, descending=d).indices, x)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("shape, dim", [((5000,), 0), ((8, 700), 1), ((700, 8), 0), ((9, 5), 1)])
def test_topk_and_kthvalue(largest, shape, dim):
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    x[x == 77] = NAN
    for k in (0, 1, 3):
        both(lambda T, x, k=k: tuple(x.topk(k, dim, largest)), x)
    both(lambda T, x: tuple(x.kthvalue(4, dim)), x)
    both(lambda T, x: tuple(x.kthvalue(4, dim, keepdim=True)), x)


def test_gradients_go_to_the_places_that_were_chosen():
    def gradients(T, x):
        x.requires_grad_()
        results = []
        for y in (
            x.sort(1, descending=True).values,
            x.topk(2, 0).values,
            x.kthvalue(3, 1).values,
            x.median(0, keepdim=True).values,
            x.mode(1).values,
            x.msort(),
            T.quantile(x, T.tensor([0.2, 0.7], dtype=T.float64), 1),
        ):
            weights = T.arange(float(y.numel()), dtype=y.dtype).reshape(y.shape)
            (g,) = T.autograd.grad((y * y * weights).sum(), x, create_graph=True)
            results += [g.detach(), T.autograd.grad((g * g).sum(), x)[0]]
        return results

    both(gradients, np.random.default_rng(0).standard_normal((4, 5)))


@pytest.mark.parametrize("shape", [(7,), (6,), (3, 400), (400, 3)])
def test_medians(shape):
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    for with_nan in (False, True):
        if with_nan:
            x.reshape(-1)[::9] = NAN
        for name in ("median", "nanmedian"):
            both(lambda T, x, name=name: getattr(x, name)(), x)
            for dim in range(x.ndim):
                both(lambda T, x, name=name, dim=dim: getattr(x, name)(dim).values, x)
    nothing = np.full((2, 3), NAN)
    both(lambda T, x: (x.median(), x.nanmedian(), *x.median(1), *x.nanmedian(1)), nothing)


def test_mode_is_the_smallest_of_the_most_frequent():
    both(
        lambda T, x: tuple(x.mode()), np.array([[3, 1, 2, 1, 3], [4, 4, 0, 0, 0], [1, 2, 3, 4, 5]])
    )
    both(lambda T, x: x.mode(0).values, with_ties((300, 3), np.int64))


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, interpolation):
    x = np.random.default_rng(0).standard_normal((5, 6))
    x[1, 2] = x[1, 3] = x[3, 0] = NAN
    options = {"interpolation": interpolation}
    for dim in (None, 0, 1):
        for keepdim in (False, True):

            def quantiles(T, x, dim=dim, keepdim=keepdim):
                call = getattr(T, name)
                q = T.tensor([0.0, 0.3, 0.5, 1.0], dtype=T.float64)
                return [call(x, p, dim, keepdim, **options) for p in (q, 0.7)]

            both(quantiles, x)


@pytest.mark.parametrize("dtype", TYPES)
def test_unique(dtype):
    x = with_ties((6, 7), dtype)
    flags = {"return_inverse": True, "return_counts": True}
    if x.dtype.kind == "f":
        x[2] = NAN  # each differs from all others
    both(lambda T, x: (T.unique(x), *T.unique(x, **flags)), x)
    both(lambda T, x: T.unique_consecutive(x.sort().values, **flags), x)
    repeated = np.where(np.isnan(x), 0, x).astype(dtype)[[0, 0, 3, 1, 1, 3]]  # rows are told apart
    for dim in (0, 1):
        both(lambda T, x, dim=dim: T.unique(x, dim=dim, **flags), repeated)
        both(lambda T, x, dim=dim: T.unique_consecutive(x, dim=dim, **flags), repeated)
    both(lambda T, x: T.unique(T.tensor(2), **flags), x)


def test_searching():
    rng = np.random.default_rng(0)
    rows, values = np.sort(rng.integers(0, 9, (3, 8))), rng.integers(-1, 10, (3, 5))
    for right in (False, True):
        both(lambda T, s, v, r=right: T.searchsorted(s, v, right=r, out_int32=True), rows, values)
        both(lambda T, s, v, r=right: T.searchsorted(s[0].contiguous(), v, right=r), rows, values)
        both(lambda T, s, v, r=right: T.bucketize(v, s[1].contiguous(), right=r), rows, values)
    both(lambda T, s, v: T.searchsorted(s[0].contiguous(), 4, side="right"), rows, values)

    def unsorted(T, s, v):
        s = s.flip(1)
        return T.searchsorted(s, v, sorter=s.argsort(dim=1, stable=True))

    both(unsorted, rows, values)
    both(lambda T, s, v: (T.isin(v, s), T.isin(v, s, invert=True), T.isin(3, s)), rows, values)
    both(lambda T, s, v: T.searchsorted(T.tensor([1.0, 3]), T.tensor([NAN, 2])), rows, values)
    both(
        lambda T, s, v: (T.argwhere(s), T.argwhere(T.tensor(1)), T.argwhere(T.tensor(0))),
        rows,
        values,
    )


def test_counts_and_histograms():
    rng = np.random.default_rng(0)
    n, x = rng.integers(0, 6, 40), rng.standard_normal(40).astype(np.float32)
    both(lambda T, n, x: (T.bincount(n), T.bincount(n, x), T.bincount(n, minlength=9)), n, x)
    both(lambda T, n, x: T.bincount(n, n), n, x)
    both(lambda T, n, x: (T.histc(x), T.histc(x, 7, -1, 2), T.histc(T.ones(4), 3)), n, x)
    both(lambda T, n, x: tuple(T.histogram(x, 5)), n, x)
    both(lambda T, n, x: tuple(T.histogram(x, 4, range=(-1.0, 1.0), density=True)), n, x)
    both(lambda T, n, x: tuple(T.histogram(x, T.tensor([-1.0, 0.5, 2.0]), weight=x.abs())), n, x)


def test_covariances():
    rng = np.random.default_rng(0)
    x, f, a = rng.standard_normal((3, 6)), rng.integers(1, 4, 6), rng.random(6)
    both(lambda T, x, f, a: (T.cov(x), T.cov(x, correction=0), T.corrcoef(x)), x, f, a)
    both(lambda T, x, f, a: (T.cov(x, fweights=f), T.cov(x[0], aweights=a)), x, f, a)
    both(lambda T, x, f, a: T.cov(x, correction=2, fweights=f, aweights=a), x, f, a)


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.ones(2, dtype=T.complex64).sort(),
        lambda T: T.ones(3).topk(4),
        lambda T: T.ones(3).kthvalue(0),
        lambda T: T.zeros(0, 2).median(0),
        lambda T: T.zeros(0, 2).mode(0),
        lambda T: T.tensor([True]).median(),
        lambda T: T.quantile(T.ones(3, dtype=T.int64), 0.5),
        lambda T: T.quantile(T.ones(3), 1.5),
        lambda T: T.quantile(T.ones(3), T.tensor([0.5], dtype=T.float64)),
        lambda T: T.quantile(T.ones(3), 0.5, interpolation="cubic"),
        lambda T: T.searchsorted(T.ones(2, 3), T.ones(3, 2)),
        lambda T: T.searchsorted(T.ones(3), T.ones(2), side="middle"),
        lambda T: T.searchsorted(T.ones(3), T.ones(2), side="left", right=True),
        lambda T: T.bincount(T.tensor([-1])),
        lambda T: T.bincount(T.tensor([1.0])),
        lambda T: T.bincount(T.tensor([1, 2]), T.ones(3)),
        lambda T: T.histc(T.ones(2), bins=0),
        lambda T: T.histc(T.tensor([1.0, INF])),
        lambda T: T.histc(T.ones(2), min=3, max=1),
        lambda T: T.histogram(T.arange(5), 3),
        lambda T: T.cov(T.ones(2, 2, 2)),
        lambda T: T.cov(T.ones(2, 2), fweights=T.ones(2)),
        lambda T: T.unique(T.ones(2), dim=3),
    ],
)
def test_errors_are_of_pytorchs_types(call):
    with pytest.raises(Exception) as expected:
        call(torch)
    with pytest.raises(expected.type):
        call(minitorch)
