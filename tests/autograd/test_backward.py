"""backward() and grad(): their arguments, what they return, and what they refuse.

Each test runs under both packages, so that it says what PyTorch does.
"""

import pytest
import torch

import minitorch


def leaf(T, *values, **options):
    values = values[0] if len(values) == 1 else list(values)
    return T.tensor(values, requires_grad=True, **options)


def test_scalar(T):
    x = leaf(T, 3.0)
    assert x.grad is None
    y = x * x
    y.backward()
    assert x.grad.item() == 6
    assert repr(x.grad) == "tensor(6.)"


def test_gradients_accumulate(T):
    x = leaf(T, 1.0, 2.0)
    first = None
    for times in (1, 2, 3):
        (x * x).sum().backward()
        first = first if first is not None else x.grad
        assert x.grad.tolist() == [2.0 * times, 4.0 * times]
    assert x.grad is first  # added to in place: whoever holds it sees the sum
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_diamond(T):
    x = leaf(T, 2.0)
    a = x * 3
    b, c = a.exp(), a * a
    (b * c + a).backward()
    a = 6.0
    expected = 3 * (torch.tensor(a).exp().item() * (a * a + 2 * a) + 1)
    assert x.grad.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_argument(T):
    x = leaf(T, 1.0, 2.0)
    (x * x).backward(T.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2, 40]
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar"):
        (x * x).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * x).backward(T.tensor([1.0, 1.0, 1.0]))


def test_nothing_to_differentiate(T):
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad"):
        T.tensor(1.0).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        T.autograd.grad(leaf(T, 1.0) * 2, [T.tensor(1.0)])


def test_second_backward_needs_retain_graph(T):
    x = leaf(T, 3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_graph_that_saved_nothing_can_be_used_again(T):
    x = leaf(T, 3.0)
    y = x + x
    y.backward()
    y.backward()
    assert x.grad.item() == 4


def test_part_of_a_graph_is_freed(T):
    x = leaf(T, 3.0)
    shared = x.exp()
    (shared * 2).backward()
    with pytest.raises(RuntimeError, match="second time"):
        (shared * 3).backward()


def test_several_roots(T):
    x, y = leaf(T, 2.0), leaf(T, 5.0)
    T.autograd.backward([x * y, x * x], [T.tensor(1.0), T.tensor(10.0)])
    assert (x.grad.item(), y.grad.item()) == (45, 2)
    T.autograd.backward((x * y, y * y))
    assert (x.grad.item(), y.grad.item()) == (50, 14)


def test_inputs_of_backward(T):
    x, y = leaf(T, 2.0), leaf(T, 5.0)
    middle = x * y
    (middle * middle).backward(inputs=[x])
    assert x.grad.item() == 100 and y.grad is None
    middle = x * y
    middle.retain_grad()
    (middle * middle).backward(inputs=[middle, y])
    assert middle.grad.item() == 20 and y.grad.item() == 40 and x.grad.item() == 100
    with pytest.raises(RuntimeError, match=r"`inputs` argument to `backward\(\)` cannot be empty"):
        (x * y).backward(inputs=[])
    (x * y).backward(inputs=x)
    assert x.grad.item() == 105


def test_inputs_that_are_no_leaves(T):
    x = leaf(T, 2.0)
    middle = x * 3
    (middle * middle).backward(inputs=[middle])
    assert middle.grad.item() == 12 and x.grad is None


def test_grad_touches_no_leaf(T):
    x, y = leaf(T, 2.0), leaf(T, 5.0)
    gx, gy = T.autograd.grad(x * y, [x, y])
    assert (gx.item(), gy.item()) == (5, 2)
    assert x.grad is None and y.grad is None
    assert not gx.requires_grad


def test_grad_of_what_lies_between(T):
    x = leaf(T, 2.0)
    a = x * 3
    b = a * a
    assert T.autograd.grad(b, a, retain_graph=True)[0].item() == 12
    assert [g.item() for g in T.autograd.grad(b, [a, x, b])] == [12, 36, 1]


def test_grad_outputs(T):
    x = leaf(T, 1.0, 2.0)
    y, z = x * x, x * 3
    seeds = [T.tensor([1.0, 2.0]), T.tensor([10.0, 10.0])]
    (g,) = T.autograd.grad([y, z], x, seeds, retain_graph=True)
    assert g.tolist() == [32, 38]
    (g,) = T.autograd.grad([(x * x).sum(), z.sum()], [x], [None, None])
    assert g.tolist() == [5, 7]


def test_unused_inputs(T):
    x, unused = leaf(T, 2.0), leaf(T, 1.0, 2.0)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        T.autograd.grad(x * x, [x, unused])
    assert T.autograd.grad(x * x, [x, unused], allow_unused=True)[1] is None
    zeros = T.autograd.grad(x * x, [x, unused], materialize_grads=True)[1]
    assert zeros.tolist() == [0, 0]
    with pytest.raises(ValueError, match="Expected allow_unused to be True or not passed"):
        T.autograd.grad(x * x, [x], allow_unused=False, materialize_grads=True)


def test_higher_derivatives(T):
    x = leaf(T, 2.0, dtype=T.float64)
    y = x**5
    for expected in (80, 160, 240, 240, 120):
        (y,) = T.autograd.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected)
    assert T.autograd.grad(y, x, materialize_grads=True)[0].item() == 0


def test_third_derivatives_of_the_exponential_family(T):
    for name, expected in (
        ("sin", lambda v: -v.cos()),
        ("exp", lambda v: v.exp()),
        ("log", lambda v: 2 / v**3),
        ("tanh", lambda v: -2 * (1 - v.tanh() ** 2) * (1 - 3 * v.tanh() ** 2)),
    ):
        x = leaf(T, 0.3, 1.2, dtype=T.float64)
        y = getattr(T, name)(x).sum()
        for _ in range(3):
            (g,) = T.autograd.grad(y, x, create_graph=True)
            y = g.sum()
        assert g.tolist() == pytest.approx(expected(x.detach()).tolist())


def test_create_graph_in_backward(T):
    x = leaf(T, 2.0)
    (x**3).backward(create_graph=True)
    assert x.grad.item() == 12 and x.grad.grad_fn is not None
    first = x.grad
    x.grad = None
    first.backward()
    assert x.grad.item() == 12
    x = leaf(T, 2.0)
    for _ in range(2):
        (x**3).backward(create_graph=True)
    assert x.grad.item() == 24 and x.grad.requires_grad


def test_gradient_penalty(T):
    """A loss that contains a gradient."""
    x = leaf(T, [[1.0, 2.0], [3.0, 4.0]])
    w = leaf(T, [[0.5], [-1.0]])
    out = T.tanh(x @ w).sum()
    (g,) = T.autograd.grad(out, x, create_graph=True)
    ((g * g).sum() - 1).square().backward()
    if T is minitorch:
        xt, wt = leaf(torch, x.tolist()), leaf(torch, w.tolist())
        (gt,) = torch.autograd.grad(torch.tanh(xt @ wt).sum(), xt, create_graph=True)
        ((gt * gt).sum() - 1).square().backward()
        for ours, theirs in ((x, xt), (w, wt)):
            torch.testing.assert_close(torch.tensor(ours.grad.tolist()), theirs.grad)


def test_several_outputs_partly_used(T):
    x = leaf(T, *map(float, range(6)))
    parts = x.split(2)
    (parts[0] * 2 + parts[2]).sum().backward()
    assert x.grad.tolist() == [2, 2, 0, 0, 1, 1]
    values, _ = leaf(T, [[1.0, 5.0], [7.0, 2.0]]).max(1)
    assert values.grad_fn is not None


def test_gradients_have_the_type_of_their_leaf(T):
    x = leaf(T, 1.0, 2.0, dtype=T.float32)
    y = leaf(T, 3.0, 4.0, dtype=T.float64)
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (T.float32, T.float64)
    half = leaf(T, 1.0, 2.0, dtype=T.float16)
    half.float().exp().sum().backward()
    assert half.grad.dtype is T.float16


def test_setting_grad(T):
    x = leaf(T, 1.0, 2.0)
    x.grad = T.tensor([5.0, 5.0])
    (x * 2).sum().backward()
    assert x.grad.tolist() == [7, 7]
    with pytest.raises(RuntimeError, match="size"):
        x.grad = T.tensor([1.0])
    with pytest.raises(RuntimeError, match="type"):
        x.grad = T.tensor([1, 2])
    with pytest.raises(TypeError):
        x.grad = 3


def test_no_gradient_shares_memory(T):
    """Changing one gradient in place changes nothing else."""
    x, y = leaf(T, 1.0, 2.0), leaf(T, 3.0, 4.0)
    seed = T.tensor([1.0, 1.0])
    (x + y).backward(seed)
    x.grad.add_(5)
    assert y.grad.tolist() == [1, 1] and seed.tolist() == [1, 1]
    a = leaf(T, [[1.0, 2.0]])
    a.sum().backward()
    a.grad[0, 0] = 7  # a sum's gradient is one number, stretched
    assert a.grad.tolist() == [[7, 1]]
    b, c = leaf(T, 1.0), leaf(T, 2.0)
    (b + c).backward(create_graph=True)
    b.grad.detach().add_(1)
    assert c.grad.item() == 1
    d = leaf(T, 1.0, 2.0)
    d.clone().backward(seed)
    d.grad.zero_()
    assert seed.tolist() == [1, 1]
    e = leaf(T, 1.0, 2.0)
    middle = e + 0
    middle.retain_grad()
    (middle + 0).backward(seed)
    middle.grad.add_(1)
    assert e.grad.tolist() == [1, 1]


def test_broadcasting_is_undone(T):
    x, y, z = leaf(T, [[1.0], [2.0]]), leaf(T, 1.0, 2.0, 3.0), leaf(T, 2.0)
    (x * y * z).sum().backward()
    assert x.grad.tolist() == [[12], [12]]
    assert y.grad.tolist() == [6, 6, 6]
    assert z.grad.item() == 18


def test_requires_grad_rules(T):
    x = T.ones(2)
    assert not x.requires_grad and x.is_leaf and x.grad_fn is None
    y = (x * 2).requires_grad_()
    assert y.is_leaf and y.requires_grad
    z = y * 2
    assert z.requires_grad and not z.is_leaf and z.grad_fn.name() == "MulBackward0"
    assert z.requires_grad_() is z  # no change, no error
    for value in (True, False):
        with pytest.raises(RuntimeError, match="can only change requires_grad flags of leaf"):
            z.requires_grad = value
    with pytest.raises(RuntimeError, match="can only change requires_grad flags of leaf"):
        z.requires_grad_(False)
    with pytest.raises(RuntimeError, match="floating point"):
        T.tensor([1]).requires_grad_()
    with pytest.raises(RuntimeError, match="floating point"):
        T.tensor([1], requires_grad=True)
    assert not z.detach().requires_grad
    assert not (z > 1).requires_grad and not z.long().requires_grad
    assert not z.argmax().requires_grad
    y.requires_grad_(False)
    assert not (y * 2).requires_grad


def test_next_functions(T):
    x, y = leaf(T, 1.0), T.tensor(2.0)
    z = (x * y).exp()
    assert z.grad_fn.name() == "ExpBackward0"
    ((product, number),) = z.grad_fn.next_functions
    assert product.name() == "MulBackward0" and number == 0
    (of_x, _), (of_y, _) = product.next_functions
    assert of_y is None
    assert of_x.variable is x


def test_numpy_needs_detach(T):
    x = leaf(T, 1.0, 2.0)
    with pytest.raises(RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        x.numpy()
    x.detach().numpy()[0] = 9
    assert x.tolist() == [9, 2]


def test_gradients_of_tensors_in_the_middle(T):
    """Nodes below the ones that are asked for get no gradient, and must not mind."""
    w = T.ones(2, requires_grad=True)
    y = (w * 2) * 3
    assert T.autograd.grad((y * y).sum(), y)[0].tolist() == [12, 12]
    piece, _ = (w * 2).split(1)
    assert T.autograd.grad((piece * 5).sum(), piece)[0].tolist() == [5]


def test_inputs_of_a_sum_do_not_share_their_gradient(T):
    x = T.ones(1, requires_grad=True)
    a, b = x * 1, x * 2
    a.retain_grad(), b.retain_grad()
    for _ in range(2):
        (a + b).backward(inputs=[a, b], retain_graph=True)
    assert a.grad.tolist() == b.grad.tolist() == [2]


def test_a_gradient_that_a_hook_keeps_does_not_change(T):
    x = T.ones(2, requires_grad=True)
    kept = []
    x.register_hook(lambda g: kept.append(g))
    for _ in range(3):
        (x * 2).sum().backward()
    assert [g.tolist() for g in kept] == [[2, 2]] * 3 and x.grad.tolist() == [6, 6]


def test_create_graph_keeps_the_dtype_of_each_input(T):
    x = T.ones(2, requires_grad=True)
    y = T.ones(2, dtype=T.float64, requires_grad=True)
    for out in (x.sum(dtype=T.float64), T.cat([x, y]).sum(), x.cumsum(0, dtype=T.float64).sum()):
        (g,) = T.autograd.grad(out, x, create_graph=True)
        assert g.dtype is T.float32


def test_a_leaf_frozen_after_forward_gets_no_gradient(T):
    x, y = T.ones(1, requires_grad=True), T.ones(1, requires_grad=True)
    out = x * y
    x.requires_grad_(False)
    out.backward()
    assert x.grad is None and y.grad.tolist() == [1]


def test_a_hook_that_returns_something_else_is_an_error(T):
    for wrong in (lambda g: g[:1], lambda g: g.double(), lambda g: 3.0):
        x = T.ones(2, requires_grad=True)
        x.register_hook(wrong)
        with pytest.raises((RuntimeError, TypeError)):
            (x * 2).sum().backward()


def test_the_same_input_twice_counts_once(T):
    x = T.ones(1, requires_grad=True)
    (x * 3).backward(inputs=[x, x])
    assert x.grad.tolist() == [3]


def test_post_accumulate_hooks_run_for_inputs_as_well(T):
    x, y = T.ones(1, requires_grad=True), T.ones(1, requires_grad=True)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.item()))
    (x * y).backward(inputs=[x])
    assert seen == [1] and y.grad is None


def test_retain_grad_follows_an_in_place_change(T):
    x = T.ones(1, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * 5).backward()
    assert y.grad.tolist() == [5] and x.grad.tolist() == [30]


# The rest of grad's and backward's arguments


def test_batches_of_gradients(T):
    x, w = leaf(T, 1.0, 2.0), leaf(T, 3.0, 4.0)
    both = T.autograd.grad(x * w, [x, w], T.eye(2), is_grads_batched=True)
    assert [g.tolist() for g in both] == [[[3, 0], [0, 4]], [[1, 0], [0, 2]]]
    y = x * x
    (g,) = T.autograd.grad(y, x, T.eye(2), is_grads_batched=True, create_graph=True)
    assert g.requires_grad
    T.autograd.grad(g.sum(), x)
    unused = T.autograd.grad(x * 1, [x, w], T.eye(2), is_grads_batched=True, allow_unused=True)
    assert unused[1] is None
    with pytest.raises(RuntimeError, match="Mismatch in shape|shape of corresponding output"):
        T.autograd.grad(x * w, x, T.ones(3, 3), is_grads_batched=True)


def test_arguments_of_old_scripts(T):
    x = leaf(T, 1.0, 2.0)
    with pytest.warns(FutureWarning, match="only_inputs argument is deprecated"):
        T.autograd.grad((x * x).sum(), x, only_inputs=False)
    with pytest.warns(FutureWarning, match="`grad_variables` is deprecated"):
        T.autograd.backward(x * x, grad_variables=[T.ones(2)])
    assert x.grad.tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="both passed to"), pytest.warns(FutureWarning):
        T.autograd.backward(x * x, [T.ones(2)], grad_variables=[T.ones(2)])


def test_arguments_that_are_wrong(T):
    x = leaf(T, 1.0, 2.0)
    with pytest.raises(TypeError, match="gradients can be either Tensors or None, but got int"):
        T.autograd.backward([x * x], [3])
    with pytest.raises(RuntimeError, match="`inputs` argument to `grad\\(\\)` cannot be empty"):
        T.autograd.grad((x * x).sum(), [])
    with pytest.raises(RuntimeError, match="got 2 tensors and 1 gradients"):
        T.autograd.backward([x * x, x], [T.ones(2)])
    with pytest.raises(RuntimeError, match="required to have the same dtype"):
        (x * x).backward(T.ones(2, dtype=T.complex64))
    (x * x).backward(T.ones(2, dtype=T.float64))
    assert x.grad.dtype is T.float32


def test_a_gradient_can_be_deleted(T):
    x = leaf(T, 1.0)
    x.backward()
    del x.grad
    assert x.grad is None


def test_what_may_require_a_gradient(T):
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        T.ones(2, dtype=T.int64).requires_grad_()
    assert not T.ones(2, dtype=T.int64).requires_grad_(False).requires_grad
    assert T.ones(2, dtype=T.complex64).requires_grad_().requires_grad
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf"):
        (leaf(T, 1.0) * 2).requires_grad_(False)


def test_what_is_asked_for_is_not_run(T):
    """A node whose gradient is wanted, but that leads to nothing wanted, keeps what it saved."""
    x = leaf(T, 1.0, 2.0)
    y = x.exp()
    T.autograd.grad((y * y).sum(), y)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()
