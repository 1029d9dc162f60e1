"""nn.utils: clipping gradients, parameters as one vector."""

import numpy as np
import pytest
import torch

import minitorch

from .both import assert_same, in_minitorch, nn_of

RNG = np.random.default_rng(0)
GRADS = [torch.tensor(RNG.normal(size=s), dtype=torch.float32) for s in ((3, 4), (5,), ())]


def parameters(T, grads=GRADS):
    nn = nn_of(T)
    made = [nn.Parameter(T.ones(g.shape)) for g in grads] + [nn.Parameter(T.ones(2))]
    for p, g in zip(made, grads, strict=False):  # the last one has no gradient
        p.grad = g.clone() if T is torch else in_minitorch(g)
    return made


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf"), 3.5])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clip_grad_norm(norm_type, max_norm):
    ours, theirs = parameters(minitorch), parameters(torch)
    total = nn_of(minitorch).utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert_same(total, expected, rtol=1e-6)
    for p, q in zip(ours[:-1], theirs[:-1], strict=True):
        assert_same(p.grad, q.grad, rtol=2e-6)
    assert ours[-1].grad is None


def test_clip_grad_norm_of_one_tensor_and_of_none(T):
    utils = nn_of(T).utils
    p = parameters(T)[0]
    utils.clip_grad_norm_(p, 1.0)
    assert abs(utils.get_total_norm([p.grad]).item() - 1) < 1e-5
    assert utils.clip_grad_norm_([nn_of(T).Parameter(T.ones(2))], 1.0).item() == 0.0


def test_clip_grad_norm_of_nonfinite(T):
    utils = nn_of(T).utils
    p = parameters(T)
    p[0].grad[0, 0] = float("nan")
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p[1].grad.isfinite().all()
    utils.clip_grad_norm_(p, 1.0)
    assert p[1].grad.isnan().all()


def test_clip_grad_value():
    ours, theirs = parameters(minitorch), parameters(torch)
    nn_of(minitorch).utils.clip_grad_value_(ours, 0.4)
    torch.nn.utils.clip_grad_value_(theirs, 0.4)
    for p, q in zip(ours[:-1], theirs[:-1], strict=True):
        assert_same(p.grad, q.grad)
    assert ours[0].grad.abs().max().item() == np.float32(0.4)


def test_vectors(T):
    utils = nn_of(T).utils
    model = nn_of(T).Linear(3, 2)
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (8,)
    vector.sum().backward()
    assert model.bias.grad.tolist() == [1.0, 1.0]
    utils.vector_to_parameters(T.arange(8.0), model.parameters())
    assert model.weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert model.bias.tolist() == [6.0, 7.0]
    assert model.weight.requires_grad
    with pytest.raises(TypeError, match="expected torch"):
        utils.vector_to_parameters([1.0], model.parameters())
