"""nn.init: PyTorch's numbers for the same seed."""

import math

import pytest
import torch

import minitorch

from .both import assert_same, make_both, nn_of

SHAPE = (6, 5, 3)
RECIPES = [
    ("uniform_", SHAPE, {"a": -1.0, "b": 3.0}),
    ("normal_", SHAPE, {"mean": 1.0, "std": 0.2}),
    ("normal_", (3, 2), {}),
    ("constant_", SHAPE, {"val": 0.3}),
    ("ones_", SHAPE, {}),
    ("zeros_", SHAPE, {}),
    ("eye_", (3, 5), {}),
    ("dirac_", (6, 2, 3), {"groups": 2}),
    ("dirac_", (3, 4, 3, 4), {}),
    ("xavier_uniform_", SHAPE, {"gain": 2.0}),
    ("xavier_normal_", SHAPE, {}),
    ("kaiming_uniform_", SHAPE, {"a": 0.1, "mode": "fan_out"}),
    ("kaiming_uniform_", SHAPE, {"nonlinearity": "relu"}),
    ("kaiming_normal_", SHAPE, {"mode": "fan_in", "nonlinearity": "tanh"}),
    ("trunc_normal_", (40, 30), {}),
    ("trunc_normal_", (40, 30), {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 2.0}),
    ("trunc_normal_", (40, 30), {"std": 1.0, "a": 1.0, "b": 1.5}),  # few normals would fit
    ("trunc_normal_", (40, 30), {"a": -0.5, "b": 0.55}),
    ("trunc_normal_", (20, 20), {"a": -0.01, "b": 0.2}),
    ("sparse_", (20, 3), {"sparsity": 0.31}),
    ("orthogonal_", (4, 6), {"gain": 2.0}),
    ("orthogonal_", (6, 2, 2), {}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, shape, options", RECIPES)
def test_numbers_are_pytorchs(name, shape, options, dtype):
    def make(T):
        p = nn_of(T).Parameter(T.zeros(*shape, dtype=getattr(T, dtype)))
        version = p._version
        assert getattr(nn_of(T).init, name)(p, **options) is p
        assert p._version > version
        assert p.requires_grad
        return p, T.rand(2)

    (got, after), (expected, expected_after) = make_both(make)
    tolerance = 2e-5 if name == "orthogonal_" else 0
    if dtype == "float64" and "normal" in name and math.prod(shape) > 1024:
        tolerance = 1e-14
    assert_same(got, expected, rtol=tolerance, atol=tolerance / 10)
    assert after.tolist() == expected_after.tolist()


RANDOM = ["uniform_", "normal_", "trunc_normal_", "orthogonal_"]
RANDOM += ["kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"]


@pytest.mark.parametrize("name", RANDOM)
def test_a_generator_of_ones_own(name):
    def make(T):
        p = T.zeros(5, 5)
        getattr(nn_of(T).init, name)(p, generator=T.Generator().manual_seed(5))
        return p, T.rand(2)

    (got, after), (expected, expected_after) = make_both(make)
    assert_same(got, expected, rtol=2e-5, atol=2e-6)
    assert after.tolist() == expected_after.tolist()  # the default generator was left alone


@pytest.mark.parametrize(
    "arguments",
    [(name,) for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu")]
    + [("leaky_relu", 0.3), ("leaky_relu", 2)],
)
def test_gains(arguments):
    ours, theirs = (nn_of(T).init.calculate_gain(*arguments) for T in (minitorch, torch))
    assert math.isclose(ours, theirs, rel_tol=1e-15)


def test_errors(T):
    init = nn_of(T).init
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        init.calculate_gain("square")
    with pytest.raises(ValueError, match="not a valid number"):
        init.calculate_gain("leaky_relu", True)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_normal_(T.zeros(3))
    with pytest.raises(ValueError, match="Mode sideways not supported"):
        init.kaiming_normal_(T.zeros(3, 3), mode="sideways")
    with pytest.raises(ValueError, match="2 dimensions"):
        init.eye_(T.zeros(3))
    with pytest.warns(UserWarning, match="no-op"):
        init.kaiming_uniform_(T.zeros(0, 3))
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(T.zeros(2, 2), mean=9.0, std=3.0)


@pytest.mark.parametrize("name", ["uniform", "normal", "xavier_uniform", "xavier_normal", "eye"])
def test_old_names_warn(T, name):
    init = nn_of(T).init
    p, q = T.zeros(5, 6), T.zeros(5, 6)
    T.manual_seed(3)
    with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated"):
        assert getattr(init, name)(p) is p
    T.manual_seed(3)
    assert T.equal(p, getattr(init, name + "_")(q))


OLD_NAMES = {"constant", "dirac", "kaiming_uniform", "kaiming_normal", "orthogonal", "sparse"}


def test_all_old_names_are_there(T):
    assert all(callable(getattr(nn_of(T).init, name)) for name in OLD_NAMES)


@pytest.mark.parametrize("options", [{}, {"std": 1.0, "a": 1.0, "b": 1.5}])
def test_trunc_normal_of_a_transposed_tensor(options):
    """Numbers are drawn in the order of the memory, also those that are drawn again."""

    def make(T):
        return nn_of(T).init.trunc_normal_(T.zeros(30, 40).t(), **options)

    got, expected = make_both(make)
    assert_same(got, expected, rtol=0, atol=0)
