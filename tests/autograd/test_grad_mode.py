"""no_grad, enable_grad, set_grad_enabled: as blocks, as decorators, in threads."""

import threading

import pytest


def records(T) -> bool:
    return (T.ones(1, requires_grad=True) * 2).requires_grad


def test_blocks(T):
    with T.no_grad():
        assert not records(T) and not T.is_grad_enabled()
        with T.enable_grad():
            assert records(T)
            with T.no_grad():
                assert not records(T)
        assert not records(T)
    assert records(T)


def test_a_block_left_by_an_error(T):
    with pytest.raises(KeyError), T.no_grad():
        raise KeyError
    assert T.is_grad_enabled()


def test_decorators(T):
    @T.no_grad()
    def quiet(x):
        """Its words."""
        return records(T), x

    @T.no_grad
    def without_parentheses():
        return records(T)

    @T.enable_grad()
    def loud():
        return records(T)

    @T.set_grad_enabled(False)
    def switched():
        return records(T)

    assert records(T)
    assert quiet(3) == (False, 3) and quiet.__doc__ == "Its words."
    assert not without_parentheses() and not switched()
    with T.no_grad():
        assert loud()
    assert records(T)


def test_a_decorated_function_that_calls_itself(T):
    @T.no_grad()
    def down(n):
        assert not records(T)
        return n if n == 0 else down(n - 1)

    assert down(3) == 0 and records(T)


def test_set_grad_enabled(T):
    T.set_grad_enabled(False)
    assert not records(T)
    T.set_grad_enabled(True)
    assert records(T)
    with T.set_grad_enabled(False):
        assert not records(T)
        with T.set_grad_enabled(True):
            assert records(T)
    assert records(T)


def test_decorated_generators(T):
    """The mode holds while the generator runs, and not for its caller between two values."""

    @T.no_grad()
    def numbers():
        for n in range(3):
            assert not records(T)
            received = yield n
            assert received is None or received == "hello"

    running = numbers()
    assert next(running) == 0 and records(T)
    assert running.send("hello") == 1 and records(T)
    assert list(running) == [2] and records(T)


def test_threads_have_modes_of_their_own(T):
    seen = []
    with T.no_grad():
        thread = threading.Thread(target=lambda: seen.append(records(T)))
        thread.start()
        thread.join()
    assert seen == [True]


def test_under_autograd(T):
    assert T.autograd.no_grad is T.no_grad and T.autograd.enable_grad is T.enable_grad


def test_leaves_may_be_changed_unrecorded(T):
    x = T.ones(2, requires_grad=True)
    with T.no_grad():
        x -= 0.5
        x.mul_(4)
        x[0] = 7
    assert x.tolist() == [7, 2] and x.is_leaf and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [14, 4]


def test_inference_in_no_grad_makes_leaves(T):
    x = T.ones(2, requires_grad=True)
    with T.no_grad():
        y = x * 2
    assert y.is_leaf and y.grad_fn is None and not y.requires_grad


def test_set_grad_enabled_as_a_decorator_restores_the_mode_of_the_call(T):
    @T.set_grad_enabled(True)
    def inside():
        return T.is_grad_enabled()

    with T.no_grad():
        assert inside() and not T.is_grad_enabled()
    assert T.is_grad_enabled()


def test_two_threads_in_one_decorated_function(T):
    entered, leave = threading.Barrier(2), threading.Barrier(2)
    after = {}

    @T.no_grad()
    def together():
        entered.wait(5)
        leave.wait(5)

    def run(enabled):
        T.set_grad_enabled(enabled)
        together()
        after[enabled] = T.is_grad_enabled()

    threads = [threading.Thread(target=run, args=(enabled,)) for enabled in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert after == {True: True, False: False}


# Inference mode

SAVED = "Inference tensors cannot be saved for backward"
CHANGED = "Inplace update to inference tensor outside InferenceMode is not allowed"


def inference_tensor(T):
    with T.inference_mode():
        return T.ones(2)


def test_what_inference_mode_makes(T):
    x = T.ones(2, requires_grad=True)
    with T.inference_mode():
        made, view, product = T.ones(2), x[:1], x * 2
        assert T.is_inference_mode_enabled() and not T.is_grad_enabled()
        assert made.is_inference() and product.is_inference() and not product.requires_grad
        assert not x.is_inference() and not view.is_inference()
        assert made[:1].is_inference() and made.add_(1) is made
        with T.no_grad():
            pass
        with T.enable_grad():
            assert not (x * 2).requires_grad
        with T.inference_mode(False):
            assert T.is_grad_enabled() and (x * 2).requires_grad and not T.ones(1).is_inference()
        assert not T.is_grad_enabled()
    assert records(T) and not T.is_inference_mode_enabled() and not T.ones(1).is_inference()
    assert made[:1].is_inference() and made.detach().is_inference()
    assert not made.clone().is_inference() and not (made * 2).is_inference()


def test_inference_tensors_stay_out_of_autograd(T):
    x, made = T.ones(2, requires_grad=True), inference_tensor(T)
    assert (x + made).requires_grad  # saves nothing
    for use in (lambda: x * made, lambda: (x + made) * made):
        with pytest.raises(RuntimeError, match=SAVED):
            use()
    (x * made.clone()).sum().backward()
    for change in (
        lambda: made.add_(1),
        lambda: made[:1].zero_(),
        lambda: made.__setitem__(0, 3.0),
        lambda: made.copy_(T.zeros(2)),
    ):
        with pytest.raises(RuntimeError, match=CHANGED):
            change()
    with pytest.raises(RuntimeError, match="Inference tensors do not track version counter"):
        made._version  # noqa: B018
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor outs"):
        made.requires_grad_()
    made.requires_grad_(False)


def test_normal_tensors_in_inference_mode(T):
    x = T.ones(2)
    with T.inference_mode():
        x.add_(1)
    assert not x.is_inference() and x._version == 1 and x.tolist() == [2, 2]


def test_inference_mode_as_a_decorator(T):
    @T.inference_mode()
    def quiet():
        return T.is_inference_mode_enabled()

    @T.inference_mode
    def without_parentheses():
        return T.is_inference_mode_enabled()

    @T.inference_mode(mode=False)
    def loud():
        return T.is_inference_mode_enabled()

    with T.inference_mode():
        assert not loud()
    assert quiet() and without_parentheses() and not T.is_inference_mode_enabled()


def test_inference_mode_belongs_to_the_thread(T):
    seen = []

    def look():
        seen.append((T.ones(1).is_inference(), records(T)))

    with T.inference_mode():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [(False, True)]


def test_multithreading_switch(T):
    with T.autograd.set_multithreading_enabled(False):
        assert records(T)
