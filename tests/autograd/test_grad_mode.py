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
