"""Anomaly mode: the warning names the line of the forward. Both packages."""

import warnings

import pytest


def leaf(T, *values):
    return T.tensor(list(values), requires_grad=True)


def the_line_to_blame(x):
    return (x - 1).sqrt()


def nan_gradient(T):
    return (the_line_to_blame(leaf(T, 1.0, 2.0)) * 0).sum()


def caught(words, call):
    """The warnings while `call` ends in a RuntimeError that matches `words`."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match=words):
            call()
    messages = [str(w.message) for w in seen if w.category is UserWarning]
    return [m for m in messages if "Anomaly Detection has been enabled" not in m]


NAN = "Function 'SqrtBackward0' returned nan values in its 0th output"


def test_nan(T):
    def run():
        with T.autograd.detect_anomaly():
            assert T.is_anomaly_enabled() and T.is_anomaly_check_nan_enabled()
            nan_gradient(T).backward()

    (message,) = caught(NAN, run)
    assert message.startswith("Error detected in SqrtBackward0. Traceback of forward call")
    assert "return (x - 1).sqrt()" in message and "the_line_to_blame" in message
    assert not T.is_anomaly_enabled()


def test_nan_may_be_allowed(T):
    with T.autograd.set_detect_anomaly(True, check_nan=False):
        assert not T.is_anomaly_check_nan_enabled()
        nan_gradient(T).backward()


def test_an_error_in_backward(T):
    class Broken(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise RuntimeError("out of order")

    def run():
        with T.autograd.set_detect_anomaly(True):
            y = Broken.apply(leaf(T, 1.0)) * 2  # the culprit
            y.backward()

    (message,) = caught("out of order", run)
    assert "Error detected in BrokenBackward" in message and "# the culprit" in message


def test_switched_on_too_late(T):
    y = nan_gradient(T)

    def run():
        with T.autograd.set_detect_anomaly(True):
            y.backward()

    (message,) = caught(NAN, run)
    assert "No forward pass information available" in message


def test_a_node_that_backward_has_recorded(T):
    """The derivative of x^1.5 is computed by backward; its own is nan at 0."""

    def run():
        with T.autograd.set_detect_anomaly(True):
            x = leaf(T, 0.0)
            (g,) = T.autograd.grad((x**1.5).sum(), x, create_graph=True)
            T.autograd.grad((g * 0).sum(), x)

    first, *induced = caught("returned nan values", run)
    assert "T.autograd.grad((x**1.5)" in first
    assert any("Previous calculation was induced by PowBackward0" in m for m in induced)


def test_as_a_switch(T):
    T.autograd.set_detect_anomaly(True)
    try:
        assert T.is_anomaly_enabled()
        with T.autograd.set_detect_anomaly(False):
            assert not T.is_anomaly_enabled()
            nan_gradient(T).backward()
        assert T.is_anomaly_enabled()
    finally:
        T.autograd.set_detect_anomaly(False)
    assert not T.is_anomaly_enabled()
    nan_gradient(T).backward()
