"""The names that minitorch.amp had first. PyTorch: torch/cuda/amp/__init__.py."""

from __future__ import annotations

from .. import amp, dtypes


class autocast(amp.autocast):
    """minitorch.autocast of "cuda". Mirrors torch.cuda.amp.autocast."""

    def __init__(
        self,
        enabled: bool = True,
        dtype: dtypes.dtype = dtypes.float16,
        cache_enabled: bool = True,
    ):
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """minitorch.amp.GradScaler of "cuda". Mirrors torch.cuda.amp.GradScaler."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )
