"""L-BFGS against PyTorch's: the same path, with and without a line search."""

import numpy as np
import pytest
import torch

import minitorch

OPTIONS = [  # lr=1 without a search diverges after some 25 evaluations, and then digits part
    {"max_iter": 7},
    {"lr": 0.1, "history_size": 3},
    {"max_iter": 4, "lr": 0.5},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 6},
    {"line_search_fn": "strong_wolfe", "max_eval": 3},
]


def rosenbrock(p, q):
    x, y = p[0], q[0, 0]
    return (1 - x) ** 2 + 10 * (y - x * x) ** 2 + (p[1] - 0.5) ** 4 + (q[0, 1] * p[1]).cos()


def walk(T, options, steps, dtype="float64"):
    """Parameters and losses along the way, and the optimizer."""
    p = T.nn.Parameter(T.tensor([-1.2, 2.0], dtype=getattr(T, dtype)))
    q = T.nn.Parameter(T.tensor([[1.0, 0.3]], dtype=getattr(T, dtype)))
    unused = T.nn.Parameter(T.ones(3, dtype=getattr(T, dtype)))
    optimizer = T.optim.LBFGS([p, unused, q], **options)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(p, q)
        loss.backward()
        calls.append(loss.item())
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        calls += [*p.tolist(), *q.flatten().tolist()]
    assert unused.tolist() == [1, 1, 1]
    return calls, optimizer


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_path_is_pytorchs(options):
    (ours, a), (theirs, b) = walk(minitorch, options, 3), walk(torch, options, 3)
    assert len(ours) == len(theirs) > 20
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    assert ours["state"][0].keys() == theirs["state"][0].keys()
    for name in ("func_evals", "n_iter"):
        assert ours["state"][0][name] == theirs["state"][0][name]


def test_it_goes_on_from_pytorchs_state(tmp_path):
    p = torch.nn.Parameter(torch.tensor([-1.2, 2.0]))
    optimizer = torch.optim.LBFGS([p], max_iter=3)
    (p * p).sum().backward()

    def closure(T=torch):
        optimizer.zero_grad()
        loss = (p**4).sum() + (p[0] - p[1]) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.save([optimizer.state_dict(), p.detach()], tmp_path / "state.pt")
    state, values = minitorch.load(tmp_path / "state.pt")
    optimizer.step(closure)
    expected = p.tolist()
    p = minitorch.nn.Parameter(values)
    optimizer = minitorch.optim.LBFGS([p])
    optimizer.load_state_dict(state)
    optimizer.step(closure)
    np.testing.assert_allclose(p.tolist(), expected, rtol=1e-5)


@pytest.mark.parametrize("T", [minitorch, torch], ids=["minitorch", "torch"])
def test_errors(T):
    p, q = T.nn.Parameter(T.ones(1)), T.nn.Parameter(T.ones(1))
    with pytest.raises(ValueError, match="parameter groups"):
        T.optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        T.optim.LBFGS([p], lr=-1)
    optimizer = T.optim.LBFGS([p], line_search_fn="armijo")

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optimizer.step(closure)
