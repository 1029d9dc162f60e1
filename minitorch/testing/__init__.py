"""For tests: comparing tensors, making them, and checking derivatives.

`strategies` needs hypothesis, and is imported only by those who use it. PyTorch: torch/testing.
"""

from .blame import GradientError
from .comparison import assert_allclose, assert_close
from .creation import make_tensor
from .gradients import check_gradients

__all__ = ["GradientError", "assert_allclose", "assert_close", "check_gradients", "make_tensor"]
