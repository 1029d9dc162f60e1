"""gradcheck and gradgradcheck find what PyTorch's find, in the same functions."""

import warnings

import pytest

from tests.testing.alike import module_of


def inputs(T):
    x = T.tensor([[1.0, -2.0, 3.0], [0.3, 0.2, -0.1]], dtype=T.float64, requires_grad=True)
    y = T.tensor([2.0, 1.0, 0.5], dtype=T.float64, requires_grad=True)
    return x, y


def random_part(T):
    """A backward that never gives the same twice."""

    class Random(T.autograd.Function):
        calls = 0

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            Random.calls += 1
            return grad * (1 + 1e-7 * Random.calls)

    return Random.apply


def not_multiplied(T):
    class Ones(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return T.ones_like(grad)

    return lambda x: Ones.apply(x.sum())


RIGHT = {
    "one": lambda T: lambda x, y: x * y,
    "scalar": lambda T: lambda x, y: (x.sin() @ y).sum(),
    "unused": lambda T: lambda x, y: x.cos(),
    "list": lambda T: lambda x, y: [x, y],
}
WRONG = {
    "detached": lambda T: lambda x, y: x * y.detach(),
    "half": lambda T: lambda x, y: (x, 0.5 * (x * x) + 0.5 * (x * x).detach()),
    "constant": lambda T: lambda x, y: (x * y).detach(),
}


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_pass(T, name, fast_mode):
    assert T.autograd.gradcheck(RIGHT[name](T), inputs(T), fast_mode=fast_mode)
    assert T.autograd.gradgradcheck(RIGHT[name](T), inputs(T), fast_mode=fast_mode)


def test_several_outputs(T):
    f = lambda x, y: (x * y, x.exp().sum(1))  # noqa: E731
    assert T.autograd.gradcheck(f, inputs(T))
    assert T.autograd.gradgradcheck(f, inputs(T), gen_non_contig_grad_outputs=True)


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_do_not(T, name, fast_mode):
    f, error = WRONG[name](T), module_of(T, "autograd.gradcheck").GradcheckError
    with pytest.raises(error) as caught:
        T.autograd.gradcheck(f, inputs(T), fast_mode=fast_mode)
    if name != "constant":
        output, index = (1, 0) if name == "half" else (0, 1)
        assert f"mismatch for output {output} with respect to input {index}" in str(caught.value)
        assert "numerical:" in str(caught.value) and "analytical:" in str(caught.value)
    assert T.autograd.gradcheck(f, inputs(T), fast_mode=fast_mode, raise_exception=False) is False
    assert isinstance(caught.value, RuntimeError)


def test_a_wrong_second_derivative(T):
    def f(x, y):  # the gradient is right, that of the gradient is not
        z = x.detach()
        return z**3 + 3 * z**2 * (x - z)

    assert T.autograd.gradcheck(lambda x: x**3, inputs(T)[0])
    assert not T.autograd.gradgradcheck(f, inputs(T), raise_exception=False)


def test_tolerances_and_step(T):
    f = lambda x: (1.001 * x - 0.001 * x.detach()).sum()  # noqa: E731  one thousandth too much
    x = inputs(T)[0]
    assert not T.autograd.gradcheck(f, x, rtol=1e-4, raise_exception=False)
    assert T.autograd.gradcheck(f, x, rtol=1e-2)
    assert T.autograd.gradcheck(f, x, rtol=0, atol=1e-2)
    assert not T.autograd.gradcheck(lambda x: x**3, x, eps=1.0, raise_exception=False)


def test_inputs_that_cannot_be_checked(T):
    x, _ = inputs(T)
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        T.autograd.gradcheck(lambda x: x, x.detach())
    expanded = T.tensor([1.0], dtype=T.float64).expand(3).requires_grad_()
    with pytest.raises(RuntimeError, match="dimension with stride 0"):
        T.autograd.gradcheck(lambda x: x, expanded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="not a double precision"):
            T.autograd.gradcheck(lambda x: x, T.ones(2, requires_grad=True))


def test_noncontiguous_and_integer_inputs(T):
    x = inputs(T)[0].detach().t().requires_grad_()
    index = T.tensor([2, 0])
    assert T.autograd.gradcheck(lambda x, i: x[i] ** 2, (x, index))
    assert T.autograd.gradgradcheck(lambda x, i: x[i] ** 2, (x, index))


def test_the_input_is_as_before(T):
    x, y = inputs(T)
    before = x.tolist()
    T.autograd.gradcheck(lambda x, y: x * y, (x, y))
    assert x.tolist() == before and x.grad is None


def test_backward_that_is_not_reproducible(T):
    with pytest.raises(RuntimeError, match="not reentrant"):
        T.autograd.gradcheck(random_part(T), inputs(T)[0])
    assert T.autograd.gradcheck(random_part(T), inputs(T)[0], nondet_tol=1e-3)


def test_backward_that_ignores_its_gradient(T):
    with pytest.raises(RuntimeError, match="not multiplied by grad_output"):
        T.autograd.gradcheck(not_multiplied(T), inputs(T)[0], check_undefined_grad=False)


def test_complex(T):
    z = T.tensor([1 + 2j, -0.5 + 0.3j], dtype=T.complex128, requires_grad=True)
    x = inputs(T)[1]
    for fast_mode in (False, True):
        for f in (lambda z: z * z, lambda z: z.abs(), lambda z: (z * z.conj()).real):
            assert T.autograd.gradcheck(f, z, fast_mode=fast_mode)
            assert T.autograd.gradgradcheck(f, z, fast_mode=fast_mode)
        assert T.autograd.gradcheck(lambda x, z: x.sum() * z, (x, z), fast_mode=fast_mode)
    half = lambda z: z.real**2 + (z.imag**2).detach()  # noqa: E731
    for fast_mode in (False, True):
        assert not T.autograd.gradcheck(half, z, fast_mode=fast_mode, raise_exception=False)
    wrong = lambda z: z * z.conj().detach()  # noqa: E731
    with pytest.raises(RuntimeError, match="part of complex outputs only"):
        T.autograd.gradcheck(wrong, z)
