"""The kernels beside PyTorch: times and ratios, at two or three sizes each.

    python benchmarks/kernels.py [--threads 1 2] [--only conv]

minitorch and PyTorch run in processes of their own, because two pools of threads in one process
disturb each other, and take turns: each measures a case a few times, then it is the other's turn,
so that a busy moment of the machine hits both. Reported is the best round's median: other work on
the machine only ever makes things slower.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time

import numpy as np

ROUNDS, SECONDS = 5, 0.06


def array(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def sizes():
    """name -> the arguments of the two makers below."""
    for shape in ((10, 10), (4096, 1024), (64, 21, 64, 64)):
        yield "softmax", shape
        yield "log_softmax", shape
    for shape in ((64, 10), (4096, 1000)):
        yield "cross_entropy", shape
    for shape in ((10, 10), (4096, 1024)):
        yield "layer_norm", shape
    for n, c, size, o, padding in (
        (64, 1, 28, 32, 0),
        (64, 32, 26, 64, 0),
        (256, 32, 26, 64, 0),
        (64, 64, 14, 64, 1),
        (16, 64, 56, 64, 1),
        (16, 3, 224, 64, 1),
    ):
        yield "conv", (n, c, size, o, padding)
    for shape, kernel in (((64, 64, 24, 24), 2), ((32, 64, 56, 56), 3)):
        yield "max_pool", (shape, kernel)
    for rows, dim, n in ((100, 64, 2048), (65, 384, 16384), (50000, 256, 4096)):
        yield "embedding", (rows, dim, n)
    for shape in ((10, 10), (2048, 2048)):
        for name in ("gelu", "gelu_tanh", "silu", "sigmoid"):
            yield name, shape
    for n in (10, 1 << 22):
        yield "sgd_momentum", (n,)
        yield "adam", (n,)


def minitorch_case(name, size):
    """(forward, backward or None) in minitorch."""
    from minitorch import kernels as k

    if name in ("softmax", "log_softmax"):
        x, grad = array(*size), array(*size)
        forward, backward = (getattr(k, f"{name}_{way}") for way in ("forward", "backward"))
        out = forward(x, 1)
        return lambda: forward(x, 1), lambda: backward(grad, out, 1)
    if name == "cross_entropy":
        x, target = array(*size), np.arange(size[0]) % size[1]
        _, kept, total = k.cross_entropy_forward(x, target)
        grad = np.ones((), np.float32)
        return (
            lambda: k.cross_entropy_forward(x, target),
            lambda: k.cross_entropy_backward(grad, x, kept, target, None, "mean", -100, total),
        )
    if name == "layer_norm":
        x, grad, w, b = array(*size), array(*size), array(size[1]), array(size[1])
        _, mean, rstd = k.layer_norm_forward(x, size[1:], w, b)
        return (
            lambda: k.layer_norm_forward(x, size[1:], w, b),
            lambda: k.layer_norm_backward(grad, x, mean, rstd, w),
        )
    if name == "conv":
        n, c, h, o, padding = size
        x, w, b = array(n, c, h, h), array(o, c, 3, 3), array(o)
        grad = array(*k.conv_forward(x, w, b, 1, padding).shape)

        def conv_backward():
            k.conv_backward_input(grad, w, x.shape, 1, padding)
            k.conv_backward_weight(grad, x, w.shape, 1, padding)
            grad.sum((0, 2, 3))

        return lambda: k.conv_forward(x, w, b, 1, padding), conv_backward
    if name == "max_pool":
        shape, kernel = size
        x = array(*shape)
        out, indices = k.max_pool_forward(x, (kernel, kernel), 2, kernel // 2 - (kernel == 2))
        return (
            lambda: k.max_pool_forward(x, (kernel, kernel), 2, kernel // 2 - (kernel == 2)),
            lambda: k.max_pool_backward(out, indices, shape),
        )
    if name == "embedding":
        rows, dim, n = size
        indices, grad = np.random.default_rng(0).integers(0, rows, n), array(n, dim)
        return None, lambda: k.embedding_backward(grad, indices, rows)
    if name in ("gelu", "gelu_tanh", "silu", "sigmoid"):
        x, grad = array(*size), array(*size)
        options = ("tanh",) if name == "gelu_tanh" else ()
        forward, backward = (
            getattr(k, f"{name.split('_')[0]}_{way}") for way in ("forward", "backward")
        )
        return lambda: forward(x, *options), lambda: backward(grad, x, *options)
    x, grad, buffer = array(*size), array(*size), array(*size)
    if name == "sgd_momentum":
        return lambda: k.sgd_step(x, grad, buffer, lr=1e-6, momentum=0.9), None
    square = np.abs(array(*size))
    options = {"step": 3, "lr": 1e-6, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    return lambda: k.adam_step(x, grad, buffer, square, **options), None


def torch_case(name, size):
    """The same in PyTorch, below its autograd: the functions that autograd calls."""
    import torch
    import torch.nn.functional as F

    aten = torch.ops.aten

    def tensor(*shape):
        return torch.from_numpy(array(*shape))

    if name in ("softmax", "log_softmax"):
        x, grad = tensor(*size), tensor(*size)
        forward = getattr(torch, name)
        backward = getattr(aten, f"_{name}_backward_data")
        out = forward(x, 1)
        return lambda: forward(x, 1), lambda: backward(grad, out, 1, x.dtype)
    if name == "cross_entropy":
        x, target = tensor(*size), torch.arange(size[0]) % size[1]
        log_probs, grad, total = (
            torch.log_softmax(x, 1),
            torch.ones(()),
            torch.tensor(size[0] * 1.0),
        )

        def cross_entropy_backward():
            g = aten.nll_loss_backward(grad, log_probs, target, None, 1, -100, total)
            aten._log_softmax_backward_data(g, log_probs, 1, x.dtype)

        return lambda: F.cross_entropy(x, target), cross_entropy_backward
    if name == "layer_norm":
        x, grad, w, b = tensor(*size), tensor(*size), tensor(size[1]), tensor(size[1])
        shape = list(size[1:])
        _, mean, rstd = torch.native_layer_norm(x, shape, w, b, 1e-5)
        mask = [True] * 3
        return (
            lambda: torch.native_layer_norm(x, shape, w, b, 1e-5),
            lambda: aten.native_layer_norm_backward(grad, x, shape, mean, rstd, w, b, mask),
        )
    if name == "conv":
        n, c, h, o, padding = size
        x, w, b = tensor(n, c, h, h), tensor(o, c, 3, 3), tensor(o)
        grad = tensor(*F.conv2d(x, w, b, 1, padding).shape)
        options = [o], [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [True] * 3
        return (
            lambda: F.conv2d(x, w, b, 1, padding),
            lambda: aten.convolution_backward(grad, x, w, *options),
        )
    if name == "max_pool":
        shape, kernel = size
        padding = kernel // 2 - (kernel == 2)
        x = tensor(*shape)
        out, indices = F.max_pool2d(x, kernel, 2, padding, return_indices=True)
        options = [kernel] * 2, [2, 2], [padding] * 2, [1, 1], False, indices
        return (
            lambda: F.max_pool2d(x, kernel, 2, padding, return_indices=True),
            lambda: aten.max_pool2d_with_indices_backward(out, x, *options),
        )
    if name == "embedding":
        rows, dim, n = size
        indices = torch.from_numpy(np.random.default_rng(0).integers(0, rows, n))
        grad = tensor(n, dim)
        return None, lambda: aten.embedding_dense_backward(grad, indices, rows, -1, False)
    if name in ("gelu", "gelu_tanh", "silu", "sigmoid"):
        x, grad = tensor(*size), tensor(*size)
        if name.startswith("gelu"):
            how = "tanh" if name == "gelu_tanh" else "none"
            return (
                lambda: F.gelu(x, approximate=how),
                lambda: aten.gelu_backward(grad, x, approximate=how),
            )
        return (
            lambda: getattr(torch, name)(x) if name == "sigmoid" else F.silu(x),
            lambda: getattr(aten, f"{name}_backward")(grad, x),
        )
    x = torch.nn.Parameter(tensor(*size))
    x.grad = tensor(*size)
    optimizer = (
        torch.optim.SGD([x], lr=1e-6, momentum=0.9, foreach=False)
        if name == "sgd_momentum"
        else torch.optim.Adam([x], lr=1e-6, foreach=False)
    )
    return optimizer.step, None


def serve(connection, which, threads):
    """A process that measures the cases it is sent."""
    if which == "minitorch":
        from minitorch import kernels

        kernels.set_num_threads(threads)
        make = minitorch_case
    else:
        import torch

        torch.set_num_threads(threads)
        make = torch_case
    while (case := connection.recv()) is not None:
        functions = make(*case)
        connection.send(None)
        while connection.recv():
            connection.send([function and seconds(function) for function in functions])


def seconds(function) -> float:
    """The median time of a call, over SECONDS of calls."""
    function()
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for threads in options.threads:
        pipes = {}
        for which in ("minitorch", "torch"):
            pipes[which], theirs = context.Pipe()
            context.Process(target=serve, args=(theirs, which, threads), daemon=True).start()
        print(f"{threads} thread(s), in microseconds{'':21}minitorch     torch  ratio")
        for name, size in sizes():
            if options.only not in name:
                continue
            times = {which: [] for which in pipes}
            for pipe in pipes.values():
                pipe.send((name, size))
                pipe.recv()
            for _ in range(ROUNDS):
                for which, pipe in pipes.items():
                    pipe.send(True)
                    times[which].append(pipe.recv())
            for pipe in pipes.values():
                pipe.send(False)
            ways = ("step",) if name in ("adam", "sgd_momentum") else ("forward", "backward")
            for i, way in enumerate(ways):
                if times["torch"][0][i] is not None:
                    ours, theirs = (min(t[i] for t in times[which]) * 1e6 for which in pipes)
                    label = f"{name} {way} {size}"
                    print(f"{label:50} {ours:10.1f} {theirs:9.1f} {ours / theirs:6.2f}", flush=True)
        for pipe in pipes.values():
            pipe.send(None)


if __name__ == "__main__":
    main()
