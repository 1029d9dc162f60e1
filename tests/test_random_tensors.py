"""The tensor functions over random/: the same numbers, layouts and states as PyTorch's."""

import numpy as np
import pytest
import torch

import minitorch

DRAWS = {
    "rand": lambda t: t.rand(3, 5),
    "rand size=": lambda t: t.rand(size=(4,)),
    "rand float64": lambda t: t.rand(3, dtype=t.float64),
    "randn few": lambda t: t.randn(5),
    "randn": lambda t: t.randn((4, 9)),
    "randint": lambda t: t.randint(10, (7,)),
    "randint low": lambda t: t.randint(-5, 5, (7,), dtype=t.int32),
    "randint keywords": lambda t: t.randint(low=2, high=9, size=(3, 2)),
    "randperm": lambda t: t.randperm(20),
    "rand_like transposed": lambda t: t.rand_like(t.ones(3, 40).t()),
    "randn_like transposed": lambda t: t.randn_like(t.ones(3, 40).t()),
    "randint_like transposed": lambda t: t.randint_like(t.ones(3, 40).t(), 100),
    "rand_like expanded": lambda t: t.rand_like(t.ones(3).expand(4, 3)),
    "rand_like expanded inside": lambda t: t.rand_like(
        t.ones(3, 1, 4).expand(3, 5, 4).permute(2, 1, 0)
    ),
    "rand_like equal strides": lambda t: t.rand_like(t.ones(2).as_strided((1, 3, 2), (1, 0, 1))),
    "dropout expanded": lambda t: t.nn.functional.dropout(t.ones(4, 1, 3).expand(4, 5, 3)),
    "multinomial expanded": lambda t: t.multinomial(t.ones(9).expand(40, 9), 1),
    "rrelu 0-d": lambda t: t.nn.functional.rrelu(t.tensor(-1.0), 0.1, 0.9, True),
    "normal tensors": lambda t: t.normal(t.arange(20.0), t.full((20,), 0.5)),
    "normal numbers": lambda t: t.normal(2.0, 3.0, (5,)),
    "uniform_": lambda t: t.empty(6).uniform_(-1, 3),
    "normal_": lambda t: t.empty(50).normal_(1, 2),
    "random_": lambda t: t.empty(6, dtype=t.int64).random_(),
    "exponential_": lambda t: t.empty(6).exponential_(2.0),
    "bernoulli_": lambda t: t.empty(30).bernoulli_(t.full((30,), 0.3)),
    "bernoulli": lambda t: t.bernoulli(t.linspace(0, 1, 40)),
    "rand out": lambda t: t.rand(5, out=t.empty(5, dtype=t.float64)),
    "randint out": lambda t: t.randint(3, 9, (5,), out=t.empty(5)),
    "randperm out": lambda t: t.randperm(5, out=t.empty(5, dtype=t.int32)),
    "rand complex": lambda t: t.rand(7, dtype=t.complex64).abs(),
    "randn complex": lambda t: t.randn(7, dtype=t.complex128).abs(),
    "randn of 16 complex": lambda t: t.view_as_real(t.randn(17, dtype=t.complex64)),
    "normal mean": lambda t: t.normal(t.arange(20.0).view(4, 5).t(), 2.0),
    "normal std": lambda t: t.normal(1.0, t.arange(20.0)),
    "normal broadcast": lambda t: t.normal(t.zeros(3, 1), t.ones(4, dtype=t.float64)),
    "normal out": lambda t: t.normal(t.zeros(3), t.ones(3), out=t.empty(3)),
    "random_ to": lambda t: t.empty(6, dtype=t.uint8).random_(50),
    "random_ from None": lambda t: t.empty(6, dtype=t.int32).random_(50, None),
    "random_ transposed": lambda t: t.empty(3, 4, dtype=t.int16).t().random_(-9, 9),
    "uniform_ from=": lambda t: t.empty(6).uniform_(**{"from": 2, "to": 3}),
    "bernoulli_ expanded": lambda t: t.empty(4, 3).bernoulli_(t.tensor([0.2, 0.5, 0.8])),
    "bernoulli transposed": lambda t: t.bernoulli(t.linspace(0, 1, 40).view(5, 8).t()),
    "bernoulli p": lambda t: t.bernoulli(t.zeros(30, dtype=t.int64), 0.4),
    "bernoulli out": lambda t: t.bernoulli(t.linspace(0, 1, 9), out=t.empty(9, dtype=t.float64)),
    "poisson": lambda t: t.poisson(t.linspace(0, 30, 60).view(6, 10).t()),
    "multinomial rows": lambda t: t.multinomial(t.ones(3, 8), 4),
    "dropout1d": lambda t: t.nn.functional.dropout1d(t.ones(8, 3), 0.5),
    "dropout3d": lambda t: t.nn.functional.dropout3d(t.ones(2, 8, 3, 2, 2), 0.5),
    "dropout_": lambda t: t.dropout_(t.ones(50), 0.5, True),
    "alpha_dropout inplace": lambda t: t.nn.functional.alpha_dropout(t.ones(50), 0.2, True, True),
    "feature_alpha": lambda t: t.nn.functional.feature_alpha_dropout(t.ones(5, 8, 3), 0.2, True),
    "rrelu": lambda t: t.nn.functional.rrelu(t.linspace(-1, 1, 50), training=True),
    "Dropout1d": lambda t: t.nn.Dropout1d(0.4)(t.ones(9, 3)),
    "Dropout3d": lambda t: t.nn.Dropout3d(0.4)(t.ones(2, 9, 2, 2, 1)),
    "AlphaDropout": lambda t: t.nn.AlphaDropout(0.4)(t.ones(9)),
    "FeatureAlphaDropout": lambda t: t.nn.FeatureAlphaDropout(0.4)(t.ones(2, 9, 2)),
    "gumbel hard": lambda t: t.nn.functional.gumbel_softmax(t.ones(6, 5), hard=True),
    "multinomial": lambda t: t.multinomial(t.tensor([1.0, 2, 3, 4]), 10, replacement=True),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws(name):
    results = []
    for library in (minitorch, torch):
        library.manual_seed(7)
        first = DRAWS[name](library)
        results.append((first, library.rand(2), library.get_rng_state()))
    (ours, next_ours, state_ours), (theirs, next_theirs, state_theirs) = results
    assert str(ours.dtype) == str(theirs.dtype) and tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=5e-7, atol=1e-7)
    assert ours.stride() == theirs.stride()
    assert np.array_equal(next_ours.numpy(), next_theirs.numpy()), "the streams have parted"
    # The header and the words agree; after a single normal the cached one may differ by a digit.
    assert np.array_equal(state_ours.numpy()[:5000], state_theirs.numpy()[:5000])


def test_states_are_tensors_and_go_both_ways():
    torch.manual_seed(3)
    torch.rand(5)
    minitorch.set_rng_state(minitorch.from_numpy(torch.get_rng_state().numpy()))
    assert minitorch.rand(4).tolist() == torch.rand(4).tolist()
    ours, theirs = minitorch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    state = ours.get_state()
    assert isinstance(state, minitorch.Tensor) and state.dtype is minitorch.uint8
    first = minitorch.rand(3, generator=ours).tolist()
    assert first == torch.rand(3, generator=theirs).tolist()
    ours.set_state(state)
    assert minitorch.rand(3, generator=ours).tolist() == first
    assert minitorch.initial_seed() == torch.initial_seed()


@pytest.mark.parametrize("transposed", [False, True])
def test_dropout_draws_the_same_mask(transposed):
    results = []
    for library in (minitorch, torch):
        library.manual_seed(11)
        x = library.ones(6, 50)
        x = x.t() if transposed else x
        results.append(library.nn.functional.dropout(x, 0.3).numpy())
    np.testing.assert_array_equal(*results)


def test_dropout_refuses_and_passes_on_as_pytorch_does():
    for library in (minitorch, torch):
        x = library.ones(3)
        assert library.nn.functional.dropout(x, 0.5, training=False) is x or library is torch
        assert library.nn.functional.dropout(x, 1.0).tolist() == [0, 0, 0]
        with pytest.raises(ValueError):
            library.nn.functional.dropout(x, 1.5)


def outcome(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "no error"


def long(t):
    return t.zeros(3, dtype=t.int64)


MISTAKES = {
    "uniform_ of integers": lambda t: long(t).uniform_(),
    "normal_ of integers": lambda t: long(t).normal_(),
    "exponential_ of integers": lambda t: long(t).exponential_(),
    "log_normal_ of integers": lambda t: long(t).log_normal_(),
    "cauchy_ of integers": lambda t: long(t).cauchy_(),
    "geometric_ of integers": lambda t: long(t).geometric_(0.5),
    "geometric_ of bools": lambda t: t.empty(3, dtype=t.bool).geometric_(0.5),
    "bernoulli_ of complex": lambda t: t.empty(3, dtype=t.complex64).bernoulli_(0.5),
    "random_ of complex": lambda t: t.empty(3, dtype=t.complex64).random_(),
    "rand of integers": lambda t: t.rand(3, dtype=t.int64),
    "rand of a negative size": lambda t: t.rand(-1),
    "rand of no generator": lambda t: t.rand(3, generator=5),
    "rand of an unknown option": lambda t: t.rand(3, colour=5),
    "rand out of another dtype": lambda t: t.rand(3, out=t.empty(3, requires_grad=True)),
    "randint of complex": lambda t: t.randint(0, 9, (3,), dtype=t.complex64),
    "randint of floats": lambda t: t.randint(0, 3.5, (3,)),
    "randint of nothing": lambda t: t.randint(3),
    "randint without a size": lambda t: t.randint(3, 5),
    "randint of too much": lambda t: t.randint(0, 300, (3,), dtype=t.uint8),
    "randperm of a float": lambda t: t.randperm(3.0),
    "randperm of bools": lambda t: t.randperm(3, dtype=t.bool),
    "randperm of too many": lambda t: t.randperm(3000, dtype=t.float16),
    "bernoulli of integers": lambda t: t.bernoulli(long(t)),
    "bernoulli of more than 1": lambda t: t.bernoulli(t.ones(3) * 2),
    "bernoulli of nan": lambda t: t.bernoulli(t.ones(3) * float("nan")),
    "bernoulli_ of another shape": lambda t: t.empty(3).bernoulli_(t.ones(4)),
    "multinomial of a float": lambda t: t.multinomial(t.ones(3), 2.0),
    "multinomial of integers": lambda t: t.multinomial(long(t) + 1, 2),
    "multinomial out of floats": lambda t: t.multinomial(t.ones(3), 2, out=t.empty(2)),
    "normal of a negative std": lambda t: t.normal(t.zeros(3), -t.ones(3)),
    "normal of shapes": lambda t: t.normal(t.zeros(3), t.ones(2)),
    "normal of two numbers": lambda t: t.normal(0.0, 1.0),
    "normal of integers": lambda t: t.normal(long(t), 1.0),
    "poisson of less than 0": lambda t: t.poisson(-t.ones(3)),
    "poisson of integers": lambda t: t.poisson(long(t)),
    "rrelu the wrong way round": lambda t: t.nn.functional.rrelu(t.ones(3), 0.5, 0.1, True),
    "rrelu of integers": lambda t: t.nn.functional.rrelu(long(t), 0.1, 0.5, True),
    "dropout of integers": lambda t: t.nn.functional.dropout(long(t), 0.5),
    "torch.dropout of 1.5": lambda t: t.dropout(t.ones(3), 1.5, True),
    "feature_dropout of a row": lambda t: t.feature_dropout(t.ones(3), 0.5, True),
    "dropout1d of four dimensions": lambda t: t.nn.functional.dropout1d(t.ones(2, 2, 2, 2)),
    "alpha_dropout of integers": lambda t: t.alpha_dropout(long(t), 0.5, True),
    "uniform_ to inf": lambda t: t.empty(3).uniform_(0, float("inf")),
    "uniform_ over all floats": lambda t: t.empty(3).uniform_(-3e38, 3e38),
    "uniform_ of an expanded tensor": lambda t: t.empty(1).expand(3).uniform_(),
    "uniform_ of a leaf": lambda t: t.empty(3, requires_grad=True).uniform_(),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_pytorchs_errors(name):
    ours, theirs = (outcome(lambda t=t: MISTAKES[name](t)) for t in (minitorch, torch))
    assert ours == theirs
    assert (theirs == "no error") == (name == "geometric_ of integers")


def test_what_is_drawn_has_no_gradient(T):
    p = T.full((5,), 0.5, requires_grad=True)
    for drawn in (T.bernoulli(p), T.normal(p, p), T.normal(p, 1.0), T.normal(1.0, p), T.poisson(p)):
        assert drawn.requires_grad
        (grad,) = T.autograd.grad(drawn.sum(), p)
        assert grad.tolist() == [0] * 5
    x = p * 2
    x[:3].uniform_()  # of what it was, only the rest still counts
    (grad,) = T.autograd.grad(x.sum(), p)
    assert grad.tolist() == [0, 0, 0, 2, 2]


def test_in_place_draws_count_as_changes(T):
    for name in ("uniform_", "normal_", "random_", "bernoulli_", "exponential_", "cauchy_"):
        x = T.ones(3)
        before = x._version
        assert getattr(x, name)() is x
        assert x._version == before + 1


def test_fork_rng(T):
    T.manual_seed(3)
    state = T.get_rng_state()
    with T.random.fork_rng():
        T.rand(5)
    assert T.equal(T.get_rng_state(), state)
    with T.random.fork_rng(enabled=False):
        T.rand(5)
    assert not T.equal(T.random.get_rng_state(), state)
    T.random.set_rng_state(state)
    assert T.equal(T.get_rng_state(), state) and T.random.initial_seed() == 3


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_bernoulli_has_its_distribution(p):
    """Also where PyTorch's numbers are others: before 2.7, on Intel's processors."""
    minitorch.manual_seed(1)
    drawn = minitorch.empty(100_000).bernoulli_(p).numpy()
    sigma = (p * (1 - p) / drawn.size) ** 0.5
    assert abs(drawn.mean() - p) < 4 * sigma
    both = (drawn[1:] * drawn[:-1]).mean()  # neighbours are independent
    assert abs(both - p * p) < 4 * (p * p * (1 - p * p) / drawn.size) ** 0.5 + 4 * p * sigma
