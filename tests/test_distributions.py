"""Distributions against PyTorch's: samples, log-probabilities, moments, gradients, errors."""

import pytest
import torch

import minitorch

LIBRARIES = (minitorch, torch)


def tensor(lib, *values, **kwargs):
    return lib.tensor(values, dtype=lib.float64, **kwargs)


def covariance(lib):
    a = tensor(lib, [2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.5])
    return a


CASES = {
    "normal": (lambda lib, a, b: (a, b.exp()), "Normal"),
    "normal of numbers": (lambda lib, a, b: (0.5, 2), "Normal"),
    "uniform": (lambda lib, a, b: (a, a + b.exp()), "Uniform"),
    "bernoulli": (lambda lib, a, b: (a.sigmoid(),), "Bernoulli"),
    "bernoulli of logits": (lambda lib, a, b: (None, a), "Bernoulli"),
    "categorical": (lambda lib, a, b: (b.exp(),), "Categorical"),
    "categorical of logits": (lambda lib, a, b: (None, a.view(1, 3) + b.view(3, 1)), "Categorical"),
    "multivariate": (lambda lib, a, b: (a, covariance(lib)), "MultivariateNormal"),
    "multivariate, precision": (
        lambda lib, a, b: (a, None, covariance(lib)),
        "MultivariateNormal",
    ),
    "multivariate, factor": (
        lambda lib, a, b: (a.expand(2, 3), None, None, lib.linalg.cholesky(covariance(lib))),
        "MultivariateNormal",
    ),
    "independent": (
        lambda lib, a, b: (lib.distributions.Normal(a.expand(2, 3), b.exp()), 1),
        "Independent",
    ),
}


def made(lib, case, requires_grad=True):
    a = tensor(lib, 0.3, -1.2, 0.8, requires_grad=requires_grad)
    b = tensor(lib, -0.4, 0.2, 0.6, requires_grad=requires_grad)
    arguments, name = CASES[case]
    return getattr(lib.distributions, name)(*arguments(lib, a, b)), (a, b)


def found(lib, case):
    """All that there is to know of a distribution, by name."""
    lib.manual_seed(5)
    d, leaves = made(lib, case)
    seen = {"batch": tuple(d.batch_shape), "event": tuple(d.event_shape), "repr": repr(d)}
    results = {"sample": d.sample(), "samples": d.sample((2, 4))}
    assert not results["samples"].requires_grad
    if d.has_rsample:
        results["rsample"] = d.rsample((3,))
    if case != "independent":
        results["expanded"] = d.expand((2, *d.batch_shape)).sample()
    results["log_prob"] = d.log_prob(results["samples"].detach())
    names = ("mean", "mode", "variance", "stddev", "entropy", "perplexity", "cdf", "icdf")
    for name in (*names, "enumerate_support"):
        try:
            value = getattr(d, name)
            if name in ("cdf", "icdf"):
                value = value(results["samples"].detach() if name == "cdf" else tensor(lib, 0.3))
            results[name] = value() if callable(value) else value
        except (NotImplementedError, AttributeError) as error:
            seen[name] = "not there"
            assert name != "log_prob", error
    for name, value in results.items():
        if value.requires_grad:
            gradients = lib.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)
            results[name] = [value.detach(), *gradients]
    return seen, results


@pytest.mark.parametrize("case", CASES)
def test_everything_is_pytorchs(case):
    (seen, results), (expected_seen, expected) = (found(lib, case) for lib in LIBRARIES)
    for name in ("enumerate_support", "mode"):
        if expected_seen.get(name) != seen.get(name):  # PyTorch's have some more
            assert seen[name] == "not there" and case.startswith(("bernoulli", "uniform"))
            seen.pop(name), expected.pop(name)
    assert seen == expected_seen
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        theirs, ours = (v if isinstance(v, list) else [v] for v in (value, results[name]))
        for t, o in zip(theirs, ours, strict=True):
            if t is None or o is None:  # no gradient, or one that is zero everywhere
                assert (o is None or not o.any()) and (t is None or not t.any()), name
                continue
            torch.testing.assert_close(
                torch.tensor(o.tolist(), dtype=t.dtype), t.detach(), equal_nan=True, msg=name
            )
            assert str(o.dtype) == str(t.dtype), name


@pytest.mark.parametrize("case", [c for c in CASES if "numbers" not in c])
def test_divergences(case):
    got, expected = [], []
    for lib, out in zip(LIBRARIES, (got, expected), strict=True):
        p, leaves = made(lib, case)
        q = p.expand(p.batch_shape)
        moved = tensor(lib, 0.1, 0.4, -0.3)
        if case.startswith(("normal", "multivariate")):
            q.loc = p.loc.detach() + moved
        elif case.startswith("uniform"):
            q.low, q.high = p.low - 1, p.high + moved
        elif case.startswith(("bernoulli", "categorical")):
            q = type(p)(logits=moved)
        divergence = lib.distributions.kl_divergence(p, q)
        out.append(divergence.detach())
        finite = divergence[divergence.isfinite()].sum()
        if finite.requires_grad:
            out += lib.autograd.grad(finite, leaves, allow_unused=True)
    assert len(got) == len(expected)
    for o, t in zip(got, expected, strict=True):
        if o is None or t is None:
            assert (o is None or not o.any()) and (t is None or not t.any())
        else:
            torch.testing.assert_close(torch.tensor(o.tolist(), dtype=t.dtype), t)


def test_probabilities_of_zero():
    for p, q in (([0.0, 1.0], [0.5, 0.5]), ([0.5, 0.5], [0.0, 1.0])):
        for name in ("Bernoulli", "Categorical"):
            got, expected = (
                lib.distributions.kl_divergence(
                    *[getattr(lib.distributions, name)(tensor(lib, *x)) for x in (p, q)]
                ).tolist()
                for lib in LIBRARIES
            )
            assert got == pytest.approx(expected)


BAD = {
    "scale": lambda lib: lib.distributions.Normal(0.0, lib.tensor([1.0, -1.0])),
    "no number": lambda lib: lib.distributions.Normal("0", 1.0),
    "empty interval": lambda lib: lib.distributions.Uniform(1.0, 1.0),
    "neither": lambda lib: lib.distributions.Bernoulli(),
    "both": lambda lib: lib.distributions.Categorical(lib.ones(2), lib.ones(2)),
    "0-d": lambda lib: lib.distributions.Categorical(lib.tensor(1.0)),
    "above 1": lambda lib: lib.distributions.Bernoulli(lib.tensor([1.5])),
    "negative": lambda lib: lib.distributions.Categorical(lib.tensor([-0.5, 1.5])),
    "nan": lambda lib: lib.distributions.Categorical(logits=lib.tensor([float("nan"), 1.0])),
    "not symmetric": lambda lib: lib.distributions.MultivariateNormal(
        lib.zeros(2), lib.tensor([[1.0, 0.5], [0.0, 1.0]])
    ),
    "not lower": lambda lib: lib.distributions.MultivariateNormal(
        lib.zeros(2), scale_tril=lib.ones(2, 2)
    ),
    "two matrices": lambda lib: lib.distributions.MultivariateNormal(
        lib.zeros(2), lib.eye(2), lib.eye(2)
    ),
    "value": lambda lib: lib.distributions.Bernoulli(0.5).log_prob(lib.tensor([0.0, 0.5])),
    "category": lambda lib: lib.distributions.Categorical(lib.ones(3)).log_prob(lib.tensor(3)),
    "value's shape": lambda lib: lib.distributions.Normal(lib.zeros(3), 1.0).log_prob(lib.zeros(2)),
    "event's shape": lambda lib: lib.distributions.MultivariateNormal(
        lib.zeros(3), lib.eye(3)
    ).log_prob(lib.zeros(2)),
    "batch": lambda lib: lib.distributions.Independent(lib.distributions.Normal(0.0, 1.0), 1),
    "pair": lambda lib: lib.distributions.kl_divergence(
        lib.distributions.Normal(0.0, 1.0), lib.distributions.Categorical(lib.ones(2))
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_errors(case):
    with pytest.raises((ValueError, NotImplementedError)) as expected:
        BAD[case](torch)
    with pytest.raises(expected.type) as got:
        BAD[case](minitorch)
    assert " ".join(str(got.value).split()) == " ".join(str(expected.value).split())


def test_checks_can_be_switched_off():
    normal = minitorch.distributions.Normal(0.0, -1.0, validate_args=False)
    assert normal.scale.item() == -1
