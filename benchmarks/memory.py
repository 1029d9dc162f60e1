"""Peak memory of training steps beside PyTorch's.

    python benchmarks/memory.py                       # a 20-layer MLP, batch 256, width 1024
    python benchmarks/memory.py --batch 4096 --optimizer adam --checkpoint 5

Each package runs in a process of its own. Measured is what the process holds in memory (RSS): at
its highest during the steps, less what it held after a step of a small model. Beside it stands what
there has to be: parameters, their gradients, and one saved array for each activation.
Needs Linux, whose /proc tells the peak and can forget it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys

MIB = 1 << 20


def memory(field: str) -> int:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM at the highest."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(field)


def forget_peak() -> None:
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def train(options) -> dict[str, float]:
    """Train in this process; the MiB that the steps took."""
    T = importlib.import_module(options.package)
    nn = T.nn
    T.set_num_threads(options.threads)
    T.manual_seed(0)
    again = importlib.import_module(f"{options.package}.utils.checkpoint")
    kind = {"none": None, "sgd": T.optim.SGD, "adam": T.optim.Adam}[options.optimizer]

    def training(n_layers, batch, width):
        """A model's step, as a function."""
        layers: list = []
        for _ in range(n_layers):
            layers += [nn.Linear(width, width), nn.ReLU()]
        model = nn.Sequential(*layers)
        optimizer = None if kind is None else kind(model.parameters(), lr=1e-3)
        x, target = T.randn(batch, width), T.randn(batch, width)

        def forward(x):
            if not options.checkpoint:
                return model(x)
            return again.checkpoint_sequential(model, options.checkpoint, x, use_reentrant=False)

        def step():
            loss = nn.functional.mse_loss(forward(x), target)
            model.zero_grad()
            loss.backward()
            if optimizer is not None:
                optimizer.step()

        return step

    small = training(6, 64, 256)
    small()  # libraries are loaded, threads started
    before = memory("VmRSS")
    step = training(options.layers, options.batch, options.width)
    step()
    first = memory("VmHWM")
    forget_peak()
    for _ in range(options.steps):
        step()
    return {"first": (first - before) / MIB, "peak": (memory("VmHWM") - before) / MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--optimizer", choices=("none", "sgd", "adam"), default="sgd")
    parser.add_argument("--checkpoint", type=int, default=0, help="parts to checkpoint, 0: none")
    parser.add_argument("--package", help=argparse.SUPPRESS)  # the part of a process of its own
    options = parser.parse_args()
    if options.package:
        print(json.dumps(train(options)))
        return
    parameters = options.layers * (options.width**2 + options.width) * 4 / MIB
    activations = options.layers * options.batch * options.width * 4 / MIB
    print(
        f"{options.layers} layers, batch {options.batch}, width {options.width}, optimizer "
        f"{options.optimizer}, {options.checkpoint or 'no'} checkpoints: parameters "
        f"{parameters:.0f} MiB, gradients {parameters:.0f} MiB, activations {activations:.0f} MiB"
    )
    found = {}
    for package in ("minitorch", "torch"):
        command = [sys.executable, __file__, *sys.argv[1:], "--package", package]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[package] = json.loads(out.splitlines()[-1])
    for what, key in (("the first step", "first"), ("the steps after it", "peak")):
        ours, theirs = found["minitorch"][key], found["torch"][key]
        print(f"peak in {what:20}{ours:8.0f} MiB / {theirs:8.0f} MiB = {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
