"""In-place changes: what autograd makes of them, and what it refuses."""

import math

import pytest

CHANGED = "one of the variables needed for gradient computation has been modified by an inplace"


def leaf(T, *values):
    return T.tensor(list(values), requires_grad=True)


def test_a_saved_input_was_changed(T):
    x, y = leaf(T, 1.0, 2.0), leaf(T, 3.0, 4.0)
    a, b = x * 1, y * 1
    product = a * b
    b.add_(1)
    with pytest.raises(RuntimeError, match=CHANGED):
        product.sum().backward()


def test_a_saved_output_was_changed(T):
    y = leaf(T, 1.0).exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match=CHANGED):
        y.sum().backward()


def test_the_message_names_the_versions(T):
    a = leaf(T, 1.0, 2.0) * 1
    out = a * a
    a.mul_(2)
    a.mul_(2)
    with pytest.raises(RuntimeError, match=r"FloatTensor \[2\]\].*version 2; expected version 0"):
        out.sum().backward()


def test_a_saved_tensor_changed_through_a_view(T):
    a = leaf(T, 1.0, 2.0) * 1
    out = a * a
    a[0].zero_()
    with pytest.raises(RuntimeError, match=CHANGED):
        out.sum().backward()


def test_a_saved_view_changed_through_its_base(T):
    a = leaf(T, 1.0, 2.0) * 1
    out = a[1] * a[0]
    a.add_(1)
    with pytest.raises(RuntimeError, match=CHANGED):
        out.backward()


def test_a_saved_tensor_changed_through_detach_and_indexing(T):
    for change in (lambda t: t.detach().add_(1), lambda t: t.__setitem__(0, 5.0)):
        a = leaf(T, 1.0, 2.0) * 1
        out = a.square()
        change(a)
        with pytest.raises(RuntimeError, match=CHANGED):
            out.sum().backward()


def test_data_is_not_watched(T):
    x = leaf(T, 1.0)
    y = 2 * x
    x.data *= 100
    y.backward()
    assert x.tolist() == [100] and x.grad.tolist() == [2]


def test_a_change_that_no_formula_minds(T):
    x = leaf(T, 1.0, 2.0)
    a = x * 3  # saves 3 alone
    b = a + 1  # saves nothing
    a.mul_(2)
    (a + b).sum().backward()
    assert x.grad.tolist() == [9, 9]


def test_changed_only_after_backward(T):
    x = leaf(T, 1.0, 2.0)
    a = x * 1
    (a * a).sum().backward()
    with T.no_grad():
        a.add_(1)
    assert x.grad.tolist() == [2, 4]


def test_leaves_that_require_grad(T):
    x = leaf(T, 1.0, 2.0)
    for change in (
        lambda: x.add_(1),
        lambda: x.__iadd__(1),
        lambda: x.zero_(),
        lambda: x.copy_(T.ones(2)),
        lambda: x.__setitem__(0, 1.0),
    ):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            change()
    for change in (lambda: x[0].add_(1), lambda: x.view(2, 1).zero_()):
        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
            change()
    assert x.tolist() == [1, 2]


def test_a_chain_of_changes(T):
    x = leaf(T, 1.0, 2.0)
    y = x.clone()
    y += 1
    y *= y.detach().clone()
    y[0] = 0
    y.div_(2).clamp_(max=1000.0).sin_()
    y.sum().backward()
    assert y[1].item() == pytest.approx(math.sin(4.5))
    assert x.grad.tolist() == pytest.approx([0, math.cos(4.5) * 1.5])


def test_an_output_saved_by_an_in_place_operation(T):
    """exp_ needs its result later: one more change of it is noticed."""
    x = leaf(T, 1.0, 2.0)
    y = x.clone().exp_()
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == y.tolist()
    y.add_(1)
    with pytest.raises(RuntimeError, match=CHANGED):
        y.sum().backward()


def test_an_input_saved_by_an_in_place_operation(T):
    """sin_ needs its argument later: the graph keeps a copy."""
    x = leaf(T, 1.0, 2.0)
    y = x.clone().sin_()
    y.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([math.cos(1.0), math.cos(2.0)])


def test_a_constant_becomes_part_of_the_graph(T):
    x = leaf(T, 1.0, 2.0)
    buffer = T.zeros(2, 2)
    buffer[0] = x
    buffer[1].add_(x * 3)
    assert buffer.requires_grad and not buffer.is_leaf
    (buffer * T.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert x.grad.tolist() == [10, 14]


def test_a_view_follows_its_base(T):
    x, s = leaf(T, 1.0, 2.0), leaf(T, 5.0)
    base = x * 1
    view = base[1:]
    base.mul_(s)
    assert view.tolist() == [10]
    view.backward()
    assert x.grad.tolist() == [0, 5] and s.grad.tolist() == [2]


def test_a_base_follows_its_view(T):
    x, s = leaf(T, 1.0, 2.0), leaf(T, 5.0)
    base = x * 1
    other = base[:1]
    base[1:].mul_(s)
    (base.sum() + other.sum()).backward()
    assert x.grad.tolist() == [2, 5] and s.grad.tolist() == [2]


def test_views_of_views(T):
    x = leaf(T, 1.0, 2.0, 3.0, 4.0)
    base = x * 1
    inner = base.view(2, 2)[1]
    inner[0] *= 10
    assert base.tolist() == [1, 2, 30, 4]
    (base * T.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [1, 2, 30, 4]


def test_detach_shares_memory_but_no_history(T):
    x = leaf(T, 1.0, 2.0)
    y = x * 1
    d = y.detach()
    d.add_(1)
    assert y.tolist() == [2, 3] and not d.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_detach_in_place(T):
    x = leaf(T, 1.0)
    y = x * 2
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_types_that_do_not_fit(T):
    with pytest.raises(RuntimeError, match=r"result type Float can't be cast to .* Long"):
        T.tensor([1, 2]).add_(0.5)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        T.ones(2).add_(T.ones(3, 2))
    x = T.ones(2)
    x.add_(T.ones(2, dtype=T.float64))
    assert x.dtype is T.float32 and x.tolist() == [2, 2]


def test_operators_work_in_place(T):
    x = T.tensor([5.0, 7.0])
    same, address = x, x.data_ptr()
    x += 1
    x -= 2
    x *= 3
    x /= 2
    x **= 2
    x //= 4
    x %= 5
    assert x is same and x.data_ptr() == address
    assert x.tolist() == [((6 - 2) * 1.5) ** 2 // 4 % 5, ((8 - 2) * 1.5) ** 2 // 4 % 5]


def test_versions_count(T):
    x = T.ones(2)
    view = x[:1]
    assert x._version == 0
    x.add_(1)
    view.zero_()
    x[1] = 3
    x.copy_(T.zeros(2))
    assert x._version == view._version == 4
    x.data.add_(1)
    assert x._version == 4


def base_and_leaf(T):
    x = T.arange(4.0).requires_grad_()
    return x * 1, x


def test_a_view_made_under_no_grad(T):
    base, _ = base_and_leaf(T)
    with T.no_grad():
        base[1:].add_(1)  # both inside: not tracked
        view = base[1:]
    assert view._is_view() and view.requires_grad and view.is_leaf
    with pytest.raises(RuntimeError, match="created in no_grad mode and is being modified inplace"):
        view.add_(1)
    base.mul_(2)
    with pytest.raises(RuntimeError, match="no_grad mode and its base or another view of its base"):
        view * 2


def test_a_view_made_in_inference_mode(T):
    base, _ = base_and_leaf(T)
    with T.inference_mode():
        view = base[1:]
    with pytest.raises(RuntimeError, match="created in inference mode and is being modified"):
        view.mul_(2)


@pytest.mark.parametrize(
    ("name", "take"),
    [
        ("Split", lambda x: x.split(2)[0]),
        ("Split", lambda x: x.chunk(2)[0]),
        ("Unbind", lambda x: x.unbind()[0]),
    ],
)
def test_one_of_several_views(T, name, take):
    base, _ = base_and_leaf(T)
    view = take(base)
    message = f"Output 0 of {name}.* is a view and is being modified inplace.*multiple views"
    with pytest.raises(RuntimeError, match=message):
        view.mul_(2)
    with pytest.raises(RuntimeError, match="is a view and is being modified.*multiple views"):
        view[...].mul_(2)  # nor through a view of it
    base.mul_(2)
    with pytest.raises(
        RuntimeError, match="its base or another view of its base has been modified"
    ):
        view + 1
    with pytest.raises(
        RuntimeError, match="its base or another view of its base has been modified"
    ):
        view.sum().backward()


def test_parts_that_may_be_changed(T):
    """tensor_split makes its views one by one."""
    base, x = base_and_leaf(T)
    base.tensor_split(2)[0].mul_(5)
    base.sum().backward()
    assert x.grad.tolist() == [5, 5, 1, 1]


def test_memory_that_overlaps(T):
    x = T.arange(6.0)
    some = "some elements of the input tensor and the written-to tensor refer"
    for change in (
        lambda: x[1:].add_(x[:-1]),
        lambda: x.__setitem__(slice(1, None), x[:-1]),
        lambda: x.view(2, 3).copy_(x.view(3, 2).t()),
        lambda: x[1:].copy_(x[:-1]),
        lambda: x.add_(x[0]),
        lambda: T.add(x[1:], 1, out=x[:-1]),
    ):
        with pytest.raises(RuntimeError, match=some):
            change()
    more = "more than one element of the written-to tensor refers"
    wide = x[:1].expand(4)
    for change in (lambda: wide.add_(1), lambda: wide.mul_(2), lambda: wide.__setitem__(..., 1.0)):
        with pytest.raises(RuntimeError, match=more):
            change()
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    x[::2].add_(x[1::2])  # side by side
    x.mul_(x)
    x.expand(2, 6)[0] = 1  # one element for each place
    assert x.tolist() == [1] * 6


def test_augmented_assignment_to_an_index(T):
    base, x = base_and_leaf(T)
    base[1:3] *= 3
    base[[0, 3]] += 1
    assert base.tolist() == [1, 3, 6, 4] and base._version == 3
    base.sum().backward()
    assert x.grad.tolist() == [1, 3, 3, 1]


def test_views_cannot_be_detached_in_place(T):
    base, _ = base_and_leaf(T)
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        base[1:].detach_()


def test_parameters_are_changed_freely_under_no_grad(T):
    x = T.arange(4.0).requires_grad_()
    with T.no_grad():
        x.sub_(1).mul_(2)
        x[0] = 5
        x.view(2, 2)[1].zero_()
    assert x.tolist() == [5, 0, 0, 0] and x.requires_grad and x.is_leaf and x._version == 4
