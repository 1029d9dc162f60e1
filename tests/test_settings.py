"""The switches and questions that ordinary scripts begin with: same answers as a PyTorch without a
GPU."""

import pytest
import torch

import minitorch


def test_questions_have_pytorchs_answers(T):
    assert T.backends.mps.is_available() is False
    device = T.accelerator.current_accelerator() if T.accelerator.is_available() else "cpu"
    assert str(T.zeros(2, device=device).device) == "cpu"
    assert T.accelerator.device_count() == 0
    assert T.accelerator.current_accelerator(check_available=True) is None


def test_switches_are_kept(T):
    T.set_float32_matmul_precision("high")
    assert T.get_float32_matmul_precision() == "high"
    T.set_float32_matmul_precision("highest")
    T.use_deterministic_algorithms(True)
    assert T.are_deterministic_algorithms_enabled()
    T.use_deterministic_algorithms(False)
    assert not T.are_deterministic_algorithms_enabled()


def test_cudnns_flags_can_be_set():
    """Not asked of PyTorch here, whose test tools forbid it to change them."""
    minitorch.backends.cudnn.benchmark = True
    assert minitorch.backends.cudnn.benchmark
    minitorch.backends.cudnn.benchmark = False


def test_compile_hands_back_what_it_was_given():
    model = minitorch.nn.Linear(2, 3)
    assert minitorch.compile(model) is model

    @minitorch.compile(mode="max-autotune")
    def double(x):
        return 2 * x

    assert double(minitorch.ones(2)).tolist() == [2, 2]


def test_version():
    assert minitorch.__version__ == minitorch.version.__version__
    assert isinstance(torch.__version__, str) and minitorch.version.cuda is None


def test_an_unknown_precision_is_an_error():
    with pytest.raises(ValueError, match="expected 'highest', 'high' or 'medium'"):
        minitorch.set_float32_matmul_precision("low")
