"""Which kernel attention uses: PyTorch's switch, for scripts that turn it.

There is one way to compute attention here, so the choice changes nothing.
PyTorch: torch/nn/attention/__init__.py.
"""

from __future__ import annotations

import contextlib
import enum


class SDPBackend(enum.Enum):
    """PyTorch's kernels of scaled_dot_product_attention. Mirrors torch.nn.attention.SDPBackend."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends, set_priority: bool = False):
    """Choose among `backends`, one or a list, within the context. Mirrors torch's sdpa_kernel."""
    for backend in backends if isinstance(backends, list) else [backends]:
        if not isinstance(backend, SDPBackend):
            raise AssertionError("Backend must be an instance of SDPBackend or a list of them")
    yield
