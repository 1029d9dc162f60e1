"""check_gradients passes what is right, and says precisely what is wrong."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minitorch as torch
from minitorch.testing import GradientError, check_gradients
from minitorch.testing import strategies as some
from tests.testing import planted

ROOT = Path(__file__).parents[2]


def data(*shape, seed=0, low=0.5, high=2.0, dtype="float64"):
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return torch.tensor(values.astype(dtype))


RIGHT = {
    "exp": (lambda x: x.exp(), [data(3, 4)]),
    "scalar": (lambda x: (x**3).sum(), [data(3)]),
    "0-d": (lambda x: x**3, [data()]),
    "two inputs": (lambda x, y: (x @ y).tanh(), [data(2, 3), data(3, 2)]),
    "broadcast": (lambda x, y: x / y, [data(2, 3), data(3)]),
    "several outputs": (lambda x: (x.sin(), {"more": [x.sum()]}, "text", 3), [data(3)]),
    "integers pass": (lambda x, i: x[i] ** 2, [data(4), torch.tensor([0, 2, 2])]),
    "a number passes": (lambda x, n: x**n, [data(4), 3]),
    "nested inputs": (lambda xs: xs[0] * xs[1]["y"], [[data(2), {"y": data(2)}]]),
    "linear": (lambda x: 2 * x, [data(3)]),
    "no elements": (lambda x: x * 2, [data(0, 3)]),
    "float32": (lambda x: x.sqrt(), [data(3, dtype="float32")]),
    "large values": (lambda x: x**2, [data(5, low=1e6, high=1e8)]),
    "small values": (lambda x: x.log(), [data(5, low=1e-8, high=1e-6)]),
    "zeros": (lambda x: x**2 + x, [torch.zeros(3)]),
    "the input itself": (lambda x: x, [data(3)]),
    "complex": (lambda z: z * z.conj() + z**2, [torch.tensor([1 + 2j, -0.5 + 0.25j])]),
    "complex to real": (lambda z: z.abs(), [torch.tensor([1 + 2j, -0.5 + 0.25j])]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_pass(name):
    f, inputs = RIGHT[name]
    check_gradients(f, *inputs, order=3)


def test_modules_dropout_and_keyword_arguments():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    check_gradients(net, data(5, 3))
    state = torch.get_rng_state()
    check_gradients(torch.nn.Dropout(0.5), data(20))
    assert torch.get_rng_state().equal(state)
    check_gradients(torch.nn.functional.softmax, data(3, 4), kwargs={"dim": 1})
    frozen = torch.nn.Linear(3, 2).requires_grad_(False)
    check_gradients(frozen, data(5, 3, dtype="float32"))
    assert frozen.weight.dtype is torch.float32


def test_only_what_requires_grad_is_checked():
    wrong_in_y = lambda x, y: x * y.detach()  # noqa: E731
    check_gradients(wrong_in_y, data(3).requires_grad_(), data(3))
    with pytest.raises(GradientError, match="input      y"):
        check_gradients(wrong_in_y, data(3), data(3))


def test_nothing_is_left_behind():
    net, x = planted.Net(), data(2, 3).requires_grad_()
    before = [p.tolist() for p in net.parameters()], x.tolist()
    with pytest.raises(GradientError):
        check_gradients(net, x)
    assert ([p.tolist() for p in net.parameters()], x.tolist()) == before
    assert net.calls.item() == 0 and x.grad is None and net.first.weight.grad is None


@pytest.mark.parametrize("layout", some.LAYOUTS)
def test_the_layout_is_that_of_the_input(layout):
    x = torch.as_tensor(some._arranged(layout, (3, 4), lambda shape: data(*shape).numpy()))
    seen = []

    def f(x):
        seen.append(x.stride())
        return x**2

    check_gradients(f, x)
    assert set(seen) == {x.stride()}


@pytest.mark.parametrize("layout", some.LAYOUTS)
def test_a_function_that_is_wrong_in_one_layout(layout):
    """As one that computes with strides by itself may be."""
    x = torch.as_tensor(some._arranged(layout, (3, 4), lambda shape: data(*shape).numpy()))
    f = lambda x: x**2 if x.is_contiguous() else x * x.detach()  # noqa: E731
    if x.is_contiguous():
        check_gradients(f, x)
    else:
        with pytest.raises(GradientError):
            check_gradients(f, x)


def caught(f, *inputs, **options):
    with pytest.raises(GradientError) as found:
        check_gradients(f, *inputs, **options)
    return found.value


def test_first_order():
    x = data(3, 4)
    x[1, 2] = -1.0
    error = caught(planted.Cube.apply, x)
    assert (error.function, error.order, error.index) == ("Cube.apply", 1, (1, 2))
    assert error.got == pytest.approx(-3) and error.expected == pytest.approx(3)
    assert not error.kink
    for part in ("Cube.apply", "order      1", "index      (1, 2)", "output[1, 2]", "float64"):
        assert part in str(error)


def test_second_order():
    error = caught(planted.OnceOnly.apply, data(3))
    assert error.order == 2 and error.got == pytest.approx(0)
    assert "d (d output / d " in str(error)
    check_gradients(planted.OnceOnly.apply, data(3), order=1)


def test_third_order():
    def f(x):
        y = x.detach()
        return y**3 + 3 * y**2 * (x - y) + 3 * y * (x - y) ** 2 + 1.5 * (x - y) ** 3

    right_twice = lambda x: x**2 + (x * x.detach() ** 2 - x.detach() ** 3) * 0  # noqa: E731
    check_gradients(right_twice, data(3), order=2)
    assert caught(f, data(3), order=3).order in (2, 3)


def test_a_gradient_that_ignores_what_comes_in():
    error = caught(planted.NotMultiplied.apply, data(3))
    assert "multiplied by the incoming gradient" in str(error)


def test_parameters_by_name():
    error = caught(planted.Net(), data(2, 3))
    assert (error.function, error.input) == ("Net", "second.bias")
    assert error.got == 0 and error.expected == pytest.approx(1)


def test_keyword_arguments_and_outputs_by_name():
    factors = {"a": [data(3, seed=2)]}
    error = caught(planted.scaled, data(3), kwargs={"factors": factors})
    assert error.input == "factors['a'][0]"
    assert f"output 1[{error.index[0]}]" in str(error)


def test_complex_parts():
    error = caught(lambda z: z * z.conj().detach(), torch.tensor([1 + 2j, -0.5 + 0.25j]))
    assert re.search(r"d output\[\d\]\.(real|imag) / d z\[\d\]\.(real|imag)", str(error))


def test_one_wrong_element_of_ninety_thousand():
    x = data(300, 300)

    def f(x):
        wrong = torch.zeros(300, 300, dtype=torch.float64)
        wrong[177, 33] = 1
        return x.sin() + (x * wrong).detach()

    error = caught(f, x, order=1, directions=1)
    assert error.index == (177, 33)
    assert error.expected - error.got == pytest.approx(1, rel=1e-3)


def test_kinks():
    x = torch.tensor([1.0, 0.0, -1.0])
    error = caught(torch.relu, x)
    assert error.kink and error.index == (1,) and "skip_kinks" in str(error)
    check_gradients(torch.relu, x, skip_kinks=True)
    check_gradients(torch.relu, torch.tensor([1.0, 1e-12, -1e-12]))  # a step changes no sign
    ties = lambda x, y: torch.maximum(x, y)  # noqa: E731
    assert caught(ties, x, x.clone()).kink
    with pytest.raises(GradientError):  # wrong ones are still found
        check_gradients(planted.Cube.apply, torch.tensor([-1.0, 2.0]), skip_kinks=True)


def test_results_that_change():
    rng = np.random.default_rng()
    error = caught(lambda x: x * float(rng.uniform()), data(3))
    assert "different results" in str(error)


def test_what_cannot_be_checked():
    with pytest.raises(ValueError, match="takes no floating tensor"):
        check_gradients(lambda x: x, torch.tensor([1]))
    with pytest.raises(ValueError, match="returns no floating tensor"):
        check_gradients(lambda x: x > 0, data(2))
    with pytest.raises(ValueError, match="not finite"):
        check_gradients(lambda x: x / 0, data(2))


# The script


def replay(error, tmp_path):
    """Run the script of a failure in a new process, somewhere else: what it says."""
    script = tmp_path / "again.py"
    script.write_text(error.script)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    assert "GradientError" in done.stderr, error.script + done.stderr
    return done.stderr


def facts(text):
    """Everything between the headline and the script."""
    return re.search(r"  function .*?\n\n", text, re.S).group()


SOME = 2.0


def helper(x):
    return SOME * x.detach()


def uses_a_helper(x):
    return helper(x) * x


def local_function(factor):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return factor * x**2

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[0]

    return Square.apply, lambda x, y=1: Square.apply(x) * y


TWO = (lambda x: 2 * x + x.detach(), lambda x: 3 * x + x.detach())

SCRIPTS = {
    "imported": (planted.Cube.apply, [-data(3)]),
    "of this module": (uses_a_helper, [data(2, 2)]),
    "lambda": (lambda x: x * x.detach(), [data(3)]),
    "lambda beside another": (TWO[1], [data(3)]),
    "lambda with a default": (lambda x, factor=SOME: x * x.detach() * factor, [data(3)]),
    "local class": (local_function(3.0)[0], [data(3)]),
    "local lambda": (local_function(torch.tensor(3.0))[1], [data(3)]),
    "partial": (partial(lambda a, x: a * x.detach() * x, 2.0), [data(3)]),
    "second order": (planted.OnceOnly.apply, [data(3)]),
    "strides": (lambda x: x * x.detach(), [data(4, 6)[::2, 1::2]]),
    "expanded": (lambda x: x * x.detach(), [data(4, 1).expand(4, 3)]),
    "large": (lambda x: x * x.detach(), [data(40, 50)]),
    "several": (
        lambda x, more, n: (x * more["y"][0].detach() ** n).float(),
        [data(3).requires_grad_(), {"y": [data(3).requires_grad_(), None, "text", 1.5]}, 2],
    ),
    "module": (planted.Net(), [data(2, 3)]),
    "complex": (lambda z: z * z.conj().detach(), [torch.tensor([1 + 2j])]),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_shows_the_same_failure(name, monkeypatch):
    f, inputs = SCRIPTS[name]
    options = {"eps": 1e-3, "rtol": 1e-3} if name == "several" else {}
    error = caught(f, *inputs, **options)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the script may add to it
    with pytest.raises(GradientError) as again:
        exec(compile(error.script, "again.py", "exec"), {"__name__": "__main__"})
    assert facts(str(again.value)) == facts(str(error))


@pytest.mark.parametrize("name", ["imported", "module", "local class", "large"])
def test_the_script_runs_by_itself_somewhere_else(name, tmp_path):
    f, inputs = SCRIPTS[name]
    error = caught(f, *inputs)
    assert facts(replay(error, tmp_path)) == facts(str(error))


def test_keyword_arguments_are_in_the_script(tmp_path):
    options = {"factors": {"a": [data(3, seed=2)]}}
    error = caught(planted.scaled, data(3), kwargs=options, seed=5, directions=1, eps=1e-5)
    assert facts(replay(error, tmp_path)) == facts(str(error))


def test_what_the_script_cannot_say_it_asks_for():
    class Unspeakable:
        def __reduce__(self):
            raise TypeError("not me")

    error = caught(lambda x, thing: x * x.detach(), data(3), Unspeakable())
    compile(error.script, "", "exec")
    assert "= ...  # put your Unspeakable here" in error.script


def test_a_function_of_the_program_itself(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import minitorch as mt\n"
        "from minitorch.testing import check_gradients\n"
        "def half(x):\n"
        "    return (x * x).detach() / 2 + x * x / 2\n"
        "try:\n"
        "    check_gradients(half, mt.tensor([3.0]))\n"
        "except AssertionError as error:\n"
        "    print(error.script)\n"
        "else:\n"
        "    print('nothing wrong')\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60
    )
    program.unlink()
    (tmp_path / "again.py").write_text(done.stdout)
    again = [sys.executable, str(tmp_path / "again.py")]
    told = subprocess.run(again, capture_output=True, text=True, timeout=60).stderr
    assert "got        3" in told and "expected   6" in told, done.stdout + done.stderr
