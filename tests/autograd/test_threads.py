"""Several threads in backward at once, on graphs of their own and on leaves they share."""

import threading

import pytest

import minitorch as torch


def in_threads(count, work):
    """Run work(number) in `count` threads, all started together; raises what one of them raises."""
    start, errors = threading.Barrier(count), []

    def run(number):
        try:
            start.wait(60)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(autouse=True)
def switch_often():
    import sys

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_graphs_of_their_own():
    found = {}

    def work(number):
        x = torch.full((100,), float(number), requires_grad=True)
        for _ in range(20):
            (x * x).sum().backward()
        found[number] = x.grad

    in_threads(4, work)
    for number, grad in found.items():
        assert (grad == 40 * number).all()


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_leaf_that_all_share(size):
    """Nothing is lost where several add to one .grad; the large ones add outside of the GIL."""
    w = torch.ones(size, requires_grad=True)
    ones = torch.ones(size)

    def work(number):
        for _ in range(50):
            (w * 2).backward(ones)

    in_threads(4, work)
    assert (w.grad == 400).all()


def test_a_new_leaf_that_all_share():
    """The first use of a leaf makes its node: they must agree on one, or hooks would be lost."""
    for _ in range(50):
        w, nodes = torch.ones(1, requires_grad=True), []

        def work(number, w=w, nodes=nodes):
            y = w * 2
            nodes.append(y.grad_fn.next_functions[0][0])
            y.backward()

        in_threads(3, work)
        assert w.grad.item() == 6 and len(set(nodes)) == 1


def test_one_graph_that_all_share():
    x = torch.ones(10, requires_grad=True)
    y = (x * x).exp().sum()
    in_threads(4, lambda number: y.backward(retain_graph=True))
    expected = torch.autograd.grad(y, x)[0]
    assert torch.allclose(x.grad, 4 * expected)


def test_modes_and_hooks_belong_to_the_thread():
    x = torch.ones(3, requires_grad=True)
    packed = {}

    def work(number):
        packed[number] = []

        def pack(tensor):
            packed[number].append(tensor)
            return tensor

        if number % 2:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                for _ in range(50):
                    x.exp()
        else:
            for _ in range(50):
                x.exp()

    in_threads(4, work)
    assert {n: len(p) for n, p in packed.items()} == {0: 0, 1: 50, 2: 0, 3: 50}
