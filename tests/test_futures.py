"""Futures beside PyTorch's."""

import threading

import pytest
import torch.futures as theirs

import minitorch.futures as ours


@pytest.mark.parametrize("futures", [ours, theirs])
def test_values_and_callbacks(futures):
    seen = []
    future = futures.Future()
    future.add_done_callback(lambda f: seen.append(f.value()))
    plus_one = future.then(lambda f: f.wait() + 1)
    broken = plus_one.then(lambda f: f.value() / 0)
    assert not future.done() and not plus_one.done()
    with pytest.raises(RuntimeError):
        future.value()
    future.set_result(3)
    assert seen == [3] and plus_one.done() and plus_one.wait() == 4
    with pytest.raises(RuntimeError, match="running the callback: ZeroDivisionError"):
        broken.wait()
    with pytest.raises(RuntimeError, match="complete"):
        future.set_result(4)
    future.add_done_callback(lambda f: seen.append("late"))
    assert seen == [3, "late"] and future.wait() == 3


@pytest.mark.parametrize("futures", [ours, theirs])
def test_errors(futures):
    failed = futures.Future()
    failed.set_exception(ValueError("bad"))
    for ask in (failed.wait, failed.value):
        with pytest.raises(ValueError, match="bad"):
            ask()
    assert failed.then(lambda f: "saved").wait() == "saved"
    with pytest.raises(AssertionError):
        futures.Future().set_exception("no exception")


@pytest.mark.parametrize("futures", [ours, theirs])
def test_waiting_for_many(futures):
    several = [futures.Future() for _ in range(3)]
    everything = futures.collect_all(several)
    for i, future in enumerate(several):
        assert not everything.done()
        future.set_result(i)
    assert [future.value() for future in everything.wait()] == [0, 1, 2]
    assert futures.wait_all(several) == [0, 1, 2]
    failed = futures.Future()
    failed.set_exception(KeyError("x"))
    with pytest.raises(KeyError):
        futures.wait_all([*several, failed])


@pytest.mark.parametrize("futures", [ours, theirs])
def test_another_thread_completes_it(futures):
    future = futures.Future()
    doubled = future.then(lambda f: f.value() * 2)
    threading.Timer(0.05, future.set_result, (21,)).start()
    assert doubled.wait() == 42
