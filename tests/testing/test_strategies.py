"""The hypothesis strategies: what they draw is as described, and shrinks to something simple."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import minitorch as torch
from minitorch.testing import GradientError, check_gradients
from minitorch.testing import strategies as some


@given(
    some.tensors(
        dtype=some.dtypes("floating", "integer", "bool", "complex"),
        shape=some.shapes(min_side=0),
        layout=some.layouts(),
        requires_grad=st.booleans(),
    )
)
def test_values_are_finite_and_within_the_interval(x):
    real = torch.view_as_real(x) if x.is_complex() else x
    assert ((real.float() >= -10) & (real.float() <= 10)).all()
    assert not x.requires_grad or x.dtype.is_floating_point or x.is_complex()


@given(
    some.tensors(dtype=torch.float64, shape=(2, 3), layout="gaps", requires_grad=True),
    some.tensors(dtype=st.sampled_from([torch.int8, torch.uint8])),
)
def test_values_as_arguments(x, n):
    assert x.dtype is torch.float64 and tuple(x.shape) == (2, 3) and x.requires_grad
    assert n.dtype in (torch.int8, torch.uint8)


@pytest.mark.parametrize("layout", some.LAYOUTS)
def test_layouts(layout):
    seen = set()

    @given(some.tensors(shape=some.shapes(min_dims=2), layout=layout))
    def draw(x):
        big = [(n, step) for n, step in zip(x.shape, x.stride(), strict=True) if n > 1]
        if layout == "expanded":
            seen.add(any(step == 0 for _, step in big))
        elif layout == "overlapping":
            assert all(step == 1 for _, step in big)
        elif layout == "gaps":
            assert all(step >= 2 for _, step in big)
        elif layout == "transposed":
            seen.add(x.is_contiguous())
            assert x.permute(*reversed(range(x.dim()))).is_contiguous()
        else:
            assert x.is_contiguous()
            seen.add(x.array.base is not None and x.array.base.size > x.numel())

    draw()
    if layout in ("expanded", "offset", "transposed"):
        assert (layout != "transposed") in seen


def test_an_unknown_layout():
    with pytest.raises(ValueError, match="layout must be one of"):
        find(some.tensors(layout="diagonal"), lambda x: True)


@given(some.broadcastable_shapes(3))
def test_broadcastable_shapes(shapes):
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


def test_options_for_values():
    drawn = lambda condition, **options: find(  # noqa: E731
        some.tensors(shape=(3,), dtype=torch.float64, **options), condition
    )
    assert drawn(lambda x: x.isnan().any(), allow_nan=True).isnan().any()
    assert drawn(lambda x: x.isinf().any(), allow_infinity=True).isinf().any()
    assert drawn(lambda x: (x == 0.5).any(), include=[0.5])[2] in (0, 0.5)
    near = drawn(lambda x: ((x > 0.5) & (x < 0.5001)).any(), include=[0.5])
    assert near.max().item() == np.nextafter(0.5, 1)

    @given(some.tensors(dtype=torch.float64, avoid=[0, 1], low=-2, high=2))
    def away(x):
        assert (x.abs() > 1e-3).all() and ((x - 1).abs() > 1e-3).all()

    @given(some.tensors(dtype=some.dtypes("floating", "integer"), ties=True))
    def tied(x):
        assert set(x.double().flatten().tolist()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}

    away()
    tied()


def test_dtypes():
    assert find(some.dtypes(), lambda d: True) is torch.float32
    assert find(some.dtypes("integer"), lambda d: True) is torch.uint8

    @given(some.dtypes("floating"))
    def floating(dtype):
        assert dtype.is_floating_point

    floating()


def test_shrinks_to_a_simple_tensor():
    x = find(some.tensors(layout=some.layouts()), lambda x: (x > 2).any())
    assert x.numel() == 1 and x.item() == 3 and x.is_contiguous()
    x = find(
        some.tensors(shape=some.shapes(max_dims=2, max_side=6), layout=some.layouts()),
        lambda x: not x.is_contiguous(),
        settings=settings(max_examples=500, database=None),
    )
    assert x.numel() <= 4 and not x.any()


def test_what_failed_is_printed_exactly():
    @given(some.tensors(dtype=torch.float64, shape=(2, 2), layout="transposed", requires_grad=True))
    def fails(x):
        assert x[1, 0] < 0.12345678901

    with pytest.raises(AssertionError) as caught:
        fails()
    note = "".join(caught.value.__notes__)
    text = note[note.index("torch.tensor") : note.rindex("requires_grad_()") + 16]
    x = eval(text)
    assert x.stride() == (1, 2) and x.requires_grad and x[1, 0] >= 0.12345678901


def test_with_check_gradients():
    """A derivative that is wrong for negative numbers only: hypothesis finds one."""

    def wrong(x):
        return torch.where(x < -1, x.detach() ** 2, x**2)

    @given(some.tensors(dtype=torch.float64, layout=some.layouts(), avoid=[-1]))
    def right(x):
        check_gradients(wrong, x)

    with pytest.raises(GradientError) as caught:
        right()
    assert caught.value.input == "x"


def test_without_hypothesis_it_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import minitorch.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ImportError: minitorch.testing.strategies needs the package hypothesis" in done.stderr
